"""Whether answers that come while two versions serve can be of one of the two.

A request is asked of an endpoint, and nobody can say which version answers it. Where both versions recorded an answer to
it, any other is wrong. Where one did, the other's is not known, but it is always the same: so one unknown answer is that
version's, and a second unknown answer is nobody's. A version that answers a request of its own otherwise than recorded
therefore shows as soon as both versions have been heard, whichever came first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .answers import Tolerance, is_same
from .golden_records import GoldenRecords, Record

VERSIONS = 2
"""The one that is deployed, and the one that is to be."""
MOST_UNKNOWN = 5
"""Kept of one request: a model that answers differently every time must not fill the memory."""


@dataclass
class Asked:
    """One request, the answers that are recorded for it, and the unknown ones so far.

    Attributes:
        record: the request.
        recorded: by how many versions, and with what answer and tolerance; one entry per version that recorded it.
        unknown: the answers that nobody recorded, in the order in which they came; at most one is nobody's fault.
        is_dropped: whether it is no longer sent.
    """

    record: Record
    recorded: list[tuple[bytes, Tolerance]]
    unknown: list[bytes] = field(default_factory=list)
    is_dropped: bool = False

    def is_wrong(self, got: bytes) -> bool:
        """Whether an answer can be of neither version, given those that came before it."""
        accept = self.record.accept
        if any(is_same(answer, got, accept, tolerance) for answer, tolerance in self.recorded):
            return False
        tolerance = self.recorded[0][1]
        for place, known in enumerate(self.unknown):
            if is_same(known, got, accept, tolerance):
                return place >= self._unknown_allowed
        if len(self.unknown) >= MOST_UNKNOWN:
            return True
        self.unknown.append(got)
        return len(self.unknown) > self._unknown_allowed

    @property
    def _unknown_allowed(self) -> int:
        return max(0, VERSIONS - len(self.recorded))


def questions(deployed: GoldenRecords | None, pending: GoldenRecords | None) -> list[Asked]:
    """What to ask while one version takes another's place; the pending version's own requests first.

    Where both are the same version, as in an update of the size alone, each request is recorded by both.
    """
    asked: dict[tuple[str, str, bytes], Asked] = {}
    for golden in (pending, deployed):
        for record in golden.records if golden else ():
            found = asked.setdefault(record.request, Asked(record, []))
            assert golden is not None
            found.recorded.append((record.answer, golden.tolerance))
    return list(asked.values())


def remembered(asked: list[Asked]) -> list[dict[str, Any]]:
    """What the next call must know of this one's answers, as JSON."""
    return [
        {"unknown": [answer.decode("latin-1") for answer in each.unknown], "dropped": each.is_dropped} for each in asked
    ]


def remember(asked: list[Asked], memory: list[dict[str, Any]]) -> None:
    """Take up what an earlier call learned about the same questions."""
    for each, known in zip(asked, memory, strict=True):
        each.unknown = [answer.encode("latin-1") for answer in known["unknown"]]
        each.is_dropped = known["dropped"]
