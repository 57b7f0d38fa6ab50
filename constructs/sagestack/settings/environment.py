"""What one environment is: its account, network, retention, and what each model may use there."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from sagestack.settings import shipped, source
from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, FromPath, Misfit, SettingsError, described, dotted, suggestion
from sagestack.settings.git import Git
from sagestack.settings.hosting import Hosting, RealTime, Serverless
from sagestack.settings.hosting_checks import hosting_problems
from sagestack.settings.instance_types import check_instance_type
from sagestack.settings.load import Load
from sagestack.settings.source import SettingsFile
from sagestack.settings.workbench import Workbench, fit
from sagestack.settings.workbench.cost import check_counted

LOCAL = "local"
LOCAL_ACCOUNT = "000000000000"
"""The account of the local cloud; AWS gives it to nobody."""

PROJECT_ROOT = Path(__file__).resolve().parents[3]


@functools.cache
def _regions() -> list[str]:
    session = shipped.session()
    return sorted(
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("sagemaker", partition)
    )


def _known_region(region: str) -> str:
    regions = _regions()
    if region not in regions:
        raise ValueError(f"{region!r} is not a region with SageMaker{suggestion(region, regions)}")
    return region


Account = Annotated[str, Field(pattern=r"^[0-9]{12}$"), Allowed("12 digits, in quotes")]
Region = Annotated[str, AfterValidator(_known_region), Allowed("a region with SageMaker, like us-east-1")]
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
TagKey = Annotated[str, Field(pattern=r"^[\w .:/=+@-]+$", max_length=128)]
TagValue = Annotated[str, Field(pattern=r"^[\w .:/=+@-]*$", max_length=256)]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]
TrainingType = Annotated[str, AfterValidator(lambda t: check_instance_type(t, "training")), Allowed("like ml.m5.large")]
ProcessingType = Annotated[
    str, AfterValidator(lambda t: check_instance_type(t, "processing")), Allowed("like ml.m5.large")
]
Days = Annotated[int, Field(ge=1, le=3653), Allowed("a whole number of days, 1 to 3653")]


class Network(Settings):
    """Where containers get their network interfaces."""

    # The bounds are SageMaker's own, for VpcConfig.
    subnet_ids: Annotated[
        list[SubnetId], Field(min_length=1, max_length=16), Allowed("1 to 16 ids like subnet-0123456789abcdef0")
    ]
    security_group_ids: Annotated[
        list[SecurityGroupId], Field(min_length=1, max_length=5), Allowed("1 to 5 ids like sg-0123456789abcdef0")
    ]


class Retention(Settings):
    """How long what is no longer in use is kept."""

    noncurrent_version_days: Days
    access_log_days: Days


class Spot(Settings):
    """Training on capacity that AWS may take back: cheaper, and it may take longer."""

    max_wait_in_seconds: Annotated[
        int, Field(ge=60, le=2419200), Allowed("a whole number of seconds, 60 to 2419200 (28 days)")
    ]


class PipelineSize(Settings):
    """What a model is prepared, trained and evaluated on."""

    processing_instance_type: ProcessingType
    training_instance_type: TrainingType
    volume_size_in_gb: Annotated[int, Field(ge=1, le=16384), Allowed("a whole number of GB, 1 to 16384")]
    # A processing job may run for 9 days at most; a training job longer, but one number serves both.
    max_runtime_in_seconds: Annotated[
        int, Field(ge=60, le=777600), Allowed("a whole number of seconds, 60 to 777600 (9 days)")
    ]
    training_instance_count: Annotated[int, Field(ge=1, le=100), Allowed("a whole number, 1 to 100")]
    spot: Annotated[Spot | None, Allowed("null, or max_wait_in_seconds")]

    @model_validator(mode="after")
    def _wait_includes_the_run(self) -> PipelineSize:
        if self.spot is not None and self.spot.max_wait_in_seconds < self.max_runtime_in_seconds:
            raise ValueError(
                f"spot.max_wait_in_seconds is {self.spot.max_wait_in_seconds}, and must be at least"
                f" max_runtime_in_seconds ({self.max_runtime_in_seconds}): it counts the waiting and the run together"
            )
        return self


class ModelSettings(Settings):
    """What one environment does with one model."""

    served_version: Annotated[
        int | None,
        Field(ge=1),
        Allowed("the number of a version in the model registry, or null while none is served"),
    ]
    endpoint: Hosting
    pipeline: PipelineSize
    versions_from: Annotated[str | None, Allowed("the name of another environment, or null")] = None
    """The environment whose registry the served version is in; null: this one's own."""
    deployable_from: Annotated[list[Account], Allowed("accounts that may deploy this environment's versions")] = []

    @property
    def is_served(self) -> bool:
        """Whether there is an endpoint."""
        return self.served_version is not None or self.serves_archives

    @property
    def serves_archives(self) -> bool:
        """Whether the endpoint serves whatever archives there are, rather than a version."""
        return isinstance(self.endpoint, RealTime) and self.endpoint.serves_archives

    @model_validator(mode="after")
    def _endpoint_fits_together(self) -> ModelSettings:
        if problems := hosting_problems(self.endpoint):
            raise Misfit(*((("endpoint", *path), text) for path, text in problems))
        return self

    @model_validator(mode="after")
    def _archives_have_no_version(self) -> ModelSettings:
        if self.serves_archives and self.served_version is not None:
            raise Misfit(
                (
                    ("served_version",),
                    f"{self.served_version}, and endpoint.serves_archives: an endpoint of many models serves the archives"
                    " below its prefix, not a version; write null",
                )
            )
        return self


