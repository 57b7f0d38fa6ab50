"""Takes an approval in the model registry to git: a pull request, or a commit, that pins the approved version.

Runs on the event `SageMaker Model Package State Change`. Nothing is deployed here: what git says is, by whoever deploys.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3

from .git_hosts import HOSTS, GitHost
from .proposal import Pin, propose


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
    an approval like any other: to go back is `git revert`, and to go back on purpose may be to approve again. A newer version
    that waits for its review goes on waiting then, since approvals may arrive late.

    Raises:
        HostError: the host refused.
        NoPin: the file has no pin for the model.
    """
    pin = Pin(environment, model, version)
    reason = f"It was approved in the model registry: {arn}"
    done = propose(host, pin, base=base, is_reviewed=is_reviewed, reason=reason)
    if done.outcome == "unchanged":
        return {"outcome": "unchanged", "reason": f"{pin.path} pins version {version} of {model} already"}
    told = {"outcome": done.outcome, "version": version, "before": done.before, "address": done.address}
    return told | ({"closed": [review.address for review in done.closed]} if done.closed else {})


def _host() -> GitHost:
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["TOKEN_SECRET"])["SecretString"]
    kind = HOSTS[os.environ["GIT_HOST"]]
    return kind(os.environ["GIT_API"], os.environ["REPOSITORY"], secret.strip())


def _told(outcome: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(outcome))  # one line of its log
    return outcome
