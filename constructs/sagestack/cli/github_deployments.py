"""What GitHub remembers of its environments: which commit each one has. It keeps a deployment for each job that names one.

https://docs.github.com/en/rest/deployments/deployments, /rest/deployments/statuses
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.hosted_repository import HostedRepository

PERMISSIONS = "Deployments: read"
"""Of a token."""
_VERSION = {"X-GitHub-Api-Version": "2022-11-28"}
_PAGE = 100
"""The most that a page may have."""
_PAGES = 3
"""Of deployments, the newest first: where none of these succeeded, nobody has deployed for a long time."""


def refuse_other_hosts(kind: str, name: str, environment: str) -> None:
    """Ends where there is nothing to ask; it needs no token, so that nobody gets one in vain.

    Args:
        kind: github, gitlab or bitbucket.
        name: of the repository.
        environment: that somebody asks about.

    Raises:
        CliError: another host than GitHub.
    """
    if kind != "github":
        raise CliError(
            f"{name} is on {kind}, which keeps no deployments of environments.",
            hint="The pipeline on AWS remembers the commit in the parameter"
            f" /sagestack/delivery/{environment}/deployed-commit.",
            code="settings",
        )


def deployed_commit(hosted: HostedRepository, environment: str) -> str | None:
    """The commit of the newest deployment of an environment that succeeded; None where none did.

    Whoever deploys from a laptop leaves no deployment behind, so that is not known here.

    Raises:
        CliError: another host than GitHub, or it refused.
    """
    refuse_other_hosts(hosted.kind, hosted.name, environment)
    from functions.version_pin.http_api import Api, quoted

    headers = {"Authorization": f"Bearer {hosted.token}", "Accept": "application/vnd.github+json", **_VERSION}
    api = Api(hosted.address, headers)

    def asked(path: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = hosted.ask(lambda: api.call("GET", path))
        return answer

    root = f"repos/{hosted.name}/deployments"
    for page in range(1, _PAGES + 1):
        query = f"environment={quoted(environment, safe='')}&per_page={_PAGE}&page={page}"
        found = asked(f"{root}?{query}")
        for deployment in sorted(found, key=lambda each: (each["created_at"], each["id"]), reverse=True):
            # A newer success makes an older one inactive, but its statuses stay.
            statuses = asked(f"{root}/{deployment['id']}/statuses?per_page={_PAGE}")
            if any(status["state"] == "success" for status in statuses):
                return str(deployment["sha"])
        if len(found) < _PAGE:
            break
    return None


def is_older(root: Path, commit: str) -> bool | None:
    """Whether what is checked out came before a commit; None where git does not know the commit, as after a forced push.

    Raises:
        CliError: git is missing, or the history, which a shallow clone has not.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") == (0, "true"):
        raise CliError(
            f"{root} is a shallow clone, so nobody can say which of two commits is older.",
            hint="git fetch --unshallow, or fetch-depth: 0 in a workflow.",
            code="set-up",
        )
    code, head = _git(root, "rev-parse", "--verify", "HEAD")
    if code:
        raise CliError(f"{root} is no git repository with a commit.", hint="git clone it.", code="set-up")
    if head == commit:
        return False
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}")[0]:
        return None
    return _git(root, "merge-base", "--is-ancestor", "HEAD", commit)[0] == 0


def _git(root: Path, *arguments: str) -> tuple[int, str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise CliError("There is no git.", hint="Install it.", code="set-up") from None
    return done.returncode, done.stdout.strip()