class Environment(Settings):
    """One file of `environments/`, with the local pins merged in."""

    name: Annotated[
        str,
        Field(pattern=r"^[a-z][a-z0-9]{0,11}$"),
        Allowed("the file's name: up to 12 lower-case letters and digits, a letter first"),
        FromPath(),
    ]
    account: Account
    region: Region
    model_image: Annotated[
        Literal["build-context", "ecr"], Allowed("build-context (the local cloud only) or ecr (everywhere on AWS)")
    ]
    network: Annotated[Network | None, Allowed("null, or subnet_ids and security_group_ids")]
    removal_policy: Annotated[Literal["destroy", "retain"], Allowed("destroy or retain")]
    retention: Retention
    git: Annotated[Git | None, Allowed("null, or host, repository, token_secret_arn")] = None
    """Where approvals are taken; null: nowhere, and `sagestack promote` pins by hand."""
    permissions_boundary: Annotated[bool, Allowed("true or false")] = True
    """Whether roles carry the boundary that `sagestack bootstrap` makes, without which its deployment policy refuses them.

    Off for `local`, where nobody is kept from anything and the bootstrap is not run by default.
    """
    load: Annotated[Load, Allowed("what is expected in a month, for the review's estimate of cost")] = Load()
    workbench: Annotated[
        Workbench | None, Allowed("null, or network, notebooks, studio, personas and what they cost")
    ] = None
    """What people work with; null: nothing."""
    tags: Annotated[
        dict[TagKey, TagValue],
        Field(max_length=40),
        Allowed(
            "at most 40, in letters, digits, spaces and _ . : / = + - @; keys of 1 to 128 characters, values up to 256"
        ),
    ]
    models: Annotated[
        dict[ModelName, ModelSettings],
        Allowed("names of folders in model_code: lower-case letters, digits and single hyphens, at most 40 characters"),
    ]

    @model_validator(mode="after")
    def _image_fits_account(self) -> Environment:
        if (self.model_image == "build-context") != (self.account == LOCAL_ACCOUNT):
            raise ValueError(
                f"model_image {self.model_image!r} does not fit account {self.account!r}: AWS starts containers from"
                f" ECR alone, and the local cloud (account '{LOCAL_ACCOUNT}') from a build-context"
            )
        return self

    _file: SettingsFile | None = PrivateAttr(default=None)

    def problem(self, text: str, path: Sequence[str | int]) -> str:
        """Puts what is wrong behind the file, the line and the key; behind the key alone where no file was read."""
        text = f"{dotted(path)}: {text}"
        return self._file.problem(text, path=path) if self._file else f"{self.name}: {text}"

    @model_validator(mode="after")
    def _serverless_has_no_network(self) -> Environment:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html (feature exclusions)
        serverless = [name for name, model in self.models.items() if isinstance(model.endpoint, Serverless)]
        if self.network is not None and serverless:
            raise Misfit(
                *(
                    (
                        ("models", name, "endpoint", "kind"),
                        "serverless does not run in a network, and this environment has one; choose another kind, or"
                        " an environment with network: null",
                    )
                    for name in serverless
                )
            )
        return self

    @model_validator(mode="after")
    def _load_is_of_models(self) -> Environment:
        if unknown := [name for name in self.load.models if name not in self.models]:
            raise Misfit(
                *(
                    (("load", "models", name), f"there is no model {name!r}{suggestion(name, self.models)}")
                    for name in unknown
                )
            )
        return self

    @model_validator(mode="after")
    def _workbench_fits(self) -> Environment:
        if self.workbench and (problems := list(fit.problems(self.workbench, self.region, list(self.models)))):
            raise Misfit(*problems)
        return self

    @model_validator(mode="after")
    def _local_cloud_has_no_nat(self) -> Environment:
        if self.account == LOCAL_ACCOUNT and self.workbench and self.workbench.network.nat:
            raise Misfit(
                (
                    ("workbench", "network", "nat"),
                    "true, and the local cloud has no NAT gateways; its instances reach what this machine reaches: leave it out",
                )
            )
        return self

    @model_validator(mode="after")
    def _budget_counts_what_is_tagged(self) -> Environment:
        if self.workbench and self.workbench.budget:
            check_counted(self.workbench.budget, self.tags)
        return self

    @model_validator(mode="after")
    def _tags_are_ours(self) -> Environment:
        problems = [
            (("tags", key), f"keys that start with '{owner}:' belong to {whose}")
            for key in self.tags
            for owner, whose in (("aws", "AWS"), ("sagestack", "the project, which decides by them who may do what"))
            if key.lower().startswith(f"{owner}:")
        ]
        # Roles carry these tags, too, and a tag of a role is one of each session of it.
        if self.workbench and self.workbench.personas:
            user_tag = self.workbench.personas.user_tag
            problems += [
                (
                    ("tags", key),
                    f"is the tag by which a session says who it is (workbench.personas.user_tag: {user_tag})",
                )
                for key in self.tags
                if key.lower() == user_tag.lower()
            ]
        if problems:
            raise Misfit(*problems)
        return self


