"""What an endpoint of a template serves, of which kind it is, and how it is updated and watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.intrinsics import as_text, references

AT_ONCE = "blue/green, all traffic at once"

Kind = Literal["real-time", "serverless", "asynchronous", "inference components"]


@dataclass(frozen=True)
class Endpoint:
    """An endpoint resource, with the config and the models that it refers to in the same stack."""

    resource: Resource
    config: Resource | None
    models: Mapping[str, Resource]
    stack: Mapping[str, Resource] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return as_text(self.resource.properties.get("EndpointName", self.resource.path))

    @property
    def variants(self) -> list[Mapping[str, Any]]:
        variants = self.config.properties.get("ProductionVariants", []) if self.config else []
        return [each for each in variants if isinstance(each, Mapping)]

    @property
    def kind(self) -> Kind | None:
        """None where the config is not in the template."""
        if self.config is None:
            return None
        if "AsyncInferenceConfig" in self.config.properties:
            return "asynchronous"
        if any("ServerlessConfig" in each for each in self.variants):
            return "serverless"
        return "real-time" if any("ModelName" in each for each in self.variants) else "inference components"

    @property
    def served(self) -> list[str]:
        """The versions (or else images) that answer, as `NAME version N`."""
        return sorted({served for model in self.models.values() for served in served_by(model)})

    @property
    def instances(self) -> dict[str, tuple[str, int | None]]:
        """Type and count of each variant that has instances; None for a count that only the deployment knows."""
        return {
            str(each.get("VariantName", "")): (
                as_text(each["InstanceType"]),
                _known_count(each.get("InitialInstanceCount", 1)),
            )
            for each in self.variants
            if "InstanceType" in each
        }

    @property
    def policy(self) -> str:
        """How an update goes, in words."""
        return policy_in_words(self.resource.properties.get("DeploymentConfig"))

    @property
    def alarms(self) -> list[str]:
        """The names of those that take an update back."""
        return rollback_alarms(self.resource.properties.get("DeploymentConfig"), self.stack)

    @property
    def shifts_at_once(self) -> bool:
        """Whether no part of the traffic tries a new version first."""
        return self.policy == AT_ONCE


def endpoint_of(resource: Resource, assembly: Assembly) -> Endpoint:
    """Follows an endpoint's references within its stack."""
    stack = assembly.stacks[resource.stack].resources

    def referred(value: object, kind: str) -> Iterator[Resource]:
        for each in references(value):
            found = stack.get(each.logical_id or "")
            if found is not None and found.type == kind:
                yield found

    config = next(referred(resource.properties.get("EndpointConfigName"), "AWS::SageMaker::EndpointConfig"), None)
    models = {}
    if config is not None:
        models = {each.logical_id: each for each in referred(config.properties, "AWS::SageMaker::Model")}
    return Endpoint(resource, config, models, stack)


def served_by(model: Resource) -> Iterator[str]:
    """What the containers of a model are: versions of the registry, else images."""
    containers = [model.properties.get("PrimaryContainer"), *(model.properties.get("Containers") or [])]
    for container in containers:
        if not isinstance(container, Mapping):
            continue
        package = container.get("ModelPackageName")
        if package is not None:
            name, _, version = as_text(package).rpartition("/")
            yield f"{name.rpartition('/')[2]} version {version}"
        elif "Image" in container:
            yield f"image {as_text(container['Image'])}"


def policy_in_words(config: object) -> str:
    """How SageMaker moves traffic.

    What says nothing is updated blue/green, all traffic at once:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeploymentConfig.html
    """
    config = config if isinstance(config, Mapping) else {}
    rolling = config.get("RollingUpdatePolicy")
    if isinstance(rolling, Mapping):
        return f"rolling, {_size(rolling.get('MaximumBatchSize'))} at a time"
    policy = config.get("BlueGreenUpdatePolicy")
    routing = policy.get("TrafficRoutingConfiguration") if isinstance(policy, Mapping) else None
    routing = routing if isinstance(routing, Mapping) else {}
    match routing.get("Type"):
        case "CANARY":
            wait = f" for {_count(routing['WaitIntervalInSeconds'])} s" if "WaitIntervalInSeconds" in routing else ""
            return f"blue/green, a canary of {_size(routing.get('CanarySize'))} first{wait}"
        case "LINEAR":
            return f"blue/green, in steps of {_size(routing.get('LinearStepSize'))}"
    return AT_ONCE


def rollback_alarms(config: object, stack: Mapping[str, Resource]) -> list[str]:
    """The names of the alarms that take an update back; the construct path of one that AWS names."""
    rollback = config.get("AutoRollbackConfiguration") if isinstance(config, Mapping) else None
    alarms: Sequence[Any] = rollback.get("Alarms", []) if isinstance(rollback, Mapping) else []
    return sorted(_alarm_name(each.get("AlarmName"), stack) for each in alarms if isinstance(each, Mapping))


def _alarm_name(value: object, stack: Mapping[str, Resource]) -> str:
    for reference in references(value):
        alarm = stack.get(reference.logical_id or "")
        if alarm is not None:
            return as_text(alarm.properties.get("AlarmName", alarm.path))
    return as_text(value)


_UNITS = {"INSTANCE_COUNT": ("instance", "instances"), "COPY_COUNT": ("copy", "copies")}


def _size(size: object) -> str:
    if not isinstance(size, Mapping):
        return "an unknown size"
    value = as_text(size.get("Value"))
    one, many = _UNITS.get(as_text(size.get("Type")), ("%", "%"))
    return f"{value} {one if value == '1' else many}"


def watched_by(alarms: Sequence[str]) -> str:
    """How many alarms watch, as the end of a sentence."""
    return (
        "watched by an alarm that rolls it back"
        if len(alarms) == 1
        else f"watched by {len(alarms)} alarms that roll it back"
    )


def _known_count(value: object) -> int | None:
    return _count(value) if str(value).isdigit() else None


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0
