"""Where SageMaker has endpoints with validated cryptography."""

from __future__ import annotations

import functools

from sagestack.settings import shipped


@functools.cache
def fips_regions() -> frozenset[str]:
    """The regions with a FIPS endpoint of SageMaker's API, as botocore's own endpoint data has them."""
    data = shipped.session().get_data("endpoints")
    return frozenset(
        region
        for partition in data["partitions"]
        for region, endpoint in partition["services"].get("api.sagemaker", {}).get("endpoints", {}).items()
        if any("fips" in variant["tags"] for variant in endpoint.get("variants", []))
        # botocore has a second endpoint of a region so, which is no region.
        and not region.endswith("-secondary")
    )


def check_fips_region(region: str) -> None:
    """Raises `ValueError` where SageMaker has no FIPS endpoint, so that no call from an instance would be answered."""
    if region not in fips_regions():
        raise ValueError(
            f"SageMaker has no FIPS endpoint in {region} (it has in {', '.join(sorted(fips_regions()))}): leave fips out"
        )
