"""When a review calls for a human: the grammar of --fail-on, and what meets each condition."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes import change_notes
from sagestack.review.changes.endpoint_notes import several_at_once
from sagestack.review.conditions import evaluate
from sagestack.review.results import (
    Action,
    CostEstimate,
    CostLine,
    EnvironmentReview,
    PermissionChange,
    PermissionFlag,
    ResourceChange,
    RuleFinding,
    Severity,
)
from sagestack.settings import PROJECT_ROOT, SettingsError
from sagestack.settings.delivery import load_delivery
from sagestack.settings.review_conditions import KNOWN, ConditionError, parse_conditions

from tests.review_samples import STACK, assembly

BUCKET = Resource("prod", STACK, "Data1", "AWS::S3::Bucket", "Data", {"Type": "AWS::S3::Bucket"})


# --- The grammar ---


def test_conditions_are_written_with_commas_between_them() -> None:
    parsed = parse_conditions(" data-loss , cost>10%,cost > 50,iam-widening,data-loss")
    assert [str(each) for each in parsed] == ["data-loss", "cost>10%", "cost>50", "iam-widening"]


@pytest.mark.parametrize("text", [each.replace("N", "2.5") for each in KNOWN])
def test_each_form_that_is_offered_is_understood_and_told_as_it_is_written(text: str) -> None:
    assert [str(each) for each in parse_conditions(text)] == [text]


def test_never_alone_is_no_condition() -> None:
    assert parse_conditions("never") == ()
    with pytest.raises(ConditionError, match="'never' stands alone"):
        parse_conditions("never,data-loss")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iam-widenin", "did you mean 'iam-widening'?"),
        ("nevr", "did you mean 'never'?"),
        ("", "no condition is given"),
        (",", "no condition is given"),
        ("data-loss,", "'' is not a condition"),
        ("cost", "cost>N%"),
        ("cost>", "cost>N%"),
        ("cost>ten%", "cost>N%"),
        ("cost>-1", "cost>N%"),
        ("cost>=10%", "cost>N%"),
        ("cost>nan", "cost>N%"),
        ("Data-Loss", "did you mean 'data-loss'?"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_is(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_conditions(text)
    assert message in str(caught.value)


def test_delivery_yaml_takes_the_same_conditions_and_names_its_line(tmp_path: Path) -> None:
    for folder in ("environments", "model_code"):
        shutil.copytree(PROJECT_ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    text = (PROJECT_ROOT / "delivery.yaml").read_text()
    (tmp_path / "delivery.yaml").write_text(text.replace("iam-widening", "any-chang"))
    with pytest.raises(SettingsError, match=r"delivery.yaml:\d+: review.fail_on: .*did you mean 'any-change'"):
        load_delivery(tmp_path)


# --- What meets them ---


def change(action: Action, **parts: Any) -> ResourceChange:
    before = None if action is Action.CREATED else BUCKET
    after = None if action is Action.DELETED else BUCKET
    return ResourceChange(before, after, action, Severity.WARNING, **parts)


def permission(
    direction: Any = "wider", severity: Severity = Severity.WARNING, *flags: PermissionFlag
) -> PermissionChange:
    return PermissionChange(
        direction, "identity", BUCKET, "Role", ("s3:Get*",), ("Read",), ("*",), (), severity, "Role may s3:Get* on *",
        frozenset(flags),
    )  # fmt: skip


def finding(**parts: Any) -> RuleFinding:
    values = {"tool": "cdk-nag AwsSolutions", "rule": "S1", "stack": STACK, "resource": BUCKET, "message": "no logs"}
    return RuleFinding(**{**values, "severity": Severity.WARNING, **parts})


def costs(idle: float | None, what: str = "a thing") -> CostEstimate:
    return CostEstimate((CostLine(BUCKET, what, "idle", idle, "no price in the table"),))


def met(condition: str, **found: Any) -> list[str]:
    """The sentences, or nothing."""
    review = EnvironmentReview("prod", "333333333333", "us-east-1", **found)
    return [sentence for each in evaluate(parse_conditions(condition), [review]) for sentence in each.where]


@pytest.mark.parametrize(
    ("condition", "changes", "is_met"),
    [
        ("data-loss", change(Action.DELETED, data="lost"), True),
        ("data-loss", change(Action.DELETED, data="kept"), False),
        ("data-loss", change(Action.DELETED, data="refused"), False),
        ("replacement-with-data", change(Action.REPLACED, data="lost"), True),
        ("replacement-with-data", change(Action.REPLACED, data="kept"), True),
        ("replacement-with-data", change(Action.MAY_BE_REPLACED, data="refused"), True),
        ("replacement-with-data", change(Action.REPLACED), False),
        ("replacement-with-data", change(Action.DELETED, data="lost"), False),
        ("replacement", change(Action.REPLACED), True),
        ("replacement", change(Action.MAY_BE_REPLACED), True),
        ("replacement", change(Action.UPDATED), False),
        ("deletion", change(Action.DELETED), True),
        ("deletion", change(Action.REPLACED), False),
        ("interruption", change(Action.UPDATED, interruption="Callers get errors."), True),
        ("interruption", change(Action.UPDATED), False),
        ("cannot-deploy", change(Action.UPDATED, cannot_deploy=True), True),
        ("cannot-deploy", change(Action.CREATED, cannot_deploy=True), True),
        ("cannot-deploy", change(Action.DELETED, data="refused"), False),
        ("any-change", change(Action.CREATED), True),
    ],
)
def test_changes_of_resources_meet_conditions(condition: str, changes: ResourceChange, is_met: bool) -> None:
    assert bool(met(condition, changes=(changes,))) is is_met


def test_what_cannot_be_deployed_says_why_rather_than_what_would_be() -> None:
    refused = change(
        Action.REPLACED,
        cannot_deploy=True,
        interruption="Callers get errors.",
        reasons=("The deployment fails: taken.",),
    )
    assert met("cannot-deploy", changes=(refused,)) == [
        f"prod: AWS::S3::Bucket Data in {STACK} is replaced (The deployment fails: taken.)"
    ]


def test_a_stack_that_takes_back_what_another_imports_cannot_be_deployed() -> None:
    """No resource of it changes: a note alone says that."""

    def two(**outputs: Any) -> Assembly:
        reading = {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Value": {"Fn::ImportValue": "it"} if outputs else "a"},
        }
        shared = assembly({"Data": {"Type": "AWS::S3::Bucket"}}, stack="shared", Outputs=outputs)
        return replace(shared, stacks={**shared.stacks, **assembly({"It": reading}, stack="using").stacks})

    notes = change_notes(two(Out={"Value": {"Ref": "Data"}, "Export": {"Name": "it"}}), two())
    (sentence,) = met("cannot-deploy", notes=(*notes, "Stack other loses its termination protection."))
    assert sentence.startswith(
        "prod: The deployment of shared fails: it takes back the export it, which using still imports"
    )


def test_a_sentence_names_the_environment_the_resource_and_why() -> None:
    lost = change(Action.REPLACED, data="lost", reasons=("BucketName is create-only.", "more"))
    (sentence,) = met("replacement-with-data", changes=(lost,))
    assert sentence == (
        f"prod: AWS::S3::Bucket Data in {STACK} is replaced; its data are lost (BucketName is create-only.)"
    )


@pytest.mark.parametrize(
    ("condition", "permissions", "is_met"),
    [
        ("iam-widening", permission(), True),
        ("iam-widening", permission("wider", Severity.DANGER), True),
        ("iam-widening", permission("wider", Severity.NOTICE), False),
        ("iam-widening", permission("narrower"), False),
        ("public-access", permission("wider", Severity.DANGER, PermissionFlag.PUBLIC), True),
        ("public-access", permission("narrower", Severity.NOTICE, PermissionFlag.PUBLIC), False),
        ("public-access", permission(), False),
        ("lost-boundary", permission("wider", Severity.DANGER, PermissionFlag.LOST_BOUNDARY), True),
        ("lost-boundary", permission(), False),
    ],
)
def test_permissions_meet_conditions(condition: str, permissions: PermissionChange, is_met: bool) -> None:
    expected = ["prod: Role may s3:Get* on *"] if is_met else []
    assert met(condition, permissions=(permissions,)) == expected


@pytest.mark.parametrize(
    ("parts", "is_met"),
    [
        ({}, True),
        ({"resource": None}, True),
        ({"state": "old"}, False),
        ({"state": "fixed"}, False),
        ({"accepted": "because"}, False),
        ({"severity": Severity.NOTICE}, False),
    ],
)
def test_a_finding_counts_if_it_is_new_and_nobody_accepted_it(parts: Mapping[str, Any], is_met: bool) -> None:
    assert bool(met("new-finding", findings=(finding(**parts),))) is is_met


@pytest.mark.parametrize(
    ("condition", "before", "after", "is_met"),
    [
        ("cost>10%", 100.0, 110.0, False),
        ("cost>10%", 100.0, 110.01, True),
        ("cost>10%", 100.0, 50.0, False),
        ("cost>10%", 0.0, 0.01, True),
        ("cost>10%", 0.0, 0.0, False),
        ("cost>10%", 0.1 + 0.2, 0.33, False),
        ("cost>0%", 100.0, 100.0, False),
        ("cost>50", 100.0, 150.0, False),
        ("cost>50", 100.0, 150.01, True),
        ("cost>0", 1.0, 1.0, False),
    ],
)
def test_what_gets_dearer_than_its_limit_counts(condition: str, before: float, after: float, is_met: bool) -> None:
    assert bool(met(condition, cost_before=costs(before), cost_after=costs(after))) is is_met


def test_a_new_environment_costs_something_where_nothing_was_paid() -> None:
    (sentence,) = met("cost>10%", cost_after=costs(1234.5), is_new=True)
    assert sentence == "prod: 0.00 to 1,234.50 USD a month (+1,234.50, where nothing was paid before)"
    (sentence,) = met("cost>10%", cost_before=costs(100), cost_after=costs(150))
    assert sentence == "prod: 100.00 to 150.00 USD a month (+50.00, +50%)"


def test_a_limit_is_for_each_environment() -> None:
    dear = EnvironmentReview("prod", "", "", cost_before=costs(10), cost_after=costs(20))
    cheap = EnvironmentReview("dev", "", "", cost_before=costs(1000), cost_after=costs(1000))
    (result,) = evaluate(parse_conditions("cost>50%"), [cheap, dear])
    assert [sentence.split(":")[0] for sentence in result.where] == ["prod"]


def test_only_what_is_unpriced_since_the_change_counts() -> None:
    old, new = costs(None), CostEstimate((*costs(None).lines, *costs(None, "another").lines))
    assert met("unknown-cost", cost_before=old, cost_after=old) == []
    (sentence,) = met("unknown-cost", cost_before=old, cost_after=new)
    assert sentence == f"prod: no price for another, Data in {STACK}: no price in the table"


def test_what_had_a_price_and_has_none_keeps_no_limit_of_cost() -> None:
    (sentence,) = met("cost>1000%", cost_before=costs(167.9), cost_after=costs(None, "2 x ml.p5.48xlarge"))
    assert sentence == (
        f"prod: Data in {STACK} cost 167.90 USD a month, and what it will cost is not known (no price for 2 x ml.p5.48xlarge)"
    )
    assert met("cost>1000%", cost_before=costs(None), cost_after=costs(None)) == []
    assert met("cost>1000%", cost_before=costs(167.9), cost_after=CostEstimate()) == []
    beside = CostEstimate((*costs(80.0, "1 x ml.m5.large").lines, *costs(None, "another volume").lines))
    assert met("cost>1000%", cost_before=costs(167.9), cost_after=beside) == []


@pytest.mark.parametrize("part", ["is_new", "is_gone"])
def test_an_environment_that_comes_or_goes_is_a_change(part: str) -> None:
    assert met("any-change", **{part: True})


def test_nothing_meets_nothing() -> None:
    every = ",".join(each.replace("N", "0") for each in KNOWN)
    assert met(every) == []


def test_conditions_are_told_in_the_order_in_which_they_were_asked() -> None:
    review = EnvironmentReview("prod", "", "", changes=(change(Action.DELETED, data="lost"),))
    results = evaluate(parse_conditions("deletion,replacement,data-loss"), [review])
    assert [each.condition for each in results] == ["deletion", "data-loss"]


# --- Several things at once to one endpoint ---


def served(version: int, count: int = 2, wait: int = 300, scaled_to: int = 4) -> dict[str, dict[str, Any]]:
    package = f"arn:aws:sagemaker:us-east-1:111111111111:model-package/housing/{version}"
    routing = {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": wait}
    variant = {
        "VariantName": "main",
        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
    }
    return {
        "Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {"PrimaryContainer": {"ModelPackageName": package}},
        },
        "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}},
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                "DeploymentConfig": {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
            },
        },
        "Target": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "MaxCapacity": scaled_to,
                "ResourceId": {"Fn::Join": ["", ["endpoint/", {"Fn::GetAtt": ["Endpoint", "EndpointName"]}]]},
            },
        },
    }


def notes_of(**changed: int) -> tuple[str, ...]:
    before, after = assembly(served(3)), assembly(served(**{"version": 3, **changed}))
    targets = [side.stacks[STACK].resources["Target"] for side in (before, after)]
    changes: tuple[ResourceChange, ...] = ()
    if targets[0].definition != targets[1].definition:
        changes = (ResourceChange(targets[0], targets[1], Action.UPDATED, Severity.NOTICE),)
    return several_at_once(before, after, changes)


@pytest.mark.parametrize("changed", [{}, {"version": 4}, {"count": 3}, {"wait": 60}, {"scaled_to": 8}], ids=str)
def test_one_thing_at_a_time_needs_no_note(changed: dict[str, int]) -> None:
    assert notes_of(**changed) == ()


def test_several_things_at_once_to_one_endpoint_are_said() -> None:
    (note,) = notes_of(version=4, count=3, wait=60, scaled_to=8)
    assert note.startswith(
        f"Endpoint {STACK}/Endpoint changes in 4 ways at once: what it serves (housing version 3 to housing version 4), its"
        " instances (2 x ml.m5.large to 3 x ml.m5.large), how an update of it goes and how it is scaled."
    )
    assert notes_of(version=4, scaled_to=8)


def test_a_new_endpoint_has_nothing_to_be_told_apart() -> None:
    assert several_at_once(None, assembly(served(3)), ()) == ()
    assert several_at_once(assembly(served(3)), None, ()) == ()
    assert several_at_once(assembly({}), assembly(served(3)), ()) == ()
