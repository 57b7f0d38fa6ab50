"""Training and processing jobs of the local cloud, through boto3, with programs that really run."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.containers.engine import ContainerSpec, Image
from local_cloud.containers.leftovers import start_time
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker.jobs import processing, training
from local_cloud.sagemaker.jobs.job_operations import create_job, stop_job
from local_cloud.sagemaker.jobs.job_records import new_job
from local_cloud.sagemaker.jobs.job_runs import BY_USER, JobRun, JobStopped, Stop
from local_cloud.sagemaker.store import Store
from tests.job_programs import LOGS, Jobs, allow, channel, members, refused
from tests.local_cloud_fixtures import LocalCloud
from tests.pace import fastest

INTERRUPTED = "InternalServerError: The local cloud was stopped while this job was running."


@pytest.fixture(scope="module")
def jobs(cloud: LocalCloud) -> Jobs:
    return Jobs(cloud)


def gone(pid: int, timeout_s: float = 60) -> bool:
    """Whether a process ends within that time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        # One that only waits for its parent to ask how it ended has ended.
        if start_time(pid) is None:
            return True
        time.sleep(0.02)
    return False


# --- Training --------------------------------------------------------------------------------------------------------


def test_a_training_job_trains_on_its_channels_and_leaves_a_model(jobs: Jobs) -> None:
    jobs.put("data/train/a.csv", b"1,2\n")
    jobs.put("data/train/more/b.csv", b"3,4\n")
    jobs.put("data/train/", b"")
    name = jobs.training(
        """
data = sorted(p.relative_to(ml / "input/data").as_posix() for p in (ml / "input/data").rglob("*.csv"))
print("saw", data, sys.argv[1:])
(ml / "model/model.json").write_text("a model")
(ml / "output/data/plot.txt").write_text("a plot")
""",
        channels={"train": f"s3://{jobs.bucket}/data/train/"},
    )
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    model = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert model == f"s3://{jobs.bucket}/output/{name}/output/model.tar.gz"
    assert members(jobs.get(model)) == {"model.json": b"a model"}
    assert members(jobs.get(model.replace("model.tar", "output.tar"))) == {"plot.txt": b"a plot"}
    assert jobs.printed(name) == ["saw ['train/a.csv', 'train/more/b.csv'] ['train']"]


def test_its_statuses_move_as_on_aws(jobs: Jobs) -> None:
    job = jobs.trained(jobs.training("pass"))
    statuses = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
    assert [s for s, after in zip(statuses, [*statuses[1:], ""], strict=True) if s != after] == [
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert all(transition["EndTime"] >= transition["StartTime"] for transition in job["SecondaryStatusTransitions"])
    assert all(transition["StatusMessage"] for transition in job["SecondaryStatusTransitions"])
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] >= 1


def test_a_training_container_finds_its_configuration(jobs: Jobs) -> None:
    name = jobs.training(
        """
read = lambda n: json.loads((ml / "input/config" / (n + ".json")).read_text())
print(json.dumps([read("hyperparameters")["depth"], read("inputdataconfig"), read("resourceconfig")]))
names = ("TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "AWS_REGION", "MINE", "GREETING")
print(json.dumps({k: os.environ.get(k) for k in names}))
print(os.path.samefile(os.environ["PROGRAM"], "program.py"))
""",
        hyperparameters={"depth": "5"},
        Environment={"MINE": "yes"},
        InputDataConfig=[channel("train", jobs.put("config/a.csv", b"1"), ContentType="text/csv")],
    )
    job = jobs.trained(name)
    lines = jobs.printed(name)
    depth, inputs, resources = json.loads(lines[0])
    assert depth == "5"
    assert inputs == {
        "train": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": "text/csv",
        }
    }
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    assert resources["current_instance_type"] == "ml.m5.large"
    assert json.loads(lines[1]) == {
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": job["TrainingJobArn"],
        "AWS_REGION": "us-east-1",
        "MINE": "yes",
        "GREETING": "from the image",
    }
    assert lines[2] == "True"


