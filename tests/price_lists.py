"""AWS's price lists in small, and a server that has them: the format is the real one, the services' rows are few."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from sagestack.review.prices.catalog import HUGE, OFFERS

PUBLISHED = "2026-10-30T16:02:58Z"
COLUMNS = (
    "SKU",
    "OfferTermCode",
    "RateCode",
    "TermType",
    "PriceDescription",
    "EffectiveDate",
    "StartingRange",
    "EndingRange",
    "Unit",
    "PricePerUnit",
    "Currency",
)
"""What comes first in each list, in this order; behind it each service has columns of its own."""
OWN_COLUMNS = (
    "Product Family",
    "serviceCode",
    "Location",
    "Location Type",
    "Group",
    "usageType",
    "operation",
    "Region Code",
    "serviceName",
)

Row = Mapping[str, str]


def row(usage_type: str, usd: str, *, region: str = "us-east-1", **columns: str) -> Row:
    """A line of a list; what is not said is as for a price of one tier."""
    return {
        "SKU": "JDZQJFUVUR8SUWHS",
        "OfferTermCode": "JRTCKXETXF",
        "RateCode": "JDZQJFUVUR8SUWHS.JRTCKXETXF.6YS6EN2CT7",
        "TermType": "OnDemand",
        "PriceDescription": f"${usd} for {usage_type}, and so on",
        "EffectiveDate": "2026-10-01",
        "StartingRange": "0",
        "EndingRange": "Inf",
        "Unit": "Hrs",
        "PricePerUnit": usd,
        "Currency": "USD",
        "usageType": usage_type,
        "Region Code": region,
        **columns,
    }


def price_list(offer: str, rows: Sequence[Row], *, columns: Sequence[str] = (*COLUMNS, *OWN_COLUMNS)) -> str:
    """The whole file."""
    about = {
        "FormatVersion": "v1.0",
        "Disclaimer": "This pricing list is for informational purposes only. All prices are subject to the terms.",
        "Publication Date": PUBLISHED,
        "Version": "20261030160258",
        "OfferCode": offer,
    }
    lines = [list(each) for each in about.items()]
    lines += [list(columns), *([each.get(name, "") for name in columns] for each in rows)]
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in line) + "\n" for line in lines)


ROWS: dict[str, list[Row]] = {
    "AmazonSageMaker": [
        row("USE1-Host:ml.m5.large", "0.1200000000"),
        row("USE1-Train:ml.m5.large", "0.1150000000"),
        row("USE1-Host:ml.c9.large", "0.2000000000"),
        row("USE1-Train:VolumeUsage.gp2", "0.1400000000"),
        row("USE1-Data-Bytes-In", "0.0160000000", operation="Invoke-Endpoint"),
        row("USE1-Data-Bytes-In", "9.0000000000", operation="Something-Else"),
    ],
    "AmazonS3": [
        row("TimedStorage-ByteHrs", "0.0230000000", StartingRange="0", EndingRange="51200"),
        row("TimedStorage-ByteHrs", "0.0220000000", StartingRange="51200", EndingRange="512000"),
    ],
    "AWSQueueService": [
        row("Requests-RBP", "0.0000000000", StartingRange="0", EndingRange="1000000"),
        row("Requests-RBP", "0.0000004000", StartingRange="1000000"),
    ],
    "awskms": [row("us-east-1-KMS-Keys", "1.0000000000"), row("Global-KMS-Requests", "0.0000000000", region="")],
}


def lists(region: str = "us-east-1") -> dict[str, str]:
    """Each list that a refresh reads, by its path on the server; some hold nothing that is looked for."""
    return {
        f"/offers/v1.0/aws/{offer}/current/{region}/index.csv": price_list(
            offer,
            [{**each, "Region Code": each["Region Code"] and region} for each in ROWS.get(offer, [row("Other", "1")])],
        )
        for offer in OFFERS
        if offer not in HUGE
    }


Answer = Callable[[http.server.BaseHTTPRequestHandler, str], bool]


@contextlib.contextmanager
def server(files: Mapping[str, str], misbehave: Answer = lambda handler, path: False) -> Iterator[str]:
    """Serves files on the loopback interface, and gives its address.

    Args:
        misbehave: may answer a request in its own way, and says whether it did.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if misbehave(self, self.path):
                return
            body = files.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
