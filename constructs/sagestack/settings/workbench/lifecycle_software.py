"""What is installed on an instance, and from where: packages, environments, extensions of JupyterLab."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit
from sagestack.settings.workbench.notebook import SecretArn

EnvironmentName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,49}$"),
    Allowed("letters, digits and _ . -, a letter first, up to 50"),
]
PackageSpec = Annotated[
    str,
    # One word that is no option of pip or conda, no URL and no path: what a package index answers for.
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?([=<>!~]=?[A-Za-z0-9._*+!,<>=~-]+)?$",
        max_length=200,
    ),
    Allowed("a package as pip or conda knows it, like pandas or xgboost-cpu==3.2.0"),
]


def each_once(packages: list[str]) -> list[str]:
    """Returns packages, or raises `ValueError` where one is there twice: no installer can satisfy two versions of one."""
    names = [re.sub(r"[-_.]+", "-", re.split(r"[\[=<>!~]", spec, maxsplit=1)[0]).lower() for spec in packages]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{packages[names.index(name)]!r} and {packages[index]!r} are one package; say it once")
    return packages


PackageList = Annotated[
    list[PackageSpec], Field(min_length=1, max_length=100), AfterValidator(each_once), Allowed("1 to 100 packages")
]


CondaChannel = Annotated[
    str,
    Field(pattern=r"^(https?://[^\s@'\"$`\\|]+|[A-Za-z0-9][A-Za-z0-9._-]*)$"),
    Allowed("a channel, like conda-forge"),
]


class Packages(Settings):
    """Packages that are added to a kernel that the instance brings."""

    manager: Annotated[Literal["pip", "conda"], Allowed("pip or conda")]
    kernel: Annotated[EnvironmentName, Allowed("the name of a conda environment, like python3")] = "python3"
    packages: PackageList


class CondaEnvironment(Settings):
    """A conda environment on the volume, with a kernel of its own; it survives a stop."""

    python: Annotated[str, Field(pattern=r"^3\.[0-9]{1,2}$"), Allowed('in quotes, like "3.12"')] = "3.12"
    packages: Annotated[
        list[PackageSpec], Field(max_length=100), AfterValidator(each_once), Allowed("up to 100 packages of conda")
    ] = []
    pip: Annotated[
        list[PackageSpec],
        Field(max_length=100),
        AfterValidator(each_once),
        Allowed("up to 100 packages of pip, after conda's"),
    ] = []
    channels: Annotated[
        list[CondaChannel], Field(max_length=20), Allowed("channels by name or address; none: the instance's own")
    ] = []


class PackageIndex(Settings):
    """Where pip and conda find packages instead of the public places."""

    url: Annotated[
        str | None,
        Field(pattern=r"^https?://[^\s@'\"$`\\]+$"),
        Allowed("pip's index, https://..., without a user or a password"),
    ] = None
    secret_arn: Annotated[SecretArn | None, Allowed("the ARN of a secret with username and password, or null")] = None
    trusted_host: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9.:-]+$"), Allowed("a host, or null")] = None
    conda_channels: Annotated[
        list[CondaChannel],
        Field(max_length=20),
        Allowed("channels by name or address, up to 20"),
    ] = []

    @model_validator(mode="after")
    def _something_is_said(self) -> PackageIndex:
        if self.url is None and not self.conda_channels:
            raise ValueError("package_index: say url (for pip) or conda_channels, or leave package_index out")
        first = self.url or self.conda_channels[0]
        if self.secret_arn is not None and not first.startswith("https://"):
            raise Misfit((("secret_arn",), f"a password is sent to https:// only, and {first!r} is not"))
        if self.trusted_host is not None and self.url is None:
            raise Misfit((("trusted_host",), "is pip's, and goes with url"))
        return self


class Extensions(Settings):
    """What JupyterLab has more, or less, than the instance brings."""

    pip: Annotated[list[PackageSpec], Field(max_length=50), Allowed("up to 50 packages with extensions")] = []
    disable: Annotated[
        list[Annotated[str, Field(pattern=r"^@?[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._:-]+)?$")]],
        Field(max_length=50),
        Allowed("up to 50 extensions, like @jupyterlab/apputils-extension:announcements"),
    ] = []
