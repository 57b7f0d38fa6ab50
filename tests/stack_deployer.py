"""Deploys a CDK stack into a local cloud as the CDK CLI would do it, without starting a CLI for every step of a story."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from tests.hosted_images import BUCKET
from tests.local_cloud_fixtures import LocalCloud

TIMEOUT_S = 240
"""Of one deployment: an update that bakes and goes back, on a machine that other tests keep busy."""

_IN_THE_CALL = 51_200
"""Bytes: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""


def synthesizer() -> cdk.IStackSynthesizer:
    """For a stack whose assets go into the bucket of the tests, which needs no bootstrap."""
    return cdk.CliCredentialsStackSynthesizer(file_assets_bucket_name=BUCKET)


class StackDeployer:
    """One stack, deployed again and again.

    Attributes:
        name: of the stack.
    """

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        self.name = name
        self.cloudformation, self._s3 = cloud.client("cloudformation"), cloud.client("s3")
        self._is_there = False

    def synthesize(self, folder: Path, make: Callable[[cdk.App], object]) -> str:
        """The template of the stack that `make` puts into an app; its assets are published."""
        app = cdk.App(outdir=str(folder), analytics_reporting=False)
        make(app)
        app.synth()
        return self.published(folder)

    def published(self, folder: Path) -> str:
        """The template of the stack in an app that was synthesized there; its assets are published."""
        for asset in json.loads((folder / f"{self.name}.assets.json").read_text())["files"].values():
            source = folder / asset["source"]["path"]
            body = _zipped(source) if asset["source"]["packaging"] == "zip" else source.read_bytes()
            for place in asset["destinations"].values():
                self._s3.put_object(Bucket=place["bucketName"], Key=place["objectKey"], Body=body)
        template = json.loads((folder / f"{self.name}.template.json").read_text())
        # Without blanks: it is read by a machine, and sent.
        return json.dumps(template, separators=(",", ":"))

    def deploy(self, template: str) -> str:
        """The status that the stack ends in: created the first time, updated from then on."""
        act = self.cloudformation.update_stack if self._is_there else self.cloudformation.create_stack
        self._is_there = True
        act(StackName=self.name, **self._sent(template), Capabilities=["CAPABILITY_IAM"])
        deadline = time.monotonic() + TIMEOUT_S
        while (status := str(self.described()["StackStatus"])).endswith("_IN_PROGRESS"):
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        return status

    def _sent(self, template: str) -> dict[str, str]:
        """As CloudFormation takes it: in the call itself, or, a larger one, from S3."""
        if len(template.encode()) <= _IN_THE_CALL:
            return {"TemplateBody": template}
        key = f"templates/{self.name}.json"
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=template.encode())
        return {"TemplateURL": f"https://s3.amazonaws.com/{BUCKET}/{key}"}

    def described(self) -> dict[str, Any]:
        """The stack, as DescribeStacks has it."""
        (stack,) = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return dict(stack)

    def output(self, key: str) -> str:
        """The value of an output."""
        (value,) = (each["OutputValue"] for each in self.described()["Outputs"] if each["OutputKey"] == key)
        return str(value)

    def failures(self) -> list[str]:
        """The reasons of the resources that failed since the last deployment began, oldest first."""
        reasons = []
        for event in self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]:
            if event["LogicalResourceId"] == self.name and event["ResourceStatus"] in (
                "UPDATE_IN_PROGRESS",
                "CREATE_IN_PROGRESS",
            ):
                break
            if event["ResourceStatus"].endswith("_FAILED"):
                reasons.append(event.get("ResourceStatusReason", ""))
        return reasons[::-1]

    def delete(self) -> None:
        """Take everything away."""
        # By its id: a stack that is gone has no name any more.
        stack_id = self.described()["StackId"]
        self.cloudformation.delete_stack(StackName=self.name)
        deadline = time.monotonic() + TIMEOUT_S
        while (status := self._status(stack_id)) != "DELETE_COMPLETE":
            assert status != "DELETE_FAILED", self._undeleted(stack_id)
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        self._is_there = False

    def _status(self, stack_id: str) -> str:
        return str(self.cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])

    def _undeleted(self, stack_id: str) -> list[str]:
        """What could not be deleted, and why."""
        events = self.cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
        return [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event["ResourceStatus"] == "DELETE_FAILED"
        ]


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return content.getvalue()
