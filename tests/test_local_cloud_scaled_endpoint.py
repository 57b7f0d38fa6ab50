"""A scaled endpoint behind a front door, deployed into the local cloud: it answers callers, and its instances change type."""

from __future__ import annotations

import json
import math
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sagemaker as sagemaker
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from sagestack import settings
from sagestack.endpoint_scaling import INSTANCE_COUNT, EndpointScaling
from sagestack.front_door import FrontDoor

from tests.endpoint_versions import Steady, asker
from tests.guarded_endpoint import ENDPOINT as GUARDED
from tests.guarded_endpoint import Deployments, Registry, plain_hosting
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.waiting import wait_for

pytestmark = pytest.mark.long

ENDPOINT = "sagestack-local-scaled"
STACK = "scaled-serving"
VARIANT = f"endpoint/{ENDPOINT}/variant/AllTraffic"


class ScaledStack(cdk.Stack):
    """As a serving stack has it, around a model that is there already."""

    def __init__(self, app: cdk.App, *, model: str, instance_type: str) -> None:
        super().__init__(app, STACK, synthesizer=synthesizer())
        hosting = settings.RealTime(
            kind="real-time",
            instance_type=instance_type,
            initial_instance_count=1,
            autoscaling=settings.Autoscaling(min_capacity=1, max_capacity=2, invocations_per_instance=100000.0),
        )
        config = sagemaker.CfnEndpointConfig(
            self,
            "Config",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name="AllTraffic",
                    model_name=model,
                    instance_type=instance_type,
                    initial_instance_count=1,
                    initial_variant_weight=1.0,
                )
            ],
        )
        endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=ENDPOINT,
            endpoint_config_name=config.attr_endpoint_config_name,
            retain_all_variant_properties=True,
        )
        EndpointScaling(
            self,
            "Scaling",
            endpoint=endpoint,
            resource_id=VARIANT,
            scalable_dimension=INSTANCE_COUNT,
            hosting=hosting,
        )
        door = FrontDoor(
            self,
            "FrontDoor",
            endpoint_name=ENDPOINT,
            endpoint_arn=endpoint.ref,
            door=settings.FrontDoor(authorization="iam"),
            content_types=["text/csv", "application/json"],
        )
        cdk.CfnOutput(self, "Api", value=door.api.api_id)


def knock(
    cloud: LocalCloud, api: str, body: bytes, *, content_type: str = "text/csv", signed: bool = True
) -> tuple[int, str]:
    """Posts to the front door; the status and the answer."""
    url = f"https://127.0.0.1:{cloud.port}/_aws/execute-api/{api}/$default/invocations"
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": content_type})
    if signed:
        keys = Credentials(cloud.description["access_key_id"], cloud.description["secret_access_key"])
        SigV4Auth(keys, "execute-api", cloud.region).add_auth(request)
    trusted = ssl.create_default_context(cafile=str(cloud.state_dir / "tls/certificate.pem"))
    try:
        sent = urllib.request.Request(url, body, dict(request.headers))
        with urllib.request.urlopen(sent, context=trusted) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_scaled_endpoint_answers_at_its_front_door_and_changes_its_instance_type(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    hosting, scaling = Hosting(cloud), cloud.client("application-autoscaling")
    good, broken = hosting.model("scaled-good"), hosting.model("scaled-broken", crash=True)
    deployer = StackDeployer(cloud, STACK)

    def deploy(model: str, instance_type: str) -> str:
        """The status that the stack ends in."""
        folder = tmp_path / f"{model}-{instance_type}"
        return deployer.deploy(
            deployer.synthesize(folder, lambda app: ScaledStack(app, model=model, instance_type=instance_type))
        )

    def registered() -> tuple[list[str], list[str]]:
        """The targets and the policies of the variant."""
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[VARIANT])
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=VARIANT)
        return (
            [each["ResourceId"] for each in targets["ScalableTargets"]],
            [each["PolicyName"] for each in policies["ScalingPolicies"]],
        )

    assert deploy(good, "ml.m5.large") == "CREATE_COMPLETE", deployer.failures()
    assert registered() == ([VARIANT], ["Invocations-ml.m5.large"])
    api = deployer.output("Api")

    assert knock(cloud, api, b"1,2,3")[0] == 200
    assert knock(cloud, api, b"1,2,3", signed=False)[0] == 403
    assert knock(cloud, api, b"1,2,3", content_type="image/png")[0] == 415
    status, told = knock(cloud, api, b'{"fail": 400, "message": "8 columns, got 3"}', content_type="application/json")
    assert (status, json.loads(told)["message"]) == (400, "8 columns, got 3")
    assert knock(cloud, api, b'{"fail": 500}', content_type="application/json")[0] == 502

    assert deploy(good, "ml.c5.large") == "UPDATE_COMPLETE", deployer.failures()
    assert registered() == ([VARIANT], ["Invocations-ml.c5.large"])

    assert deploy(broken, "ml.m5.xlarge") == "UPDATE_ROLLBACK_COMPLETE", deployer.failures()
    assert registered() == ([VARIANT], ["Invocations-ml.c5.large"])
    assert knock(cloud, api, b"1,2,3")[0] == 200


def test_instances_that_scaling_added_stay_through_a_deployment(cloud: LocalCloud, tmp_path: Path) -> None:
    hosting = Hosting(cloud)
    registry = Registry(hosting)
    # Forty requests a second are eighty in a minute of this cloud.
    scaling = settings.Autoscaling(min_capacity=1, max_capacity=4, invocations_per_instance=10.0)
    deployments = Deployments(cloud, tmp_path, plain_hosting().model_copy(update={"autoscaling": scaling}))
    assert deployments.serve(registry.register(2)) == "CREATE_COMPLETE", deployments.failures()

    def instances() -> tuple[int, int]:
        (variant,) = hosting.sagemaker.describe_endpoint(EndpointName=GUARDED)["ProductionVariants"]
        return variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]

    assert instances() == (1, 1)
    with Steady(asker(hosting, GUARDED, body=b"10"), 40, threads=8) as load:
        wait_for(lambda: instances() == (4, 4), 120)
        assert deployments.serve(registry.register(3)) == "UPDATE_COMPLETE", deployments.failures()
        deployed_at = time.monotonic()
        assert instances() == (4, 4)
        wait_for(lambda: load.between(deployed_at, math.inf).total() >= 20)
    assert [answer for answer in load.answers if answer.is_error] == []
    assert set(load.between(deployed_at, math.inf)) == {"30.0"}
    deployments.delete()
