"""What can be scaled: how each dimension is found, read and set through SageMaker's own operations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request, Sagemaker

VARIANT_COUNT = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED_CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
COPY_COUNT = "sagemaker:inference-component:DesiredCopyCount"
_VARIANT = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")
_COMPONENT = re.compile(r"inference-component/(?P<component>[^/]+)")


@dataclass(frozen=True)
class Capacity:
    """What a scalable resource has.

    Attributes:
        desired: its capacity, as last asked for.
        status: SageMaker's word for its state; nothing but an InService resource can be scaled.
        reason: why its last change failed.
        least: the smallest minimum that SageMaker can be asked for.
        least_why: why it is not smaller.
    """

    desired: int
    status: str
    reason: str | None = None
    least: int = 0
    least_why: str = ""

    @property
    def steady(self) -> bool:
        """Whether it can be changed now."""
        return self.status == "InService"


class Scalable(Protocol):
    """One dimension of one resource."""

    @property
    def label(self) -> str:
        """What is scaled, in AWS's words."""

    @property
    def dimensions(self) -> dict[str, str]:
        """By what CloudWatch knows the resource."""

    def read(self, sagemaker: Sagemaker, caller: Caller) -> Capacity:
        """What it has now.

        Raises:
            ApiError: it is not there, or has no such dimension.
        """

    def set(self, sagemaker: Sagemaker, caller: Caller, capacity: int) -> None:
        """Ask for another capacity; SageMaker answers at once and works on it.

        Raises:
            ApiError: it is refused.
        """


@dataclass(frozen=True)
class _OfVariant:
    endpoint: str
    variant: str

    @property
    def dimensions(self) -> dict[str, str]:
        """See Scalable."""
        return {"EndpointName": self.endpoint, "VariantName": self.variant}

    def _described(self, sagemaker: Sagemaker, caller: Caller) -> tuple[dict[str, Any], dict[str, Any]]:
        endpoint = sagemaker.call("DescribeEndpoint", caller, {"EndpointName": self.endpoint})
        variants = {
            variant["VariantName"]: variant
            for kind in ("ProductionVariants", "ShadowProductionVariants")
            for variant in endpoint.get(kind) or []
        }
        pending = endpoint.get("PendingDeploymentSummary") or {}
        for variant in pending.get("ProductionVariants") or []:
            # An endpoint that is being made has no variant but these.
            variants.setdefault(variant["VariantName"], variant)
        if self.variant not in variants:
            raise ValidationError(
                f"Could not find variant {self.variant} of endpoint {endpoint['EndpointArn']}; it has: "
                f"{', '.join(variants) or 'none'}."
            )
        return endpoint, variants[self.variant]

    def _update(self, sagemaker: Sagemaker, caller: Caller, change: Request) -> None:
        sagemaker.call(
            "UpdateEndpointWeightsAndCapacities",
            caller,
            {
                "EndpointName": self.endpoint,
                "DesiredWeightsAndCapacities": [{"VariantName": self.variant, **change}],
            },
        )


@dataclass(frozen=True)
class VariantCount(_OfVariant):
    """The instances of a variant."""

    label: str = "desired instance count"

    def read(self, sagemaker: Sagemaker, caller: Caller) -> Capacity:
        """See Scalable."""
        endpoint, variant = self._described(sagemaker, caller)
        if "CurrentServerlessConfig" in variant or "DesiredServerlessConfig" in variant:
            raise ValidationError(
                f"Variant {self.variant} of endpoint {self.endpoint} is serverless and has no instances; its scalable "
                f"dimension is {PROVISIONED_CONCURRENCY}."
            )
        is_async = bool(endpoint.get("AsyncInferenceConfig"))
        return Capacity(
            desired=int(variant.get("DesiredInstanceCount") or 0),
            status=endpoint["EndpointStatus"],
            reason=endpoint.get("FailureReason"),
            # "Edit a scaling policy" in SageMaker's guide: without traffic a variant scales in to its minimum, which must
            # be 1 or higher; "Autoscale an asynchronous endpoint": to zero.
            least=0 if is_async else 1,
            least_why="only asynchronous endpoints and inference components scale in to zero",
        )

    def set(self, sagemaker: Sagemaker, caller: Caller, capacity: int) -> None:
        """See Scalable."""
        self._update(sagemaker, caller, {"DesiredInstanceCount": capacity})


