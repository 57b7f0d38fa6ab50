"""`sagestack prices`: the price tables that the review's estimates are made with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagestack.cli.errors import CliError
from sagestack.cli.options import JsonOption, State, state_of

if TYPE_CHECKING:
    from sagestack.review.prices import Price, Prices, PriceTable
    from sagestack.review.prices.refresh import Refresh

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")

prices = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--directory", metavar="DIR", help="Where the tables are. Default: in the project.", show_default=False
    ),
]


@prices.callback()
def group() -> None:
    """Look at the price tables of the review, or fetch them anew from AWS.

    Examples:
    [cyan]sagestack prices show[/cyan]
    [cyan]sagestack prices refresh --region eu-west-1[/cyan]
    """


@prices.command()
def show(
    context: typer.Context,
    contains: Annotated[
        str, typer.Argument(metavar="TEXT", help="Only prices whose key contains this.", show_default=False)
    ] = "",
    region: Annotated[
        str | None, typer.Option("--region", metavar="REGION", help="Only of this region.", show_default=False)
    ] = None,
    directory: DirectoryOption = None,
    json: JsonOption = False,
) -> None:
    """Show each price, its date, and where it is from.

    Prices are in USD, of the first tier, without free tiers and discounts.

    Examples:
    [cyan]sagestack prices show ml.m5[/cyan]
    [cyan]sagestack prices show nat --region us-east-1[/cyan]
    """
    state = state_of(context)
    known = _load(directory)
    tables = list(known.tables.values()) if region is None else [_table(known, region)]
    for table in tables:
        _show(state, table, contains)
    state.output.result({"tables": [_described(table, contains) for table in tables]})


@prices.command()
def refresh(
    context: typer.Context,
    region: Annotated[
        list[str] | None,
        typer.Option(
            "--region",
            metavar="REGION",
            help="Whose prices; may be repeated. Default: the regions of all environments on AWS.",
            show_default=False,
        ),
    ] = None,
    price_list_url: Annotated[
        str | None,
        typer.Option(
            "--price-list-url",
            metavar="URL",
            envvar="SAGESTACK_PRICE_LIST_URL",
            help="A mirror of AWS's price lists. Default: AWS's own.",
            show_default=False,
        ),
    ] = None,
    with_nat: Annotated[
        bool,
        typer.Option("--with-nat", help="Also read the list of EC2 (about 300 MB), which NAT gateways stand in."),
    ] = False,
    directory: DirectoryOption = None,
    json: JsonOption = False,
) -> None:
    """Fetch the prices from AWS's public price lists; no credentials are needed.

    A table is written whole or stays as it was. It is a file of the project: look at its difference in git, and commit it.

    Examples:
    [cyan]sagestack prices refresh[/cyan]
    [cyan]sagestack prices refresh --region eu-west-1 --with-nat[/cyan]
    """
    from sagestack.cli.report import Activity
    from sagestack.review.prices import PRICE_TABLES
    from sagestack.review.prices.download import PRICE_LIST_URL, RefreshError
    from sagestack.review.prices.refresh import refresh as refresh_table

    state = state_of(context)
    done = []
    for each in _regions(state, region):
        with Activity(state.output, f"Reading the prices of {each}") as activity:
            try:
                done.append(
                    refresh_table(
                        each,
                        url=price_list_url or PRICE_LIST_URL,
                        directory=directory or PRICE_TABLES,
                        with_huge=with_nat,
                        progress=activity.update,
                    )
                )
            except RefreshError as error:
                raise CliError(
                    f"{error}.",
                    hint=f"The table of {each} stays as it was. "
                    + ("Try again later, or name a mirror with --price-list-url." if error.is_network else ""),
                    code="aws" if error.is_network else "refused",
                ) from error
        _tell(state, done[-1])
    state.output.result({"tables": [_outcome(each) for each in done]})


def _regions(state: State, wanted: list[str] | None) -> list[str]:
    if wanted is None:
        from sagestack.settings import LOCAL, known_environments, load_environment

        names = [name for name in known_environments(state.root) if name != LOCAL]
        wanted = sorted({load_environment(name, state.root).region for name in names})
    for each in wanted:
        if not _REGION.fullmatch(each):
            raise CliError(f"{each!r} is no region.", hint="A region is like us-east-1.", code="usage")
    return wanted


def _load(directory: Path | None) -> Prices:
    from sagestack.review.prices import PRICE_TABLES, PriceTableError, load_prices

    try:
        return load_prices(directory or PRICE_TABLES)
    except PriceTableError as error:
        raise CliError(f"{error}.", hint="git restores it: git checkout -- FILE", code="refused") from error


def _table(known: Prices, region: str) -> PriceTable:
    table = known.of(region)
    if table is None:
        raise CliError(
            f"There is no price table of {region!r} (there are: {', '.join(known.tables) or 'none'}).",
            hint=f"Fetch it: sagestack prices refresh --region {region}",
            code="not-found",
        )
    return table


def _matching(table: PriceTable, contains: str) -> dict[str, Price]:
    return {key: price for key, price in table.prices.items() if contains in key}


def _show(state: State, table: PriceTable, contains: str) -> None:
    from sagestack.cli.report import plain_table

    found = _matching(table, contains)
    if not found:
        state.output.say(f"No price of {table.region} has {contains!r} in its key.")
        return
    rows = plain_table("Price of", "USD", "For a", "Read on", "Sources", title=f"{table.region}, {table.date}")
    # A key is there to be copied: what is too wide is broken elsewhere.
    rows.columns[0].no_wrap = True
    for key, price in found.items():
        rows.add_row(key, price.in_words, price.unit, price.date or "no date", ", ".join(price.sources))
    state.output.show(rows)
    state.output.say(f"{table.region}: {table.origin}")


def _described(table: PriceTable, contains: str) -> dict[str, Any]:
    return {
        "region": table.region,
        "date": table.date,
        "origin": table.origin,
        "prices": {
            key: {"usd": price.usd, "unit": price.unit, "date": price.date, "sources": list(price.sources)}
            for key, price in _matching(table, contains).items()
        },
        "sources": {key: {"what": each.what, "date": each.date} for key, each in table.sources.items()},
    }


def _tell(state: State, done: Refresh) -> None:
    from sagestack.review.prices import dollars

    out = state.output
    for key, (old, new) in done.changed.items():
        out.say(
            f"  {key}: {dollars(old)} is {dollars(new)} now ({(new - old) / old:+.1%})"
            if old
            else f"  {key}: {dollars(new)}"
        )
    for key in done.ambiguous:
        out.warn(f"{key}: the list has several prices; its old one stays, if there is one.")
    kept = f", {len(done.kept)} kept that no list says" if done.kept else ""
    out.say(
        f"{done.table.region}, {done.table.date}: {len(done.changed)} prices changed, {len(done.added)} new{kept}. {done.path}"
    )


def _outcome(done: Refresh) -> dict[str, Any]:
    return {
        "region": done.table.region,
        "date": done.table.date,
        "file": str(done.path),
        "changed": {key: {"before": old, "after": new} for key, (old, new) in done.changed.items()},
        "added": done.added,
        "kept": done.kept,
        "ambiguous": done.ambiguous,
    }
