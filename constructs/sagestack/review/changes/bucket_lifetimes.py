"""Which objects of a bucket are deleted sooner than they were, and which do not come back any more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.drafts import Context, Draft, plural
from sagestack.review.changes.property_values import number
from sagestack.review.intrinsics import as_text
from sagestack.review.results import Severity


@dataclass(frozen=True)
class _Rule:
    """A rule that deletes, as texts: what only the deployment knows is neither more nor less than any number.

    Attributes:
        prefix: of the objects that it is for; empty for all.
        tags: that they have.
        sizes: that they have, in words.
        days: after which what is there, or (where `is_old`) what was overwritten, is deleted; empty for a date.
        date: at which what is there is deleted; empty for days.
        versions: how many old ones of each object stay all the same.
        is_old: whether it deletes what was overwritten or deleted, and not what is there.
    """

    prefix: str
    tags: tuple[str, ...]
    sizes: tuple[str, ...]
    days: str = ""
    date: str = ""
    versions: str = "0"
    is_old: bool = False

    @property
    def where(self) -> str:
        return ", ".join(part for part in (self.prefix, *self.tags, *self.sizes) if part)

    @property
    def least(self) -> tuple[float, float]:
        """Days, and versions; not a number where nobody can tell, as of a date."""
        days, versions = number(self.days, math.nan), number(self.versions, 0)
        assert days is not None
        assert versions is not None
        return days, versions

    def covers(self, other: _Rule) -> bool:
        """Whether it deletes all that another one does, sooner or later."""
        return (
            self.is_old == other.is_old
            and other.prefix.startswith(self.prefix)
            and set(self.tags) <= set(other.tags)
            and set(self.sizes) <= set(other.sizes)
        )

    def keeps_no_longer_than(self, other: _Rule) -> bool:
        if self.date[:1].isdigit() and other.date[:1].isdigit():
            return self.date <= other.date
        return all(own <= others for own, others in zip(self.least, other.least, strict=True))


def judge_bucket(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html"""
    assert draft.before is not None
    assert draft.after is not None
    status = [_status(each) for each in (draft.before, draft.after)]
    if status[0] == "Enabled" and status[1] != "Enabled":
        draft.say(Severity.WARNING, "Versions are kept no more: an object that is overwritten or deleted is gone.")
    old = set(_rules(draft.before))
    for rule in sorted(
        set(_rules(draft.after)) - old, key=lambda each: (each.is_old, each.where, each.days, each.date)
    ):
        covering = [each for each in old if each.covers(rule)]
        if any(each.keeps_no_longer_than(rule) for each in covering):
            continue
        # What has a number comes first: of a date and of a reference nobody can tell how long they kept it.
        was = min(covering, key=_known_first, default=None)
        _shorter(draft, rule, was, context, is_versioned=status[1] == "Enabled")


def _shorter(draft: Draft, rule: _Rule, was: _Rule | None, context: Context, *, is_versioned: bool) -> None:
    when, before = _time(rule), _time(was) if was is not None else "for ever"
    below = f" ({rule.where})" if rule.where else ""
    if rule.prefix and not _is_mentioned(rule.prefix, context.before):
        if not rule.is_old:
            after = f"at {rule.date}" if rule.date else f"after {when}"
            draft.say(
                Severity.NOTICE, f"S3 deletes what will be written there{below} {after}; nothing wrote there yet."
            )
        return
    if rule.is_old:
        draft.say(
            Severity.WARNING,
            f"S3 keeps what is overwritten or deleted{below} for {when}; it was kept {before}.",
        )
        return
    draft.data = "lost"
    what = f"S3 deletes what is older than {when}" if not rule.date else f"S3 deletes at {rule.date} what it finds"
    back = " Its version stays for as long as old versions do." if is_versioned else ""
    draft.say(
        Severity.WARNING if rule.where else Severity.DANGER,
        f"{what}{below}, also what is there now; it was kept {before}.{back}",
    )


def _status(bucket: Resource) -> str:
    found = bucket.properties.get("VersioningConfiguration")
    return str(found.get("Status")) if isinstance(found, Mapping) else ""


def _rules(bucket: Resource) -> Iterator[_Rule]:
    configuration = bucket.properties.get("LifecycleConfiguration")
    rules = configuration.get("Rules", []) if isinstance(configuration, Mapping) else []
    for rule in rules:
        if not isinstance(rule, Mapping) or rule.get("Status") != "Enabled":
            continue
        tags = tuple(
            sorted(f"{as_text(tag.get('Key'))}={as_text(tag.get('Value'))}" for tag in rule.get("TagFilters", []))
        )
        scope = _Rule(as_text(rule.get("Prefix", "")), tags, tuple(_sizes(rule)))
        if "ExpirationInDays" in rule:
            yield replace(scope, days=as_text(rule["ExpirationInDays"]))
        elif "ExpirationDate" in rule:
            yield replace(scope, date=as_text(rule["ExpirationDate"]))
        old = rule.get("NoncurrentVersionExpiration")
        old = old if isinstance(old, Mapping) else {}
        days = old.get("NoncurrentDays", rule.get("NoncurrentVersionExpirationInDays"))
        if days is not None:
            yield replace(
                scope, days=as_text(days), versions=as_text(old.get("NewerNoncurrentVersions", 0)), is_old=True
            )


def _sizes(rule: Mapping[str, Any]) -> Iterator[str]:
    for name, words in (("ObjectSizeGreaterThan", "larger than"), ("ObjectSizeLessThan", "smaller than")):
        if name in rule:
            yield f"{words} {as_text(rule[name])} bytes"


def _known_first(rule: _Rule) -> tuple[bool, float, str, str]:
    days, _ = rule.least
    is_unknown = math.isnan(days)
    return is_unknown, 0 if is_unknown else days, rule.versions, f"{rule.where} {rule.days}{rule.date}"


def _time(rule: _Rule) -> str:
    """How long a rule keeps what it is for: `30 days`, `30 days, and its newest 5 versions longer`."""
    if rule.date:
        return f"until {rule.date}"
    days, versions = rule.least
    time = f"{rule.days} days" if math.isnan(days) else plural(days, "day")
    return time if versions == 0 else f"{time}, and its newest {rule.versions} versions longer"


def _is_mentioned(prefix: str, assembly: Assembly) -> bool:
    """Whether anything of the other side names a prefix: what nobody named, nobody wrote to."""
    return any(prefix.rstrip("/") in json.dumps(stack.template) for stack in assembly.stacks.values())
