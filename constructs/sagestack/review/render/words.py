"""The words that the page, the comment, the alerts and the terminal share, so that they never say two different things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sagestack.review.results import (
    NOTE_OF_FAILURE,
    Action,
    EnvironmentReview,
    PermissionFlag,
    ResourceChange,
    Review,
    RuleFinding,
    Severity,
    Side,
)

SEVERITIES = tuple(Severity)
"""The worst first."""

SEVERITY_TITLES = {
    Severity.DANGER: "Dangerous",
    Severity.WARNING: "Worth a question",
    Severity.NOTICE: "Routine",
}
SEVERITY_WORDS = {Severity.DANGER: "danger", Severity.WARNING: "warning", Severity.NOTICE: "routine"}

ACTION_EXPLANATIONS = {
    Action.DELETED: "It leaves the template, and CloudFormation deletes it, unless its deletion policy keeps it.",
    Action.REPLACED: "CloudFormation makes a new one and then deletes the old one, unless its policy keeps it.",
    Action.MAY_BE_REPLACED: "Whether it is replaced depends on what the template does not tell; plan for it.",
    Action.UPDATED: "It is changed in place.",
    Action.CREATED: "It is new.",
}

DATA_WORDS = {"kept": "data kept", "lost": "data lost", "refused": "deletion refused"}
"""What becomes of the data; `none` has no word."""
DATA_SENTENCES = {
    "kept": "The old one stays with its data; from then on no stack looks after it.",
    "lost": "Data that it holds is lost.",
    "refused": "AWS does not delete it while anything is in it: CloudFormation tries, goes on, and leaves it behind.",
}

FLAG_WORDS = {
    PermissionFlag.PUBLIC: "public",
    PermissionFlag.CROSS_ACCOUNT: "another account",
    PermissionFlag.NEW_WILDCARD: "new wildcard",
    PermissionFlag.LOST_BOUNDARY: "boundary lost",
    PermissionFlag.LOST_DENIAL: "denial lost",
    PermissionFlag.PERMISSIONS_MANAGEMENT: "manages permissions",
}
KIND_WORDS = {
    "identity": "a principal's own policy",
    "resource": "a resource's policy",
    "key": "a key's policy",
    "trust": "who may assume the role",
    "network": "a security group",
    "boundary": "a permissions boundary",
}

CONDITION_WORDS = {
    "data-loss": "data is lost",
    "replacement-with-data": "what holds data is replaced",
    "replacement": "something is replaced",
    "deletion": "something is deleted",
    "interruption": "callers notice an interruption",
    "cannot-deploy": "a deployment would fail",
    "iam-widening": "a permission widens",
    "public-access": "something becomes public",
    "lost-boundary": "a permissions boundary is lost",
    "new-finding": "a rule is newly broken",
    "unknown-cost": "something has no known price",
    "any-change": "anything changes",
}

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def visible(text: str) -> str:
    """A text in which nothing hides or turns round: control, zero-width and direction characters become `<U+202E>`.

    Values of a template are written by whoever opens the pull request. Unmarked, U+202E would show a reviewer another
    policy than the one that is deployed (https://trojansource.codes), and an escape sequence would rewrite a terminal.
    """
    return _INVISIBLE.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 resource`, `1,204 resources`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(words: Iterable[str]) -> str:
    """`dev, staging and prod`."""
    words = list(words)
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def cut(text: str, length: int) -> str:
    """At most so many characters, with an ellipsis where some are missing."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def money(usd: float) -> str:
    """`$1,204.50`; a fraction of a cent that is not nothing is `<$0.01`."""
    if 0 < abs(usd) < 0.005:
        return "<$0.01"
    return f"{'-' if usd < 0 else ''}${abs(usd):,.2f}"


def money_change(usd: float) -> str:
    """`+$12.30`, `-$3.00`, `no change`."""
    if abs(usd) < 0.005:
        return "no change"
    return f"{'+' if usd > 0 else '-'}${abs(usd):,.2f}"


def percent_change(before: float, after: float) -> str:
    """`+12 %`; empty where there is nothing to compare with."""
    if before < 0.005 or abs(after - before) < 0.005:
        return ""
    return f"{(after - before) / before * 100:+.0f} %"


def type_name(type_: str) -> str:
    """`AWS::S3::Bucket` as `S3 Bucket`."""
    parts = type_.removeprefix("AWS::").split("::")
    return " ".join([parts[0], *(_CAMEL.sub(" ", part) for part in parts[1:])])


def side_name(side: Side) -> str:
    """`origin/main (1a2b3c4)`."""
    if side.commit is None:
        return side.label
    short = side.commit[:7]
    return side.label if side.label.startswith(short) else f"{side.label} ({short})"


def dirty_warning(review: Review) -> str | None:
    """That a side has more in it than its commit; None where both are what git has."""
    labels = [side.label for side in (review.base, review.head) if side.is_dirty]
    if not labels:
        return None
    return f"Files that are not committed are part of {listed(labels)}."


def condition_name(condition: str) -> str:
    """`cost>10%` as `the monthly cost rises by more than 10%`."""
    if condition.startswith("cost>"):
        limit = condition.removeprefix("cost>")
        return f"the monthly cost rises by more than {limit if limit.endswith('%') else f'${limit}'}"
    return CONDITION_WORDS.get(condition, condition)


@dataclass(frozen=True)
class Spoken:
    """A part of a sentence: words, or what somebody would type."""

    text: str
    is_code: bool = False


def spoken(sentence: str) -> tuple[Spoken, ...]:
    """A sentence with its `code` in backticks told apart; a backtick without a partner is itself."""
    parts = visible(sentence).split("`")
    if len(parts) % 2 == 0:
        return (Spoken(visible(sentence)),)
    return tuple(Spoken(part, is_code=bool(place % 2)) for place, part in enumerate(parts) if part)


@dataclass(frozen=True)
class Counts:
    """What one environment has of each, for the table on top."""

    deleted: int = 0
    replaced: int = 0
    may_be_replaced: int = 0
    updated: int = 0
    created: int = 0
    data_lost: int = 0
    interruptions: int = 0
    wider: int = 0
    narrower: int = 0
    new_findings: int = 0
    fixed_findings: int = 0

    @property
    def touched(self) -> int:
        return self.deleted + self.replaced + self.may_be_replaced + self.updated + self.created

    @property
    def anything(self) -> bool:
        return bool(self.touched + self.wider + self.narrower + self.new_findings + self.fixed_findings)


def counts(environment: EnvironmentReview) -> Counts:
    def of(action: Action) -> int:
        return sum(change.action == action for change in environment.changes)

    return Counts(
        deleted=of(Action.DELETED),
        replaced=of(Action.REPLACED),
        may_be_replaced=of(Action.MAY_BE_REPLACED),
        updated=of(Action.UPDATED),
        created=of(Action.CREATED),
        data_lost=sum(change.data == "lost" for change in environment.changes),
        interruptions=sum(change.interruption is not None for change in environment.changes),
        wider=sum(permission.direction == "wider" for permission in environment.permissions),
        narrower=sum(permission.direction == "narrower" for permission in environment.permissions),
        new_findings=sum(is_open(finding) for finding in environment.findings),
        fixed_findings=sum(finding.state == "fixed" for finding in environment.findings),
    )


def notes(review: Review) -> list[tuple[str | None, str]]:
    """All notes, each with its environment (None for what is about all of them); what makes a deployment fail before the rest."""
    found: list[tuple[str | None, str]] = [(None, note) for note in review.notes]
    found += [(one.environment, note) for one in review.environments for note in one.notes]
    return sorted(found, key=lambda each: not fails(each[1]))


def fails(note: str) -> bool:
    """Whether a note says that a deployment fails."""
    return note.startswith(NOTE_OF_FAILURE)


def web_link(finding: RuleFinding) -> str | None:
    """Where the rule is explained, if that is a page: a link of any other kind is not offered to be clicked."""
    return finding.link if finding.link and finding.link.startswith("https://") else None


def is_open(finding: RuleFinding) -> bool:
    """Whether the change breaks the rule anew and nobody has accepted that."""
    return finding.state == "new" and finding.accepted is None


def changes_nothing(review: Review) -> bool:
    """Whether a deployment of either side would leave the same behind."""
    return not any(
        counts(environment).anything
        or environment.is_new
        or environment.is_gone
        or abs(environment.cost_after.total - environment.cost_before.total) >= 0.005
        for environment in review.environments
    )


def verdict(review: Review) -> str:
    """The one sentence that everything begins with."""
    if review.needs_a_human:
        return "A human should look at this"
    return "Nothing changes" if changes_nothing(review) else "Nothing here needs a human"


def explanation(review: Review) -> str:
    """The sentence below it."""
    names = listed(environment.environment for environment in review.environments)
    if not review.environments:
        return "No environment was reviewed."
    if review.needs_a_human:
        met = listed(condition_name(met.condition) for met in review.met)
        return f"{met[0].upper()}{met[1:]}."
    if changes_nothing(review):
        return (
            f"In {names} both sides synthesize to the same resources, permissions and cost. There is nothing to deploy."
        )
    if not asked(review):
        return "No condition was asked about, so nothing could be met. What changes is below."
    return f"None of the conditions that were asked about is met in {names}. What changes is below."


def asked(review: Review) -> Sequence[str]:
    """The conditions that were asked about; none for `never`."""
    return tuple(condition for condition in review.asked if condition != "never")


def headline(change: ResourceChange) -> str:
    """`S3 Bucket Data replaced, data lost`, for a line without colours."""
    words = [f"{type_name(change.resource.type)} {change.resource.path} {change.action}"]
    if change.data in DATA_WORDS:
        words.append(DATA_WORDS[change.data])
    if change.interruption:
        words.append("interruption")
    return visible(", ".join(words))
