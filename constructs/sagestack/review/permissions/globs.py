"""Whether a string exists that some patterns match and others do not: what containment of ARNs comes down to.

Patterns are those of IAM: `*` is any run of characters, `/` and `:` among them, `?` is one character. What a template refers to
(a bucket that has no name yet) stands in them as one private character, which `?` does not match: nobody knows how long it is.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

FIRST_REFERENCE, LAST_REFERENCE = "\U000f0000", "\U000ffffd"
"""The private characters that stand for references."""
_OTHER = "\U0010fffd"
"""Any character that no pattern mentions."""
_ENOUGH = 20_000
"""States after which a search is given up; policies that people write need a few hundred."""


def is_reference(character: str) -> bool:
    return FIRST_REFERENCE <= character <= LAST_REFERENCE


class _Glob:
    """A pattern as a machine whose states are bits: bit n is set where the first n units have been seen."""

    def __init__(self, pattern: str) -> None:
        units: list[str] = []
        self.stars = 0
        for character in pattern:
            if character == "*":
                self.stars |= 1 << len(units)
            else:
                units.append(character)
        self.units = units
        self.end = 1 << len(units)
        self._any = 0
        self._at: dict[str, int] = {}
        for place, unit in enumerate(units):
            if unit == "?":
                self._any |= 1 << place
            else:
                self._at[unit] = self._at.get(unit, 0) | 1 << place

    def step(self, state: int, character: str) -> int:
        taken = self._at.get(character, 0) | (0 if is_reference(character) else self._any)
        return (state & taken) << 1 | (state & self.stars)

    def expects(self, state: int) -> set[str]:
        return {unit for unit, places in self._at.items() if places & state}

    def takes_anything(self, state: int) -> bool:
        return bool(state & (self.stars | self._any))


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> _Glob:
    return _Glob(pattern)


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern matches the text, or, for a text that is a pattern itself, all that the text matches."""
    glob = _compiled(pattern)
    state = 1
    for character in text:
        # A star of the text is matched by a star alone: it stands for what no other unit could match.
        state = state & glob.stars if character == "*" else glob.step(state, _OTHER if character == "?" else character)
        if not state:
            return False
    return bool(state & glob.end)


def exists(patterns: Sequence[str], inside: int | None, wanted: Callable[[frozenset[int]], bool]) -> bool:
    """Whether there is a string, not an empty one, whose matching patterns, by their places in the list, are wanted.

    Args:
        patterns: all that can matter.
        inside: the place of a pattern that the string must match; None for any string.
        wanted: says it of the places of all patterns that match.

    Returns:
        True as well where the search would take too long: what is not proven to be contained counts as more.
    """
    globs = [_compiled(pattern) for pattern in patterns]
    start = (1,) * len(globs)
    # Not seen yet: no name is empty, so that is judged once a character has led back to it.
    seen: set[tuple[int, ...]] = set()
    waiting = [(start, True)]
    while waiting:
        states, is_empty = waiting.pop()
        matching = frozenset(
            place for place, (glob, state) in enumerate(zip(globs, states, strict=True)) if state & glob.end
        )
        if not is_empty and (inside is None or inside in matching) and wanted(matching):
            return True
        if len(seen) > _ENOUGH:
            return True
        for character in _next_characters(globs, states, inside):
            following = tuple(glob.step(state, character) for glob, state in zip(globs, states, strict=True))
            if (inside is None or following[inside]) and following not in seen:
                seen.add(following)
                waiting.append((following, False))
    return False


def _next_characters(globs: Sequence[_Glob], states: Sequence[int], inside: int | None) -> set[str]:
    """Those that lead somewhere; of all that no pattern expects here, one."""
    if inside is not None and not globs[inside].takes_anything(states[inside]):
        return globs[inside].expects(states[inside])
    expected = set().union(*(glob.expects(state) for glob, state in zip(globs, states, strict=True) if state))
    return expected | {_OTHER}
