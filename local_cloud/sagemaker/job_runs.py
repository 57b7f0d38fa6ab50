"""Carries a job through its life in a thread of its own: credentials, image, data, container, and each status on the way.

What a training and a processing job share; `training.py` and `processing.py` say what is theirs.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from local_cloud.containers.engine import Container, ContainerError, ContainerSpec, Image
from local_cloud.platform import Caller, Credentials, RoleRefused
from local_cloud.sagemaker import events, notifications, tags
from local_cloud.sagemaker.errors import NotEmulated, ResourceInUse, ResourceNotFound, ValidationError
from local_cloud.sagemaker.job_data import DataError, JobData, Location
from local_cloud.sagemaker.job_logs import JobLog
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.service import Request, Response, Sagemaker, arn, model
from local_cloud.sagemaker.store import Document, Duplicate

logger = logging.getLogger(__name__)

STOP_GRACE_S = 120
"""How long a container may go on after SIGTERM (StoppingCondition in the SageMaker API reference)."""
CLOSING_GRACE_S = 1.0
"""The same where the local cloud itself ends, which must not take minutes."""
CLOSING_S = 6.0
"""Longest wait for the jobs' threads when the local cloud ends."""
DEFAULT_MAX_RUNTIME_S = 86_400
"""MaxRuntimeInSeconds where the request names none: one day (StoppingCondition)."""
REASON_LENGTH = 1024
"""The API's limit of a FailureReason and of an ExitMessage."""
SESSION = "SageMaker"
HOST = "algo-1"
INTERRUPTED = (
    "InternalServerError: The local cloud was stopped while this job was running. Please try again: start the job, or "
    "the pipeline execution that it belongs to, once more."
)

TERMINAL = {"Completed", "Failed", "Stopped"}


@dataclass(frozen=True)
class JobKind:
    """What differs between kinds of jobs in the API.

    Attributes:
        resource: as ARNs write it; also the kind of their documents in the store.
        noun: for messages.
        prefix: begins the members of the API: `TrainingJob` gives TrainingJobName, TrainingJobArn, TrainingJobStatus.
        end_time: the member that holds when it ended.
        log_group: of CloudWatch Logs.
        event: the detail-type of its EventBridge events.
    """

    resource: str
    noun: str
    prefix: str
    end_time: str
    log_group: str
    event: str

    @property
    def name_key(self) -> str:
        """Of the job's name."""
        return f"{self.prefix}Name"

    @property
    def arn_key(self) -> str:
        """Of the job's ARN."""
        return f"{self.prefix}Arn"

    @property
    def status_key(self) -> str:
        """Of the job's status."""
        return f"{self.prefix}Status"


class JobFailed(Exception):
    """The job ends as Failed; the message is its FailureReason."""


class JobStopped(Exception):
    """The job is to end because somebody or something stops it."""


@dataclass(frozen=True)
class Stop:
    """Why a job is stopped, and how long its container may take."""

    reason: str
    grace_s: float


BY_USER = Stop("user", STOP_GRACE_S)
BY_TIME = Stop("time", STOP_GRACE_S)
BY_CLOUD = Stop("cloud", CLOSING_GRACE_S)


