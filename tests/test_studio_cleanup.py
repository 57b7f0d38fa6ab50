"""Deleting a Studio domain: what goes, in which order, what stays, and what a person is told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from functions.studio_cleanup.handler import PATIENCE_S, is_complete, on_event
from functions.studio_cleanup.homes import note_homes
from functions.studio_cleanup.names import DOMAIN, HOME, KEPT, MANAGED_BY, MARK, PROFILE, RESIDUE, SPACE
from functions.studio_cleanup.problems import Problem
from tests.studio_fakes import ARN, DOMAIN_ID, PREFIX, STACK, VPC, Cloud, refusal

FIXED = {"auth": "iam", "network": VPC}
PROPERTIES: dict[str, dict[str, Any]] = {
    RESIDUE: {
        "DomainLogicalId": "StudioDomain",
        "DomainArnPrefix": PREFIX,
        "VpcId": VPC,
        "HomeDirectories": "delete",
        "Fixed": json.dumps(FIXED),
    },
    DOMAIN: {"DomainId": DOMAIN_ID, "DomainArn": ARN, "VpcId": VPC, "HomeDirectories": "delete"},
    PROFILE: {"DomainId": DOMAIN_ID, "UserProfileName": "ada", "HomeDirectories": "delete"},
    SPACE: {"DomainId": DOMAIN_ID, "SpaceName": "research"},
}


def event(resource: str, kind: str = "Delete", **properties: Any) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResourceType": resource,
        "StackId": STACK,
        "LogicalResourceId": "Studio",
        "ResourceProperties": {**PROPERTIES[resource], **properties},
        **({"PhysicalResourceId": "studio/1"} if kind != "Create" else {}),
    }


def send(cloud: Cloud, sent: dict[str, Any]) -> dict[str, Any]:
    """What the provider framework does once: the answer is a part of all that follows."""
    return {**sent, **on_event(sent, None, cloud.clients)}


def poll(cloud: Cloud, sent: dict[str, Any], *, times: int = 40) -> int:
    """What the provider framework does until it is done; how often it asked."""
    for number in range(1, times + 1):
        if is_complete(sent, None, cloud.clients)["IsComplete"]:
            return number
    raise AssertionError(f"not done after {times} looks: {cloud.deleted}")


def delete(cloud: Cloud, resource: str, **properties: Any) -> int:
    return poll(cloud, send(cloud, event(resource, **properties)))


def late(sent: dict[str, Any]) -> dict[str, Any]:
    """As it is asked when patience has run out."""
    return {**sent, "Until": time.time() - 1}


def a_domain(pace: int = 1) -> Cloud:
    """Two people, a space of git's and two of their own, apps in some, and what SageMaker made around it, marked as ours."""
    cloud = Cloud(pace)
    cloud.add_profile("ada")
    cloud.add_profile("grace")
    cloud.add_space("research", "ada")
    cloud.add_space("mine", "ada")
    cloud.add_space("together", "grace", "Shared")
    cloud.add_app("research")
    cloud.add_app("mine")
    cloud.add_app(None, profile="grace")
    cloud.add_residue()
    created = send(cloud, event(DOMAIN, "Create"))
    assert is_complete(created, None, cloud.clients) == {"IsComplete": True}
    return cloud


def take_out(cloud: Cloud, kind: str, key: str, name: str) -> None:
    """What CloudFormation itself deletes."""
    setattr(cloud, kind, [each for each in getattr(cloud, kind) if each[key] != name])


def delete_stack(cloud: Cloud, home_directories: str = "delete") -> None:
    """In CloudFormation's order: the space of git with its app, ada's profile, the rest, the domain, what it left."""
    delete(cloud, SPACE)
    take_out(cloud, "spaces", "SpaceName", "research")
    delete(cloud, PROFILE, HomeDirectories=home_directories)
    take_out(cloud, "profiles", "UserProfileName", "ada")
    delete(cloud, DOMAIN, HomeDirectories=home_directories)
    cloud.delete_domain()
    delete(cloud, RESIDUE, HomeDirectories=home_directories)


