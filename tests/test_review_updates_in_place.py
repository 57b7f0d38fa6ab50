"""What a review says of updates that replace nothing: what they make AWS delete, switch off, or refuse."""

from typing import Any

import pytest
from sagestack.review.changes import comparison, resource_changes
from sagestack.review.changes.cdk_diff import Impact, SecondOpinion
from sagestack.review.results import Action, ResourceChange, Severity

from tests.review_samples import STACK, assembly


@pytest.fixture(autouse=True)
def without_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node process costs half a second."""
    monkeypatch.setattr(comparison, "second_opinion", lambda pairs: SecondOpinion())


def change(type_name: str, before: dict[str, Any], after: dict[str, Any]) -> ResourceChange:
    """The one change between two definitions of a resource."""
    (found,) = resource_changes(
        *(assembly({"It": {"Type": type_name, "Properties": properties}}) for properties in (before, after))
    )
    return found


def expiring(days: int | None, versioned: bool = False, **rule: Any) -> dict[str, Any]:
    rules = [{"Status": "Enabled", "ExpirationInDays": days, **rule}] if days else []
    versions = {"VersioningConfiguration": {"Status": "Enabled"}} if versioned else {}
    return {"LifecycleConfiguration": {"Rules": rules}, **versions}


def at(date: str, **rule: Any) -> dict[str, Any]:
    return {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationDate": date, **rule}]}}


def unknown(parameter: str, **rule: Any) -> dict[str, Any]:
    return expiring(1, **{"ExpirationInDays": {"Ref": parameter}, **rule})


@pytest.mark.parametrize(
    ("before", "after", "data"),
    [
        pytest.param(expiring(None), expiring(30), "lost", id="a first rule"),
        pytest.param(expiring(365), expiring(30), "lost", id="a shorter one"),
        pytest.param(expiring(30), expiring(365), "none", id="a longer one"),
        pytest.param(expiring(30), expiring(None), "none", id="none any more"),
        pytest.param(expiring(30), expiring(30, Id="other"), "none", id="another name"),
        pytest.param(expiring(30), expiring(30, Prefix="raw/"), "none", id="a part of what is deleted anyway"),
        pytest.param(expiring(30, Prefix="raw/"), expiring(30), "lost", id="the whole instead of a part"),
        pytest.param(expiring(None), expiring(30, Status="Disabled"), "none", id="a rule that is off"),
        pytest.param(expiring(30, ObjectSizeGreaterThan="1000"), expiring(30), "lost", id="all sizes instead of some"),
        pytest.param(
            expiring(30), expiring(30, ObjectSizeLessThan="9"), "none", id="some sizes of what is deleted anyway"
        ),
        pytest.param(at("2099-01-01T00:00:00Z"), expiring(1), "lost", id="days instead of a date"),
        pytest.param(at("2099-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), "lost", id="a sooner date"),
        pytest.param(at("2027-01-01T00:00:00Z"), at("2099-01-01T00:00:00Z"), "none", id="a later date"),
        pytest.param(at("2099-01-01T00:00:00Z"), at("2099-01-01T00:00:00Z", Id="other"), "none", id="the same date"),
        pytest.param(unknown("Days"), expiring(1), "lost", id="days instead of what only the deployment knows"),
        pytest.param(expiring(365), unknown("Days"), "lost", id="what only the deployment knows instead of days"),
        pytest.param(unknown("Days"), unknown("Days", Id="other"), "none", id="the same reference"),
    ],
)
def test_data_is_lost_where_objects_are_deleted_that_were_kept(
    before: dict[str, Any], after: dict[str, Any], data: str
) -> None:
    found = change("AWS::S3::Bucket", before, after)
    assert (found.action, found.data) == (Action.UPDATED, data)
    assert found.severity is (Severity.DANGER if data == "lost" else Severity.NOTICE)


def test_a_rule_for_a_prefix_that_the_stack_named_before_loses_data() -> None:
    before, after = ({"BucketName": "data", **expiring(days, Prefix="raw/")} for days in (None, 30))
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "s3://data/raw/"}}
    (found,) = resource_changes(
        *(assembly({"It": {"Type": "AWS::S3::Bucket", "Properties": each}, "P": parameter}) for each in (before, after))
    )
    assert (found.data, found.severity) == ("lost", Severity.WARNING)


def test_rules_for_a_prefix_that_is_new_lose_nothing() -> None:
    old: dict[str, Any] = {"Prefix": "cars/", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    found = change("AWS::S3::Bucket", expiring(None), expiring(7, **old))
    assert (found.data, found.severity) == ("none", Severity.NOTICE)


def test_a_rule_for_a_tag_that_deletes_sooner_loses_data() -> None:
    tags: dict[str, Any] = {"TagFilters": [{"Key": "kind", "Value": "raw"}]}
    found = change("AWS::S3::Bucket", expiring(365, **tags), expiring(1, **tags))
    assert (found.data, found.severity) == ("lost", Severity.WARNING)
    assert found.reasons == (
        "S3 deletes what is older than 1 day (kind=raw), also what is there now; it was kept 365 days.",
    )


@pytest.mark.parametrize(
    ("before", "after", "is_fewer"), [(50, None, True), (50, 5, True), (5, 50, False), (None, 5, False)]
)
def test_old_versions_that_stay_no_more_are_a_warning(before: int | None, after: int | None, is_fewer: bool) -> None:
    rules: list[dict[str, Any]] = [
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 30, **({"NewerNoncurrentVersions": kept} if kept else {})}}
        for kept in (before, after)
    ]
    found = change("AWS::S3::Bucket", *(expiring(90, **rule) for rule in rules))
    assert found.severity is (Severity.WARNING if is_fewer else Severity.NOTICE)
    assert any("it was kept 30 days, and its newest 50 versions" in reason for reason in found.reasons) is is_fewer


def test_what_is_deleted_from_a_versioned_bucket_is_said_to_have_a_version() -> None:
    (reason,) = change("AWS::S3::Bucket", expiring(None, versioned=True), expiring(30, versioned=True)).reasons
    assert reason == (
        "S3 deletes what is older than 30 days, also what is there now; it was kept for ever."
        " Its version stays for as long as old versions do."
    )


@pytest.mark.parametrize(
    ("type_name", "name", "before", "after", "is_sooner"),
    [
        ("AWS::Logs::LogGroup", "RetentionInDays", 365, 1, True),
        ("AWS::Logs::LogGroup", "RetentionInDays", None, 365, True),
        ("AWS::Logs::LogGroup", "RetentionInDays", 30, None, False),
        ("AWS::SQS::Queue", "MessageRetentionPeriod", None, 60, True),
        ("AWS::SQS::Queue", "MessageRetentionPeriod", None, 1_209_600, False),
        ("AWS::Kinesis::Stream", "RetentionPeriodHours", 168, None, True),
    ],
)
def test_what_is_kept_for_less_time_is_lost_and_defaults_count(
    type_name: str, name: str, before: int | None, after: int | None, is_sooner: bool
) -> None:
    old, new = ({name: days} if days is not None else {} for days in (before, after))
    found = change(type_name, old, new)
    assert (found.data, found.severity) == (("lost", Severity.WARNING) if is_sooner else ("none", Severity.NOTICE))


def alarm(**properties: Any) -> dict[str, Any]:
    defaults = {"AlarmName": "a", "Threshold": 1, "EvaluationPeriods": 2, "ComparisonOperator": "GreaterThanThreshold"}
    return {**defaults, **properties}


@pytest.mark.parametrize(
    ("before", "after", "is_later"),
    [
        pytest.param(alarm(), alarm(Threshold=90), True, id="a higher threshold"),
        pytest.param(alarm(), alarm(Threshold=0.5), False, id="a lower threshold"),
        pytest.param(
            alarm(ComparisonOperator="LessThanThreshold"),
            alarm(ComparisonOperator="LessThanThreshold", Threshold=0.5),
            True,
            id="a lower threshold where low is bad",
        ),
        pytest.param(alarm(), alarm(EvaluationPeriods=30), True, id="more periods"),
        pytest.param(
            alarm(), alarm(EvaluationPeriods=3, DatapointsToAlarm=2), False, id="more periods, as many points"
        ),
        pytest.param(
            alarm(EvaluationPeriods=5, DatapointsToAlarm=2), alarm(), True, id="as many points of fewer periods"
        ),
        pytest.param(
            alarm(EvaluationPeriods=5, DatapointsToAlarm=1),
            alarm(EvaluationPeriods=1),
            False,
            id="one point of fewer periods",
        ),
        pytest.param(
            alarm(TreatMissingData="breaching"), alarm(TreatMissingData="ignore"), True, id="no data is no alarm"
        ),
        pytest.param(alarm(), alarm(TreatMissingData="breaching"), False, id="no data is an alarm"),
        pytest.param(alarm(), alarm(AlarmDescription="Other words"), False, id="other words"),
    ],
)
def test_an_alarm_that_rings_later_is_a_warning(before: dict[str, Any], after: dict[str, Any], is_later: bool) -> None:
    found = change("AWS::CloudWatch::Alarm", before, after)
    assert found.severity is (Severity.WARNING if is_later else Severity.NOTICE)
    assert any("rings later or never" in reason for reason in found.reasons) == is_later


@pytest.mark.parametrize(
    ("size", "fails"), [(5, True), (20, False), (100, False), (None, True), ({"Ref": "Size"}, False)]
)
def test_a_volume_that_gets_smaller_fails(size: object, fails: bool) -> None:
    sizes = {} if size is None else {"VolumeSizeInGB": size}
    found = change(
        "AWS::SageMaker::NotebookInstance", {"VolumeSizeInGB": 20, "RoleArn": "a"}, {**sizes, "RoleArn": "b"}
    )
    assert any(reason.startswith("The deployment fails") for reason in found.reasons) == fails


@pytest.mark.parametrize(
    ("type_name", "name", "before", "after", "fails"),
    [
        ("AWS::RDS::DBInstance", "AllocatedStorage", "100", "50", True),
        ("AWS::RDS::DBInstance", "AllocatedStorage", "50", 100, False),
        ("AWS::RDS::DBInstance", "AllocatedStorage", "50", None, False),
        ("AWS::EC2::Volume", "Size", 100, 99, True),
        ("AWS::EC2::Volume", "Size", None, 99, False),
    ],
)
def test_what_databases_and_volumes_have_grows_only(
    type_name: str, name: str, before: object, after: object, fails: bool
) -> None:
    old, new = ({name: size} if size is not None else {} for size in (before, after))
    assert change(type_name, {"KmsKeyId": "a", **old}, {"KmsKeyId": "a", **new}).cannot_deploy is fails


def test_what_fails_is_said_before_what_would_be_lost() -> None:
    found = change(
        "AWS::SageMaker::NotebookInstance",
        {"NotebookInstanceName": "n", "SubnetId": "a"},
        {"NotebookInstanceName": "n", "SubnetId": "b"},
    )
    assert found.data == "lost"
    assert found.reasons[0].startswith("The deployment fails")


def test_a_domain_that_aws_updates_is_not_replaced_though_cdk_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    opinion = SecondOpinion({STACK: {"It": Impact("WILL_REPLACE", {"AppNetworkAccessType": "WILL_REPLACE"})}})
    monkeypatch.setattr(comparison, "second_opinion", lambda pairs: opinion)
    found = change(
        "AWS::SageMaker::Domain", {"AppNetworkAccessType": "VpcOnly"}, {"AppNetworkAccessType": "PublicInternetOnly"}
    )
    assert (found.action, found.data) == (Action.UPDATED, "none")
    assert any("past your network" in reason for reason in found.reasons)


def test_a_subnet_more_of_a_domain_stops_nobody() -> None:
    found = change("AWS::SageMaker::Domain", {"SubnetIds": ["a"]}, {"SubnetIds": ["a", "b"]})
    assert (found.action, found.severity) == (Action.UPDATED, Severity.NOTICE)


def test_a_route_that_goes_with_its_table_is_said_of_neither() -> None:
    resources = {
        "It": {
            "Type": "AWS::EC2::Route",
            "Properties": {"DestinationCidrBlock": "0.0.0.0/0", "RouteTableId": {"Ref": "Table"}},
        },
        "Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": "vpc-1"}},
    }
    found = resource_changes(assembly(resources), assembly({}))
    assert {each.interruption for each in found} == {None}


IGW = {"DestinationCidrBlock": "0.0.0.0/0", "RouteTableId": {"Ref": "Table"}, "GatewayId": "igw-1"}
TABLES = {name: {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": "vpc-1"}} for name in ("Table", "Other")}


@pytest.mark.parametrize("stays", [True, False])
def test_a_route_that_goes_with_its_table_is_missed_where_a_subnet_stays(stays: bool) -> None:
    subnet = {"Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24"}}}
    resources = {
        "It": {"Type": "AWS::EC2::Route", "Properties": IGW},
        "Table": TABLES["Table"],
        "Both": {
            "Type": "AWS::EC2::SubnetRouteTableAssociation",
            "Properties": {"RouteTableId": {"Ref": "Table"}, "SubnetId": {"Ref": "Subnet"}},
        },
    }
    found = resource_changes(assembly({**resources, **subnet}), assembly(subnet if stays else {}))
    (route,) = [each for each in found if each.resource.logical_id == "It"]
    assert (route.severity is Severity.DANGER, route.interruption is not None) == (stays, stays)


@pytest.mark.parametrize(
    ("before", "after", "is_danger"),
    [
        pytest.param(TABLES, {"It": IGW, **TABLES}, True, id="a new route in a table that was there"),
        pytest.param({}, {"It": {**IGW, "RouteTableId": "rtb-1"}}, True, id="a new route in a table of somebody else"),
        pytest.param({}, {"It": IGW, **TABLES}, False, id="a new route in a new table"),
        pytest.param({"Old": IGW, **TABLES}, {"It": IGW, **TABLES}, False, id="a route that has another name"),
        pytest.param(
            {"It": {**IGW, "RouteTableId": {"Ref": "Other"}}, **TABLES},
            {"It": IGW, **TABLES},
            True,
            id="a route that is replaced by one of another table",
        ),
    ],
)
def test_a_table_that_was_there_and_leads_to_the_internet_is_a_danger(
    before: dict[str, Any], after: dict[str, Any], is_danger: bool
) -> None:
    sides = (
        {
            name: each if "Type" in each else {"Type": "AWS::EC2::Route", "Properties": each}
            for name, each in side.items()
        }
        for side in (before, after)
    )
    found = resource_changes(*(assembly(side) for side in sides))
    dangers = [each for each in found if any("become public" in reason for reason in each.reasons)]
    assert [each.severity for each in dangers] == ([Severity.DANGER] if is_danger else [])


@pytest.mark.parametrize(
    ("name", "default", "other"),
    [
        ("MultiRegion", False, True),
        ("KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048"),
        ("KeyUsage", "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
        ("Origin", "AWS_KMS", "EXTERNAL"),
    ],
)
def test_a_key_whose_default_is_written_out_is_the_same_key(name: str, default: object, other: object) -> None:
    assert not change("AWS::KMS::Key", {}, {name: default}).cannot_deploy
    assert change("AWS::KMS::Key", {}, {name: other}).cannot_deploy
    assert change("AWS::KMS::Key", {name: other}, {}).cannot_deploy


def test_what_fails_while_something_runs_is_not_said_to_fail() -> None:
    found = change("AWS::SageMaker::Domain", {"SubnetIds": ["a"]}, {"SubnetIds": ["b"]})
    assert not found.cannot_deploy
    assert any(reason.startswith("The update is refused while an app") for reason in found.reasons)
    assert not any(reason.startswith("The deployment fails") for reason in found.reasons)


def test_a_count_that_only_the_deployment_knows_is_not_zero() -> None:
    def endpoint(count: object) -> dict[str, Any]:
        variant = {"VariantName": "All", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": count}
        return {
            "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}},
            "It": {
                "Type": "AWS::SageMaker::Endpoint",
                "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}},
            },
        }

    found = resource_changes(assembly(endpoint(2)), assembly(endpoint({"Ref": "Count"})))
    assert not any("instances" in reason for each in found for reason in each.reasons)
