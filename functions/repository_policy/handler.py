"""Keeps one statement in the policy of an ECR repository, among those of others.

A custom resource, by CDK's provider framework: what it returns, CloudFormation keeps, and what it raises fails the stack.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from typing import Any

import boto3

ATTEMPTS = 5
"""ECR has no conditional write: what was written is read again, and written again if another stack was quicker."""
PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Create, update or delete the statement.

    Raises:
        ClientError: ECR refused.
        RuntimeError: others changed the policy at the same time, again and again.
    """
    properties = event["ResourceProperties"]
    sid = _sid(event["StackId"], event["LogicalResourceId"])
    statement = None
    if event["RequestType"] != "Delete":
        statement = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{event['StackId'].split(':')[1]}:iam::{properties['Account']}:root"},
            "Action": PULL,
        }
    keep_statement(boto3.client("ecr"), properties["RepositoryName"], sid, statement)
    return {"PhysicalResourceId": f"{properties['RepositoryName']}/{sid}"}


def keep_statement(ecr: Any, repository: str, sid: str, statement: dict[str, Any] | None) -> None:
    """Make the statement with that Sid the given one, or take it away with None; leave all others.

    Raises:
        RuntimeError: it was overwritten by others, again and again.
    """
    for attempt in range(ATTEMPTS):
        policy = _policy(ecr, repository)
        if policy is None:
            return  # the repository is gone, and its policy with it
        found = [each for each in policy["Statement"] if each.get("Sid") == sid]
        if found == ([statement] if statement else []):
            return
        others = [each for each in policy["Statement"] if each.get("Sid") != sid]
        wanted = [*others, *([statement] if statement else [])]
        if wanted:
            ecr.set_repository_policy(repositoryName=repository, policyText=json.dumps({**policy, "Statement": wanted}))
        else:
            ecr.delete_repository_policy(repositoryName=repository)
        time.sleep(random.uniform(0.2, 0.5) * 2**attempt)  # noqa: S311 - spreads writers, guards nothing
    raise RuntimeError(f"The policy of the repository {repository} is being changed by others: deploy again.")


def _policy(ecr: Any, repository: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(ecr.get_repository_policy(repositoryName=repository)["policyText"]))
    except ecr.exceptions.RepositoryPolicyNotFoundException:
        return {"Version": "2012-10-17", "Statement": []}
    except ecr.exceptions.RepositoryNotFoundException:
        return None


def _sid(stack_id: str, logical_id: str) -> str:
    """The same for each deployment of one resource, another for every other stack."""
    return "Sagestack" + hashlib.sha256(f"{stack_id}/{logical_id}".encode()).hexdigest()[:16]
