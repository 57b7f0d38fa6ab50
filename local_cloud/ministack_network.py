"""Parts of a network that MiniStack's EC2 has and its CloudFormation has not: rules of security groups, and flow logs.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here. A flow log is
kept, and writes nothing: there is no traffic in a network of the local cloud.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_EC2.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from ministack.services import ec2
from ministack.services.cloudformation import provisioners

FLOW_LOG = "AWS::EC2::FlowLog"
INGRESS = "AWS::EC2::SecurityGroupIngress"
EGRESS = "AWS::EC2::SecurityGroupEgress"

Properties = Mapping[str, Any]
_RULE_KEYS = (
    "GroupId",
    "IpProtocol",
    "FromPort",
    "ToPort",
    "CidrIp",
    "CidrIpv6",
    "SourceSecurityGroupId",
    "DestinationSecurityGroupId",
    "SourcePrefixListId",
    "DestinationPrefixListId",
)
_FLOW_LOG_KEYS = ("ResourceId", "ResourceType", "TrafficType", "LogDestinationType", "LogDestination", "LogGroupName")


def install() -> None:
    """Let stacks make them."""
    for kind, list_of_rules in ((INGRESS, "IpPermissions"), (EGRESS, "IpPermissionsEgress")):
        rules = _Rules(list_of_rules)
        provisioners._RESOURCE_HANDLERS[kind] = {
            "create": rules.create,
            "update": rules.update,
            "delete": rules.delete,
        }
        provisioners._REPLACING_PROPERTIES[kind] = _RULE_KEYS
    provisioners._RESOURCE_HANDLERS[FLOW_LOG] = {
        "create": _create_flow_log,
        "update": _update_flow_log,
        "delete": _delete_flow_log,
    }
    provisioners._REPLACING_PROPERTIES[FLOW_LOG] = (*_FLOW_LOG_KEYS, "DeliverLogsPermissionArn")


class _Rules:
    """One kind of rule: what comes in, or what goes out."""

    def __init__(self, list_of_rules: str) -> None:
        self._key = list_of_rules

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> tuple[str, dict[str, str]]:
        group = ec2._security_groups.get(properties.get("GroupId", ""))
        if group is None:
            raise ValueError(f"The security group '{properties.get('GroupId')}' does not exist")
        rule = self._rule(properties)
        if any(ec2._rules_match(rule, there) for there in group[self._key]):
            raise ValueError("the specified rule already exists")
        group[self._key].append(rule)
        rule_id = str(ec2._sg_rule_id(properties["GroupId"], self._key == "IpPermissionsEgress", rule))
        return rule_id, {"Id": rule_id}

    def update(
        self, physical_id: str, _old: Properties, _new: Properties, _stack_name: str, *_more: Any
    ) -> tuple[str, dict[str, str]]:
        # What is left to change in place is the description.
        return physical_id, {"Id": physical_id}

    def delete(self, _physical_id: str, properties: Properties) -> None:
        group = ec2._security_groups.get(properties.get("GroupId", ""))
        if group is not None:
            rule = self._rule(properties)
            group[self._key] = [there for there in group[self._key] if not ec2._rules_match(rule, there)]

    @staticmethod
    def _rule(properties: Properties) -> dict[str, Any]:
        (rule,) = provisioners._ec2_sg_permissions([dict(properties)])
        return dict(rule)


def _create_flow_log(_logical_id: str, properties: Properties, _stack_name: str) -> tuple[str, dict[str, str]]:
    # The template names one resource, the API a list.
    params = {key: [str(properties[key])] for key in _FLOW_LOG_KEYS if key in properties and key != "ResourceId"}
    status, _, body = ec2._create_flow_logs({**params, "ResourceId.1": [str(properties.get("ResourceId", ""))]})
    answer = ElementTree.fromstring(body)  # noqa: S314  MiniStack's own answer
    made = next((each.text for each in answer.iter() if each.tag.rpartition("}")[2] == "item" and each.text), None)
    if status >= 400 or made is None:
        raise ValueError(f"The flow log could not be made: {ElementTree.tostring(answer, encoding='unicode')}")
    return made, {"Id": made}


def _update_flow_log(
    physical_id: str, _old: Properties, _new: Properties, _stack_name: str, *_more: Any
) -> tuple[str, dict[str, str]]:
    return physical_id, {"Id": physical_id}


def _delete_flow_log(physical_id: str, _properties: Properties) -> None:
    ec2._flow_logs.pop(physical_id, None)
