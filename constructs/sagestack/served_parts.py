"""What an endpoint consists of as a deployment is checked: its variants and components, their versions, their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagestack import settings
from sagestack.hosted_models import Archives, RegisteredModel
from sagestack.settings.update_checks import MAIN_VARIANT, SHADOW_VARIANT


@dataclass(frozen=True)
class Part:
    """A production variant, a shadow variant or an inference component, and what it must be.

    Attributes:
        name: of the variant or component.
        model_package_arns: the versions of its containers, in their order; empty where it has no version.
        counts: the fewest and the most instances (copies of a component) that it may have; None where that is not checked.
        containers: by version, the host name of its container where several are called by name. Where there are several
            without names they answer together, in a row, and nobody recorded what all of them answer: so they are not asked.
    """

    name: str
    model_package_arns: tuple[str, ...] = ()
    counts: tuple[int, int] | None = None
    containers: Mapping[str, str] = field(default_factory=dict)

    def wanted(self) -> dict[str, Any]:
        """As a property of the gate."""
        counts = {} if self.counts is None else {"MinInstances": self.counts[0], "MaxInstances": self.counts[1]}
        return {"Name": self.name, "ModelPackageArns": list(self.model_package_arns), **counts}

    def questions(self, what: str, picked: Mapping[str, str]) -> list[dict[str, Any]]:
        """Whose golden records are asked, and with which members of InvokeEndpoint."""
        return [
            {
                "ModelPackageArn": arn,
                "What": f"{what} {self.name}",
                "Addressed": {
                    **picked,
                    **({"TargetContainerHostname": self.containers[arn]} if arn in self.containers else {}),
                },
            }
            for arn in self.model_package_arns
            if arn in self.containers or len(self.model_package_arns) == 1
        ]


@dataclass(frozen=True)
class ServedParts:
    """All parts of an endpoint."""

    variants: tuple[Part, ...]
    shadows: tuple[Part, ...] = ()
    components: tuple[Part, ...] = ()

    @property
    def model_package_arns(self) -> list[str]:
        """All versions that are served, each once."""
        parts = (*self.variants, *self.shadows, *self.components)
        return list(dict.fromkeys(arn for part in parts for arn in part.model_package_arns))

    def questions(self) -> list[dict[str, Any]]:
        """What the gate asks. A shadow's answers nobody gets, so it is not asked."""
        several = len(self.variants) > 1
        return [
            *(
                question
                for part in self.variants
                for question in part.questions("variant", {"TargetVariant": part.name} if several else {})
            ),
            *(
                question
                for part in self.components
                for question in part.questions("inference component", {"InferenceComponentName": part.name})
            ),
        ]


def served_parts(
    hosting: settings.Hosting, model: RegisteredModel | Archives, *, component_name: str | None = None
) -> ServedParts:
    """The parts of an endpoint of these settings.

    Args:
        hosting: how it is served.
        model: what is served.
        component_name: of the inference component, for an endpoint of components.
    """

    def arns(version: int | None = None) -> tuple[str, ...]:
        if isinstance(model, Archives):
            return ()
        own = model.versions.model_package_arn(model.served_version if version is None else version)
        return (own,) if model.mode is None else (own, *(other.model_package_arn for other in model.beside))

    def containers(version: int | None = None) -> dict[str, str]:
        if isinstance(model, Archives) or model.mode != "Direct":
            return {}
        names = [model.name, *(other.name for other in model.beside)]
        return dict(zip(arns(version), names, strict=True))

    if isinstance(hosting, settings.InferenceComponents):
        if component_name is None:
            raise ValueError("an endpoint of inference components has one, and its name is not given")
        component = Part(component_name, arns(), _counts(hosting.copies, hosting.autoscaling), containers())
        # Managed instance scaling gives the variant the instances that its components need.
        return ServedParts(variants=(Part(MAIN_VARIANT),), components=(component,))
    main_counts = (
        None
        if isinstance(hosting, settings.Serverless)
        else _counts(hosting.initial_instance_count, hosting.autoscaling)
    )
    main = Part(MAIN_VARIANT, arns(), main_counts, containers())
    if not isinstance(hosting, settings.RealTime):
        return ServedParts(variants=(main,))
    others = tuple(
        Part(
            name,
            arns(variant.served_version),
            # Where something scales the main variant, an update leaves the counts of all as they are.
            _counts(variant.initial_instance_count) if hosting.autoscaling is None else None,
            containers(variant.served_version),
        )
        for name, variant in hosting.variants.items()
    )
    shadows = (Part(SHADOW_VARIANT, arns(hosting.shadow.served_version)),) if hosting.shadow else ()
    return ServedParts(variants=(main, *others), shadows=shadows)


def is_probed(hosting: settings.Hosting, model: RegisteredModel | Archives) -> bool:
    """Whether golden records can be asked while an update goes on, and roll it back.

    Not of a serverless endpoint, whose updates SageMaker does not guard; of an asynchronous one, which answers when it has
    time; of inference components, whose updates are none of the endpoint; of several containers together, whose answers
    nobody recorded; and of archives, which have no version. The gate looks at all of them afterwards.
    """
    return isinstance(hosting, settings.RealTime) and isinstance(model, RegisteredModel) and model.mode is None


def _counts(initial: int, autoscaling: settings.Autoscaling | None = None) -> tuple[int, int]:
    """What the number of instances may be: as it starts, until something scales it."""
    if autoscaling is None:
        return initial, initial
    return min(initial, autoscaling.least), max(initial, autoscaling.most)
