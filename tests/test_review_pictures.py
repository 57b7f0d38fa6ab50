"""The pictures of a review show what changes, and can be read."""

import re
import shutil
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from sagestack.review.assembly import Assembly
from sagestack.review.intrinsics import as_text, references
from sagestack.review.pictures import graphviz, pictures
from sagestack.review.pictures.mermaid import pipeline_mermaid
from sagestack.review.pictures.parts import parts_of
from sagestack.review.pictures.pipelines import steps_of
from sagestack.review.results import Action, ResourceChange, Severity

from tests.review_samples import assembly

ROLE = {"Type": "AWS::IAM::Role", "Properties": {}}
FUNCTION = {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}}

DEFINITION = {
    "Parameters": [{"Name": "Threshold", "Type": "Float", "DefaultValue": 4.8}],
    "Steps": [
        {"Name": "Prepare", "Type": "Processing", "Arguments": {}},
        {
            "Name": "Train",
            "Type": "Training",
            "Arguments": {
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
                "InputDataConfig": [{"S3Uri": {"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['train'].S3Uri"}}],
            },
        },
        {
            "Name": "Check",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [{"LeftValue": {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Train.Scores"}}}}],
                "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": {}}],
                "ElseSteps": [{"Name": "Give up", "Type": "Fail", "Arguments": {}}],
            },
        },
    ],
}


def changed(side: Assembly, *logical_ids: str, action: Action = Action.UPDATED) -> list[ResourceChange]:
    found = [r for r in side.resources if r.logical_id in logical_ids]
    assert len(found) == len(logical_ids)
    return [ResourceChange(r, r, action, Severity.NOTICE) for r in found]


def words(svg: str | None) -> str:
    """All text of a drawing, which must be XML."""
    assert svg is not None
    return " ".join(ET.fromstring(svg).itertext())


def test_a_construct_is_a_box_with_what_changes_in_it() -> None:
    side = assembly({"Role": ROLE, "Function": FUNCTION})
    (picture,) = pictures(side, side, changed(side, "Function"))
    assert "~ Lambda Function" in words(picture.svg)
    assert "IAM Role" in words(picture.svg)
    assert "~ Lambda Function" in picture.mermaid


def test_what_is_deleted_is_drawn_too() -> None:
    before, after = assembly({"Role": ROLE, "Function": FUNCTION}), assembly({"Role": ROLE})
    (picture,) = pictures(before, after, changed(before, "Function", action=Action.DELETED))
    assert "- Lambda Function" in words(picture.svg)


def test_references_are_lines_within_a_stack_and_between_stacks() -> None:
    first = assembly(
        {"Key": {"Type": "AWS::S3::Bucket"}},
        stack="first",
        Outputs={"Out": {"Value": {"Fn::GetAtt": ["Key", "Arn"]}, "Export": {"Name": "first:Key"}}},
    )
    second = assembly(
        {
            "User": {
                "Type": "AWS::S3::Bucket",
                "Properties": {"Name": {"Fn::Sub": "${Other}-x"}, "K": {"Fn::ImportValue": "first:Key"}},
            },
            "Other": {"Type": "AWS::S3::Bucket"},
        },
        stack="second",
    )
    both = Assembly("dev", {**first.stacks, **second.stacks})
    _, edges = parts_of(None, both, [])
    assert set(edges) == {("second/User", "first/Key"), ("second/User", "second/Other")}


def test_lines_to_a_key_are_drawn_only_where_it_changes() -> None:
    resources: dict[str, dict[str, Any]] = {
        "Key": {"Type": "AWS::KMS::Key"},
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"K": {"Ref": "Key"}}},
    }
    side = assembly(resources)
    assert parts_of(side, side, [])[1] == []
    assert len(parts_of(side, side, changed(side, "Key"))[1]) == 1


