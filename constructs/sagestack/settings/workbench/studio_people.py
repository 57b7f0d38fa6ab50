"""Who works in a Studio domain, in which spaces, on what, and for how long without doing anything."""

from __future__ import annotations

import functools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings import shipped
from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit, suggestion
from sagestack.settings.workbench.notebook import Grants, Owner

AppType = Literal["jupyter-lab", "code-editor"]
"""The apps of Studio that idle shutdown, lifecycle configs and images of one's own know. Studio Classic can no longer be
started: https://docs.aws.amazon.com/sagemaker/latest/dg/studio.html"""

SHORTEST_IDLE_MINUTES, LONGEST_IDLE_MINUTES = 60, 525_600
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_IdleSettings.html"""


@functools.cache
def known_studio_types() -> frozenset[str]:
    """The instance types that an app of Studio may run on; `system` is Studio Classic's."""
    model = shipped.session().get_service_model("sagemaker")
    return frozenset(model.shape_for("AppInstanceType").enum) - {"system"}  # type: ignore[attr-defined]


SPACE_FAMILIES = (
    *("c5", "g4dn", "g5", "geospatial", "m5", "m5d", "p3", "p3dn", "p4d", "p4de", "r5", "t3", "trn1", "trn1n"),
)
"""What CloudFormation's schema of a space takes; that of a domain, and SageMaker itself, take newer ones.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-sagemaker-space-resourcespec.html"""
_NOT_IN_A_DOMAIN = ("g7",)
"""Families that SageMaker takes, and CloudFormation's schema of a domain does not."""


def _family(instance_type: str) -> str:
    return instance_type.split(".")[1]


def takes_space_type(instance_type: str) -> bool:
    """Whether CloudFormation takes a type of Studio for a space."""
    return _family(instance_type) in SPACE_FAMILIES


def _domain_type(instance_type: str) -> str:
    if _family(instance_type) in _NOT_IN_A_DOMAIN:
        raise ValueError(
            f"{instance_type} is newer than what CloudFormation takes for a domain; people choose it in Studio where"
            " instance_types lets them"
        )
    return instance_type


def _studio_type(instance_type: str) -> str:
    known = known_studio_types()
    if instance_type not in known:
        raise ValueError(
            f"{instance_type!r} is not an instance type for Studio{suggestion(instance_type, sorted(known))}"
            f" (allowed: {len(known)} types like 'ml.t3.medium')"
        )
    return instance_type


def _idle_minutes(minutes: int) -> int:
    if not SHORTEST_IDLE_MINUTES <= minutes <= LONGEST_IDLE_MINUTES:
        raise ValueError(
            f"{minutes} does not fit (allowed: {SHORTEST_IDLE_MINUTES} to {LONGEST_IDLE_MINUTES} minutes: SageMaker"
            " shuts an app of Studio down after an hour without work at the earliest)"
        )
    return minutes


StudioType = Annotated[str, AfterValidator(_studio_type), Allowed("like ml.t3.medium")]
DefaultType = Annotated[StudioType, AfterValidator(_domain_type)]
"""One that a domain's own settings name."""
IdleMinutes = Annotated[int, AfterValidator(_idle_minutes), Allowed("a whole number of minutes, 60 to 525600")]
VolumeSize = Annotated[int, Field(ge=5, le=16384), Allowed("a whole number of GB, 5 to 16384")]
# What people see in Studio; DescribeUserProfile and DescribeSpace have the pattern.
StudioName = Annotated[
    str,
    Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$"),
    Allowed("letters, digits and hyphens, at most 63 characters"),
]


class IdleShutdown(Settings):
    """When an app that does nothing is shut down. What is on the space's volume stays."""

    minutes: IdleMinutes = 60
    """The shortest that SageMaker takes: an app that is shut down is started again within minutes, its files as they were."""
    min_minutes: Annotated[IdleMinutes | None, Allowed("the shortest that a person may choose, or null: minutes")] = (
        None
    )
    max_minutes: Annotated[IdleMinutes | None, Allowed("the longest that a person may choose, or null: minutes")] = None

    @property
    def shortest(self) -> int:
        """What a person may choose for a space, at least."""
        return self.minutes if self.min_minutes is None else self.min_minutes

    @property
    def longest(self) -> int:
        """What a person may choose for a space, at most. By default nobody may let an app idle for longer."""
        return self.minutes if self.max_minutes is None else self.max_minutes

    @model_validator(mode="after")
    def _in_order(self) -> IdleShutdown:
        if self.shortest > self.minutes:
            raise Misfit((("min_minutes",), f"{self.min_minutes} is more than minutes: {self.minutes}"))
        if self.longest < self.minutes:
            raise Misfit((("max_minutes",), f"{self.max_minutes} is less than minutes: {self.minutes}"))
        return self


class Storage(Settings):
    """How large the volume of a space is."""

    default_gb: VolumeSize = 20
    max_gb: VolumeSize = 100
    """What a person may choose at most. A volume grows, and never shrinks."""

    @model_validator(mode="after")
    def _in_order(self) -> Storage:
        if self.default_gb > self.max_gb:
            raise Misfit((("default_gb",), f"{self.default_gb} is more than max_gb: {self.max_gb}"))
        return self


class UserProfile(Settings):
    """One person in the domain. What is not said is as the domain says.

    Idle shutdown is the domain's alone: CloudFormation's schema has it neither for a profile nor for a space.
    """

    owner: Annotated[Owner | None, Allowed("the person's user name, or null: the profile's name")] = None
    """With `auth: identity-center`, the user name there; with `iam`, whose tag `sagestack:owner` opens it."""
    grants: Grants = Grants()
    instance_type: Annotated[StudioType | None, Allowed("like ml.t3.medium, or null: the domain's")] = None
    """What the apps of its spaces below `spaces` start on. In spaces that the person makes, the domain's is suggested."""
    instance_types: Annotated[
        list[StudioType] | None, Field(min_length=1), Allowed("the types the person may choose, or null: the domain's")
    ] = None
    storage: Annotated[Storage | None, Allowed("default_gb and max_gb, or null: the domain's")] = None


class Space(Settings):
    """A place to work: an app and its volume, of one person or of many."""

    owner: Annotated[StudioName, Allowed("the name of one of user_profiles")]
    sharing: Annotated[Literal["private", "shared"], Allowed("private or shared")] = "private"
    app: Annotated[AppType, Allowed("jupyter-lab or code-editor")] = "jupyter-lab"
    instance_type: Annotated[StudioType | None, Allowed("like ml.t3.medium, or null: the domain's")] = None
    volume_size_in_gb: Annotated[VolumeSize | None, Allowed("5 to 16384, or null: storage.default_gb")] = None
    lifecycle_config: Annotated[str | None, Allowed("a name in studio.lifecycle_configs, or null: the default one")] = (
        None
    )

    @model_validator(mode="after")
    def _can_be_shared(self) -> Space:
        # DefaultSpaceSettings, which shared spaces have, know no Code Editor:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DefaultSpaceSettings.html
        if self.sharing == "shared" and self.app == "code-editor":
            raise Misfit(
                (
                    ("app",),
                    "code-editor does not fit sharing: shared: Code Editor runs in private spaces; use jupyter-lab",
                )
            )
        return self
