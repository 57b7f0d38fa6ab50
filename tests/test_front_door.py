"""The HTTP API in front of an endpoint: who may come in, what is refused at the door, and what the model said."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.stub import ANY, Stubber
from sagestack import settings
from sagestack.front_door import FrontDoor

from functions.deployment_gate.asking import INFERENCE_ID
from functions.front_door import handler as function

ENDPOINT = "sagestack-dev-housing"
ARN = f"arn:aws:sagemaker:us-east-1:111111111111:endpoint/{ENDPOINT}"
JWT = settings.JwtAuthorizer(issuer="https://login.example.com/", audience=["predictions"])
LIMIT = 6 * 1024 * 1024


# --- The function --------------------------------------------------------------------------------------


class Runtime:
    """A SageMaker runtime client whose answers are prepared, and the doors in front of it."""

    def __init__(self, client: Any, stubber: Stubber) -> None:
        self.client, self.stubber = client, stubber

    def says(self, body: bytes, content_type: str = "text/csv", accept: str = "*/*", sent: object = ANY) -> None:
        self.stubber.add_response(
            "invoke_endpoint",
            {"Body": io.BytesIO(body), "ContentType": content_type, "InvokedProductionVariant": "AllTraffic"},
            {"EndpointName": ENDPOINT, "ContentType": ANY, "Accept": accept, "Body": sent},
        )

    def fails(self, code: str, status: int, **members: Any) -> None:
        self.stubber.add_client_error("invoke_endpoint", code, "somewhere inside", status, modeled_fields=members)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setenv("ENDPOINT_NAME", ENDPOINT)
    monkeypatch.setenv("CONTENT_TYPES", "text/csv,application/x-npy")
    client = boto3.client(
        "sagemaker-runtime", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    monkeypatch.setattr(function, "runtime", lambda: client)
    with Stubber(client) as stubber:
        yield Runtime(client, stubber)
        stubber.assert_no_pending_responses()


def ask(
    body: bytes = b"1,2,3", content_type: str | None = "text/csv", others: dict[str, str] | None = None
) -> dict[str, Any]:
    """What the function answers to API Gateway."""
    headers = dict(others or {})
    if content_type is not None:
        headers["content-type"] = content_type
    is_text = content_type is None or content_type.startswith("text/")
    event = {
        "headers": headers,
        "body": body.decode() if is_text else base64.b64encode(body).decode(),
        "isBase64Encoded": not is_text,
        "requestContext": {"requestId": "request-1", "http": {"sourceIp": "192.0.2.1"}},
    }
    return function.handler(event, None)


def message(reply: dict[str, Any]) -> str:
    text = json.loads(reply["body"])["message"]
    assert isinstance(text, str)
    return text


def test_it_returns_what_the_model_said(runtime: Runtime) -> None:
    runtime.says(b"4.2\n", sent=b"1,2,3")

    reply = ask()

    assert (reply["statusCode"], reply["body"], reply["isBase64Encoded"]) == (200, "4.2\n", False)
    assert reply["headers"] == {"content-type": "text/csv", "x-amzn-invoked-production-variant": "AllTraffic"}


def test_bytes_go_in_and_come_out_as_they_are(runtime: Runtime) -> None:
    every_byte = bytes(range(256))
    runtime.says(every_byte[::-1], content_type="application/x-npy", sent=every_byte)

    reply = ask(every_byte, "application/x-npy")

    assert reply["isBase64Encoded"] is True
    assert base64.b64decode(reply["body"]) == every_byte[::-1]


def test_text_that_is_no_text_comes_out_as_it_is(runtime: Runtime) -> None:
    runtime.says(b"\xff\xfe", content_type="text/csv")

    assert base64.b64decode(ask()["body"]) == b"\xff\xfe"


def test_it_passes_on_what_the_caller_accepts(runtime: Runtime) -> None:
    runtime.says(b"{}", content_type="application/json", accept="application/json")

    assert ask(others={"accept": "application/json"})["headers"]["content-type"] == "application/json"


def test_parameters_and_capitals_of_a_content_type_do_not_matter(runtime: Runtime) -> None:
    runtime.says(b"4.2\n")

    assert ask(content_type="text/CSV; charset=utf-8")["statusCode"] == 200


@pytest.mark.parametrize("content_type", ["application/xml", "", None])
def test_an_unknown_content_type_never_reaches_the_endpoint(runtime: Runtime, content_type: str | None) -> None:
    reply = ask(content_type=content_type)

    assert reply["statusCode"] == 415
    assert "(allowed: text/csv, application/x-npy)" in message(reply)


def test_an_empty_body_never_reaches_the_endpoint(runtime: Runtime) -> None:
    assert ask(b"")["statusCode"] == 400


def test_a_body_above_six_megabytes_never_reaches_the_endpoint(runtime: Runtime) -> None:
    reply = ask(b"1" * (LIMIT + 1))

    assert reply["statusCode"] == 413
    assert str(LIMIT) in message(reply)


def test_an_answer_that_lambda_cannot_return_is_said_to_be_too_large(runtime: Runtime) -> None:
    runtime.says(b"1" * LIMIT)

    reply = ask()

    assert reply["statusCode"] == 502
    assert "Send fewer records" in message(reply)


@pytest.mark.parametrize(
    ("code", "status", "members", "told"),
    [
        ("ModelError", 424, {"OriginalStatusCode": 500, "OriginalMessage": "Traceback: secret"}, 502),
        ("ModelError", 424, {"OriginalStatusCode": 503}, 503),
        ("ModelError", 424, {"OriginalStatusCode": 400, "OriginalMessage": "8 columns, got 3"}, 400),
        ("ModelError", 424, {"OriginalStatusCode": 422}, 422),
        ("ModelError", 424, {}, 502),
        ("ValidationError", 400, {}, 400),
        ("ThrottlingException", 400, {}, 429),
        ("ModelNotReadyException", 429, {}, 503),
        ("ServiceUnavailable", 503, {}, 503),
        ("InternalFailure", 500, {}, 502),
        ("InternalDependencyException", 530, {}, 502),
        ("AccessDeniedException", 403, {}, 500),
    ],
)
def test_each_error_of_sagemaker_has_its_status(
    runtime: Runtime, code: str, status: int, members: dict[str, Any], told: int
) -> None:
    runtime.fails(code, status, **members)

    reply = ask()

    assert reply["statusCode"] == told
    assert ("retry-after" in reply["headers"]) == (told in (429, 503))


def test_the_callers_mistakes_are_told_in_the_models_words_and_its_own_are_not(runtime: Runtime) -> None:
    runtime.fails("ModelError", 424, OriginalStatusCode=400, OriginalMessage="8 columns, got 3")
    runtime.fails("ModelError", 424, OriginalStatusCode=500, OriginalMessage="Traceback: secret")

    assert message(ask()) == "8 columns, got 3"
    assert "secret" not in ask()["body"]


@pytest.mark.parametrize(
    ("error", "told"),
    [(ReadTimeoutError(endpoint_url="x"), 504), (ConnectTimeoutError(endpoint_url="x"), 502)],
)
def test_an_endpoint_that_does_not_answer_is_not_waited_for(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, error: Exception, told: int
) -> None:
    def never(**_: Any) -> None:
        raise error

    monkeypatch.setattr(runtime.client, "invoke_endpoint", never)

    assert ask()["statusCode"] == told


def test_the_log_says_what_became_of_a_request_and_nothing_of_what_was_in_it(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.says(b"private answer")

    ask(b"private,record")

    line = capsys.readouterr().out
    logged = json.loads(line)
    assert "private" not in line
    assert logged.pop("milliseconds") >= 0
    assert logged == {
        "request_id": "request-1",
        "source_ip": "192.0.2.1",
        "status": 200,
        "error": "",
        "variant": "AllTraffic",
        "request_bytes": 14,
        "answer_characters": 14,
    }


def test_a_caller_may_say_which_model_and_what_the_request_is_called_but_not_which_variant(runtime: Runtime) -> None:
    expected = {
        "EndpointName": ENDPOINT,
        "ContentType": "text/csv",
        "Accept": "*/*",
        "Body": b"1,2,3",
        "TargetModel": "berlin.tar.gz",
        "InferenceId": "order-7",
    }
    runtime.stubber.add_response("invoke_endpoint", {"Body": io.BytesIO(b"4.2")}, expected)
    headers = {"Target-Model": "berlin.tar.gz", "Inference-Id": "order-7", "Target-Variant": "AllTraffic"}

    reply = ask(others={f"x-amzn-sagemaker-{name.lower()}": value for name, value in headers.items()})

    assert reply["statusCode"] == 200


def test_nobody_hides_from_monitoring_behind_the_names_of_golden_records(runtime: Runtime) -> None:
    reply = ask(others={"x-amzn-sagemaker-inference-id": INFERENCE_ID})
    assert reply["statusCode"] == 400
    assert "may not begin with sagestack-" in message(reply)


def test_a_component_is_asked_by_its_name(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_COMPONENT_NAME", "housing-component")
    expected = {
        "EndpointName": ENDPOINT,
        "ContentType": "text/csv",
        "Accept": "*/*",
        "Body": b"1,2,3",
        "InferenceComponentName": "housing-component",
    }
    runtime.stubber.add_response("invoke_endpoint", {"Body": io.BytesIO(b"4.2")}, expected)

    assert ask()["statusCode"] == 200


# --- The construct -------------------------------------------------------------------------------------


class Built:
    def __init__(self, door: settings.FrontDoor, **changes: Any) -> None:
        self.app = cdk.App(analytics_reporting=False)
        self.stack = cdk.Stack(self.app, "Serving", env=cdk.Environment(account="111111111111", region="us-east-1"))
        self.door = FrontDoor(
            self.stack,
            "FrontDoor",
            endpoint_name=ENDPOINT,
            endpoint_arn=ARN,
            door=door,
            content_types=["text/csv", "application/json"],
            **changes,
        )

    def template(self) -> Template:
        return Template.from_stack(self.stack)


@pytest.fixture(scope="module")
def built() -> Built:
    return Built(settings.FrontDoor(authorization="iam", requests_per_second=50, burst=80))


@pytest.fixture(scope="module")
def by_token() -> Built:
    return Built(settings.FrontDoor(authorization=JWT))


def test_only_callers_with_credentials_come_in(built: Built) -> None:
    built.template().has_resource_properties(
        "AWS::ApiGatewayV2::Route", {"RouteKey": "POST /invocations", "AuthorizationType": "AWS_IAM"}
    )
    built.template().resource_count_is("AWS::ApiGatewayV2::Route", 1)


def test_only_callers_with_a_token_come_in(by_token: Built) -> None:
    template = by_token.template()

    template.has_resource_properties(
        "AWS::ApiGatewayV2::Route",
        {"RouteKey": "POST /invocations", "AuthorizationType": "JWT", "AuthorizerId": Match.any_value()},
    )
    template.has_resource_properties(
        "AWS::ApiGatewayV2::Authorizer",
        {"JwtConfiguration": {"Audience": ["predictions"], "Issuer": "https://login.example.com/"}},
    )


def test_it_takes_no_more_requests_than_the_settings_say_and_logs_each(built: Built) -> None:
    built.template().has_resource_properties(
        "AWS::ApiGatewayV2::Stage",
        {
            "StageName": "$default",
            "AutoDeploy": True,
            "DefaultRouteSettings": {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 80},
            "AccessLogSettings": {"DestinationArn": Match.any_value(), "Format": Match.string_like_regexp("requestId")},
        },
    )


def test_other_sites_may_not_call_it(built: Built) -> None:
    (api,) = built.template().find_resources("AWS::ApiGatewayV2::Api").values()

    assert "CorsConfiguration" not in api["Properties"]


def test_the_function_may_ask_this_endpoint_and_nothing_else() -> None:
    component = ARN.replace("endpoint/", "inference-component/")
    template = Built(
        settings.FrontDoor(authorization="iam"),
        inference_component_name=ENDPOINT,
        inference_component_arn=component,
    ).template()

    statements = [
        statement
        for policy in template.find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == "sagemaker:InvokeEndpoint"
    ]
    assert [statement["Resource"] for statement in statements] == [[ARN, component]]


def test_a_caller_of_the_account_is_let_in_at_this_door_alone(by_token: Built) -> None:
    built = Built(settings.FrontDoor(authorization="iam"))
    callers = iam.Role(built.stack, "Callers", assumed_by=iam.AccountRootPrincipal())
    built.door.grant_invoke(callers)

    statements = [
        statement
        for policy in built.template().find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == "execute-api:Invoke"
    ]
    (statement,) = statements
    assert str(statement["Resource"]).count("*") == 0
    assert "/$default/POST/invocations" in str(statement["Resource"])
    with pytest.raises(ValueError, match="lets in by tokens"):
        by_token.door.grant_invoke(callers)