class JobRun(ABC):
    """One job that runs."""

    def __init__(
        self, service: Sagemaker, kind: JobKind, caller: Caller, job: Document, credentials: Credentials
    ) -> None:
        self.service = service
        self.kind = kind
        self.caller = caller
        self.name: str = job[kind.name_key]
        self.arn: str = job[kind.arn_key]
        self.job = job
        self.folder = folder_of(service, kind, caller, self.name)
        self.ml = self.folder / "ml"
        self._credentials = credentials
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._stop: Future[Stop] = Future()
        self._thread = threading.Thread(target=self._run, name=f"{kind.resource}-{self.name}", daemon=True)
        self.log: JobLog

    # What each kind of job says for itself

    @abstractmethod
    def work(self) -> Mapping[str, Any]:
        """Do the job; what its Describe response gains when it has completed.

        Raises:
            JobFailed: it failed.
            JobStopped: it was stopped.
        """

    @abstractmethod
    def stopping(self, job: Document) -> None:
        """Write into the Describe response that the job is being stopped."""

    @abstractmethod
    def finish(self, job: Document, status: str, reason: str | None) -> None:
        """Write the end into the Describe response; the status is one of `TERMINAL`."""

    # The life of a job

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def stop(self, why: Stop) -> None:
        """Stop it; returns at once. The end of the local cloud overrides a stop that is under way."""
        with self._lock:
            if not self._stop.done():
                self._stop.set_result(why)
            elif why is not BY_CLOUD:
                return
            else:
                self._stop = Future()
                self._stop.set_result(why)
            container = self._container
        if container is not None:
            # A thread, because a container may take its two minutes.
            threading.Thread(target=container.stop, args=(why.grace_s,), name=f"stop-{self.name}", daemon=True).start()

    @property
    def stopped_by(self) -> Stop | None:
        """Why it is being stopped, if it is."""
        return self._stop.result() if self._stop.done() else None

    def check(self) -> None:
        """Go on only if nobody stops the job.

        Raises:
            JobStopped: somebody does.
        """
        if self._stop.done():
            raise JobStopped

    def _run(self) -> None:
        try:
            stream = f"{self.name}/{HOST}-{int(time.time())}"
            self.log = JobLog(
                LogStream(self.service.platform, self.caller.region, self._credentials, self.kind.log_group, stream),
                self.folder / "container.log",
            )
            self.ml.mkdir(parents=True, exist_ok=True)
            status, reason, gained = self._outcome()
            if reason:
                self.log.note(reason)
            self.log.close()
            if self.stopped_by is not BY_CLOUD:
                self._end(status, reason, gained)
        except Exception:
            logger.exception("The %s %s cannot be ended", self.kind.noun, self.name)
        finally:
            runs(self.service).forget(self)
            self.service.platform.forget_session(self._credentials)
            shutil.rmtree(self.ml, ignore_errors=True)

    def _outcome(self) -> tuple[str, str | None, Mapping[str, Any]]:
        try:
            return "Completed", None, self.work()
        except JobStopped:
            return "Stopped", self.stop_reason(), {}
        except (JobFailed, ContainerError) as error:
            return "Failed", limited(str(error)), {}
        except Exception as error:
            logger.exception("The %s %s failed inside the local cloud", self.kind.noun, self.name)
            reason = (
                f"InternalServerError: The local cloud failed ({error!r}); its log has the traceback. Please try again."
            )
            return "Failed", limited(reason), {}

    def stop_reason(self) -> str | None:
        """What FailureReason says of a stopped job."""
        return None

    def _end(self, status: str, reason: str | None, gained: Mapping[str, Any]) -> None:
        def change(job: Document) -> None:
            job.update(gained)
            # A stop that was accepted is kept, even if the container ended by itself at the same moment.
            self.finish(job, "Stopped" if job[self.kind.status_key] == "Stopping" else status, reason)

        self.update(change)

    def update(self, change: Callable[[Document], None]) -> None:
        """Change the job's Describe response, then tell everybody."""
        updated = update(self.service, self.kind, self.caller, self.name, change)
        if updated is not None:
            self.job = updated

    # Steps that jobs are made of

    def data(self) -> JobData:
        """S3 with the role's credentials."""
        role_arn: str = self.job["RoleArn"]
        account, role_name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
        return JobData(
            client=self.service.platform.client("s3", self.caller.region, self._credentials),
            role_arn=role_arn,
            principal_arn=f"arn:aws:sts::{account}:assumed-role/{role_name}/{SESSION}",
            check=self.check,
        )

    def preparing(self, uri: str) -> Future[Image]:
        """Begin to prepare the image, beside the download of the data."""
        data, prepared = self.data(), Future[Image]()

        def prepare() -> None:
            try:
                prepared.set_result(
                    self.service.engine.prepare(uri, lambda path: data.download_object(uri, path), self.log.note)
                )
            except DataError as error:
                prepared.set_exception(JobFailed(f"ClientError: Failed to download the image {uri}. {error}"))
            except ContainerError as error:
                prepared.set_exception(JobFailed(f"ClientError: {error}"))
            except BaseException as error:
                prepared.set_exception(error)

        # A thread of its own: a build goes on for others, and for the next try, when this job is stopped.
        threading.Thread(target=prepare, name=f"image-{self.name}", daemon=True).start()
        return prepared

    def prepared(self, image: Future[Image]) -> Image:
        """The image once it is ready.

        Raises:
            JobStopped: the job is stopped meanwhile.
            JobFailed: it cannot be had.
        """
        either: list[Future[Any]] = [image, self._stop]
        wait(either, return_when=FIRST_COMPLETED)
        self.check()
        return image.result()

    def run_container(
        self,
        image: Image,
        *,
        arguments: list[str],
        entrypoint: list[str] | None,
        environment: Mapping[str, str],
        isolated: bool,
        max_runtime_s: float,
        on_line: Callable[[str], None] | None = None,
    ) -> int:
        """Run the container to its end; its exit code.

        Raises:
            JobStopped: the job was stopped, or its time was over; the container has ended then.
            JobFailed: it cannot start.
        """
        # An isolated container gets no credentials, as on AWS.
        access = (
            {}
            if isolated
            else {**self.service.platform.client_environment(self.caller.region), **self._credentials.environment()}
        )
        spec = ContainerSpec(
            name=f"{self.kind.resource}-{self.name}",
            image=image,
            ml_dir=self.ml,
            arguments=arguments,
            entrypoint=entrypoint,
            environment={"AWS_REGION": self.caller.region, **access, **environment},
            network=not isolated,
            on_line=on_line or self.log.line,
        )
        with self._lock:
            if self._stop.done():
                raise JobStopped
            try:
                container = self.service.engine.start(spec)
            except ContainerError as error:
                raise JobFailed(f"AlgorithmError: {error}") from error
            self._container = container
        # Counted from here: what a cold image build takes on a laptop is no part of the time that the user allows the job.
        code = container.wait(max_runtime_s)
        if code is None:
            self.update(lambda job: self.stopping(job) if job[self.kind.status_key] == "InProgress" else None)
            self.stop(BY_TIME)
            code = container.wait()
        self.check()
        assert code is not None
        return code


