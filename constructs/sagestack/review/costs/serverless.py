"""What a serverless variant costs: the seconds that it works, and what is kept warm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.costs.capacity import PROVISIONED_CONCURRENCY, names_of, scaling_of
from sagestack.review.costs.site import HOURS_PER_MONTH, Site, amount
from sagestack.review.results import CostLine


def serverless(
    site: Site, resource: Resource, name: str, config: Mapping[str, Any], share: float
) -> Iterator[CostLine]:
    """Nothing idles, but what is provisioned.

    https://aws.amazon.com/sagemaker/ai/pricing/ (serverless inference)
    """
    memory = site.reading.number(config.get("MemorySizeInMB"))
    if memory is None:
        yield site.unknown(resource, f"variant {name}, serverless", "load", "only the deployment knows its memory")
        return
    size = f"{memory / 1024:g} GB"
    key = f"{memory / 1024:g}gb"
    load = site.model_load
    warm = site.reading.number(config.get("ProvisionedConcurrency"))
    if warm:
        ids = {f"endpoint/{each}/variant/{name}" for each in names_of(site, resource)}
        scaling = scaling_of(site, ids, PROVISIONED_CONCURRENCY)
        if scaling and scaling.least is not None:
            warm = scaling.least
        yield site.line(
            resource,
            f"{warm:g} x {size} kept warm, serverless",
            "idle",
            f"sagemaker.serverless_warm.{key}",
            quantity=warm * HOURS_PER_MONTH * 3600,
            how=f"{warm:g} x {{price}} x {HOURS_PER_MONTH} h x 3600 s",
        )
    if not (requests := load.requests * share):
        return
    seconds = requests * load.request_seconds
    yield site.line(
        resource,
        f"requests to {size}, serverless" + (", on what is kept warm" if warm else ""),
        "load",
        # What runs on provisioned concurrency is billed at a lower price of its own.
        f"sagemaker.serverless_warm_duration.{key}" if warm else f"sagemaker.serverless.{key}",
        quantity=seconds,
        how=f"{amount(requests)} requests x {load.request_seconds:g} s x {{price}}",
    )