@pytest.mark.parametrize("pace", [0, 1, 5])
def test_a_whole_stack_leaves_nothing(pace: int) -> None:
    cloud = a_domain(pace)

    delete_stack(cloud)

    left = (cloud.spaces, cloud.profiles, cloud.systems, cloud.targets, cloud.groups, cloud.interfaces)
    assert left == ([], [], [], [], [], [])


def test_home_directories_are_kept_without_what_would_keep_the_network() -> None:
    cloud = a_domain()

    delete_stack(cloud, "keep")

    assert cloud.left_of("systems") == ["fs-1"]
    assert (cloud.targets, cloud.groups, cloud.interfaces) == ([], [], [])


def test_what_was_kept_is_not_taken_along_by_a_later_domain_of_the_same_stack() -> None:
    cloud = a_domain()
    delete_stack(cloud, "keep")

    assert {"Key": MARK, "Value": KEPT} in cloud.systems[0]["Tags"]
    cloud.status, cloud.physical_id = None, "d-another"
    delete(cloud, RESIDUE, HomeDirectories="delete")

    assert cloud.left_of("systems") == ["fs-1"]


def test_what_is_kept_is_ours_until_nothing_of_it_keeps_the_network() -> None:
    """Without the mark its mount targets could not be deleted any more."""
    cloud = gone(pace=2)
    sent = send(cloud, event(RESIDUE, HomeDirectories="keep"))

    assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}

    assert {"Key": MARK, "Value": STACK} in cloud.systems[0]["Tags"]


def homes(cloud: Cloud) -> dict[str, str]:
    """Whose each directory is, as the file system says."""
    (system,) = cloud.systems
    return {tag["Key"].removeprefix(HOME): tag["Value"] for tag in system["Tags"] if tag["Key"].startswith(HOME)}


def test_a_kept_file_system_says_whose_each_directory_is() -> None:
    """SageMaker numbers them, and forgets the numbers with the profiles; also of somebody whom no git knows."""
    cloud = a_domain()
    cloud.add_profile("somebody")

    delete_stack(cloud, "keep")

    assert homes(cloud) == {"200005": "ada", "200010": "grace", "200015": "somebody"}


def test_whose_directory_finds_no_place_on_the_file_system_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """And keeps nothing from being deleted."""
    cloud = a_domain()
    cloud.denied.add("TagResource")

    delete(cloud, PROFILE, HomeDirectories="keep")

    said = capsys.readouterr().out
    assert '"directory": "/200005", "profile": "ada"' in said
    assert '"outcome": "home directories not noted"' in said


def test_one_that_finds_no_place_keeps_no_other_out_of_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud()
    people = [f"p{number}" for number in range(5)]
    for name in people:
        cloud.add_profile(name)
    cloud.add_residue()
    tag = cloud.tag_resource

    def with_room_for_two(**request: Any) -> None:
        if len(homes(cloud)) == 2:
            raise refusal("BadRequest", "Too many tags")
        tag(**request)

    monkeypatch.setattr(cloud, "tag_resource", with_room_for_two)

    note_homes(cloud.clients, DOMAIN_ID)

    assert list(homes(cloud).values()) == ["p0", "p1"]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["profile"] for each in said if each["outcome"] == "home directory"] == people
    assert [each["profile"] for each in said if each["outcome"] == "home directories not noted"] == people[2:]


def test_an_event_that_does_not_say_what_becomes_of_home_directories_is_one_that_keeps_none() -> None:
    """What is taken out in an update is deleted by the new code, with the properties that it was deployed with."""
    cloud = a_domain()
    old = event(PROFILE)
    del old["ResourceProperties"]["HomeDirectories"]

    poll(cloud, send(cloud, old))

    assert homes(cloud) == {}