class PinnedModel(Settings):
    """What a pins file says of one model."""

    served_version: Annotated[
        int | None,
        Field(ge=1),
        Allowed("the number of a version in the model registry, or null while none is served"),
    ]


class Pins(Settings):
    """`environments/local.pins.yaml`: what the local cloud serves, kept out of git so that the tree stays clean."""

    models: dict[ModelName, PinnedModel]


def known_environments(root: Path = PROJECT_ROOT) -> list[str]:
    """The names of all environments, sorted: one per `environments/<name>.yaml`."""
    return sorted(path.stem for path in (root / "environments").glob("*.yaml") if "." not in path.stem)


def environment_file(name: str, root: Path = PROJECT_ROOT) -> Path:
    return root / "environments" / f"{name}.yaml"


def pins_file(name: str, root: Path = PROJECT_ROOT) -> Path:
    """The file that holds the served versions of an environment.

    It is the environment's own, reviewed in git, but for `local`: what a laptop serves concerns nobody else.
    """
    return root / "environments" / f"{LOCAL}.pins.yaml" if name == LOCAL else environment_file(name, root)


def model_folders(root: Path = PROJECT_ROOT) -> list[str]:
    """The names of all models, sorted: one per `model_code/<name>/model.yaml`."""
    return sorted(path.parent.name for path in (root / "model_code").glob("*/model.yaml"))