class JobRuns:
    """The jobs that run, so that they can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, JobRun] = {}
        self._closing = False

    def begin(self, run: JobRun) -> None:
        """Start a job; not while the local cloud ends: the next start settles it like those that it ends."""
        with self._lock:
            if self._closing:
                return
            self._runs[run.arn] = run
        run.begin()

    def get(self, job_arn: str) -> JobRun | None:
        """The run of a job, if it runs."""
        with self._lock:
            return self._runs.get(job_arn)

    def forget(self, run: JobRun) -> None:
        """A job has ended."""
        with self._lock:
            if self._runs.get(run.arn) is run:
                del self._runs[run.arn]

    def close(self) -> None:
        """Stop all of them within seconds; their records stay as they are, for `settle` at the next start."""
        with self._lock:
            self._closing = True
            running = list(self._runs.values())
        for run in running:
            run.stop(BY_CLOUD)
        deadline = time.monotonic() + CLOSING_S
        for run in running:
            run.join(max(0.0, deadline - time.monotonic()))


_runs_lock = threading.Lock()


def runs(service: Sagemaker) -> JobRuns:
    """The jobs of this local cloud that run."""
    with _runs_lock:
        found: JobRuns = service.background.setdefault("jobs", JobRuns())
        return found


def settle(service: Sagemaker, kind: JobKind, finish: Callable[[Document, str, str | None], None]) -> None:
    """End the jobs that ran when the local cloud ended.

    They are Failed, with a reason of the kind that may be tried again, or Stopped if somebody had asked for that.
    """
    for account, region, job in service.store.everywhere(kind.resource):
        if job[kind.status_key] in TERMINAL or runs(service).get(job[kind.arn_key]) is not None:
            continue

        def change(document: Document) -> None:
            asked = document[kind.status_key] == "Stopping"
            finish(document, "Stopped" if asked else "Failed", None if asked else INTERRUPTED)

        caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
        name = job[kind.name_key]
        update(service, kind, caller, name, change)
        shutil.rmtree(folder_of(service, kind, caller, name) / "ml", ignore_errors=True)


def update(
    service: Sagemaker, kind: JobKind, caller: Caller, name: str, change: Callable[[Document], None]
) -> Document | None:
    """Change a job's Describe response in the store, wake who waits for it, and send the event of its status."""

    def changed(job: Document) -> None:
        change(job)
        job["LastModifiedTime"] = time.time()

    job = service.store.update(kind.resource, caller.account, caller.region, name, changed)
    if job is not None:
        announce(service, kind, caller, job)
    return job


