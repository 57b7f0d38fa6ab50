"""Which objects of a bucket are deleted sooner than they were, and which do not come back any more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.drafts import Context, Draft, plural
from sagestack.review.intrinsics import as_text
from sagestack.review.results import Severity


@dataclass(frozen=True)
class _Rule:
    """A rule that deletes.

    Attributes:
        where: the prefix and tags that it is for; empty for the whole bucket.
        days: after which what is there, or (where `is_old`) what was overwritten, is deleted; 0 for a date.
    """

    where: str
    days: float
    is_old: bool


def judge_bucket(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html"""
    assert draft.before is not None
    assert draft.after is not None
    status = [_status(each) for each in (draft.before, draft.after)]
    if status[0] == "Enabled" and status[1] != "Enabled":
        draft.say(Severity.WARNING, "Versions are kept no more: an object that is overwritten or deleted is gone.")
    old = set(_rules(draft.before))
    for rule in sorted(set(_rules(draft.after)) - old, key=lambda each: (each.is_old, each.where, each.days)):
        kept = [each.days for each in old if each.is_old == rule.is_old and each.where in ("", rule.where)]
        if kept and min(kept) <= rule.days:
            continue
        _shorter(draft, rule, min(kept) if kept else None, context, is_versioned=status[1] == "Enabled")


def _shorter(draft: Draft, rule: _Rule, was: float | None, context: Context, *, is_versioned: bool) -> None:
    when = plural(rule.days, "day") if rule.days else "a date"
    before = plural(was, "day") if was is not None else "for ever"
    below = f" ({rule.where})" if rule.where else ""
    if rule.where and not _is_mentioned(rule.where, context.before):
        if not rule.is_old:
            draft.say(
                Severity.NOTICE, f"S3 deletes what will be written there{below} after {when}; nothing wrote there yet."
            )
        return
    if rule.is_old:
        draft.say(
            Severity.WARNING,
            f"S3 keeps what is overwritten or deleted{below} for {when}; it was kept {before}.",
        )
        return
    draft.data = "lost"
    back = " Its version stays for as long as old versions do." if is_versioned else ""
    draft.say(
        Severity.WARNING if rule.where else Severity.DANGER,
        f"S3 deletes what is older than {when}{below}, also what is there now; it was kept {before}.{back}",
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
        where = _where(rule)
        if "ExpirationInDays" in rule or "ExpirationDate" in rule:
            yield _Rule(where, _days(rule.get("ExpirationInDays")), is_old=False)
        old = rule.get("NoncurrentVersionExpiration")
        days = old.get("NoncurrentDays") if isinstance(old, Mapping) else rule.get("NoncurrentVersionExpirationInDays")
        if days is not None:
            yield _Rule(where, _days(days), is_old=True)


def _where(rule: Mapping[str, Any]) -> str:
    parts = [as_text(rule.get("Prefix", ""))]
    parts += [f"{as_text(tag.get('Key'))}={as_text(tag.get('Value'))}" for tag in rule.get("TagFilters", [])]
    return ", ".join(part for part in parts if part)


def _days(value: object) -> float:
    return float(str(value)) if str(value).isdigit() else 0


def _is_mentioned(where: str, assembly: Assembly) -> bool:
    """Whether anything of the other side names a prefix: what nobody named, nobody wrote to."""
    return any(where.rstrip("/") in json.dumps(stack.template) for stack in assembly.stacks.values())
