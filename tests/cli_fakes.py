"""A small project and a session whose clients answer from a script: commands are tested without a cloud."""

from __future__ import annotations

import datetime
import io
import os
from pathlib import Path
from typing import Any

from botocore.response import StreamingBody
from botocore.stub import Stubber
from sagestack.cli.local_cloud import LocalCloud
from sagestack.cli.options import State
from sagestack.cli.session import Session
from sagestack.settings import load_environment

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
ENVIRONMENT = """\
account: "{account}"
region: us-east-1
model_image: {image}
network: null
removal_policy: destroy
retention: {{noncurrent_version_days: 7, access_log_days: 30}}
tags: {{project: sagestack}}
models:
  housing:
    # Nothing is served yet.
    served_version: null
    endpoint: {{kind: real-time, instance_type: ml.m5.large, initial_instance_count: 1}}
    pipeline:
      processing_instance_type: ml.m5.large
      training_instance_type: ml.m5.large
      volume_size_in_gb: 10
      max_runtime_in_seconds: 3600
      training_instance_count: 1
      spot: null
"""
MODEL = """\
description: A model for tests.
data: {file: data/housing.csv}
training: {kind: own-container, hyperparameters: {max_depth: 5}}
quality: {metric: regression_metrics.rmse.value, at_most: 4.0}
serving: {content_types: [text/csv], response_types: [text/csv]}
"""
PIPELINE_ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/sagestack-local-housing"
GROUP = "sagestack-local-housing"


def make_project(root: Path) -> Path:
    """The files of a project that the command line reads."""
    (root / "environments").mkdir(parents=True)
    (root / "cdk.json").write_text("{}")
    (root / "environments/local.yaml").write_text(ENVIRONMENT.format(account="0" * 12, image="build-context"))
    (root / "environments/dev.yaml").write_text(ENVIRONMENT.format(account="1" * 12, image="ecr"))
    add_model(root, "housing")
    return root


def add_model(root: Path, name: str) -> None:
    folder = root / "model_code" / name
    (folder / "data").mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL)
    (folder / "data/housing.csv").write_text("CRIM,MEDV\n1,2\n")


def local_cloud(**changes: Any) -> LocalCloud:
    """The description of a local cloud that nobody starts."""
    values: dict[str, Any] = {
        "pid": os.getpid(),
        "port": 20001,
        "endpoint_url": "http://127.0.0.1:20001",
        "ca_bundle": "/with space/certificate.pem",
        "region": "us-east-1",
        "account": "0" * 12,
        "access_key_id": "key",
        "secret_access_key": "secret",
        "runner": "process",
        "started_at": NOW.isoformat(),
        "version": "1",
    }
    return LocalCloud(**{**values, **changes})


class FakeSession(Session):
    """A session on the local cloud whose clients are stubbed: what is not in the script fails the test."""

    def __init__(self, root: Path, environment: str = "local") -> None:
        super().__init__(root, load_environment(environment, root), local_cloud())
        self._stubbers: dict[str, Stubber] = {}

    @property
    def poll_seconds(self) -> float:
        return 0.0

    def _stub(self, service: str) -> Stubber:
        if service not in self._stubbers:
            self._stubbers[service] = Stubber(getattr(self, service))
            self._stubbers[service].activate()
        return self._stubbers[service]

    def answer(self, service: str, method: str, answer: dict[str, Any], expected: dict[str, Any] | None = None) -> None:
        """The next answer of a service."""
        self._stub(service).add_response(method, answer, expected)

    def refuse(self, service: str, method: str, code: str, message: str = "no", **more: Any) -> None:
        """The next answer of a service is an error."""
        stub = self._stub(service)
        stub.add_client_error(method, code, message, modeled_fields=more or None)

    def parameters(self, *values: str | None) -> None:
        """The next SSM parameters that are looked up; None is not there."""
        for value in values:
            if value is None:
                self.refuse("ssm", "get_parameter", "ParameterNotFound")
            else:
                self.answer("ssm", "get_parameter", {"Parameter": {"Value": value}})

    def check(self) -> None:
        """Everything in the script was asked for."""
        for stub in self._stubbers.values():
            stub.assert_no_pending_responses()


def connect_to(session: FakeSession) -> Any:
    """What replaces `State.connect`; pins that a command wrote are read again, as by the real one."""

    def connect(state: State, environment: str) -> FakeSession:
        session.environment = load_environment(environment, state.root)
        return session

    return connect


def body(content: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(content), len(content))


def version(number: int, approval: str) -> dict[str, Any]:
    """A row of ListModelPackages."""
    return {
        "ModelPackageGroupName": GROUP,
        "ModelPackageVersion": number,
        "ModelPackageArn": f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{GROUP}/{number}",
        "ModelApprovalStatus": approval,
        "ModelPackageStatus": "Completed",
        "CreationTime": NOW,
    }


def versions(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"ModelPackageSummaryList": list(rows)}
