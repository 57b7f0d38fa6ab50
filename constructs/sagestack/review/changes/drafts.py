"""A change while its verdict is made: several modules add to it, and the worst that any of them says stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.held_data import Fate
from sagestack.review.results import Action, PropertyChange, ResourceChange, Severity

FAILS = "The deployment fails"
"""How every reason begins that says so."""
_BADNESS = {Severity.NOTICE: 0, Severity.WARNING: 1, Severity.DANGER: 2}


@dataclass
class Draft:
    """As `ResourceChange`, and can still change."""

    before: Resource | None
    after: Resource | None
    action: Action
    properties: tuple[PropertyChange, ...] = ()
    severity: Severity = Severity.NOTICE
    data: Fate = "none"
    interruption: str | None = None
    reasons: list[tuple[Severity, str]] = field(default_factory=list)
    cannot_deploy: bool = False
    renamed_from: str | None = None
    becauses: list[str] = field(default_factory=list)
    """Why it is replaced or updated though its own properties are the same: what they refer to."""

    @property
    def resource(self) -> Resource:
        resource = self.after or self.before
        assert resource is not None
        return resource

    @property
    def is_replaced(self) -> bool:
        return self.action is Action.REPLACED

    def say(self, severity: Severity, reason: str) -> None:
        """Adds a reason; the change is at least as grave as it."""
        if reason not in [each for _, each in self.reasons]:
            self.reasons.append((severity, reason))
        self.raise_to(severity)

    def fail(self, why: str) -> None:
        """Says that this can never be deployed, and what to do instead."""
        self.cannot_deploy = True
        self.say(Severity.DANGER, f"{FAILS}: {why}")

    def raise_to(self, severity: Severity) -> None:
        if _BADNESS[severity] > _BADNESS[self.severity]:
            self.severity = severity

    def interrupt(self, severity: Severity, what: str) -> None:
        """Says what callers notice; the first that is said stays."""
        self.interruption = self.interruption or what
        self.raise_to(severity)

    def changed(self, path: str) -> PropertyChange | None:
        """The change at a path or in it, where there is one."""
        return next(
            (each for each in self.properties if each.path == path or each.path.startswith((f"{path}.", f"{path}["))),
            None,
        )

    def done(self) -> ResourceChange:
        # What fails happens to nobody: whoever reads on knows that the rest of it is what would be.
        reasons = sorted(self.reasons, key=lambda reason: (-_BADNESS[reason[0]], not reason[1].startswith(FAILS)))
        return ResourceChange(
            before=self.before,
            after=self.after,
            action=self.action,
            severity=self.severity,
            properties=self.properties,
            data=self.data,
            interruption=self.interruption,
            reasons=(*(text for _, text in reasons), *self.becauses),
            cannot_deploy=self.cannot_deploy,
            renamed_from=self.renamed_from,
        )


@dataclass(frozen=True)
class Context:
    """Both sides, and all that changes between them by the address of what is there afterwards (or was before)."""

    before: Assembly
    after: Assembly
    drafts: Mapping[str, Draft]

    def old(self, stack: str, logical_id: str | None) -> Resource | None:
        return self._of(self.before, stack, logical_id)

    def new(self, stack: str, logical_id: str | None) -> Resource | None:
        return self._of(self.after, stack, logical_id)

    @staticmethod
    def _of(assembly: Assembly, stack: str, logical_id: str | None) -> Resource | None:
        return assembly.stacks[stack].resources.get(logical_id or "") if stack in assembly.stacks else None


def plural(count: float, unit: str) -> str:
    """`1 day`, `1,209,600 seconds`."""
    return f"{count:,.0f} {unit}{'' if count == 1 else 's'}"