def test_directories_that_are_deleted_need_no_names() -> None:
    cloud = a_domain()
    delete(cloud, PROFILE)
    assert homes(cloud) == {}


@pytest.mark.parametrize("resource", [SPACE, PROFILE, DOMAIN, RESIDUE])
def test_too_many_requests_are_asked_again_later(resource: str) -> None:
    """A service that is busy for a moment must not end a deletion of an hour."""
    cloud = gone() if resource == RESIDUE else a_domain()
    sent = send(cloud, event(resource))
    cloud.busy = 2

    assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}
    poll(cloud, sent)


def test_what_does_not_go_in_an_update_is_said_to_be_forgotten() -> None:
    """Another deployment would not try again: the stack does not know it any more."""
    cloud = a_domain()
    cloud.stack_status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    cloud.denied.add("DeleteSpace")
    delete(cloud, SPACE)
    sent = send(cloud, event(PROFILE))
    for _ in range(10):
        is_complete(sent, None, cloud.clients)

    with pytest.raises(Problem, match=r"space mine \(InService\): .* CloudFormation forgets what it could not delete"):
        is_complete(late(sent), None, cloud.clients)


# In the domain


def test_a_space_loses_its_app_and_stays() -> None:
    cloud = a_domain()

    delete(cloud, SPACE)

    assert cloud.deleted == ["app research"]
    assert "research" in cloud.left_of("spaces")


def test_a_profile_loses_what_the_person_made_and_stays() -> None:
    cloud = a_domain()
    delete(cloud, SPACE)
    take_out(cloud, "spaces", "SpaceName", "research")

    delete(cloud, PROFILE)

    assert cloud.deleted == ["app research", "app mine", "space mine"]
    assert cloud.left_of("profiles") == ["ada", "grace"]
    assert cloud.left_of("spaces") == ["together"]


def test_an_app_that_is_still_starting_is_waited_for() -> None:
    """SageMaker refuses to delete it until it has started."""
    cloud = Cloud()
    cloud.add_space("research", "ada")
    cloud.add_app("research", "Pending")
    sent = send(cloud, event(SPACE))

    assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}
    cloud.apps[0]["Status"] = "InService"
    poll(cloud, sent)

    assert cloud.apps == []


@pytest.mark.parametrize("status", ["Failed", "Deleted"])
def test_an_app_that_failed_or_is_gone_is_in_nobodys_way(status: str) -> None:
    cloud = Cloud()
    cloud.add_space("research", "ada")
    cloud.add_app("research", status)

    assert delete(cloud, SPACE) == 1


def test_an_app_of_somebody_else_is_not_touched() -> None:
    cloud = a_domain()

    delete(cloud, PROFILE)

    assert [app.get("UserProfileName") for app in cloud.apps] == ["grace"]


def test_a_domain_loses_what_people_made_by_hand() -> None:
    cloud = a_domain()
    cloud.add_profile("somebody")
    cloud.add_space("theirs", "somebody")
    cloud.add_app("theirs")

    delete(cloud, DOMAIN)

    assert (cloud.apps, cloud.spaces, cloud.profiles) == ([], [], [])


@pytest.mark.parametrize("code", ["ResourceNotFound", "ValidationException"])
@pytest.mark.parametrize("resource", [SPACE, PROFILE, DOMAIN])
def test_a_domain_that_is_gone_has_nothing_in_it(resource: str, code: str) -> None:
    """Somebody deleted it by hand, or an earlier attempt did."""
    cloud = Cloud()
    cloud.status, cloud.gone_as = None, code

    assert delete(cloud, resource) == 1
    assert cloud.deleted == []


def test_a_person_who_leaves_takes_no_shared_space_along() -> None:
    """The stack stays: others may work in it."""
    cloud = a_domain()
    cloud.stack_status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    cloud.add_space("alone", "grace")
    sent = send(cloud, event(PROFILE, UserProfileName="grace"))

    with pytest.raises(Problem, match=r"grace owns shared spaces, in which others may work: together\."):
        poll(cloud, sent)

    assert cloud.left_of("spaces") == ["research", "mine", "together"]  # not alone, hers alone


