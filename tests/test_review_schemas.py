"""What replaces a resource: what the resource schemas say, what CDK's diff says, and what a review makes of both."""

from pathlib import Path
from typing import Any

import pytest
from sagestack.layout import PROJECT_ROOT
from sagestack.review.assembly import StackTemplate
from sagestack.review.changes import cdk_diff, change_notes, resource_changes
from sagestack.review.changes import comparison as changes
from sagestack.review.changes.cdk_diff import Impact, SecondOpinion, second_opinion
from sagestack.review.changes.held_data import HELD
from sagestack.review.changes.schemas import schema_of
from sagestack.review.changes.verdicts import MADE_ANEW
from sagestack.review.results import Action
from sagestack.settings import load_environment

from tests import synthesis
from tests.review_samples import STACK, assembly


@pytest.fixture(autouse=True)
def no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdk_diff, "_problems", [])


def stack(name: str, resources: dict[str, Any]) -> StackTemplate:
    return StackTemplate("dev", name, "111111111111", "us-east-1", {"Resources": resources})


# --- Schemas ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_name", "pointer", "before", "after", "expected"),
    [
        ("AWS::S3::Bucket", ("BucketName",), "a", "b", "yes"),
        ("AWS::S3::Bucket", ("VersioningConfiguration", "Status"), "a", "b", "no"),
        ("AWS::SageMaker::Model", ("PrimaryContainer", "ModelPackageName"), "a", "b", "yes"),
        ("AWS::SageMaker::EndpointConfig", ("ProductionVariants", "*", "InstanceType"), "a", "b", "yes"),
        ("AWS::SageMaker::Endpoint", ("EndpointConfigName",), "a", "b", "no"),
        ("AWS::SageMaker::NotebookInstance", ("InstanceType",), "a", "b", "no"),
        ("AWS::SageMaker::NotebookInstance", ("SubnetId",), "a", "b", "yes"),
        ("AWS::Events::Rule", ("EventBusName",), "a", "b", "may"),
        ("AWS::RDS::DBInstance", ("Engine",), "a", "b", "may"),
        ("Custom::Gate", ("ServiceToken",), "a", "b", "yes"),
        ("Custom::Gate", ("EndpointName",), "a", "b", "no"),
    ],
)
def test_a_schema_says_what_replaces(
    type_name: str, pointer: tuple[str, ...], before: object, after: object, expected: str
) -> None:
    schema = schema_of(type_name)
    assert schema
    assert schema.replaces(pointer, before, after) == expected


def test_a_whole_replaces_if_what_differs_in_it_does() -> None:
    schema = schema_of("AWS::MSK::Cluster")
    assert schema
    inner = next(rule for rule in schema.create_only if len(rule) == 2)
    assert schema.replaces(inner[:1], {inner[1]: "a", "Other": 1}, {inner[1]: "b", "Other": 1}) == "yes"
    assert schema.replaces(inner[:1], {inner[1]: "a", "Other": 1}, {inner[1]: "a", "Other": 2}) == "no"


@pytest.mark.parametrize(
    ("type_name", "pointer", "expected"),
    [
        ("AWS::KMS::Key", ("Tags",), True),
        ("AWS::SageMaker::Model", ("VpcConfig", "Subnets"), True),
        ("AWS::IAM::Role", ("ManagedPolicyArns",), True),
        ("AWS::SageMaker::Model", ("Containers",), False),
        ("AWS::Lambda::Function", ("Layers",), False),
        ("AWS::S3::Bucket", ("BucketName",), False),
        ("AWS::S3::Bucket", ("Nothing", "Like", "It"), False),
    ],
)
def test_a_schema_says_which_lists_have_no_order(type_name: str, pointer: tuple[str, ...], expected: bool) -> None:
    schema = schema_of(type_name)
    assert schema
    assert schema.is_set(pointer) is expected


# --- CDK's diff -------------------------------------------------------------------------------------------------------------

