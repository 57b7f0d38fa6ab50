"""What the XGBoost image does on several hosts, from pipes and on spot capacity, proven by boto3 against the local cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sagestack.build_context import build_context
from sagestack.settings import load_model

from tests.job_programs import Jobs, allow, channel, instances
from tests.local_cloud_fixtures import LocalCloud

pytestmark = pytest.mark.timeout(600)
TAG = "sagestack:interrupt-after-seconds"


class XgboostJobs(Jobs):
    """Jobs of the housing model's image, and the rows that they learn from."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        super().__init__(cloud, "xgboost-jobs")
        self.image = self.build_context_of(build_context(load_model("housing"), folder), "xgboost.zip")
        self.role = self.role_with("deleting", [*self.everything(), allow("s3:DeleteObject", f"{self.bucket}/*")])
        generator = np.random.default_rng(7)
        self.features = generator.normal(size=(800, 5)).round(4)
        self.labels = (self.features[:, 0] + self.features[:, 1] ** 2).round(4)
        rows = [",".join(map(str, (label, *row))) for label, row in zip(self.labels, self.features, strict=True)]
        for number in range(4):
            self.put(f"train/part-{number}.csv", ("\n".join(rows[number::4]) + "\n").encode())

    def channel(self, **members: Any) -> dict[str, Any]:
        return channel("train", f"s3://{self.bucket}/train/", ContentType="text/csv", **members)

    def train(self, **members: Any) -> str:
        hyperparameters = {"objective": "reg:squarederror", "num_round": "20", "nthread": "1"}
        return self.training(
            "",
            **{
                "HyperParameters": hyperparameters | members.pop("hyperparameters", {}),
                "InputDataConfig": [self.channel()],
                "EnableNetworkIsolation": True,
                **members,
            },
        )

    def finished(self, name: str) -> dict[str, bytes]:
        job = self.trained(name, timeout_s=120)
        assert job["TrainingJobStatus"] == "Completed", (job.get("FailureReason"), self.log(name)[-20:])
        return self.model(name)

    def error(self, model: bytes) -> float:
        """The root mean squared error of a model on all rows."""
        predicted = xgboost.Booster(model_file=bytearray(model)).inplace_predict(self.features)
        return float(np.sqrt(np.mean((predicted - self.labels) ** 2)))


@pytest.fixture(scope="module")
def jobs(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> XgboostJobs:
    return XgboostJobs(cloud, tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="module")
def alone(jobs: XgboostJobs) -> dict[str, bytes]:
    """The model of one host that downloads its rows, and is left in peace."""
    return jobs.finished(jobs.train())


@pytest.mark.long
def test_two_hosts_with_sharded_rows_train_as_good_a_model_as_one(jobs: XgboostJobs, alone: dict[str, bytes]) -> None:
    sharded = jobs.channel()
    sharded["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    name = jobs.train(InputDataConfig=[sharded], ResourceConfig=instances(2))
    together = jobs.finished(name)
    assert json.loads(together["model-info.json"])["data"]["train"]["rows"] == 800
    for host in ("algo-1", "algo-2"):
        assert any("2 hosts have met" in line for line in jobs.printed(name, host=host))
    assert jobs.error(together["xgboost-model"]) < 1.1 * jobs.error(alone["xgboost-model"])


def test_a_host_with_bad_rows_fails_the_job_with_its_place(jobs: XgboostJobs) -> None:
    jobs.put("bad/1.csv", b"1,2\n3,4\n5,6\n7,8\n")
    jobs.put("bad/2.csv", b"1,2\n3,word\n")
    bad = channel("train", f"s3://{jobs.bucket}/bad/", ContentType="text/csv")
    bad["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    job = jobs.trained(jobs.train(InputDataConfig=[bad], ResourceConfig=instances(2)), timeout_s=120)
    assert job["TrainingJobStatus"] == "Failed"
    assert "2.csv" in job["FailureReason"]
    assert "row 2, column 2" in job["FailureReason"]


def test_streamed_rows_make_the_same_model_as_downloaded_ones(jobs: XgboostJobs, alone: dict[str, bytes]) -> None:
    name = jobs.train(InputDataConfig=[jobs.channel(InputMode="Pipe")])
    assert jobs.finished(name)["xgboost-model"] == alone["xgboost-model"]


@pytest.mark.long
def test_an_interrupted_spot_job_ends_with_the_model_of_an_uninterrupted_one(jobs: XgboostJobs) -> None:
    def start(word: str, **members: Any) -> str:
        return jobs.train(
            hyperparameters={"num_round": "2500", "checkpoint_rounds": "50", "max_depth": "3"},
            EnableManagedSpotTraining=True,
            CheckpointConfig={"S3Uri": f"s3://{jobs.bucket}/checkpoints/{jobs.name(word)}"},
            StoppingCondition={"MaxRuntimeInSeconds": 200, "MaxWaitTimeInSeconds": 400},
            **members,
        )

    whole = jobs.finished(start("whole"))
    name = start("cut")
    checkpoints = "checkpoints/" + jobs.trained(name, "Training")["CheckpointConfig"]["S3Uri"].rpartition("/")[2]
    jobs.wait_for_line(name, "[200]")
    arn = jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": TAG, "Value": "0"}])
    interrupted = jobs.finished(name)
    job = jobs.sagemaker.describe_training_job(TrainingJobName=name)
    assert [item["Status"] for item in job["SecondaryStatusTransitions"]].count("Interrupted") == 1
    assert interrupted["xgboost-model"] == whole["xgboost-model"]
    (resumed,) = [line for line in jobs.printed(name) if line.startswith("Going on after round ")]
    assert int(resumed.split()[4]) >= 200
    assert jobs.keys(f"{checkpoints}/")
