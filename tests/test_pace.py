"""A busy machine makes nothing slow, and nothing fast either."""

from __future__ import annotations

import pytest

from tests import pace


@pytest.mark.parametrize(
    ("slowness", "of_processor", "least"),
    [([1, 1, 1], False, 8), ([4, 4, 4], False, 2), ([4, 1, 4], False, 8), ([4, 4, 4], True, 8)],
    ids=["idle", "busy all the time", "busy now and then", "the processor's own time"],
)
def test_a_try_counts_by_the_share_of_a_processor_that_it_had(
    monkeypatch: pytest.MonkeyPatch, slowness: list[float], of_processor: bool, least: float
) -> None:
    told = iter(slowness)
    monkeypatch.setattr(pace, "slowness", lambda: next(told))
    assert pace.fastest(lambda: 8.0, bound=1, tries=3, of_processor=of_processor) == least
