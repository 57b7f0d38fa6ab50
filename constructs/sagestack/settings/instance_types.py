"""What must be known of an instance type before anything is deployed on it."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from typing import Literal

from sagestack.settings import shipped
from sagestack.settings.errors import suggestion

Use = Literal["hosting", "training", "processing", "notebook"]
Architecture = Literal["amd64", "arm64"]

_SHAPES: dict[Use, str] = {
    "hosting": "ProductionVariantInstanceType",
    "training": "TrainingInstanceType",
    "processing": "ProcessingInstanceType",
    "notebook": "InstanceType",
}

# Families with an instance store. Their disks are encrypted by the hardware, and SageMaker refuses a volume key:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (KmsKeyId)
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-volumes.html
_INSTANCE_STORE_FAMILY = re.compile(r"(?:[cmr]\d+[a-z]*d|g[4-9][a-z]*|p3dn|p[45][a-z]*|p6.*|trn.*|dl1)")

# Graviton (c6g, m8g, r7gd, ...) and Grace (gb200); g5 and g6 are x86 machines with a GPU.
_ARM_FAMILY = re.compile(r"[cmrt]\d+g[a-z]*|p6e-gb200")


@functools.cache
def known_instance_types(use: Use) -> frozenset[str]:
    """The instance types that SageMaker's API, as botocore describes it, takes for one use."""
    model = shipped.session().get_service_model("sagemaker")
    return frozenset(model.shape_for(_SHAPES[use]).enum)  # type: ignore[attr-defined]


def check_instance_type(instance_type: str, use: Use) -> str:
    """Returns the instance type, or raises `ValueError` where SageMaker or our images cannot use it."""
    known = known_instance_types(use)
    if instance_type not in known:
        raise ValueError(
            f"{instance_type!r} is not an instance type for {use}{suggestion(instance_type, sorted(known))}"
            f" (allowed: {len(known)} types like {'ml.t3.medium' if use == 'notebook' else 'ml.m5.large'!r})"
        )
    if use in ("training", "processing") and architecture(instance_type) != "amd64":
        raise ValueError(
            f"{instance_type!r} has an Arm processor, and the image of jobs is built for linux/amd64"
            f" (allowed: x86 types like 'ml.m5.large'; Arm is for endpoints)"
        )
    return instance_type


def check_region(instance_type: str, region: str) -> str:
    """Returns the instance type, or raises `ValueError` where a region has no such instances at all.

    SageMaker's types are EC2's with `ml.` before them. Nobody publishes where SageMaker has which but as prices; where EC2 has
    which, cfn-lint takes from AWS's price list. So what passes may still not be had: a region that EC2 has a type in may lack it
    for SageMaker. A region that cfn-lint does not know refuses nothing.
    """
    offered = _of_ec2().get(region)
    if offered is not None and instance_type.removeprefix("ml.") not in offered:
        near = [f"ml.{each}" for each in sorted(offered)]
        raise ValueError(
            f"{instance_type!r} does not exist in {region}{suggestion(instance_type, near)} (AWS offers no"
            f" {instance_type.removeprefix('ml.')} there)"
        )
    return instance_type


@functools.cache
def _of_ec2() -> dict[str, frozenset[str]]:
    """The types of EC2 by region."""
    file = importlib.resources.files("cfnlint.data.schemas.extensions.aws_ec2_instance") / "instancetype_enum.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    return {
        region: frozenset(each["enum"])
        for region, each in document.items()
        if isinstance(each, dict) and each.get("enum")
    }


def architecture(instance_type: str) -> Architecture:
    """What an image must be built for to run there, in Docker's words."""
    return "arm64" if _ARM_FAMILY.fullmatch(_family(instance_type)) else "amd64"


def takes_volume_key(instance_type: str) -> bool:
    """Whether the storage volume can be encrypted with a key of ours.

    It cannot where the instance brings its own NVMe disks: those are encrypted by the hardware already.
    """
    return not _INSTANCE_STORE_FAMILY.fullmatch(_family(instance_type))


def _family(instance_type: str) -> str:
    return instance_type.removeprefix("ml.").rpartition(".")[0]
