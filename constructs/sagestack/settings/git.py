"""Where the project's repository is, for what an approval changes in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed


class Git(Settings):
    """The repository that approvals are taken to."""

    host: Annotated[Literal["github", "gitlab", "bitbucket"], Allowed("github, gitlab or bitbucket")]
    repository: Annotated[
        str,
        Field(pattern=r"^[\w.-]+(/[\w.-]+)+$"),
        Allowed("owner/name; on GitLab the path of the project, with its groups"),
    ]
    branch: Annotated[str, Field(pattern=r"^[\w./-]+$"), Allowed("a branch, like main")] = "main"
    change: Annotated[Literal["pull-request", "commit"], Allowed("pull-request or commit")] = "pull-request"
    """A pull request is looked at before it counts; a commit counts at once: sensible for `dev` alone."""
    token_secret_arn: Annotated[
        str,
        Field(pattern=r"^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$"),
        Allowed("the whole ARN of a secret in Secrets Manager, whose text is the token"),
    ]
    """Of a token that may write contents and open pull requests in this repository, and nothing else."""
    api_url: Annotated[
        str | None, Field(pattern=r"^https?://"), Allowed("the address of the API of a server of one's own, or null")
    ] = None

    @model_validator(mode="after")
    def _is_encrypted(self) -> Git:
        if self.api_url is not None and self.api_url.startswith("http://") and "//127.0.0.1" not in self.api_url:
            raise ValueError(f"git.api_url {self.api_url!r} would send the token unencrypted (allowed: https://)")
        return self