def test_a_script_that_raises_fails_its_job_with_its_reason_and_its_log(jobs: Jobs) -> None:
    name = jobs.training(
        """
print("before")
(ml / "output/failure").write_text("column RM is missing")
(ml / "output/data/trace.txt").write_text("deep")
sys.exit(3)
"""
    )
    job = jobs.trained(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: column RM is missing, exit code: 3"
    assert "before" in jobs.log(name)
    assert "ModelArtifacts" not in job
    assert members(jobs.get(f"s3://{jobs.bucket}/output/{name}/output/output.tar.gz")) == {"trace.txt": b"deep"}
    assert (jobs.cloud.state_dir / f"jobs/000000000000-us-east-1/training-job/{name}/container.log").exists()


def test_a_reason_of_any_length_fits_the_api(jobs: Jobs) -> None:
    job = jobs.trained(jobs.training("(ml / 'output/failure').write_text('x' * 5000); sys.exit(1)"))
    assert len(job["FailureReason"]) <= 1024
    assert job["FailureReason"].endswith(", exit code: 1")


def test_its_metrics_are_read_from_its_log(jobs: Jobs) -> None:
    name = jobs.training(
        "print('rmse=4.5')\nprint('rmse=3.25')",
        AlgorithmSpecification={
            "TrainingImage": jobs.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "validation:rmse", "Regex": "rmse=([0-9.]+)"}],
        },
    )
    metrics = jobs.trained(name)["FinalMetricDataList"]
    assert [(metric["MetricName"], metric["Value"]) for metric in metrics] == [("validation:rmse", 3.25)]
    found = jobs.cloud.client("cloudwatch").list_metrics(
        Namespace="/aws/sagemaker/TrainingJobs", Dimensions=[{"Name": "TrainingJobName", "Value": name}]
    )
    assert [metric["MetricName"] for metric in found["Metrics"]] == ["validation:rmse"]


def test_a_metric_whose_regex_has_no_group_stays_without_a_value(jobs: Jobs) -> None:
    name = jobs.training(
        "print('rmse=4.5')\nprint('after')",
        AlgorithmSpecification={
            "TrainingImage": jobs.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "validation:rmse", "Regex": "rmse=[0-9.]+"}],
        },
    )
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert "FinalMetricDataList" not in job
    assert jobs.printed(name) == ["rmse=4.5", "after"]
    assert any("validation:rmse stays without a value" in line for line in jobs.log(name))


def test_a_job_that_has_ended_has_left_its_folder_to_the_next_of_its_name(jobs: Jobs) -> None:
    name = jobs.processing("for n in range(5000): (ml / f'processing/{n}').touch()")
    jobs.processed(name)
    left = next((jobs.cloud.state_dir / "jobs").glob(f"*/processing-job/{name}"))
    assert [path.name for path in left.iterdir()] == ["container.log"]


def test_a_job_whose_log_cannot_be_written_fails_and_can_be_deleted(jobs: Jobs) -> None:
    name = jobs.name("nolog")
    in_the_way = jobs.cloud.state_dir / "jobs/000000000000-us-east-1/training-job" / name
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("not a folder")
    job = jobs.trained(jobs.training("pass", TrainingJobName=name))
    assert job["FailureReason"].startswith("InternalServerError: The local cloud failed")
    in_the_way.unlink()
    jobs.sagemaker.delete_training_job(TrainingJobName=name)


class SlowEngine:
    """An engine whose containers take until `go` to start."""

    def __init__(self) -> None:
        self.starting, self.go = threading.Event(), threading.Event()
        self.grace_s: float | None = None

    def start(self, spec: ContainerSpec) -> SlowEngine:
        self.starting.set()
        assert self.go.wait(60)
        return self

    def wait(self, timeout_s: float | None = None) -> int:
        return 143

    def stop(self, grace_s: float) -> None:
        self.grace_s = grace_s


class Waiting(JobRun):
    """A run that does nothing by itself."""

    def work(self) -> dict[str, Any]:
        return {}


