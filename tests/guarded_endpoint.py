"""A small stack with the real gate and probe around an endpoint of a tiny image, deployed as the CDK CLI would do it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
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
from sagestack.served_parts import is_probed, served_parts

from tests.hosted_images import BUCKET, DOCKERFILE, Hosting, archive_of
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer

STACK = "guarded-serving"
ENDPOINT = "sagestack-local-guarded"
BAKE_S = 180
"""Six real seconds by the default clock factor."""
WINDOW_S = 2.5
"""A little more than the minute that most of the alarms look at, by the default clock factor."""
QUIET_TIMEOUT_S = 60
SERVER = """
import itertools, json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

model = json.loads((Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model/model.json").read_text())
asked = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(503 if model.get("is_never_healthy") else 200, b"")

    def do_POST(self):
        number = float(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(model.get("answers_after_s", 0))
        every = model.get("fails_one_in", 0)
        failed = number == model.get("fails_on") or every and next(asked) % every == 0
        self.answer(500 if failed else 200, b"no" if failed else str(number * model["times"]).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
Server((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
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
        self,
        times: float,
        *,
        recorded: bytes | None = None,
        group: str = "guarded",
        approval: str = "Approved",
        **behaviour: Any,
    ) -> str:
        """The ARN of a version that multiplies so.

        Args:
            times: by what.
            recorded: its golden file, b"" for none at the place it names.
            group: where it is registered.
            approval: its ModelApprovalStatus.
            behaviour: `fails_on` (a number), `fails_one_in`, `answers_after_s`, `is_never_healthy`.
        """
        self._made += 1
        folder = f"versions/{self._made}"
        self.s3.put_object(
            Bucket=BUCKET, Key=f"{folder}/model.tar.gz", Body=archive_of("times", times=times, **behaviour)
        )
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


def probed_hosting() -> settings.RealTime:
    """Two instances, of which one is the canary."""
    return settings.RealTime(
        kind="real-time",
        instance_type="ml.m5.large",
        initial_instance_count=2,
        update=settings.Canary(kind="canary", canary_percent=50, bake_in_seconds=BAKE_S),
        # A busy machine is slow, and that is no failure of a version.
        rollback=settings.RollbackLimits(p99_latency_ms=20000, saturation_percent=100),
        data_capture=None,
    )


def plain_hosting() -> settings.RealTime:
    """One instance, which changes all at once."""
    return settings.RealTime(
        kind="real-time",
        instance_type="ml.m5.large",
        initial_instance_count=1,
        update=settings.AllAtOnce(kind="all-at-once", bake_in_seconds=0),
        data_capture=None,
    )


class GuardedStack(cdk.Stack):
    """An endpoint with everything that guards it, as a serving stack has it.

    Attributes:
        endpoint: what is guarded.
    """

    def __init__(self, app: cdk.App, *, arn: str, hosting: settings.RealTime | settings.Asynchronous) -> None:
        super().__init__(app, STACK, synthesizer=synthesizer())
        artifacts = s3.Bucket.from_bucket_name(self, "Artifacts", BUCKET)
        role = SageMakerRole(self, "EndpointRole", description="What the endpoint may do")
        artifacts.grant_read(role)

        def read(grantee: iam.IGrantable) -> None:
            artifacts.grant_read(grantee, "versions/*")

        names = settings.EnvironmentNames("local").model("guarded")
        served = RegisteredModel("guarded", OneVersion(arn), 1)
        parts = served_parts(hosting, served)
        # All at once, the probe's question would come too late.
        probe = (
            GoldenProbe(
                self,
                "Probe",
                endpoint_name=ENDPOINT,
                model_package_arns=parts.model_package_arns,
                grant_read_golden_records=read,
            )
            if isinstance(hosting.update, settings.Canary) and is_probed(hosting, served)
            else None
        )
        self.endpoint = Endpoint(
            self,
            "Endpoint",
            names=names,
            hosting=hosting,
            serving=settings.Serving(content_types=["text/csv"], response_types=["text/csv"]),
            model=served,
            rollback_alarms=[probe.alarm] if probe else [],
            role=role,
            artifacts=artifacts,
            encryption_key=kms.Key(self, "Key"),
        )
        if probe:
            probe.watch(self.endpoint)
        DeploymentGate(
            self,
            "Gate",
            endpoint=self.endpoint,
            parts=parts,
            grant_read_golden_records=read,
            requests=(artifacts, names.request_prefix) if self.endpoint.answers else None,
        )


class OneVersion:
    """A registry as the endpoint needs it."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def model_package_arn(self, version: int) -> str:
        """The one version."""
        return self._arn


class Deployments(StackDeployer):
    """Deploys the stack with one version or another."""

    def __init__(
        self,
        cloud: LocalCloud,
        folder: Path,
        hosting: settings.RealTime | settings.Asynchronous,
        change: Callable[[GuardedStack], object] = lambda stack: None,
    ) -> None:
        """Synthesizes it once.

        Args:
            cloud: where to.
            folder: for what is synthesized.
            hosting: how the endpoint is served.
            change: what else is in the stack.
        """
        super().__init__(cloud, STACK)
        self._arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package/guarded/4711"
        self._template = self.synthesize(folder, lambda app: change(GuardedStack(app, arn=self._arn, hosting=hosting)))

    def serve(self, arn: str) -> str:
        """The stack's status after a deployment of a version."""
        # The group that the gate expects is not replaced: it is the endpoint's, whatever version is pinned.
        return self.deploy(self._template.replace(self._arn, arn))


def until_no_alarm_rings(cloud: LocalCloud) -> None:
    """Wait until nothing of the last deployment is left in what the endpoint's alarms look at.

    An update that begins while one rings is taken back at once, and a share may rise again as its window moves on.
    """
    cloudwatch = cloud.client("cloudwatch")
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    quiet_since = time.monotonic()
    while time.monotonic() < quiet_since + WINDOW_S:
        alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"{ENDPOINT}-")["MetricAlarms"]
        if ringing := [alarm["AlarmName"] for alarm in alarms if alarm["StateValue"] == "ALARM"]:
            quiet_since = time.monotonic()
            assert quiet_since < deadline, ringing
        time.sleep(0.1)
