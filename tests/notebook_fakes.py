"""Notebook instances in this process, on a runtime that does what a test says: for what takes minutes or luck for real."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.notebook_runtime.runtime import CodeRepository, Hook, InstanceSpec, RuntimeRefused
from local_cloud.platform import Credentials
from local_cloud.sagemaker import events, notifications, validation
from local_cloud.sagemaker.notebooks import notebooks
from local_cloud.sagemaker.notebooks.notebook_status import EVENT, KIND
from local_cloud.sagemaker.notebooks.running import notebooks_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, model
from local_cloud.sagemaker.store import Store
from tests.local_cloud_fakes import ACCOUNT, REGION, USER, FakePlatform, patiently

ROLE = f"arn:aws:iam::{ACCOUNT}:role/notebook"
PREFIX = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"


def encoded(script: str) -> list[dict[str, str]]:
    """A script as the API takes it."""
    return [{"Content": base64.b64encode(script.encode()).decode()}]


class FakeInstance:
    """An instance that runs nothing, and says what was asked of it."""

    def __init__(self, runtime: FakeRuntime, spec: InstanceSpec) -> None:
        self.runtime, self.spec = runtime, spec
        self.did: list[str] = []
        self.cloned: list[tuple[CodeRepository, str]] = []
        self.limits: list[float] = []
        self.default_folder: str | None = None
        self.authorized: list[tuple[str, float, float]] = []
        self.runs = True

    def run_hook(self, hook: Hook, script: str, timeout_s: float) -> int | None:
        self.did.append(hook)
        self.limits.append(timeout_s)
        self.runtime.hold(hook)
        self.spec.on_line(f"LifecycleConfig{hook}", f"ran {script.strip()}")
        outcome = self.runtime.outcomes.get(hook, 0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def clone(self, repository: CodeRepository, folder: str) -> str | None:
        self.did.append(f"clone {folder}")
        self.cloned.append((repository, folder))
        return self.runtime.git_says.get(repository.url)

    def start_jupyter(self, default_folder: str | None) -> str:
        self.did.append("jupyter")
        self.default_folder = default_folder
        return "http://127.0.0.1:8888/"

    def authorize(self, token: str, expires_at: float, session_seconds: float) -> str:
        if not self.runs:
            raise RuntimeRefused("JupyterLab does not run.")
        self.authorized.append((token, expires_at, session_seconds))
        return f"http://127.0.0.1:8888/lab?authToken={token}"

    def is_running(self) -> bool:
        return self.runs

    def stop(self, grace_s: float) -> None:
        self.runtime.hold("stop")
        self.did.append("stop")
        self.runs = False
        self.runtime.break_("stop")


class FakeRuntime:
    """Starts fake instances."""

    kind = "fake"

    def __init__(self) -> None:
        self.instances: list[FakeInstance] = []
        self.refusal: str | None = None
        self.outcomes: dict[str, int | Exception | None] = {}
        """Hook to its exit code, None for one that takes too long, or what it raises."""
        self.git_says: dict[str, str] = {}
        """Address of a repository to what git says when it is cloned."""
        self.removed: list[Path] = []
        self.breaks: dict[str, Exception] = {}
        """`stop` or `remove` to what it raises."""
        self.closed = False
        self.reached: list[str] = []
        """What hangs, or hung."""
        self._held: dict[str, threading.Event] = {}

    def hanging(self, what: str) -> Callable[[], None]:
        """Let `OnCreate`, `OnStart` or `stop` hang until the returned function is called, or the local cloud ends."""
        self._held[what] = threading.Event()
        return self._held[what].set

    def hold(self, what: str) -> None:
        if what in self._held:
            self.reached.append(what)
            assert self._held[what].wait(60)
        if self.closed:
            raise RuntimeRefused("The local cloud ends.")

    def start(self, spec: InstanceSpec) -> FakeInstance:
        if self.refusal:
            raise RuntimeRefused(self.refusal)
        spec.volume.mkdir(parents=True, exist_ok=True)
        self.instances.append(FakeInstance(self, spec))
        return self.instances[-1]

    def break_(self, what: str) -> None:
        if what in self.breaks:
            raise self.breaks[what]

    def remove_volume(self, volume: Path) -> None:
        self.break_("remove")
        self.removed.append(volume)

    def close(self) -> None:
        self.closed = True
        for held in self._held.values():
            held.set()


class FakeServices(FakePlatform):
    """The services around SageMaker, as far as notebook instances need them."""

    def __init__(self) -> None:
        super().__init__()
        self.subnets: dict[str, dict[str, Any]] = {"subnet-1": {"SubnetId": "subnet-1", "VpcId": "vpc-1"}}
        self.groups = {"sg-1": "vpc-1", "sg-2": "vpc-2"}
        self.keys = {"key-1": "Enabled", "key-2": "PendingDeletion"}
        self.secrets: dict[str, str] = {}
        self.lines: dict[str, list[str]] = {}
        """Log stream to what was written to it."""
        self.asked_as: list[str] = []
        """The role that each secret was asked for as."""

    def client(self, name: str, region: str, credentials: Credentials | None = None) -> Any:
        if name not in ("ec2", "kms", "secretsmanager", "logs"):
            return super().client(name, region, credentials)
        return FakeClient(self, self.sessions[credentials.access_key_id] if credentials else "service")


class FakeClient:
    """A client of EC2, KMS, Secrets Manager and CloudWatch Logs in one."""

    def __init__(self, services: FakeServices, principal: str) -> None:
        self._services, self._principal = services, principal

    def describe_subnets(self, SubnetIds: list[str]) -> dict[str, Any]:  # noqa: N803
        if SubnetIds[0] not in self._services.subnets:
            raise refusal("InvalidSubnetID.NotFound", f"The subnet ID '{SubnetIds[0]}' does not exist")
        return {"Subnets": [self._services.subnets[SubnetIds[0]]]}

    def describe_security_groups(self, GroupIds: list[str]) -> dict[str, Any]:  # noqa: N803
        groups = self._services.groups
        return {"SecurityGroups": [{"GroupId": each, "VpcId": groups[each]} for each in GroupIds if each in groups]}

    def describe_key(self, KeyId: str) -> dict[str, Any]:  # noqa: N803
        if KeyId not in self._services.keys:
            raise refusal("NotFoundException", f"Key '{KeyId}' does not exist")
        return {"KeyMetadata": {"KeyState": self._services.keys[KeyId]}}

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:  # noqa: N803
        self._services.asked_as.append(self._principal)
        if SecretId not in self._services.secrets:
            raise refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return {"SecretString": self._services.secrets[SecretId]}

    def create_log_group(self, logGroupName: str) -> None:  # noqa: N803
        pass

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:  # noqa: N803
        self._services.lines.setdefault(f"{logGroupName} {logStreamName}", [])

    def put_log_events(
        self,
        logGroupName: str,  # noqa: N803
        logStreamName: str,  # noqa: N803
        logEvents: list[dict[str, Any]],  # noqa: N803
    ) -> None:
        self._services.lines[f"{logGroupName} {logStreamName}"] += [event["message"] for event in logEvents]


def refusal(code: str, message: str) -> ClientError:
    """An answer of a service that is an error."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Something")