DISAGREEMENTS = {
    # Schema, then CDK's diff. The graver counts, so that these lines are what a review says and the schema does not.
    "AWS::CodeCommit::Repository Triggers": ("no", "may"),
    "AWS::DocDB::DBCluster EngineVersion": ("no", "yes"),
    "AWS::DynamoDB::GlobalTable GlobalTableSourceArn": ("may", "no"),
    "AWS::DynamoDB::GlobalTable KeySchema": ("may", "yes"),
    "AWS::DynamoDB::GlobalTable LocalSecondaryIndexes": ("may", "yes"),
    "AWS::DynamoDB::Table KeySchema": ("may", "yes"),
    "AWS::ElastiCache::CacheCluster AZMode": ("no", "may"),
    "AWS::ElastiCache::CacheCluster IpDiscovery": ("may", "no"),
    "AWS::ElastiCache::CacheCluster NumCacheNodes": ("no", "may"),
    "AWS::ElastiCache::CacheCluster PreferredAvailabilityZone": ("no", "may"),
    "AWS::ElastiCache::ReplicationGroup Engine": ("no", "yes"),
    "AWS::ElastiCache::ReplicationGroup NumNodeGroups": ("no", "may"),
    "AWS::ElastiCache::ReplicationGroup ReplicasPerNodeGroup": ("no", "yes"),
    "AWS::Events::Rule EventBusName": ("may", "yes"),
    "AWS::FSx::FileSystem FileSystemTypeVersion": ("no", "yes"),
    "AWS::Lambda::Function DurableConfig": ("may", "no"),
    "AWS::RDS::DBCluster AvailabilityZones": ("may", "yes"),
    "AWS::RDS::DBInstance Port": ("no", "yes"),
    "AWS::RDS::DBInstance StorageType": ("no", "may"),
    "AWS::S3::Bucket ObjectLockEnabled": ("no", "yes"),
    "AWS::SageMaker::Domain AppNetworkAccessType": ("no", "yes"),
    "AWS::SageMaker::Domain SubnetIds": ("no", "yes"),
    "AWS::SageMaker::Domain Tags": ("no", "yes"),
    "AWS::SageMaker::Domain VpcId": ("may", "yes"),
    "AWS::SageMaker::FeatureGroup OnlineStoreConfig": ("no", "yes"),
    "AWS::SageMaker::MlflowTrackingServer MlflowVersion": ("may", "no"),
    "AWS::SageMaker::MlflowTrackingServer RoleArn": ("may", "no"),
    "AWS::SageMaker::ModelPackage ModelCard": ("may", "no"),
    "AWS::SageMaker::ModelPackage SourceUri": ("may", "no"),
    "AWS::SageMaker::UserProfile Tags": ("no", "yes"),
}


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every type that the project's stacks use, that holds data, or that is made to be replaced."""
    root = synthesis.copy_project(tmp_path_factory.mktemp("project"))
    environment = synthesis.served(load_environment("prod", root))
    templates = synthesis.synthesize(synthesis.build(root, environment)).by_stack.values()
    used = {resource["Type"] for template in templates for resource in template["Resources"].values()}
    return {*used, *HELD, *MADE_ANEW}


def test_schemas_and_cdks_diff_differ_only_where_it_is_known(types: set[str]) -> None:
    """Each property of each type, changed alone: a new version of either source that says otherwise shows here."""
    verdicts: dict[str, str] = {}
    pairs = []
    for type_name in sorted(each for each in types if not each.startswith("Custom::")):
        schema = schema_of(type_name)
        assert schema, type_name
        read_only = {
            each.split("/")[2] for each in schema.document.get("readOnlyProperties", []) if each.count("/") == 2
        }
        # CDK's diff reads the policies on its way, and throws where there is none.
        policy: dict[str, Any] = (
            {"PolicyDocument": {"Statement": []}} if "PolicyDocument" in schema.document["properties"] else {}
        )
        sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for name in schema.document["properties"]:
            if name in read_only or "Polic" in name:
                continue
            verdicts[f"{type_name} {name}"] = schema.replaces((name,), "a", "b")
            for side, value in zip(sides, "ab", strict=True):
                side[name] = {"Type": type_name, "Properties": {name: value, **policy}}
        pairs.append((stack(type_name, sides[0]), stack(type_name, sides[1])))
    said = second_opinion(pairs)
    assert cdk_diff.problems() == ()

    answers = {"WILL_REPLACE": "yes", "MAY_REPLACE": "may", "WILL_UPDATE": "no"}
    differing = {}
    for place, verdict in verdicts.items():
        type_name, name = place.split(" ")
        impact = said.of(type_name, name)
        assert impact, place
        # `NO_CHANGE` is what it says of a property that it does not know.
        answer = answers.get(impact.properties[name], verdict)
        if verdict != answer:
            differing[place] = (verdict, answer)
    assert differing == DISAGREEMENTS


def test_the_graver_verdict_wins_and_the_other_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = (
        {"It": {"Type": "AWS::S3::Bucket", "Properties": {"ObjectLockEnabled": on}}} for on in (False, True)
    )
    said = SecondOpinion({STACK: {"It": Impact("WILL_REPLACE", {"ObjectLockEnabled": "WILL_REPLACE"})}})
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: said)
    (change,) = resource_changes(assembly(before), assembly(after))
    assert change.action is Action.REPLACED
    assert [each.replaces for each in change.properties] == ["yes"]
    assert (
        "CDK's diff says that `ObjectLockEnabled` replaces it, the resource schema that it changes in place."
        in change.reasons
    )


