"""Carries a job through its life in a thread of its own: credentials, image, data, containers, and each status on the way.

What training, processing and transform jobs share; `training_run.py`, `processing.py` and `transform_run.py` say what is
theirs.
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
from typing import Any

from local_cloud.containers.engine import ContainerError, ContainerSpec, Image
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker.jobs.job_containers import Containers, Ended
from local_cloud.sagemaker.jobs.job_data import DataError, JobData
from local_cloud.sagemaker.jobs.job_logs import JobLog
from local_cloud.sagemaker.jobs.job_records import JobKind, folder_of, update
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

STOP_GRACE_S = 120
"""How long a container may go on after SIGTERM (StoppingCondition in the SageMaker API reference)."""
PEER_GRACE_S = 2.0
"""How long the other hosts of a job may go on after one has failed: who notices by himself that a peer is lost says so in
the reason that he leaves, which tells more than an exit code."""
CLOSING_GRACE_S = 1.0
"""STOP_GRACE_S where the local cloud itself ends, which must not take minutes."""
CLOSING_S = 6.0
"""Longest wait for the jobs' threads when the local cloud ends."""
DEFAULT_MAX_RUNTIME_S = 86_400
"""MaxRuntimeInSeconds where the request names none: one day (StoppingCondition)."""
REASON_LENGTH = 1024
"""The API's limit of a FailureReason and of an ExitMessage."""
SESSION = "SageMaker"
HOST = "algo-1"


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
BY_WAIT = Stop("wait", STOP_GRACE_S)
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
        self.log: JobLog
        self._credentials = credentials
        self._lock = threading.Lock()
        self._containers: Containers | None = None
        self._stop: Stop | None = None
        self.wake = threading.Event()
        self._stopped: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=f"{kind.resource}-{self.name}", daemon=True)

    @abstractmethod
    def work(self) -> Mapping[str, Any]:
        """Do the job; what its Describe response gains when it has completed.

        Raises:
            JobFailed: it failed.
            JobStopped: it was stopped.
        """

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
            if self._stop is not None and why is not BY_CLOUD:
                return
            self._stop = why
            if not self._stopped.done():
                self._stopped.set_result(None)
            containers = self._containers
        if containers is not None:
            containers.stop(why.grace_s)
        self.wake.set()

    @property
    def role_arn(self) -> str:
        """The role that it runs as."""
        return str(self.job["RoleArn"])

    @property
    def stopped_by(self) -> Stop | None:
        """Why it is being stopped, if it is."""
        return self._stop

    @property
    def has_started_container(self) -> bool:
        """Whether anything of the user's has run."""
        return self._containers is not None and self._containers.has_started

    def forget_containers(self) -> None:
        """They have ended, and what they left does not count."""
        with self._lock:
            self._containers = None

    def check(self) -> None:
        """Go on only if nobody stops the job.

        Raises:
            JobStopped: somebody does.
        """
        if self._stop is not None:
            raise JobStopped

    def _run(self) -> None:
        try:
            status, reason, gained = self._outcome()
            # Before the end is told: from then on the name may be given to another job, and the folder with it.
            shutil.rmtree(self.ml, ignore_errors=True)
            self.service.platform.forget_session(self._credentials)
            if self.stopped_by is not BY_CLOUD:
                self._end(status, reason, gained)
        except Exception:
            logger.exception("The %s %s cannot be ended", self.kind.noun, self.name)
        finally:
            runs(self.service).forget(self)

    def _outcome(self) -> tuple[str, str | None, Mapping[str, Any]]:
        """How the job ended: a status, the reason of one that is not Completed, and what the Describe response gains."""
        try:
            self.ml.mkdir(parents=True, exist_ok=True)
            self.log = self.open_log()
            try:
                status, reason, gained = self._worked()
                if reason:
                    self.log.note(reason)
            finally:
                self.log.close()
        except Exception as error:
            return "Failed", self._internal_error(error), {}
        return status, reason, gained

    def open_log(self, host: str = HOST) -> JobLog:
        """A log of the container on a host, from now on; of the first host also what the local cloud has to say."""
        stream = f"{self.name}/{host}-{int(time.time())}"
        return JobLog(
            LogStream(self.service.platform, self.caller.region, self._credentials, self.kind.log_group, stream),
            self.folder / ("container.log" if host == HOST else f"container-{host}.log"),
        )

    def _worked(self) -> tuple[str, str | None, Mapping[str, Any]]:
        try:
            return "Completed", None, self.work()
        except JobStopped:
            return "Stopped", self.reasons.get(self.stopped_by), {}
        except (JobFailed, ContainerError) as error:
            return "Failed", limited(str(error)), {}
        except Exception as error:
            return "Failed", self._internal_error(error), {}

    @property
    def reasons(self) -> Mapping[Stop | None, str]:
        """What the Describe response says of a job that was stopped, by why it was."""
        return {BY_TIME: self.kind.out_of_time}

    def _internal_error(self, error: Exception) -> str:
        logger.exception("The %s %s failed inside the local cloud", self.kind.noun, self.name)
        return limited(
            f"InternalServerError: The local cloud failed ({error!r}); its log has the traceback. Please try again."
        )

    def _end(self, status: str, reason: str | None, gained: Mapping[str, Any]) -> None:
        def change(job: Document) -> None:
            job.update(gained)
            # A stop that was accepted is kept, even if the container ended by itself at the same moment.
            self.kind.finish(job, "Stopped" if job[self.kind.status_key] == "Stopping" else status, reason)

        self.update(change)

    def update(self, change: Callable[[Document], None]) -> None:
        """Change the job's Describe response, then tell everybody."""
        updated = update(self.service, self.kind, self.caller, self.name, change)
        if updated is not None:
            self.job = updated

    # Steps that jobs are made of

    def data(self) -> JobData:
        """S3 with the role's credentials."""
        account, role_name = self.role_arn.split(":")[4], self.role_arn.rsplit("/", 1)[-1]
        return JobData(
            client=self.service.platform.client("s3", self.caller.region, self._credentials),
            role_arn=self.role_arn,
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
        either: list[Future[Any]] = [image, self._stopped]
        wait(either, return_when=FIRST_COMPLETED)
        self.check()
        return image.result()

    def spec(
        self,
        image: Image,
        *,
        arguments: list[str],
        entrypoint: list[str] | None,
        environment: Mapping[str, str],
        isolated: bool,
        on_line: Callable[[str], None] | None = None,
    ) -> ContainerSpec:
        """A container of this job, the only one."""
        # An isolated container gets no credentials, as on AWS.
        access = (
            {}
            if isolated
            else {**self.service.platform.client_environment(self.caller.region), **self._credentials.environment()}
        )
        return ContainerSpec(
            name=f"{self.kind.resource}-{self.name}",
            image=image,
            ml_dir=self.ml,
            arguments=arguments,
            entrypoint=entrypoint,
            environment={"AWS_REGION": self.caller.region, **access, **environment},
            network=not isolated,
            on_line=on_line or self.log.line,
        )

    def run_containers(
        self,
        specs: Mapping[str, ContainerSpec],
        *,
        max_runtime_s: float,
        look: Callable[[], float | None] = lambda: None,
    ) -> Ended:
        """Run the containers of all hosts to their end; when one fails, the others are stopped.

        Args:
            specs: by host.
            max_runtime_s: how long they may run, counted from when all have started: what a cold image build takes on a
                laptop is no part of the time that the user allows the job.
            look: called while they run, whenever `wake` is set and after as many seconds as it returned; what it raises
                ends them.

        Returns:
            The first container that failed, else the first that ended.

        Raises:
            JobStopped: the job was stopped, or its time was over; the containers have ended then.
            JobFailed: one cannot start.
        """
        self.check()
        containers = Containers(self.service.engine, self.wake)
        with self._lock:
            self._containers = containers
            stop = self._stop
        try:
            if stop is None:
                containers.start(specs)
                self._watch(containers, max_runtime_s, look)
        except ContainerError as error:
            containers.stop(CLOSING_GRACE_S)
            if (ended := containers.outcome) is not None and ended.code:
                # What a host needs of its peers at the start may be gone with one that has failed already.
                return ended
            raise JobFailed(f"AlgorithmError: {error}") from error
        except BaseException:
            containers.stop(STOP_GRACE_S)
            raise
        finally:
            containers.join()
        self.check()
        outcome = containers.outcome
        assert outcome is not None
        return outcome

    def _watch(self, containers: Containers, max_runtime_s: float, look: Callable[[], float | None]) -> None:
        deadline = time.monotonic() + max_runtime_s
        others_told = False
        while containers.are_running:
            waits = [seconds for seconds in (look(),) if seconds is not None]
            if self._stop is None:
                waits.append(deadline - time.monotonic())
                if waits[-1] <= 0:
                    self.out_of(BY_TIME)
                    continue
            ended = containers.outcome
            if ended is not None and ended.code and not others_told and self._stop is None:
                waits.append(ended.at + PEER_GRACE_S - time.monotonic())
                if waits[-1] <= 0:
                    self.log.note(f"{ended.host} ended with exit code {ended.code}, so the other hosts are stopped.")
                    containers.stop(STOP_GRACE_S)
                    others_told = True
                    continue
            self.wake.wait(min(waits, default=None))
            self.wake.clear()

    def out_of(self, why: Stop) -> None:
        """Stop the job because a time that the request allows is over."""
        self.update(lambda job: self.kind.stopping(job) if job[self.kind.status_key] == "InProgress" else None)
        self.stop(why)


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
        """Stop all of them within seconds; their records stay as they are, for `job_operations.settle` at the next start."""
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


def limited(text: str) -> str:
    """A reason within the API's limit; of a longer one the beginning and the end, which says why, are kept."""
    if len(text) <= REASON_LENGTH:
        return text
    head = REASON_LENGTH // 4
    mark = " [...] "
    return text[:head] + mark + text[len(text) - (REASON_LENGTH - head - len(mark)) :]


def left_message(path: Path) -> str:
    """What a container wrote about its end into a file of its /opt/ml, or nothing."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        # There is none, or it is a folder, or its user kept it to himself.
        return ""


def algorithm_error(reason: str, code: int) -> JobFailed:
    """The failure of a container that ended with another exit code than 0; the code is told, however long the reason is."""
    exit_code = f", exit code: {code}"
    return JobFailed(f"AlgorithmError: {reason}"[: REASON_LENGTH - len(exit_code)] + exit_code)
