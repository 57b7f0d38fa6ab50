"""Rules of security groups and flow logs, which stacks of the local cloud make beside MiniStack's own network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.local_cloud_fixtures import LocalCloud
from tests.test_local_cloud_restart import deploy_until, status_of
from tests.waiting import wait_for


def _template(port: int = 2049) -> dict[str, Any]:
    return {
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/24"}},
            **{
                name: {
                    "Type": "AWS::EC2::SecurityGroup",
                    "Properties": {"GroupDescription": name, "VpcId": {"Ref": "Vpc"}},
                }
                for name in ("Client", "Server")
            },
            "In": {
                "Type": "AWS::EC2::SecurityGroupIngress",
                "Properties": {
                    "GroupId": {"Fn::GetAtt": ["Server", "GroupId"]},
                    "IpProtocol": "tcp",
                    "FromPort": port,
                    "ToPort": port,
                    "SourceSecurityGroupId": {"Fn::GetAtt": ["Client", "GroupId"]},
                },
            },
            "Out": {
                "Type": "AWS::EC2::SecurityGroupEgress",
                "Properties": {
                    "GroupId": {"Fn::GetAtt": ["Client", "GroupId"]},
                    "IpProtocol": "tcp",
                    "FromPort": port,
                    "ToPort": port,
                    "DestinationSecurityGroupId": {"Fn::GetAtt": ["Server", "GroupId"]},
                },
            },
            "Logs": {"Type": "AWS::Logs::LogGroup"},
            "FlowLog": {
                "Type": "AWS::EC2::FlowLog",
                "Properties": {
                    "ResourceId": {"Ref": "Vpc"},
                    "ResourceType": "VPC",
                    "TrafficType": "ALL",
                    "LogGroupName": {"Ref": "Logs"},
                },
            },
        },
        "Outputs": {
            "Server": {"Value": {"Fn::GetAtt": ["Server", "GroupId"]}},
            "Client": {"Value": {"Fn::GetAtt": ["Client", "GroupId"]}},
            "FlowLog": {"Value": {"Ref": "FlowLog"}},
        },
    }


@pytest.mark.long
def test_a_stack_makes_changes_and_deletes_rules_and_a_flow_log(own_cloud: LocalCloud) -> None:
    deploy_until(own_cloud, "network", _template(), "CREATE_COMPLETE")
    stack = own_cloud.client("cloudformation").describe_stacks(StackName="network")["Stacks"][0]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    ec2 = own_cloud.client("ec2")

    def ports(group: str, rules: str) -> list[int]:
        (found,) = ec2.describe_security_groups(GroupIds=[outputs[group]])["SecurityGroups"]
        return [rule["FromPort"] for rule in found[rules] if rule.get("UserIdGroupPairs")]

    assert (ports("Server", "IpPermissions"), ports("Client", "IpPermissionsEgress")) == ([2049], [2049])
    (flow_log,) = ec2.describe_flow_logs(FlowLogIds=[outputs["FlowLog"]])["FlowLogs"]
    assert flow_log["ResourceId"].startswith("vpc-")

    deploy_until(own_cloud, "network", _template(988), "UPDATE_COMPLETE", update=True)
    assert (ports("Server", "IpPermissions"), ports("Client", "IpPermissionsEgress")) == ([988], [988])

    cloudformation = own_cloud.client("cloudformation")
    cloudformation.delete_stack(StackName="network")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="network", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert not ec2.describe_flow_logs()["FlowLogs"]


@pytest.mark.long
def test_a_rule_of_a_group_that_is_not_there_fails_the_stack(own_cloud: LocalCloud) -> None:
    template = _template()
    template["Resources"]["In"]["Properties"]["GroupId"] = "sg-00000000000000000"
    del template["Outputs"]
    cloudformation = own_cloud.client("cloudformation")
    cloudformation.create_stack(StackName="network", TemplateBody=json.dumps(template))
    wait_for(lambda: status_of(own_cloud, "network") == "ROLLBACK_COMPLETE")
    reasons = [
        each.get("ResourceStatusReason", "")
        for each in cloudformation.describe_stack_events(StackName="network")["StackEvents"]
    ]
    assert any("sg-00000000000000000" in reason for reason in reasons)
