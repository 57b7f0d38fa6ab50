"""JSON over HTTPS with a token that goes to one host and to no other, by the standard library: a function has no more."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 20
_QUOTED = 300
"""How much of a host's refusal is repeated."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HostError(Exception):
    """The host refused, or did not answer.

    Attributes:
        status: of the answer; 0 where there was none.
        retry_after_s: how long the host asks to wait (`Retry-After`), or None.
    """

    def __init__(self, message: str, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a host that sends on to itself, as for a repository that was renamed; the token goes along, so to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """See the standard library.

        Raises:
            HostError: it is another host, or not HTTPS any more.
        """
        asked, sent_to = (urllib.parse.urlsplit(each)[:2] for each in (req.full_url, newurl))
        if asked != sent_to:
            raise HostError(
                f"{req.get_method()} {req.full_url} is sent on to {sent_to[0]}://{sent_to[1]}, which is not given the token:"
                " correct the repository's address (git in the environment's file)"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_SameHost)


class Api:
    """The API of one host."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        """Nothing is sent yet.

        Raises:
            HostError: the address would send the token unencrypted over a network.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise HostError(f"{url} would send the token unencrypted (allowed: https://, and http:// on this machine)")
        self._url = url.rstrip("/")
        self._headers = {"User-Agent": "sagestack", "Accept": "application/json", **headers}

    def call(self, method: str, path: str, body: Any = None, form: dict[str, str] | None = None) -> Any:
        """The answer to a request, parsed where it is JSON.

        Raises:
            HostError: any other status than 2xx, or no answer.
        """
        data, headers = None, dict(self._headers)
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif form is not None:
            data, headers["Content-Type"] = (
                urllib.parse.urlencode(form).encode(),
                "application/x-www-form-urlencoded",
            )
        request = urllib.request.Request(f"{self._url}/{path}", data=data, headers=headers, method=method)  # noqa: S310
        try:
            with _opener.open(request, timeout=TIMEOUT_S) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:_QUOTED]
            raise HostError(
                f"{method} {path} was answered {error.code}: {said}", error.code, _seconds(error.headers)
            ) from None
        except OSError as error:
            raise HostError(f"{method} {self._url}/{path} was not answered: {error}") from None
        try:
            return json.loads(text)
        except ValueError:
            return text


def quoted(text: str, safe: str = "/") -> str:
    """Percent-encoded, for a path."""
    return urllib.parse.quote(text, safe=safe)


def _seconds(headers: Any) -> float | None:
    # It may be a date, too; hosts of git send seconds.
    value = str((headers or {}).get("Retry-After", ""))
    return float(value) if value.isascii() and value.isdigit() else None