class NotebookCloud:
    """The SageMaker service on a store in a folder; `restart` is what a kill and a new start are."""

    def __init__(self, folder: Path) -> None:
        self.services = FakeServices()
        self.folder = folder
        self.runtime = FakeRuntime()
        self.service = self._start()

    def _start(self) -> Sagemaker:
        service = Sagemaker(Store(self.folder / "sagemaker.sqlite"), self.services, None, self.folder)  # type: ignore[arg-type]
        self.services.service = service
        notebooks_of(service).use(self.runtime)
        return service

    def call(self, name: str, /, **request: Any) -> Response:
        """One call; its answer fits the shape that botocore knows."""
        response = self.service.call(name, USER, request)
        shape = model().operation_model(name).output_shape
        if shape is not None:
            validation.validate(response, shape)
        return response

    def create(self, name: str = "mine", /, **request: Any) -> str:
        """Create an instance; its ARN."""
        wanted: Request = {"NotebookInstanceName": name, "InstanceType": "ml.t3.medium", "RoleArn": ROLE, **request}
        return str(self.call("CreateNotebookInstance", **wanted)["NotebookInstanceArn"])

    def describe(self, name: str = "mine") -> Response:
        return self.call("DescribeNotebookInstance", NotebookInstanceName=name)

    def status(self, name: str = "mine") -> str:
        return str(self.describe(name)["NotebookInstanceStatus"])

    def until(self, status: str, name: str = "mine") -> Response:
        """Wait until an instance has a status."""
        arn = f"{PREFIX}:{KIND}/{name.lower()}"
        with notifications.watching(KIND, arn) as changed:
            for _ in patiently(f"{name} to be {status}"):
                changed.clear()
                described = self.describe(name)
                if described["NotebookInstanceStatus"] == status:
                    return described
                changed.wait(0.2)
        raise AssertionError

    def ready(self, name: str = "mine", /, **request: Any) -> FakeInstance:
        """Create an instance and wait until it is in service."""
        self.create(name, **request)
        self.until("InService", name)
        return self.runtime.instances[-1]

    def stop(self, name: str = "mine") -> None:
        self.call("StopNotebookInstance", NotebookInstanceName=name)
        self.until("Stopped", name)

    def restart_instance(self, name: str = "mine") -> FakeInstance:
        """Start a stopped instance and wait until it is in service."""
        self.call("StartNotebookInstance", NotebookInstanceName=name)
        self.until("InService", name)
        return self.runtime.instances[-1]

    def statuses(self) -> list[str]:
        """The statuses that EventBridge was told of, so far."""
        events.flush(self.service)
        return [event["detail"]["NotebookInstanceStatus"] for event in self.services.events if event["type"] == EVENT]

    def restart(self) -> None:
        """End as a kill would leave it, and start again."""
        self.close()
        self.runtime = FakeRuntime()
        self.service = self._start()
        notebooks.start(self.service)

    def close(self) -> None:
        notebooks.stop(self.service)
        events.flush(self.service)
        self.service.store.close()


@contextmanager
def notebook_cloud(folder: Path) -> Iterator[NotebookCloud]:
    """A cloud with nothing in it."""
    cloud = NotebookCloud(folder)
    yield cloud
    cloud.close()
