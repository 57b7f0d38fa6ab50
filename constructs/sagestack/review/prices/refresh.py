"""Makes a region's price table anew from AWS's price lists, which anybody may read: no account, no credentials.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api-fetching-price-list-files-manually.html
"""

from __future__ import annotations

import os
import tempfile
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sagestack.review.prices.catalog import HUGE, OFFERS
from sagestack.review.prices.download import PRICE_LIST_URL, RefreshError, check_url, fetch
from sagestack.review.prices.price_list import Found
from sagestack.review.prices.table import (
    PRICE_TABLES,
    Price,
    PriceTable,
    PriceTableError,
    Source,
    as_document,
    read_table,
)

_SOURCE = "price-list"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Refresh:
    """What a refresh did.

    Attributes:
        path: of the table.
        changed: old and new USD by key.
        added: keys that had no price before.
        kept: keys that are in no list that was read; their old price stays, with its old date.
        ambiguous: keys for which a list has several prices; as kept.
    """

    path: Path
    table: PriceTable
    changed: dict[str, tuple[float, float]] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def refresh(
    region: str,
    *,
    url: str = PRICE_LIST_URL,
    directory: Path = PRICE_TABLES,
    with_huge: bool = False,
    progress: Progress = lambda text: None,
    wait_seconds: float = 1.0,
) -> Refresh:
    """Fetches the lists of all services and writes the region's table, whole or not at all.

    Args:
        region: whose prices.
        url: of AWS, or of a mirror with the same paths; HTTPS, or HTTP on this machine.
        directory: of the tables.
        with_huge: also read the lists of several hundred MB, for NAT gateways.
        progress: is told what is read just now.
        wait_seconds: before the second attempt; twice as long before each further one.

    Raises:
        RefreshError: a list could not be had, or is none. The table is as before.
    """
    check_url(url)
    found = {}
    for offer in OFFERS:
        if offer in HUGE and not with_huge:
            continue
        progress(f"Reading the prices of {offer}")
        found[offer] = fetch(
            f"{url.rstrip('/')}/offers/v1.0/aws/{offer}/current/{region}/index.csv", offer, region, wait_seconds
        )
    return _write(region, url, found, directory)


def _write(region: str, url: str, found: dict[str, Found], directory: Path) -> Refresh:
    path = directory / f"{region}.json"
    try:
        old = read_table(path) if path.exists() else None
    except PriceTableError as error:
        raise RefreshError(f"{error}; move it away, and refresh again", is_network=False) from error
    prices: dict[str, Price] = dict(old.prices) if old else {}
    fresh: dict[str, Price] = {}
    sources = dict(old.sources) if old else {}
    for offer, each in found.items():
        source = f"{_SOURCE}-{offer}"
        sources[source] = Source(f"AWS's price list of {offer} for {region}", each.published)
        for key, usd in each.prices.items():
            fresh[key] = Price(usd, each.units[key], each.published, (source,))
    prices |= fresh
    used = {source for price in prices.values() for source in price.sources}
    table = PriceTable(
        region=region,
        date=max((each.published for each in found.values()), default=""),
        origin=f"AWS's price lists ({urllib.parse.urlsplit(url).hostname})"
        + (", and older prices for what is in none of them" if set(prices) - set(fresh) else ""),
        prices=prices,
        sources={key: each for key, each in sources.items() if key in used},
    )
    _replace(path, as_document(table))
    before = old.prices if old else {}
    return Refresh(
        path,
        table,
        changed={
            key: (before[key].usd, price.usd)
            for key, price in sorted(fresh.items())
            if key in before and before[key].usd != price.usd
        },
        added=sorted(set(fresh) - set(before)),
        kept=sorted(set(prices) - set(fresh)),
        ambiguous=sorted(key for each in found.values() for key in each.ambiguous),
    )


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: whoever reads the table meanwhile reads the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