def test_a_person_who_leaves_with_private_spaces_alone_just_leaves() -> None:
    cloud = a_domain()
    cloud.stack_status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"

    delete(cloud, PROFILE)

    assert cloud.left_of("spaces") == ["together"]


def test_a_creation_that_is_rolled_back_takes_all_along() -> None:
    cloud = a_domain()
    cloud.stack_status = "ROLLBACK_IN_PROGRESS"

    delete(cloud, PROFILE, UserProfileName="grace")

    assert "together" not in cloud.left_of("spaces")


def test_what_does_not_go_is_named_when_patience_runs_out() -> None:
    cloud = a_domain()
    cloud.denied.add("DeleteSpace")
    delete(cloud, SPACE)
    sent = send(cloud, event(PROFILE))
    for _ in range(10):
        assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}

    with pytest.raises(
        Problem, match=r"space mine \(InService\): AccessDeniedException: not authorized .* it goes on from here"
    ):
        is_complete(late(sent), None, cloud.clients)


def test_a_call_that_may_not_even_look_fails_at_once_with_what_was_said() -> None:
    cloud = a_domain()
    cloud.denied.add("List apps")

    with pytest.raises(type(refusal("x")), match="AccessDeniedException"):
        delete(cloud, DOMAIN)


def test_patience_ends_before_cloudformations() -> None:
    sent = send(Cloud(), event(DOMAIN))

    assert PATIENCE_S < 3600
    assert time.time() < sent["Until"] <= time.time() + PATIENCE_S


# What it left


def gone(pace: int = 1) -> Cloud:
    """A domain that is deleted, with what it left."""
    cloud = a_domain(pace)
    cloud.apps, cloud.spaces, cloud.profiles = [], [], []
    cloud.delete_domain()
    cloud.deleted = []
    return cloud


def test_what_is_left_goes_in_the_order_in_which_aws_lets_it_go() -> None:
    cloud = gone()

    delete(cloud, RESIDUE)

    assert cloud.deleted == ["mount target fsmt-1", "file system fs-1", "group sg-in1", "group sg-out1"]


def test_a_domain_that_is_somebody_elses_is_not_touched() -> None:
    """In the same network, and made by SageMaker as well."""
    cloud = gone()
    cloud.add_residue(PREFIX + "d-theirs", number=2)
    cloud.add_interface(
        "eni-app2", groups=["sg-out2"], tags=[{"Key": MANAGED_BY, "Value": PREFIX + "d-theirs"}], status="available"
    )

    delete(cloud, RESIDUE)

    assert cloud.left_of("systems") == ["fs-2"]
    assert cloud.left_of("groups") == ["sg-in2", "sg-out2"]
    assert [each["NetworkInterfaceId"] for each in cloud.interfaces] == ["eni-mount2", "eni-app2"]
    assert all(MARK not in {tag["Key"] for tag in each["Tags"]} for each in (*cloud.systems, *cloud.groups))


def test_what_has_the_name_of_a_group_of_sagemakers_and_not_its_tag_is_not_touched() -> None:
    cloud = gone()
    cloud.groups.append({**cloud.groups[0], "GroupId": "sg-mine", "Tags": [], "IpPermissions": []})

    delete(cloud, RESIDUE)

    assert cloud.left_of("groups") == ["sg-mine"]


def test_an_interface_that_was_left_is_deleted_and_one_in_use_is_waited_for() -> None:
    cloud = gone()
    tags = [{"Key": MANAGED_BY, "Value": ARN}]
    cloud.add_interface("eni-left", groups=["sg-out1"], tags=tags, status="available")
    cloud.add_interface("eni-used", groups=["sg-out1"], tags=tags, status="in-use")
    sent = send(cloud, event(RESIDUE))
    for _ in range(6):
        assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}
    assert "interface eni-left" in cloud.deleted
    assert cloud.left_of("groups") == ["sg-in1", "sg-out1"]

    cloud.interfaces = []  # SageMaker lets go of it
    poll(cloud, sent)

    assert cloud.groups == []