def test_a_pipeline_shows_its_steps_what_they_wait_for_and_its_parameters() -> None:
    steps = {step.name: step for step in steps_of(DEFINITION)}
    assert steps["Train"].after == ("Prepare",)
    assert steps["Train"].instance == "2 x ml.m5.large"
    assert (steps["Register"].after, steps["Register"].branch) == (("Check",), "then")
    assert (steps["Give up"].after, steps["Give up"].branch) == (("Check",), "else")
    assert "Train" in steps["Check"].after

    def side(definition: dict[str, Any]) -> Assembly:
        import json

        body = {"Fn::Join": ["", [json.dumps(definition)]]}
        resource = {
            "Type": "AWS::SageMaker::Pipeline",
            "Properties": {"PipelineDefinition": {"PipelineDefinitionBody": body}},
        }
        return assembly({"Pipeline": resource})

    other = {**DEFINITION, "Parameters": [{"Name": "Threshold", "Type": "Float", "DefaultValue": 5.0}]}
    _, pipeline = pictures(side(DEFINITION), side(other), [])
    assert "~ Threshold = 5.0" in words(pipeline.svg)
    assert "then" in words(pipeline.svg)


def test_a_step_that_differs_is_marked() -> None:
    new = {"Steps": [*DEFINITION["Steps"], {"Name": "Late", "Type": "Lambda"}]}  # type: ignore[misc]
    drawn = pipeline_mermaid(DEFINITION, new)
    late = re.search(r'(s\d+)\["Late', drawn)
    assert late is not None
    assert f"class {late[1]} created" in drawn


def test_200_resources_can_be_drawn_and_a_comment_gets_no_more_than_it_can_show() -> None:
    many = {f"R{n}": {"Type": "AWS::S3::Bucket", "Properties": {"N": {"Ref": f"R{max(0, n - 1)}"}}} for n in range(200)}
    side = assembly(many)
    (picture,) = pictures(side, side, changed(side, *many))
    assert words(picture.svg).count("~ S3 Bucket") == 200
    assert picture.mermaid == ""


HOSTILE = '<script>alert(1)<script> "]; & |`{}[]()\x00 \U0001f600'


def test_names_cannot_write_into_a_drawing() -> None:
    side = assembly({HOSTILE: ROLE})
    (picture,) = pictures(side, side, changed(side, HOSTILE))
    assert picture.svg is not None
    assert "<script" not in picture.svg
    assert "<script>alert(1)<script>" in words(picture.svg)
    assert "<script" not in picture.mermaid
    assert '"];' not in picture.mermaid.replace('"]', "", 2)


def test_colours_are_the_pages_own() -> None:
    side = assembly({"Role": ROLE})
    (picture,) = pictures(side, side, changed(side, "Role"))
    assert picture.svg is not None
    assert 'stroke="var(--updated' in picture.svg
    assert "#0101" not in picture.svg


def test_without_node_there_is_mermaid_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    side = assembly({"Role": ROLE})
    (picture,) = pictures(side, side, changed(side, "Role"))
    assert picture.svg is None
    assert picture.mermaid


def test_where_node_does_not_come_to_an_end_there_is_mermaid_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphviz, "_TIMEOUT_S", 0)
    side = assembly({"Role": ROLE})
    (picture,) = pictures(side, side, changed(side, "Role"))
    assert picture.svg is None
    assert picture.mermaid


def test_nothing_to_draw_is_no_picture() -> None:
    assert pictures(None, None, []) == ()
    assert pictures(assembly({}), assembly({}), []) == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"Fn::Join": ["", ["a/", {"Ref": "B"}]]}, "a/${B}"),
        ({"Fn::GetAtt": ["B", "Arn"]}, "${B.Arn}"),
        ({"Fn::Sub": "x ${A} ${!B}"}, "x ${A} ${!B}"),
        ({"Fn::Sub": ["${a}", {"a": {"Ref": "B"}}]}, "${B}"),
        ({"Fn::ImportValue": "s:Out"}, "${import s:Out}"),
        ([1, "a"], '[1, "a"]'),
    ],
    ids=["join", "get-att", "sub", "sub-with-values", "import", "list"],
)
def test_functions_are_rendered_as_a_person_writes_them(value: Any, text: str) -> None:
    assert as_text(value) == text


def test_references_are_found_wherever_they_stand() -> None:
    value = {"a": [{"Ref": "A"}, {"Fn::Sub": ["${B.Arn} ${own} ${!no}", {"own": {"Fn::GetAtt": "C.Arn"}}]}]}
    assert {found.logical_id for found in references(value)} == {"A", "B", "C"}
