"""Lifecycle configurations of the local cloud: what is kept, what is refused, and what an instance makes of their scripts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.notebook_runtime.runtime import RuntimeRefused
from local_cloud.sagemaker import events
from local_cloud.sagemaker.errors import ValidationError
from tests.notebook_fakes import PREFIX, NotebookCloud, encoded, notebook_cloud

TEAM = {"Key": "team", "Value": "churn"}
ARN = f"{PREFIX}:notebook-instance-lifecycle-config/standard"
CREATE, START = "#!/bin/bash\necho once\n", "#!/bin/bash\necho always\n"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NotebookCloud]:
    with notebook_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def standard(cloud: NotebookCloud) -> NotebookCloud:
    """With a lifecycle configuration of two scripts."""
    cloud.call(
        "CreateNotebookInstanceLifecycleConfig",
        NotebookInstanceLifecycleConfigName="Standard",
        OnCreate=encoded(CREATE),
        OnStart=encoded(START),
        Tags=[TEAM],
    )
    return cloud


def test_a_lifecycle_config_is_described_as_it_was_made(standard: NotebookCloud) -> None:
    described = standard.call("DescribeNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="Standard")
    assert described["NotebookInstanceLifecycleConfigArn"] == ARN
    assert described["NotebookInstanceLifecycleConfigName"] == "Standard"
    assert (described["OnCreate"], described["OnStart"]) == (encoded(CREATE), encoded(START))
    assert standard.call("ListTags", ResourceArn=ARN)["Tags"] == [TEAM]


@pytest.mark.parametrize("operation", ["AddTags", "ListTags", "DeleteTags"])
def test_nothing_is_tagged_that_is_not_there(standard: NotebookCloud, operation: str) -> None:
    asked: dict[str, dict[str, Any]] = {"AddTags": {"Tags": [TEAM]}, "DeleteTags": {"TagKeys": ["team"]}}
    for arn in (f"{ARN}-2", ARN.replace("us-east-1", "eu-west-1"), f"{PREFIX}:notebook-instance/standard"):
        with pytest.raises(ValidationError, match="Could not find resource"):
            standard.call(operation, ResourceArn=arn, **asked.get(operation, {}))


def test_a_tag_of_a_resource_is_given_once(standard: NotebookCloud) -> None:
    with pytest.raises(ValidationError, match="unique per resource, and team"):
        standard.call("AddTags", ResourceArn=ARN, Tags=[TEAM, {**TEAM, "Value": "other"}])
    # In another case it is another tag.
    standard.call("AddTags", ResourceArn=ARN, Tags=[TEAM, {"Key": "Team", "Value": "other"}])
    assert len(standard.call("ListTags", ResourceArn=ARN)["Tags"]) == 2


@pytest.mark.parametrize("key", ["aws:cloudformation:stack-name", "AWS:mine"])
def test_tags_of_aws_are_nobody_elses(standard: NotebookCloud, key: str) -> None:
    reserved = {"Key": key, "Value": "x"}
    for operation, request in (
        ("AddTags", {"ResourceArn": ARN, "Tags": [reserved]}),
        ("DeleteTags", {"ResourceArn": ARN, "TagKeys": [key]}),
        ("CreateNotebookInstanceLifecycleConfig", {"NotebookInstanceLifecycleConfigName": "new", "Tags": [reserved]}),
    ):
        with pytest.raises(ValidationError, match=f"System prefix 'aws:' reserved for AWS usage in tag key: {key}"):
            standard.call(operation, **request)
    with pytest.raises(ValidationError):
        standard.call("DescribeNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="new")


def test_a_change_of_one_script_leaves_the_other(standard: NotebookCloud) -> None:
    name = {"NotebookInstanceLifecycleConfigName": "Standard"}
    standard.call("UpdateNotebookInstanceLifecycleConfig", **name, OnStart=encoded("echo other"))
    described = standard.call("DescribeNotebookInstanceLifecycleConfig", **name)
    assert (described["OnCreate"], described["OnStart"]) == (encoded(CREATE), encoded("echo other"))
    assert described["LastModifiedTime"] > described["CreationTime"]
    standard.call("UpdateNotebookInstanceLifecycleConfig", **name, OnCreate=[])
    assert standard.call("DescribeNotebookInstanceLifecycleConfig", **name)["OnCreate"] == []


def test_lists_are_filtered_and_sorted(standard: NotebookCloud) -> None:
    standard.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="another")

    def listed(**request: object) -> list[str]:
        found = standard.call("ListNotebookInstanceLifecycleConfigs", **request)
        return [each["NotebookInstanceLifecycleConfigName"] for each in found["NotebookInstanceLifecycleConfigs"]]

    assert listed() == ["another", "Standard"]
    assert listed(SortBy="CreationTime", SortOrder="Ascending") == ["Standard", "another"]
    assert listed(NameContains="stand") == ["Standard"]
    assert listed(MaxResults=1) == ["another"]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("Describe", f"Unable to describe Notebook Instance Lifecycle Config '{ARN}'. (Details: Notebook Instance "),
        ("Update", f"Unable to update Notebook Instance Lifecycle Config '{ARN}'. (Details: Notebook Instance "),
        ("Delete", f"Unable to delete Notebook Instance Lifecycle Config '{ARN}'. (Details: Notebook Instance "),
    ],
)
def test_one_that_is_not_there_is_refused_in_sagemakers_words(
    cloud: NotebookCloud, operation: str, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        cloud.call(f"{operation}NotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="standard")
    assert str(caught.value) == f"{message}Lifecycle Config does not exist.)"


def test_a_name_is_taken_whatever_its_case(standard: NotebookCloud) -> None:
    with pytest.raises(ValidationError, match="already exists"):
        standard.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="STANDARD")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"OnStart": [{"Content": "not base64!"}]}, "The Content of OnStart is no base64 of a text in UTF-8"),
        ({"OnCreate": [{"Content": base64.b64encode(b"\xff\xfe").decode()}]}, "The Content of OnCreate is no base64"),
        ({"OnCreate": [{}]}, "OnCreate has no Content"),
        ({"OnStart": [{"Content": "a" * 16388}]}, "length less than or equal to 16384"),
        ({"OnStart": encoded(CREATE) * 2}, "length less than or equal to 1"),
    ],
    ids=["no base64", "no text", "no content", "too long", "two scripts"],
)
def test_what_is_no_script_is_refused(cloud: NotebookCloud, request_: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        cloud.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="a", **request_)
    assert cloud.call("ListNotebookInstanceLifecycleConfigs")["NotebookInstanceLifecycleConfigs"] == []


def test_base64_may_be_wrapped_as_tools_wrap_it(cloud: NotebookCloud) -> None:
    wrapped = base64.encodebytes(b"#!/bin/bash\n" + b"# long\n" * 40).decode()
    name = {"NotebookInstanceLifecycleConfigName": "wrapped"}
    cloud.call("CreateNotebookInstanceLifecycleConfig", **name, OnStart=[{"Content": wrapped}])
    instance = cloud.ready(LifecycleConfigName="wrapped")
    assert instance.did == ["OnStart", "jupyter"]


def test_eventbridge_is_told_without_the_scripts(standard: NotebookCloud) -> None:
    standard.call("DeleteNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="Standard")
    events.flush(standard.service)
    kind = "SageMaker Notebook Lifecycle Config State Change"
    made, deleted = [event for event in standard.services.events if event["type"] == kind]
    assert made["resources"] == [ARN]
    assert made["detail"]["Tags"] == deleted["detail"]["Tags"] == {"team": "churn"}
    assert "OnStart" not in made["detail"]


def test_on_create_runs_once_and_on_start_each_time(standard: NotebookCloud) -> None:
    first = standard.ready(LifecycleConfigName="Standard")
    assert first.did == ["OnCreate", "OnStart", "jupyter"]
    assert first.limits == [300, 300]
    standard.stop()
    assert standard.restart_instance().did == ["OnStart", "jupyter"]


def test_what_the_scripts_print_is_in_their_log_streams(standard: NotebookCloud) -> None:
    standard.ready("Mine", LifecycleConfigName="Standard")
    standard.stop("Mine")
    group = "/aws/sagemaker/NotebookInstances"
    assert standard.services.lines == {
        f"{group} Mine/LifecycleConfigOnCreate": ["ran " + CREATE.strip()],
        f"{group} Mine/LifecycleConfigOnStart": ["ran " + START.strip()],
    }


def test_a_script_that_takes_too_long_fails_the_instance_in_sagemakers_words(standard: NotebookCloud) -> None:
    standard.runtime.outcomes["OnStart"] = None
    standard.create(LifecycleConfigName="Standard")
    assert standard.until("Failed")["FailureReason"] == (
        f"Notebook Instance Lifecycle Config '{ARN}' for Notebook Instance '{PREFIX}:notebook-instance/mine' took longer "
        "than 5 minutes. Please check your CloudWatch logs for more details if your Notebook Instance has Internet access."
    )
    assert standard.runtime.instances[0].did == ["OnCreate", "OnStart", "stop"]
    assert not standard.services.sessions, "its credentials must not outlive it"


def test_a_script_that_fails_is_told_with_its_exit_code_and_its_log(standard: NotebookCloud) -> None:
    standard.runtime.outcomes["OnCreate"] = 7
    standard.create(LifecycleConfigName="Standard")
    reason = standard.until("Failed")["FailureReason"]
    assert "failed: OnCreate ended with exit code 7" in reason
    assert reason.endswith("log group /aws/sagemaker/NotebookInstances, stream mine/LifecycleConfigOnCreate.")


def test_a_failed_instance_starts_again_once_its_script_is_repaired(standard: NotebookCloud) -> None:
    standard.runtime.outcomes["OnCreate"] = 1
    standard.create(LifecycleConfigName="Standard")
    standard.until("Failed")
    standard.runtime.outcomes.clear()
    again = standard.restart_instance()
    assert again.did == ["OnCreate", "OnStart", "jupyter"], "an OnCreate that failed has not created anything"
    assert "FailureReason" not in standard.describe()


def test_a_machine_that_can_run_no_scripts_says_so(standard: NotebookCloud) -> None:
    standard.runtime.outcomes["OnCreate"] = RuntimeRefused("No container engine answers: OnCreate cannot run here.")
    standard.create(LifecycleConfigName="Standard")
    assert standard.until("Failed")["FailureReason"] == "No container engine answers: OnCreate cannot run here."


def test_an_instance_starts_without_a_config_that_was_deleted_only_when_it_is_taken_off(
    standard: NotebookCloud,
) -> None:
    standard.ready(LifecycleConfigName="Standard")
    standard.stop()
    standard.call("DeleteNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="Standard")
    standard.call("StartNotebookInstance", NotebookInstanceName="mine")
    assert "does not exist" in standard.until("Failed")["FailureReason"]
    standard.call("UpdateNotebookInstance", NotebookInstanceName="mine", DisassociateLifecycleConfig=True)
    standard.until("Stopped")
    assert standard.restart_instance().did == ["jupyter"]
    assert "NotebookInstanceLifecycleConfigName" not in standard.describe()
