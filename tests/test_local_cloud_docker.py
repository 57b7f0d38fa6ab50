"""The local cloud's jobs in a real container engine: the image as it is, its own user, and no network where that was asked.

Needs a Docker engine that answers; where there is none these tests fail, since a container that was not run proves nothing.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.job_programs import PROGRAM, Jobs
from tests.local_cloud_fixtures import LocalCloud
from tests.pace import fastest

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]

DOCKERFILE = """\
FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm AS files
COPY program.py /files/program.py
FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm
RUN useradd --uid 10001 model && mkdir -p /opt/ml/code && echo brought > /opt/ml/code/brought.txt
COPY --from=files /files/program.py /opt/program/
WORKDIR /opt/program
USER 10001
ENTRYPOINT ["python3", "program.py"]
CMD ["train"]
"""


@pytest.fixture(scope="module")
def docker_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    cloud = LocalCloud(tmp_path_factory.mktemp("docker-cloud") / "state")
    cloud.start()
    yield cloud
    cloud.stop()


@pytest.fixture(scope="module")
def jobs(docker_cloud: LocalCloud) -> Jobs:
    assert docker_cloud.description["runner"] == "docker"
    made = Jobs(docker_cloud)
    # Several stages: what a process refuses, an engine does.
    made.image = made.build_context("stages.zip", DOCKERFILE, {"program.py": PROGRAM})
    return made


def containers(cloud: LocalCloud) -> list[str]:
    listed = subprocess.run(
        ["docker", "ps", "--all", "--format", '{{.Label "sagestack.local-cloud.name"}}'],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def test_a_training_job_runs_as_the_images_user_and_leaves_a_model(jobs: Jobs) -> None:
    jobs.put("data/a.csv", b"1,2\n")
    name = jobs.training(
        """
print(os.getuid(), ml, (ml / "input/data/train/a.csv").read_text().strip(), (ml / "code/brought.txt").read_text().strip())
(ml / "model/deep").mkdir()
(ml / "model/deep/m.json").write_text("a model")
""",
        channels={"train": f"s3://{jobs.bucket}/data/"},
    )
    job = jobs.trained(name, timeout_s=300)
    assert job["TrainingJobStatus"] == "Completed", job
    assert jobs.printed(name) == ["10001 /opt/ml 1,2 brought"]
    assert f"output/{name}/output/model.tar.gz" in jobs.keys("")
    assert containers(jobs.cloud) == []


def test_a_processing_job_reaches_the_cloud_with_its_roles_credentials(jobs: Jobs) -> None:
    code = (
        "import ssl,urllib.request as u;print(u.urlopen(os.environ['AWS_ENDPOINT_URL']+'/_ministack/health',"
        "context=ssl.create_default_context(cafile=os.environ['AWS_CA_BUNDLE'])).status,'AWS_SESSION_TOKEN' in os.environ)"
    )
    name = jobs.processing(code)
    assert jobs.processed(name, timeout_s=300)["ProcessingJobStatus"] == "Completed", jobs.log(name, "ProcessingJobs")
    assert jobs.printed(name, "ProcessingJobs") == ["200 True"]


def test_isolation_cuts_a_container_off(jobs: Jobs) -> None:
    name = jobs.training(
        "import socket\nprint([n for _, n in socket.if_nameindex()], [k for k in os.environ if k.startswith('AWS_')])",
        EnableNetworkIsolation=True,
    )
    assert jobs.trained(name, timeout_s=300)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == ["['lo'] ['AWS_REGION']"]


def test_a_failure_and_a_stop(jobs: Jobs) -> None:
    failed = jobs.training("(ml / 'output/failure').write_text('why'); sys.exit(9)")
    assert jobs.trained(failed, timeout_s=300)["FailureReason"] == "AlgorithmError: why, exit code: 9"
    name = jobs.training(
        "signal.signal(signal.SIGTERM, lambda *_: ((ml / 'model/half').write_text('half'), sys.exit(0)))\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    # From here on the program knows what to do with the signal.
    jobs.wait_for_line(name, "ready")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.trained(name)["TrainingJobStatus"] == "Stopped"
    assert f"output/{name}/output/model.tar.gz" in jobs.keys("")


def test_images_that_cannot_be_had(jobs: Jobs) -> None:
    broken = jobs.build_context(
        "broken.zip", "FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm\nRUN echo no; false\n"
    )
    for image, words in ((broken, "The build of the image"), ("registry.invalid/model:1", "cannot be pulled")):
        specification = {"TrainingImage": image, "TrainingInputMode": "File"}
        job = jobs.trained(jobs.training("pass", AlgorithmSpecification=specification), timeout_s=300)
        assert job["FailureReason"].startswith("ClientError: "), job
        assert words in job["FailureReason"]


def test_a_killed_cloud_leaves_no_container_behind(tmp_path: Path) -> None:
    cloud = LocalCloud(tmp_path / "state")
    cloud.start()
    try:
        jobs = Jobs(cloud)
        name = jobs.training("time.sleep(600)")
        jobs.trained(name, "Training", timeout_s=300)
        deadline = time.monotonic() + 60
        while f"training-job-{name}" not in containers(cloud):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        cloud.kill()
        cloud.start()
        assert f"training-job-{name}" not in containers(cloud)
        assert jobs.trained(name)["TrainingJobStatus"] == "Failed"
    finally:
        cloud.stop()


def test_a_job_in_a_container_adds_little(jobs: Jobs) -> None:
    jobs.trained(jobs.training("pass"), timeout_s=300)

    def overhead() -> float:
        started = time.monotonic()
        name = jobs.training("print(json.dumps([time.time(), os.getpid()]))")
        jobs.trained(name)
        took = time.monotonic() - started
        assert json.loads(jobs.printed(name)[0])[1] == 1
        return took

    assert fastest(overhead, bound=2) < 2