@dataclass(frozen=True)
class ProvisionedConcurrency(_OfVariant):
    """The provisioned concurrency of a serverless variant."""

    label: str = "desired provisioned concurrency"

    def read(self, sagemaker: Sagemaker, caller: Caller) -> Capacity:
        """See Scalable."""
        endpoint, variant = self._described(sagemaker, caller)
        config = variant.get("DesiredServerlessConfig") or variant.get("CurrentServerlessConfig") or {}
        if not config.get("ProvisionedConcurrency"):
            raise ValidationError(
                f"Variant {self.variant} of endpoint {self.endpoint} has no provisioned concurrency to scale; give its "
                "ServerlessConfig a ProvisionedConcurrency first."
            )
        return Capacity(
            desired=int(config["ProvisionedConcurrency"]),
            status=endpoint["EndpointStatus"],
            reason=endpoint.get("FailureReason"),
            # ProvisionedConcurrency of ProductionVariantServerlessUpdateConfig: minimum value of 1.
            least=1,
            least_why="SageMaker takes no ProvisionedConcurrency below 1",
        )

    def set(self, sagemaker: Sagemaker, caller: Caller, capacity: int) -> None:
        """See Scalable. MaxConcurrency stays: what is not named does not change."""
        self._update(sagemaker, caller, {"ServerlessUpdateConfig": {"ProvisionedConcurrency": capacity}})


@dataclass(frozen=True)
class CopyCount:
    """The copies of an inference component."""

    component: str
    label: str = "desired copy count"

    @property
    def dimensions(self) -> dict[str, str]:
        """See Scalable."""
        return {"InferenceComponentName": self.component}

    def read(self, sagemaker: Sagemaker, caller: Caller) -> Capacity:
        """See Scalable."""
        request = {"InferenceComponentName": self.component}
        found = sagemaker.call("DescribeInferenceComponent", caller, request)
        runtime = found.get("RuntimeConfig") or {}
        return Capacity(
            desired=int(runtime.get("DesiredCopyCount") or 0),
            status=found["InferenceComponentStatus"],
            reason=found.get("FailureReason"),
        )

    def set(self, sagemaker: Sagemaker, caller: Caller, capacity: int) -> None:
        """See Scalable."""
        sagemaker.call(
            "UpdateInferenceComponentRuntimeConfig",
            caller,
            {"InferenceComponentName": self.component, "DesiredRuntimeConfig": {"CopyCount": capacity}},
        )


def scalable(resource_id: str, dimension: str) -> Scalable:
    """What a resource id and a scalable dimension name together.

    Raises:
        ValidationError: they do not fit together, or are none of SageMaker's.
    """
    if dimension in (VARIANT_COUNT, PROVISIONED_CONCURRENCY):
        if match := _VARIANT.fullmatch(resource_id):
            kind = VariantCount if dimension == VARIANT_COUNT else ProvisionedConcurrency
            return kind(match["endpoint"], match["variant"])
        form = "endpoint/NAME/variant/NAME"
    elif dimension == COPY_COUNT:
        if match := _COMPONENT.fullmatch(resource_id):
            return CopyCount(match["component"])
        form = "inference-component/NAME"
    else:
        raise ValidationError(
            f"Unsupported service namespace, resource type or scalable dimension: {dimension} is none of sagemaker's, "
            f"which are {VARIANT_COUNT}, {PROVISIONED_CONCURRENCY} and {COPY_COUNT}."
        )
    raise ValidationError(
        f"Unsupported service namespace, resource type or scalable dimension: the resource ID of {dimension} has the form "
        f"{form}, got {resource_id}"
    )
