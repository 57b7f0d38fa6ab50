"""Downloads AWS's price lists, or those of a mirror, line by line; tries again where that may help."""

from __future__ import annotations

import http.client
import io
import ipaddress
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from sagestack.review.prices.price_list import Found, PriceListError, read_price_list

PRICE_LIST_URL = "https://pricing.us-east-1.amazonaws.com"
"""There is one for all regions."""
ATTEMPTS = 4
_TIMEOUT = 60
_CHUNK = 1 << 20


class RefreshError(Exception):
    """The table was not made anew; the old one stays as it is. The message says what failed, where.

    Args:
        is_network: whether trying again later may help.
    """

    def __init__(self, message: str, *, is_network: bool) -> None:
        super().__init__(message)
        self.is_network = is_network


class _AgainError(Exception):
    """Worth another try."""


def check_url(url: str) -> None:
    """Raises `RefreshError` for an address that prices should not be taken from."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and _is_this_machine(parts.hostname):
        return
    raise RefreshError(
        f"{url!r} is no address to take prices from: https://..., or http:// on this machine", is_network=False
    )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch(url: str, offer: str, region: str, wait_seconds: float) -> Found:
    """What a service's list says of a region.

    Args:
        url: of the list.
        offer: AWS's code of the service.
        region: whose prices.
        wait_seconds: before the second attempt; twice as long before each further one.

    Raises:
        RefreshError: it cannot be had, or is not that list.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    retrying = Retrying(
        retry=retry_if_exception_type(_AgainError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=wait_seconds, max=30 * wait_seconds),
        reraise=True,
    )
    try:
        return retrying(_read, url, offer, region)
    except _AgainError as error:
        raise RefreshError(f"{url}: {error}, {ATTEMPTS} times", is_network=True) from error
    except PriceListError as error:
        raise RefreshError(f"{url} {error}", is_network=False) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where prices may come from, and nowhere else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)


def _read(url: str, offer: str, region: str) -> Found:
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "sagestack"})  # noqa: S310
    try:
        with _OPENER.open(request, timeout=_TIMEOUT) as answer:
            return read_price_list(_lines(answer), offer, region)
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            raise _AgainError(f"answers {error.code} {error.reason}") from error
        if error.code in (403, 404):
            raise PriceListError(
                f"is not there ({error.code}): there is no price list of {offer} for {region!r}"
            ) from error
        raise PriceListError(f"answers {error.code} {error.reason}") from error
    except http.client.HTTPException as error:
        raise _AgainError(f"ends too early ({error})") from error
    except UnicodeDecodeError as error:
        raise PriceListError(f"is no text: {error}") from error
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _AgainError(f"cannot be reached ({reason})") from error


def _lines(answer: http.client.HTTPResponse) -> Iterator[str]:
    """The lines as they come, and an error where fewer bytes come than were announced."""
    announced = answer.headers.get("Content-Length")
    counted = _Counted(answer)
    yield from io.TextIOWrapper(io.BufferedReader(counted, _CHUNK), encoding="utf-8", newline="")
    if announced is not None and counted.count != int(announced):
        raise _AgainError(f"ends too early, after {counted.count} of {announced} bytes")


class _Counted(io.RawIOBase):
    """Counts what is read: a connection that is cut off reads like a file that ends."""

    def __init__(self, source: http.client.HTTPResponse) -> None:
        self._source = source
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = self._source.readinto(buffer)
        self.count += count
        return count
