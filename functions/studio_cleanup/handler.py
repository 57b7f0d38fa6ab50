"""Deletes, around a Studio domain, what CloudFormation does not know of, in the order in which SageMaker lets go of it.

Custom resources, by CDK's provider framework: it calls `on_event` once, then `is_complete` until that says so. Each call is
short, looks at what is there and goes on from that, so nothing is lost by a call that fails.
https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

from .contents import Contents
from .homes import note_homes
from .names import DOMAIN, PROFILE, RESIDUE, SPACE
from .old_scripts import remove_old_scripts
from .problems import Problem, in_words, is_gone, is_transient
from .residue import Clients, Residue, marked_domains

PATIENCE_S = 52 * 60
"""CloudFormation waits an hour for a custom resource. Before that we say what is left; afterwards it says "timed out"."""
_PATIENCE_TO_MARK_S = 2 * 60
"""IAM takes a while to know the right that the role was given a moment ago."""

Event = Mapping[str, Any]


def on_event(event: Event, _context: object, clients: Clients | None = None) -> dict[str, Any]:
    """Notes until when to try. `is_complete` does the rest.

    Raises:
        Problem: the domain would be replaced, which would lose what is in it.
    """
    properties, kind = event["ResourceProperties"], event["RequestType"]
    if event["ResourceType"] == RESIDUE and kind == "Update":
        before = event["OldResourceProperties"].get("Fixed")
        if before != properties["Fixed"] and not _is_rolling_back(clients or _clients(), event):
            raise Problem(_replaced(json.loads(before or "{}"), json.loads(properties["Fixed"])))
    patience = PATIENCE_S if kind == "Delete" else _PATIENCE_TO_MARK_S
    physical_id = event.get("PhysicalResourceId") or _physical_id(event)
    return {"PhysicalResourceId": physical_id, "Until": time.time() + patience}


def is_complete(event: Event, _context: object, clients: Clients | None = None) -> dict[str, Any]:
    """Whether nothing is left; False while something is, which was asked to go.

    Raises:
        Problem: something does not go; the message names it.
        ClientError: a service refused to tell what is there.
    """
    clients = clients or _clients()
    kind = event["ResourceType"]
    is_late = time.time() > float(event["Until"])
    if event["RequestType"] != "Delete":
        return {"IsComplete": kind != DOMAIN or _is_marked(clients, event) or is_late}
    if kind == DOMAIN:
        _is_marked(clients, event)
    try:
        left = _remove_residue(clients, event) if kind == RESIDUE else _remove_contents(clients, event)
    except ClientError as error:
        if is_late or not is_transient(error):
            raise
        left = [in_words(error)]
    _tell("left" if left else "removed", event, left=left)
    if left and is_late:
        raise Problem(_still_there(kind, left, is_tried_again=_is_whole_stack(clients, event)))
    return {"IsComplete": not left}


def _remove_contents(clients: Clients, event: Event) -> list[str]:
    """All of a domain, what belongs to a profile, or what runs in a space.

    Raises:
        Problem: somebody leaves, and others may work in a space of theirs.
    """
    properties, kind = event["ResourceProperties"], event["ResourceType"]
    is_one_person = kind == PROFILE and not _is_whole_stack(clients, event)
    if kind != SPACE and properties.get("HomeDirectories") == "keep":
        note_homes(clients, properties["DomainId"], profile=properties.get("UserProfileName"))
    contents = Contents(
        clients.sagemaker,
        properties["DomainId"],
        profile=properties["UserProfileName"] if kind == PROFILE else None,
        space=properties["SpaceName"] if kind == SPACE else None,
        spare_shared=is_one_person,
    )
    left = contents.remove()
    if is_one_person and not left and (shared := contents.shared_spaces()):
        raise Problem(
            f"The user profile {properties['UserProfileName']} owns shared spaces, in which others may work:"
            f" {', '.join(shared)}. Its own apps and private spaces are deleted, the rest stays until somebody deletes these"
            " spaces and the profile in SageMaker's console; the domain's removal deletes them, too."
        )
    return left


def _remove_residue(clients: Clients, event: Event) -> list[str]:
    properties = event["ResourceProperties"]
    vpc_id, mark = properties["VpcId"], event["StackId"]
    domains = marked_domains(clients, vpc_id=vpc_id, mark=mark)
    # A domain that could not be made has nothing marked, and may have left something all the same.
    made = _domain_of_stack(clients, event)
    if made:
        domains.add(properties["DomainArnPrefix"] + made)
    left: list[str] = []
    is_there = False
    for arn in sorted(domains):
        status = _domain_status(clients, arn)
        if status is None:
            keep = properties["HomeDirectories"] == "keep"
            left += Residue(clients, domain_arn=arn, vpc_id=vpc_id, mark=mark).remove(keep_home_directories=keep)
        elif status == "Deleting":
            left.append(f"domain {arn.rpartition('/')[2]} (Deleting)")
        else:
            # Somebody told CloudFormation to retain it: people work there.
            is_there = True
            _tell("let alone: the domain is there", event, domain=arn, status=status)
    return left if left or is_there else remove_old_scripts(clients.sagemaker, mark=mark)


def _is_marked(clients: Clients, event: Event) -> bool:
    """Marks what SageMaker made for the domain. Not being able to is no reason to fail: whoever deletes is told what is left."""
    properties = event["ResourceProperties"]
    arn, vpc_id = properties["DomainArn"], properties["VpcId"]
    try:
        Residue(clients, domain_arn=arn, vpc_id=vpc_id, mark=event["StackId"]).mark()
    except ClientError as error:
        print(json.dumps({"outcome": "not marked", "domain": arn, "reason": in_words(error)}))
        return False
    return True


def _domain_of_stack(clients: Clients, event: Event) -> str | None:
    """The domain's id as CloudFormation noted it, which it keeps after the deletion."""
    try:
        resource = clients.cloudformation.describe_stack_resource(
            StackName=event["StackId"], LogicalResourceId=event["ResourceProperties"]["DomainLogicalId"]
        )["StackResourceDetail"]
    except ClientError as error:
        # It was never begun.
        if error.response["Error"]["Code"] == "ValidationError" or is_gone(error):
            return None
        raise
    found = resource.get("PhysicalResourceId", "")
    return found if found.startswith("d-") else None


