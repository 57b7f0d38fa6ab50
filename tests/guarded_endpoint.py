"""A small stack with the real gate and probe around an endpoint of a tiny image, deployed as the CDK CLI would do it."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from botocore.exceptions import ClientError
from sagestack import settings
from sagestack.deployment_gate import DeploymentGate
from sagestack.endpoint import Endpoint
from sagestack.golden_probe import GoldenProbe
from sagestack.hosted_models import RegisteredModel
from sagestack.roles import SageMakerRole
from sagestack.served_parts import served_parts

from tests.hosted_images import BUCKET, DOCKERFILE, Hosting, archive_of
from tests.local_cloud_fixtures import LocalCloud

STACK = "guarded-serving"
ENDPOINT = "sagestack-local-guarded"
BAKE_S = 180
"""Six real seconds by the default clock factor."""
SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

model = json.loads((Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model/model.json").read_text())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        number = float(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(str(number * model["times"]).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
"""


def golden(times: float) -> bytes:
    """The golden records of a model that multiplies."""
    records = [
        {"content_type": "text/csv", "accept": "text/csv", "body": f"{number}", "answer": f"{number * times}"}
        for number in (1.5, 2.0, -7.25)
    ]
    return json.dumps({"format": "sagestack-golden-records-1", "records": records}).encode()


class Registry:
    """Versions of a model that multiplies, in the local cloud's registry."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting = hosting
        self.sagemaker = hosting.sagemaker
        self.s3 = hosting.cloud.client("s3")
        self.image = hosting.build_context("times.zip", DOCKERFILE, SERVER)
        self._made = 0
        for group in ("guarded", "others"):
            # The cloud is shared, and a group may be there from another test.
            with contextlib.suppress(ClientError):
                self.sagemaker.create_model_package_group(ModelPackageGroupName=group)

    def register(
        self, times: float, *, recorded: bytes | None = None, group: str = "guarded", approval: str = "Approved"
    ) -> str:
        """The ARN of a version that multiplies so; `recorded` is its golden file, b"" for none at the place it names."""
        self._made += 1
        folder = f"versions/{self._made}"
        self.s3.put_object(Bucket=BUCKET, Key=f"{folder}/model.tar.gz", Body=archive_of("times", times=times))
        content = golden(times) if recorded is None else recorded
        if content:
            self.s3.put_object(Bucket=BUCKET, Key=f"{folder}/golden-records.json", Body=content)
        made = self.sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus=approval,
            InferenceSpecification={
                "Containers": [{"Image": self.image, "ModelDataUrl": f"s3://{BUCKET}/{folder}/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
            CustomerMetadataProperties={"golden-records": f"s3://{BUCKET}/{folder}/golden-records.json"},
        )
        return str(made["ModelPackageArn"])


class GuardedStack(cdk.Stack):
    """An endpoint with everything that guards it, as a serving stack has it."""

    def __init__(self, app: cdk.App, *, arn: str, is_probed: bool) -> None:
        super().__init__(app, STACK, synthesizer=cdk.CliCredentialsStackSynthesizer(file_assets_bucket_name=BUCKET))
        artifacts = s3.Bucket.from_bucket_name(self, "Artifacts", BUCKET)
        role = SageMakerRole(self, "EndpointRole", description="What the endpoint may do")
        artifacts.grant_read(role)

        def read(grantee: iam.IGrantable) -> None:
            artifacts.grant_read(grantee, "versions/*")

        hosting = settings.RealTime(
            kind="real-time",
            instance_type="ml.m5.large",
            initial_instance_count=2 if is_probed else 1,
            update=settings.Canary(kind="canary", canary_percent=50, bake_in_seconds=BAKE_S)
            if is_probed
            else settings.AllAtOnce(kind="all-at-once", bake_in_seconds=0),
            # Half of the traffic is more than any limit for errors, and there are none here.
            rollback=settings.RollbackLimits(error_percent=40),
            data_capture=None,
        )
        served = RegisteredModel("guarded", OneVersion(arn), 1)
        parts = served_parts(hosting, served)
        probe = (
            GoldenProbe(
                self,
                "Probe",
                endpoint_name=ENDPOINT,
                model_package_arns=parts.model_package_arns,
                grant_read_golden_records=read,
            )
            if is_probed
            else None
        )
        endpoint = Endpoint(
            self,
            "Endpoint",
            names=settings.EnvironmentNames("local").model("guarded"),
            hosting=hosting,
            serving=settings.Serving(content_types=["text/csv"], response_types=["text/csv"]),
            model=served,
            rollback_alarms=[probe.alarm] if probe else [],
            role=role,
            artifacts=artifacts,
            encryption_key=kms.Key(self, "Key"),
        )
        if probe:
            probe.watch(endpoint)
        DeploymentGate(self, "Gate", endpoint=endpoint, parts=parts, grant_read_golden_records=read)


class OneVersion:
    """A registry as the endpoint needs it."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def model_package_arn(self, version: int) -> str:
        """The one version."""
        return self._arn


class Deployments:
    """Deploys the stack with one version or another."""

    def __init__(self, cloud: LocalCloud, folder: Path, *, is_probed: bool) -> None:
        self._cloudformation = cloud.client("cloudformation")
        self._s3 = cloud.client("s3")
        self._arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package/guarded/4711"
        app = cdk.App(outdir=str(folder), analytics_reporting=False)
        GuardedStack(app, arn=self._arn, is_probed=is_probed)
        app.synth()
        self._template = (folder / f"{STACK}.template.json").read_text()
        self._publish(folder)

    def create(self, arn: str) -> str:
        """The stack's status after its creation."""
        self._cloudformation.create_stack(
            StackName=STACK, TemplateBody=self._with(arn), Capabilities=["CAPABILITY_IAM"]
        )
        return self._ended()

    def update(self, arn: str) -> str:
        """The stack's status after an update."""
        self._cloudformation.update_stack(
            StackName=STACK, TemplateBody=self._with(arn), Capabilities=["CAPABILITY_IAM"]
        )
        return self._ended()

    def delete(self) -> None:
        """Take everything away."""
        self._cloudformation.delete_stack(StackName=STACK)
        self._cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def failures(self) -> list[str]:
        """The reasons of the resources that failed since the last deployment began, oldest first."""
        reasons = []
        for event in self._cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]:
            if event["LogicalResourceId"] == STACK and event["ResourceStatus"] in (
                "UPDATE_IN_PROGRESS",
                "CREATE_IN_PROGRESS",
            ):
                break
            if event["ResourceStatus"].endswith("_FAILED"):
                reasons.append(event.get("ResourceStatusReason", ""))
        return reasons[::-1]

    def _with(self, arn: str) -> str:
        # The group that the gate expects is not replaced: it is the endpoint's, whatever version is pinned.
        return self._template.replace(self._arn, arn)

    def _ended(self) -> str:
        deadline = time.monotonic() + 90
        while True:
            status = str(self._cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"])
            if not status.endswith("_IN_PROGRESS"):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.1)

    def _publish(self, folder: Path) -> None:
        manifest: dict[str, Any] = json.loads((folder / f"{STACK}.assets.json").read_text())
        for asset in manifest["files"].values():
            source = folder / asset["source"]["path"]
            content = _zipped(source) if asset["source"]["packaging"] == "zip" else source.read_bytes()
            for destination in asset["destinations"].values():
                self._s3.put_object(Bucket=destination["bucketName"], Key=destination["objectKey"], Body=content)


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return content.getvalue()
