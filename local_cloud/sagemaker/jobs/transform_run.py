"""What a transform job does until the answers of its model are in S3."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.containers.engine import ContainerError, Image
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker import model_data
from local_cloud.sagemaker.hosting import models
from local_cloud.sagemaker.jobs.job_logs import JobLog
from local_cloud.sagemaker.jobs.job_records import JobKind
from local_cloud.sagemaker.jobs.job_runs import HOST, JobFailed, JobRun, JobStopped, Stop
from local_cloud.sagemaker.jobs.transform_data import downloaded, upload
from local_cloud.sagemaker.jobs.transform_host import TransformHost
from local_cloud.sagemaker.jobs.transform_limits import variables
from local_cloud.sagemaker.jobs.transform_logs import DataLog
from local_cloud.sagemaker.jobs.transform_server import NotHealthy, TransformServer
from local_cloud.sagemaker.jobs.transform_work import Work
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.model_data import BadModelData
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

MODEL = "Model"
"""The member of a job's document that only the local cloud knows: the model, as it was when the job was created."""


class TransformRun(JobRun):
    """One transform job that runs."""

    def __init__(
        self, service: Sagemaker, kind: JobKind, caller: Caller, job: Document, credentials: Credentials
    ) -> None:
        super().__init__(service, kind, caller, job, credentials)
        self._model: Document = job[MODEL]
        (self._container,) = models.containers_of(self._model)
        self._servers: list[TransformServer] = []
        # In the form of an EC2 instance's, as in the names of the log streams.
        self._instance_ids: dict[str, str] = {}

    @property
    def role_arn(self) -> str:
        """The model's: a transform job has none of its own."""
        return str(self._model["ExecutionRoleArn"])

    def stop(self, why: Stop) -> None:
        """See JobRun."""
        super().stop(why)
        with self._lock:
            servers = list(self._servers)
        for server in servers:
            server.stop()

    def open_log(self, host: str = HOST) -> JobLog:
        """See JobRun."""
        instance = self._instance_ids.setdefault(host, f"i-0{secrets.token_hex(8)}-{int(time.time())}")
        return self._log(instance, "container" if host == HOST else f"container-{host}")

    def work(self) -> Mapping[str, Any]:
        """See JobRun."""
        data = self.data()
        image = self.preparing(self._container.image)
        works = downloaded(data, self.job, self.ml)
        self._download_model()
        ready = self.prepared(image)
        hosts = self._hosts(len(works))
        self._say_what_differs(len(hosts))
        self.update(lambda job: job.update(TransformStartTime=time.time()))
        failure = self._transform(ready, hosts, works)
        self.check()
        upload(data, self.job, works)
        if failure is not None:
            raise failure
        failed = next((work.failure for work in works if work.failure), None)
        if failed is not None:
            raise JobFailed(f"{failed.kind}: See job logs for more information")
        return {}

    def _say_what_differs(self, hosts: int) -> None:
        resources = self.job["TransformResources"]
        self.log.note(
            f"This machine stands for {resources['InstanceCount']} of {resources['InstanceType']}: its processors and memory "
            "are what the job has."
        )
        if hosts < resources["InstanceCount"]:
            self.log.note(f"{hosts} of them do the work: there are no more objects.")
        if self._model.get("VpcConfig"):
            self.log.note("The model's VpcConfig has no effect here: the job uses this machine's network.")

    def _hosts(self, objects: int) -> list[str]:
        """Their names; none without an object, whose container would start for nothing."""
        count = min(self.job["TransformResources"]["InstanceCount"], objects)
        return [f"algo-{number}" for number in range(1, count + 1)]

    # Data

    def _download_model(self) -> None:
        """The model data, once for all hosts; each gets a copy."""
        self._model_folder.mkdir(parents=True)
        if not (artefact := self._container.model_data):
            return
        s3 = self.service.platform.client("s3", self.caller.region, self._credentials)
        try:
            model_data.download(s3, artefact, self._model_folder)
        except ClientError as error:
            detail = model_data.denied_read(artefact.bucket, artefact.key, error)
            message = model_data.could_not_access(artefact, self.role_arn, self.caller.region, detail)
            raise JobFailed(f"ClientError: {message}") from error
        except (BadModelData, BotoCoreError) as error:
            raise JobFailed(f"ClientError: Failed to download model data: {error}") from error

    # Containers

    def _transform(self, image: Image, hosts: Sequence[str], works: Sequence[Work]) -> JobFailed | None:
        """Take the objects through the containers of the hosts.

        Returns:
            Why a container was of no use; its objects have no output then.

        Raises:
            JobStopped: the job is stopped.
        """
        shares = {host: works[number :: len(hosts)] for number, host in enumerate(hosts)}
        servers: dict[str, TransformServer] = {}
        logs: dict[str, JobLog] = {HOST: self.log}
        data_logs: list[DataLog] = []
        try:
            runs: dict[str, TransformHost] = {}
            for host in hosts:
                if host not in logs:
                    logs[host] = self.open_log(host)
                data_logs.append(DataLog(self._log(f"{self._instance_ids[host]}/data-log", f"data-{host}")))
                servers[host] = TransformServer(self.service.engine, host, self._spec(image, host, logs[host]))
                runs[host] = TransformHost(self.job, servers[host], data_logs[-1], self.check)
            with self._lock:
                # From here on a stop ends them; one that came before is seen by the first check.
                self._servers = [*servers.values()]
            with ThreadPoolExecutor(len(hosts), thread_name_prefix=f"transform-{self.name}") as pool:
                failures = [*pool.map(lambda host: self._one(runs[host], shares[host]), hosts)]
            self.check()
            return next((failure for failure in failures if failure is not None), None)
        finally:
            for server in servers.values():
                server.stop()
            for server in servers.values():
                server.join()
            for data_log in data_logs:
                data_log.close()
            for host, log in logs.items():
                if host != HOST:
                    log.close()

    def _one(self, host: TransformHost, share: Sequence[Work]) -> JobFailed | None:
        """Let a host do its share; why it could not, if it could not."""
        try:
            host.transform(share)
        except JobStopped:
            # Seen by whoever waits for all hosts.
            return None
        except (ContainerError, NotHealthy) as error:
            return JobFailed(f"AlgorithmError: {error}")
        return None

    def _spec(self, image: Image, host: str, log: JobLog) -> Any:
        ml = self.ml / host
        ml.mkdir()
        model_data.copy(self._model_folder, ml / "model")
        spec = self.spec(
            image,
            arguments=["serve"],
            entrypoint=None,
            environment=self._environment(),
            isolated=self._model.get("EnableNetworkIsolation", False),
            on_line=log.line,
        )
        return replace(spec, name=f"{spec.name}-{host}", ml_dir=ml)

    def _environment(self) -> dict[str, str]:
        """The model's variables, the job's, and SageMaker's."""
        return {**self._container.environment, **self.job.get("Environment", {}), **variables(self.job)}

    @property
    def _model_folder(self) -> Path:
        return self.ml / "model"

    def _log(self, stream: str, file: str) -> JobLog:
        return JobLog(
            LogStream(
                self.service.platform,
                self.caller.region,
                self._credentials,
                self.kind.log_group,
                f"{self.name}/{stream}",
            ),
            self.folder / f"{file}.log",
        )