def test_a_schema_that_is_graver_wins_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = ({"It": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}} for name in "ab")
    said = SecondOpinion({STACK: {"It": Impact("WILL_UPDATE", {"QueueName": "WILL_UPDATE"})}})
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: said)
    (change,) = resource_changes(assembly(before), assembly(after))
    assert change.action is Action.REPLACED
    assert (
        "The resource schema says that `QueueName` replaces it, CDK's diff that it changes in place." in change.reasons
    )


def test_of_a_property_that_cdk_does_not_know_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = ({"It": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}} for name in "ab")
    said = SecondOpinion({STACK: {"It": Impact("NO_CHANGE", {"QueueName": "NO_CHANGE"})}})
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: said)
    (change,) = resource_changes(assembly(before), assembly(after))
    assert change.action is Action.REPLACED
    assert not any("CDK's diff" in reason for reason in change.reasons)


def test_an_order_that_is_none_replaces_nothing_whatever_cdks_diff_says(monkeypatch: pytest.MonkeyPatch) -> None:
    subnets = ["subnet-1", "subnet-2"]
    before, after = (
        {"It": {"Type": "AWS::SageMaker::Model", "Properties": {"VpcConfig": {"Subnets": each}, "Tags": tags}}}
        for each, tags in ((subnets, []), (subnets[::-1], [{"Key": "a", "Value": "b"}]))
    )
    said = SecondOpinion({STACK: {"It": Impact("WILL_REPLACE", {"VpcConfig": "WILL_REPLACE", "Tags": "WILL_UPDATE"})}})
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: said)
    (change,) = resource_changes(assembly(before), assembly(after))
    assert change.action is Action.UPDATED


def test_a_type_that_nobody_knows_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: SecondOpinion())
    before, after = ({"It": {"Type": "Team::Own::Thing", "Properties": {"Size": size}}} for size in (1, 2))
    (change,) = resource_changes(assembly(before), assembly(after))
    assert change.action is Action.MAY_BE_REPLACED
    assert "There is no resource schema of Team::Own::Thing to say what changes in place." in change.reasons


# --- Where it cannot be asked -----------------------------------------------------------------------------------------------

BEFORE, AFTER = ({"It": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}} for name in "ab")


def test_equal_templates_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sagestack.review.changes.cdk_diff.subprocess.run", lambda *_, **__: pytest.fail("a process was started")
    )
    assert second_opinion([(stack("s", BEFORE), stack("s", BEFORE))]) == SecondOpinion()
    assert resource_changes(assembly(BEFORE), assembly(BEFORE)) == ()


def test_without_node_the_schemas_decide_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagestack.review.changes.cdk_diff.shutil.which", lambda *_, **__: None)
    (change,) = resource_changes(assembly(BEFORE), assembly(AFTER))
    assert change.action is Action.REPLACED
    assert change_notes(assembly(BEFORE), assembly(AFTER)) == (
        "What is replaced is said by the resource schemas alone: CDK's own diff was not heard, since there is no Node. "
        "`make setup` installs what it needs.",
    )


def test_without_the_package_a_note_names_it(tmp_path: Path) -> None:
    assert second_opinion([(stack("s", BEFORE), stack("s", AFTER))], tmp_path) == SecondOpinion()
    (problem,) = cdk_diff.problems()
    assert f"@aws-cdk/cloudformation-diff is not installed in {tmp_path / 'node_modules'}" in problem


def test_a_stack_that_it_cannot_read_costs_no_other_stack_its_answer() -> None:
    broken = {"It": {"Type": "AWS::SNS::TopicPolicy", "Properties": {"Topics": ["a"]}}}
    other = {"It": {"Type": "AWS::SNS::TopicPolicy", "Properties": {"Topics": ["b"]}}}
    said = second_opinion([(stack("broken", broken), stack("broken", other)), (stack("s", BEFORE), stack("s", AFTER))])
    impact = said.of("s", "It")
    assert impact
    assert impact.impact == "WILL_REPLACE"
    (problem,) = cdk_diff.problems()
    assert problem.startswith("In stack broken what is replaced is said by the resource schemas alone")


def test_the_script_stands_beside_its_module() -> None:
    assert (PROJECT_ROOT / "constructs/sagestack/review/changes/cdk_diff.mjs").exists()
