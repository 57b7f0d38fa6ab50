"""The project's repository on its git host, as delivery.yaml names it, with the token that the shell or the CI gives."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sagestack.cli import ci
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from functions.version_pin.git_hosts import GitHost

TOKEN, API = "SAGESTACK_GIT_TOKEN", "SAGESTACK_GIT_API_URL"  # the names of variables
_TOKENS = {"github": "GITHUB_TOKEN", "gitlab": "GITLAB_TOKEN", "bitbucket": "BITBUCKET_TOKEN"}
_PERMISSIONS = {
    "github": "Contents and Pull requests: read and write",
    "gitlab": "the scope api",
    "bitbucket": "repository:write and pullrequest:write",
}

ATTEMPTS = 5
FIRST_WAIT_S = 1.0
"""Before the second attempt; each further wait is twice as long, or what the host asks for."""
MAX_WAIT_S = 60.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class HostedRepository:
    """One repository, and how to speak to its host.

    Attributes:
        host: the calls.
        kind: github, gitlab or bitbucket.
        name: owner/name.
        branch: the one that is deployed.
        address: of the API.
        token: that goes there.
        permissions: that it needs, in the host's words.
    """

    host: GitHost
    kind: str
    name: str
    branch: str
    address: str
    token: str = field(repr=False)
    permissions: str

    def ask(self, work: Callable[[], Result]) -> Result:
        """Do something with the host, again where it is busy or down for a moment; so it must bear to be done twice.

        Raises:
            CliError: the host refused, or did not answer in the end.
        """
        from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

        from functions.version_pin.http_api import HostError

        growing = wait_exponential(multiplier=FIRST_WAIT_S, max=MAX_WAIT_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, HostError) else None
            return growing(state) if asked is None else min(asked, MAX_WAIT_S)

        def passes(error: BaseException) -> bool:
            if not isinstance(error, HostError):
                return False
            # GitHub says with 403 and Retry-After that there were too many requests:
            # https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
            # 501 is for good: the local git host says it of what it has not.
            is_down = error.status >= 500 and error.status != 501
            return is_down or error.status in (0, 429) or error.retry_after_s is not None

        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS), wait=wait, retry=retry_if_exception(passes), reraise=True
        )
        try:
            return retrying(work)
        except HostError as error:
            raise CliError(
                f"The git host ({self.kind}, {self.name}) refused: {error}"
                if error.status
                else f"The git host ({self.kind}, {self.name}) did not answer: {error}",
                hint=self._hint(error.status),
                code="git-host",
                details={"status": error.status or None},
            ) from error

    def _hint(self, status: int) -> str | None:
        token = f"{TOKEN} or {_TOKENS[self.kind]}"
        if status == 0:
            return (
                f"Is it up, and is its address right (repository.api_url in delivery.yaml, {API})? Then do this again."
            )
        if status == 401:
            return f"The token in {token} is not valid, or not any more."
        if status == 403:
            return (
                f"The token in {token} needs {self.permissions}. A pull request from a fork gets a token that only"
                " reads; a workflow's own opens pull requests only where GitHub Actions may (the repository's settings)."
                if self.kind == "github"
                else f"The token in {token} needs {self.permissions}."
            )
        if status == 404:
            return f"There is no such thing, or the token in {token} may not see it: is repository.name in delivery.yaml right?"
        return None


def open_repository(root: Path, permissions: str | None = None) -> HostedRepository:
    """The repository that delivery.yaml names.

    Args:
        root: the project.
        permissions: that the token needs, in the host's words; None for those of whoever opens pull requests.

    Raises:
        SettingsError: delivery.yaml is not valid.
        CliError: there is no token, or this runs in the CI of another repository.
    """
    from sagestack.settings.delivery import load_delivery

    repository = load_delivery(root).repository
    make_functions_importable()
    from functions.version_pin.git_hosts import APIS, HOSTS, HostError

    kind = repository.host
    permissions = permissions or _PERMISSIONS[kind]
    token = os.environ.get(TOKEN) or os.environ.get(_TOKENS[kind])
    if not token:
        raise CliError(
            f"There is no token for {repository.name} on {kind}.",
            hint=f"Set {_TOKENS[kind]} (or {TOKEN}) to a token with {permissions}.",
            code="set-up",
        )
    override = os.environ.get(API)
    if not override:
        ci.refuse_other_repository(repository.host, repository.name)
    address = override or repository.api_url or ci.api_url(repository.host) or APIS[repository.host]
    token = token.strip()
    try:
        host = HOSTS[repository.host](address, repository.name, token)
    except HostError as error:
        raise CliError(f"{error}.", code="settings") from error
    return HostedRepository(host, kind, repository.name, repository.branch, address, token, permissions)


def make_functions_importable() -> None:
    """The functions are no installed package: the program does not see them as `app.py` and a test do."""
    from sagestack.settings import PROJECT_ROOT

    root = PROJECT_ROOT
    if str(root) not in sys.path:
        sys.path.append(str(root))
