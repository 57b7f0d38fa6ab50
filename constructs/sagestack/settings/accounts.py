"""The accounts and regions that settings may name."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import AfterValidator, Field

from sagestack.settings import shipped
from sagestack.settings.errors import Allowed, suggestion

LOCAL_ACCOUNT = "000000000000"
"""The account of the local cloud; AWS gives it to nobody."""


@functools.cache
def _regions() -> list[str]:
    session = shipped.session()
    return sorted(
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("sagemaker", partition)
    )


def _known_region(region: str) -> str:
    regions = _regions()
    if region not in regions:
        raise ValueError(f"{region!r} is not a region with SageMaker{suggestion(region, regions)}")
    return region


Account = Annotated[str, Field(pattern=r"^[0-9]{12}$"), Allowed("12 digits, in quotes")]
Region = Annotated[str, AfterValidator(_known_region), Allowed("a region with SageMaker, like us-east-1")]
