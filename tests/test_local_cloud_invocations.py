"""InvokeEndpoint of the local cloud, through boto3: what reaches the server, what comes back, and what is measured."""

from __future__ import annotations

import collections
import datetime
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint_versions import asker
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

CONSOLE = (
    "See https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1"
    "#logEventViewer:group=/aws/sagemaker/Endpoints/{0} in account 000000000000 for more information."
)


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Hosting:
    return Hosting(cloud)


@pytest.fixture(scope="module")
def asked(hosting: Hosting) -> str:
    """An endpoint of one server."""
    return hosting.endpoint("asked")


@pytest.fixture(scope="module")
def weighted(hosting: Hosting) -> str:
    """An endpoint of two variants: three quarters and one quarter of the traffic."""
    weights = {"major": 3, "minor": 1}
    for name in weights:
        hosting.model(name)
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="weighted",
        ProductionVariants=[
            {
                "VariantName": name,
                "ModelName": name,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": weight,
            }
            for name, weight in weights.items()
        ],
    )
    return hosting.endpoint("weighted", "weighted")


def outcome(hosting: Hosting, endpoint: str, body: bytes | dict[str, Any] = b"{}") -> dict[str, Any] | None:
    """The error of an invocation, None if it has none."""
    try:
        hosting.ask(endpoint, body)
    except ClientError as error:
        return dict(error.response)
    return None


def error_of(hosting: Hosting, endpoint: str, body: bytes | dict[str, Any] = b"{}", **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        hosting.ask(endpoint, body, **arguments)
    return dict(caught.value.response)


def test_the_body_and_the_supported_headers_reach_the_server_unchanged(hosting: Hosting, asked: str) -> None:
    body = b"raw:" + bytes(range(256)) * 1000
    answer = hosting.runtime.invoke_endpoint(EndpointName=asked, Body=body, ContentType="application/octet-stream")
    assert answer["Body"].read() == body
    assert answer["ContentType"] == "text/plain"
    assert answer["InvokedProductionVariant"] == "asked"
    got = hosting.ask(
        asked,
        {"a": 1},
        ContentType="text/csv; header=absent",
        Accept="application/json",
        CustomAttributes="trace=1",
        InferenceId="id-1",
    )
    assert got["path"] == "/invocations"
    headers = got["headers"]
    assert headers["content-type"] == "text/csv; header=absent"
    assert headers["accept"] == "application/json"
    assert headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert headers["x-amzn-sagemaker-inference-id"] == "id-1"
    assert not {"authorization", "x-amz-date", "user-agent", "accept-encoding"} & set(headers)


def test_the_server_can_answer_with_custom_attributes(hosting: Hosting, asked: str) -> None:
    answer = hosting.runtime.invoke_endpoint(EndpointName=asked, Body=b"{}", CustomAttributes="a=1")
    assert answer["CustomAttributes"] == "answered"
    assert answer["ContentType"] == "application/json"


@pytest.mark.parametrize(("status", "kind"), [(400, "client"), (415, "client"), (500, "server"), (503, "server")])
def test_an_error_of_the_server_is_told_in_the_words_of_sagemaker(
    hosting: Hosting, asked: str, status: int, kind: str
) -> None:
    response = error_of(hosting, asked, {"fail": status, "message": "3 columns, 11 wanted"})
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["Error"]["Code"] == "ModelError"
    assert response["Error"]["Message"] == (
        f'Received {kind} error ({status}) from primary with message "3 columns, 11 wanted". {CONSOLE.format(asked)}'
    )
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == "3 columns, 11 wanted"
    assert f"log-group:/aws/sagemaker/Endpoints/{asked}:log-stream:asked/i-0" in response["LogStreamArn"]


def test_a_server_that_dies_over_a_request_fails_this_one_alone(hosting: Hosting) -> None:
    endpoint = hosting.endpoint("dies")
    response = error_of(hosting, endpoint, {"die": True})
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 502
    assert "closed the connection" in response["OriginalMessage"]
    # One server only: until it is back nobody answers, with an error that SDKs take as a reason to try again.
    deadline = time.monotonic() + 60
    while (error := outcome(hosting, endpoint)) is not None:
        # A process that ends may hang up before it closes its door: whoever knocks in between is hung up on, too.
        late = error["Error"]["Code"] == "ModelError" and "closed the connection" in error["OriginalMessage"]
        assert late or (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (
            "ServiceUnavailable",
            503,
        )
        assert time.monotonic() < deadline, "the server did not come back"
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["nowhere", "ASKED"])
def test_an_endpoint_that_is_not_there_is_not_found(hosting: Hosting, asked: str, name: str) -> None:
    response = error_of(hosting, name)
    assert response["Error"] == {
        "Code": "ValidationError",
        "Message": f"Endpoint {name} of account 000000000000 not found.",
    }
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_endpoint_that_is_being_created_takes_no_requests(hosting: Hosting, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    config = hosting.config("early", hosting.model("early", start_when=str(asked)))
    hosting.sagemaker.create_endpoint(EndpointName="early", EndpointConfigName=config)
    response = error_of(hosting, "early")
    assert response["Error"]["Code"] == "ValidationError"
    assert "Endpoint early of account 000000000000 not found." in response["Error"]["Message"]
    assert "Creating" in response["Error"]["Message"]
    asked.touch()
    hosting.settled("early")


def test_a_request_over_the_limit_is_refused(hosting: Hosting, asked: str) -> None:
    assert hosting.runtime.invoke_endpoint(EndpointName=asked, Body=b"raw:" + b"x" * 6_291_452)["Body"].read()
    response = error_of(hosting, asked, b"raw:" + b"x" * 6_291_453)
    assert response["Error"]["Code"] == "ValidationError"
    assert "6291456" in response["Error"]["Message"]


def test_an_answer_over_the_limit_is_an_error(hosting: Hosting, asked: str) -> None:
    response = error_of(hosting, asked, {"size": 6_291_457})
    assert response["Error"]["Code"] == "ModelError"
    assert "6291456" in response["OriginalMessage"]


def test_traffic_follows_the_weights_and_the_target_variant_overrides_them(hosting: Hosting, weighted: str) -> None:
    answers: list[str] = []
    for _ in range(4):
        answers += [hosting.ask(weighted)["model"] for _ in range(200)]
        # A fair draw of any length is beyond four standard deviations once in 16,000 times: then a longer one decides, which
        # an unfair one is only farther from.
        off_by = abs(answers.count("major") - 0.75 * len(answers))
        if fair := off_by <= 4 * (len(answers) * 0.75 * 0.25) ** 0.5:
            break
    assert fair, collections.Counter(answers)
    for variant in ("major", "minor"):
        answer = hosting.runtime.invoke_endpoint(EndpointName=weighted, Body=b"{}", TargetVariant=variant)
        assert answer["InvokedProductionVariant"] == variant
        assert json.loads(answer["Body"].read())["model"] == variant
    response = error_of(hosting, weighted, TargetVariant="other")
    assert response["Error"]["Code"] == "ValidationError"
    assert "Variant other" in response["Error"]["Message"]
    assert "major, minor" in response["Error"]["Message"]


def test_requests_run_side_by_side(hosting: Hosting, asked: str, tmp_path: Path) -> None:
    meeting = {"meet": [str(tmp_path), 8]}
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: hosting.ask(asked, meeting), range(8)))) == 8


