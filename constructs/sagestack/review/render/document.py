"""The review as one JSON document, for programs: what `--json` and `review.json` say, by `review.schema.json`."""

from __future__ import annotations

from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.render import words
from sagestack.review.results import (
    CostEstimate,
    CostLine,
    EnvironmentReview,
    PermissionChange,
    PermissionFlag,
    ResourceChange,
    Review,
    RuleFinding,
    Side,
)

SCHEMA_VERSION = "1.1"
"""The first number rises when a key goes or means something else, the second when keys are added."""


def to_json(review: Review) -> dict[str, Any]:
    """Everything but the drawings, in raw values; the same review gives the same document to the byte.

    `render/review.schema.json` describes it. Environments, changes, permissions and findings keep the review's order, the
    most dangerous first; nothing is gathered across environments.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "base": _side(review.base),
        "head": _side(review.head),
        "verdict": {
            "needs_a_human": review.needs_a_human,
            "sentence": words.verdict(review),
            "asked": list(review.asked),
            "met": [{"condition": met.condition, "where": list(met.where)} for met in review.met],
        },
        "prices": {"date": review.price_date, "source": review.price_source},
        "environments": [_environment(environment) for environment in review.environments],
        "notes": list(review.notes),
    }


def _side(side: Side) -> dict[str, Any]:
    return {"label": side.label, "commit": side.commit, "is_dirty": side.is_dirty}


def _environment(environment: EnvironmentReview) -> dict[str, Any]:
    count = words.counts(environment)
    return {
        "environment": environment.environment,
        "account": environment.account,
        "region": environment.region,
        "is_new": environment.is_new,
        "is_gone": environment.is_gone,
        "counts": {
            "deleted": count.deleted,
            "replaced": count.replaced,
            "may_be_replaced": count.may_be_replaced,
            "updated": count.updated,
            "created": count.created,
            "data_lost": count.data_lost,
            "interruptions": count.interruptions,
            "wider_permissions": count.wider,
            "narrower_permissions": count.narrower,
            "new_findings": count.new_findings,
            "fixed_findings": count.fixed_findings,
        },
        "changes": [_change(change) for change in environment.changes],
        "permissions": [_permission(permission) for permission in environment.permissions],
        "cost": {"before": _estimate(environment.cost_before), "after": _estimate(environment.cost_after)},
        "findings": [_finding(finding) for finding in environment.findings],
        "pictures": [{"title": picture.title, "mermaid": picture.mermaid} for picture in environment.pictures],
        "notes": list(environment.notes),
    }


def _resource(resource: Resource) -> dict[str, Any]:
    return {
        "stack": resource.stack,
        "logical_id": resource.logical_id,
        "type": resource.type,
        "path": resource.path,
        "source": resource.source,
    }


def _change(change: ResourceChange) -> dict[str, Any]:
    return {
        "resource": _resource(change.resource),
        "action": change.action.value,
        "severity": change.severity.value,
        "data": change.data,
        "interruption": change.interruption,
        "reasons": list(change.reasons),
        "cannot_deploy": change.cannot_deploy,
        "renamed_from": change.renamed_from,
        "properties": [
            {"path": one.path, "before": one.before, "after": one.after, "replaces": one.replaces}
            for one in change.properties
        ],
    }


def _permission(permission: PermissionChange) -> dict[str, Any]:
    return {
        "direction": permission.direction,
        "kind": permission.kind,
        "resource": _resource(permission.resource),
        "principal": permission.principal,
        "actions": list(permission.actions),
        "access_levels": list(permission.access_levels),
        "targets": list(permission.targets),
        "conditions": list(permission.conditions),
        "severity": permission.severity.value,
        "sentence": permission.sentence,
        "flags": [flag.value for flag in PermissionFlag if flag in permission.flags],
    }


def _estimate(estimate: CostEstimate) -> dict[str, Any]:
    return {
        "idle_usd_per_month": round(estimate.idle, 4),
        "load_usd_per_month": round(estimate.load, 4),
        "total_usd_per_month": round(estimate.total, 4),
        "at_load": estimate.at_load,
        "lines": [_line(line) for line in estimate.lines],
    }


def _line(line: CostLine) -> dict[str, Any]:
    return {
        "resource": _resource(line.resource),
        "what": line.what,
        "kind": line.kind,
        "usd_per_month": None if line.usd_per_month is None else round(line.usd_per_month, 4),
        "how": line.how,
    }


def _finding(finding: RuleFinding) -> dict[str, Any]:
    return {
        "tool": finding.tool,
        "rule": finding.rule,
        "stack": finding.stack,
        "resource": None if finding.resource is None else _resource(finding.resource),
        "severity": finding.severity.value,
        "message": finding.message,
        "state": finding.state,
        "accepted": finding.accepted,
        "link": finding.link,
    }
