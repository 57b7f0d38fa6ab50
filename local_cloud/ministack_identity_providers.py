"""`AWS::IAM::OIDCProvider`, which MiniStack's IAM has and its CloudFormation has not: whose tokens an account believes.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-oidcprovider.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from ministack.services import iam
from ministack.services.cloudformation import provisioners

KIND = "AWS::IAM::OIDCProvider"
Properties = Mapping[str, Any]


def install() -> None:
    """Let stacks make identity providers."""
    provisioners._RESOURCE_HANDLERS[KIND] = {"create": _create, "update": _update, "delete": _delete}
    provisioners._REPLACING_PROPERTIES[KIND] = ("Url",)


def _create(_logical_id: str, properties: Properties, _stack_name: str) -> tuple[str, dict[str, str]]:
    params = {"Url": str(properties.get("Url", ""))}
    for key in ("ClientIdList", "ThumbprintList"):
        for place, value in enumerate(properties.get(key) or [], start=1):
            params[f"{key.replace('Id', 'ID')}.member.{place}"] = str(value)
    status, _, body = iam._create_oidc_provider(params)
    answer = ElementTree.fromstring(body)  # noqa: S314  MiniStack's own answer
    if status >= 400:
        # An account has one provider for a URL: the second stack that makes it fails, as on AWS.
        raise ValueError(_text(answer, "Message"))
    arn = _text(answer, "OpenIDConnectProviderArn")
    return arn, {"Arn": arn}


def _update(
    physical_id: str, _old: Properties, new: Properties, _stack_name: str, *_more: Any
) -> tuple[str, dict[str, str]]:
    provider = iam._oidc_providers[physical_id]
    provider["ClientIDList"] = list(new.get("ClientIdList") or [])
    provider["ThumbprintList"] = list(new.get("ThumbprintList") or [])
    return physical_id, {"Arn": physical_id}


def _delete(physical_id: str, _properties: Properties) -> None:
    iam._oidc_providers.pop(physical_id, None)


def _text(answer: ElementTree.Element, name: str) -> str:
    return next((each.text or "" for each in answer.iter() if each.tag.rpartition("}")[2] == name), "")
