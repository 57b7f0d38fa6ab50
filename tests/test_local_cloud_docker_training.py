"""Training jobs on several hosts, from pipes and on spot capacity, in a real container engine.

Needs a Docker engine that answers; where there is none these tests fail, since a container that was not run proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.job_programs import Jobs, allow, channel, instances
from tests.local_cloud_fixtures import LocalCloud

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]

MEET = """
import socket
resources = json.loads((ml / "input/config/resourceconfig.json").read_text())
me, port = resources["current_host"], int(os.environ["SAGEMAKER_HOSTS_PORT"])
if me == "algo-1":
    listener = socket.create_server(("algo-1", port))
    listener.settimeout(120)
    came = sorted(listener.accept()[0].recv(100).decode() for _ in resources["hosts"][1:])
    print("came", came, [socket.gethostbyname(host) for host in resources["hosts"]])
    (ml / "model/came").write_text(str(came))
else:
    while True:
        try:
            connection = socket.create_connection(("algo-1", port), 5)
            break
        except OSError:
            time.sleep(0.05)
    connection.sendall(me.encode())
print("interfaces", [name for _, name in socket.if_nameindex()])
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    cloud = LocalCloud(tmp_path_factory.mktemp("docker-cloud") / "state")
    cloud.start()
    assert cloud.description["runner"] == "docker"
    made = Jobs(cloud)
    made.role = made.role_with("deleting", [*made.everything(), allow("s3:DeleteObject", f"{made.bucket}/*")])
    yield made
    cloud.stop()


@pytest.mark.parametrize("isolated", [True, False])
def test_the_hosts_of_a_job_find_each_other_by_name(jobs: Jobs, isolated: bool) -> None:
    names = [jobs.training(MEET, ResourceConfig=instances(3), EnableNetworkIsolation=isolated) for _ in range(2)]
    for name in names:
        job = jobs.trained(name, timeout_s=300)
        assert job["TrainingJobStatus"] == "Completed", (job, jobs.log(name))
        lines = jobs.printed(name)
        assert lines[0] == "came ['algo-2', 'algo-3'] ['127.0.0.1', '127.0.0.1', '127.0.0.1']"
        assert jobs.model(name) == {"came": b"['algo-2', 'algo-3']"}
        for host in ("algo-1", "algo-2", "algo-3"):
            assert ("interfaces ['lo']" in jobs.printed(name, host=host)) is isolated


def test_a_host_that_fails_at_once_ends_the_others(jobs: Jobs) -> None:
    name = jobs.training(
        """
me = json.loads((ml / "input/config/resourceconfig.json").read_text())["current_host"]
if me == "algo-1":
    (ml / "output/failure").write_text("no rows")
    sys.exit(3)
time.sleep(600)
""",
        ResourceConfig=instances(2),
        EnableNetworkIsolation=True,
    )
    assert jobs.trained(name, timeout_s=300)["FailureReason"] == "AlgorithmError: no rows, exit code: 3"


def test_a_host_that_is_done_first_does_not_take_the_network_with_it(jobs: Jobs) -> None:
    name = jobs.training(
        """
import socket
resources = json.loads((ml / "input/config/resourceconfig.json").read_text())
if resources["current_host"] != "algo-1":
    time.sleep(1.5)
    socket.create_server(("127.0.0.1", int(os.environ["SAGEMAKER_HOSTS_PORT"]))).close()
    print("done")
""",
        ResourceConfig=instances(3),
        EnableNetworkIsolation=True,
    )
    assert jobs.trained(name, timeout_s=300)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name, host="algo-3") == ["done"]


def test_a_container_reads_its_pipes(jobs: Jobs) -> None:
    jobs.put("piped/a.csv", b"1,2\n")
    jobs.put("piped/b.csv", b"3,4\n" * 100_000)
    name = jobs.training(
        """
for epoch in range(2):
    path = ml / f"input/data/train_{epoch}"
    while not path.exists():
        time.sleep(0.01)
    print(os.getuid(), len(path.read_bytes()))
""",
        InputDataConfig=[channel("train", f"s3://{jobs.bucket}/piped/", InputMode="Pipe")],
        EnableNetworkIsolation=True,
    )
    assert jobs.trained(name, timeout_s=300)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == ["10001 400004"] * 2


def test_an_interrupted_container_goes_on_from_its_checkpoints(jobs: Jobs) -> None:
    config: dict[str, Any] = {"S3Uri": f"s3://{jobs.bucket}/checkpoints"}
    name = jobs.training(
        """
def notice(*_):
    (ml / "checkpoints/notice").write_text("noticed")
    sys.exit(143)
signal.signal(signal.SIGTERM, notice)
found = sorted((p.name, p.read_text()) for p in (ml / "checkpoints").iterdir())
print("found", found)
(ml / "checkpoints/one").write_text("1" if not found else "2")
if not found:
    time.sleep(600)
""",
        EnableManagedSpotTraining=True,
        CheckpointConfig=config,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        ResourceConfig=instances(1),
        Tags=[{"Key": "sagestack:interrupt-after-seconds", "Value": "3"}],
    )
    job = jobs.trained(name, timeout_s=300)
    assert job["TrainingJobStatus"] == "Completed", (job, jobs.log(name))
    assert jobs.printed(name) == ["found []", "found [('notice', 'noticed'), ('one', '1')]"]
    assert jobs.get(f"{config['S3Uri']}/one") == b"2"
