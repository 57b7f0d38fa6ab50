"""The review as SARIF 2.1.0, so that code scanning shows findings beside the lines that cause them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.render import groups, words
from sagestack.review.render.groups import Group
from sagestack.review.render.sarif_rules import CHANGE_RULES, PERMISSION_RULES, WIDER, Rule
from sagestack.review.results import (
    Action,
    PermissionChange,
    ResourceChange,
    Review,
    RuleFinding,
    Severity,
)

RESULT_LIMIT = 5_000
"""Of the 25,000 results that GitHub takes in a run it shows the 5,000 gravest: ours are these, the gravest first.

https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.DANGER: "error", Severity.WARNING: "warning", Severity.NOTICE: "note"}
_PROBLEMS = {Severity.DANGER: "error", Severity.WARNING: "warning", Severity.NOTICE: "recommendation"}
_SCORES = {Severity.DANGER: "8.5", Severity.WARNING: "5.5", Severity.NOTICE: "2.0"}
"""GitHub's `high`, `medium` and `low` for what is about security."""
_NO_SOURCE = "app.py"
"""Where everything is put together: the place of what has no line of its own."""


def to_sarif(review: Review) -> dict[str, Any]:
    """One run: newly and still broken rules, dangerous and questionable changes, and wider permissions.

    What is alike in several environments is one result, which names them. Accepted findings carry a suppression with the reason,
    every result whether it is new. Fixed findings are left out: code scanning reads neither suppressions nor states, closes by
    itself what an upload lacks, and would open an alert for what is repaired; they are counted in the run's properties.
    """
    results: list[tuple[Severity, Rule, dict[str, Any]]] = [
        *(_of_change(group) for group in groups.changes(review) if group.first.severity != Severity.NOTICE),
        *(_of_permission(group) for group in groups.permissions(review, "wider")),
        *(_of_finding(group) for group in groups.findings(review, lambda finding: finding.state != "fixed")),
    ]
    # The gravest first, what is new before what is old.
    order = list(Severity)
    results.sort(key=lambda result: (result[2]["baselineState"] != "new", order.index(result[0])))
    left_out = len(results) - RESULT_LIMIT
    results = results[:RESULT_LIMIT]
    _number_twins(result for _, _, result in results)
    rules = {rule.id: rule for _, rule, _ in results}
    places = {id_: place for place, id_ in enumerate(rules)}
    notices = [f"{left_out} more results are left out: code scanning shows {RESULT_LIMIT} of a run."] * (left_out > 0)
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Sagestack review",
                        "semanticVersion": metadata.version("sagestack"),
                        "rules": [_descriptor(rule) for rule in rules.values()],
                    }
                },
                "automationDetails": {"id": "sagestack-review/"},
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "note", "message": {"text": words.visible(text)}}
                            for text in (*notices, *review.notes)
                        ],
                    }
                ],
                "results": [{"ruleId": rule.id, "ruleIndex": places[rule.id], **result} for _, rule, result in results],
                "properties": {
                    "base": review.base.commit or review.base.label,
                    "head": review.head.commit or review.head.label,
                    "needsAHuman": review.needs_a_human,
                    "fixedFindings": sum(words.counts(one).fixed_findings for one in review.environments),
                },
            }
        ],
    }


def _number_twins(results: Iterable[dict[str, Any]]) -> None:
    """Two results that differ in nothing stay two: by GitHub's `HASH:NUMBER`."""
    seen: Counter[str] = Counter()
    for result in results:
        fingerprint = result["partialFingerprints"]["sagestackReview/v1"]
        seen[fingerprint] += 1
        result["partialFingerprints"]["primaryLocationLineHash"] = f"{fingerprint[:16]}:{seen[fingerprint]}"


def _of_change(group: Group[ResourceChange]) -> tuple[Severity, Rule, dict[str, Any]]:
    change = group.first
    if change.cannot_deploy:
        # What fails happens to nobody: the rest is what would be.
        rule = CHANGE_RULES["cannot-deploy"]
    elif change.data == "lost":
        rule = CHANGE_RULES["data-loss"]
    elif change.data == "refused":
        rule = CHANGE_RULES["refused"]
    elif change.interruption:
        rule = CHANGE_RULES["interruption"]
    elif change.action in (Action.REPLACED, Action.MAY_BE_REPLACED):
        rule = CHANGE_RULES["replacement"]
    else:
        rule = CHANGE_RULES["deletion" if change.action is Action.DELETED else "change"]
    sentences = [
        f"{words.headline(change)} in {words.listed(group.environments)}.",
        *change.reasons,
        *([change.interruption] if change.interruption else []),
    ]
    properties = [change.path for change in change.properties]
    result = _result(group, change.severity, sentences, change.resource, rule, [change.action, *properties])
    return change.severity, rule, result


