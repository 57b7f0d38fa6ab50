"""What we ask of SageMaker resources besides the rules of others, which know its notebooks and little else.

A rule is a module with a `RULE`; a new one is added to `RULES` here.
"""

from __future__ import annotations

from sagestack.review.assembly import Assembly, StackTemplate
from sagestack.review.rule_tools import OWN
from sagestack.review.rules.found import Found
from sagestack.review.rules.own import (
    alarm_action,
    data_capture,
    domain_network,
    endpoint_rollback,
    endpoint_volume_key,
    job_network_isolation,
    job_traffic_encryption,
    job_volume_key,
    model_network_isolation,
    notebook_metadata_service,
    notebook_root_access,
    permissions_boundary,
    physical_name,
    public_policy,
    scaled_endpoint,
)
from sagestack.review.rules.own.rule import Around, Rule

RULES: tuple[Rule, ...] = tuple(
    module.RULE
    for module in (
        alarm_action,
        data_capture,
        domain_network,
        endpoint_rollback,
        endpoint_volume_key,
        job_network_isolation,
        job_traffic_encryption,
        job_volume_key,
        model_network_isolation,
        notebook_metadata_service,
        notebook_root_access,
        permissions_boundary,
        physical_name,
        public_policy,
        scaled_endpoint,
    )
)


def broken_in(stack: StackTemplate, assembly: Assembly) -> list[Found]:
    """What the resources of one stack break, in the order of the template."""
    around = Around(stack, assembly)
    return [
        Found(OWN, rule.name, resource.logical_id, rule.severity, message, rule.link)
        for resource in stack.resources.values()
        for rule in RULES
        if resource.type in rule.types
        for message in rule.broken(resource, around)
    ]