def announce(service: Sagemaker, kind: JobKind, caller: Caller, job: Document) -> None:
    """Tell that a job's status is what its Describe response says."""
    notifications.publish(kind.resource, job[kind.name_key])
    detail = in_milliseconds(job, model().operation_model(f"Describe{kind.prefix}").output_shape)
    detail["Tags"] = tags.current(service, caller, job[kind.arn_key])
    events.send(service, caller.account, caller.region, kind.event, detail, [job[kind.arn_key]])


def in_milliseconds(value: Any, shape: Any) -> Any:
    """A response as events carry it: times as milliseconds since 1970 (SageMaker developer guide, EventBridge)."""
    if shape.type_name == "timestamp":
        return int(value * 1000)
    if shape.type_name == "structure":
        return {name: in_milliseconds(item, shape.members[name]) for name, item in value.items()}
    if shape.type_name == "list":
        return [in_milliseconds(item, shape.member) for item in value]
    return value


# What the Create operations of all jobs share


def create(
    service: Sagemaker,
    kind: JobKind,
    caller: Caller,
    request: Request,
    job: Document,
    run: Callable[[Credentials], JobRun],
) -> Response:
    """Check what only the cloud knows, write the job down, and start it.

    Raises:
        ResourceInUse: the name is taken.
        AccessDenied: the caller may not pass the role.
        ValidationError: SageMaker cannot assume the role.
    """
    name, place = job[kind.name_key], (caller.account, caller.region)
    if service.store.get(kind.resource, *place, name) is not None:
        raise _taken(kind, job[kind.arn_key])
    service.check_pass_role(caller, request["RoleArn"])
    try:
        credentials = service.platform.assume_role(request["RoleArn"], SESSION)
    except RoleRefused as error:
        raise ValidationError(str(error)) from error
    try:
        with service.store.transaction():
            tags.save(service, caller, job[kind.arn_key], request.get("Tags"))
            service.store.insert(kind.resource, *place, name, job)
    except BaseException as error:
        service.platform.forget_session(credentials)
        if isinstance(error, Duplicate):
            raise _taken(kind, job[kind.arn_key]) from error
        raise
    announce(service, kind, caller, job)
    runs(service).begin(run(credentials))
    return {kind.arn_key: job[kind.arn_key]}


def _taken(kind: JobKind, job_arn: str) -> ResourceInUse:
    return ResourceInUse(
        f"{kind.noun.capitalize()} names must be unique within an AWS account and region, and a {kind.noun} with this name "
        f"already exists ({job_arn})"
    )


