"""Policies may ask whether the containers of a job or a model have a network, and which one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_cloud.sagemaker import access_conditions

VPC = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1", "sg-2"]}
IN_VPC = {"sagemaker:vpcsubnets": ["subnet-1"], "sagemaker:vpcsecuritygroupids": ["sg-1", "sg-2"]}


@pytest.mark.parametrize(
    ("action", "request_", "conditions"),
    [
        ("CreateTrainingJob", {"TrainingJobName": "a"}, {"sagemaker:networkisolation": "false"}),
        (
            "CreateTrainingJob",
            {"TrainingJobName": "a", "EnableNetworkIsolation": True},
            {"sagemaker:networkisolation": "true"},
        ),
        ("CreateModel", {"ModelName": "a", "VpcConfig": VPC}, {"sagemaker:networkisolation": "false", **IN_VPC}),
        (
            "CreateProcessingJob",
            {"ProcessingJobName": "a", "NetworkConfig": {"EnableNetworkIsolation": True, "VpcConfig": VPC}},
            {"sagemaker:networkisolation": "true", **IN_VPC},
        ),
        (
            "CreateProcessingJob",
            {"ProcessingJobName": "a", "EnableNetworkIsolation": "yes"},
            {"sagemaker:networkisolation": "false"},
        ),
        (
            "CreateModel",
            {"ModelName": "a", "VpcConfig": "x", "NetworkConfig": []},
            {"sagemaker:networkisolation": "false"},
        ),
        ("CreateEndpoint", {"EndpointName": "a"}, {}),
        ("StopTrainingJob", {"TrainingJobName": "a"}, {}),
    ],
    ids=["nothing said", "isolated", "in a VPC", "processing", "no boolean", "no shape", "no containers", "not made"],
)
def test_what_containers_reach_can_be_asked(action: str, request_: dict[str, Any], conditions: dict[str, Any]) -> None:
    assert access_conditions.of_request(f"sagemaker:{action}", json.dumps(request_).encode()) == conditions
