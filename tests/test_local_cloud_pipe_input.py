"""Training jobs of the local cloud whose channels are streamed, through boto3, with programs that really read pipes."""

from __future__ import annotations

import gzip
import json
import os
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.jobs.job_data import Location, S3Object
from local_cloud.sagemaker.jobs.pipe_input import PipeFeeder
from tests.job_programs import LOGS, Jobs, allow, channel, instances, refused
from tests.local_cloud_fixtures import LocalCloud

READ = """
import hashlib
def path_of(channel, epoch):
    path = ml / f"input/data/{channel}_{epoch}"
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.005)
    return path
def read(channel, epoch=0):
    with open(path_of(channel, epoch), "rb") as pipe:
        return pipe.read()
"""


@pytest.fixture(scope="module")
def jobs(cloud: LocalCloud) -> Jobs:
    made = Jobs(cloud, "pipe-jobs")
    for key, body in (("b.csv", b"3,4\n"), ("a.csv", b"1,2\n"), ("c/d.csv", b"5,6\n"), ("c/", b"")):
        made.put(f"train/{key}", body)
    return made


def piped(name: str, uri: str, **members: Any) -> dict[str, Any]:
    return channel(name, uri, InputMode="Pipe", **members)


def test_objects_are_one_stream_in_the_order_of_their_keys_in_each_epoch(jobs: Jobs) -> None:
    name = jobs.training(
        f"""{READ}
print(json.dumps([read("train", epoch).decode() for epoch in range(3)]))
print(json.loads((ml / "input/config/inputdataconfig.json").read_text())["train"]["TrainingInputMode"])
print((ml / "input/data/train").exists())
""",
        InputDataConfig=[channel("train", f"s3://{jobs.bucket}/train/")],
        AlgorithmSpecification={"TrainingImage": jobs.image, "TrainingInputMode": "Pipe"},
    )
    job = jobs.trained(name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert json.loads(jobs.printed(name)[0]) == ["1,2\n3,4\n5,6\n"] * 3
    assert jobs.printed(name)[1:] == ["Pipe", "False"]


def test_an_epoch_that_is_closed_early_is_over(jobs: Jobs) -> None:
    big = os.urandom(3_000_000)
    uri = jobs.put("big/a.bin", big)
    name = jobs.training(
        f"""{READ}
with open(path_of("train", 0), "rb") as pipe:
    print(len(pipe.read(1000)))
whole = read("train", 1)
print(len(whole), hashlib.sha256(whole).hexdigest())
""",
        InputDataConfig=[piped("train", uri)],
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    import hashlib

    assert jobs.printed(name) == ["1000", f"{len(big)} {hashlib.sha256(big).hexdigest()}"]


def test_channels_of_all_modes_and_a_manifest_side_by_side(jobs: Jobs) -> None:
    manifest = jobs.put(
        "list.json", json.dumps([{"prefix": f"s3://{jobs.bucket}/train/"}, "c/d.csv", "a.csv"]).encode()
    )
    listed = piped("listed", manifest)
    listed["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    uri = f"s3://{jobs.bucket}/train/"
    name = jobs.training(
        f"""{READ}
print(read("listed"), read("train"), (ml / "input/data/file/a.csv").read_text().strip())
""",
        InputDataConfig=[piped("train", uri), listed, channel("file", uri, InputMode="File")],
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == [
        f"{b'5,6' + chr(10).encode() + b'1,2' + chr(10).encode()!r} "
        f"{b'1,2' + chr(10).encode() + b'3,4' + chr(10).encode() + b'5,6' + chr(10).encode()!r} 1,2"
    ]


def test_each_object_can_be_wrapped_as_a_recordio_record(jobs: Jobs) -> None:
    for key, body in (("1", b"abcde"), ("2", b""), ("3", b"12345678")):
        jobs.put(f"wrapped/{key}", body)
    name = jobs.training(
        f'{READ}\nprint(read("train").hex())',
        InputDataConfig=[piped("train", f"s3://{jobs.bucket}/wrapped/", RecordWrapperType="RecordIO")],
    )
    jobs.trained(name)
    magic = struct.pack("<I", 0xCED7230A)
    assert bytes.fromhex(jobs.printed(name)[0]) == (
        magic
        + struct.pack("<I", 5)
        + b"abcde\0\0\0"
        + magic
        + struct.pack("<I", 0)
        + magic
        + struct.pack("<I", 8)
        + b"12345678"
    )


@pytest.mark.parametrize("wrapper", ["None", "RecordIO"])
def test_gzipped_objects_are_unpacked_on_the_way(jobs: Jobs, wrapper: str) -> None:
    jobs.put("packed/a.csv.gz", gzip.compress(b"1,2\n"))
    # Two members, as from `cat one.gz other.gz`.
    jobs.put("packed/b.csv.gz", gzip.compress(b"3,4\n") + gzip.compress(b"5,6\n"))
    name = jobs.training(
        f'{READ}\nprint(read("train").hex())',
        InputDataConfig=[
            piped("train", f"s3://{jobs.bucket}/packed/", CompressionType="Gzip", RecordWrapperType=wrapper)
        ],
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    magic = struct.pack("<I", 0xCED7230A)
    framed = magic + struct.pack("<I", 4) + b"1,2\n" + magic + struct.pack("<I", 8) + b"3,4\n5,6\n"
    assert bytes.fromhex(jobs.printed(name)[0]) == (framed if wrapper == "RecordIO" else b"1,2\n3,4\n5,6\n")


def test_hosts_have_pipes_of_their_own_and_shards_of_the_objects(jobs: Jobs) -> None:
    part = piped("part", f"s3://{jobs.bucket}/train/")
    part["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    name = jobs.training(
        f'{READ}\nprint(read("part").decode().split(), len(read("train")))',
        InputDataConfig=[part, piped("train", f"s3://{jobs.bucket}/train/")],
        ResourceConfig=instances(2),
    )
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    assert jobs.printed(name) == ["['1,2', '5,6'] 12"]
    assert jobs.printed(name, host="algo-2") == ["['3,4'] 12"]


def test_a_pipe_that_is_never_opened_or_never_read_holds_nothing_up(jobs: Jobs) -> None:
    uri = jobs.put("big/a.bin", os.urandom(3_000_000))
    code = f'{READ}\nheld = open(path_of("opened", 0), "rb")\nprint(len(held.read(1)))\n'
    inputs = [piped("never", uri), piped("opened", uri)]
    began = time.monotonic()
    assert jobs.trained(jobs.training(code, InputDataConfig=inputs))["TrainingJobStatus"] == "Completed"
    stopped = jobs.training(f"{code}time.sleep(600)", InputDataConfig=inputs)
    jobs.wait_for_line(stopped, "1")
    jobs.sagemaker.stop_training_job(TrainingJobName=stopped)
    assert jobs.trained(stopped)["TrainingJobStatus"] == "Stopped"
    assert time.monotonic() - began < 120, "the second job would go on for 600"


def test_data_that_cannot_be_read_fails_the_job_however_far_it_is(jobs: Jobs) -> None:
    nothing = jobs.trained(jobs.training("pass", InputDataConfig=[piped("train", f"s3://{jobs.bucket}/nothing/")]))
    assert nothing["FailureReason"].startswith(
        "ClientError: Failed to download data of the channel train. No S3 objects found"
    )
    role = jobs.role_with(
        "half-blind",
        [
            LOGS,
            allow("s3:ListBucket", jobs.bucket),
            allow("s3:GetObject", *(f"{jobs.bucket}/{key}" for key in ("image.zip", "train/a.csv"))),
        ],
    )
    denied = jobs.trained(
        jobs.training(
            f'{READ}\nread("train")\ntime.sleep(600)',
            RoleArn=role,
            InputDataConfig=[piped("train", f"s3://{jobs.bucket}/train/")],
        )
    )
    assert denied["FailureReason"].startswith("ClientError: Failed to stream data of the channel train. User: ")
    assert f"s3:GetObject on resource: arn:aws:s3:::{jobs.bucket}/train/b.csv" in denied["FailureReason"]
    jobs.put("torn/a.gz", gzip.compress(os.urandom(10_000))[:5000])
    torn = jobs.trained(
        jobs.training(
            f'{READ}\nread("train")\ntime.sleep(600)',
            InputDataConfig=[piped("train", f"s3://{jobs.bucket}/torn/", CompressionType="Gzip")],
        )
    )
    assert f"s3://{jobs.bucket}/torn/a.gz is not whole gzip data" in torn["FailureReason"]


@pytest.mark.parametrize(
    ("code", "words", "members"),
    [
        (
            "ValidationException",
            ["compression type", "train", "File mode only supports NONE"],
            {"CompressionType": "Gzip"},
        ),
        ("ValidationException", ["record wrapper type", "train"], {"RecordWrapperType": "RecordIO"}),
        ("UnsupportedOperation", ["shuffled", "train"], {"InputMode": "Pipe", "ShuffleConfig": {"Seed": 1}}),
    ],
)
def test_what_a_mode_does_not_have_is_refused(jobs: Jobs, code: str, words: list[str], members: dict[str, Any]) -> None:
    with refused(code, *words):
        jobs.training("pass", InputDataConfig=[channel("train", f"s3://{jobs.bucket}/train/", **members)])


def test_a_channel_with_the_name_of_another_ones_pipe_is_refused(jobs: Jobs) -> None:
    uri = f"s3://{jobs.bucket}/train/"
    with refused("ValidationException", "train_0", "train"):
        jobs.training("pass", InputDataConfig=[piped("train", uri), channel("train_0", uri)])


class EndlessObject:
    """S3 with an object of any length, which counts how much of it was read."""

    def __init__(self, length: int) -> None:
        self.length, self.left = length, length

    def read_object(self, location: Location) -> tuple[Any, int]:
        self.left = self.length
        return self, self.length

    def __enter__(self) -> EndlessObject:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, count: int) -> bytes:
        count = min(count, self.left)
        self.left -= count
        return bytes(count)


def feeder(source: EndlessObject, folder: Path, errors: list[str], **members: str) -> PipeFeeder:
    data: Any = source
    settings = {"ChannelName": "train", "CompressionType": "None", "RecordWrapperType": "None", **members}
    made = PipeFeeder(data, [S3Object(Location("b", "k"), "k")], settings, folder, errors.append)
    made.start()
    return made


def test_memory_is_bounded_by_a_reader_who_waits(tmp_path: Path) -> None:
    errors: list[str] = []
    source = EndlessObject(1 << 40)
    fed = feeder(source, tmp_path, errors)
    with (tmp_path / "train_0").open("rb", buffering=0) as pipe:
        assert pipe.read(10) == bytes(10)
        time.sleep(0.3)
        assert source.length - source.left <= 2 * 1024 * 1024
        began = time.monotonic()
        fed.close()
        assert time.monotonic() - began < 60, "it ends although its reader is there and does not read"
    assert errors == []
    assert [thread.name for thread in threading.enumerate() if thread.name == "pipe-train"] == []


def test_the_next_epoch_is_there_as_soon_as_this_one_ends(tmp_path: Path) -> None:
    errors: list[str] = []
    fed = feeder(EndlessObject(100), tmp_path, errors)
    for epoch in range(50):
        with (tmp_path / f"train_{epoch}").open("rb") as pipe:
            assert pipe.read() == bytes(100)
        # No container looks twice.
        assert (tmp_path / f"train_{epoch + 1}").exists()
    fed.close()
    assert errors == []


def test_an_object_that_no_record_holds_is_an_error(tmp_path: Path) -> None:
    errors: list[str] = []
    fed = feeder(EndlessObject(1 << 29), tmp_path, errors, RecordWrapperType="RecordIO")
    with (tmp_path / "train_0").open("rb") as pipe:
        assert pipe.read() == b""
    fed.close()
    assert errors == [
        "ClientError: Failed to stream data of the channel train. s3://b/k has 536870912 bytes, and a RecordIO record "
        "536870911 at most"
    ]
