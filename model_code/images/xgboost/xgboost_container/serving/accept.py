"""Chooses the form of an answer from what the client accepts, before anything is worked for."""

from __future__ import annotations

from functools import lru_cache

from .request_error import RequestError

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"
PRODUCED = (CSV, JSON, JSON_LINES, RECORDIO)
"""What SageMaker's XGBoost container produces. The order is the preference where a client leaves the choice open."""

_SHOWN = 80


@lru_cache(maxsize=256)  # clients say the same thing each time
def negotiate(accept: str | None, default: str = CSV) -> str:
    """The media type to answer in.

    The highest `q` wins; among equals what is named exactly before `text/*`, that before `*/*`, then the order of the
    header (RFC 9110, section 12.5.1, leaves that to the server). `*/*` means the default, as no header does. SageMaker's
    container knows neither lists nor `q`: what it takes means the same here.

    Args:
        accept: the header, or None where the request has none.
        default: what SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT says; CSV, as in SageMaker's container.

    Raises:
        RequestError: 406, nothing that is produced is accepted.
    """
    if accept is None or not accept.strip():
        return default
    ranges = _ranges(accept)
    offers = [default, *(kind for kind in PRODUCED if kind != default)]
    best: tuple[float, int, int] | None = None
    chosen = default
    for kind in offers:
        rank = _rank(kind, ranges)
        if rank is not None and (best is None or rank > best):
            best, chosen = rank, kind
    if best is None:
        shown = repr(accept if len(accept) <= _SHOWN else accept[:_SHOWN] + "...")
        raise RequestError(406, f"Accept is {shown}, this server answers {', '.join(PRODUCED)}")
    return chosen


def _ranges(accept: str) -> dict[str, tuple[float, int]]:
    """Each range with its quality and its place; the later of two equal ones counts."""
    ranges: dict[str, tuple[float, int]] = {}
    for place, item in enumerate(accept.split(",")):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        if kind:
            ranges[kind] = (_quality(parameters), -place)
    return ranges


def _rank(kind: str, ranges: dict[str, tuple[float, int]]) -> tuple[float, int, int] | None:
    # The most specific range decides, even when it says no: `text/csv;q=0, */*` is anything but CSV.
    for specificity, candidate in ((2, kind), (1, f"{kind.split('/')[0]}/*"), (0, "*/*")):
        if candidate in ranges:
            quality, place = ranges[candidate]
            return (quality, specificity, place) if quality > 0 else None
    return None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0