def _of_permission(group: Group[PermissionChange]) -> tuple[Severity, Rule, dict[str, Any]]:
    permission = group.first
    rule = next((rule for flag, rule in PERMISSION_RULES.items() if flag in permission.flags), WIDER)
    sentences = [permission.sentence, f"In {words.listed(group.environments)}."]
    about = [permission.kind, permission.principal, *permission.actions, *permission.targets, *permission.conditions]
    return permission.severity, rule, _result(group, permission.severity, sentences, permission.resource, rule, about)


def _of_finding(group: Group[RuleFinding]) -> tuple[Severity, Rule, dict[str, Any]]:
    finding = group.first
    # `AwsSolutions-IAM5[Resource::*]`: what is in brackets is of this finding, the rule is the same.
    name = finding.rule.split("[")[0]
    title = f"{finding.tool}: {name}"
    rule = Rule(
        words.visible(f"{finding.tool.replace(' ', '-')}/{name}"),
        words.visible(title),
        words.visible(f"A rule of {finding.tool}."),
        words.web_link(finding),
        finding.severity,
        finding.tool != "cfn-lint" and finding.tool != "CloudFormation",
    )
    sentences = [finding.message, f"In {words.listed(group.environments)}."]
    result = _result(group, finding.severity, sentences, finding.resource, rule, [finding.rule, finding.message])
    result["baselineState"] = "new" if finding.state == "new" else "unchanged"
    if finding.accepted is not None:
        result["suppressions"] = [
            {"kind": "inSource", "status": "accepted", "justification": words.visible(finding.accepted)}
        ]
    return finding.severity, rule, result


def _result(
    group: Group[Any],
    severity: Severity,
    sentences: Iterable[str],
    resource: Resource | None,
    rule: Rule,
    about: Iterable[str],
) -> dict[str, Any]:
    stack = group.stacks[0]
    name = f"{stack}/{resource.path}" if resource else stack
    environment, _ = group.members[0]
    # Not the line: code above it moves, and the result stays the same one. Nor the environment: it may gain another.
    identity = "\n".join([rule.id, name.replace(environment.environment, "*"), *about]).replace(
        environment.account, "*"
    )
    fingerprint = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return {
        "level": _LEVELS[severity],
        "message": {"text": words.visible(words.cut(" ".join(sentences), 4_000)) or rule.title},
        "locations": [
            {
                "physicalLocation": _place(resource),
                "logicalLocations": [{"fullyQualifiedName": words.visible(name), "kind": "resource"}],
            }
        ],
        # GitHub reads only `primaryLocationLineHash`, which is put beside it.
        "partialFingerprints": {"sagestackReview/v1": fingerprint},
        "baselineState": "new",
        "properties": {
            "environments": list(group.environments),
            "stacks": [words.visible(one) for one in group.stacks],
        },
    }


def _place(resource: Resource | None) -> dict[str, Any]:
    source = re.fullmatch(r"([\w./ @+-]+):(\d+)", resource.source) if resource and resource.source else None
    file, line = (source[1], max(int(source[2]), 1)) if source else (_NO_SOURCE, 1)
    if file.startswith(("/", "../")) or "/../" in file:
        # Code that is not of the repository, an installed library: there is no line to show.
        file, line = _NO_SOURCE, 1
    return {
        "artifactLocation": {"uri": file.replace(" ", "%20"), "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": line, "startColumn": 1, "endLine": line, "endColumn": 2},
    }


def _descriptor(rule: Rule) -> dict[str, Any]:
    text = f"{rule.explanation} More: {rule.link}" if rule.link else rule.explanation
    descriptor: dict[str, Any] = {
        "id": rule.id,
        "name": words.cut(rule.title, 255),
        "shortDescription": {"text": words.cut(rule.title, 1_024)},
        "fullDescription": {"text": words.cut(rule.explanation, 1_024)},
        "help": {"text": text},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"precision": "high", "problem.severity": _PROBLEMS[rule.severity]},
    }
    if rule.link:
        descriptor["helpUri"] = rule.link
    if rule.is_security:
        descriptor["properties"] |= {"tags": ["security"], "security-severity": _SCORES[rule.severity]}
    return descriptor
