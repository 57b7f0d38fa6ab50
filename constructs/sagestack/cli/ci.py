"""What a CI says of itself, in its variables: GitHub Actions, GitLab, Bitbucket Pipelines, and CodeBuild behind CodePipeline.

https://docs.github.com/actions/reference/workflows-and-actions/variables, https://docs.gitlab.com/ci/variables/predefined_variables,
https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets,
https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sagestack.cli.errors import CliError

_REPOSITORIES = {
    "github": ("GITHUB_REPOSITORY",),
    # A pipeline of a merge request from a fork may run in the fork.
    "gitlab": ("CI_MERGE_REQUEST_PROJECT_PATH", "CI_PROJECT_PATH"),
    "bitbucket": ("BITBUCKET_REPO_FULL_NAME",),
}
_APIS = {"github": "GITHUB_API_URL", "gitlab": "CI_API_V4_URL"}
_COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA", "BITBUCKET_COMMIT", "CODEBUILD_RESOLVED_SOURCE_VERSION")


def api_url(kind: str) -> str | None:
    """The address of the host's API, set on a server of one's own, too; None outside of its CI."""
    return os.environ.get(_APIS.get(kind, "")) or None


def commit() -> str | None:
    """The commit that the CI runs for."""
    return next((os.environ[name] for name in _COMMITS if os.environ.get(name)), None)


def refuse_other_repository(kind: str, name: str) -> None:
    """Makes sure that the CI, if this is one, runs in the repository.

    Raises:
        CliError: it runs in another, as in a fork, or where delivery.yaml was never filled in.
    """
    variable = next((each for each in _REPOSITORIES[kind] if os.environ.get(each)), None)
    if variable and os.environ[variable].lower() != name.lower():
        raise CliError(
            f"delivery.yaml names the repository {name}, and this runs in {os.environ[variable]} ({variable}).",
            hint="Correct repository.name in delivery.yaml; a fork has its own.",
            code="settings",
        )


def pull_request(kind: str) -> int | None:
    """The pull request that the CI runs for; None where it runs for none."""
    if kind == "github":
        return _of_github()
    text = os.environ.get({"gitlab": "CI_MERGE_REQUEST_IID", "bitbucket": "BITBUCKET_PR_ID"}[kind], "")
    return _number(text)


def _of_github() -> int | None:
    """https://docs.github.com/webhooks/webhook-events-and-payloads: pull_request, and issue_comment on one."""
    import json

    path = os.environ.get("GITHUB_EVENT_PATH")
    if path and Path(path).is_file():
        try:
            event: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError:
            event = None
        event = event if isinstance(event, dict) else {}
        issue = event.get("issue") or {}
        found = event.get("pull_request") or (issue if "pull_request" in issue else {})
        if isinstance(found.get("number"), int):
            return int(found["number"])
    reference = os.environ.get("GITHUB_REF", "").split("/")
    return _number(reference[2]) if reference[:2] == ["refs", "pull"] and len(reference) == 4 else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


def run() -> str | None:
    """The page of the CI's run, for whoever asks why."""
    of = os.environ.get
    if of("GITHUB_RUN_ID") and of("GITHUB_REPOSITORY"):
        return f"{of('GITHUB_SERVER_URL', 'https://github.com')}/{of('GITHUB_REPOSITORY')}/actions/runs/{of('GITHUB_RUN_ID')}"
    if of("BITBUCKET_BUILD_NUMBER") and of("BITBUCKET_GIT_HTTP_ORIGIN"):
        return f"{of('BITBUCKET_GIT_HTTP_ORIGIN')}/pipelines/results/{of('BITBUCKET_BUILD_NUMBER')}"
    return of("CI_JOB_URL") or of("CODEBUILD_BUILD_URL")
