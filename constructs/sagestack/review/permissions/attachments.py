"""What principals have by name: managed policies of AWS, groups, permissions boundaries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sagestack.review.assembly import Resource
from sagestack.review.permissions.actions import UNKNOWN
from sagestack.review.permissions.references import Reader
from sagestack.review.permissions.rows import Sides
from sagestack.review.permissions.sentences import kind_in_words
from sagestack.review.results import PermissionChange, PermissionFlag, Severity

_ADMINISTRATION = {"AdministratorAccess", "PowerUserAccess", "IAMFullAccess"}
_WRITES_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
OF_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "service-role/AWSLambdaBasicExecutionRole": _WRITES_LOGS,
    "service-role/AWSLambdaVPCAccessExecutionRole": (
        *_WRITES_LOGS,
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ),
    "AWSXRayDaemonWriteAccess": (
        "xray:GetSamplingRules",
        "xray:GetSamplingStatisticSummaries",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    ),
    "service-role/AmazonAPIGatewayPushToCloudWatchLogs": (
        *_WRITES_LOGS,
        "logs:DescribeLogGroups",
        "logs:DescribeLogStreams",
        "logs:FilterLogEvents",
        "logs:GetLogEvents",
    ),
}
"""The managed policies of functions and APIs: logs, traces and network interfaces, on any resource, and nothing else.

https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
"""


def attachment_changes(
    before: Resource | None, after: Resource | None, old: Reader, new: Reader, sides: Sides
) -> Iterator[PermissionChange]:
    """Of one role, user or group, as it is on either side."""
    resource = after or before
    assert resource is not None
    had, has = unread_policies(before, old), unread_policies(after, new)
    for arn in sorted(has - had):
        yield _attached(resource, arn, sides, is_new=before is None)
    if after is not None:
        for arn in sorted(had - has):
            yield _row(
                resource,
                "narrower",
                "identity",
                (_name(arn, sides),),
                f"{resource.path} no longer has {_what(arn, sides)}",
            )
        was = _boundary(before, old)
        if was != _boundary(after, new) and before is not None:
            yield _bounded(resource, was, _boundary(after, new), sides)


def unread_policies(resource: Resource | None, reader: Reader) -> set[str]:
    """What a principal may by name alone: ARNs of managed policies that are not in these templates, and groups."""
    if resource is None or reader.assembly is None:
        return set()
    stack = reader.assembly.stacks[resource.stack]
    found = reader.texts(resource.properties.get("ManagedPolicyArns", []), stack)
    groups = [f"group {each}" for each in reader.texts(resource.properties.get("Groups", []), stack)]
    # Those of the templates are read statement by statement.
    own = {
        reader.text({"Ref": other.logical_id}, each)
        for each in reader.assembly.stacks.values()
        for other in each.resources.values()
        if other.type == "AWS::IAM::ManagedPolicy"
    }
    return {*found, *groups} - own


def name_by_aws(arn: str) -> str:
    """The name of a managed policy that AWS wrote; empty for an account's own, which may say anything under any name."""
    found = re.fullmatch(r"arn:[^:]*:iam::aws:policy/(.+)", arn)
    return found[1] if found else ""


def _name(arn: str, sides: Sides) -> str:
    return sides.names.readable(arn).partition(":policy/")[2] or sides.names.readable(arn)


def _what(arn: str, sides: Sides) -> str:
    if arn.startswith("group "):
        return f"what the {sides.names.readable(arn)} may"
    return f"the managed policy {_name(arn, sides)}"


def _attached(resource: Resource, arn: str, sides: Sides, *, is_new: bool) -> PermissionChange:
    name = _name(arn, sides)
    flags: set[PermissionFlag] = set()
    levels: tuple[str, ...] = (UNKNOWN,)
    severity, sentence = Severity.WARNING, f"{resource.path} now has {_what(arn, sides)}"
    if is_new:
        sentence = f"{resource.path} (a new {kind_in_words(resource.type)}) has {_what(arn, sides)}"
    if name in _ADMINISTRATION or name.endswith("FullAccess"):
        severity = Severity.DANGER
        flags = {PermissionFlag.NEW_WILDCARD}
        levels = ("List", "Read", "Tagging", "Write")
        if name != "PowerUserAccess":
            levels, flags = (*levels, "Permissions management"), flags | {PermissionFlag.PERMISSIONS_MANAGEMENT}
    elif name_by_aws(arn) in OF_FUNCTIONS:
        levels = ("Write",)
        severity = Severity.NOTICE if is_new else Severity.WARNING
    elif name_by_aws(arn).endswith(("ReadOnlyAccess", "ViewOnlyAccess", "SecurityAudit")):
        levels = ("List", "Read")
    return _row(resource, "wider", "identity", (name,), sentence, severity=severity, levels=levels, flags=flags)


def _boundary(resource: Resource | None, reader: Reader) -> str | None:
    if resource is None or reader.assembly is None or "PermissionsBoundary" not in resource.properties:
        return None
    found = reader.texts(resource.properties["PermissionsBoundary"], reader.assembly.stacks[resource.stack])
    return found[0] if found else None


def _bounded(resource: Resource, was: str | None, now: str | None, sides: Sides) -> PermissionChange:
    if was is None and now is not None:
        sentence = f"{resource.path} is now bounded by {_name(now, sides)}"
        return _row(resource, "narrower", "boundary", (_name(now, sides),), sentence)
    assert was is not None
    if now is None or _name(now, sides) in _ADMINISTRATION:
        instead = "" if now is None else f", {_name(now, sides)} bounds nothing that matters"
        sentence = f"{resource.path} loses its permissions boundary {_name(was, sides)}{instead}"
        return _row(
            resource,
            "wider",
            "boundary",
            (_name(was, sides),),
            sentence,
            severity=Severity.DANGER,
            levels=(UNKNOWN,),
            flags={PermissionFlag.LOST_BOUNDARY},
        )
    sentence = f"{resource.path} is bounded by {_name(now, sides)}, before by {_name(was, sides)}: compare the two"
    return _row(
        resource, "wider", "boundary", (_name(now, sides),), sentence, severity=Severity.WARNING, levels=(UNKNOWN,)
    )


def _row(
    resource: Resource,
    direction: str,
    kind: str,
    targets: tuple[str, ...],
    sentence: str,
    *,
    severity: Severity = Severity.NOTICE,
    levels: tuple[str, ...] = (),
    flags: set[PermissionFlag] | None = None,
) -> PermissionChange:
    return PermissionChange(
        direction=direction,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        resource=resource,
        principal=resource.path,
        actions=(),
        access_levels=levels,
        targets=targets,
        conditions=(),
        severity=severity,
        sentence=sentence,
        flags=frozenset(flags or ()),
    )
