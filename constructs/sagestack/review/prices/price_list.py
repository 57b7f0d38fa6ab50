"""Reads AWS's price list files: CSV, five lines about the file, then one price a line.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sagestack.review.prices.catalog import CATALOG, Entry

_HEADER = "SKU"
_LINES_ABOUT_THE_FILE = 5
_NEEDED = ("TermType", "StartingRange", "PricePerUnit", "Currency", "usageType", "operation", "Region Code")
"""All other columns differ from service to service, and come and go."""


class PriceListError(Exception):
    """A file is not a price list, or not the one that was asked for; the message says what is wrong with it."""


@dataclass(frozen=True)
class Found:
    """What one list says.

    Attributes:
        published: `2026-09-24`.
        prices: USD by our key; of several tiers the first that costs something.
        units: ours, by the same key.
        ambiguous: keys with different prices for the same amount: they are in no `prices`.
    """

    published: str
    prices: Mapping[str, float]
    units: Mapping[str, str]
    ambiguous: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def read_price_list(lines: Iterable[str], offer: str, region: str) -> Found:
    """Reads one service's list for one region, a line at a time: the largest has several hundred MB.

    Args:
        lines: of the CSV.
        offer: whose list it is to be, AWS's offer code.
        region: whose prices are wanted.

    Raises:
        PriceListError: it is not such a file; it is of another service or region; or it ends before its last line does.
    """
    rows = csv.reader(lines, strict=True)
    try:
        about, header = _head(rows)
        if about.get("OfferCode") != offer:
            raise PriceListError(
                f"is the list of {about.get('OfferCode', 'nothing that it names')!r}, not of {offer!r}"
            )
        if missing := [name for name in _NEEDED if name not in header]:
            raise PriceListError(f"has no column {', '.join(map(repr, missing))}; its format has changed")
        tiers, units = _tiers(rows, header, [entry for entry in CATALOG if entry.offer == offer], region)
    except csv.Error as error:
        raise PriceListError(f"is no CSV, or ends in the middle of a line ({error})") from error
    prices: dict[str, float] = {}
    ambiguous: dict[str, tuple[float, ...]] = {}
    for key, starts in tiers.items():
        # The free tier is a first tier of 0 in some lists, and not in others: it is never counted here.
        paid = {start: usd for start, usd in starts.items() if usd - {0.0}} or starts
        first = sorted((paid[min(paid)] - {0.0}) or {0.0})
        if len(first) == 1:
            prices[key] = first[0]
        else:
            ambiguous[key] = tuple(first)
    return Found(about.get("Publication Date", "")[:10], prices, units, ambiguous)


def _head(rows: Iterator[list[str]]) -> tuple[dict[str, str], list[str]]:
    about: dict[str, str] = {}
    for place, row in enumerate(rows):
        if row and row[0] == _HEADER:
            return about, row
        if place >= _LINES_ABOUT_THE_FILE or len(row) != 2:
            break
        about[row[0]] = row[1]
    raise PriceListError(f"is no price list: no line of its first {_LINES_ABOUT_THE_FILE + 1} begins with {_HEADER!r}")


def _tiers(
    rows: Iterator[list[str]], header: list[str], entries: list[Entry], region: str
) -> tuple[dict[str, dict[float, set[float]]], dict[str, str]]:
    """USD by key and start of the tier; and the units."""
    places = {name: header.index(name) for name in _NEEDED}
    tiers: dict[str, dict[float, set[float]]] = {}
    units: dict[str, str] = {}
    regions: set[str] = set()
    count = 0
    for count, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise PriceListError(
                f"has {len(row)} of {len(header)} columns in line {count} of its prices; it may be cut off"
            )
        of = {name: row[place] for name, place in places.items()}
        regions.add(of["Region Code"])
        if (of["TermType"], of["Currency"], of["Region Code"]) != ("OnDemand", "USD", region):
            continue
        for entry in entries:
            if key := entry.key_of(of["usageType"], of["operation"]):
                try:
                    start, usd = float(of["StartingRange"] or 0), float(of["PricePerUnit"])
                except ValueError as error:
                    raise PriceListError(
                        f"has no number where a price is, in line {count} of its prices: {error}"
                    ) from error
                tiers.setdefault(key, {}).setdefault(start, set()).add(usd)
                units[key] = entry.unit
    if region not in regions:
        others = ", ".join(sorted(regions - {""})) or "no region at all"
        raise PriceListError(f"holds prices of {others}, none of {region}" if count else "holds no price at all")
    return tiers, units
