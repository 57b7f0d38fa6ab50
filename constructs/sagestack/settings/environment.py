"""What one environment is: its account, network, retention, and what each model may use there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from sagestack.settings.accounts import LOCAL_ACCOUNT, Account, Region
from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, FromPath, Misfit, dotted, suggestion
from sagestack.settings.git import Git
from sagestack.settings.hosting import Serverless
from sagestack.settings.load import Load
from sagestack.settings.model_in_environment import ModelName, ModelSettings
from sagestack.settings.source import SettingsFile
from sagestack.settings.workbench import Workbench, fit
from sagestack.settings.workbench.cost import check_counted

TagKey = Annotated[str, Field(pattern=r"^[\w .:/=+@-]+$", max_length=128)]
TagValue = Annotated[str, Field(pattern=r"^[\w .:/=+@-]*$", max_length=256)]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]
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

    _file: SettingsFile | None = PrivateAttr(default=None)

    def problem(self, text: str, path: Sequence[str | int]) -> str:
        """Puts what is wrong behind the file, the line and the key; behind the key alone where no file was read."""
        text = f"{dotted(path)}: {text}"
        return self._file.problem(text, path=path) if self._file else f"{self.name}: {text}"

    @model_validator(mode="after")
    def _image_fits_account(self) -> Environment:
        if (self.model_image == "build-context") != (self.account == LOCAL_ACCOUNT):
            raise ValueError(
                f"model_image {self.model_image!r} does not fit account {self.account!r}: AWS starts containers from"
                f" ECR alone, and the local cloud (account '{LOCAL_ACCOUNT}') from a build-context"
            )
        return self

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
