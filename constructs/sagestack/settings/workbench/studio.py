"""A SageMaker Studio domain: who is in it, what their spaces are, and when they are shut down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit, suggestion
from sagestack.settings.workbench.studio_people import (
    SPACE_FAMILIES,
    AppType,
    DefaultType,
    IdleShutdown,
    Space,
    Storage,
    StudioName,
    StudioType,
    UserProfile,
    takes_space_type,
)
from sagestack.settings.workbench.studio_software import (
    CustomImage,
    GitIdentity,
    SoftwareName,
    StudioLifecycleConfig,
)

__all__ = [
    "AppType",
    "CustomImage",
    "GitIdentity",
    "IdleShutdown",
    "Space",
    "Storage",
    "Studio",
    "StudioLifecycleConfig",
    "UserProfile",
]

MlTool = Literal[
    "AutoMl",
    "Comet",
    "DataWrangler",
    "DeepchecksLLMEvaluation",
    "EmrClusters",
    "Endpoints",
    "Experiments",
    "FeatureStore",
    "Fiddler",
    "HyperPodClusters",
    "InferenceOptimization",
    "InferenceRecommender",
    "JumpStart",
    "LakeraGuard",
    "ModelEvaluation",
    "Models",
    "PerformanceEvaluation",
    "Pipelines",
    "Projects",
    "Training",
]

_Found = tuple[tuple[str | int, ...], str]


class Studio(Settings):
    """The domain. Always in the workbench's network alone (`VpcOnly`), and always today's Studio, never Studio Classic."""

    auth: Annotated[Literal["iam", "identity-center"], Allowed("iam or identity-center")] = "iam"
    """How people sign in. `identity-center` needs IAM Identity Center in the environment's region, of the account or of its
    organization. It cannot change: SageMaker would make another domain.
    https://docs.aws.amazon.com/sagemaker/latest/dg/onboard-custom.html"""
    user_profiles: Annotated[
        dict[StudioName, UserProfile],
        Field(max_length=200),
        Allowed("people by profile name: letters, digits and hyphens, at most 63"),
    ] = {}
    spaces: Annotated[
        dict[StudioName, Space],
        Field(max_length=200),
        Allowed("spaces by name: letters, digits and hyphens, at most 63"),
    ] = {}
    """Those that are in git. People may make private ones besides, and shared ones."""
    instance_type: DefaultType = "ml.t3.medium"
    """What apps start on unless somebody chooses another: the cheapest that takes JupyterLab."""
    instance_types: Annotated[list[StudioType], Allowed("the types that people may choose; none said: all")] = []
    idle_shutdown: Annotated[IdleShutdown | None, Allowed("minutes, min_minutes, max_minutes; null: never")] = (
        IdleShutdown()
    )
    """On by default: an app is billed by the second whether somebody works or not."""
    storage: Storage = Storage()
    home_directories: Annotated[
        Literal["keep", "delete"] | None, Allowed("keep, delete, or null: as removal_policy says")
    ] = None
    """What becomes of the domain's file system, which has everybody's home directory, when the domain is removed."""
    lifecycle_configs: Annotated[
        dict[SoftwareName, StudioLifecycleConfig], Field(max_length=20), Allowed("scripts of apps, by name")
    ] = {}
    custom_images: Annotated[
        dict[SoftwareName, CustomImage], Field(max_length=20), Allowed("images of apps, by name")
    ] = {}
    notebook_output_sharing: Annotated[bool, Allowed("true or false")] = False
    """Whether people may share a copy of a notebook with what it printed, which may be anybody's data."""
    docker_access: Annotated[bool, Allowed("true or false")] = False
    """Whether apps may build and run containers: who can has root in them, and whatever images the network reaches."""
    hidden_instance_types: Annotated[
        list[DefaultType], Allowed("types that Studio does not show; instance_types is what forbids")
    ] = []
    hidden_ml_tools: Annotated[list[MlTool], Allowed("parts of Studio that are not shown, like JumpStart")] = []

    def keeps_home_directories(self, removal_policy: Literal["destroy", "retain"]) -> bool:
        """Whether home directories outlive the domain, in an environment whose data is treated so."""
        wanted = self.home_directories or ("keep" if removal_policy == "retain" else "delete")
        return wanted == "keep"

    @property
    def stopped_by(self) -> list[str]:
        """In words, what stops apps that do nothing."""
        return [f"idle shutdown after {self.idle_shutdown.minutes} min"] if self.idle_shutdown else []

    @property
    def all_instance_types(self) -> list[str]:
        """What apps may run on, as far as it is said."""
        said = [self.instance_type, *self.instance_types]
        said += [each for profile in self.user_profiles.values() for each in profile.instance_types or []]
        said += [each.instance_type for each in self.spaces.values() if each.instance_type]
        return sorted(set(said))

    @property
    def owners(self) -> Mapping[str, str]:
        """Whose each profile is."""
        return {name: profile.owner or name for name, profile in self.user_profiles.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Studio:
        problems = [
            *self._one_default_for_each_app(),
            *self._types_are_allowed(),
            *(found for name, space in self.spaces.items() for found in self._space(name, space)),
            *self._one_profile_for_each_person(),
        ]
        if problems:
            raise Misfit(*problems)
        return self

    def _one_default_for_each_app(self) -> Iterator[_Found]:
        kinds: dict[str, Mapping[str, StudioLifecycleConfig] | Mapping[str, CustomImage]] = {
            "lifecycle_configs": self.lifecycle_configs,
            "custom_images": self.custom_images,
        }
        for key, all_of_it in kinds.items():
            often = Counter(each.app for each in all_of_it.values() if each.default)
            for name, each in all_of_it.items():
                if each.default and often[each.app] > 1:
                    yield (key, name, "default"), f"true for {often[each.app]} of {each.app}: one can be the default"
        always = Counter(each.app for each in self.lifecycle_configs.values() if each.always)
        for name, config in self.lifecycle_configs.items():
            if config.always and always[config.app] > 1:
                yield (
                    ("lifecycle_configs", name, "always"),
                    f"true for {always[config.app]} of {config.app}: SageMaker takes one; put what they do into it",
                )

    def _types_are_allowed(self) -> Iterator[_Found]:
        yield from self._type_problem(("instance_type",), self.instance_type, self.instance_types)
        for name, profile in self.user_profiles.items():
            path: tuple[str, ...] = ("user_profiles", name)
            allowed = self._allowed_to(name)
            yield from self._type_problem((*path, "instance_type"), profile.instance_type, allowed)

    def _space(self, name: str, space: Space) -> Iterator[_Found]:
        path: tuple[str, ...] = ("spaces", name)
        if space.owner not in self.user_profiles:
            yield (
                (*path, "owner"),
                f"{space.owner!r} is none of user_profiles{suggestion(space.owner, self.user_profiles)}",
            )
            return
        owner = self.user_profiles[space.owner]
        starts_on = space.instance_type or owner.instance_type or self.instance_type
        is_the_owners = space.instance_type is None and owner.instance_type is not None
        if not is_the_owners:  # the profile's own is looked at where it is written
            yield from self._type_problem((*path, "instance_type"), starts_on, self._allowed_to(space.owner))
        if starts_on != self.instance_type and not takes_space_type(starts_on):
            yield (
                ("user_profiles", space.owner, "instance_type") if is_the_owners else (*path, "instance_type"),
                f"{starts_on} is newer than what CloudFormation takes for a space ({', '.join(SPACE_FAMILIES)})"
                f"{f', and spaces.{name} has none of its own' if is_the_owners else ''}: make it the"
                " domain's instance_type, or leave it out, and choose it in Studio when the space is started",
            )
        storage = owner.storage or self.storage
        if space.volume_size_in_gb is not None and space.volume_size_in_gb > storage.max_gb:
            yield (
                (*path, "volume_size_in_gb"),
                f"{space.volume_size_in_gb} is more than storage.max_gb: {storage.max_gb}",
            )
        wanted = space.lifecycle_config
        if wanted is not None and wanted not in self.lifecycle_configs:
            yield (
                (*path, "lifecycle_config"),
                f"{wanted!r} is none of studio.lifecycle_configs{suggestion(wanted, self.lifecycle_configs)}",
            )
        elif wanted is not None and self.lifecycle_configs[wanted].app != space.app:
            yield (
                (*path, "lifecycle_config"),
                f"{wanted!r} is for {self.lifecycle_configs[wanted].app}, and the space has {space.app}",
            )
        elif wanted is not None and self.lifecycle_configs[wanted].always:
            yield (*path, "lifecycle_config"), f"{wanted!r} runs always, in this space too: take the line out"

    def _one_profile_for_each_person(self) -> Iterator[_Found]:
        if self.auth != "identity-center":
            return
        often = Counter(self.owners.values())
        for name, owner in self.owners.items():
            if often[owner] > 1:
                yield (
                    ("user_profiles", name, "owner"),
                    f"{owner!r} has {often[owner]} profiles: with auth: identity-center a person has one in a domain",
                )

    def _allowed_to(self, profile: str) -> list[str]:
        own = self.user_profiles[profile].instance_types
        return self.instance_types if own is None else own

    @staticmethod
    def _type_problem(path: tuple[str, ...], wanted: str | None, allowed: list[str]) -> Iterator[_Found]:
        if wanted is not None and allowed and wanted not in allowed:
            yield path, f"{wanted} is not among instance_types ({', '.join(allowed)})"
