"""SageMaker's pipelines in this process, with jobs that do what a test says: for what takes minutes or luck for real.

The pipeline engine speaks to the API through a real botocore client; only its transport is cut short.
"""

from __future__ import annotations

import io
import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from local_cloud.platform import Caller, Credentials, RoleRefused
from local_cloud.sagemaker import events, notifications, validation
from local_cloud.sagemaker import registry as registry  # registers its operations
from local_cloud.sagemaker.errors import AccessDenied, ApiError, ResourceLimitExceeded, ValidationError
from local_cloud.sagemaker.pipelines import pipelines
from local_cloud.sagemaker.service import OPERATIONS, Request, Response, Sagemaker, answer, error_answer, model
from local_cloud.sagemaker.store import Store
from local_cloud.sagemaker.tags import current

ACCOUNT, REGION = "000000000000", "us-east-1"
USER = Caller(ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:user/tester", "AKIA")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/pipeline"
ENDED = ("Completed", "Failed", "Stopped")


class FakeS3:
    """Objects in a dictionary."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if f"{Bucket}/{Key}" not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no such key"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[f"{Bucket}/{Key}"])}

    def head_object(self, Bucket: str, Key: str) -> None:  # noqa: N803
        if f"{Bucket}/{Key}" not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")


class FakePlatform:
    """The services around SageMaker, as far as pipelines and the registry need them."""

    def __init__(self) -> None:
        self.service: Sagemaker | None = None
        self.events: list[dict[str, Any]] = []
        self.objects: dict[str, bytes] = {}
        self.denials: dict[tuple[str, str], str] = {}
        """(principal's ARN or role's ARN, action) to the message of the denial."""
        self.refused_roles: set[str] = set()
        self.throttled: dict[str, int] = {}
        """Operation to how many more of its calls are throttled."""
        self.sessions: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        """(principal, operation) of every call over the API."""
        self._session = botocore.session.Session()
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def client(self, name: str, region: str, credentials: Credentials | None = None) -> Any:
        if name == "s3":
            return FakeS3(self.objects)
        with self._lock:
            client = self._session.create_client(
                name,
                region_name=region,
                endpoint_url="https://127.0.0.1:1",
                aws_access_key_id=credentials.access_key_id if credentials else "SERVICE",
                aws_secret_access_key="x",
            )
        principal = self.sessions[credentials.access_key_id] if credentials else "service"

        def send(request: Any, **_: Any) -> AWSResponse:
            target = request.headers["X-Amz-Target"].decode()
            status, headers, body = self._answer(principal, region, target, request.body)
            raw = io.BytesIO(body)
            raw.stream = lambda **_: iter([raw.read()])  # type: ignore[attr-defined]
            return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), raw)

        events_of_client: Any = client.meta.events
        events_of_client.register("before-send.sagemaker.*", send)
        return client

    def _answer(self, principal: str, region: str, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        assert self.service is not None
        operation = target.rsplit(".", 1)[-1]
        with self._lock:
            self.calls.append((principal, operation))
            if self.throttled.get(operation, 0) > 0:
                self.throttled[operation] -= 1
                error = ApiError("Rate exceeded")
                error.code = "ThrottlingException"
                return error_answer(error)
        if message := self.denials.get((principal, f"sagemaker:{operation}")):
            return error_answer(AccessDenied(message))
        return answer(self.service, Caller(ACCOUNT, region, principal, "ASIA"), target, body)

    def client_environment(self, region: str) -> dict[str, str]:
        return {}

    def assume_role(self, role_arn: str, session_name: str) -> Credentials:
        if role_arn in self.refused_roles:
            raise RoleRefused(f"Could not assume role {role_arn}.")
        key = f"ASIA{next(self._numbers)}"
        self.sessions[key] = role_arn
        return Credentials(key, "secret", "token")

    def forget_session(self, credentials: Credentials) -> None:
        self.sessions.pop(credentials.access_key_id, None)

    def denied(self, caller: Caller, action: str, resource_arn: str, context: Mapping[str, str]) -> str | None:
        return self.denials.get((caller.arn, action))

    def put_event(
        self, account: str, region: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]
    ) -> None:
        # As EventBridge does, refuse what is not JSON.
        self.events.append({"type": detail_type, "detail": json.loads(json.dumps(detail)), "resources": resources})

    def put_metric(self, *args: Any) -> None:
        raise AssertionError("pipelines publish no metrics")


class FakeJobs:
    """Training and processing jobs that end at once, unless a test holds or fails them.

    A job is known by the name of its step, which is in the job's name.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.held: set[str] = set()
        self.failures: dict[str, list[str]] = {}
        """Step to the failure reasons of its next jobs."""
        self.no_capacity: dict[str, int] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self._lock = threading.RLock()

    def install(self, monkeypatch: Any) -> None:
        for kind in ("Training", "Processing"):
            for verb, handler in (("Create", self._create), ("Describe", self._describe), ("Stop", self._stop)):
                monkeypatch.setitem(OPERATIONS, f"{verb}{kind}Job", self._for(kind, handler))

    def of(self, step: str) -> list[dict[str, Any]]:
        """The jobs of a step, oldest first."""
        with self._lock:
            return [job for name, job in self.jobs.items() if name.split("-")[2] == step]

    def release(self, step: str) -> None:
        """Let the held jobs of a step complete."""
        with self._lock:
            self.held.discard(step)
            for job in self.of(step):
                self._end(job, "Completed")

    def end(self, step: str, status: str, reason: str | None = None) -> None:
        """End the last job of a step."""
        with self._lock:
            self._end(self.of(step)[-1], status, reason)

    @staticmethod
    def _for(kind: str, handler: Any) -> Any:
        def operation(sagemaker: Sagemaker, caller: Caller, request: Request) -> Response:
            response: Response = handler(kind, request)
            return response

        return operation

    def _create(self, kind: str, request: Request) -> Response:
        name = request[f"{kind}JobName"]
        step = name.split("-")[2]
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.lower()}-job/{name}"
        with self._lock:
            if self.no_capacity.get(step, 0) > 0:
                self.no_capacity[step] -= 1
                raise ResourceLimitExceeded("The account-level service limit is 0 Instances")
            assert name not in self.jobs, f"{name} was created twice"
            kept = {key: value for key, value in request.items() if key != "Tags"}
            job = {
                **kept,
                f"{kind}JobArn": arn,
                f"{kind}JobStatus": "InProgress",
                "CreationTime": time.time(),
                "kind": kind,
            }
            if kind == "Training":
                output = f"{request['OutputDataConfig']['S3OutputPath']}/{name}/output/model.tar.gz"
                job |= {"ModelArtifacts": {"S3ModelArtifacts": output}, "SecondaryStatus": "Training"}
            self.jobs[name] = job
            self.tags[name] = request.get("Tags", [])
            if failures := self.failures.get(step):
                self._end(job, "Failed", failures.pop(0))
            elif step not in self.held:
                self._end(job, "Completed")
        return {f"{kind}JobArn": arn}

    def _describe(self, kind: str, request: Request) -> Response:
        with self._lock:
            job = self.jobs.get(request[f"{kind}JobName"])
            if job is None:
                raise ValidationError("Requested resource not found.")
            return {key: value for key, value in job.items() if key != "kind"}

    def _stop(self, kind: str, request: Request) -> Response:
        with self._lock:
            self._end(self.jobs[request[f"{kind}JobName"]], "Stopped")
        return {}

    def _end(self, job: dict[str, Any], status: str, reason: str | None = None) -> None:
        kind = job["kind"]
        if job[f"{kind}JobStatus"] in ENDED:
            return
        job[f"{kind}JobStatus"] = status
        if reason:
            job["FailureReason"] = reason
        notifications.publish(f"{kind.lower()}-job", job[f"{kind}JobName"])