def test_a_stop_does_not_wait_for_a_container_that_starts_and_still_ends_it(tmp_path: Path) -> None:
    engine = SlowEngine()
    job = {"TrainingJobName": "slow", "TrainingJobArn": "arn:slow"}
    service: Any = SimpleNamespace(state_dir=tmp_path, engine=engine)
    caller = Caller(account="000000000000", region="us-east-1", arn="arn:user")
    run = Waiting(service, training.KIND, caller, job, Credentials("a", "b", "c"))
    settings: dict[str, Any] = {"arguments": [], "entrypoint": None, "environment": {}, "isolated": True}
    with ThreadPoolExecutor(1) as pool:
        spec = run.spec(Image("x", "x"), on_line=lambda line: None, **settings)
        running = pool.submit(run.run_containers, {"algo-1": spec}, max_runtime_s=60)
        assert engine.starting.wait(60)
        try:
            run.stop(BY_USER)
            assert not running.done(), "it waited for the engine"
        finally:
            engine.go.set()
        with pytest.raises(JobStopped):
            running.result(60)
    assert engine.grace_s == BY_USER.grace_s


def test_a_stop_that_comes_before_the_run_is_known_reaches_it(tmp_path: Path) -> None:
    platform = SimpleNamespace(assume_role=lambda *_: Credentials("a", "b", "c"), put_event=lambda *_: None)
    service: Any = SimpleNamespace(
        store=Store(tmp_path / "store.sqlite"), platform=platform, background={}, state_dir=tmp_path,
        check_pass_role=lambda *_: None,
    )  # fmt: skip
    caller = Caller(account="000000000000", region="us-east-1", arn="arn:user")
    stops: list[Stop] = []

    class Listed(Waiting):
        """A run that somebody stops, who has seen its job in a list, before it is among those that can be told."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            stop_job(service, processing.KIND, caller, "listed")

        def begin(self) -> None: ...

        def stop(self, why: Stop) -> None:
            stops.append(why)

    request = {"ProcessingJobName": "listed", "RoleArn": "arn:role"}
    create_job(service, processing.KIND, caller, request, new_job(processing.KIND, caller, request), Listed)
    assert stops == [BY_USER]


def test_a_stopped_job_keeps_what_it_saved_after_sigterm(jobs: Jobs) -> None:
    name = jobs.training(
        """
def save(*_):
    (ml / "model/half.json").write_text("half")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
