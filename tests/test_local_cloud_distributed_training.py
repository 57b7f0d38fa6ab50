"""Training jobs on several hosts in the local cloud, through boto3, with programs that really run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.containers.leftovers import start_time
from local_cloud.sagemaker.jobs.job_data import WHOLE, Location, S3Object, Shard
from local_cloud.sagemaker.jobs.training_output import merged
from tests.job_programs import Jobs, channel, instances, refused
from tests.local_cloud_fixtures import LocalCloud

pytestmark = pytest.mark.long

ME = "me = json.loads((ml / 'input/config/resourceconfig.json').read_text())['current_host']\n"
TO_PEERS = f"""{ME}
import socket
addresses, port = json.loads(os.environ["SAGEMAKER_HOST_ADDRESSES"]), int(os.environ["SAGEMAKER_HOSTS_PORT"])
"""


@pytest.fixture(scope="module")
def jobs(cloud: LocalCloud) -> Jobs:
    return Jobs(cloud, "distributed-jobs")


def sharded(name: str, uri: str) -> dict[str, Any]:
    made = channel(name, uri)
    made["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    return made


def test_each_host_knows_which_it_is_and_who_the_others_are(jobs: Jobs) -> None:
    name = jobs.training(
        """
print((ml / "input/config/resourceconfig.json").read_text())
print((ml / "input/config/hyperparameters.json").read_text())
print(json.dumps([os.environ.get(name) for name in ("TRAINING_JOB_NAME", "AWS_SESSION_TOKEN")]))
""",
        ResourceConfig=instances(3),
        hyperparameters={"depth": "5"},
    )
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["ResourceConfig"]["InstanceCount"] == 3
    tokens = set()
    for host in ("algo-1", "algo-2", "algo-3"):
        resources, hyperparameters, environment = map(json.loads, jobs.printed(name, host=host))
        assert resources == {
            "current_host": host,
            "current_instance_type": "ml.m5.large",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1", "algo-2", "algo-3"],
            "instance_groups": [
                {
                    "instance_group_name": "homogeneousCluster",
                    "instance_type": "ml.m5.large",
                    "hosts": ["algo-1", "algo-2", "algo-3"],
                }
            ],
            "network_interface_name": "lo",
        }
        assert hyperparameters["depth"] == "5"
        assert environment[0] == name
        tokens.add(environment[1])
    assert len(tokens) == 1, "they all have the credentials of the job's role"


def test_hosts_reach_each_other_and_two_jobs_never_meet(jobs: Jobs) -> None:
    code = f"""{TO_PEERS}
if me == "algo-1":
    listener = socket.create_server((addresses[me], port))
    listener.settimeout(60)
    print("came", listener.accept()[0].recv(100).decode())
else:
    while True:
        try:
            connection = socket.create_connection((addresses["algo-1"], port), 5)
            break
        except OSError:
            time.sleep(0.02)
    connection.sendall(os.environ["TRAINING_JOB_NAME"].encode())
"""
    names = [jobs.training(code, ResourceConfig=instances(2)) for _ in range(3)]
    for name in names:
        assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
        assert jobs.printed(name) == [f"came {name}"]


def test_a_channel_is_replicated_or_sharded_by_key(jobs: Jobs) -> None:
    for number in range(5):
        jobs.put(f"parts/{number}.csv", f"{number}".encode())
    uri = f"s3://{jobs.bucket}/parts/"
    name = jobs.training(
        """
found = lambda channel: sorted(p.read_text() for p in (ml / "input/data" / channel).iterdir())
print(json.dumps([found("whole"), found("part"), found("one")]))
print(json.loads((ml / "input/config/inputdataconfig.json").read_text())["part"]["S3DistributionType"])
""",
        InputDataConfig=[
            channel("whole", uri),
            sharded("part", uri),
            sharded("one", f"s3://{jobs.bucket}/parts/0.csv"),
        ],
        ResourceConfig=instances(2),
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    first, second = (jobs.printed(name, host=host) for host in ("algo-1", "algo-2"))
    everything = ["0", "1", "2", "3", "4"]
    assert json.loads(first[0]) == [everything, ["0", "2", "4"], ["0"]]
    # Fewer objects than hosts: one has an empty folder.
    assert json.loads(second[0]) == [everything, ["1", "3"], []]
    assert first[1] == second[1] == "ShardedByS3Key"


def test_shards_are_disjoint_complete_and_of_about_the_same_size() -> None:
    objects = [S3Object(Location("bucket", f"{number:02}"), f"{number:02}") for number in range(23)]
    for count in range(1, 9):
        shards = [Shard(first, count).of(objects) for first in range(count)]
        assert sorted(item for shard in shards for item in shard) == objects
        assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert WHOLE.of(objects) == objects


def test_what_all_hosts_leave_is_one_archive_and_the_last_one_stands(jobs: Jobs) -> None:
    name = jobs.training(
        f"""{ME}