def test_an_interface_of_others_with_the_domains_group_is_waited_for_and_never_deleted() -> None:
    cloud = gone()
    cloud.add_interface("eni-theirs", groups=["sg-out1"], tags=[], status="available")
    sent = send(cloud, event(RESIDUE))
    for _ in range(6):
        assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}

    with pytest.raises(
        Problem, match=r"this is left of it: network interface eni-theirs \(available\)\. Delete it by hand"
    ):
        is_complete(late(sent), None, cloud.clients)


def test_a_group_that_another_group_names_is_named() -> None:
    """Of a file system of one's own, say, that let apps in by the group."""
    cloud = gone()
    rule = {"UserIdGroupPairs": [{"GroupId": "sg-out1"}]}
    cloud.groups.append(
        {
            "GroupId": "sg-fsx",
            "GroupName": "fsx",
            "VpcId": VPC,
            "Tags": [],
            "IpPermissions": [rule],
            "IpPermissionsEgress": [],
        }
    )
    sent = send(cloud, event(RESIDUE))
    for _ in range(6):
        assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}

    with pytest.raises(
        Problem, match=r"security group sg-out1 \(.*\): DependencyViolation: .* then delete the stack again"
    ):
        is_complete(late(sent), None, cloud.clients)
    assert cloud.left_of("groups") == ["sg-out1", "sg-fsx"]


def test_an_attempt_that_was_broken_off_is_taken_up_where_it_ended() -> None:
    cloud = gone(pace=3)
    sent = send(cloud, event(RESIDUE))
    for _ in range(3):
        is_complete(sent, None, cloud.clients)

    delete(cloud, RESIDUE)
    assert delete(cloud, RESIDUE) == 1  # and again, when there is nothing

    assert (cloud.systems, cloud.groups) == ([], [])


def test_a_domain_that_could_not_be_made_leaves_nothing_either() -> None:
    """It was never marked: CloudFormation knows its id."""
    cloud = Cloud()
    cloud.add_residue()
    cloud.status = None

    delete(cloud, RESIDUE)

    assert (cloud.systems, cloud.groups) == ([], [])


@pytest.mark.parametrize("physical_id", [None, "", "sagestack-dev-workbench-Studio-1ABC"])
def test_a_domain_that_was_never_begun_is_no_domain(physical_id: str | None) -> None:
    cloud = Cloud()
    cloud.add_residue(PREFIX + "d-theirs")
    cloud.status, cloud.physical_id = None, physical_id

    assert delete(cloud, RESIDUE) == 1
    assert cloud.deleted == []


def test_a_domain_that_is_still_there_keeps_its_files() -> None:
    """Somebody told CloudFormation to retain it."""
    cloud = a_domain()

    assert delete(cloud, RESIDUE) == 1
    assert cloud.deleted == []


def test_a_domain_that_is_being_deleted_is_waited_for() -> None:
    cloud = a_domain()
    cloud.status = "Deleting"
    sent = send(cloud, event(RESIDUE))

    assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}
    assert cloud.deleted == []


def test_a_missing_right_is_named_with_what_it_leaves() -> None:
    cloud = gone()
    cloud.denied.add("DeleteMountTarget")

    with pytest.raises(Problem, match=r"mount target fsmt-1 of file system fs-1: AccessDeniedException"):
        is_complete(late(send(cloud, event(RESIDUE))), None, cloud.clients)


def test_a_script_that_an_update_could_not_delete_goes_last_and_nobody_elses_does() -> None:
    cloud = gone()
    cloud.scripts = {"arn:ours": {MARK: STACK}, "arn:theirs": {MARK: "another stack"}, "arn:by-hand": {}}

    delete(cloud, RESIDUE)

    assert list(cloud.scripts) == ["arn:theirs", "arn:by-hand"]


