"""Checkpoints and spot capacity of the local cloud's training jobs, through boto3, with programs that are really cut off."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.jobs.checkpoint_sync import CheckpointSync
from local_cloud.sagemaker.jobs.job_data import DataError, Location, S3Object
from tests.job_programs import LOGS, Jobs, allow, instances, refused
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

pytestmark = pytest.mark.long

TAG = "sagestack:interrupt-after-seconds"
SAVE = """
checkpoints = ml / "checkpoints"
def save(name, text):
    partial = checkpoints / f".{name}.partial"
    partial.write_text(text)
    partial.replace(checkpoints / name)
"""
# Counts to `goal`, a tenth of a second each, and goes on from the last number.
COUNT = f"""{SAVE}
goal = 20
found = sorted(int(p.name) for p in checkpoints.iterdir() if p.name.isdigit())
done = found[-1] if found else 0
print("began at", done)
while done < goal:
    time.sleep(0.1)
    done += 1
    save(f"{{done:04}}", "x" * done)
    if done > 2:
        (checkpoints / f"{{done - 2:04}}").unlink(missing_ok=True)
(ml / "model/count").write_text(str(done))
"""


@pytest.fixture(scope="module")
def jobs(cloud: LocalCloud) -> Jobs:
    made = Jobs(cloud, "spot-jobs")
    made.role = made.role_with("deleting", [*made.everything(), allow("s3:DeleteObject", f"{made.bucket}/*")])
    return made


def kept(jobs: Jobs, word: str) -> dict[str, Any]:
    """CheckpointConfig of a place that no other test has."""
    return {"S3Uri": f"s3://{jobs.bucket}/checkpoints/{jobs.name(word)}"}


def spot(config: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": config,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        **members,
    }


def names(jobs: Jobs, config: dict[str, Any]) -> list[str]:
    return jobs.keys(f"{config['S3Uri'].removeprefix(f's3://{jobs.bucket}/').rstrip('/')}/")


def statuses(job: dict[str, Any]) -> list[str]:
    found = [item["Status"] for item in job["SecondaryStatusTransitions"]]
    return [status for status, after in zip(found, [*found[1:], ""], strict=True) if status != after]


# --- Checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoints_are_kept_while_the_job_runs_and_brought_to_the_next(jobs: Jobs) -> None:
    config = kept(jobs, "kept")
    first = jobs.training(
        f"""{SAVE}
print(list(checkpoints.iterdir()), json.loads((ml / "input/config/checkpointconfig.json").read_text())["LocalPath"])
(checkpoints / "deep").mkdir()
save("deep/one", "1")
save("two", "2")
print("saved")
time.sleep(600)
""".replace('f".{name}.partial"', 'f"{name}.partial"'),
        CheckpointConfig=config,
    )
    wait_for(lambda: names(jobs, config) == ["deep/one", "two"])
    assert jobs.printed(first)[0] == "[] /opt/ml/checkpoints"
    jobs.sagemaker.stop_training_job(TrainingJobName=first)
    jobs.trained(first)
    # A prefix is a folder: what only begins alike is somebody else's.
    jobs.put(f"{config['S3Uri'].removeprefix(f's3://{jobs.bucket}/')}-other/three", b"3")
    second = jobs.training(
        "print(sorted(p.relative_to(ml).as_posix() for p in (ml / 'checkpoints').rglob('*') if p.is_file()))",
        CheckpointConfig=config,
    )
    assert jobs.trained(second)["CheckpointConfig"] == config
    assert jobs.printed(second) == ["['checkpoints/deep/one', 'checkpoints/two']"]


def test_a_checkpoint_that_is_written_over_or_deleted_is_so_in_s3(jobs: Jobs) -> None:
    config = kept(jobs, "changing")
    name = jobs.training(
        f"""{SAVE}
save("state", "one")
save("old", "o")
while not (ml / "checkpoints/old").stat().st_size or time.sleep(1.5):
    pass
save("state", "second")
(checkpoints / "old").unlink()
print("changed")
time.sleep(600)
""",
        CheckpointConfig=config,
    )
    wait_for(lambda: names(jobs, config) == ["old", "state"])
    wait_for(lambda: names(jobs, config) == ["state"])
    assert jobs.get(f"{config['S3Uri']}/state") == b"second"
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    jobs.trained(name)


def test_another_local_path_and_what_is_outside_of_opt_ml(jobs: Jobs) -> None:
    config = {**kept(jobs, "elsewhere"), "LocalPath": "/opt/ml/state/mine/"}
    name = jobs.training("(ml / 'state/mine/a').write_text('a')", CheckpointConfig=config)
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert names(jobs, config) == ["a"]
    for path in ("/tmp/checkpoints", "/opt/ml", "/opt/ml/../x"):
        with refused("UnsupportedOperation", "checkpoints outside /opt/ml", path):
            jobs.training("pass", CheckpointConfig={**config, "LocalPath": path})


def test_hosts_share_one_place(jobs: Jobs) -> None:
    config = kept(jobs, "shared")
    code = """
