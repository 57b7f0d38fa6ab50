"""What a training job does between Starting and Completed, on one host or on several, and again after an interruption."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from local_cloud.containers.engine import ContainerSpec, Image
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.jobs import training_hosts, training_output
from local_cloud.sagemaker.jobs.checkpoint_sync import CheckpointSync
from local_cloud.sagemaker.jobs.job_containers import Ended
from local_cloud.sagemaker.jobs.job_data import WHOLE, DataError, JobData, Shard
from local_cloud.sagemaker.jobs.job_runs import (
    BY_CLOUD,
    BY_TIME,
    BY_WAIT,
    JobFailed,
    JobRun,
    JobStopped,
    Stop,
    algorithm_error,
    left_message,
)
from local_cloud.sagemaker.jobs.pipe_input import PipeFeeder
from local_cloud.sagemaker.jobs.spot import Interrupted, Interruptions
from local_cloud.sagemaker.jobs.training_hosts import Host
from local_cloud.sagemaker.jobs.training_metrics import Metrics
from local_cloud.sagemaker.jobs.training_status import KIND, MESSAGES, transition
from local_cloud.sagemaker.loopback_ports import loopback_port
from local_cloud.sagemaker.store import Document


class TrainingRun(JobRun):
    """One training job that runs."""

    _data: JobData
    _metrics: Metrics
    _interruptions: Interruptions
    _peers: Mapping[str, str]
    _broken: str | None = None
    """Why data cannot be streamed or checkpoints not be kept, once that is so."""
    _started_at: float
    """When the containers of this attempt were started, by `time.monotonic`, and those of the first."""
    _first_started_at: float | None = None
    _ran_s = 0.0
    """How long the containers of earlier attempts ran."""

    def work(self) -> Mapping[str, Any]:
        """See JobRun."""
        specification = self.job["AlgorithmSpecification"]
        self._data = self.data()
        self._metrics = Metrics(specification.get("MetricDefinitions", []), self._publish)
        self._interruptions = Interruptions(
            self.service, self.caller, self.arn, is_spot=self.job["EnableManagedSpotTraining"]
        )
        self._say_what_differs()
        image = self.preparing(specification["TrainingImage"])
        with ExitStack() as stack:
            stack.enter_context(notifications.watching(tags.KIND, self.arn, self.wake))
            self._peers = self._addresses(stack)
            while True:
                try:
                    return {**self._attempt(image), **self._metrics.final()}
                except Interrupted:
                    self._begin_again()

    @property
    def reasons(self) -> Mapping[Stop | None, str]:
        """See JobRun."""
        return {**super().reasons, BY_WAIT: MESSAGES["MaxWaitTimeExceeded"]}

    # The course of one attempt; there is a second only after an interruption

    def _attempt(self, image: Future[Image]) -> dict[str, Any]:
        """Train, and upload what comes out; what the Describe response gains."""
        self._move("Downloading", "Downloading input data")
        with ExitStack() as stack:
            hosts = self._hosts(stack)
            for host in hosts:
                training_hosts.lay_out(self.job, host)
            syncs = self._checkpoints(hosts)
            feeders = self._channels(hosts)
            for feeder in feeders:
                stack.callback(feeder.close)
            if not image.done():
                self._move("Downloading", "Downloading the training image")
            ready = self.prepared(image)
            self._check_time_left()
            self._move("Training")
            for feeder in feeders:
                feeder.start()
            for sync in syncs:
                sync.start()
            try:
                ended = self._run_hosts(hosts, ready)
            except JobStopped:
                self._finish(syncs, must=False)
                if self.stopped_by is not BY_CLOUD and self.has_started_container:
                    # What the algorithm saved after SIGTERM is not lost.
                    gained = {**self._upload(hosts, always=True), **self._metrics.final()}
                    self.update(lambda job: job.update(gained))
                raise
            except (Interrupted, JobFailed):
                self._finish(syncs, must=False)
                raise
            self._finish(syncs, must=ended.code == 0)
            if ended.code:
                raise self._failure(hosts, ended)
            return self._upload(hosts, always=True)

    def _begin_again(self) -> None:
        """Forget the hosts that are gone: the next ones have nothing but what is in S3."""
        self.check()
        self.forget_containers()
        shutil.rmtree(self.ml)
        self.ml.mkdir()
        self.log.note("The spot capacity was taken away. The job begins again with its checkpoints.")
        self.log.close()
        self.log = self.open_log()
        self._move("Starting", "Preparing the instances for training")

    def _hosts(self, stack: ExitStack) -> list[Host]:
        names = training_hosts.names(self.job)
        hosts = []
        for number, name in enumerate(names):
            log = self.log
            if number:
                log = self.open_log(name)
                stack.callback(log.close)
            hosts.append(Host(name, self.ml / name, log, Shard(number, len(names))))
        return hosts

    def _checkpoints(self, hosts: Sequence[Host]) -> list[CheckpointSync]:
        config = self.job.get("CheckpointConfig")
        if not config:
            return []
        syncs = []
        for host in hosts:
            folder = training_hosts.checkpoint_folder(self.job, host.ml)
            sync = CheckpointSync(self._data, folder, config["S3Uri"], host.log.note, self._break)
            try:
                sync.download()
            except DataError as error:
                raise JobFailed(f"ClientError: Failed to download checkpoints. {error}") from error
            syncs.append(sync)
        return syncs

    def _channels(self, hosts: Sequence[Host]) -> list[PipeFeeder]:
        """Download the channels, and prepare those that are streamed."""
        feeders = []
        for channel in self.job.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            is_sharded = source["S3DataDistributionType"] == "ShardedByS3Key"
            try:
                objects = self._data.objects(source)
                for host in hosts:
                    share = (host.shard if is_sharded else WHOLE).of(objects)
                    folder = host.ml / "input/data"
                    if training_hosts.input_mode(self.job, channel) == "Pipe":
                        feeders.append(PipeFeeder(self._data, share, channel, folder, self._break))
                    else:
                        (folder / channel["ChannelName"]).mkdir()
                        self._data.download_objects(share, folder / channel["ChannelName"])
            except DataError as error:
                raise JobFailed(
                    f"ClientError: Failed to download data of the channel {channel['ChannelName']}. {error}"
                ) from error
        return feeders

    def _run_hosts(self, hosts: Sequence[Host], image: Image) -> Ended:
        self._started_at = time.monotonic()
        if self._first_started_at is None:
            self._first_started_at = self._started_at
        return self.run_containers(
            {host.name: self._spec(host, image) for host in hosts},
            max_runtime_s=self._runtime_left(),
            look=self._look,
        )

    def _spec(self, host: Host, image: Image) -> ContainerSpec:
        specification = self.job["AlgorithmSpecification"]
        entrypoint, arguments = specification.get("ContainerEntrypoint"), specification.get("ContainerArguments")

        def on_line(text: str) -> None:
            host.log.line(text)
            self._metrics.line(text)

        spec = self.spec(
            image,
            # A training image is started with the argument `train`, unless the request says how to start it.
            arguments=arguments or ([] if entrypoint else ["train"]),
            entrypoint=entrypoint,
            environment={
                "TRAINING_JOB_NAME": self.name,
                "TRAINING_JOB_ARN": self.arn,
                **self._peers,
                **self.job.get("Environment", {}),
            },
            isolated=self.job["EnableNetworkIsolation"],
            on_line=on_line,
        )
        names = training_hosts.names(self.job)
        if len(names) == 1:
            return replace(spec, ml_dir=host.ml)
        return replace(spec, name=f"{spec.name}-{host.name}", ml_dir=host.ml, hosts=names)

    def _addresses(self, stack: ExitStack) -> Mapping[str, str]:
        """How the hosts of a job on several find each other where their names do not resolve, and without meeting others."""
        names = training_hosts.names(self.job)
        if len(names) == 1:
            return {}
        return {
            "SAGEMAKER_HOST_ADDRESSES": json.dumps(dict.fromkeys(names, "127.0.0.1")),
            "SAGEMAKER_HOSTS_PORT": str(stack.enter_context(loopback_port())),
        }

    # While the containers run

    def _look(self) -> float | None:
        """See `look` of run_containers."""
        if self._broken is not None:
            raise JobFailed(self._broken)
        if self.stopped_by is not None:
            return None
        waits = []
        interruption = self._interruptions.due_in(self._started_at, self.log)
        if interruption is not None:
            if interruption <= 0:
                self._ran_s += time.monotonic() - self._started_at
                self._move("Interrupted")
                self._interruptions.done()
                raise Interrupted
            waits.append(interruption)
        wait = self._wait_left()
        if wait is not None:
            if wait <= 0:
                self.out_of(BY_WAIT)
                return None
            waits.append(wait)
        return min(waits, default=None)

    def _break(self, reason: str) -> None:
        self._broken = self._broken or reason
        self.wake.set()

    def _runtime_left(self) -> float:
        return float(self.job["StoppingCondition"]["MaxRuntimeInSeconds"]) - self._ran_s

    def _wait_left(self) -> float | None:
        """How long a spot job may still take, from the start of its first containers on and with all that it waits for."""
        max_wait_s: float | None = self.job["StoppingCondition"].get("MaxWaitTimeInSeconds")
        if max_wait_s is None or self._first_started_at is None:
            return None
        return self._first_started_at + max_wait_s - time.monotonic()

    def _check_time_left(self) -> None:
        """Begin an attempt only if there is time for it."""
        wait = self._wait_left()
        if self._runtime_left() <= 0:
            self.out_of(BY_TIME)
        elif wait is not None and wait <= 0:
            self.out_of(BY_WAIT)
        self.check()

    # After they have ended

    def _finish(self, syncs: Sequence[CheckpointSync], *, must: bool) -> None:
        """Keep the last checkpoints. Where the job ends for another reason, that is the one it reports."""
        for sync in syncs:
            try:
                sync.finish()
            except DataError as error:
                reason = f"ClientError: Failed to upload checkpoints. {error}"
                if must:
                    raise JobFailed(reason) from error
                self.log.note(reason)

    def _failure(self, hosts: Sequence[Host], ended: Ended) -> JobFailed:
        """The first container that failed says why, or another one if it left no reason, as one that was killed."""
        self._upload_after_failure(hosts)
        reasons = {host.name: left_message(host.ml / "output/failure") for host in hosts}
        if len(hosts) > 1:
            for host, said in reasons.items():
                if said and host != ended.host:
                    self.log.note(f"{host} says: {said}")
        reason = reasons[ended.host] or next(filter(None, reasons.values()), "")
        return algorithm_error(reason, ended.code)

    def _upload(self, hosts: Sequence[Host], *, always: bool) -> dict[str, Any]:
        """Upload the model and the other output; what the Describe response gains."""

        def change(job: Document) -> None:
            transition(job, "Uploading")

        self.update(change)
        config = self.job["OutputDataConfig"]
        try:
            return training_output.upload(
                self._data, hosts, config, self.name, self.folder, self.log.note, always=always
            )
        except DataError as error:
            raise JobFailed(f"ClientError: Failed to upload the job's output. {error}") from error

    def _upload_after_failure(self, hosts: Sequence[Host]) -> None:
        """What a failed algorithm left may tell why; its own failure is what the job reports, not one of this upload."""
        try:
            self._upload(hosts, always=False)
        except JobFailed as error:
            self.log.note(str(error))

    # What is told on the way

    def _move(self, status: str, message: str | None = None) -> None:
        """Go on to a secondary status, unless the job is being stopped."""
        self.check()

        def change(job: Document) -> None:
            # A stop keeps its status until the end; only the upload is seen on the way.
            if job["TrainingJobStatus"] == "InProgress":
                if status == "Downloading":
                    job.setdefault("TrainingStartTime", time.time())
                transition(job, status, message)

        self.update(change)

    def _publish(self, name: str, value: float) -> None:
        self.service.platform.put_metric(
            self.caller.account,
            self.caller.region,
            KIND.log_group,
            name,
            value,
            "None",
            {"TrainingJobName": self.name},
        )

    def _say_what_differs(self) -> None:
        resources = self.job["ResourceConfig"]
        names = training_hosts.names(self.job)
        each = "its" if len(names) == 1 else "their"
        count = "one" if len(names) == 1 else str(len(names))
        self.log.note(
            f"This machine stands for {count} {resources['InstanceType']}: {each} processors and memory are what the job has."
        )
        if "VpcConfig" in self.job:
            self.log.note("VpcConfig has no effect here: the job uses this machine's network.")
        if len(names) > 1 and self.job["EnableInterContainerTrafficEncryption"]:
            self.log.note("EnableInterContainerTrafficEncryption has no effect here: nothing leaves this machine.")
        for member in ("DebugHookConfig", "ProfilerConfig"):
            if member in self.job:
                self.log.note(f"{member} has no effect here: neither Debugger nor the Profiler is emulated.")
        for name in self._metrics.without_value:
            self.log.note(f"The metric {name} stays without a value: its Regex has no group around the number.")
        for channel in self.job.get("InputDataConfig", []):
            if training_hosts.input_mode(self.job, channel) == "FastFile":
                self.log.note(f"The channel {channel['ChannelName']} is downloaded first; FastFile would stream it.")
