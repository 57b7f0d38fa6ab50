"""Tags on SageMaker resources, kept by ARN."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications
from local_cloud.sagemaker.errors import ResourceLimitExceeded
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page

KIND = "tags"
MAX_TAGS = 50
"""SageMaker's limit of tags on one resource (Tag API reference)."""


def save(service: Sagemaker, caller: Caller, resource_arn: str, tags: list[dict[str, str]] | None) -> None:
    """Add tags to a resource; a tag of the same key is replaced.

    Raises:
        ResourceLimitExceeded: more than 50 tags would be on the resource.
    """
    if not tags:
        return
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


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


@operation("AddTags")
def add_tags(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """AddTags."""
    save(service, caller, request["ResourceArn"], request["Tags"])
    notifications.publish(KIND, request["ResourceArn"])
    return {"Tags": _listed(current(service, caller, request["ResourceArn"]))}


@operation("ListTags")
def list_tags(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListTags."""
    return page(_listed(current(service, caller, request["ResourceArn"])), request, "Tags", default_size=50)


@operation("DeleteTags")
def delete_tags(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteTags."""
    with service.store.transaction():
        tags = current(service, caller, request["ResourceArn"])
        for key in request["TagKeys"]:
            tags.pop(key, None)
        service.store.put(KIND, caller.account, caller.region, request["ResourceArn"], {"Tags": tags})
    return {}
