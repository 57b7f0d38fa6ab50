"""A scaled endpoint behind a front door, deployed into the local cloud: it answers callers, and its instances change type."""

from __future__ import annotations

import io
import json
import ssl
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_sagemaker as sagemaker
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from sagestack import settings
from sagestack.endpoint_scaling import INSTANCE_COUNT, EndpointScaling
from sagestack.front_door import FrontDoor

from tests.hosted_images import BUCKET, Hosting
from tests.local_cloud_fixtures import LocalCloud

ENDPOINT = "sagestack-local-scaled"
STACK = "scaled-serving"
VARIANT = f"endpoint/{ENDPOINT}/variant/AllTraffic"


class ScaledStack(cdk.Stack):
    """As a serving stack has it, around a model that is there already."""

    def __init__(self, app: cdk.App, *, model: str, instance_type: str) -> None:
        super().__init__(app, STACK, synthesizer=cdk.CliCredentialsStackSynthesizer(file_assets_bucket_name=BUCKET))
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


class Deployer:
    """Deploys the stack as the CDK CLI would do it."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self.cloudformation, self._s3, self._folder = cloud.client("cloudformation"), cloud.client("s3"), folder

    def deploy(self, model: str, instance_type: str) -> str:
        """The status that the stack ends in."""
        folder = self._folder / f"{model}-{instance_type}"
        app = cdk.App(outdir=str(folder), analytics_reporting=False)
        ScaledStack(app, model=model, instance_type=instance_type)
        app.synth()
        for asset in json.loads((folder / f"{STACK}.assets.json").read_text())["files"].values():
            source = folder / asset["source"]["path"]
            body = _zipped(source) if asset["source"]["packaging"] == "zip" else source.read_bytes()
            for place in asset["destinations"].values():
                self._s3.put_object(Bucket=place["bucketName"], Key=place["objectKey"], Body=body)
        is_new = len(list(self._folder.iterdir())) == 1
        act = self.cloudformation.create_stack if is_new else self.cloudformation.update_stack
        act(
            StackName=STACK,
            TemplateBody=(folder / f"{STACK}.template.json").read_text(),
            Capabilities=["CAPABILITY_IAM"],
        )
        deadline = time.monotonic() + 90
        while (status := self.stack()["StackStatus"]).endswith("_IN_PROGRESS"):
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        return str(status)

    def stack(self) -> dict[str, Any]:
        (stack,) = self.cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        return dict(stack)

    def failures(self) -> list[str]:
        events = self.cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        return [event.get("ResourceStatusReason", "") for event in events if "FAILED" in event["ResourceStatus"]]


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            archive.write(file, file.relative_to(folder))
    return content.getvalue()


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
    deployer = Deployer(cloud, tmp_path)

    def registered() -> tuple[list[str], list[str]]:
        """The targets and the policies of the variant."""
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[VARIANT])
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=VARIANT)
        return (
            [each["ResourceId"] for each in targets["ScalableTargets"]],
            [each["PolicyName"] for each in policies["ScalingPolicies"]],
        )

    assert deployer.deploy(good, "ml.m5.large") == "CREATE_COMPLETE", deployer.failures()
    assert registered() == ([VARIANT], ["Invocations-ml.m5.large"])
    api = deployer.stack()["Outputs"][0]["OutputValue"]

    assert knock(cloud, api, b"1,2,3")[0] == 200
    assert knock(cloud, api, b"1,2,3", signed=False)[0] == 403
    assert knock(cloud, api, b"1,2,3", content_type="image/png")[0] == 415
    status, told = knock(cloud, api, b'{"fail": 400, "message": "8 columns, got 3"}', content_type="application/json")
    assert (status, json.loads(told)["message"]) == (400, "8 columns, got 3")
    assert knock(cloud, api, b'{"fail": 500}', content_type="application/json")[0] == 502

    assert deployer.deploy(good, "ml.c5.large") == "UPDATE_COMPLETE", deployer.failures()
    assert registered() == ([VARIANT], ["Invocations-ml.c5.large"])

    assert deployer.deploy(broken, "ml.m5.xlarge") == "UPDATE_ROLLBACK_COMPLETE", deployer.failures()
    assert registered() == ([VARIANT], ["Invocations-ml.c5.large"])
    assert knock(cloud, api, b"1,2,3")[0] == 200
