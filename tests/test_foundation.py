"""The foundation keeps what must be neither lost nor read by others."""

import json
from pathlib import Path
from typing import Any

import pytest
from sagestack.settings import load_environment

from tests.synthesis import Resource, Templates, build, synthesize


@pytest.fixture(scope="module")
def buckets(templates: Templates) -> list[dict[str, Any]]:
    """The buckets for data and artefacts: all but the one for the access logs."""
    return [
        b["Properties"] for b in templates.resources("AWS::S3::Bucket") if "LoggingConfiguration" in b["Properties"]
    ]


def test_the_key_rotates(templates: Templates) -> None:
    assert templates.properties("AWS::KMS::Key")["EnableKeyRotation"] is True


def test_data_and_artefacts_are_encrypted_with_the_key(buckets: list[dict[str, Any]]) -> None:
    assert len(buckets) == 2
    for bucket in buckets:
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["BucketKeyEnabled"] is True
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        assert rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]["Fn::GetAtt"][0].startswith("Key")


def test_data_and_artefacts_are_versioned_and_access_logged_apart(buckets: list[dict[str, Any]]) -> None:
    assert all(bucket["VersioningConfiguration"]["Status"] == "Enabled" for bucket in buckets)
    assert {bucket["LoggingConfiguration"]["LogFilePrefix"] for bucket in buckets} == {"Data/", "Artifacts/"}


def test_old_versions_and_abandoned_uploads_go_away(buckets: list[dict[str, Any]]) -> None:
    for bucket in buckets:
        (rule,) = (rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" not in rule)
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_current_versions_never_expire_but_what_endpoints_captured(buckets: list[dict[str, Any]]) -> None:
    rules = [rule for bucket in buckets for rule in bucket["LifecycleConfiguration"]["Rules"]]
    assert [rule["Prefix"] for rule in rules if "ExpirationInDays" in rule] == ["housing/captured/"]


def test_access_logs_expire(templates: Templates) -> None:
    (logs,) = (b for b in templates.resources("AWS::S3::Bucket") if "LoggingConfiguration" not in b["Properties"])
    (rule,) = logs["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == 30


def test_every_bucket_refuses_plain_http_and_the_public(templates: Templates) -> None:
    buckets = templates.resources("AWS::S3::Bucket")
    policies = templates.resources("AWS::S3::BucketPolicy")
    assert len(buckets) == len(policies) == 3
    for policy in policies:
        assert any(
            statement["Effect"] == "Deny"
            and statement["Action"] == "s3:*"
            and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        )
    for bucket in buckets:
        assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}


def test_the_buckets_are_found_by_parameters(templates: Templates) -> None:
    names = {p["Properties"]["Name"] for p in templates.resources("AWS::SSM::Parameter", "-foundation")}
    assert names == {"/sagestack/dev/data-bucket", "/sagestack/dev/artifact-bucket"}


def test_nothing_is_named_but_what_needs_a_name(templates: Templates) -> None:
    text = json.dumps(templates.by_stack["sagestack-dev-foundation"])
    for name in ("BucketName", "RoleName", "AliasName"):
        assert f'"{name}"' not in text


@pytest.mark.parametrize(("environment", "policy"), [("dev", "Delete"), ("prod", "Retain")])
def test_the_environment_says_what_happens_to_data_when_its_stack_goes(
    project: Path, tmp_path: Path, environment: str, policy: str
) -> None:
    made = synthesize(build(project, load_environment(environment, project), tmp_path))
    kept: list[Resource] = [
        resource
        for kind in ("AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SageMaker::ModelPackageGroup")
        for resource in made.resources(kind)
    ]
    assert len(kept) == 5
    assert {resource["DeletionPolicy"] for resource in kept} == {policy}
