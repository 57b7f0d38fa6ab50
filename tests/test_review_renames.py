"""A changed logical id is a replacement, and is told from something new in the place of something old."""

import copy
import dataclasses
from typing import Any

import pytest
from sagestack.review.assembly import Assembly
from sagestack.review.changes import comparison as changes
from sagestack.review.changes import resource_changes
from sagestack.review.changes.cdk_diff import SecondOpinion
from sagestack.review.results import Action, ResourceChange

from tests.review_samples import STACK, assembly

Resources = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def without_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: SecondOpinion())


def at(resources: Resources, **paths: str) -> Assembly:
    """One stack whose constructs have paths of their own."""
    made = assembly(resources)
    (stack,) = made.stacks.values()
    return dataclasses.replace(made, stacks={STACK: dataclasses.replace(stack, paths=paths)})


def compared(before: Assembly, after: Assembly) -> list[tuple[str, Action, str | None]]:
    return sorted(
        (each.resource.logical_id, each.action, each.renamed_from) for each in resource_changes(before, after)
    )


def only(before: Assembly, after: Assembly) -> ResourceChange:
    (change,) = resource_changes(before, after)
    return change


BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}, "Tags": []}}


def role(service: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Statement": [statement]}}}


def test_a_renamed_construct_is_one_replacement_with_both_paths_and_the_cure() -> None:
    change = only(at({"Data1": BUCKET}, Data1="Data"), at({"Datasets2": BUCKET}, Datasets2="Datasets"))
    assert (change.action, change.renamed_from) == (Action.REPLACED, "Data1")
    assert change.before
    assert change.after
    (reason,) = [each for each in change.reasons if "logical id" in each]
    assert "`Data` became `Datasets`" in reason
    assert "override_logical_id('Data1')" in reason


def test_a_rename_names_the_line_of_the_code_where_it_is_known() -> None:
    after = at({"Datasets2": BUCKET}, Datasets2="Datasets")
    (stack,) = after.stacks.values()
    traced = dataclasses.replace(stack, sources={"Datasets": "stacks/foundation.py:45"})
    change = only(at({"Data1": BUCKET}, Data1="Data"), dataclasses.replace(after, stacks={STACK: traced}))
    assert any("(`Data` became `Datasets`, stacks/foundation.py:45)" in reason for reason in change.reasons)


def test_a_rename_goes_by_the_deletion_policy_of_the_old_one() -> None:
    kept = {**BUCKET, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Delete"}
    assert only(at({"Data1": kept}), at({"Datasets2": kept})).data == "kept"
    replaced_only = {**BUCKET, "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Retain"}
    assert only(at({"Data1": replaced_only}), at({"Datasets2": replaced_only})).data == "refused"


def test_a_rename_with_a_small_change_is_still_one() -> None:
    other = copy.deepcopy(role("lambda.amazonaws.com"))
    other["Properties"]["Description"] = "New"
    before, after = at({"RunA": role("lambda.amazonaws.com")}), at({"RunB": other})
    assert compared(before, after) == [("RunB", Action.REPLACED, "RunA")]


def test_something_else_of_the_type_is_no_rename() -> None:
    before = at({"Old": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True, "KmsMasterKeyId": "a"}}})
    after = at({"New": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": 5, "VisibilityTimeout": 30}}})
    assert compared(before, after) == [("New", Action.CREATED, None), ("Old", Action.DELETED, None)]


def test_another_type_in_the_same_place_is_no_rename() -> None:
    before = at({"Old": BUCKET}, Old="Data")
    after = at({"New": {"Type": "AWS::SNS::Topic", "Properties": {}}}, New="Data")
    assert [action for _, action, _ in compared(before, after)] == [Action.CREATED, Action.DELETED]


def test_paths_tell_apart_what_is_otherwise_alike() -> None:
    before = at(
        {"A1": role("lambda.amazonaws.com"), "B1": role("lambda.amazonaws.com")}, A1="Check/Role", B1="Look/Role"
    )
    after = at(
        {"A2": role("lambda.amazonaws.com"), "B2": role("lambda.amazonaws.com")},
        A2="Gate/Look/Role",
        B2="Gate/Check/Role",
    )
    assert compared(before, after) == [("A2", Action.REPLACED, "B1"), ("B2", Action.REPLACED, "A1")]


def test_what_refers_to_a_renamed_resource_is_renamed_with_it() -> None:
    def with_policy(data: str, policy: str) -> Assembly:
        document = {"Statement": [{"Effect": "Deny", "Resource": {"Fn::GetAtt": [data, "Arn"]}}]}
        properties = {"Bucket": {"Ref": data}, "PolicyDocument": document}
        return at({data: BUCKET, policy: {"Type": "AWS::S3::BucketPolicy", "Properties": properties}})

    assert compared(with_policy("Data1", "DataPolicy1"), with_policy("Sets2", "SetsPolicy2")) == [
        ("Sets2", Action.REPLACED, "Data1"),
        ("SetsPolicy2", Action.REPLACED, "DataPolicy1"),
    ]


def test_each_resource_is_renamed_once() -> None:
    before = at({"One": BUCKET})
    after = at({"Two": BUCKET, "Three": BUCKET}, Two="Data", Three="Two")
    assert sorted(action for _, action, _ in compared(before, after)) == [Action.CREATED, Action.REPLACED]


def test_a_renamed_resource_with_a_fixed_name_fails() -> None:
    named = {"Type": "AWS::SageMaker::Pipeline", "Properties": {"PipelineName": "housing", "RoleArn": "x"}}
    change = only(at({"Pipeline1": named}), at({"Pipe2": named}))
    assert change.severity == "danger"
    assert change.reasons[0] == (
        "The deployment fails: CloudFormation makes the new one before it deletes the old, and housing already exists. "
        "Keep the logical id: undo the rename, or `override_logical_id('Pipeline1')`."
    )


def test_what_is_made_anew_under_another_id_with_each_change_is_no_news() -> None:
    def deployment(description: str) -> dict[str, Any]:
        return {"Type": "AWS::ApiGateway::Deployment", "Properties": {"RestApiId": "x", "Description": description}}

    change = only(at({"Deployment1": deployment("a")}), at({"Deployment2": deployment("a")}))
    assert (change.severity, change.renamed_from) == ("notice", "Deployment1")
    assert not any("override_logical_id" in reason for reason in change.reasons)


def test_a_resource_that_moves_to_another_stack_is_said_to_move() -> None:
    topic = {"Keep": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "x"}}}

    def stacks(where: str) -> Assembly:
        made = {name: dict(topic) for name in ("one", "two")}
        made[where]["Data"] = BUCKET
        one, two = (assembly(resources, stack=name) for name, resources in made.items())
        return dataclasses.replace(one, stacks={**one.stacks, **two.stacks})

    change = only(stacks("one"), stacks("two"))
    assert (change.action, change.renamed_from, change.resource.stack) == (Action.REPLACED, "Data", "two")
    assert any("moves from stack one to two" in reason for reason in change.reasons)