me = json.loads((ml / 'input/config/resourceconfig.json').read_text())['current_host']
print(sorted(p.name for p in (ml / 'checkpoints').iterdir()))
(ml / 'checkpoints' / me).write_text(me)
"""
    jobs.trained(jobs.training(code, CheckpointConfig=config, ResourceConfig=instances(2)))
    assert names(jobs, config) == ["algo-1", "algo-2"]
    again = jobs.training(code, CheckpointConfig=config, ResourceConfig=instances(2))
    jobs.trained(again)
    assert jobs.printed(again) == jobs.printed(again, host="algo-2") == ["['algo-1', 'algo-2']"]


def test_a_role_that_may_not_keep_checkpoints_fails_the_job_and_one_that_may_not_delete_them_does_not(
    jobs: Jobs,
) -> None:
    config = kept(jobs, "grants")
    write = [LOGS, allow("s3:ListBucket", jobs.bucket), allow("s3:GetObject", f"{jobs.bucket}/*")]
    reader = jobs.role_with("reader", [*write, allow("s3:PutObject", f"{jobs.bucket}/output/*")])
    denied = jobs.trained(
        jobs.training(f"{SAVE}\nsave('a', 'a')\ntime.sleep(600)", CheckpointConfig=config, RoleArn=reader)
    )
    assert denied["FailureReason"].startswith("ClientError: Failed to upload checkpoints. User: ")
    assert "s3:PutObject on resource" in denied["FailureReason"]
    at_the_end = jobs.trained(jobs.training(f"{SAVE}\nsave('a', 'a')", CheckpointConfig=config, RoleArn=reader))
    assert "Failed to upload checkpoints" in at_the_end["FailureReason"]
    writer = jobs.role_with("writer", [*write, allow("s3:PutObject", f"{jobs.bucket}/*")])
    name = jobs.training(
        f"{SAVE}\nsave('a', 'a')\ntime.sleep(1.5)\n(checkpoints / 'a').unlink()",
        CheckpointConfig=config,
        RoleArn=writer,
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert names(jobs, config) == ["a"]
    assert any("stay in S3" in line and "s3:DeleteObject" in line for line in jobs.log(name))


class Bucket:
    """S3 in memory, which can change a file while it is uploaded."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.during: Any = lambda: None

    def upload_stream(self, content: Any, location: Location) -> None:
        head = content.read(1)
        self.during()
        self.objects[location.key] = head + content.read()

    def delete_object(self, location: Location) -> None:
        del self.objects[location.key]

    def objects_below(self, uri: str) -> list[S3Object]:
        return []

    def download_objects(self, objects: Any, folder: Path) -> None: ...


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def sync(bucket: Bucket, tmp_path: Path) -> CheckpointSync:
    data: Any = bucket
    (tmp_path / "checkpoints").mkdir()
    return CheckpointSync(data, tmp_path / "checkpoints", "s3://b/p", lambda line: None, lambda reason: None)


