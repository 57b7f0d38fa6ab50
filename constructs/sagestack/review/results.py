"""What a review found: plain values, which the pages, the comment and the exit code are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from sagestack.review.assembly import Resource

NOTE_OF_FAILURE = "The deployment of "
"""How each note begins that says that a stack cannot be deployed; of a resource `ResourceChange.cannot_deploy` says it."""


class Severity(StrEnum):
    """How much a reviewer should care, the worst first."""

    DANGER = "danger"
    """Something is lost, opened, or down, and no deployment brings it back by itself."""
    WARNING = "warning"
    """Somebody should have meant it."""
    NOTICE = "notice"
    """Worth a line, and no decision."""


class Action(StrEnum):
    """What CloudFormation will do to a resource."""

    DELETED = "deleted"
    REPLACED = "replaced"
    MAY_BE_REPLACED = "may be replaced"
    """The schema says: under conditions that the template does not tell."""
    UPDATED = "updated"
    CREATED = "created"


@dataclass(frozen=True)
class PropertyChange:
    """One property that differs.

    Attributes:
        path: with dots, list places in brackets: `LifecycleConfiguration.Rules[0].Status`; by name where the items have one:
            `ProductionVariants[AllTraffic].InstanceType`. Documents in text go on: `DefinitionString.States[...]`.
        before: None where it was not there; the raw value of the template otherwise.
        after: the same.
        replaces: whether CloudFormation makes a new resource for it.
    """

    path: str
    before: Any
    after: Any
    replaces: Literal["no", "may", "yes"] = "no"


@dataclass(frozen=True)
class ResourceChange:
    """One resource that the change touches.

    Attributes:
        before: None for what is new.
        after: None for what leaves the template.
        properties: what differs, empty for what is new or deleted, and for what changes only since it refers to something that
            is replaced; `DeletionPolicy` and its like count as properties.
        data: what becomes of the data that it holds: `none` holds none; `kept` the retention policy saves it (out of the stack's
            hands from then on); `lost`; `refused` CloudFormation fails, as for a bucket that is not empty.
        interruption: what callers notice while it happens, in a sentence; None for nothing.
        reasons: in a reviewer's words, the most important first: why it is replaced, what is lost, what to do instead.
        cannot_deploy: whether CloudFormation or the service is known to refuse it: the deployment fails and is rolled back.
        renamed_from: the logical id under which the same construct's resource, alike in type and properties, stood before.
    """

    before: Resource | None
    after: Resource | None
    action: Action
    severity: Severity
    properties: tuple[PropertyChange, ...] = ()
    data: Literal["none", "kept", "lost", "refused"] = "none"
    interruption: str | None = None
    reasons: tuple[str, ...] = ()
    cannot_deploy: bool = False
    renamed_from: str | None = None

    @property
    def resource(self) -> Resource:
        """The new one, or the old one of what is deleted."""
        resource = self.after or self.before
        assert resource is not None
        return resource


class PermissionFlag(StrEnum):
    """What puts a permission on top of the list."""

    PUBLIC = "public"
    CROSS_ACCOUNT = "cross-account"
    NEW_WILDCARD = "new-wildcard"
    LOST_BOUNDARY = "lost-boundary"
    LOST_DENIAL = "lost-denial"
    PERMISSIONS_MANAGEMENT = "permissions-management"


@dataclass(frozen=True)
class PermissionChange:
    """Something that is allowed now and was not (wider), or the other way round (narrower).

    Attributes:
        kind: where it is written: a principal's own policy, a resource's, a key's, who may assume a role, a security group, the
            boundary of a role.
        resource: the role, bucket, key, group whose page a reviewer would open.
        principal: who: a role's path, an account, a service, `*`.
        actions: as written, sorted; for a security group the protocol and ports.
        access_levels: of those actions, as in the service authorization reference: List, Read, Write, Tagging,
            Permissions management.
        targets: on what: the ARNs or references, readable.
        conditions: readable, sorted.
        sentence: all of it, for a person.
    """

    direction: Literal["wider", "narrower"]
    kind: Literal["identity", "resource", "key", "trust", "network", "boundary"]
    resource: Resource
    principal: str
    actions: tuple[str, ...]
    access_levels: tuple[str, ...]
    targets: tuple[str, ...]
    conditions: tuple[str, ...]
    severity: Severity
    sentence: str
    flags: frozenset[PermissionFlag] = frozenset()


@dataclass(frozen=True)
class CostLine:
    """One thing that is paid for.

    Attributes:
        what: `2 x ml.m5.large, real-time`.
        kind: `idle` is paid with no request and no job; `load` comes with the stated load.
        usd_per_month: for 730 hours; None where no price is known.
        how: the computation, or why there is no price.
    """

    resource: Resource
    what: str
    kind: Literal["idle", "load"]
    usd_per_month: float | None
    how: str


@dataclass(frozen=True)
class CostEstimate:
    """What one side of an environment costs in a month.

    Attributes:
        at_load: what the lines of kind `load` are computed for, in words.
    """

    lines: tuple[CostLine, ...] = ()
    at_load: str = ""

    @property
    def idle(self) -> float:
        return sum(line.usd_per_month or 0.0 for line in self.lines if line.kind == "idle")

    @property
    def load(self) -> float:
        return sum(line.usd_per_month or 0.0 for line in self.lines if line.kind == "load")

    @property
    def total(self) -> float:
        return self.idle + self.load

    @property
    def unknown(self) -> tuple[CostLine, ...]:
        return tuple(line for line in self.lines if line.usd_per_month is None)


@dataclass(frozen=True)
class RuleFinding:
    """One rule, broken by one resource.

    Attributes:
        tool: who says so: `cdk-nag AwsSolutions`, `cdk-nag NIST.800.53.R5`, `cfn-lint`, `CloudFormation`, `sagestack`.
        rule: its name there, `AwsSolutions-IAM5[Resource::*]`.
        resource: None for what is about a stack.
        state: `new` is broken now and was not; `old` was broken before; `fixed` is broken no more.
        accepted: the reason, where somebody looked at it and accepted it.
        link: where the rule is explained; None where there is no such page.
    """

    tool: str
    rule: str
    stack: str
    resource: Resource | None
    severity: Severity
    message: str
    state: Literal["new", "old", "fixed"] = "new"
    accepted: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Picture:
    """A drawing: as SVG for the page (None where it could not be drawn), as Mermaid for the comment."""

    title: str
    svg: str | None
    mermaid: str


@dataclass(frozen=True)
class Side:
    """One of the two states that are compared.

    Attributes:
        label: as the person said it: `origin/main`, `the working tree`.
        commit: the full hash; None for a folder outside of git.
        is_dirty: whether files of the working tree differ from that commit.
    """

    label: str
    commit: str | None
    is_dirty: bool = False


@dataclass(frozen=True)
class EnvironmentReview:
    """What the change does to one environment; sorted, most dangerous first.

    Attributes:
        is_new: there is no such environment in the base.
        is_gone: there is no such environment any more; its stacks stay until somebody deletes them.
        notes: what a reviewer should know that is about no single resource.
    """

    environment: str
    account: str
    region: str
    changes: tuple[ResourceChange, ...] = ()
    permissions: tuple[PermissionChange, ...] = ()
    cost_before: CostEstimate = CostEstimate()
    cost_after: CostEstimate = CostEstimate()
    findings: tuple[RuleFinding, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    is_new: bool = False
    is_gone: bool = False


@dataclass(frozen=True)
class Met:
    """A condition of `--fail-on` that is met: `replacement-with-data`, and the sentences that say where."""

    condition: str
    where: tuple[str, ...]


@dataclass(frozen=True)
class Review:
    """All of it."""

    base: Side
    head: Side
    environments: tuple[EnvironmentReview, ...]
    price_date: str
    """Of the price table: `2026-11-01`."""
    price_source: str
    met: tuple[Met, ...] = ()
    notes: tuple[str, ...] = ()
    asked: tuple[str, ...] = field(default=())
    """The conditions that were asked about, as written."""

    @property
    def needs_a_human(self) -> bool:
        return bool(self.met)
