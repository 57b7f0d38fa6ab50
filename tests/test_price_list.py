"""Price tables ship with date and sources; a refresh reads the price lists of AWS as they are, and writes all or nothing."""

import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from sagestack.review.prices import PRICE_TABLES, Price, PriceTableError, load_prices
from sagestack.review.prices import table as tables
from sagestack.review.prices.catalog import CATALOG, HUGE, OFFERS
from sagestack.review.prices.download import RefreshError, check_url
from sagestack.review.prices.price_list import PriceListError, read_price_list
from sagestack.review.prices.refresh import Refresh, refresh

from tests import price_lists
from tests.price_lists import COLUMNS, OWN_COLUMNS, price_list, row

REGION = "us-east-1"


def read(offer: str, *rows: price_lists.Row, region: str = REGION) -> dict[str, float]:
    return dict(read_price_list(price_list(offer, rows).splitlines(keepends=True), offer, region).prices)


def refreshed(directory: Path, url: str, region: str = REGION) -> Refresh:
    return refresh(region, url=url, directory=directory, wait_seconds=0)


# --- What ships ---


def test_each_price_that_ships_is_in_one_of_aws_s_own_sources_or_in_two_others() -> None:
    for region, table in load_prices().tables.items():
        for key, price in table.prices.items():
            known = [table.sources[source] for source in price.sources]
            assert len(known) >= 2 or "(by AWS)" in known[0].what or "AWS's price list" in known[0].what, (
                f"{region}: {key}"
            )
            assert price.date is None or re.fullmatch(r"20\d\d-\d\d-\d\d", price.date), key


def test_the_shipped_table_is_written_as_a_refresh_writes_it() -> None:
    for region, table in load_prices().tables.items():
        assert tables.as_document(table) == (PRICE_TABLES / f"{region}.json").read_text(encoding="utf-8")


def test_every_shipped_price_is_one_that_a_refresh_knows_how_to_find() -> None:
    patterns = [re.escape(entry.key).replace(r"\{\}", r"[\w.-]+") for entry in CATALOG]
    # No list has dashboards.
    patterns.append(r"cloudwatch\.dashboard")
    for table in load_prices().tables.values():
        unknown = [key for key in table.prices if not any(re.fullmatch(pattern, key) for pattern in patterns)]
        assert unknown == []


def test_a_report_is_as_old_as_its_oldest_table_and_names_the_origin_of_each(tmp_path: Path) -> None:
    for region, date in (("eu-west-1", "2026-11-01"), ("us-east-1", "2026-10-01")):
        table = tables.PriceTable(region, date, f"lists of {region}", {}, {})
        (tmp_path / f"{region}.json").write_text(tables.as_document(table))
    known = load_prices(tmp_path)
    assert known.date == "2026-10-01"
    assert known.source == "eu-west-1: lists of eu-west-1; us-east-1: lists of us-east-1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no price table"),
        ('{"format": 2}', "has format 2"),
        ('{"format": 1, "region": "us-east-1"}', "is no price table"),
        (
            '{"format": 1, "region": "eu-west-1", "date": "", "origin": "", "prices": {}, "sources": {}}',
            "must be named after its region",
        ),
    ],
    ids=["no-json", "another-format", "half", "another-region"],
)
def test_a_file_that_is_no_price_table_is_refused_by_name(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "us-east-1.json").write_text(content)
    with pytest.raises(PriceTableError, match=says) as caught:
        load_prices(tmp_path)
    assert str(tmp_path / "us-east-1.json") in str(caught.value)


@pytest.mark.parametrize(
    ("usd", "text"), [(0.115, "$0.115"), (1.0, "$1.00"), (0.0000166667, "$0.0000166667"), (3, "$3.00")]
)
def test_a_price_reads_with_all_its_digits(usd: float, text: str) -> None:
    assert Price(usd, "hour", None, ()).in_words == text


# --- Reading a list ---