def test_what_is_being_written_is_left_for_the_next_look(
    bucket: Bucket, sync: CheckpointSync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints/a"
    path.write_text("half")
    monkeypatch.setattr(time, "sleep", lambda _: path.write_text("whole"))
    assert not sync._look(1)
    assert bucket.objects == {}
    assert sync._look(0)
    assert bucket.objects == {"p/a": b"whole"}


def test_a_checkpoint_that_lives_for_a_moment_is_kept_until_there_is_another(
    bucket: Bucket, sync: CheckpointSync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "1").write_text("1")

    def rotate(_: float) -> None:
        (folder / "2").write_text("2")
        (folder / "1").unlink()

    monkeypatch.setattr(time, "sleep", rotate)
    sync._look(1)
    assert bucket.objects == {"p/1": b"1"}
    monkeypatch.undo()
    sync._look(0)
    assert bucket.objects == {"p/2": b"2"}


def test_a_file_that_changes_during_its_upload_is_uploaded_again(
    bucket: Bucket, sync: CheckpointSync, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoints/a"
    path.write_text("before")

    def replace() -> None:
        bucket.during = lambda: None
        (tmp_path / "new").write_text("other")
        (tmp_path / "new").replace(path)

    bucket.during = replace
    sync._look(0)
    assert bucket.objects == {"p/a": b"before"}, "whole, and not half of each"
    sync._look(0)
    assert bucket.objects == {"p/a": b"other"}


def test_nothing_is_deleted_before_what_replaces_it_is_kept(
    bucket: Bucket, sync: CheckpointSync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "1").write_text("1")
    sync._look(0)
    (folder / "1").unlink()
    (folder / "2").write_text("2")
    monkeypatch.setattr(time, "sleep", lambda _: (folder / "2").write_text("second"))
    sync._look(1)
    assert bucket.objects == {"p/1": b"1"}
    sync._look(0)
    assert bucket.objects == {"p/2": b"second"}


def test_a_folder_of_checkpoints_that_goes_while_it_is_looked_at_is_no_failure(
    bucket: Bucket, sync: CheckpointSync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1", "2"):
        (tmp_path / "checkpoints" / name).mkdir()
        (tmp_path / "checkpoints" / name / "weights").write_text(name)
    look = os.scandir

    def rotating(folder: Any) -> Any:
        if str(folder).endswith("/1"):
            shutil.rmtree(folder, ignore_errors=True)
        return look(folder)

    monkeypatch.setattr(os, "scandir", rotating)
    sync._look(0)
    assert bucket.objects == {"p/2/weights": b"2"}


def test_what_is_closed_to_other_users_waits_for_the_end(
    bucket: Bucket, sync: CheckpointSync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints/a"
    path.write_text("a")

    def closed(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    # Not by its mode: who runs the tests may be root.
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", closed)
        sync._look(0)
    assert bucket.objects == {}
    sync.finish()
    assert bucket.objects == {"p/a": b"a"}
    path.write_text("more")
    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(DataError, match="The checkpoint a cannot be read"):
        sync.finish()


def test_an_upload_that_fails_at_the_end_is_told(bucket: Bucket, sync: CheckpointSync, tmp_path: Path) -> None:
    (tmp_path / "checkpoints/a").write_text("a")
    bucket.during = lambda: (_ for _ in ()).throw(DataError("denied"))
    with pytest.raises(DataError, match="denied"):
        sync.finish()


# --- Spot capacity ---------------------------------------------------------------------------------------------------


def test_a_spot_job_without_an_interruption_is_an_ordinary_one(jobs: Jobs) -> None:
    name = jobs.training("(ml / 'model/m').write_text('m')", **spot(kept(jobs, "ordinary")))
    job = jobs.trained(name)
    assert job["EnableManagedSpotTraining"] is True
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1


def test_an_interrupted_job_goes_on_from_its_checkpoints(jobs: Jobs) -> None:
    config = kept(jobs, "interrupted")
    # The first attempt does not get farther by itself.
    held = COUNT.replace(
        "while done < goal:\n", "while done < goal:\n    if not found and done == 5:\n        time.sleep(600)\n"
    )
    name = jobs.training(held, **spot(config, Tags=[{"Key": "team", "Value": "a"}]))
    wait_for(lambda: "0005" in names(jobs, config))
    arn = jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": TAG, "Value": "0"}])
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert statuses(job) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert jobs.model(name) == {"count": b"20"}
    assert [line for line in jobs.printed(name) if line.startswith("began at")] == ["began at 0", "began at 5"]
    assert names(jobs, config) == ["0019", "0020"]
    assert job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]
    # Each tag is one interruption, and is gone with it.
    assert jobs.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "a"}]


def test_a_job_that_runs_is_interrupted_as_often_as_it_is_tagged(jobs: Jobs) -> None:
    name = jobs.training(
        f"{SAVE}\nnumber = len(list(checkpoints.iterdir()))\nsave(str(number), '')\nprint('attempt', number)\n"
        "time.sleep(600 if number < 2 else 0)",
        **spot(kept(jobs, "often")),
    )
    arn = jobs.trained(name, "Training")["TrainingJobArn"]
    for number in range(2):
        jobs.wait_for_line(name, f"attempt {number}")
        jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": TAG, "Value": "0"}])
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert statuses(job).count("Interrupted") == 2
    assert jobs.printed(name) == ["attempt 0", "attempt 1", "attempt 2"]


def test_the_notice_is_sigterm_and_nothing_but_checkpoints_survives(jobs: Jobs) -> None:
    config = kept(jobs, "notice")
    name = jobs.training(
        f"""{SAVE}
print(sorted(p.name for p in checkpoints.iterdir()), list((ml / "model").iterdir()))
def notice(*_):
    print("notice")
    save("last", "words")
    (ml / "model/half").write_text("half")
    sys.exit(0)
signal.signal(signal.SIGTERM, notice)
print("ready")
while not (checkpoints / "last").exists():
    time.sleep(600)
""",
        **spot(config, ResourceConfig=instances(2)),
    )
    for host in ("algo-1", "algo-2"):
        jobs.wait_for_line(name, "ready", host)
    arn = jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": TAG, "Value": "0"}])
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    for host in ("algo-1", "algo-2"):
        assert jobs.printed(name, host=host) == ["[] []", "ready", "notice", "['last'] []", "ready"]
    assert jobs.model(name) == {}


def test_nothing_interrupts_a_job_without_spot_capacity_or_by_a_tag_that_is_no_number(jobs: Jobs) -> None:
    ordinary = jobs.training("time.sleep(0.6)", Tags=[{"Key": TAG, "Value": "0"}])
    wrong = jobs.training("time.sleep(0.6)", **spot(kept(jobs, "wrong"), Tags=[{"Key": TAG, "Value": "soon"}]))
    for name, words in ((ordinary, "does not use spot capacity"), (wrong, "must be a number of seconds, got 'soon'")):
        job = jobs.trained(name)
        assert job["TrainingJobStatus"] == "Completed"
        assert "Interrupted" not in statuses(job)
        assert any(TAG in line and words in line for line in jobs.log(name))


def test_a_job_that_waits_too_long_is_stopped(jobs: Jobs) -> None:
    name = jobs.training(
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2.5), sys.exit(0)))\ntime.sleep(600)",
        **spot(
            kept(jobs, "late"),
            Tags=[{"Key": TAG, "Value": "0.5"}],
            StoppingCondition={"MaxRuntimeInSeconds": 2, "MaxWaitTimeInSeconds": 2},
        ),
    )
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert statuses(job)[-3:] == ["Downloading", "Stopping", "MaxWaitTimeExceeded"]
    # Nobody pays for the time without capacity.
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