child = subprocess.Popen(["sleep", "600"])
print("child", child.pid)
time.sleep(600)
"""
    )
    jobs.trained(name, "Training")
    child = int(jobs.wait_for_line(name, "child ").split()[1])
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = jobs.trained(name, "Stopped")
    assert [t["Status"] for t in job["SecondaryStatusTransitions"]][-3:] == ["Stopping", "Uploading", "Stopped"]
    assert members(jobs.get(f"s3://{jobs.bucket}/output/{name}/output/model.tar.gz")) == {"half.json": b"half"}
    assert not jobs.as_processes or gone(child)
    with refused("ValidationException", "is in status Stopped"):
        jobs.sagemaker.stop_training_job(TrainingJobName=name)


def test_a_job_ends_when_its_time_is_over(jobs: Jobs) -> None:
    name = jobs.training("time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = jobs.trained(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_the_other_input_modes_and_a_manifest(jobs: Jobs) -> None:
    jobs.put("listed/one.csv", b"1")
    jobs.put("listed/two.csv", b"2")
    jobs.put("listed/deep/three.csv", b"3")
    manifest = jobs.put(
        "manifest.json", json.dumps([{"prefix": f"s3://{jobs.bucket}/listed/"}, "one.csv", "deep/three.csv"]).encode()
    )
    name = jobs.training(
        "print(sorted(p.relative_to(ml / 'input/data').as_posix() for p in (ml / 'input/data').rglob('*.csv')))",
        InputDataConfig=[
            channel("fast", f"s3://{jobs.bucket}/listed/t", InputMode="FastFile"),
            {"ChannelName": "list", "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": manifest}}},
        ],
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == ["['fast/two.csv', 'list/deep/three.csv', 'list/one.csv']"]


def test_an_uncompressed_model(jobs: Jobs) -> None:
    name = jobs.training(
        "(ml / 'model/a').mkdir(); (ml / 'model/a/m.json').write_text('m')",
        OutputDataConfig={"S3OutputPath": f"s3://{jobs.bucket}/plain", "CompressionType": "NONE"},
    )
    assert jobs.trained(name)["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{jobs.bucket}/plain/{name}/output/model/"
    assert jobs.get(f"s3://{jobs.bucket}/plain/{name}/output/model/a/m.json") == b"m"


def test_output_is_encrypted_with_the_key_that_the_request_names(jobs: Jobs) -> None:
    key = jobs.cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    role = jobs.role_with(
        "kms", [*jobs.everything(), {"Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key}]
    )
    name = jobs.training(
        "(ml / 'model/m').write_text('m')",
        RoleArn=role,
        OutputDataConfig={"S3OutputPath": f"s3://{jobs.bucket}/kms", "KmsKeyId": key},
    )
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    head = jobs.s3.head_object(Bucket=jobs.bucket, Key=f"kms/{name}/output/model.tar.gz")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


# --- Permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "action", "resource"),
    [
        ("GetObject", "s3:GetObject", "jobs/permissions/a.csv"),
        ("ListBucket", "s3:ListBucket", "jobs"),
        ("PutObject", "s3:PutObject", "jobs/output/"),
    ],
)
def test_a_missing_grant_is_named_with_its_action_and_resource(
    jobs: Jobs, missing: str, action: str, resource: str
) -> None:
    data = jobs.put("permissions/a.csv", b"1")
    role = jobs.role_with(
        f"without-{missing}",
        [
            LOGS,
            *([] if missing == "ListBucket" else [allow("s3:ListBucket", jobs.bucket)]),
            *([] if missing == "PutObject" else [allow("s3:PutObject", f"{jobs.bucket}/*")]),
            allow("s3:GetObject", f"{jobs.bucket}/{'image.zip' if missing == 'GetObject' else '*'}"),
        ],
    )
    job = jobs.trained(jobs.training("(ml / 'model/m').write_text('m')", RoleArn=role, channels={"train": data}))
    assert job["TrainingJobStatus"] == "Failed"
    reason = job["FailureReason"]
    assert reason.startswith("ClientError: Failed to ")
    assert f"User: arn:aws:sts::000000000000:assumed-role/jobs-without-{missing}/SageMaker" in reason
    assert f"is not authorized to perform: {action} on resource: arn:aws:s3:::{resource}" in reason


def test_who_may_not_read_the_image_does_not_run_it(jobs: Jobs) -> None:
    role = jobs.role_with("without-image", [LOGS, allow("s3:PutObject", f"{jobs.bucket}/*")])
    job = jobs.trained(jobs.training("pass", RoleArn=role))
    assert "Failed to download the image" in job["FailureReason"]
    assert "s3:GetObject on resource: arn:aws:s3:::jobs/image.zip" in job["FailureReason"]


def test_a_job_whose_role_may_not_write_logs_runs_without_them(jobs: Jobs) -> None:
    role = jobs.role_with("without-logs", jobs.everything()[:2])
    name = jobs.training("print('unheard')", RoleArn=role)
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    with contextlib.suppress(ClientError):
        streams = jobs.cloud.client("logs").describe_log_streams(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=name
        )
        assert streams["logStreams"] == []


def test_a_container_has_temporary_credentials_of_its_role_that_end_with_it(jobs: Jobs) -> None:
    name = jobs.training("print(json.dumps(dict(os.environ)))")
    jobs.trained(name)
    environment = json.loads(jobs.printed(name)[0])
    assert environment["AWS_ENDPOINT_URL"] == jobs.cloud.environment()["AWS_ENDPOINT_URL"]
    deadline = time.monotonic() + 60
    s3 = jobs.cloud.client(
        "s3",
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        environment["AWS_SESSION_TOKEN"],
    )
    while True:
        try:
            s3.get_object(Bucket=jobs.bucket, Key="image.zip")
        except ClientError:
            break
        assert time.monotonic() < deadline, "the credentials outlived the job"


def test_an_isolated_container_has_no_credentials(jobs: Jobs) -> None:
    name = jobs.training("print(sorted(k for k in os.environ if k.startswith('AWS_')))", EnableNetworkIsolation=True)
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == ["['AWS_REGION']"]
    if jobs.as_processes:
        assert any("Network isolation is not enforced" in line for line in jobs.log(name))


# --- What is refused, and what is missing ----------------------------------------------------------------------------


def test_a_name_is_used_once(jobs: Jobs) -> None:
    name = jobs.training("pass")
    with refused("ResourceInUse", "must be unique", name):
        jobs.training("pass", TrainingJobName=name)
    jobs.trained(name)
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
    with refused("ResourceNotFound", name):
        jobs.sagemaker.describe_training_job(TrainingJobName=name)
    jobs.trained(jobs.training("pass", TrainingJobName=name))


def test_a_job_that_runs_is_not_deleted(jobs: Jobs) -> None:
    name = jobs.processing("time.sleep(600)")
    with refused("ResourceInUse", "InProgress"):
        jobs.sagemaker.delete_processing_job(ProcessingJobName=name)
    jobs.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert jobs.processed(name)["ProcessingJobStatus"] == "Stopped"
    jobs.sagemaker.delete_processing_job(ProcessingJobName=name)
    with refused("ResourceNotFound", name):
        jobs.sagemaker.describe_processing_job(ProcessingJobName=name)


def test_a_role_that_sagemaker_cannot_assume(jobs: Jobs) -> None:
    with refused("ValidationException", "Could not assume role"):
        jobs.training("pass", RoleArn="arn:aws:iam::000000000000:role/nobody")
    with refused("ValidationException", "Could not assume role"):
        jobs.processing("pass", RoleArn=jobs.cloud.role("for-lambda", LOGS, trusts="lambda.amazonaws.com"))


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (
            ["more than 8 instances", "is 9"],
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 9, "VolumeSizeInGB": 1}},
        ),
        (
            ["warm pools", "KeepAlivePeriodInSeconds"],
            {
                "ResourceConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 1,
                    "KeepAlivePeriodInSeconds": 60,
                }
            },
        ),
        (
            ["instance groups"],
            {
                "ResourceConfig": {
                    "InstanceGroups": [
                        {"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "one"},
                        {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "InstanceGroupName": "other"},
                    ],
                    "VolumeSizeInGB": 1,
                }
            },
        ),
    ],
)
def test_what_training_does_not_have_is_refused_by_name(jobs: Jobs, words: list[str], changes: dict[str, Any]) -> None:
    with refused("UnsupportedOperation", "does not emulate", *words):
        jobs.training("pass", **changes)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["s3OutputPath", "s3:///x"], {"OutputDataConfig": {"S3OutputPath": "s3:///x"}}),
        (["unique", "a"], {"InputDataConfig": [channel("a", "s3://jobs/x"), channel("a", "s3://jobs/y")]}),
        (
            ["Regex", "loss"],
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "s3://jobs/image.zip",
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "loss=("}],
                }
            },
        ),
    ],
)
def test_a_malformed_request_is_refused(jobs: Jobs, words: list[str], changes: dict[str, Any]) -> None:
    with refused("ValidationException", *words):
        jobs.training("pass", **changes)


def test_data_that_is_not_there(jobs: Jobs) -> None:
    job = jobs.trained(jobs.training("pass", channels={"train": "s3://jobs/nowhere/"}))
    assert job["FailureReason"].startswith("ClientError: Failed to download data of the channel train. No S3 objects")
    role = jobs.role_with("everywhere", [allow(["s3:ListBucket", "s3:GetObject"], "*")])
    job = jobs.trained(jobs.training("pass", RoleArn=role, channels={"train": "s3://no-such-bucket-here/x"}))
    assert 'No S3 objects found under S3 URL "s3://no-such-bucket-here/x"' in job["FailureReason"]
    assert "does not exist" in job["FailureReason"]


def test_an_image_that_cannot_be_had(jobs: Jobs) -> None:
    def reason(image: str) -> str:
        specification = {"TrainingImage": image, "TrainingInputMode": "File"}
        return str(jobs.trained(jobs.training("pass", AlgorithmSpecification=specification))["FailureReason"])

    base = "FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm\n"
    failed = reason(jobs.build_context("broken.zip", f"{base}RUN pip install no-such-package-anywhere==9.9\n"))
    assert failed.startswith("ClientError: ")
    assert "no-such-package-anywhere==9.9" in failed
    if jobs.as_processes:
        assert "Dockerfile line 2" in reason(jobs.build_context("stages.zip", f"{base}{base}"))
        assert "is in a registry" in reason("123456789012.dkr.ecr.us-east-1.amazonaws.com/model:1")


def test_what_dockerignore_names_is_not_in_the_image(jobs: Jobs) -> None:
    image = jobs.build_context(
        "ignored.zip",
        "FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm\nWORKDIR /opt/program\nCOPY . .\n"
        'ENTRYPOINT ["python", "program.py"]\n',
        {".dockerignore": "notes\n!notes/kept.txt\n*.log\n", "notes/a.txt": "", "notes/kept.txt": "", "b.log": ""},
    )
    name = jobs.training(
        "print(sorted(p.as_posix() for p in Path('.').rglob('*') if p.suffix in ('.txt', '.log')))",
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == ["['notes/kept.txt']"]


def test_jobs_are_listed(jobs: Jobs) -> None:
    first, second = jobs.training("pass", "listed"), jobs.training("sys.exit(1)", "listed")
    jobs.trained(first)
    jobs.trained(second)
    listed = jobs.sagemaker.list_training_jobs(NameContains="listed")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == [second, first]
    failed = jobs.sagemaker.list_training_jobs(NameContains="listed", StatusEquals="Failed")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in failed] == [second]
    page = jobs.sagemaker.list_training_jobs(NameContains="listed", MaxResults=1)
    rest = jobs.sagemaker.list_training_jobs(NameContains="listed", MaxResults=1, NextToken=page["NextToken"])
    assert [job["TrainingJobName"] for job in rest["TrainingJobSummaries"]] == [first]


def test_a_job_has_its_tags(jobs: Jobs) -> None:
    name = jobs.training("pass", Tags=[{"Key": "team", "Value": "a"}])
    arn = jobs.trained(name)["TrainingJobArn"]
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]


# --- Processing ------------------------------------------------------------------------------------------------------


def test_a_processing_job_turns_inputs_into_outputs(jobs: Jobs) -> None:
    data = jobs.put("raw/housing.csv", b"a,b\n")
    name = jobs.processing(
        "p = ml / 'processing'; (p / 'output/train/t.csv').write_text((p / 'input/data/housing.csv').read_text() * 2); "
        "print(len(sys.argv), (ml / 'config/resourceconfig.json').read_text())",
        inputs={"data": data},
        outputs={"train": f"s3://{jobs.bucket}/split/train", "empty": f"s3://{jobs.bucket}/split/empty"},
    )
    job = jobs.processed(name)
    assert job["ProcessingJobStatus"] == "Completed", job
    assert jobs.keys("split/") == ["train/t.csv"]
    assert jobs.get(f"s3://{jobs.bucket}/split/train/t.csv") == b"a,b\na,b\n"
    assert jobs.printed(name, "ProcessingJobs") == ['2 {"current_host": "algo-1", "hosts": ["algo-1"]}']
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]


def test_a_processing_container_finds_its_configuration(jobs: Jobs) -> None:
    name = jobs.processing(
        "print((ml / 'config/processingjobconfig.json').read_text())",
        inputs={"data": jobs.put("raw/housing.csv", b"a,b\n")},
        outputs={"out": f"s3://{jobs.bucket}/out"},
        Environment={"A": "b"},
    )
    job = jobs.processed(name)
    config = json.loads(jobs.printed(name, "ProcessingJobs")[0])
    assert (config["ProcessingJobName"], config["ProcessingJobArn"]) == (name, job["ProcessingJobArn"])
    assert config["ProcessingInputs"][0]["S3Input"]["S3InputMode"] == "File"
    assert config["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["LocalPath"] == "/opt/ml/processing/output/out"
    assert config["Environment"] == {"A": "b"}
    assert config["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 1


def test_a_failed_processing_job_tells_its_message(jobs: Jobs) -> None:
    job = jobs.processed(jobs.processing("(ml / 'output/message').write_text('row 7 has text in RM'); sys.exit(1)"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["ExitMessage"] == "row 7 has text in RM"
    assert job["FailureReason"] == "AlgorithmError: row 7 has text in RM, exit code: 1"
    job = jobs.processed(jobs.processing("sys.exit(4)"))
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 4"


def test_a_processing_job_ends_when_its_time_is_over(jobs: Jobs) -> None:
    job = jobs.processed(jobs.processing("time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds" in job["FailureReason"]


def test_a_local_path_outside_processing_is_refused(jobs: Jobs) -> None:
    item = {"InputName": "a", "S3Input": {"S3Uri": "s3://jobs/x", "LocalPath": "/etc", "S3DataType": "S3Prefix"}}
    with refused("ValidationException", "/opt/ml/processing/", "/etc"):
        jobs.processing("pass", ProcessingInputs=[item])


# --- Events, restarts, speed -----------------------------------------------------------------------------------------


def test_each_status_is_an_event(jobs: Jobs) -> None:
    sqs, events = jobs.cloud.client("sqs"), jobs.cloud.client("events")
    queue = sqs.create_queue(QueueName="job-events")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="job-events", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    events.put_targets(Rule="job-events", Targets=[{"Id": "queue", "Arn": queue_arn}])
    name = jobs.training("sys.exit(1)", "eventful", Tags=[{"Key": "team", "Value": "a"}])
    job = jobs.trained(name)
    received: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while not any(event["detail"].get("TrainingJobStatus") == "Failed" for event in received):
        assert time.monotonic() < deadline, received
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            event = json.loads(message["Body"])
            if name in json.dumps(event):
                received.append(event)
    events.remove_targets(Rule="job-events", Ids=["queue"])
    events.delete_rule(Name="job-events")
    last = next(event for event in received if event["detail"]["TrainingJobStatus"] == "Failed")
    assert last["detail-type"] == "SageMaker Training Job State Change"
    assert last["resources"] == [job["TrainingJobArn"]]
    assert last["detail"]["FailureReason"] == job["FailureReason"]
    assert last["detail"]["Tags"] == {"team": "a"}
    assert last["detail"]["CreationTime"] == int(job["CreationTime"].timestamp() * 1000)
    assert {"Starting", "Downloading", "Training"} <= {event["detail"]["SecondaryStatus"] for event in received}


@pytest.mark.long
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_job_that_ran_when_the_cloud_ended_says_so(own_cloud: LocalCloud, end: str) -> None:
    jobs = Jobs(own_cloud)
    name = jobs.training("print('pid', os.getpid())\ntime.sleep(600)")
    processing = jobs.processing("time.sleep(600)")
    jobs.trained(name, "Training")
    pid = int(jobs.wait_for_line(name, "pid ").split()[1])
    as_processes = jobs.as_processes
    getattr(own_cloud, end)()
    assert not as_processes or gone(pid)
    own_cloud.start()
    job = jobs.trained(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith(INTERRUPTED)
    assert jobs.processed(processing)["FailureReason"].startswith(INTERRUPTED)
    assert jobs.trained(jobs.training("pass"))["TrainingJobStatus"] == "Completed"


def test_a_job_adds_less_than_half_a_second(jobs: Jobs) -> None:
    jobs.trained(jobs.training("pass"))

    def overhead() -> float:
        started = time.monotonic()
        name = jobs.training("began = time.time(); time.sleep(0.2); print(time.time() - began)")
        jobs.trained(name)
        return time.monotonic() - started - float(jobs.printed(name)[0])

    assert fastest(overhead, bound=0.5) < 0.5


def test_jobs_that_need_the_same_new_image_wait_for_one_build(jobs: Jobs) -> None:
    image = jobs.build_context("together.zip", files={"extra.txt": str(time.time())})
    specification = {"TrainingImage": image, "TrainingInputMode": "File"}
    names = [jobs.training("pass", AlgorithmSpecification=specification) for _ in range(4)]
    assert {jobs.trained(name)["TrainingJobStatus"] for name in names} == {"Completed"}