(ml / "model/part").mkdir()
(ml / "model/part" / me).write_text(me)
(ml / "model/both").write_text(me)
(ml / "model/same").write_text("same")
(ml / "output/data/of-both").write_text("equal")
if me == "algo-2":
    (ml / "output/data/of-second").write_text("2")
""",
        ResourceConfig=instances(2),
    )
    job = jobs.trained(name)
    assert jobs.model(name) == {
        "both": b"algo-2",
        "part/algo-1": b"algo-1",
        "part/algo-2": b"algo-2",
        "same": b"same",
    }
    output = f"output/{name}/output/"
    assert sorted(jobs.keys(output)) == ["model.tar.gz", "output.tar.gz"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith(f"{output}model.tar.gz")
    notes = [line for line in jobs.log(name) if "both left" in line]
    assert notes == ["[local cloud] algo-1 and algo-2 both left model/both; the one of algo-2 is kept."]


def test_a_file_and_a_folder_of_one_name_do_not_both_get_into_the_archive(tmp_path: Any) -> None:
    for number, name in ((1, "a/deep"), (2, "a"), (3, "a/other")):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    notes: list[str] = []
    folders = [(f"algo-{number}", tmp_path / str(number)) for number in (1, 2, 3)]
    assert {name: path.is_file() for name, path in merged(folders[:2], notes.append).items()} == {"a": True}
    assert merged(folders, notes.append)["a/other"].read_text() == "3"
    assert len(notes) == 3


def test_a_host_that_fails_ends_the_others_and_says_why(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.training(
        f"""{ME}
ready = Path({str(tmp_path)!r})
if me == "algo-2":
    while len(list(ready.iterdir())) < 2:
        time.sleep(0.02)
    (ml / "output/failure").write_text("row 3 has no label")
    sys.exit(7)
def end(*_):
    print("told to end")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
(ready / me).touch()
time.sleep(600)
""",
        ResourceConfig=instances(3),
    )
    # Soon: by themselves the others would go on for 600 seconds.
    job = jobs.trained(name)
    assert (job["TrainingJobStatus"], job["FailureReason"]) == (
        "Failed",
        "AlgorithmError: row 3 has no label, exit code: 7",
    )
    assert jobs.printed(name) == ["told to end"]
    assert jobs.printed(name, host="algo-3") == ["told to end"]
    assert any("algo-2 ended with exit code 7, so the other hosts are stopped" in line for line in jobs.log(name))
    assert "ModelArtifacts" not in job


def test_the_first_exit_decides_whose_reason_it_is(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.training(
        f"""{ME}
ready = Path({str(tmp_path / "ready")!r})
if me == "algo-1":
    def lost(*_):
        (ml / "output/failure").write_text("lost a peer")
        sys.exit(1)
    # It is told once the other's end is known.
    signal.signal(signal.SIGTERM, lost)
    ready.touch()
    time.sleep(600)
while not ready.exists():
    time.sleep(0.02)
(ml / "output/failure").write_text("my own fault")
sys.exit(2)
""",
        ResourceConfig=instances(2),
    )
    assert jobs.trained(name)["FailureReason"] == "AlgorithmError: my own fault, exit code: 2"
    assert "[local cloud] algo-1 says: lost a peer" in jobs.log(name)


def test_of_a_host_that_was_killed_a_peer_tells(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.training(
        f"""{ME}
def lost(*_):
    (ml / "output/failure").write_text("host algo-2 was lost")
    sys.exit(1)
