"""What an endpoint with a shadow variant may be, and how DescribeEndpoint tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting.serving_containers import ServingContainer
from local_cloud.sagemaker.store import Document


def check_config(request: Mapping[str, Any]) -> None:
    """Check a CreateEndpointConfig request that may have ShadowProductionVariants.

    What excludes a shadow follows the developer guide, "Create a shadow test"; the words are ours.

    Raises:
        ValidationError: it has more than one variant of a kind, or what SageMaker does not shadow.
    """
    shadows = request.get("ShadowProductionVariants") or []
    if not shadows:
        return
    counts = {"ProductionVariants": request["ProductionVariants"], "ShadowProductionVariants": shadows}
    for member, variants in counts.items():
        if len(variants) != 1:
            raise ValidationError(
                f"With ShadowProductionVariants there is exactly one production variant and one shadow variant; "
                f"{member} has {len(variants)}."
            )
    if request.get("AsyncInferenceConfig"):
        raise ValidationError("Asynchronous inference does not support shadow variants: leave one of the two out.")
    for variant in (*request["ProductionVariants"], *shadows):
        if variant.get("ServerlessConfig"):
            raise ValidationError(
                f"Serverless inference does not support shadow variants: give variant {variant['VariantName']} instances."
            )
        if not variant.get("ModelName"):
            raise ValidationError(
                f"Inference components have no shadow variants: variant {variant['VariantName']} needs a ModelName."
            )


def check_model(variant: str, containers: Sequence[ServingContainer]) -> None:
    """Check the model of a variant of an endpoint with a shadow.

    Raises:
        ValidationError: it has several containers, or hosts many models.
    """
    if len(containers) > 1:
        raise ValidationError(
            f"Multi-container endpoints have no shadow variants: variant {variant} has {len(containers)} containers."
        )
    if any(container.archives for container in containers):
        raise ValidationError(f"Multi-model endpoints have no shadow variants: variant {variant} is multi-model.")


def separate(described: Document, *plans: Document | None) -> None:
    """Move the summaries of shadow variants to where DescribeEndpoint has them, ShadowProductionVariants.

    Args:
        described: the answer, with all variants as production variants.
        plans: the deployed and the pending plan.
    """
    names = {
        variant["VariantName"] for plan in plans if plan for variant in plan["Variants"] if variant.get("IsShadow")
    }
    for part in (described, described.get("PendingDeploymentSummary", {})):
        summaries = part.get("ProductionVariants", [])
        if shadows := [summary for summary in summaries if summary["VariantName"] in names]:
            part["ShadowProductionVariants"] = shadows
            part["ProductionVariants"] = [summary for summary in summaries if summary not in shadows]
