"""The review in code scanning: by the standard's schema, within GitHub's limits, with alerts that stay the same ones."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jsonschema
import pytest
from sagestack.review.render import sarif
from sagestack.review.render.sarif import to_sarif
from sagestack.review.results import Review
from sagestack.settings import PROJECT_ROOT

from tests import review_reports

SCHEMA = PROJECT_ROOT / "node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"
"""The official schema, as a package of Microsoft's SARIF SDK carries it."""


def results(review: Review) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = to_sarif(review)["runs"][0]["results"]
    return found


def of_rule(review: Review, rule: str) -> list[dict[str, Any]]:
    return [result for result in results(review) if result["ruleId"] == rule]


@pytest.mark.parametrize("sample", ["rich", "empty", "hostile", "monster"])
def test_it_is_as_the_standard_says(sample: str) -> None:
    document = json.loads(json.dumps(to_sarif(getattr(review_reports, sample)())))
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)


def test_it_has_what_github_requires_of_each_rule_and_result() -> None:
    run = to_sarif(review_reports.rich())["runs"][0]
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
        assert len(result["locations"]) == 1
        region = result["locations"][0]["physicalLocation"]["region"]
        assert {"startLine", "startColumn", "endLine", "endColumn"} == set(region)


def test_a_result_stands_at_the_line_that_makes_the_resource() -> None:
    (lost,) = of_rule(review_reports.rich(), "sagestack/data-loss")
    place = lost["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "stacks/foundation.py"
    assert place["region"]["startLine"] == 48
    assert lost["level"] == "error"
    assert lost["properties"]["environments"] == ["dev", "staging", "prod"]


def test_what_cannot_be_deployed_is_told_before_what_it_would_lose() -> None:
    review = review_reports.rich()
    first = review.environments[0]
    change = dataclasses.replace(first.changes[0], cannot_deploy=True)
    review = dataclasses.replace(review, environments=(dataclasses.replace(first, changes=(change,)),))
    assert len(of_rule(review, "sagestack/cannot-deploy")) == 1
    assert of_rule(review, "sagestack/data-loss") == []


@pytest.mark.parametrize("source", [None, "/usr/lib/python3/aws_cdk/core.py:3", "../elsewhere.py:3", "nonsense"])
def test_what_has_no_line_in_the_repository_stands_at_the_app(source: str | None) -> None:
    review = review_reports.rich()
    first = review.environments[0]
    resource = dataclasses.replace(first.changes[0].resource, source=source)
    change = dataclasses.replace(first.changes[0], before=resource, after=resource)
    review = dataclasses.replace(review, environments=(dataclasses.replace(first, changes=(change,)),))
    (lost,) = of_rule(review, "sagestack/data-loss")
    assert lost["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "app.py"


def test_each_kind_of_danger_has_its_rule() -> None:
    found = {result["ruleId"]: result["level"] for result in results(review_reports.rich())}
    assert found["sagestack/public-access"] == "error"
    assert found["sagestack/wider-permission"] == "warning"
    assert found["sagestack/refused-deletion"] == "warning"
    assert found["sagestack/interruption"] == "warning"
    assert found["sagestack/deletion"] == "warning"
    assert found["sagestack/endpoint-rollback-alarm"] == "error"


def test_routine_changes_and_narrower_permissions_are_no_results() -> None:
    messages = " ".join(result["message"]["text"] for result in results(review_reports.rich()))
    assert "Alarms/Topic" not in messages
    assert "ScheduleKeyDeletion" not in messages


def test_old_findings_are_unchanged_accepted_ones_suppressed_and_fixed_ones_only_counted() -> None:
    review = review_reports.rich()
    (old,) = of_rule(review, "cdk-nag-AwsSolutions/AwsSolutions-S1")
    assert old["baselineState"] == "unchanged"
    (accepted,) = of_rule(review, "cdk-nag-AwsSolutions/AwsSolutions-IAM5")
    assert accepted["suppressions"][0]["status"] == "accepted"
    assert "PutMetricData" in accepted["suppressions"][0]["justification"]
    assert not of_rule(review, "cfn-lint/W3045")
    assert to_sarif(review)["runs"][0]["properties"]["fixedFindings"] == 3


def test_a_fingerprint_survives_moved_lines_and_another_environment() -> None:
    def fingerprints(review: Review) -> set[str]:
        return {
            result["partialFingerprints"]["primaryLocationLineHash"]
            for result in of_rule(review, "sagestack/data-loss")
        }

    review = review_reports.rich()
    staging = review.environments[1]
    resource = dataclasses.replace(staging.changes[0].resource, source="stacks/foundation.py:99")
    change = dataclasses.replace(staging.changes[0], before=resource, after=resource)
    moved = dataclasses.replace(review, environments=(dataclasses.replace(staging, changes=(change,)),))
    assert fingerprints(review) == fingerprints(moved)


def test_no_two_results_have_the_same_fingerprint() -> None:
    hashes = [result["partialFingerprints"]["primaryLocationLineHash"] for result in results(review_reports.monster())]
    assert len(hashes) == len(set(hashes))


def test_more_than_github_shows_is_cut_from_the_least_grave_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = results(review_reports.monster())
    monkeypatch.setattr(sarif, "RESULT_LIMIT", 50)
    run = to_sarif(review_reports.monster())["runs"][0]
    assert len(run["results"]) == 50
    assert {result["level"] for result in run["results"]} == {"error"}
    notice = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert notice.startswith(f"{len(everything) - 50} more results are left out")


def test_an_unchanged_review_closes_every_alert() -> None:
    assert results(review_reports.empty()) == []


def test_security_rules_have_a_score_and_others_have_none() -> None:
    rules = {rule["id"]: rule for rule in to_sarif(review_reports.rich())["runs"][0]["tool"]["driver"]["rules"]}
    assert rules["sagestack/public-access"]["properties"]["security-severity"] == "8.5"
    assert "security-severity" not in rules["sagestack/data-loss"]["properties"]
    assert rules["sagestack/data-loss"]["helpUri"].startswith("https://docs.aws.amazon.com/")
