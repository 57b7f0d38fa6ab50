"""`sagestack prices`: what a price is and where it is from; fetched anew, or a clear reason why not."""

import json
from pathlib import Path

import pytest
from sagestack.cli.main import app
from sagestack.review.prices import PRICE_TABLES
from typer.testing import CliRunner

from tests import cli_fakes, price_lists

runner = CliRunner()


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with the shipped tables."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for table in PRICE_TABLES.glob("*.json"):
        (folder / table.name).write_bytes(table.read_bytes())
    return folder


def test_show_tells_a_price_with_its_unit_date_and_sources() -> None:
    result = runner.invoke(app, ["prices", "show", "nat.hour"])
    assert result.exit_code == 0, result.output
    assert "$0.045" in result.stdout
    assert "2026-09-06" in result.stdout
    assert "price-book" in result.stdout
    assert "nat.gb" not in result.stdout


def test_show_gives_scripts_the_whole_table() -> None:
    told = json.loads(runner.invoke(app, ["prices", "show", "--region", "us-east-1", "--json"]).stdout)
    (table,) = told["tables"]
    assert table["prices"]["sagemaker.hosting.ml.m5.large"]["usd"] == 0.115
    assert set(table["prices"]["sagemaker.hosting.ml.m5.large"]["sources"]) <= set(table["sources"])


def test_show_says_so_where_no_key_has_the_text_and_never_breaks_one_that_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        "No price of us-east-1 has 'nonsense' in its key." in runner.invoke(app, ["prices", "show", "nonsense"]).stdout
    )
    monkeypatch.setenv("COLUMNS", "80")
    assert "sagemaker.processing.ml.m5.large " in runner.invoke(app, ["prices", "show", "ml.m5.large"]).stdout


def test_show_names_the_regions_that_there_are() -> None:
    result = runner.invoke(app, ["prices", "show", "--region", "eu-west-1"])
    assert result.exit_code == 1
    assert "There is no price table of 'eu-west-1' (there are: us-east-1)." in result.stderr
    assert "sagestack prices refresh --region eu-west-1" in result.stderr


def test_refresh_says_what_changed_and_by_how_much(tables: Path) -> None:
    with price_lists.server(price_lists.lists()) as url:
        command = ["prices", "refresh", "--region", "us-east-1", "--directory", str(tables), "--price-list-url", url]
        result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "sagemaker.hosting.ml.m5.large: $0.115 is $0.12 now (+4.3%)" in result.stdout
    assert "us-east-1, 2026-10-30: 1 prices changed, " in result.stdout.replace("\n", " ")
    shown = runner.invoke(app, ["prices", "show", "hosting.ml.m5.large", "--directory", str(tables)])
    assert "$0.12" in shown.stdout


def test_refresh_takes_the_regions_of_the_environments_and_the_mirror_of_the_shell(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cli_fakes.make_project(tmp_path / "project")
    prod = root / "environments" / "prod.yaml"
    if prod.exists():
        prod.write_text(prod.read_text().replace("region: us-east-1", "region: eu-west-1"))
    monkeypatch.chdir(root)
    with price_lists.server({**price_lists.lists(), **price_lists.lists("eu-west-1")}) as url:
        monkeypatch.setenv("SAGESTACK_PRICE_LIST_URL", url)
        told = json.loads(runner.invoke(app, ["prices", "refresh", "--directory", str(tables), "--json"]).stdout)
    regions = {"eu-west-1", "us-east-1"} if prod.exists() else {"us-east-1"}
    assert {table["region"] for table in told["tables"]} == regions
    assert told["tables"][-1]["changed"]["sagemaker.hosting.ml.m5.large"] == {"before": 0.115, "after": 0.12}


def test_without_a_network_the_table_stays_and_the_error_says_so(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagestack.review.prices.download.ATTEMPTS", 1)
    before = (tables / "us-east-1.json").read_bytes()
    command = ["prices", "refresh", "--region", "us-east-1", "--directory", str(tables)]
    result = runner.invoke(app, [*command, "--price-list-url", "http://127.0.0.1:9", "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)["error"]
    assert (told["code"], "cannot be reached" in told["message"]) == ("aws", True)
    assert "The table of us-east-1 stays as it was. Try again later" in told["hint"]
    assert (tables / "us-east-1.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--region", "useast1"], "'useast1' is no region."),
        (["--region", "us-east-1", "--price-list-url", "http://prices.example.com"], "no address to take prices from"),
    ],
    ids=["region", "address"],
)
def test_what_cannot_be_fetched_is_refused_before_anything_is(tables: Path, options: list[str], says: str) -> None:
    result = runner.invoke(app, ["prices", "refresh", *options, "--directory", str(tables)])
    assert result.exit_code == 1
    assert says in result.stderr.replace("\n", " ")


def test_a_broken_table_is_named(tables: Path) -> None:
    (tables / "us-east-1.json").write_text("{}")
    result = runner.invoke(app, ["prices", "show", "--directory", str(tables)])
    assert result.exit_code == 1
    assert "is no price table" in result.stderr.replace("\n", " ")
