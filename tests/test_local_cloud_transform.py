"""Batch transform in the local cloud, through boto3, with a server that really runs."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sagestack.build_context import build_context
from sagestack.settings import load_model

from tests.hosted_images import fits
from tests.job_programs import LOGS, allow, refused
from tests.local_cloud_fixtures import LocalCloud
from tests.transform_jobs import Batches
from tests.waiting import wait_for

INTERRUPTED = "InternalServerError: The local cloud was stopped while this job was running."


@pytest.fixture(scope="module")
def batches(cloud: LocalCloud) -> Batches:
    return Batches(cloud)


@pytest.fixture(scope="module")
def model(batches: Batches) -> str:
    return batches.serving()


def test_a_transform_job_writes_an_answer_for_each_line_of_each_object(batches: Batches, model: str) -> None:
    inputs = batches.put("lines/a.csv", b"1,2\n3,4\n").removesuffix("a.csv")
    batches.put("lines/more/b.csv", b"5,6")
    name = batches.start(model, inputs)
    job = batches.transformed(name)
    assert job["TransformJobStatus"] == "Completed", (job, batches.logged(name, data=True))
    assert batches.outputs(name) == {"a.csv.out": "3.0\n7.0\n", "more/b.csv.out": "11.0\n"}
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert job["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert "asked " + json.dumps(["text/csv", "text/csv", 8]) in batches.logged(name)
    assert batches.logged(name, data=True)[0].endswith(
        ":[sagemaker logs]: MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"
    )
    variables = batches.told(name)
    assert (variables["SAGEMAKER_BATCH"], variables["KEY"]) == ("true", "ASIA")
    assert not [variable for variable in variables if variable.startswith(("SAGEMAKER_MAX", "SAGEMAKER_BATCH_"))]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (
            ["ValidationException", 'Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/absent"'],
            {"ModelName": "absent"},
        ),
        (
            ["ValidationException", "transformResources.instanceType"],
            {"TransformResources": {"InstanceType": "x", "InstanceCount": 1}},
        ),
        (
            ["UnsupportedOperation", "more than 8 instances"],
            {"TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 9}},
        ),
        (["ValidationException", "MaxPayloadInMB cannot be greater than 100 MB, got 101"], {"MaxPayloadInMB": 101}),
        (["ValidationException", "cannot exceed 100 MB, got 17 * 6"], {"MaxConcurrentTransforms": 17}),
        (["UnsupportedOperation", "MaxPayloadInMB 0", "SplitType Line"], {"MaxPayloadInMB": 0}),
        (["UnsupportedOperation", "data capture"], {"DataCaptureConfig": {"DestinationS3Uri": "s3://b/capture"}}),
        (["UnsupportedOperation", "experiments"], {"ExperimentConfig": {"ExperimentName": "e"}}),
        (["ValidationException", "Invalid JsonPath: features"], {"DataProcessing": {"InputFilter": "features"}}),
        (["ValidationException", "$.id is not for text/csv"], {"DataProcessing": {"OutputFilter": "$.id"}}),
        (
            ["ValidationException", "SplitType Line and AssembleWith Line; got None and Line"],
            {"DataProcessing": {"JoinSource": "Input"}, "TransformInput": {"SplitType": "None"}},
        ),
        (
            ["ValidationException", "both text/csv or both JSON"],
            {"DataProcessing": {"JoinSource": "Input"}, "TransformOutput": {"Accept": "application/json"}},
        ),
        (
            [
                "ValidationException",
                "needs a ContentType of text/csv, application/json, application/jsonlines; got image/png",
            ],
            {"DataProcessing": {"JoinSource": "Input"}, "TransformInput": {"ContentType": "image/png"}},
        ),
        (
            ["ValidationException", "AugmentedManifestFile is not for transform jobs"],
            {"data_type": "AugmentedManifestFile"},
        ),
        (["UnsupportedOperation", "the S3DataType Converse"], {"data_type": "Converse"}),
        (["UnsupportedOperation", "an https address"], {"TransformOutput": {"S3OutputPath": "https://b/out"}}),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_what_does_not_fit_together_and_what_is_not_here_is_refused_by_name(
    batches: Batches, model: str, words: list[str], changes: dict[str, Any]
) -> None:
    data_type = changes.get("data_type", "S3Prefix")
    rest = {member: value for member, value in changes.items() if member != "data_type"}
    request = batches.request(model, "s3://b/in", **rest)
    request["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] = data_type
    with refused(*words):
        batches.sagemaker.create_transform_job(**request)


def test_who_may_start_jobs_of_one_name_may_start_no_others(batches: Batches) -> None:
    iam = batches.cloud.client("iam")
    iam.create_user(UserName="transformer")
    allowed = {"Effect": "Allow", "Action": "sagemaker:CreateTransformJob", "Resource": "*:transform-job/mine-*"}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_user_policy(UserName="transformer", PolicyName="policy", PolicyDocument=json.dumps(policy))
    keys = iam.create_access_key(UserName="transformer")["AccessKey"]
    sagemaker = batches.cloud.client("sagemaker", keys["AccessKeyId"], keys["SecretAccessKey"])
    request = batches.request("absent", "s3://b/in")
    with refused("AccessDeniedException", "sagemaker:CreateTransformJob", request["TransformJobName"]):
        sagemaker.create_transform_job(**request)
    with refused("ValidationException", "Could not find model"):
        sagemaker.create_transform_job(**{**request, "TransformJobName": "mine-1"})


# --- Whole stories ---------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_rows_are_sent_without_their_number_and_come_back_with_it(batches: Batches, model: str) -> None:
    inputs = batches.put("joined/rows.csv", b"a,1,2\nb,3,4\nc,5,6\n")
    name = batches.start(
        model,
        inputs,
        BatchStrategy="SingleRecord",
        MaxConcurrentTransforms=2,
        MaxPayloadInMB=1,
        Environment={"MINE": "yes"},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    assert batches.transformed(name)["TransformJobStatus"] == "Completed", batches.logged(name, data=True)
    assert batches.outputs(name) == {"rows.csv.out": "a,3.0\nb,7.0\nc,11.0\n"}
    variables = batches.told(name)
    assert variables["MINE"] == "yes"
    assert variables["SAGEMAKER_BATCH_STRATEGY"] == "SINGLE_RECORD"
    assert (variables["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"], variables["SAGEMAKER_MAX_PAYLOAD_IN_MB"]) == ("2", "1")


@pytest.mark.long
def test_objects_are_spread_over_instances_and_a_manifest_names_them(batches: Batches, model: str) -> None:
    for number in range(3):
        batches.put(f"spread/{number}.csv", f"{number},1\n".encode())
    manifest = json.dumps([{"prefix": f"s3://{batches.bucket}/spread/"}, "0.csv", "1.csv", "2.csv"])
    where = {"S3DataType": "ManifestFile", "S3Uri": batches.put("manifest.json", manifest.encode())}
    name = batches.start(
        model,
        "unused",
        TransformInput={"DataSource": {"S3DataSource": where}},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 2},
    )
    assert batches.transformed(name)["TransformJobStatus"] == "Completed", batches.logged(name, data=True)
    assert batches.outputs(name) == {f"{number}.csv.out": f"{number + 1}.0\n" for number in range(3)}
    assert len([line for line in batches.logged(name) if line.startswith("told ")]) == 2
    assert len(batches.logged(name, data=True)) == 2


@pytest.mark.long
def test_the_container_says_how_much_it_wants(batches: Batches) -> None:
    asks = {"MaxConcurrentTransforms": 3, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}
    name = batches.start(batches.serving(asks=asks), batches.put("asks/a.csv", b"1,1\n2,2\n"))
    batches.transformed(name)
    assert len([line for line in batches.logged(name) if line.startswith("asked ")]) == 2
    assert "MaxConcurrentTransforms=3, MaxPayloadInMB=2" in batches.logged(name, data=True)[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (400, "ClientError: See job logs for more information", "ClientError: 400"),
        (500, "AlgorithmError: See job logs for more information", "Bad HTTP status received from algorithm: 500"),
    ],
)
def test_a_refused_object_fails_its_job_and_leaves_the_outputs_of_the_others(
    batches: Batches, status: int, reason: str, said: str
) -> None:
    batches.put(f"refused-{status}/a.csv", b"1,2\nbad\n")
    batches.put(f"refused-{status}/b.csv", b"3,4\n")
    inputs = f"s3://{batches.bucket}/refused-{status}/"
    name = batches.start(batches.serving(refuses=status), inputs, ModelClientConfig={"InvocationsMaxRetries": 0})
    job = batches.transformed(name)
    assert (job["TransformJobStatus"], job["FailureReason"]) == ("Failed", reason)
    assert batches.outputs(name) == {"b.csv.out": "7.0\n"}
    lines = batches.logged(name, data=True)
    assert any(line.endswith(f"batches/refused-{status}/a.csv: {said}") for line in lines), lines
    assert any(line.endswith("could not convert string to float: 'bad'") for line in lines), lines


@pytest.mark.long
@pytest.mark.parametrize(
    ("behaviour", "row", "words"),
    [
        ({}, b"die\n", "AlgorithmError: The container on algo-1 ended with exit code 7"),
        ({"crash": True}, b"1\n", "AlgorithmError: The container on algo-1 ended with exit code 1"),
    ],
    ids=["while it answers", "at its start"],
)
def test_a_container_that_ends_fails_its_job(
    batches: Batches, behaviour: dict[str, Any], row: bytes, words: str
) -> None:
    name = batches.start(batches.serving(**behaviour), batches.put("dies/a.csv", row))
    job = batches.transformed(name)
    assert job["TransformJobStatus"] == "Failed"
    assert words in job["FailureReason"]
    assert batches.outputs(name) == {}


@pytest.mark.long
@pytest.mark.parametrize(
    ("missing", "action", "resource"),
    [
        ("Input", "s3:GetObject", "batches/denied/a.csv"),
        ("ListBucket", "s3:ListBucket", "batches"),
        ("PutObject", "s3:PutObject", "batches/"),
    ],
)
def test_what_the_models_role_may_not_do_is_named(batches: Batches, missing: str, action: str, resource: str) -> None:
    data = batches.put("denied/a.csv", b"1,2\n")
    role = batches.role_with(
        f"without-{missing}",
        [
            LOGS,
            *([] if missing == "ListBucket" else [allow("s3:ListBucket", batches.bucket)]),
            *([] if missing == "PutObject" else [allow("s3:PutObject", f"{batches.bucket}/*")]),
            allow("s3:GetObject", *([f"{batches.bucket}/serving.zip", f"{batches.bucket}/model-*"])),
            *([] if missing == "Input" else [allow("s3:GetObject", f"{batches.bucket}/denied/*")]),
        ],
    )
    job = batches.transformed(batches.start(batches.serving(role=role), data))
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Failed to ")
    assert (
        f"assumed-role/batches-without-{missing}/SageMaker is not authorized to perform: {action}"
        in job["FailureReason"]
    )
    assert f"on resource: arn:aws:s3:::{resource}" in job["FailureReason"]


@pytest.mark.long
def test_a_stopped_job_writes_nothing(batches: Batches) -> None:
    batches.put("stopped/a.csv", b"1,2\n3,4\n")
    batches.put("stopped/b.csv", b"1,2\n" * 4000)
    name = batches.start(batches.serving(sleep_s=0.05), f"s3://{batches.bucket}/stopped/", BatchStrategy="SingleRecord")
    # The first object is answered by then, and the second for minutes not.
    wait_for(lambda: len([line for line in batches.logged(name) if line.startswith("asked ")]) > 2)
    batches.sagemaker.stop_transform_job(TransformJobName=name)
    stopping = batches.sagemaker.describe_transform_job(TransformJobName=name)["TransformJobStatus"]
    assert stopping in ("Stopping", "Stopped")
    job = batches.transformed(name)
    assert job["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in job
    assert batches.outputs(name) == {}
    with refused("ValidationException", "is in status Stopped"):
        batches.sagemaker.stop_transform_job(TransformJobName=name)


@pytest.mark.long
def test_a_name_is_used_once_and_jobs_are_listed_with_their_tags(batches: Batches, model: str) -> None:
    request = batches.request(model, batches.put("listed/a.csv", b"1,2\n"), Tags=[{"Key": "team", "Value": "a"}])
    job_arn = batches.sagemaker.create_transform_job(**request)["TransformJobArn"]
    with refused("ResourceInUse", "Transform job names must be unique"):
        batches.sagemaker.create_transform_job(**request)
    batches.transformed(request["TransformJobName"])
    listed = batches.sagemaker.list_transform_jobs(NameContains=request["TransformJobName"], StatusEquals="Completed")
    fits("ListTransformJobs", listed)
    assert [job["TransformJobArn"] for job in listed["TransformJobSummaries"]] == [job_arn]
    assert listed["TransformJobSummaries"][0]["TransformEndTime"]
    assert batches.sagemaker.list_tags(ResourceArn=job_arn)["Tags"] == [{"Key": "team", "Value": "a"}]


@pytest.mark.long
def test_outputs_are_encrypted_with_the_key_that_the_request_names(batches: Batches) -> None:
    key = batches.cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    grant = {"Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key}
    role = batches.role_with("kms", [*batches.everything(), grant])
    data = batches.put("kms/a.csv", b"1,2\n")
    name = batches.start(batches.serving(role=role), data, TransformOutput={"KmsKeyId": key})
    assert batches.transformed(name)["TransformJobStatus"] == "Completed"
    head = batches.s3.head_object(Bucket=batches.bucket, Key=f"{name}/a.csv.out")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


@pytest.mark.long
def test_a_model_that_is_deleted_meanwhile_stays_with_its_job(batches: Batches) -> None:
    model = batches.serving()
    name = batches.start(model, batches.put("deleted/a.csv", b"1,2\n"))
    batches.sagemaker.delete_model(ModelName=model)
    assert batches.transformed(name)["TransformJobStatus"] == "Completed"


@pytest.mark.long
def test_an_isolated_model_has_no_credentials(batches: Batches) -> None:
    name = batches.start(batches.serving(isolated=True), batches.put("isolated/a.csv", b"1,2\n"))
    assert batches.transformed(name)["TransformJobStatus"] == "Completed"
    assert batches.told(name)["KEY"] == ""


@pytest.mark.long
def test_a_model_of_several_containers_is_refused(batches: Batches) -> None:
    labelled = batches.build_context(
        "labelled.zip",
        'FROM python:3.11\nLABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true\nENTRYPOINT ["true"]\n',
    )
    batches.sagemaker.create_model(
        ModelName="several", Containers=[{"Image": labelled}, {"Image": labelled}], ExecutionRoleArn=batches.role
    )
    with refused("UnsupportedOperation", "models of several containers (several has 2)"):
        batches.start("several", "s3://b/in")


@pytest.mark.long
def test_each_status_is_an_event(batches: Batches, model: str) -> None:
    sqs, events = batches.cloud.client("sqs"), batches.cloud.client("events")
    queue = sqs.create_queue(QueueName="transform-events")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"detail-type": ["SageMaker Transform Job State Change"]}
    events.put_rule(Name="transform-events", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="transform-events", Targets=[{"Id": "queue", "Arn": queue_arn}])
    job = batches.transformed(batches.start(model, batches.put("events/a.csv", b"1,2\n")))
    received: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while not any(event["detail"]["TransformJobStatus"] == "Completed" for event in received):
        assert time.monotonic() < deadline, received
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            received.append(json.loads(message["Body"]))
    events.remove_targets(Rule="transform-events", Ids=["queue"])
    events.delete_rule(Name="transform-events")
    assert received[0]["detail"]["TransformJobStatus"] == "InProgress"
    assert {event["resources"][0] for event in received} == {job["TransformJobArn"]}
    assert all("Model" not in event["detail"] for event in received)


@pytest.mark.long
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_job_that_ran_when_the_cloud_ended_says_so(own_cloud: LocalCloud, end: str) -> None:
    batches = Batches(own_cloud)
    data = batches.put("ended/a.csv", b"1,2\n" * 400)
    name = batches.start(batches.serving(sleep_s=0.2), data, BatchStrategy="SingleRecord")
    wait_for(lambda: "TransformStartTime" in batches.sagemaker.describe_transform_job(TransformJobName=name))
    getattr(own_cloud, end)()
    own_cloud.start()
    job = batches.transformed(name)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(INTERRUPTED)
    assert batches.outputs(name) == {}


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_the_xgboost_image_predicts_each_line_as_its_model_does(
    batches: Batches, tmp_path: Path, strategy: str
) -> None:
    generator = np.random.default_rng(7)
    features = generator.normal(size=(40, 5)).round(4)
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(features, features[:, 0] * 2), 10)
    booster.save_model(tmp_path / "xgboost-model.ubj")
    (tmp_path / "xgboost-model.ubj").rename(tmp_path / "xgboost-model")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "xgboost-model", "xgboost-model")
    image = batches.build_context_of(build_context(load_model("housing"), tmp_path / "context"), "xgboost.zip")
    model = batches.name("xgboost")
    batches.sagemaker.create_model(
        ModelName=model,
        PrimaryContainer={
            "Image": image,
            "ModelDataUrl": batches.put(f"{model}/model.tar.gz", (tmp_path / "model.tar.gz").read_bytes()),
        },
        ExecutionRoleArn=batches.role,
    )
    rows = "".join(f"{number},{','.join(map(str, row))}\n" for number, row in enumerate(features))
    name = batches.start(
        model,
        batches.put(f"{model}/rows.csv", rows.encode()),
        BatchStrategy=strategy,
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    job = batches.transformed(name, timeout_s=240)
    assert job["TransformJobStatus"] == "Completed", (job, batches.logged(name)[-20:], batches.logged(name, data=True))
    answers = [line.split(",") for line in batches.outputs(name)["rows.csv.out"].splitlines()]
    assert [int(number) for number, _ in answers] == list(range(40))
    predicted = [float(value) for _, value in answers]
    assert predicted == pytest.approx(booster.predict(xgboost.DMatrix(features)).tolist(), rel=1e-5)
