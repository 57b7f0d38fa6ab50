"""What an endpoint costs: its instances, their volumes, what goes in and out, what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.costs.fleets import Fleet, fleet_of, number
from sagestack.review.costs.serverless import serverless
from sagestack.review.costs.site import HOURS_PER_MONTH, KB_PER_GB, Site, amount
from sagestack.review.results import CostLine
from sagestack.settings.instance_types import takes_volume_key

CONFIG = "AWS::SageMaker::EndpointConfig"


def endpoint(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Lines of `AWS::SageMaker::Endpoint`; its config costs nothing until an endpoint has it."""
    config = site.reading.referred(resource.properties.get("EndpointConfigName"), CONFIG)
    if config is None:
        yield site.unknown(resource, "endpoint", "idle", "its endpoint config is not in the template")
        return
    production = site.reading.items(config.properties.get("ProductionVariants", []))
    shadow = site.reading.items(config.properties.get("ShadowProductionVariants", []))
    if production is None or shadow is None:
        yield site.unknown(resource, "endpoint", "idle", "only the deployment knows its variants")
        return
    is_async = bool(config.properties.get("AsyncInferenceConfig"))
    weights = [number(each.get("InitialVariantWeight"), 1.0) for each in production]
    for variant, weight in zip(production, weights, strict=True):
        share = weight / sum(weights) if sum(weights) else 0.0
        yield from _variant(site, resource, config, variant, share, is_async=is_async, is_shadow=False)
    for variant in shadow:
        yield from _variant(site, resource, config, variant, 0.0, is_async=is_async, is_shadow=True)
    yield from _data(site, resource)
    yield from _captured(site, resource, config)


def _variant(
    site: Site,
    resource: Resource,
    config: Resource,
    variant: Mapping[str, Any],
    share: float,
    *,
    is_async: bool,
    is_shadow: bool,
) -> Iterator[CostLine]:
    name = str(variant.get("VariantName"))
    if isinstance(given := variant.get("ServerlessConfig"), Mapping):
        yield from serverless(site, resource, name, given, share)
        return
    instance_type = variant.get("InstanceType")
    if not isinstance(instance_type, str) or "${" in instance_type:
        yield site.unknown(resource, f"variant {name}", "idle", "only the deployment knows its instance type")
        return
    fleet = fleet_of(site, resource, config, variant, share, is_async=is_async, is_shadow=is_shadow)
    if fleet is None:
        yield site.unknown(
            resource,
            f"{instance_type}, variant {name}",
            "idle",
            "only the deployment knows how many instances there are",
        )
        return
    yield from _instances(site, resource, fleet)
    yield from _volumes(site, resource, fleet, site.reading.number(variant.get("VolumeSizeInGB")))


def _instances(site: Site, resource: Resource, fleet: Fleet) -> Iterator[CostLine]:
    if fleet.idle:
        yield site.line(
            resource,
            f"{fleet.idle} x {fleet.instance_type}, {fleet.label}",
            "idle",
            *fleet.keys,
            quantity=fleet.idle * HOURS_PER_MONTH,
            how=f"{fleet.idle} x {{price}} x {HOURS_PER_MONTH} h{fleet.notes}",
        )
    if fleet.extra_hours:
        yield site.line(
            resource,
            f"more {fleet.instance_type}, {fleet.label}",
            "load",
            *fleet.keys,
            quantity=fleet.extra_hours,
            how=f"{amount(fleet.extra_hours)} instance hours x {{price}}: {fleet.why}",
        )


def _volumes(site: Site, resource: Resource, fleet: Fleet, size: float | None) -> Iterator[CostLine]:
    # An instance with disks of its own has no volume: https://docs.aws.amazon.com/sagemaker/latest/dg/host-instance-storage.html
    if not takes_volume_key(fleet.instance_type) or not (fleet.idle or fleet.extra_hours):
        return
    what = f"storage volumes of {fleet.instance_type}, {fleet.label}"
    if size is None:
        yield site.unknown(
            resource,
            what,
            "idle" if fleet.idle else "load",
            "AWS chooses the size by the instance type; VolumeSizeInGB in the template would say it",
        )
        return
    for kind, hours in (("idle", fleet.idle * float(HOURS_PER_MONTH)), ("load", fleet.extra_hours)):
        if hours:
            yield site.line(
                resource,
                what,
                "idle" if kind == "idle" else "load",
                "sagemaker.hosting.storage",
                quantity=size * hours / HOURS_PER_MONTH,
                how=f"{amount(size)} GB x {amount(hours)} of {HOURS_PER_MONTH} h x {{price}}",
            )


def _data(site: Site, resource: Resource) -> Iterator[CostLine]:
    load = site.model_load
    if not load.requests:
        return
    ways = [("in", load.requests * load.request_kb / KB_PER_GB), ("out", load.requests * load.answer_kb / KB_PER_GB)]
    yield site.sum(
        resource,
        "data in and out",
        "load",
        *((f"sagemaker.data.{way}", gb, f"{amount(gb)} GB {way} x {{price}}") for way, gb in ways),
    )


def _captured(site: Site, resource: Resource, config: Resource) -> Iterator[CostLine]:
    capture = site.reading.get(config, "DataCaptureConfig")
    if not isinstance(capture, Mapping) or str(capture.get("EnableCapture", True)).lower() == "false":
        return
    load = site.model_load
    modes = {each.get("CaptureMode") for each in capture.get("CaptureOptions", []) if isinstance(each, Mapping)}
    kb = load.request_kb * ("Input" in modes) + load.answer_kb * ("Output" in modes)
    percent = number(capture.get("InitialSamplingPercentage"), 100.0)
    if gb := load.requests * kb * percent / 100 / KB_PER_GB:
        yield site.line(
            resource,
            "captured data, a month's worth in S3",
            "load",
            "s3.storage",
            quantity=gb,
            how=f"{percent:g}% of {amount(load.requests)} requests x {kb:g} kB = {amount(gb)} GB x {{price}}",
        )
