"""What AWS asks for a unit of something: tables that ship with their date and sources, one for each region."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRICE_TABLES = Path(__file__).parent / "tables"
"""Where the tables are; `sagestack prices refresh` writes them, git keeps them."""
FORMAT = 1


class PriceTableError(Exception):
    """A table cannot be read; the message says which, and why."""


@dataclass(frozen=True)
class Price:
    """What one unit costs, in the first tier and without the free tier.

    Attributes:
        usd: for one unit.
        unit: `hour`, `GB-month`, `request`, ...
        date: when it was read or published, `2026-09-27`; None where the source has no date.
        sources: ids in the table's `sources`.
    """

    usd: float
    unit: str
    date: str | None
    sources: tuple[str, ...]

    @property
    def in_words(self) -> str:
        return dollars(self.usd)


@dataclass(frozen=True)
class Source:
    """Where a price was found: what it is, and when it was read or published."""

    what: str
    date: str | None


@dataclass(frozen=True)
class PriceTable:
    """The prices of one region, by key: `sagemaker.hosting.ml.m5.large`, `nat.hour`.

    Attributes:
        date: the day of its newest price; each price has its own.
        origin: in a sentence.
    """

    region: str
    date: str
    origin: str
    prices: Mapping[str, Price] = field(repr=False)
    sources: Mapping[str, Source] = field(repr=False)

    def get(self, key: str) -> Price | None:
        return self.prices.get(key)


@dataclass(frozen=True)
class Prices:
    """All tables that there are. A region without one has no prices: no other region's stand in for it."""

    tables: Mapping[str, PriceTable]

    def of(self, region: str) -> PriceTable | None:
        return self.tables.get(region)

    @property
    def date(self) -> str:
        """Of the oldest table, since a report is as old as that."""
        return min((table.date for table in self.tables.values()), default="no date")

    @property
    def source(self) -> str:
        return "; ".join(f"{table.region}: {table.origin}" for table in self.tables.values()) or "no price table"


def load_prices(directory: Path = PRICE_TABLES) -> Prices:
    """Reads every table of a folder.

    Raises:
        PriceTableError: a table is not one.
    """
    tables = [read_table(path) for path in sorted(directory.glob("*.json"))]
    return Prices({table.region: table for table in tables})


def read_table(path: Path) -> PriceTable:
    """Reads one table.

    Raises:
        PriceTableError: it is not one, or is of another region than its name says.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise PriceTableError(f"{path}: has format {document['format']!r}, and this version reads format {FORMAT}")
        table = PriceTable(
            region=document["region"],
            date=document["date"],
            origin=document["origin"],
            prices={
                key: Price(float(each["usd"]), each["unit"], each["date"], tuple(each["sources"]))
                for key, each in document["prices"].items()
            },
            sources={key: Source(each["what"], each["date"]) for key, each in document["sources"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PriceTableError(f"{path}: is no price table ({type(error).__name__}: {error})") from error
    if table.region != path.stem:
        raise PriceTableError(f"{path}: holds the prices of {table.region!r}, and must be named after its region")
    return table


def as_document(table: PriceTable) -> str:
    """The table as its file holds it: one price a line, so that a change of prices reads well in a review."""
    head: dict[str, Any] = {
        "format": FORMAT,
        "region": table.region,
        "date": table.date,
        "origin": table.origin,
        "currency": "USD",
    }
    sources = {key: {"what": each.what, "date": each.date} for key, each in sorted(table.sources.items())}
    prices = {
        key: {"usd": each.usd, "unit": each.unit, "date": each.date, "sources": list(each.sources)}
        for key, each in sorted(table.prices.items())
    }
    fields = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    for name, entries in (("sources", sources), ("prices", prices)):
        rows = ",\n".join(f"    {json.dumps(key)}: {_plain(value)}" for key, value in entries.items())
        fields.append(f'  "{name}": {{\n{rows}\n  }}' if rows else f'  "{name}": {{}}')
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _plain(value: Mapping[str, Any]) -> str:
    # json writes 2e-07, which nobody compares with a pricing page.
    parts = [
        f"{json.dumps(key)}: {digits(each) if isinstance(each, float) else json.dumps(each, ensure_ascii=False)}"
        for key, each in value.items()
    ]
    return "{" + ", ".join(parts) + "}"


def digits(usd: float) -> str:
    """All digits that matter, and two behind the point at least: `0.0000166667`, `1.00`."""
    text = f"{usd:.12f}".rstrip("0")
    whole, _, behind = text.partition(".")
    return f"{whole}.{behind:0<2}"


def dollars(usd: float) -> str:
    """A price for people: `$0.115`."""
    return f"${digits(usd)}"
