"""What is sent to another account, or out of AWS: logs, metrics, events, messages, notices of objects.

Who reads it there no policy in these templates says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.permissions.globs import is_reference
from sagestack.review.permissions.references import Names, Reader, listed_values
from sagestack.review.permissions.rows import Sides
from sagestack.review.results import PermissionChange, PermissionFlag, Severity

_TARGETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CrossAccountSubscriptions.html
    "AWS::Logs::SubscriptionFilter": ("log events", ("DestinationArn",)),
    "AWS::Logs::Destination": ("log events", ("TargetArn",)),
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Metric-Streams.html
    "AWS::CloudWatch::MetricStream": ("metrics", ("FirehoseArn",)),
    "AWS::Oam::Link": ("metrics, logs and traces", ("SinkIdentifier",)),
    "AWS::KinesisFirehose::DeliveryStream": (
        "records",
        ("HttpEndpointDestinationConfiguration.EndpointConfiguration.Url",),
    ),
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
    "AWS::Events::Rule": ("events", ("Targets.Arn",)),
    "AWS::Events::ApiDestination": ("events", ("InvocationEndpoint",)),
    "AWS::Scheduler::Schedule": ("calls", ("Target.Arn",)),
    "AWS::Pipes::Pipe": ("events", ("Target",)),
    # https://docs.aws.amazon.com/sns/latest/dg/sns-send-message-to-sqs-cross-account.html
    "AWS::SNS::Subscription": ("messages", ("Endpoint",)),
    "AWS::SNS::Topic": ("messages", ("Subscription.Endpoint",)),
    "AWS::S3::Bucket": (
        "notices of objects",
        (
            "NotificationConfiguration.LambdaConfigurations.Function",
            "NotificationConfiguration.QueueConfigurations.Queue",
            "NotificationConfiguration.TopicConfigurations.Topic",
        ),
    ),
    "AWS::EC2::FlowLog": ("flow logs", ("LogDestination",)),
}
"""What is sent, and the properties that say whither; a name in a path goes through lists."""


def delivery_changes(
    before: Resource | None, after: Resource | None, old: Reader, new: Reader, sides: Sides
) -> Iterator[PermissionChange]:
    """Of one resource. What is sent within the account is no line: who reads it there is decided there."""
    resource = after or before
    if resource is None or after is None or resource.type not in _TARGETS:
        return
    what, _paths = _TARGETS[resource.type]
    had, has = _targets(before, old), _targets(after, new)
    account = sides.account(resource)
    for target in sorted(has - had):
        if (where := _outside(target, account, sides.names, resource, new)) is not None:
            yield _row(resource, what, where, is_wider=True)
    for target in sorted(had - has):
        if (where := _outside(target, account, sides.names, resource, old)) is not None:
            yield _row(resource, what, where, is_wider=False)


def _targets(resource: Resource | None, reader: Reader) -> set[str]:
    if resource is None or reader.assembly is None:
        return set()
    stack = reader.assembly.stacks[resource.stack]
    _what, paths = _TARGETS[resource.type]
    return {reader.text(value, stack) for path in paths for value in _at(resource.properties, path.split(".")) if value}


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
        return
    for each in listed_values(value):
        if isinstance(each, Mapping) and path[0] in each:
            yield from _at(each[path[0]], path[1:])


def _outside(
    target: str, account: str, names: Names, resource: Resource, reader: Reader
) -> tuple[str, str | None, Severity] | None:
    """Where it goes, in whose account, and how grave that is; None for the own account, and for people's addresses."""
    if re.match(r"https?://", target):
        # The path of a web hook is often its secret.
        return re.sub(r"^(https?://[^/?]*).*", r"\1", names.readable(target)), None, Severity.WARNING
    found = re.match(r"arn:[^:]*:[^:]*:[^:]*:([^:]*):", target)
    if found is None:
        # Somebody's mail or telephone, also from a parameter; or what only the deployment knows.
        is_unknown = all(map(is_reference, target)) and names.resource(target) is None
        is_unknown = is_unknown and not resource.type.startswith("AWS::SNS::")
        return (names.readable(target), None, Severity.WARNING) if is_unknown else None
    if not found[1]:
        # Of what has no account in its ARN, a bucket alone may be anybody's: the others are actions of AWS itself.
        return (target, None, Severity.WARNING) if _is_a_strange_bucket(target, reader) else None
    if found[1] == account:
        return None
    return names.readable(target), names.readable(found[1]), Severity.DANGER


def _is_a_strange_bucket(target: str, reader: Reader) -> bool:
    """Whether it is the literal ARN of a bucket, or of a place in one, that no template makes."""
    found = re.match(r"arn:[^:]*:s3:::([^/]*)", target)
    if found is None or any(map(is_reference, target)) or reader.assembly is None:
        return False
    return not any(
        resource.type == "AWS::S3::Bucket" and reader.text(resource.properties.get("BucketName", ""), stack) == found[1]
        for stack in reader.assembly.stacks.values()
        for resource in stack.resources.values()
    )


def _row(resource: Resource, what: str, where: tuple[str, str | None, Severity], *, is_wider: bool) -> PermissionChange:
    target, account, severity = where
    whose = f" in account {account}" if account else ""
    told = f"{'now sends' if is_wider else 'no longer sends'} {what} to {target}{whose}"
    if account is None and is_wider and target.startswith("arn:"):
        told += ", and no template tells whose bucket that is"
    elif account is None and is_wider and not target.startswith("http"):
        told += ", and in whose account that is only the deployment knows"
    return PermissionChange(
        direction="wider" if is_wider else "narrower",
        kind="resource",
        resource=resource,
        principal=f"account {account}" if account else target,
        actions=(),
        access_levels=(),
        targets=(target,),
        conditions=(),
        severity=severity if is_wider else Severity.NOTICE,
        sentence=f"{resource.path} {told}",
        flags=frozenset({PermissionFlag.CROSS_ACCOUNT}) if account and is_wider else frozenset(),
    )