def test_the_run_time_of_all_attempts_counts(jobs: Jobs) -> None:
    name = jobs.training(
        "time.sleep(600)",
        **spot(
            kept(jobs, "sum"),
            Tags=[{"Key": TAG, "Value": "1.5"}],
            StoppingCondition={"MaxRuntimeInSeconds": 2, "MaxWaitTimeInSeconds": 60},
        ),
    )
    began = time.monotonic()
    assert jobs.trained(name)["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert time.monotonic() - began < 50, "it would wait for capacity for 60"


def test_an_interrupted_job_can_be_stopped(jobs: Jobs) -> None:
    name = jobs.training(
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))\nprint('ready')\ntime.sleep(600)",
        **spot(kept(jobs, "stopped")),
    )
    jobs.wait_for_line(name, "ready")
    arn = jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": TAG, "Value": "0"}])
    jobs.trained(name, "Interrupted")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.trained(name)
    assert (job["TrainingJobStatus"], statuses(job)[-3:]) == ("Stopped", ["Interrupted", "Stopping", "Stopped"])


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"EnableManagedSpotTraining": True}, "must be present"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
            },
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}},
            "only supported when EnableManagedSpotTraining is set to true",
        ),
    ],
)
def test_how_long_a_spot_job_waits_must_be_said_and_only_of_a_spot_job(
    jobs: Jobs, members: dict[str, Any], words: str
) -> None:
    with refused("ValidationException", "Invalid MaxWaitTimeInSeconds", words):
        jobs.training("pass", **members)


def test_a_cloud_that_was_killed_says_so_and_the_next_job_goes_on(own_cloud: LocalCloud) -> None:
    jobs = Jobs(own_cloud)
    config = {"S3Uri": f"s3://{jobs.bucket}/checkpoints"}
    name = jobs.training(COUNT.replace("goal = 20", "goal = 10000"), **spot(config))
    wait_for(lambda: len(names(jobs, config)) > 1)
    # Objects are on the disk at once; the bucket itself within half a second.
    time.sleep(0.6)
    own_cloud.kill()
    own_cloud.start()
    assert jobs.trained(name)["FailureReason"].startswith("InternalServerError: The local cloud was stopped")
    again = jobs.training(COUNT.replace("goal = 20", "goal = 1"), **spot(config))
    assert jobs.trained(again)["TrainingJobStatus"] == "Completed"
    assert int(jobs.printed(again)[0].split()[-1]) >= 1
    assert json.dumps(names(jobs, config))
