"""A small image that runs the Python code which a job hands it, and the calls that start such jobs in a local cloud."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel

from local_cloud.sagemaker.validation import validate
from tests.local_cloud_fixtures import LocalCloud

DOCKERFILE = """\
FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm
RUN useradd --uid 10001 model && mkdir -p /opt/ml && chown model /opt/ml
ENV PYTHONUNBUFFERED=1 GREETING="from the image" PROGRAM=/opt/program/program.py
WORKDIR /opt/program
COPY program.py .
USER 10001
ENTRYPOINT ["python", "program.py"]
CMD ["train"]
"""
PROGRAM = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
# The first process of a container has no default answer to a signal: without this it would wait to be killed.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sleep_once = time.sleep
def sleep(seconds):
    # In pieces: Python answers a signal that comes right before a sleep when that sleep is over.
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        sleep_once(min(left, 0.1))
time.sleep = sleep
ml = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
hyperparameters = ml / "input/config/hyperparameters.json"
code = json.loads(hyperparameters.read_text())["code"] if hyperparameters.exists() else sys.argv[1]
exec(compile(json.loads(code), "code", "exec"))
"""
ENDED = {"Completed", "Failed", "Stopped"}
LOGS = {"Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}


def allow(actions: str | list[str], *resources: str) -> dict[str, Any]:
    """A policy statement about S3; resources are what follows `arn:aws:s3:::`."""
    return {"Action": actions, "Resource": [f"arn:aws:s3:::{resource}" for resource in resources]}


class Jobs:
    """What a test says to a local cloud's jobs. Every answer that it sees must fit its shape in botocore's model."""

    def __init__(self, cloud: LocalCloud, bucket: str = "jobs") -> None:
        self.cloud = cloud
        self.bucket = bucket
        self.s3 = cloud.client("s3")
        self.sagemaker = cloud.client("sagemaker")
        self.sagemaker.meta.events.register("before-parse.sagemaker", _fits)
        self.s3.create_bucket(Bucket=bucket)
        self.image = self.build_context("image.zip")
        self.role = self.role_with("jobs", self.everything())
        self._count = 0

    def everything(self) -> list[dict[str, Any]]:
        """Policy statements for all that a job does."""
        return [
            allow(["s3:GetObject", "s3:PutObject"], f"{self.bucket}/*"),
            allow("s3:ListBucket", self.bucket),
            LOGS,
        ]

    @property
    def as_processes(self) -> bool:
        """Whether processes stand for containers here."""
        return bool(self.cloud.description["runner"] == "process")

    def role_with(self, name: str, statements: Iterable[dict[str, Any]]) -> str:
        """A role that SageMaker may assume."""
        return self.cloud.role(f"{self.bucket}-{name}", *statements)

    def build_context(self, key: str, dockerfile: str = DOCKERFILE, files: Mapping[str, str] | None = None) -> str:
        """The address of a zipped build context."""
        context = io.BytesIO()
        with zipfile.ZipFile(context, "w") as archive:
            for name, text in {"Dockerfile": dockerfile, "program.py": PROGRAM, **(files or {})}.items():
                entry = zipfile.ZipInfo(name)
                # Readable for the image's user, who is not the one who packs it.
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, text)
        return self.put(key, context.getvalue())

    def put(self, key: str, body: bytes) -> str:
        """The address of an object with that content."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def get(self, uri: str) -> bytes:
        """The content of an object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        """The keys below a prefix of the bucket, without it."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [item["Key"].removeprefix(prefix) for item in found]

    def name(self, word: str) -> str:
        """A job name that no other test has."""
        self._count += 1
        return f"{word}-{self._count}-{int(time.time() * 1000)}"

    def training(self, code: str, word: str = "train", **members: Any) -> str:
        """Start a training job that runs this code; its name."""
        channels = members.pop("channels", {})
        request: dict[str, Any] = {
            "TrainingJobName": self.name(word),
            # JSON once more: a value may hold no line break.
            "HyperParameters": {"code": json.dumps(code), **members.pop("hyperparameters", {})},
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File"},
            "RoleArn": self.role,
            "InputDataConfig": [channel(name, uri) for name, uri in channels.items()],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/output/"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            **members,
        }
        if not request["InputDataConfig"]:
            del request["InputDataConfig"]
        self.sagemaker.create_training_job(**request)
        return str(request["TrainingJobName"])

    def processing(self, code: str, word: str = "process", **members: Any) -> str:
        """Start a processing job that runs this code; its name."""
        inputs, outputs = members.pop("inputs", {}), members.pop("outputs", {})
        request: dict[str, Any] = {
            "ProcessingJobName": self.name(word),
            "AppSpecification": {"ImageUri": self.image, "ContainerArguments": [json.dumps(code)]},
            "RoleArn": self.role,
            "ProcessingInputs": [
                {
                    "InputName": name,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/input/{name}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for name, uri in inputs.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": name,
                        "S3Output": {
                            "S3Uri": uri,
                            "LocalPath": f"/opt/ml/processing/output/{name}",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                    for name, uri in outputs.items()
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
            },
            **members,
        }
        self.sagemaker.create_processing_job(**request)
        return str(request["ProcessingJobName"])

    def trained(self, name: str, *statuses: str, timeout_s: float = 60) -> dict[str, Any]:
        """DescribeTrainingJob once the job has one of these statuses or secondary statuses, or has ended if none is given."""
        return self._settled("training", "Training", name, statuses, timeout_s)

    def processed(self, name: str, *statuses: str, timeout_s: float = 60) -> dict[str, Any]:
        """DescribeProcessingJob, likewise."""
        return self._settled("processing", "Processing", name, statuses, timeout_s)

    def _settled(
        self, kind: str, prefix: str, name: str, statuses: tuple[str, ...], timeout_s: float
    ) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        describe = getattr(self.sagemaker, f"describe_{kind}_job")
        while True:
            job: dict[str, Any] = describe(**{f"{prefix}JobName": name})
            reached = {job[f"{prefix}JobStatus"], job.get("SecondaryStatus")}
            if reached & (set(statuses) or ENDED):
                return job
            assert job[f"{prefix}JobStatus"] not in ENDED, job
            assert time.monotonic() < deadline, job
            time.sleep(0.02)

    def log(self, name: str, group: str = "TrainingJobs", host: str = "algo-1") -> list[str]:
        """The lines of one of the job's hosts in CloudWatch Logs; of a job that was interrupted those of each attempt."""
        logs = self.cloud.client("logs")
        streams = logs.describe_log_streams(
            logGroupName=f"/aws/sagemaker/{group}", logStreamNamePrefix=f"{name}/{host}-"
        )["logStreams"]
        assert streams, (name, host)
        events = [
            event
            for stream in sorted(stream["logStreamName"] for stream in streams)
            for event in logs.get_log_events(
                logGroupName=f"/aws/sagemaker/{group}", logStreamName=stream, startFromHead=True
            )["events"]
        ]
        return [event["message"] for event in events]

    def printed(self, name: str, group: str = "TrainingJobs", host: str = "algo-1") -> list[str]:
        """What the container printed: the log without the local cloud's own lines."""
        return [line for line in self.log(name, group, host) if not line.startswith("[local cloud] ")]

    def wait_for_line(self, name: str, start: str, host: str = "algo-1", timeout_s: float = 60) -> str:
        """The first line of a host's log that begins so, once it is there."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError, ClientError):
                for line in self.log(name, host=host):
                    if line.startswith(start):
                        return line
            time.sleep(0.05)
        raise AssertionError(f"{name} printed no line that begins with {start}")

    def model(self, name: str) -> dict[str, bytes]:
        """The files in the model archive of a job that has ended."""
        job = self.sagemaker.describe_training_job(TrainingJobName=name)
        return members(self.get(job["ModelArtifacts"]["S3ModelArtifacts"]))

    def build_context_of(self, folder: Path, key: str) -> str:
        """The address of a folder with a Dockerfile, zipped."""
        context = io.BytesIO()
        with zipfile.ZipFile(context, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder).as_posix())
        return self.put(key, context.getvalue())


def instances(count: int) -> dict[str, Any]:
    """ResourceConfig of a job on so many instances."""
    return {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 10}


def members(archive: bytes) -> dict[str, bytes]:
    """The files in a .tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = ((member, tar.extractfile(member)) for member in tar.getmembers())
        return {member.name: file.read() for member, file in files if file is not None}


@contextlib.contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    """The call in the block is answered with this error, whose message has these words."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for word in words:
        assert word in error["Message"], error["Message"]


def channel(name: str, uri: str, **members: Any) -> dict[str, Any]:
    """A channel of a training job."""
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
        **members,
    }


def _fits(operation_model: OperationModel, response_dict: dict[str, Any], **_: Any) -> None:
    """Fail if an answer on the wire does not fit its shape, which a client would not notice."""
    if response_dict["status_code"] != 200 or operation_model.output_shape is None:
        return
    answer = json.loads(response_dict["body"])
    if operation_model.name == "DescribeTrainingJob":
        # The model calls it required, and AWS leaves it out until there is one.
        answer.setdefault("ModelArtifacts", {"S3ModelArtifacts": "s3://none/yet"})
    validate(answer, operation_model.output_shape)