@pytest.mark.parametrize(
    ("offer", "usage_type", "key"),
    [
        ("AmazonSageMaker", "USE1-Host:ml.m5.large", "sagemaker.hosting.ml.m5.large"),
        ("AmazonSageMaker", "EU-Notebk:ml.t3.medium", "sagemaker.notebook.ml.t3.medium"),
        ("AmazonSageMaker", "APS1-Train:ml.p4d.24xlarge", "sagemaker.training.ml.p4d.24xlarge"),
        ("AmazonSageMaker", "USE1-AsyncInf:ml.g6e.2xlarge", "sagemaker.asynchronous.ml.g6e.2xlarge"),
        ("AmazonSageMaker", "USE1-ServerlessInf:Mem-2GB", "sagemaker.serverless.2gb"),
        ("AmazonSageMaker", "USE1-Host:VolumeUsage.gp2", "sagemaker.hosting.storage"),
        ("AmazonSageMaker", "USE1-Studio:VolumeUsage.gp3", "sagemaker.studio.storage"),
        ("AmazonS3", "TimedStorage-ByteHrs", "s3.storage"),
        ("AmazonS3", "EUW2-Requests-Tier1", "s3.write"),
        ("awskms", "eu-west-2-KMS-Keys", "kms.key"),
        ("AWSLambda", "Lambda-GB-Second-ARM", "lambda.arm"),
        ("AmazonVPC", "USE1-VpcEndpoint-Hours", "interface_endpoint.hour"),
        ("AmazonEC2", "NatGateway-Bytes", "nat.gb"),
    ],
)
def test_a_usage_type_is_recognized_with_and_without_the_name_of_its_region(
    offer: str, usage_type: str, key: str
) -> None:
    assert read(offer, row(usage_type, "0.5")) == {key: 0.5}


@pytest.mark.parametrize(
    ("offer", "usage_type"),
    [
        ("AmazonS3", "USE1-TimedStorage-INT-FA-ByteHrs"),
        ("AmazonSageMaker", "USE1-TrSpt:ml.m5.large"),
        ("AmazonSageMaker", "USE1-Studio:JupyterLab-ml.m5.large"),
        ("AmazonEC2", "USE1-RegionalNatGateway-Hours"),
        ("AWSLambda", "Lambda-Edge-Request"),
    ],
)
def test_what_only_looks_alike_is_left_out(offer: str, usage_type: str) -> None:
    assert read(offer, row(usage_type, "0.5")) == {}


def test_of_several_tiers_the_first_that_costs_something_counts() -> None:
    free, first, second = (
        row("Requests-RBP", "0.0", StartingRange="0"),
        row("Requests-RBP", "0.0000004", StartingRange="1000000"),
        row("Requests-RBP", "0.0000003", StartingRange="100000000000"),
    )
    assert read("AWSQueueService", second, free, first) == {"sqs.request": 0.0000004}


@pytest.mark.parametrize(
    "other",
    [{"TermType": "Reserved"}, {"Currency": "CNY"}, {"region": "us-west-2"}, {"region": ""}],
    ids=["reserved", "currency", "region", "global"],
)
def test_only_on_demand_prices_of_the_region_in_usd_count(other: dict[str, str]) -> None:
    assert read("awskms", row("us-east-1-KMS-Keys", "1"), row("us-east-1-KMS-Keys", "9", **other)) == {"kms.key": 1.0}


def test_two_prices_for_the_same_are_told_and_not_guessed() -> None:
    rows = [row("us-east-1-KMS-Keys", "1"), row("us-east-1-KMS-Keys", "2")]
    found = read_price_list(price_list("awskms", rows).splitlines(keepends=True), "awskms", REGION)
    assert (dict(found.prices), dict(found.ambiguous)) == ({}, {"kms.key": (1.0, 2.0)})


