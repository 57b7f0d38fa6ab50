"""The check of the versions and the gate: what they let through, what they refuse, and what they say then."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from functions.deployment_gate import asking, handler
from functions.deployment_gate.names import GATE, VERSION_CHECK
from functions.deployment_gate.problems import Problem
from tests.gate_fakes import ENDPOINT, GROUP, Cloud, Context, error, golden, version


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr(asking, "PAUSE_S", 0)
    return Cloud()


def event(kind: str, request: str = "Update", **properties: Any) -> dict[str, Any]:
    return {
        "RequestType": request,
        "ResourceType": kind,
        "StackId": "the stack",
        "RequestId": "r-1",
        "ResourceProperties": {"EndpointName": ENDPOINT, **properties},
    }


# --- Before anything changes


def check(cloud: Cloud, arn: str, request: str = "Update", group: str = GROUP) -> dict[str, Any]:
    versions = [{"ModelPackageArn": arn, "ModelPackageGroupArn": group}]
    return handler.on_event(event(VERSION_CHECK, request, Versions=versions), Context(), cloud.clients)


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(Problem) as refused:
        attempt()
    return str(refused.value)


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_an_approved_version_with_golden_records_may_be_deployed(cloud: Cloud, request_type: str) -> None:
    assert check(cloud, version(3), request_type) == {}


@pytest.mark.parametrize("arn", [version(3, group="other"), version(3, account="222222222222"), "no ARN"])
def test_a_version_of_another_group_or_account_is_refused(cloud: Cloud, arn: str) -> None:
    said = refusal(lambda: check(cloud, arn))
    assert f"{arn} is not a version of {GROUP}, which this endpoint serves: pin a version of that group." in said
    assert said.endswith(f"Endpoint {ENDPOINT} was not touched.")


def test_a_version_that_is_not_there_is_refused(cloud: Cloud) -> None:
    assert "version 9 of housing is not in the registry" in refusal(lambda: check(cloud, version(9)))


def test_a_version_that_may_not_be_read_is_refused(cloud: Cloud) -> None:
    cloud.packages[version(3)] = error("AccessDeniedException", "not authorized")
    said = refusal(lambda: check(cloud, version(3)))
    assert "it belongs to another account, which must grant access first" in said
    assert "not authorized" in said


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Rejected"])
def test_a_version_that_is_not_approved_is_refused_with_the_command(cloud: Cloud, approval: str) -> None:
    said = refusal(lambda: check(cloud, cloud.register(4, {"1": "1"}, ModelApprovalStatus=approval)))
    assert f"version 4 of housing is {approval}, not Approved: approve it (sagestack approve 4)" in said


def test_a_version_that_is_not_complete_is_refused(cloud: Cloud) -> None:
    said = refusal(lambda: check(cloud, cloud.register(4, {"1": "1"}, ModelPackageStatus="Failed")))
    assert "version 4 of housing is Failed, not Completed" in said


def test_a_version_without_golden_records_is_refused(cloud: Cloud) -> None:
    said = refusal(lambda: check(cloud, cloud.register(4, None, CustomerMetadataProperties={})))
    assert "its CustomerMetadataProperties name no 'golden-records'" in said
    assert "docs/reference/golden-records.md" in said


def test_a_golden_file_that_is_missing_is_refused_with_its_place(cloud: Cloud) -> None:
    said = refusal(lambda: check(cloud, cloud.register(4, None)))
    assert "there are no golden records at s3://artifacts/4/golden-records.json" in said


def test_a_golden_file_that_may_not_be_read_is_refused(cloud: Cloud) -> None:
    cloud.objects["s3://artifacts/3/golden-records.json"] = error("AccessDenied")
    assert "may not be read by the deployment gate" in refusal(lambda: check(cloud, version(3)))


def test_a_golden_file_that_is_not_valid_is_refused(cloud: Cloud) -> None:
    cloud.objects["s3://artifacts/3/golden-records.json"] = b"{}"
    said = refusal(lambda: check(cloud, version(3)))
    assert "its golden records are not valid. s3://artifacts/3/golden-records.json: must be an object" in said


@pytest.mark.parametrize("uri", ["https://example.com/x", "s3://bucket", "s3:///x"])
def test_golden_records_are_in_s3(cloud: Cloud, uri: str) -> None:
    arn = cloud.register(4, None, CustomerMetadataProperties={"golden-records": uri})
    assert f"{uri!r}, which is no s3://bucket/key" in refusal(lambda: check(cloud, arn))


def test_trouble_of_the_service_is_told_as_it_is(cloud: Cloud) -> None:
    cloud.packages[version(3)] = error("ThrottlingException")
    with pytest.raises(Exception, match="ThrottlingException"):
        check(cloud, version(3))


def test_a_deletion_asks_nobody(cloud: Cloud) -> None:
    assert check(cloud, "whatever", "Delete") == {}
    assert handler.is_complete(event(VERSION_CHECK, "Delete"), Context()) == {"IsComplete": True}
    assert handler.is_complete(event(GATE, "Delete"), Context()) == {"IsComplete": True}


def test_a_roll_back_is_let_through_even_to_a_version_that_was_rejected_since(cloud: Cloud) -> None:
    cloud.stack_status = "UPDATE_ROLLBACK_IN_PROGRESS"
    assert check(cloud, cloud.register(4, None, ModelApprovalStatus="Rejected")) == {}


# --- After the update


def gate(cloud: Cloud, request: str = "Update", seconds: float = 300, **changes: Any) -> bool:
    properties = {
        "EndpointConfigName": "config-3",
        "Variants": [
            {"Name": "AllTraffic", "ModelPackageArns": [version(3)], "MinInstances": "2", "MaxInstances": "2"}
        ],
        "Questions": [{"ModelPackageArn": version(3), "What": "variant AllTraffic"}],
        **changes,
    }
    assert handler.on_event(event(GATE, request, **properties), Context()) == {}
    return bool(handler.is_complete(event(GATE, request, **properties), Context(seconds), cloud.clients)["IsComplete"])


def test_an_endpoint_that_is_as_wanted_and_answers_as_recorded_passes(cloud: Cloud) -> None:
    assert gate(cloud)
    assert [request["Body"] for request in cloud.sent] == [b"1,2", b"3,4"]
    assert cloud.sent[0] == {
        "EndpointName": ENDPOINT,
        "Body": b"1,2",
        "ContentType": "text/csv",
        "Accept": "text/csv",
        "InferenceId": "sagestack-golden-record",
    }


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_it_waits_for_the_real_end_of_the_update(cloud: Cloud, status: str) -> None:
    cloud.endpoint["EndpointStatus"] = status
    assert not gate(cloud)
    assert not cloud.sent


def test_it_waits_until_the_instances_are_there(cloud: Cloud) -> None:
    cloud.endpoint["ProductionVariants"][0]["CurrentInstanceCount"] = 1
    assert not gate(cloud)


def test_a_silent_roll_back_fails_with_sagemakers_reason(cloud: Cloud) -> None:
    cloud.endpoint["FailureReason"] = "Alarm too-slow is in ALARM."
    assert refusal(lambda: gate(cloud, EndpointConfigName="config-4")) == (
        f"Endpoint {ENDPOINT} still serves the configuration config-3, not config-4: SageMaker rolled the update back."
        " SageMaker says: Alarm too-slow is in ALARM."
    )


def test_a_roll_back_without_a_reason_fails_too(cloud: Cloud) -> None:
    assert "It gives no reason" in refusal(lambda: gate(cloud, EndpointConfigName="config-4"))


def test_the_reason_of_an_earlier_roll_back_is_no_trouble(cloud: Cloud) -> None:
    cloud.endpoint["FailureReason"] = "of the day before"
    assert gate(cloud)


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_an_endpoint_that_does_not_serve_fails(cloud: Cloud, status: str) -> None:
    cloud.endpoint |= {"EndpointStatus": status, "FailureReason": "no capacity"}
    said = refusal(lambda: gate(cloud))
    assert said == f"Endpoint {ENDPOINT} is {status}, not InService. SageMaker says: no capacity"


def test_other_variants_fail(cloud: Cloud) -> None:
    cloud.deploy("config-3", {"AllTraffic": [version(3)], "Second": [version(3)]})
    assert "has the variants AllTraffic, Second, not AllTraffic." in refusal(lambda: gate(cloud))


def test_a_missing_shadow_fails_and_a_shadow_is_not_asked(cloud: Cloud) -> None:
    shadow = [{"Name": "Shadow", "ModelPackageArns": [version(3)]}]
    assert "has the shadow variants none, not Shadow." in refusal(lambda: gate(cloud, ShadowVariants=shadow))
    cloud.deploy("config-3", {"AllTraffic": [version(3)]}, {"Shadow": [version(3)]})
    assert gate(cloud, ShadowVariants=shadow)
    assert len(cloud.sent) == 2


def test_a_model_of_another_version_fails(cloud: Cloud) -> None:
    cloud.deploy("config-3", {"AllTraffic": [version(2)]})
    said = refusal(lambda: gate(cloud))
    assert f"Variant AllTraffic of endpoint {ENDPOINT} serves {version(2)}, not {version(3)}" in said


@pytest.mark.parametrize(("count", "least", "most", "bounds"), [(1, 2, 2, "2"), (5, 1, 4, "1 to 4"), (0, 1, 1, "1")])
def test_a_size_that_was_not_asked_for_fails(cloud: Cloud, count: int, least: int, most: int, bounds: str) -> None:
    cloud.deploy("config-3", {"AllTraffic": [version(3)]}, count=count)
    variants = [
        {"Name": "AllTraffic", "ModelPackageArns": [version(3)], "MinInstances": f"{least}", "MaxInstances": f"{most}"}
    ]
    said = refusal(lambda: gate(cloud, Variants=variants))
    assert said == f"Variant AllTraffic of endpoint {ENDPOINT} has {count} instances, not {bounds}."


def test_a_size_within_the_bounds_of_the_scaling_passes(cloud: Cloud) -> None:
    cloud.deploy("config-3", {"AllTraffic": [version(3)]}, count=3)
    variants = [{"Name": "AllTraffic", "ModelPackageArns": [version(3)], "MinInstances": "1", "MaxInstances": "4"}]
    assert gate(cloud, Variants=variants)


@pytest.mark.parametrize("said", [None, 0], ids=["nothing said", "none said"])
def test_without_instances_no_size_is_compared(cloud: Cloud, said: int | None) -> None:
    """A serverless variant has no instances that anybody desires; whether it has a count of them is not documented."""
    cloud.endpoint["ProductionVariants"][0]["CurrentInstanceCount"] = said
    del cloud.endpoint["ProductionVariants"][0]["DesiredInstanceCount"]
    assert gate(cloud, Variants=[{"Name": "AllTraffic", "ModelPackageArns": [version(3)]}])


def test_the_first_wrong_answer_fails_with_what_was_expected_and_what_came(cloud: Cloud) -> None:
    cloud.answer = lambda request: "0.5" if request["Body"] == b"1,2" else "-6.9"
    assert refusal(lambda: gate(cloud)) == (
        "Golden record 2 of 2: variant AllTraffic (version 3 of housing) answers -6.9, and -7 was recorded when the version was"
        " evaluated (relative tolerance 1e-05). The request was 3,4"
    )


def test_an_answer_within_the_tolerance_passes(cloud: Cloud) -> None:
    cloud.answer = lambda request: "0.500001" if request["Body"] == b"1,2" else "-6.99998"
    assert gate(cloud)
    cloud.objects["s3://artifacts/3/golden-records.json"] = golden({"1,2": "0.5", "3,4": "-7"}, relative_tolerance=0)
    assert "relative tolerance 0" in refusal(lambda: gate(cloud))


@pytest.mark.parametrize(
    "passing",
    [
        error("ThrottlingException"),
        error("ServiceUnavailable"),
        error("ModelNotReadyException"),
        error("ModelError", "cold", OriginalStatusCode=503),
        ReadTimeoutError(endpoint_url="https://x"),
    ],
)
def test_what_passes_is_waited_for(cloud: Cloud, passing: Exception) -> None:
    answers: Iterator[str | Exception] = itertools.chain([passing, passing], ["0.5", "-7"])
    cloud.answer = lambda request: next(answers)
    assert gate(cloud)


def test_a_service_that_is_never_ready_fails_within_the_call(cloud: Cloud) -> None:
    cloud.answer = lambda request: error("ThrottlingException", "Rate exceeded")
    said = refusal(lambda: gate(cloud, seconds=20))
    assert "Golden record 1: variant AllTraffic (version 3 of housing) did not answer in time: " in said
    assert "Rate exceeded" in said


def test_a_container_that_fails_fails_the_deployment_soon(cloud: Cloud) -> None:
    cloud.answer = lambda request: error("ModelError", "list index out of range", OriginalStatusCode=500)
    said = refusal(lambda: gate(cloud))
    assert "does not answer: status 500: list index out of range The request was 1,2" in said
    assert len(cloud.sent) == asking.MODEL_ATTEMPTS


@pytest.mark.parametrize("code", ["ValidationError", "AccessDeniedException"])
def test_a_refusal_is_not_tried_again(cloud: Cloud, code: str) -> None:
    cloud.answer = lambda request: error(code)
    assert code in refusal(lambda: gate(cloud))
    assert len(cloud.sent) == 1


def test_each_of_several_variants_is_asked_its_own_records(cloud: Cloud) -> None:
    cloud.register(4, {"9": "81"})
    cloud.deploy("config-3", {"AllTraffic": [version(3)], "B": [version(4)]})
    cloud.answer = lambda request: {b"1,2": "0.5", b"3,4": "-7", b"9": "81"}[request["Body"]]
    assert gate(
        cloud,
        Variants=[{"Name": name, "ModelPackageArns": [version(n)]} for name, n in (("AllTraffic", 3), ("B", 4))],
        Questions=[
            {"ModelPackageArn": version(n), "What": f"variant {name}", "Addressed": {"TargetVariant": name}}
            for name, n in (("AllTraffic", 3), ("B", 4))
        ],
    )
    assert [(request["TargetVariant"], request["Body"]) for request in cloud.sent] == [
        ("AllTraffic", b"1,2"),
        ("AllTraffic", b"3,4"),
        ("B", b"9"),
    ]


def test_a_roll_back_passes_whatever_the_endpoint_serves(cloud: Cloud) -> None:
    cloud.stack_status = "UPDATE_ROLLBACK_IN_PROGRESS"
    assert gate(cloud, EndpointConfigName="config-2")
    assert not cloud.sent


def test_a_first_deployment_is_never_a_roll_back(cloud: Cloud) -> None:
    cloud.stack_status = "ROLLBACK_IN_PROGRESS"
    assert "still serves" in refusal(lambda: gate(cloud, "Create", EndpointConfigName="config-2"))


# --- Inference components


def component(**more: Any) -> dict[str, Any]:
    return {
        "InferenceComponentStatus": "InService",
        "Specification": {"ModelName": "config-3-AllTraffic"},
        "RuntimeConfig": {"DesiredCopyCount": 2, "CurrentCopyCount": 2},
        **more,
    }


def gate_of_components(cloud: Cloud, **more: Any) -> bool:
    cloud.components["copies"] = component(**more)
    wanted = {"Name": "copies", "ModelPackageArns": [version(3)], "MinInstances": "2", "MaxInstances": "2"}
    cloud.configs["config-3"]["ProductionVariants"] = [{"VariantName": "AllTraffic"}]
    return gate(
        cloud,
        Variants=[{"Name": "AllTraffic", "ModelPackageArns": []}],
        InferenceComponents=[wanted],
        Questions=[
            {
                "ModelPackageArn": version(3),
                "What": "inference component copies",
                "Addressed": {"InferenceComponentName": "copies"},
            }
        ],
    )


def test_an_inference_component_is_asked_by_its_name(cloud: Cloud) -> None:
    assert gate_of_components(cloud)
    assert {request["InferenceComponentName"] for request in cloud.sent} == {"copies"}


@pytest.mark.parametrize(
    "early",
    [{"InferenceComponentStatus": "Updating"}, {"RuntimeConfig": {"DesiredCopyCount": 2, "CurrentCopyCount": 1}}],
)
def test_an_inference_component_is_waited_for(cloud: Cloud, early: dict[str, Any]) -> None:
    assert not gate_of_components(cloud, **early)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"InferenceComponentStatus": "Failed", "FailureReason": "no memory"},
            "Inference component copies is Failed, not InService. SageMaker says: no memory",
        ),
        (
            {"RuntimeConfig": {"DesiredCopyCount": 3, "CurrentCopyCount": 3}},
            "Inference component copies has 3 copies, not 2.",
        ),
        (
            {"Specification": {"ModelName": "old"}},
            f"copies serves {version(2)}, not {version(3)}: SageMaker rolled the",
        ),
    ],
)
def test_an_inference_component_that_is_another_one_fails(cloud: Cloud, wrong: dict[str, Any], words: str) -> None:
    cloud.models["old"] = [version(2)]
    assert words in refusal(lambda: gate_of_components(cloud, **wrong))


# --- Asynchronous endpoints


def test_golden_records_go_through_the_queue_and_are_waited_for(cloud: Cloud) -> None:
    def look() -> bool:
        return gate(cloud, AsyncInputUri="s3://artifacts/requests/golden-records")

    assert not look()
    assert [request["InputLocation"] for request in cloud.sent] == [
        f"s3://artifacts/requests/golden-records/r-1/3/record-{number}" for number in (1, 2)
    ]
    assert cloud.objects[cloud.sent[0]["InputLocation"]] == b"1,2"
    assert not look(), "no answer yet"
    cloud.objects["s3://artifacts/out/1"] = b"0.5"
    assert not look(), "one answer is to come"
    cloud.objects["s3://artifacts/out/2"] = b"-7"
    assert look()
    assert len(cloud.sent) == 2, "everything was sent once"


@pytest.mark.parametrize(
    ("place", "content", "words"),
    [
        (
            "out/2",
            b"8",
            "Golden record 2 of 2: variant AllTraffic (version 3 of housing) answers 8, and -7 was recorded",
        ),
        (
            "failed/1",
            b"out of memory",
            "Golden record 1: variant AllTraffic (version 3 of housing) does not answer: out",
        ),
    ],
)
def test_a_wrong_answer_from_the_queue_fails(cloud: Cloud, place: str, content: bytes, words: str) -> None:
    assert not gate(cloud, AsyncInputUri="s3://artifacts/requests/golden-records")
    cloud.objects[f"s3://artifacts/{place}"] = content
    assert words in refusal(lambda: gate(cloud, AsyncInputUri="s3://artifacts/requests/golden-records"))


def test_what_happened_is_in_the_log(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    gate(cloud)
    assert json.loads(capsys.readouterr().out) == {"outcome": "passed", "endpoint": ENDPOINT}
    refusal(lambda: gate(cloud, EndpointConfigName="other"))
    assert json.loads(capsys.readouterr().out)["outcome"] == "refused"