def new_job(kind: JobKind, caller: Caller, request: Request) -> Document:
    """The Describe response of a job that was just created: what the request says, and its first status."""
    shape = model().operation_model(f"Describe{kind.prefix}").output_shape
    assert shape is not None
    now = time.time()
    return {
        **{member: value for member, value in request.items() if member in shape.members and value is not None},
        kind.arn_key: arn(caller, f"{kind.resource}/{request[kind.name_key]}"),
        kind.status_key: "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


def describe(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Document:
    """A job's Describe response.

    Raises:
        ResourceNotFound: there is no such job.
    """
    job = service.store.get(kind.resource, caller.account, caller.region, name)
    if job is None:
        raise ResourceNotFound(f"Could not find requested {kind.noun} with name: {name}")
    return job


def stop_job(
    service: Sagemaker, kind: JobKind, caller: Caller, name: str, stopping: Callable[[Document], None]
) -> None:
    """Set the status to Stopping and tell the run.

    Raises:
        ResourceNotFound: there is no such job.
        ValidationError: it has ended already.
    """
    with service.store.transaction():
        job = describe(service, kind, caller, name)
        status = job[kind.status_key]
        if status in TERMINAL:
            raise ValidationError(f"The request was rejected because the {kind.noun} is in status {status}.")
        if status != "Stopping":
            update(service, kind, caller, name, stopping)
    run = runs(service).get(job[kind.arn_key])
    if run is not None:
        run.stop(BY_USER)


def delete_job(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Response:
    """Forget a job that has ended, and its folder; its name is free again.

    Raises:
        ResourceNotFound: there is no such job.
        ResourceInUse: it has not ended.
    """
    with service.store.transaction():
        job = describe(service, kind, caller, name)
        if job[kind.status_key] not in TERMINAL:
            raise ResourceInUse(
                f"The {kind.noun} {name} is in status {job[kind.status_key]}; only one in a terminal state can be deleted."
            )
        service.store.delete(kind.resource, caller.account, caller.region, name)
        tags.forget(service, caller, job[kind.arn_key])
    shutil.rmtree(folder_of(service, kind, caller, name), ignore_errors=True)
    return {}


def folder_of(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Path:
    """The folder of a job: `container.log`, and `ml` (its /opt/ml) while it runs."""
    jobs = service.state_dir / "jobs"
    # Closed to others: what containers must be able to write is open to every user below it.
    jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return jobs / f"{caller.account}-{caller.region}" / kind.resource / name


# What requests are checked for


def refuse(what: str) -> NoReturn:
    """Refuse a part of a request that the local cloud does not have.

    Raises:
        NotEmulated: always.
    """
    raise NotEmulated(f"The local cloud does not emulate {what}. It works unchanged against AWS.")


def refuse_members(request: Mapping[str, Any], members: Mapping[str, str], path: str = "") -> None:
    """Refuse members of a request whose effect would be missing; `members` says what each stands for.

    Raises:
        NotEmulated: one is given, and is not just an empty or false value.
    """
    for member, meaning in members.items():
        if request.get(member):
            refuse(f"{meaning} ({path}{member})")


def check_s3(uri: str, path: str) -> None:
    """Check an address.

    Raises:
        ValidationError: it is malformed.
        NotEmulated: it is an https address.
    """
    if uri.startswith("https://"):
        refuse(f"an https address of S3 ({path} {uri}); write s3://bucket/key")
    try:
        Location.parse(uri)
    except ValueError as error:
        raise ValidationError(f"Invalid S3 address at {path}: {error}") from error


def limited(text: str) -> str:
    """A reason within the API's limit; of a longer one the beginning and the end, which says why, are kept."""
    if len(text) <= REASON_LENGTH:
        return text
    head = REASON_LENGTH // 4
    mark = " [...] "
    return text[:head] + mark + text[len(text) - (REASON_LENGTH - head - len(mark)) :]


def ended_with_error(folder: Path, name: str) -> str:
    """What a container wrote about its failure into a file of its /opt/ml, or nothing."""
    path = folder / "output" / name
    try:
        return path.read_text(errors="replace").strip() if path.is_file() else ""
    except OSError:
        return ""