def test_columns_that_nobody_knows_and_another_order_do_not_matter() -> None:
    columns = ["Brand New", *reversed(OWN_COLUMNS), "Another One", *COLUMNS[1:]]
    text = price_list("awskms", [row("us-east-1-KMS-Keys", "1")], columns=["SKU", *columns])
    assert read_price_list(text.splitlines(keepends=True), "awskms", REGION).prices == {"kms.key": 1.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<html>not here</html>\n", "is no price list"),
        ("", "is no price list"),
        (price_list("AmazonS3", [row("TimedStorage-ByteHrs", "1")]), "is the list of 'AmazonS3', not of 'awskms'"),
        (
            price_list("awskms", [row("us-east-1-KMS-Keys", "1", region="eu-west-1")]),
            "prices of eu-west-1, none of us-east-1",
        ),
        (price_list("awskms", []), "holds no price at all"),
        (price_list("awskms", [row("us-east-1-KMS-Keys", "free")]), "no number where a price is, in line 1"),
        (price_list("awskms", [], columns=["SKU", "TermType"]), "has no column 'StartingRange', 'PricePerUnit'"),
        (price_list("awskms", [row("us-east-1-KMS-Keys", "1")]) + '"SKU","JRT"\n', "has 2 of 20 columns in line 2"),
        (price_list("awskms", [row("us-east-1-KMS-Keys", "1")]) + '"SKU","JR', "ends in the middle of a line"),
    ],
    ids=[
        "html",
        "empty",
        "another-service",
        "another-region",
        "no-rows",
        "no-number",
        "columns",
        "short-line",
        "open-quote",
    ],
)
def test_a_file_that_is_not_the_list_is_refused(text: str, says: str) -> None:
    with pytest.raises(PriceListError, match=re.escape(says)):
        read_price_list(text.splitlines(keepends=True), "awskms", REGION)


# --- Refreshing a table ---


def test_a_refresh_writes_the_table_of_a_region_that_had_none(tmp_path: Path) -> None:
    with price_lists.server(price_lists.lists("eu-west-1")) as url:
        done = refreshed(tmp_path, url, "eu-west-1")
    table = load_prices(tmp_path).of("eu-west-1")
    assert table is not None
    assert {key: price.usd for key, price in table.prices.items()} == {
        "sagemaker.hosting.ml.m5.large": 0.12,
        "sagemaker.hosting.ml.c9.large": 0.2,
        "sagemaker.training.ml.m5.large": 0.115,
        "sagemaker.training.storage": 0.14,
        "sagemaker.data.in": 0.016,
        "s3.storage": 0.023,
        "sqs.request": 0.0000004,
        "kms.key": 1.0,
    }
    assert (table.date, table.prices["kms.key"].date) == ("2026-10-30", "2026-10-30")
    assert table.sources[table.prices["kms.key"].sources[0]].what == "AWS's price list of awskms for eu-west-1"
    assert sorted(done.added) == sorted(table.prices)
    assert [path.name for path in tmp_path.iterdir()] == ["eu-west-1.json"]


def test_a_refresh_says_what_changed_and_keeps_with_its_own_date_what_no_list_says(tmp_path: Path) -> None:
    shipped = PRICE_TABLES / "us-east-1.json"
    (tmp_path / "us-east-1.json").write_bytes(shipped.read_bytes())
    before = load_prices(tmp_path).tables[REGION]
    with price_lists.server(price_lists.lists()) as url:
        done = refreshed(tmp_path, url)
    table = load_prices(tmp_path).tables[REGION]
    assert done.changed == {"sagemaker.hosting.ml.m5.large": (0.115, 0.12)}
    assert "sagemaker.hosting.ml.c9.large" in done.added
    assert "cloudwatch.dashboard" in done.kept
    assert table.prices["cloudwatch.dashboard"] == before.prices["cloudwatch.dashboard"]
    assert table.prices["s3.storage"].date == "2026-10-30"
    assert "older prices for what is in none of them" in table.origin
    assert {source for price in table.prices.values() for source in price.sources} == set(table.sources)


def test_a_second_refresh_changes_no_byte(tmp_path: Path) -> None:
    with price_lists.server(price_lists.lists()) as url:
        refreshed(tmp_path, url)
        first = (tmp_path / "us-east-1.json").read_bytes()
        done = refreshed(tmp_path, url)
    assert (tmp_path / "us-east-1.json").read_bytes() == first
    assert (done.changed, done.added, done.kept) == ({}, [], [])


def test_the_list_with_hundreds_of_megabytes_is_read_only_on_demand(tmp_path: Path) -> None:
    files = price_lists.lists()
    nat = price_list("AmazonEC2", [row("NatGateway-Hours", "0.045"), row("USE1-BoxUsage:m5.large", "0.096")])
    files["/offers/v1.0/aws/AmazonEC2/current/us-east-1/index.csv"] = nat
    with price_lists.server(files) as url:
        assert "nat.hour" not in refreshed(tmp_path, url).table.prices
        done = refresh(REGION, url=url, directory=tmp_path, with_huge=True)
    assert done.table.prices["nat.hour"].usd == 0.045
    assert HUGE == ("AmazonEC2",)