signal.signal(signal.SIGTERM, lost)
peer = Path({str(tmp_path / "pid")!r})
if me == "algo-2":
    peer.with_suffix(".partial").write_text(str(os.getpid()))
    peer.with_suffix(".partial").rename(peer)
    os.kill(os.getpid(), signal.SIGKILL)
while not peer.exists() or Path("/proc", peer.read_text()).exists():
    time.sleep(0.02)
time.sleep(0.5)
lost()
""",
        ResourceConfig=instances(2),
    )
    assert jobs.trained(name)["FailureReason"] == "AlgorithmError: host algo-2 was lost, exit code: 137"


def test_a_stop_reaches_every_host_and_keeps_what_each_saved(jobs: Jobs) -> None:
    name = jobs.training(
        f"""{ME}
def save(*_):
    (ml / "model" / me).write_text("half")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(600)
""",
        ResourceConfig=instances(2),
    )
    for host in ("algo-1", "algo-2"):
        jobs.wait_for_line(name, "ready", host)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.trained(name, "Stopped")
    assert [item["Status"] for item in job["SecondaryStatusTransitions"]][-3:] == ["Stopping", "Uploading", "Stopped"]
    assert jobs.model(name) == {"algo-1": b"half", "algo-2": b"half"}


def test_all_hosts_end_when_the_time_is_over(jobs: Jobs) -> None:
    name = jobs.training(
        f"{ME}\nif me == 'algo-1': sys.exit(0)\ntime.sleep(600)",
        ResourceConfig=instances(2),
        StoppingCondition={"MaxRuntimeInSeconds": 1},
    )
    assert jobs.trained(name)["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_metrics_are_read_from_the_log_of_every_host(jobs: Jobs) -> None:
    name = jobs.training(
        f"{ME}\nprint(f'{{me}} rmse=' + me[-1])",
        ResourceConfig=instances(2),
        AlgorithmSpecification={
            "TrainingImage": jobs.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": f"rmse-{number}", "Regex": f"algo-{number} rmse=([0-9.]+)"} for number in (1, 2)
            ],
        },
    )
    found = {metric["MetricName"]: metric["Value"] for metric in jobs.trained(name)["FinalMetricDataList"]}
    assert found == {"rmse-1": 1.0, "rmse-2": 2.0}


def test_no_host_outlives_a_cloud_that_is_killed(own_cloud: LocalCloud) -> None:
    jobs = Jobs(own_cloud)
    name = jobs.training("print('pid', os.getpid())\ntime.sleep(600)", ResourceConfig=instances(2))
    pids = [int(jobs.wait_for_line(name, "pid ", host).split()[1]) for host in ("algo-1", "algo-2")]
    own_cloud.kill()
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    own_cloud.start()
    job = jobs.trained(name)
    assert job["FailureReason"].startswith("InternalServerError: The local cloud was stopped")
    assert not list((own_cloud.state_dir / "jobs").glob(f"*/training-job/{name}/ml"))


def is_running(pid: int) -> bool:
    return start_time(pid) is not None


def test_a_job_without_instances_is_refused(jobs: Jobs) -> None:
    with refused("ValidationException", "InstanceCount must be at least 1"):
        jobs.training("pass", ResourceConfig=instances(0))


def test_a_shuffled_sharded_channel_is_refused_by_name(jobs: Jobs) -> None:
    shuffled = {**sharded("train", f"s3://{jobs.bucket}/parts/"), "ShuffleConfig": {"Seed": 1}}
    with refused("UnsupportedOperation", "shuffled channels", "train"):
        jobs.training("pass", InputDataConfig=[shuffled], ResourceConfig=instances(2))
    jobs.put("parts/0.csv", b"0")
    # On one host the order of the objects is seen nowhere.
    assert jobs.trained(jobs.training("pass", InputDataConfig=[shuffled]))["TrainingJobStatus"] == "Completed"


def test_a_job_on_eight_hosts_is_deleted_with_its_logs_left(jobs: Jobs) -> None:
    name = jobs.training("print('here')", ResourceConfig=instances(8))
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert all(jobs.printed(name, host=f"algo-{number}") == ["here"] for number in range(1, 9))
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
    with pytest.raises(ClientError):
        jobs.sagemaker.describe_training_job(TrainingJobName=name)
