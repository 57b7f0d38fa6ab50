"""A notebook instance: what it runs on, what is in it, who owns it, and what it may reach."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit
from sagestack.settings.instance_types import check_instance_type
from sagestack.settings.schedules import check_schedule, check_time_zone

# Amazon Linux 2 has ended: https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-al2.html
_ENDED = re.compile(r"notebook-al[12]-v\d+")
# https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-al2023.html (supported instance types)
_NOT_ON_AL2023 = ("ml.p2.", "ml.p3.", "ml.p3dn.", "ml.inf1.", "ml.g3.")


def _not_ended(platform: object) -> object:
    if isinstance(platform, str) and _ENDED.fullmatch(platform):
        raise ValueError(
            f"{platform!r} has ended: since July 2026 AWS makes and starts no instances with it (allowed: notebook-al2023-v1,"
            " notebook-al2023-v2); docs/how-to/work-in-a-notebook.md says how an instance moves"
        )
    return platform


Platform = Annotated[Literal["notebook-al2023-v1", "notebook-al2023-v2"], BeforeValidator(_not_ended)]
Owner = Annotated[str, Field(pattern=r"^[\w.@+=-]{1,64}$"), Allowed("a person's user name, up to 64 characters")]
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"), Allowed("the name of a bucket")]
SecretArn = Annotated[
    str,
    Field(pattern=r"^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$"),
    Allowed("the whole ARN of a secret in Secrets Manager"),
]
NotebookType = Annotated[
    str, AfterValidator(lambda t: check_instance_type(t, "notebook")), Allowed("like ml.t3.medium")
]
Schedule = Annotated[str, AfterValidator(check_schedule), Allowed("cron(minute hour day month weekday year)")]
TimeZone = Annotated[str, AfterValidator(check_time_zone), Allowed("like Europe/Berlin, or UTC")]


class Repository(Settings):
    """A git repository that is cloned into the instance."""

    url: Annotated[
        str,
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_GitConfig.html, narrowed
        Field(pattern=r"^https://[A-Za-z0-9][^\s@/]*/[^\s@]+$", max_length=1024),
        Allowed("an https:// address of up to 1024 characters without a user or a password"),
    ]
    branch: Annotated[
        str | None,
        Field(pattern=r"^[\w./][\w./-]*$", max_length=1024),
        Allowed("a branch, or null for the repository's own"),
    ] = None
    secret_arn: Annotated[SecretArn | None, Allowed("the ARN of a secret with username and password, or null")] = None
    """Of a secret whose text is JSON with `username` and `password` (a token), as SageMaker asks for it."""
    secret_key_arn: Annotated[
        str | None, Field(pattern=r"^arn:[^:]+:kms:.+$"), Allowed("the ARN of the secret's key, or null")
    ] = None
    """Where the secret is encrypted with a key of one's own."""

    @property
    def folder(self) -> str:
        """What it is cloned into, as git calls it."""
        return self.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")

    @model_validator(mode="after")
    def _a_key_has_a_secret(self) -> Repository:
        if self.secret_key_arn is not None and self.secret_arn is None:
            raise Misfit(
                (("secret_key_arn",), "is the key of a secret, and there is none; say secret_arn, or leave it out")
            )
        return self


class Grants(Settings):
    """What the instance's role may do besides reading the project's data and writing below its own prefix."""

    models: Annotated[
        list[str], Allowed("names of models whose pipeline it may start, endpoint call, versions read")
    ] = []
    jobs: Annotated[bool, Allowed("true or false")] = False
    """Whether it may start jobs and endpoints of its own, which run with its own role."""
    read_buckets: Annotated[list[BucketName], Allowed("names of more buckets to read")] = []
    write_buckets: Annotated[list[BucketName], Allowed("names of more buckets to read and write")] = []


class Hours(Settings):
    """When the instance starts and stops by itself."""

    start: Annotated[Schedule | None, Allowed("a schedule, or null")] = None
    stop: Annotated[Schedule | None, Allowed("a schedule, or null")] = None
    time_zone: TimeZone = "UTC"

    @model_validator(mode="after")
    def _what_starts_stops(self) -> Hours:
        problems = [
            ((side,), f"{said!r} is at no time of the day; say when, like cron(0 19 ? * * *)")
            for side, said in (("start", self.start), ("stop", self.stop))
            if said is not None and not said.startswith("cron(")
        ]
        if problems:
            raise Misfit(*problems)
        if self.stop is None:
            what = "nothing is scheduled" if self.start is None else "what is started each time would never be stopped"
            raise ValueError(f"hours: {what}; say stop, like cron(0 19 ? * * *)")
        if self.start == self.stop:
            raise ValueError(f"hours: start and stop are both {self.stop}; which of them came last would be chance")
        return self


class Notebook(Settings):
    """One notebook instance."""

    instance_type: NotebookType
    volume_size_in_gb: Annotated[int, Field(ge=5, le=16384), Allowed("a whole number of GB, 5 to 16384")] = 20
    platform: Annotated[Platform, Allowed("notebook-al2023-v1 or notebook-al2023-v2")] = "notebook-al2023-v1"
    root_access: Annotated[bool, Allowed("true or false")] = False
    owner: Annotated[Owner | None, Allowed("the user name of who may open it, or null: everybody with a persona")] = (
        None
    )
    lifecycle_config: Annotated[str | None, Allowed("a name in lifecycle_configs, or null")] = None
    # SageMaker takes one default repository and up to three more.
    repositories: Annotated[list[Repository], Field(max_length=4), Allowed("up to 4; the first one is opened")] = []
    grants: Grants = Grants()
    hours: Annotated[Hours | None, Allowed("null, or start, stop and time_zone")] = None

    @model_validator(mode="after")
    def _its_system_runs_there(self) -> Notebook:
        if self.instance_type.startswith(_NOT_ON_AL2023):
            raise Misfit(
                (
                    ("instance_type",),
                    f"{self.instance_type!r} does not run Amazon Linux 2023, and AWS starts notebook instances with no other"
                    " system; choose a newer one, like 'ml.g5.xlarge' for a GPU",
                )
            )
        return self

    @model_validator(mode="after")
    def _each_repository_has_a_folder(self) -> Notebook:
        folders = [repository.folder for repository in self.repositories]
        problems = [
            (
                ("repositories", index, "url"),
                f"{folder!r} is the folder that repositories[{folders.index(folder)}] is cloned into, too; a folder takes one",
            )
            for index, folder in enumerate(folders)
            if folder in folders[:index]
        ]
        if problems:
            raise Misfit(*problems)
        return self
