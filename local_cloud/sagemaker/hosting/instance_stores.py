"""Which instances bring disks of their own, for which SageMaker takes no key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local_cloud.sagemaker.errors import ValidationError

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-volumes.html
_FAMILIES = re.compile(r"(?:[cmr]\d+[a-z]*d|g[4-9][a-z]*|p3dn|p[45][a-z]*|p6.*|trn.*|dl1)")


def has_own_disks(instance_type: str) -> bool:
    """Whether its storage is in the instance, encrypted by the hardware."""
    return bool(_FAMILIES.fullmatch(instance_type.removeprefix("ml.").rpartition(".")[0]))


def check_key(request: Mapping[str, Any]) -> None:
    """Refuse a key for disks that take none.

    "If you specify a value for KmsKeyId when using any nitro-based instances with local storage, the call to
    CreateEndpointConfig fails" (API reference). The words are ours.

    Args:
        request: of CreateEndpointConfig.

    Raises:
        ValidationError: it has a KmsKeyId and such an instance type.
    """
    if not request.get("KmsKeyId"):
        return
    for kind in ("ProductionVariants", "ShadowProductionVariants"):
        for variant in request.get(kind) or []:
            if has_own_disks(variant.get("InstanceType") or ""):
                raise ValidationError(
                    f"KmsKeyId is not for instance type {variant['InstanceType']} of variant {variant['VariantName']}: it has"
                    " disks of its own, which its hardware encrypts. Leave KmsKeyId out, or take an instance type without."
                )
