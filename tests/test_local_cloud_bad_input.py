"""What cannot be served is refused by the local cloud as it is by AWS, and the endpoint that runs is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sagestack.settings.instance_types import known_instance_types, takes_volume_key

from local_cloud.sagemaker.hosting.instance_stores import has_own_disks
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud

NAME = "untouched"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{NAME}/variant/{NAME}",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Hosting:
    hosting = Hosting(cloud)
    hosting.endpoint(NAME)
    hosting.config("other", NAME)
    return hosting


def _config(hosting: Hosting, *, key: str = "", **variant: Any) -> None:
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="never",
        ProductionVariants=[
            {
                "VariantName": NAME,
                "ModelName": NAME,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                **variant,
            }
        ],
        **({"KmsKeyId": key} if key else {}),
    )


def _canary(hosting: Hosting, kind: str, value: int) -> None:
    routing = {"Type": "CANARY", "CanarySize": {"Type": kind, "Value": value}, "WaitIntervalInSeconds": 60}
    hosting.sagemaker.update_endpoint(
        EndpointName=NAME,
        EndpointConfigName="other",
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
    )


def _unapproved(hosting: Hosting) -> None:
    hosting.sagemaker.create_model_package_group(ModelPackageGroupName="bad-input")
    package = hosting.sagemaker.create_model_package(
        ModelPackageGroupName="bad-input",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": hosting.image, "ModelDataUrl": hosting.artefact("unapproved")}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
    hosting.sagemaker.create_model(
        ModelName="unapproved",
        PrimaryContainer={"ModelPackageName": package["ModelPackageArn"]},
        ExecutionRoleArn=hosting.role,
    )


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda it: _config(it, InitialVariantWeight=0), ["InitialVariantWeight 0 (untouched)", "above 0"]),
        (lambda it: _config(it, InstanceType="ml.m5.huge"), ["ml.m5.huge", "instanceType"]),
        (
            lambda it: _config(it, InstanceType="ml.m5d.large", key=KEY),
            ["KmsKeyId is not for instance type ml.m5d.large of variant untouched", "Leave KmsKeyId out"],
        ),
        (lambda it: _canary(it, "INSTANCE_COUNT", 3), ["CanarySize must be at most 50 percent of the 1 instance(s)"]),
        (lambda it: _canary(it, "CAPACITY_PERCENT", 10), ["one instance has no smaller part", "ALL_AT_ONCE"]),
        (
            lambda it: it.cloud.client("application-autoscaling").register_scalable_target(
                **TARGET, MinCapacity=4, MaxCapacity=2
            ),
            ["MinCapacity is 4, MaxCapacity 2"],
        ),
        (_unapproved, ["bad-input", "is not approved", "PendingManualApproval"]),
    ],
    ids=["no weight", "instance type", "key", "large canary", "canary of one", "bounds", "approval"],
)
def test_what_cannot_be_is_refused_and_the_running_endpoint_untouched(
    hosting: Hosting, ask: Callable[[Hosting], None], words: list[str]
) -> None:
    def endpoint() -> dict[str, Any]:
        described = hosting.sagemaker.describe_endpoint(EndpointName=NAME)
        return {key: value for key, value in described.items() if key != "ResponseMetadata"}

    before, process = endpoint(), hosting.ask(NAME)["pid"]
    with pytest.raises(ClientError) as caught:
        ask(hosting)
    assert caught.value.response["Error"]["Code"] in ("ValidationException", "ValidationError")
    for word in words:
        assert word in caught.value.response["Error"]["Message"]
    assert (endpoint(), hosting.ask(NAME)["pid"]) == (before, process)


def test_disks_that_encrypt_themselves_are_the_same_here_and_in_the_settings() -> None:
    types = known_instance_types("hosting")
    assert {each for each in types if has_own_disks(each)} == {each for each in types if not takes_volume_key(each)}