def load_environment(name: str, root: Path = PROJECT_ROOT) -> Environment:
    """Reads `environments/<name>.yaml`, with the pins of `local` merged in, against the folders of `model_code/`.

    Raises `SettingsError` with everything that is wrong at once.
    """
    known = known_environments(root)
    if name not in known:
        raise SettingsError(
            [f"there is no environment {name!r}{suggestion(name, known)} (known: {', '.join(known) or 'none'})"]
        )
    problems: list[str] = []
    file = _read(environment_file(name, root), root, problems)
    content = file.content if file else {}
    if file:
        if "name" in content:
            problems.append(file.problem("name: unknown key; the environment is named by its file", path=("name",)))
        problems += _unmatched_models(file, content, root)
    if name == LOCAL and pins_file(name, root).exists():
        _merge_pins(content, root, problems)
    if name == LOCAL:
        _leave_capture_off(content)
        content.setdefault("permissions_boundary", False)
    environment = _validated(Environment, {**content, "name": name}, file, problems) if file else None
    if problems or environment is None:
        raise SettingsError(problems)
    environment._file = file
    return environment


def _leave_capture_off(content: dict[str, Any]) -> None:
    """Data capture is on by default, but on the laptop, where nobody monitors and the disk is somebody's own."""
    models = content.get("models")
    for model in models.values() if isinstance(models, dict) else []:
        endpoint = model.get("endpoint") if isinstance(model, dict) else None
        if isinstance(endpoint, dict) and endpoint.get("kind") in ("real-time", "asynchronous"):
            endpoint.setdefault("data_capture", None)


def load_sources(environment: Environment, root: Path = PROJECT_ROOT) -> dict[str, Environment]:
    """Reads the environments whose versions this one serves (`versions_from`), by name.

    Raises `SettingsError` where one is not there, is this one, or does not let this one's account in.
    """
    sources: dict[str, Environment] = {}
    problems: list[str] = []
    for name, entry in environment.models.items():
        source, path = entry.versions_from, ("models", name, "versions_from")
        if source is None:
            continue
        known = [each for each in known_environments(root) if each not in (environment.name, LOCAL)]
        if source not in known:
            problems.append(
                environment.problem(
                    f"{source!r} is no other environment{suggestion(source, known)} (known: {', '.join(known)})", path
                )
            )
            continue
        if source not in sources:
            sources[source] = load_environment(source, root)
        there = sources[source]
        if there.account != environment.account and environment.account not in there.models[name].deployable_from:
            problems.append(
                environment.problem(
                    f"{source} does not let account {environment.account} in: add it to models.{name}.deployable_from in"
                    f" environments/{source}.yaml",
                    path,
                )
            )
    if problems:
        raise SettingsError(problems)
    return sources


def _merge_pins(content: dict[str, Any], root: Path, problems: list[str]) -> None:
    file = _read(pins_file(LOCAL, root), root, problems)
    pins = _validated(Pins, file.content, file, problems) if file else None
    models = content.get("models")
    if file is None or pins is None or not isinstance(models, dict):
        return
    for model, pinned in pins.models.items():
        if isinstance(models.get(model), dict):
            models[model]["served_version"] = pinned.served_version
        else:
            problems.append(
                file.problem(
                    f"models.{model}: is not a model of this environment{suggestion(model, models)}"
                    f" (known: {', '.join(models)})",
                    path=("models", model),
                )
            )


def _unmatched_models(file: SettingsFile, content: Mapping[str, Any], root: Path) -> list[str]:
    entries = content.get("models")
    if not isinstance(entries, dict):
        return []
    folders = model_folders(root)
    without_folder = [
        file.problem(
            f"models.{name}: there is no model_code/{name}/model.yaml{suggestion(name, folders)}"
            f" (models: {', '.join(folders) or 'none'})",
            path=("models", name),
        )
        for name in entries
        if name not in folders
    ]
    without_entry = [
        file.problem(f"models: model_code/{name} has no entry here; add models.{name}", path=("models",))
        for name in folders
        if name not in entries
    ]
    return without_folder + without_entry


SomeSettings = TypeVar("SomeSettings", bound=Settings)


def _read(path: Path, root: Path, problems: list[str]) -> SettingsFile | None:
    try:
        return source.read(path, root=root)
    except source.UnreadableError as error:
        problems.append(str(error))
        return None


def _validated(
    kind: type[SomeSettings], content: Mapping[str, Any], file: SettingsFile, problems: list[str]
) -> SomeSettings | None:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems += described(error, kind, file)
        return None