def test_a_script_that_does_not_go_is_named() -> None:
    cloud = gone()
    cloud.systems, cloud.targets, cloud.groups, cloud.interfaces = [], [], [], []
    cloud.scripts = {"arn:ours": {MARK: STACK}}
    cloud.denied.add("DeleteStudioLifecycleConfig")

    with pytest.raises(Problem, match="lifecycle config ours: AccessDeniedException"):
        is_complete(late(send(cloud, event(RESIDUE))), None, cloud.clients)


# When nothing is deleted


@pytest.mark.parametrize("kind", ["Create", "Update"])
@pytest.mark.parametrize("resource", [RESIDUE, PROFILE, SPACE])
def test_making_and_changing_touches_nothing(resource: str, kind: str) -> None:
    cloud = a_domain()
    sent = {**event(resource, kind), "OldResourceProperties": PROPERTIES[resource]}

    assert poll(cloud, send(cloud, sent)) == 1
    assert cloud.deleted == []


def test_what_sagemaker_made_is_marked_and_nothing_else() -> None:
    cloud = Cloud()
    cloud.add_residue()
    cloud.add_residue(PREFIX + "d-theirs", number=2)

    poll(cloud, send(cloud, event(DOMAIN, "Create")))

    marked = [each for each in (*cloud.systems, *cloud.groups) if {"Key": MARK, "Value": STACK} in each["Tags"]]
    assert [each.get("FileSystemId") or each["GroupId"] for each in marked] == ["fs-1", "sg-in1", "sg-out1"]


def test_a_right_that_iam_does_not_know_yet_is_waited_for_a_while_and_fails_nothing() -> None:
    cloud = Cloud()
    cloud.add_residue()
    cloud.denied.add("TagResource")
    sent = send(cloud, event(DOMAIN, "Create"))

    assert is_complete(sent, None, cloud.clients) == {"IsComplete": False}
    assert is_complete(late(sent), None, cloud.clients) == {"IsComplete": True}
    cloud.denied.clear()
    assert is_complete(sent, None, cloud.clients) == {"IsComplete": True}


def test_what_came_later_is_marked_before_the_domain_goes() -> None:
    cloud = Cloud()
    poll(cloud, send(cloud, event(DOMAIN, "Create")))
    cloud.add_residue()

    delete(cloud, DOMAIN)

    assert {"Key": MARK, "Value": STACK} in cloud.systems[0]["Tags"]


def changed(**fixed: str) -> dict[str, Any]:
    return {
        **event(RESIDUE, "Update", Fixed=json.dumps({**FIXED, **fixed})),
        "OldResourceProperties": PROPERTIES[RESIDUE],
    }


def test_a_change_that_would_replace_the_domain_is_refused_before_anything_is_touched() -> None:
    cloud = a_domain()
    cloud.stack_status = "UPDATE_IN_PROGRESS"

    with pytest.raises(
        Problem,
        match=r"cannot change its auth \(was iam, is identity-center\): .* Nothing was touched\. .* studio: null",
    ):
        on_event(changed(auth="identity-center"), None, cloud.clients)


def test_the_roll_back_of_that_change_is_let_through() -> None:
    cloud = a_domain()
    cloud.stack_status = "UPDATE_ROLLBACK_IN_PROGRESS"

    assert on_event(changed(auth="identity-center"), None, cloud.clients)["PhysicalResourceId"] == "studio/1"


@pytest.mark.parametrize("resource", [RESIDUE, DOMAIN, PROFILE, SPACE])
def test_each_resource_keeps_its_id(resource: str) -> None:
    made = on_event(event(resource, "Create"), None, Cloud().clients)["PhysicalResourceId"]
    update = {**event(resource, "Update"), "OldResourceProperties": PROPERTIES[resource], "PhysicalResourceId": made}

    assert on_event(update, None, Cloud().clients)["PhysicalResourceId"] == made
