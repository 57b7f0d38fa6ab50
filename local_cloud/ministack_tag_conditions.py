"""Which file system or part of a network a request is about, and its tags, for policies that are limited by `aws:ResourceTag`.

MiniStack names neither for EFS's mount targets and tags, nor for EC2's CreateTags, and looks up no tags of either service: a
policy that is limited to what carries a tag would permit nothing here.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticfilesystem.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2, efs, tagging

_KINDS = {
    "eni": "network-interface",
    "sg": "security-group",
    "subnet": "subnet",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}
"""What EC2's ids begin with, and what their ARNs say."""


def install() -> None:
    """Name the resources, and tell their tags."""
    original = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        found = None
        if service == "elasticfilesystem":
            found = _of_efs(path, query)
        elif service == "ec2" and iam_actions._query_param(query, "Action") in ("CreateTags", "DeleteTags"):
            # Of several the first: a request is authorized once here.
            found = _of_ec2(str(iam_actions._query_param(query, "ResourceId.1")))
        if found is not None:
            return f"arn:aws:{service}:{region}:{account}:{found}"
        return str(original(service, method, path, headers, body, query, region, account))

    iam_actions.extract_resource_arn = extract_resource_arn
    tagging._RESOURCE_TAG_COLLECTORS["elasticfilesystem"] = tagging._collect_efs
    tagging._RESOURCE_TAG_COLLECTORS["ec2"] = _tags_in_ec2


def _of_efs(path: str, query: dict[str, Any]) -> str | None:
    """The part of the ARN that names the file system; None where MiniStack knows as well."""
    _, _, rest = path.strip("/").partition("/")  # the version of the API comes first
    collection, _, name = rest.partition("/")
    name = unquote(name)
    if collection == "resource-tags" and name:
        return _named(name.rpartition("/")[2])
    if collection in ("mount-targets", "file-systems") and not name:
        # To list takes all of them, and the mount targets of one take that one.
        return f"file-system/{iam_actions._query_param(query, 'FileSystemId') or '*'}"
    if collection == "mount-targets":
        target = efs._mount_targets.get(name.partition("/")[0])
        return f"file-system/{target['FileSystemId'] if target else '*'}"
    return None


def _named(name: str) -> str:
    return f"access-point/{name}" if name.startswith("fsap-") else f"file-system/{name}"


def _of_ec2(resource_id: str) -> str | None:
    kind = _KINDS.get(resource_id.partition("-")[0])
    return f"{kind}/{resource_id}" if kind else None


def _tags_in_ec2() -> Iterator[tuple[str, list[dict[str, str]]]]:
    for resource_id, tags in ec2._tags.items():
        if named := _of_ec2(resource_id):
            yield f"arn:aws:ec2:{get_region()}:{get_account_id()}:{named}", list(tags)
