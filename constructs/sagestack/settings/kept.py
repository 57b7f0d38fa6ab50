"""What endpoints keep in the artefact bucket, and for how long."""

from __future__ import annotations

from sagestack.settings.hosting import Asynchronous, Hosting, RealTime
from sagestack.settings.names import ModelNames


def kept_by_endpoint(hosting: Hosting, names: ModelNames) -> dict[str, int]:
    """The days after which objects are deleted, by the prefix of their keys; nothing where nothing is kept."""
    kept: dict[str, int] = {}
    if isinstance(hosting, Asynchronous):
        prefixes = (names.request_prefix, names.answer_prefix, names.failure_prefix)
        kept |= dict.fromkeys(prefixes, hosting.answer_retention_days)
    if isinstance(hosting, RealTime | Asynchronous) and hosting.data_capture:
        kept[names.captured_prefix] = hosting.data_capture.retention_days
    return kept