@pytest.mark.long
def test_a_crowd_of_callers_loses_no_request(hosting: Hosting, asked: str) -> None:
    # More at once than connections are kept, in waves that leave some of them to grow old.
    crowd = 100
    ask = asker(hosting, asked, body=b"raw:1")
    with ThreadPoolExecutor(crowd) as pool:
        for wave in (400, 50, 400):
            assert set(pool.map(lambda _: ask(), range(wave))) == {"raw:1"}


@pytest.mark.parametrize(
    "arguments",
    [{"EnableExplanations": "`true`"}, {"PrefixAwareId": "a"}],
)
def test_what_an_invocation_cannot_ask_for_is_refused_by_name(
    hosting: Hosting, asked: str, arguments: dict[str, str]
) -> None:
    response = error_of(hosting, asked, b"{}", **arguments)
    assert response["Error"]["Code"] == "UnsupportedOperation"
    assert next(iter(arguments)) in response["Error"]["Message"]


def test_a_request_that_names_an_inference_component_where_there_are_none_is_refused(
    hosting: Hosting, asked: str
) -> None:
    response = error_of(hosting, asked, b"{}", InferenceComponentName="a")
    assert response["Error"]["Code"] == "ValidationError"
    assert "Inference Component Name header is not allowed for endpoints" in response["Error"]["Message"]


def test_an_answer_as_a_stream_is_refused_by_name(hosting: Hosting, asked: str) -> None:
    with pytest.raises(ClientError, match="does not emulate SageMaker's InvokeEndpointWithResponseStream"):
        hosting.runtime.invoke_endpoint_with_response_stream(EndpointName=asked, Body=b"")


def test_only_who_may_invoke_the_endpoint_is_answered(hosting: Hosting, asked: str, weighted: str) -> None:
    iam = hosting.cloud.client("iam")
    iam.create_user(UserName="invoker")
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{asked}",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName="invoker", PolicyName="invoke", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="invoker")["AccessKey"]
    runtime = hosting.cloud.client("sagemaker-runtime", key["AccessKeyId"], key["SecretAccessKey"])
    assert runtime.invoke_endpoint(EndpointName=asked, Body=b"{}")["Body"].read()
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName=weighted, Body=b"{}")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "sagemaker:InvokeEndpoint" in caught.value.response["Error"]["Message"]


def test_each_invocation_is_measured(hosting: Hosting) -> None:
    endpoint = hosting.endpoint("measured", hosting.config("measured", hosting.model("measured"), count=2))
    took_us: dict[str, float] = {}
    for body in ({}, {"sleep_s": 0.2}, {"fail": 400}, {"fail": 500}):
        began = time.monotonic()
        outcome(hosting, endpoint, body)
        took_us[json.dumps(body)] = (time.monotonic() - began) * 1e6
    asleep_us = took_us.pop('{"sleep_s": 0.2}')
    cloudwatch = hosting.cloud.client("cloudwatch")
    now = datetime.datetime.now(datetime.UTC)

    def statistic(metric: str, of: str) -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": "measured"},
            ],
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=10),
            Period=3600,
            Statistics=[of],
        )["Datapoints"]
        return float(sum(point[of] for point in points)) if of != "Maximum" else max(point[of] for point in points)

    wait_for(lambda: statistic("InvocationModelErrors", "SampleCount") == 4)
    assert statistic("Invocations", "Sum") == 4
    assert statistic("InvocationsPerInstance", "Sum") == 2
    assert statistic("Invocation4XXErrors", "Sum") == 1
    assert statistic("Invocation4XXErrors", "SampleCount") == 4
    assert statistic("Invocation5XXErrors", "Sum") == 1
    assert statistic("InvocationModelErrors", "Sum") == 2
    # Of what the caller waited, the model's part and the rest.
    assert 200_000 <= statistic("ModelLatency", "Maximum") < max(asleep_us, *took_us.values())
    assert 0 < statistic("OverheadLatency", "Maximum") < max(asleep_us - 200_000, *took_us.values())
