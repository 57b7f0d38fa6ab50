"""Policies may ask whether the containers of a job or a model have a network, and which one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_cloud.sagemaker import access_conditions

VPC = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1", "sg-2"]}
IN_VPC = {"sagemaker:vpcsubnets": ["subnet-1"], "sagemaker:vpcsecuritygroupids": ["sg-1", "sg-2"]}


@pytest.mark.parametrize(
    ("request_", "conditions"),
    [
        ({"TrainingJobName": "a"}, {"sagemaker:networkisolation": "false"}),
        ({"TrainingJobName": "a", "EnableNetworkIsolation": True}, {"sagemaker:networkisolation": "true"}),
        ({"ModelName": "a", "VpcConfig": VPC}, {"sagemaker:networkisolation": "false", **IN_VPC}),
        (
            {"ProcessingJobName": "a", "NetworkConfig": {"EnableNetworkIsolation": True, "VpcConfig": VPC}},
            {"sagemaker:networkisolation": "true", **IN_VPC},
        ),
        ({"ProcessingJobName": "a", "EnableNetworkIsolation": "yes"}, {"sagemaker:networkisolation": "false"}),
        ({"ModelName": "a", "VpcConfig": "x", "NetworkConfig": []}, {"sagemaker:networkisolation": "false"}),
        ({"EndpointName": "a"}, {}),
    ],
    ids=["nothing said", "isolated", "in a VPC", "processing", "no boolean", "no shape", "no containers"],
)
def test_what_containers_reach_can_be_asked(request_: dict[str, Any], conditions: dict[str, Any]) -> None:
    assert access_conditions.of_request(json.dumps(request_).encode()) == conditions
