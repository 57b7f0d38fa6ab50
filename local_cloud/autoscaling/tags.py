"""Tags of scalable targets: TagResource, UntagResource, ListTagsForResource."""

from __future__ import annotations

from collections.abc import Mapping

from local_cloud.autoscaling.errors import ResourceNotFound, TooManyTags
from local_cloud.autoscaling.service import TARGET, AutoScaling, operation
from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Request, Response

KIND = "autoscaling-tags"
MAX_TAGS = 50
"""Tags of one scalable target (TagResource in the API reference)."""


@operation("TagResource")
def tag_resource(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """TagResource."""
    _check_there(service, caller, request["ResourceARN"])
    save(service, caller, request["ResourceARN"], request["Tags"])
    return {}


@operation("UntagResource")
def untag_resource(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """UntagResource."""
    _check_there(service, caller, request["ResourceARN"])
    with service.store.transaction():
        kept = _current(service, caller, request["ResourceARN"])
        for key in request["TagKeys"]:
            kept.pop(key, None)
        service.store.put(KIND, caller.account, caller.region, request["ResourceARN"], {"Tags": kept})
    return {}


@operation("ListTagsForResource")
def list_tags_for_resource(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """ListTagsForResource."""
    _check_there(service, caller, request["ResourceARN"])
    return {"Tags": _current(service, caller, request["ResourceARN"])}


def save(service: AutoScaling, caller: Caller, arn: str, tags: Mapping[str, str]) -> None:
    """Add tags; one of the same key is replaced.

    Raises:
        TooManyTags: more than 50 would be on the target.
    """
    if not tags:
        return
    with service.store.transaction():
        merged = {**_current(service, caller, arn), **tags}
        if len(merged) > MAX_TAGS:
            raise TooManyTags(f"{arn} would have {len(merged)} tags; the limit is {MAX_TAGS}.")
        service.store.put(KIND, caller.account, caller.region, arn, {"Tags": merged})


def forget(service: AutoScaling, account: str, region: str, arn: str) -> None:
    """Drop the tags of a target that is gone."""
    service.store.delete(KIND, account, region, arn)


def _current(service: AutoScaling, caller: Caller, arn: str) -> dict[str, str]:
    document = service.store.get(KIND, caller.account, caller.region, arn)
    return dict(document["Tags"]) if document else {}


def _check_there(service: AutoScaling, caller: Caller, arn: str) -> None:
    targets = service.store.list(TARGET, caller.account, caller.region)
    if arn not in [target["ScalableTargetARN"] for target in targets]:
        raise ResourceNotFound(f"The specified resource doesn't exist: {arn}")
