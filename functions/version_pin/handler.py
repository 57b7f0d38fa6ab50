"""Takes an approval in the model registry to git: a pull request, or a commit, that pins the approved version.

Runs on the event `SageMaker Model Package State Change`. Nothing is deployed here: what git says is, by whoever deploys.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import boto3

from .git_hosts import HOSTS, Change, GitHost, HostError
from .pin import pinned, with_pin

ATTEMPTS = 4
"""How often a commit is tried when somebody else commits at the same time."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Pin the version that the event says is approved.

    Raises:
        HostError: the host refused; EventBridge tries again, and then the event is in the dead-letter queue.
        NoPin: the file has no pin for the model.
    """
    detail = event["detail"]
    if detail.get("ModelApprovalStatus") != "Approved":
        return _told({"outcome": "ignored", "reason": f"{detail.get('ModelPackageArn')} is not approved"})
    return _told(
        pin_version(
            host=_host(),
            environment=os.environ["ENVIRONMENT"],
            model=os.environ["MODEL"],
            version=int(detail["ModelPackageVersion"]),
            arn=detail["ModelPackageArn"],
            base=os.environ["BRANCH"],
            is_reviewed=os.environ["CHANGE"] == "pull-request",
        )
    )


def pin_version(
    *, host: GitHost, environment: str, model: str, version: int, arn: str, base: str, is_reviewed: bool
) -> dict[str, Any]:
    """Commit the pin of one version to the environment's file, on a branch of its own where somebody reviews it.

    An approval that arrives twice, or for what is pinned already, changes nothing. One of an older version than that in git is
    an approval like any other: to go back is `git revert`, and to go back on purpose may be to approve again.

    Raises:
        HostError: the host refused.
        NoPin: the file has no pin for the model.
    """
    path = f"environments/{environment}.yaml"
    for attempt in range(ATTEMPTS):
        text, revision = host.read(path, base)
        before = pinned(text, model)
        if before == version:
            return {"outcome": "unchanged", "reason": f"{path} pins version {version} of {model} already"}
        change = Change(
            path=path,
            content=with_pin(text, model, version),
            message=_message(environment, model, before, version, arn),
            base=base,
            branch=f"sagestack/{environment}-{model}-{version}" if is_reviewed else base,
            revision=revision,
        )
        try:
            commit = host.commit(change)
        except HostError as error:
            # Somebody else committed in between (each host has a status of its own for it): read again.
            if error.status not in (400, 409, 412, 422) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.5 * 2**attempt)
            continue
        if is_reviewed:
            return {"outcome": "review", "version": version, "before": before, "address": host.review(change)}
        return {"outcome": "commit", "version": version, "before": before, "address": commit}
    raise AssertionError("the last attempt returns or raises")


def _message(environment: str, model: str, before: int | None, version: int, arn: str) -> str:
    was = "none" if before is None else f"version {before}"
    return (
        f"Serve version {version} of {model} in {environment}\n\n"
        f"It was approved in the model registry: {arn}\n"
        f"Before, {environment} served {was}. `git revert` of this commit, and a deployment, go back to it.\n"
    )


def _host() -> GitHost:
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["TOKEN_SECRET"])["SecretString"]
    kind = HOSTS[os.environ["GIT_HOST"]]
    return kind(os.environ["GIT_API"], os.environ["REPOSITORY"], secret.strip())


def _told(outcome: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(outcome))  # one line of its log
    return outcome