class FakeCloud:
    """The SageMaker service on a store in a folder; `restart` is what a kill and a new start are."""

    def __init__(self, folder: Path) -> None:
        self.platform = FakePlatform()
        self.jobs = FakeJobs()
        self._path = folder / "sagemaker.sqlite"
        self.service = self._start()

    def call(self, name: str, request: Request | None = None, caller: Caller = USER) -> Response:
        """One call; its answer fits the shape that botocore knows."""
        response = self.service.call(name, caller, request or {})
        shape = model().operation_model(name).output_shape
        if shape is not None:
            validation.validate(response, shape)
        return response

    def tags(self, arn: str) -> dict[str, str]:
        return current(self.service, USER, arn)

    def restart(self) -> None:
        """Leave everything as a kill would, and start again."""
        self.close()
        self.service = self._start()
        pipelines.start(self.service)

    def close(self) -> None:
        pipelines.stop(self.service)
        assert events.flush(self.service, 60)
        self.service.store.close()

    def sent(self, detail_type: str) -> list[dict[str, Any]]:
        """The details of the events of a type that were sent so far."""
        assert events.flush(self.service, 60)
        return [event["detail"] for event in self.platform.events if event["type"] == detail_type]

    def _start(self) -> Sagemaker:
        sagemaker = Sagemaker(Store(self._path), self.platform, None, self._path.parent)  # type: ignore[arg-type]
        self.platform.service = sagemaker
        return sagemaker

    # Pipelines.

    def create(self, definition: str, name: str = "line", role: str = ROLE) -> str:
        request = {
            "PipelineName": name,
            "PipelineDefinition": definition,
            "RoleArn": role,
            "ClientRequestToken": f"create-{name}".ljust(32, "-"),
        }
        return str(self.call("CreatePipeline", request)["PipelineArn"])

    def start(self, name: str = "line", **request: Any) -> str:
        token = f"start-{time.monotonic_ns()}".ljust(32, "-")
        request = {"PipelineName": name, "ClientRequestToken": token, **request}
        return str(self.call("StartPipelineExecution", request)["PipelineExecutionArn"])

    def describe(self, execution: str) -> Response:
        return self.call("DescribePipelineExecution", {"PipelineExecutionArn": execution})

    def steps(self, execution: str) -> dict[str, Any]:
        """The steps that have started, in the order of their start."""
        request = {"PipelineExecutionArn": execution, "SortOrder": "Ascending"}
        listed = self.call("ListPipelineExecutionSteps", request)["PipelineExecutionSteps"]
        return {step["StepName"]: step for step in listed}

    def until(self, execution: str, step: str, *statuses: str) -> dict[str, Any]:
        """Wait until a step has one of the statuses."""
        for _ in patiently(f"{step} of {execution} to be {statuses}"):
            found = self.steps(execution).get(step, {})
            if found.get("StepStatus") in statuses:
                return dict(found)
        raise AssertionError

    def run(self, name: str = "line", **request: Any) -> str:
        """Start an execution and wait for its end."""
        execution = self.start(name, **request)
        self.wait(execution)
        return execution

    def wait(self, execution: str) -> str:
        """The status with which an execution ends."""
        for _ in patiently(f"{execution} to end"):
            status = str(self.describe(execution)["PipelineExecutionStatus"])
            if status not in ("Executing", "Stopping"):
                return status
        raise AssertionError

    def stop(self, execution: str) -> None:
        token = f"stop-{time.monotonic_ns()}".ljust(32, "-")
        self.call("StopPipelineExecution", {"PipelineExecutionArn": execution, "ClientRequestToken": token})

    def retry(self, execution: str) -> None:
        token = f"retry-{time.monotonic_ns()}".ljust(32, "-")
        self.call("RetryPipelineExecution", {"PipelineExecutionArn": execution, "ClientRequestToken": token})


def patiently(what: str, seconds: float = 60) -> Iterator[None]:
    """Rounds of a loop that waits for something, with an end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")


@contextmanager
def fake_cloud(folder: Path, monkeypatch: Any) -> Iterator[FakeCloud]:
    """A fake cloud, its jobs installed."""
    cloud = FakeCloud(folder)
    cloud.jobs.install(monkeypatch)
    yield cloud
    cloud.close()
