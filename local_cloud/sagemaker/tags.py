"""Tags on SageMaker resources, kept by ARN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications
from local_cloud.sagemaker.errors import ResourceLimitExceeded, ValidationError
from local_cloud.sagemaker.service import Request, Response, Sagemaker, name_of, operation, page

KIND = "tags"
MAX_TAGS = 50
"""SageMaker's limit of tags on one resource (Tag API reference)."""


_SYSTEM_PREFIX = ContextVar("system_prefix", default="")
"""Of the keys that the service which asks may give, though they begin with `aws:`; empty for everybody else."""


@contextmanager
def from_cloudformation() -> Iterator[None]:
    """Within it requests are CloudFormation's, which puts tags of its own on what a stack makes."""
    token = _SYSTEM_PREFIX.set("aws:cloudformation:")
    try:
        yield
    finally:
        _SYSTEM_PREFIX.reset(token)


def save(service: Sagemaker, caller: Caller, resource_arn: str, tags: list[dict[str, str]] | None) -> None:
    """Add tags to a resource; a tag of the same key is replaced.

    Raises:
        ResourceLimitExceeded: more than 50 tags would be on the resource.
        ValidationError: a key is given twice, or is one that AWS keeps to itself.
    """
    if not tags:
        return
    keys = [tag["Key"] for tag in tags]
    _refuse_reserved(keys)
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValidationError(f"Tag keys must be unique per resource, and {', '.join(twice)} is given more than once.")
    with service.store.transaction():
        merged = {**current(service, caller, resource_arn), **{tag["Key"]: tag["Value"] for tag in tags}}
        if len(merged) > MAX_TAGS:
            raise ResourceLimitExceeded(f"{resource_arn} would have {len(merged)} tags; the limit is {MAX_TAGS}.")
        service.store.put(KIND, caller.account, caller.region, resource_arn, {"Tags": merged})


def current(service: Sagemaker, caller: Caller, resource_arn: str) -> dict[str, str]:
    """The tags of a resource."""
    document = service.store.get(KIND, caller.account, caller.region, resource_arn)
    return dict(document["Tags"]) if document else {}


def forget(service: Sagemaker, caller: Caller, resource_arn: str) -> None:
    """Drop the tags of a resource that is gone."""
    service.store.delete(KIND, caller.account, caller.region, resource_arn)


def _refuse_reserved(keys: list[str]) -> None:
    """Refuse keys that begin with `aws:`, in any case. The message is SageMaker's own.

    https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html#tag-conventions
    """
    system = _SYSTEM_PREFIX.get()
    for key in keys:
        if key.lower().startswith("aws:") and not (system and key.startswith(system)):
            raise ValidationError(f"System prefix 'aws:' reserved for AWS usage in tag key: {key}")


def _refuse_missing(service: Sagemaker, caller: Caller, resource_arn: str) -> None:
    """Refuse an ARN of what is not there: the API has no error of its own for that, so it is a ValidationException."""
    _, _, _, region, account, resource = resource_arn.split(":", 5)
    kind, _, path = resource.partition("/")
    if kind == "pipeline" and "/execution/" in path:
        kind, path = "pipeline-execution", path.replace("/execution/", "/")
    if (region, account) == (caller.region, caller.account):
        names = dict.fromkeys((path, path.lower(), name_of(resource_arn)))
        if any(service.store.get(kind, account, region, name) is not None for name in names):
            return
        # Some have another name than their ARN.
        if any(resource_arn in document.values() for document in service.store.list(kind, account, region)):
            return
    raise ValidationError(f'Could not find resource "{resource_arn}".')


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


@operation("AddTags")
def add_tags(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """AddTags."""
    _refuse_missing(service, caller, request["ResourceArn"])
    save(service, caller, request["ResourceArn"], request["Tags"])
    notifications.publish(KIND, request["ResourceArn"])
    return {"Tags": _listed(current(service, caller, request["ResourceArn"]))}


@operation("ListTags")
def list_tags(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListTags."""
    _refuse_missing(service, caller, request["ResourceArn"])
    return page(_listed(current(service, caller, request["ResourceArn"])), request, "Tags", default_size=50)


@operation("DeleteTags")
def delete_tags(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteTags."""
    _refuse_missing(service, caller, request["ResourceArn"])
    _refuse_reserved(request["TagKeys"])
    with service.store.transaction():
        tags = current(service, caller, request["ResourceArn"])
        for key in request["TagKeys"]:
            tags.pop(key, None)
        service.store.put(KIND, caller.account, caller.region, request["ResourceArn"], {"Tags": tags})
    return {}