def _domain_status(clients: Clients, arn: str) -> str | None:
    try:
        status: str = clients.sagemaker.describe_domain(DomainId=arn.rpartition("/")[2])["Status"]
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return status


def _is_rolling_back(clients: Clients, event: Event) -> bool:
    """Whether CloudFormation undoes an update; a resource that fails then leaves the stack where no deployment goes on."""
    return "ROLLBACK" in _stack_status(clients, event)


def _is_whole_stack(clients: Clients, event: Event) -> bool:
    """Whether all of the stack goes: it is deleted, or was never made. Otherwise somebody was taken out of it."""
    status = _stack_status(clients, event)
    return status.startswith("DELETE_") or status.startswith("ROLLBACK_")


def _stack_status(clients: Clients, event: Event) -> str:
    status: str = clients.cloudformation.describe_stacks(StackName=event["StackId"])["Stacks"][0]["StackStatus"]
    return status


def _replaced(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = ", ".join(
        f"{name} (was {before.get(name)}, is {after[name]})" for name in after if before.get(name) != after[name]
    )
    return (
        f"A Studio domain cannot change its {changed}: SageMaker would make another, and the spaces of this one would be lost."
        " Nothing was touched. To change it all the same: save what people have, set studio: null and deploy, then put it back."
    )


def _still_there(kind: str, left: list[str], *, is_tried_again: bool) -> str:
    what = {
        RESIDUE: "The Studio domain is gone, and this is left of it",
        DOMAIN: "The Studio domain cannot be deleted while this is in it",
        PROFILE: "The user profile cannot be deleted while it has this",
        SPACE: "The space cannot be deleted while this runs",
    }[kind]
    named = "; ".join(left[:10]) + (f"; and {len(left) - 10} more" if len(left) > 10 else "")
    if not is_tried_again:
        what_now = (
            "Delete it by hand, and then what it is in or belongs to: CloudFormation forgets what it could not delete in an"
            " update. What a domain leaves carries the tag sagestack:studio."
        )
    elif kind == RESIDUE:
        what_now = "Delete it by hand where something else uses it or a right is missing, then delete the stack again."
    else:
        what_now = "Look in SageMaker's console what keeps it, then delete the stack again: it goes on from here."
    return f"{what}: {named}. {what_now}"


def _physical_id(event: Event) -> str:
    properties = event["ResourceProperties"]
    names = [properties[name] for name in ("DomainId", "UserProfileName", "SpaceName") if name in properties]
    return "/".join(["studio", *names]) if names else f"studio/{event['StackId'].rpartition('/')[2]}"


def _tell(what: str, event: Event, **more: Any) -> None:
    print(json.dumps({"outcome": what, "resource": event["LogicalResourceId"], **more}), flush=True)


def _clients() -> Clients:
    return Clients(*(boto3.client(name) for name in ("sagemaker", "efs", "ec2", "cloudformation")))