def _fails(status: int, *, times: int) -> price_lists.Answer:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler, path: str) -> bool:
        if "awskms" not in path or len(asked) >= times:
            return False
        asked.append(path)
        handler.send_error(status)
        return True

    return answer


def _cuts_off(handler: BaseHTTPRequestHandler, path: str) -> bool:
    if "awskms" not in path:
        return False
    body = price_lists.lists()[path].encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    # Between two lines, where the part is a list like any other.
    handler.wfile.write(body[: body.rindex(b"\n", 0, len(body) - 1) + 1])
    handler.close_connection = True
    return True


@pytest.mark.parametrize(
    ("misbehave", "says", "is_network"),
    [
        (_fails(500, times=99), "answers 500 Internal Server Error, 4 times", True),
        (_fails(404, times=99), "there is no price list of awskms for 'us-east-1'", False),
        (_cuts_off, r"ends too early, after \d+ of \d+ bytes, 4 times", True),
    ],
    ids=["http-500", "not-there", "cut-off"],
)
def test_a_list_that_cannot_be_had_leaves_the_table_as_it_was(
    tmp_path: Path, misbehave: price_lists.Answer, says: str, is_network: bool
) -> None:
    (tmp_path / "us-east-1.json").write_bytes((PRICE_TABLES / "us-east-1.json").read_bytes())
    with (
        price_lists.server(price_lists.lists(), misbehave) as url,
        pytest.raises(RefreshError, match=says) as caught,
    ):
        refreshed(tmp_path, url)
    assert caught.value.is_network is is_network
    assert f"{url}/offers/v1.0/aws/awskms/current/us-east-1/index.csv" in str(caught.value)
    assert (tmp_path / "us-east-1.json").read_bytes() == (PRICE_TABLES / "us-east-1.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["us-east-1.json"]


def test_a_server_that_stumbles_once_is_asked_again(tmp_path: Path) -> None:
    with price_lists.server(price_lists.lists(), _fails(503, times=2)) as url:
        assert refreshed(tmp_path, url).table.prices["kms.key"].usd == 1.0


def test_the_list_of_another_region_is_refused(tmp_path: Path) -> None:
    files = {path.replace("eu-west-1", REGION): text for path, text in price_lists.lists("eu-west-1").items()}
    with price_lists.server(files) as url, pytest.raises(RefreshError, match="prices of eu-west-1, none of us-east-1"):
        refreshed(tmp_path, url)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "us-east-1.json").write_text("{")
    with price_lists.server(price_lists.lists()) as url, pytest.raises(RefreshError, match="move it away"):
        refreshed(tmp_path, url)
    assert (tmp_path / "us-east-1.json").read_text() == "{"


def test_a_mirror_cannot_lead_to_where_prices_may_not_come_from(tmp_path: Path) -> None:
    def leads_away(handler: BaseHTTPRequestHandler, path: str) -> bool:
        handler.send_response(302)
        handler.send_header("Location", f"http://prices.example.com{path}")
        handler.end_headers()
        return True

    with (
        price_lists.server({}, leads_away) as url,
        pytest.raises(RefreshError, match=r"'http://prices\.example\.com.*' is no address to take prices from"),
    ):
        refreshed(tmp_path, url)


@pytest.mark.parametrize("url", ["http://prices.example.com", "ftp://127.0.0.1", "file:///etc/passwd", "prices", ""])
def test_prices_come_over_https_or_from_this_machine(url: str) -> None:
    with pytest.raises(RefreshError, match="no address to take prices from"):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://pricing.us-east-1.amazonaws.com", "http://127.0.0.1:80", "http://[::1]:80", "http://localhost"]
)
def test_an_address_that_prices_can_come_from(url: str) -> None:
    check_url(url)


def test_all_lists_are_of_services_that_the_catalog_looks_for() -> None:
    assert len(OFFERS) == len({entry.offer for entry in CATALOG})
    assert json.loads((PRICE_TABLES / "us-east-1.json").read_text())["currency"] == "USD"
