"""What the services of the local cloud have in common: operations that are registered, checked or refused by name, and pages."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from local_cloud.autoscaling.errors import InvalidNextToken
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ApiError, NotEmulated, ValidationError
from local_cloud.sagemaker.operations import Operations, Request, Response, paged
from local_cloud.sagemaker.service import answer

ITEMS: list[dict[str, Any]] = [{"Name": str(number)} for number in range(5)]


def stop(service: None, caller: Caller, request: Request) -> Response:
    return {}


@pytest.fixture(scope="module")
def operations() -> Operations[None]:
    made: Operations[None] = Operations("sagemaker", "SageMaker")
    made.register("StopNotebookInstance")(stop)
    return made


def test_an_operation_is_answered_once_its_request_fits(operations: Operations[None]) -> None:
    assert operations.checked("StopNotebookInstance", {"NotebookInstanceName": "mine"}) is stop
    with pytest.raises(ValidationError, match="notebookInstanceName"):
        operations.checked("StopNotebookInstance", {})


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("CreateLabelingJob", NotEmulated, "does not emulate SageMaker's CreateLabelingJob"),
        ("CreateNothing", ApiError, "SageMaker has no operation CreateNothing"),
    ],
)
def test_another_operation_is_refused_by_name(
    operations: Operations[None], name: str, error: type[ApiError], said: str
) -> None:
    with pytest.raises(error, match=said) as refused:
        operations.checked(name, {})
    assert type(refused.value) is error


@pytest.mark.parametrize(
    ("name", "said"), [("StopNotebookInstance", "registered twice"), ("StopNothing", "has no operation")]
)
def test_an_operation_is_registered_once_and_only_if_there_is_one(
    operations: Operations[None], name: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        operations.register(name)(stop)


def test_pages_follow_each_other_to_the_end() -> None:
    seen: list[list[str]] = []
    request: Request = {}
    while True:
        page = paged(ITEMS, request, "Items", 2)
        seen.append([item["Name"] for item in page["Items"]])
        if "NextToken" not in page:
            break
        request = {"NextToken": page["NextToken"]}
    assert seen == [["0", "1"], ["2", "3"], ["4"]]


def test_a_state_that_cannot_be_written_is_told_to_who_called() -> None:
    class Full:
        def call(self, name: str, caller: Caller, request: Request) -> Response:
            raise sqlite3.OperationalError("database or disk is full")

    status, _, body = answer(Full(), Caller("000000000000", "us-east-1", ""), "SageMaker.StopNotebookInstance", b"{}")
    told = json.loads(body)
    assert (status, told["__type"]) == (500, "InternalFailure")
    assert "cannot write its state: database or disk is full" in told["message"]


@pytest.mark.parametrize(
    "token", ["abc", "-1", "²", "٣", " ", "9" * 5000], ids=["word", "negative", "power", "arabic", "space", "long"]
)
def test_a_token_of_nobodys_is_refused_in_the_services_words(token: str) -> None:
    for error in (ValidationError, InvalidNextToken):
        with pytest.raises(error, match="Invalid NextToken"):
            paged(ITEMS, {"NextToken": token}, "Items", 2, error)
