"""Notebook instances of the local cloud: statuses and what they allow, settings, presigned URLs, and what a restart leaves."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.platform import Caller
from local_cloud.sagemaker.cloudformation import ProvisioningError
from local_cloud.sagemaker.errors import AccessDenied, ApiError, ValidationError
from local_cloud.sagemaker.jobs.job_logs import JobLog
from local_cloud.sagemaker.notebooks import instance_life, notebook_status
from local_cloud.sagemaker.notebooks.notebook_cloudformation import RESOURCE_TYPES, NotebookInstanceProvisioner
from local_cloud.sagemaker.store import Document
from tests.local_cloud_fakes import USER, patiently
from tests.notebook_fakes import PREFIX, ROLE, NotebookCloud, encoded, notebook_cloud

ARN = f"{PREFIX}:notebook-instance/mine"
IN_VPC = {"SubnetId": "subnet-1", "SecurityGroupIds": ["sg-1"]}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NotebookCloud]:
    with notebook_cloud(tmp_path) as made:
        yield made


def gone(cloud: NotebookCloud, name: str = "mine") -> None:
    for _ in patiently(f"{name} to be gone"):
        listed = cloud.call("ListNotebookInstances", NameContains=name)["NotebookInstances"]
        if name not in [each["NotebookInstanceName"] for each in listed]:
            return


# Statuses


def test_an_instance_goes_from_pending_to_in_service(cloud: NotebookCloud) -> None:
    assert cloud.create("Mine") == ARN, "ARNs of notebook instances are in lower case"
    described = cloud.until("InService", "Mine")
    assert described["NotebookInstanceName"] == "Mine"
    assert described["Url"] == "127.0.0.1:8888"
    assert cloud.statuses() == ["Pending", "InService"]


def test_what_the_request_leaves_out_has_the_references_defaults(cloud: NotebookCloud) -> None:
    cloud.ready()
    described = cloud.describe()
    defaults = {
        "VolumeSizeInGB": 5,
        "DirectInternetAccess": "Enabled",
        "RootAccess": "Enabled",
        "PlatformIdentifier": "notebook-al2023-v1",
        "IpAddressType": "ipv4",
        "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "1"},
    }
    assert {key: described[key] for key in defaults} == defaults
    assert not {"SubnetId", "KmsKeyId", "FailureReason"} & described.keys()


def test_an_instance_is_stopped_started_and_deleted_with_its_volume(cloud: NotebookCloud) -> None:
    first = cloud.ready(Tags=[{"Key": "owner", "Value": "ada"}])
    first.spec.volume.joinpath("work.ipynb").write_text("{}")
    cloud.stop()
    assert "Url" not in cloud.describe()
    second = cloud.restart_instance()
    assert second.spec.volume.joinpath("work.ipynb").exists()
    cloud.stop()
    cloud.call("DeleteNotebookInstance", NotebookInstanceName="mine")
    gone(cloud)
    assert cloud.runtime.removed == [cloud.folder / "notebooks/mine/volume"]
    assert not (cloud.folder / "notebooks/mine").exists()
    with pytest.raises(ValidationError, match="Could not find resource"):
        cloud.call("ListTags", ResourceArn=ARN)
    assert cloud.statuses() == [
        *("Pending", "InService", "Stopping", "Stopped"),
        *("Pending", "InService", "Stopping", "Stopped", "Deleting"),
    ]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("StartNotebookInstance", "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Pending)"),
        ("DeleteNotebookInstance", "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Deleting)"),
        ("UpdateNotebookInstance", "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Updating)"),
    ],
)
def test_what_an_instance_in_service_does_not_allow(cloud: NotebookCloud, operation: str, message: str) -> None:
    cloud.ready()
    with pytest.raises(ValidationError) as caught:
        cloud.call(operation, NotebookInstanceName="mine")
    assert str(caught.value) == f"{message} for Notebook Instance ({ARN})."
    assert cloud.status() == "InService"


def test_nothing_can_be_done_while_something_is_done(cloud: NotebookCloud) -> None:
    release = cloud.runtime.hanging("stop")
    cloud.ready()
    cloud.call("StopNotebookInstance", NotebookInstanceName="mine")
    assert cloud.status() == "Stopping", "the answer comes before the instance ends"
    for operation in ("Start", "Stop", "Delete", "Update"):
        with pytest.raises(ValidationError, match=r"Status \(Stopping\) not in"):
            cloud.call(f"{operation}NotebookInstance", NotebookInstanceName="mine")
    release()
    cloud.until("Stopped")
    with pytest.raises(ValidationError, match=r"Status \(Stopped\) not in \(\[InService\]\)"):
        cloud.call("StopNotebookInstance", NotebookInstanceName="mine")


def test_an_instance_that_stops_itself_keeps_its_credentials_until_it_has_ended(cloud: NotebookCloud) -> None:
    release = cloud.runtime.hanging("stop")
    instance = cloud.ready()
    key = instance.spec.environment["AWS_ACCESS_KEY_ID"]
    cloud.call("StopNotebookInstance", NotebookInstanceName="mine")
    assert cloud.services.sessions[key] == ROLE
    release()
    cloud.until("Stopped")
    assert not cloud.services.sessions


def test_what_the_machine_cannot_run_is_failed_with_its_reason_and_can_be_deleted(cloud: NotebookCloud) -> None:
    cloud.runtime.refusal = "No JupyterLab is installed. Run: make jupyterlab"
    cloud.create()
    assert cloud.until("Failed")["FailureReason"] == cloud.runtime.refusal
    cloud.call("DeleteNotebookInstance", NotebookInstanceName="mine")
    gone(cloud)


def test_an_instance_that_ends_by_itself_is_failed(cloud: NotebookCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_life, "WATCH_EVERY_S", 0.005)
    cloud.restart()
    instance = cloud.ready()
    instance.runs = False
    reason = cloud.until("Failed")["FailureReason"]
    assert reason.startswith("InternalServerError: JupyterLab has ended and does not stay up")
    assert cloud.restart_instance().runs


def test_what_is_left_of_an_instance_that_ended_goes_before_somebody_starts_it_again(
    cloud: NotebookCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_life, "WATCH_EVERY_S", 0.005)
    cloud.restart()
    release = cloud.runtime.hanging("stop")
    cloud.ready().runs = False
    for _ in patiently("the end to be noticed"):
        if cloud.runtime.reached:
            break
    for operation in ("StartNotebookInstance", "CreatePresignedNotebookInstanceUrl"):
        with pytest.raises(ValidationError, match=r"Status \(InService\) not in|JupyterLab does not run"):
            cloud.call(operation, NotebookInstanceName="mine")
    release()
    cloud.until("Failed")


def test_who_stops_an_instance_that_is_ending_waits_for_its_end(
    cloud: NotebookCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_life, "WATCH_EVERY_S", 0.005)
    cloud.restart()
    release = cloud.runtime.hanging("stop")
    instance = cloud.ready()
    instance.runs = False
    for _ in patiently("the end to be noticed"):
        if cloud.runtime.reached:
            break
    cloud.call("StopNotebookInstance", NotebookInstanceName="mine")
    time.sleep(0.1)
    assert cloud.status() == "Stopping", "its volume is still in use"
    release()
    cloud.until("Stopped")
    assert instance.did.count("stop") == 1
    assert cloud.restart_instance().runs
    assert cloud.status() == "InService"


def test_an_end_that_is_written_down_late_fails_no_later_start(cloud: NotebookCloud) -> None:
    cloud.ready()
    seen = notebook_status.find(cloud.service, USER, "mine")
    cloud.stop()
    cloud.restart_instance()
    assert not notebook_status.finish(cloud.service, USER, "mine", "Failed", "It has ended.", unchanged_since=seen)
    assert cloud.status() == "InService"


def test_a_status_is_written_as_soon_as_a_full_disk_has_room_again(
    cloud: NotebookCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_life, "WRITE_AGAIN_S", 0.005)
    refused: list[str] = []
    put = cloud.service.store.put

    def full(kind: str, account: str, region: str, name: str, document: Document) -> None:
        if document.get("NotebookInstanceStatus") == "InService" and len(refused) < 3:
            refused.append(name)
            raise sqlite3.OperationalError("database or disk is full")
        put(kind, account, region, name, document)

    monkeypatch.setattr(cloud.service.store, "put", full)
    cloud.ready()
    assert refused == ["mine"] * 3
    assert cloud.statuses() == ["Pending", "InService"], "what was not written was not told"


def test_a_deletion_ends_as_soon_as_a_full_disk_has_room_again(
    cloud: NotebookCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_life, "WRITE_AGAIN_S", 0.005)
    cloud.ready()
    cloud.stop()
    refused: list[str] = []
    delete = cloud.service.store.delete

    def full(kind: str, account: str, region: str, name: str) -> None:
        if len(refused) < 3:
            refused.append(name)
            raise sqlite3.OperationalError("database or disk is full")
        delete(kind, account, region, name)

    monkeypatch.setattr(cloud.service.store, "delete", full)
    cloud.call("DeleteNotebookInstance", NotebookInstanceName="mine")
    gone(cloud)
    assert len(refused) == 3


def test_an_instance_that_breaks_while_it_is_stopped_is_stopped(cloud: NotebookCloud) -> None:
    cloud.ready()
    cloud.runtime.breaks["stop"] = OSError("the engine is gone")
    cloud.stop()
    assert not cloud.services.sessions


def test_a_volume_that_cannot_be_deleted_fails_the_deletion_which_can_be_asked_for_again(cloud: NotebookCloud) -> None:
    cloud.ready()
    cloud.stop()
    cloud.runtime.breaks["remove"] = OSError("the engine is gone")
    cloud.call("DeleteNotebookInstance", NotebookInstanceName="mine")
    assert "The volume cannot be deleted (the engine is gone)" in cloud.until("Failed")["FailureReason"]
    cloud.runtime.breaks.clear()
    cloud.call("DeleteNotebookInstance", NotebookInstanceName="mine")
    gone(cloud)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_ends_the_file_of_a_log_and_not_what_prints() -> None:
    class Stream:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def write(self, text: str) -> None:
            self.lines.append(text)

        def close(self, *_: float) -> None:
            self.lines.append("closed")

    stream = Stream()
    log = JobLog(stream, Path("/dev/full"))  # type: ignore[arg-type]
    log.line("first")
    log.line("second")
    log.close()
    assert stream.lines == ["first", "second", "closed"]


def test_a_name_is_taken_whatever_its_case(cloud: NotebookCloud) -> None:
    cloud.create()
    with pytest.raises(ValidationError) as caught:
        cloud.create("MINE")
    assert str(caught.value) == f"Cannot create a duplicate Notebook Instance ({ARN})"


@pytest.mark.parametrize("operation", ["Describe", "Start", "Stop", "Update", "Delete"])
def test_what_is_not_there_is_not_found(cloud: NotebookCloud, operation: str) -> None:
    with pytest.raises(ValidationError, match=r"^RecordNotFound$"):
        cloud.call(f"{operation}NotebookInstance", NotebookInstanceName="none")


# Settings


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"InstanceType": "ml.t3.nano"}, "Member must satisfy enum value set"),
        ({"VolumeSizeInGB": 4}, "greater than or equal to 5"),
        ({"VolumeSizeInGB": 16385}, "less than or equal to 16384"),
        ({"PlatformIdentifier": "notebook-al2-v1"}, r"Platform identifier \(notebook-al2-v1\) is not supported"),
        ({"PlatformIdentifier": "notebook-al2-v3"}, r"Platform identifier \(notebook-al2-v3\) is not supported"),
        ({"PlatformIdentifier": "notebook-al3"}, "regular expression"),
        ({"AcceleratorTypes": ["ml.eia1.medium"]}, "Elastic Inference is no longer available"),
        ({"KmsKeyId": "key-0"}, "KmsKeyId key-0: Key 'key-0' does not exist"),
        ({"KmsKeyId": "key-2"}, "the key is PendingDeletion; it must be Enabled"),
        ({"DirectInternetAccess": "Disabled"}, "can be Disabled only with a SubnetId"),
        ({"SubnetId": "subnet-1"}, "needs SecurityGroupIds"),
        ({"SecurityGroupIds": ["sg-1"]}, "need a SubnetId"),
        ({**IN_VPC, "SubnetId": "subnet-0"}, "The subnet ID 'subnet-0' does not exist"),
        ({**IN_VPC, "SecurityGroupIds": ["sg-0"]}, "The security group 'sg-0' does not exist"),
        ({**IN_VPC, "SecurityGroupIds": ["sg-1", "sg-2"]}, "sg-2 is of vpc-2, and the subnet subnet-1 of vpc-1"),
        ({**IN_VPC, "IpAddressType": "dualstack"}, "has no IPv6 CIDR block"),
        ({"LifecycleConfigName": "none"}, "Notebook Instance Lifecycle Config does not exist"),
        ({"DefaultCodeRepository": "none"}, "Cannot find CodeRepository"),
        ({"NotebookInstanceName": "-a"}, "regular expression"),
        ({"NotebookInstanceName": "a" * 64}, "less than or equal to 63"),
        ({"InstanceMetadataServiceConfiguration": {}}, "minimumInstanceMetadataServiceVersion"),
    ],
    ids=lambda value: "+".join(f"{k}={v}"[:40] for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused_at_once(cloud: NotebookCloud, request_: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        cloud.call(
            "CreateNotebookInstance",
            **{"NotebookInstanceName": "mine", "InstanceType": "ml.t3.medium", "RoleArn": ROLE, **request_},
        )
    assert cloud.call("ListNotebookInstances")["NotebookInstances"] == []


def test_the_instance_is_told_what_was_asked_for(cloud: NotebookCloud) -> None:
    instance = cloud.ready(**IN_VPC, DirectInternetAccess="Disabled", RootAccess="Disabled", KmsKeyId="key-1")
    assert (instance.spec.root_access, instance.spec.direct_internet) == (False, False)
    assert (instance.spec.arn, instance.spec.platform) == (ARN, "notebook-al2023-v1")
    described = cloud.describe()
    assert (described["SubnetId"], described["SecurityGroups"], described["KmsKeyId"]) == (
        "subnet-1",
        ["sg-1"],
        "key-1",
    )


def test_the_role_must_be_passed_by_the_caller_and_assumed_by_sagemaker(cloud: NotebookCloud) -> None:
    cloud.services.denials[(USER.arn, "iam:PassRole")] = "User: tester is not authorized to perform: iam:PassRole"
    with pytest.raises(AccessDenied, match="iam:PassRole"):
        cloud.create()
    cloud.services.denials.clear()
    cloud.services.refused_roles.add(ROLE)
    with pytest.raises(ValidationError, match="Could not assume role"):
        cloud.create()


def test_an_update_is_there_at_the_next_start(cloud: NotebookCloud) -> None:
    cloud.ready()
    cloud.stop()
    change: dict[str, Any] = {"InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 20, "RootAccess": "Disabled"}
    cloud.call("UpdateNotebookInstance", NotebookInstanceName="mine", **change)
    described = cloud.until("Stopped")
    assert {key: described[key] for key in change} == change
    assert cloud.restart_instance().spec.root_access is False
    assert "Updating" in cloud.statuses()


def test_a_volume_only_grows(cloud: NotebookCloud) -> None:
    cloud.ready(VolumeSizeInGB=20)
    cloud.stop()
    with pytest.raises(ValidationError, match="VolumeSizeInGB 10: the volume has 20 GB and cannot be made smaller"):
        cloud.call("UpdateNotebookInstance", NotebookInstanceName="mine", VolumeSizeInGB=10)
    assert cloud.status() == "Stopped"


def test_an_instance_whose_repository_was_deleted_can_still_be_changed(cloud: NotebookCloud) -> None:
    git = {"RepositoryUrl": "https://example.org/analysis"}
    cloud.call("CreateCodeRepository", CodeRepositoryName="analysis", GitConfig=git)
    cloud.ready(DefaultCodeRepository="analysis")
    cloud.stop()
    cloud.call("DeleteCodeRepository", CodeRepositoryName="analysis")
    cloud.call("UpdateNotebookInstance", NotebookInstanceName="mine", InstanceType="ml.m5.xlarge")
    cloud.until("Stopped")
    cloud.call("StartNotebookInstance", NotebookInstanceName="mine")
    assert "Cannot find CodeRepository" in cloud.until("Failed")["FailureReason"]


def test_repositories_are_taken_off_by_an_update(cloud: NotebookCloud) -> None:
    cloud.ready(DefaultCodeRepository="https://example.org/a", AdditionalCodeRepositories=["https://example.org/b"])
    cloud.stop()
    flags = {"DisassociateDefaultCodeRepository": True, "DisassociateAdditionalCodeRepositories": True}
    with pytest.raises(ValidationError, match="contradict each other"):
        cloud.call(
            "UpdateNotebookInstance", NotebookInstanceName="mine", DefaultCodeRepository="https://x.org/c", **flags
        )
    cloud.call("UpdateNotebookInstance", NotebookInstanceName="mine", **flags)
    cloud.until("Stopped")
    assert not {"DefaultCodeRepository", "AdditionalCodeRepositories"} & cloud.describe().keys()
    assert cloud.restart_instance().did == ["jupyter"]


def test_lists_are_filtered_and_sorted(cloud: NotebookCloud) -> None:
    cloud.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="standard")
    cloud.ready("b-second", LifecycleConfigName="standard")
    cloud.ready("a-first", DefaultCodeRepository="https://example.org/analysis")
    cloud.ready("c-third", AdditionalCodeRepositories=["https://example.org/more"])
    cloud.stop("c-third")

    def listed(**request: Any) -> list[str]:
        found = cloud.call("ListNotebookInstances", **request)["NotebookInstances"]
        return [each["NotebookInstanceName"] for each in found]

    assert listed() == ["a-first", "b-second", "c-third"]
    assert listed(SortBy="CreationTime", SortOrder="Descending") == ["c-third", "a-first", "b-second"]
    assert listed(StatusEquals="Stopped") == ["c-third"]
    assert listed(NameContains="sec") == ["b-second"]
    assert listed(NotebookInstanceLifecycleConfigNameContains="stand") == ["b-second"]
    assert listed(DefaultCodeRepositoryContains="analysis") == ["a-first"]
    assert listed(AdditionalCodeRepositoryEquals="https://example.org/more") == ["c-third"]
    assert listed(CreationTimeAfter=time.time() + 60) == []
    first = cloud.call("ListNotebookInstances", MaxResults=2)
    assert len(first["NotebookInstances"]) == 2
    assert listed(NextToken=first["NextToken"]) == ["c-third"]


# Presigned URLs


def test_a_presigned_url_is_valid_for_five_minutes_and_its_session_for_twelve_hours(cloud: NotebookCloud) -> None:
    instance, before = cloud.ready(), time.time()
    url = cloud.call("CreatePresignedNotebookInstanceUrl", NotebookInstanceName="mine")["AuthorizedUrl"]
    ((token, expires_at, session),) = instance.authorized
    assert url.endswith(f"authToken={token}")
    assert len(token) >= 40
    assert before + 300 <= expires_at <= time.time() + 300
    assert session == 43_200
    short = {"SessionExpirationDurationInSeconds": 1800}
    cloud.call("CreatePresignedNotebookInstanceUrl", NotebookInstanceName="mine", **short)
    assert instance.authorized[1][0] != token
    assert instance.authorized[1][2] == 1800


@pytest.mark.parametrize("seconds", [1799, 43_201])
def test_a_session_has_its_limits(cloud: NotebookCloud, seconds: int) -> None:
    cloud.ready()
    with pytest.raises(ValidationError, match="sessionExpirationDurationInSeconds"):
        cloud.call(
            "CreatePresignedNotebookInstanceUrl",
            NotebookInstanceName="mine",
            SessionExpirationDurationInSeconds=seconds,
        )


def test_only_an_instance_in_service_has_a_presigned_url(cloud: NotebookCloud) -> None:
    cloud.ready()
    cloud.stop()
    with pytest.raises(ValidationError, match=r"Status \(Stopped\) not in \(\[InService\]\)"):
        cloud.call("CreatePresignedNotebookInstanceUrl", NotebookInstanceName="mine")


def test_there_is_no_url_to_a_jupyter_that_has_ended(cloud: NotebookCloud) -> None:
    cloud.ready().runs = False
    with pytest.raises(ValidationError, match=r"Unable to create a presigned URL .*: JupyterLab does not run\."):
        cloud.call("CreatePresignedNotebookInstanceUrl", NotebookInstanceName="mine")


# Restarts of the local cloud


def test_what_was_in_service_comes_back_as_after_a_maintenance(cloud: NotebookCloud) -> None:
    scripts = {"OnCreate": encoded("echo once"), "OnStart": encoded("echo always")}
    cloud.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="a", **scripts)
    cloud.ready(LifecycleConfigName="a")
    cloud.restart()
    cloud.until("InService")
    assert cloud.runtime.instances[0].did == ["OnStart", "jupyter"]


def test_what_was_stopped_stays_stopped(cloud: NotebookCloud) -> None:
    cloud.ready()
    cloud.stop()
    cloud.restart()
    assert cloud.status() == "Stopped"
    assert not cloud.runtime.instances


def test_a_start_that_was_cut_off_is_done_again_with_its_on_create(cloud: NotebookCloud) -> None:
    scripts = {"OnCreate": encoded("echo once")}
    cloud.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="a", **scripts)
    cloud.runtime.hanging("OnCreate")
    cloud.create(LifecycleConfigName="a")
    for _ in patiently("OnCreate to run"):
        if cloud.runtime.instances and cloud.runtime.instances[0].did:
            break
    cloud.restart()
    assert cloud.status() in ("Pending", "InService"), "the end of the local cloud is no failure of the instance"
    cloud.until("InService")
    assert cloud.runtime.instances[0].did == ["OnCreate", "jupyter"]


@pytest.mark.parametrize(("status", "then"), [("Stopping", "Stopped"), ("Updating", "Stopped"), ("Deleting", None)])
def test_what_was_under_way_is_finished(cloud: NotebookCloud, status: str, then: str | None) -> None:
    cloud.ready()
    key = ("notebook-instance", USER.account, USER.region, "mine")
    cloud.service.store.update(*key, lambda document: document.update(NotebookInstanceStatus=status))
    cloud.restart()
    if then:
        cloud.until(then)
    else:
        gone(cloud)


# In templates


class Stack:
    """A resource of a stack, as CloudFormation handles it."""

    def __init__(self, cloud: NotebookCloud, **properties: Any) -> None:
        kinds = {kind.noun: (kind, make) for kind, make in RESOURCE_TYPES.items()}
        kind, make = kinds["NotebookInstance"]
        self.caller = Caller(USER.account, USER.region, "arn:aws:iam::000000000000:root")
        self.provisioner = make(lambda: cloud.service, kind, lambda: self.caller)
        assert isinstance(self.provisioner, NotebookInstanceProvisioner)
        self.properties = {"InstanceType": "ml.t3.medium", "RoleArn": ROLE, **properties}

    def create(self) -> tuple[str, dict[str, Any]]:
        return self.provisioner.create("Notebook", self.properties, "stack")

    def update(self, physical_id: str, **change: Any) -> None:
        new = {key: value for key, value in {**self.properties, **change}.items() if value is not None}
        old, self.properties = self.properties, new
        self.provisioner.update(physical_id, old, new, "stack")


def test_a_stack_waits_until_its_instance_is_in_service(cloud: NotebookCloud) -> None:
    physical_id, attributes = Stack(cloud).create()
    name = attributes["NotebookInstanceName"]
    assert name.startswith("Notebook-")
    assert physical_id == f"{PREFIX}:notebook-instance/{name.lower()}"
    assert cloud.status(name) == "InService"


def test_a_stack_fails_with_the_instances_reason_and_leaves_none(cloud: NotebookCloud) -> None:
    cloud.runtime.refusal = "It cannot run here."
    with pytest.raises(ProvisioningError, match=r"did not stabilize: It cannot run here\."):
        Stack(cloud).create()
    for _ in patiently("the instance to be gone"):
        if not cloud.call("ListNotebookInstances")["NotebookInstances"]:
            return


def updated(cloud: NotebookCloud, stack: Stack, physical_id: str) -> list[str]:
    before = len(cloud.statuses())
    stack.update(physical_id, InstanceType="ml.m5.xlarge", VolumeSizeInGB="20", DefaultCodeRepository=None)
    return cloud.statuses()[before:]


def test_an_update_of_a_stack_stops_the_instance_changes_it_and_starts_it_again(cloud: NotebookCloud) -> None:
    stack = Stack(cloud, DefaultCodeRepository="https://example.org/a")
    physical_id, attributes = stack.create()
    seen = updated(cloud, stack, physical_id)
    assert seen == ["Stopping", "Stopped", "Updating", "Stopped", "Pending", "InService"]
    described = cloud.describe(attributes["NotebookInstanceName"])
    assert (described["InstanceType"], described["VolumeSizeInGB"]) == ("ml.m5.xlarge", 20)
    assert "DefaultCodeRepository" not in described


def test_an_update_of_a_stack_leaves_an_instance_stopped_that_was(cloud: NotebookCloud) -> None:
    stack = Stack(cloud)
    physical_id, attributes = stack.create()
    cloud.stop(attributes["NotebookInstanceName"])
    assert updated(cloud, stack, physical_id) == ["Updating", "Stopped"]


def test_a_stack_that_goes_back_after_a_broken_script_has_its_instance_in_service_again(cloud: NotebookCloud) -> None:
    for name, script in (("good", "echo ready"), ("broken", "exit 1")):
        cloud.call(
            "CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName=name, OnStart=encoded(script)
        )
    stack = Stack(cloud, LifecycleConfigName="good")
    physical_id, attributes = stack.create()
    cloud.runtime.outcomes["OnStart"] = 1
    with pytest.raises(ProvisioningError, match="OnStart ended with exit code 1"):
        stack.update(physical_id, LifecycleConfigName="broken")
    cloud.runtime.outcomes.clear()
    stack.update(physical_id, LifecycleConfigName="good")
    described = cloud.describe(attributes["NotebookInstanceName"])
    assert described["NotebookInstanceStatus"] == "InService"
    assert described["NotebookInstanceLifecycleConfigName"] == "good"


def test_new_tags_of_a_stack_do_not_stop_the_instance(cloud: NotebookCloud) -> None:
    stack = Stack(cloud)
    physical_id, _ = stack.create()
    before = cloud.statuses()
    stack.update(physical_id, Tags=[{"Key": "owner", "Value": "ada"}])
    assert cloud.statuses() == before
    assert cloud.call("ListTags", ResourceArn=physical_id)["Tags"] == [{"Key": "owner", "Value": "ada"}]


@pytest.mark.parametrize(
    "before",
    [lambda cloud, name: None, lambda cloud, name: cloud.stop(name)],
    ids=["in service", "stopped"],
)
def test_a_deleted_stack_stops_and_deletes_its_instance(
    cloud: NotebookCloud, before: Callable[[NotebookCloud, str], None]
) -> None:
    stack = Stack(cloud)
    physical_id, attributes = stack.create()
    before(cloud, attributes["NotebookInstanceName"])
    stack.provisioner.delete(physical_id, stack.properties)
    with pytest.raises(ApiError, match="RecordNotFound"):
        cloud.describe(attributes["NotebookInstanceName"])
    stack.provisioner.delete(physical_id, stack.properties)
