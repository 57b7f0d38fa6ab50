"""When a statement holds: its conditions, tried on every kind of request that could tell two policies apart.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import ipaddress
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from sagestack.review.permissions.globs import matches

World = Mapping[tuple[str, ...], str | None]
"""A request's context: by key the value, None where the request has none; what cannot be computed is `true` or not there."""

_OTHER = "\U0010fffc"
"""A value that no policy mentions."""
_ENOUGH = 4096
"""Contexts; beyond, the conditions are compared as a whole and not by their values."""
_LIKE = {"stringlike", "arnlike", "arnequals"}
_EQUAL = {"stringequals", "stringequalsignorecase", "bool"}
_IP = "ipaddress"
_NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
    "notipaddress": "ipaddress",
}
_WORDS = {
    "stringequals": "is",
    "stringequalsignorecase": "is (in any case)",
    "bool": "is",
    "stringlike": "is like",
    "arnlike": "is like",
    "arnequals": "is like",
    "stringnotequals": "is not",
    "stringnotequalsignorecase": "is not (in any case)",
    "stringnotlike": "is not like",
    "arnnotlike": "is not like",
    "arnnotequals": "is not like",
    "ipaddress": "is in",
    "notipaddress": "is not in",
    "numericlessthan": "is less than",
    "numericlessthanequals": "is at most",
    "numericgreaterthan": "is more than",
    "numericgreaterthanequals": "is at least",
    "datelessthan": "is before",
    "dategreaterthan": "is after",
}


@dataclass(frozen=True, order=True)
class Condition:
    """One operator on one key, with its values, any of which will do (for `Not...`: none of which may)."""

    operator: str
    key: str
    values: tuple[str, ...]

    @property
    def _lowered(self) -> str:
        return self.operator.lower().removesuffix("ifexists")

    @property
    def base(self) -> str:
        """The operator without negation and `IfExists`."""
        return _NEGATED.get(self._lowered, self._lowered)

    @property
    def is_negated(self) -> bool:
        return self._lowered in _NEGATED

    @property
    def is_satisfied_by_absence(self) -> bool:
        return self.operator.lower().endswith("ifexists") or self.is_negated

    @property
    def is_by_value(self) -> bool:
        """Whether the key's value alone decides, and there is one: no sets, numbers, dates."""
        return self.base in _LIKE | _EQUAL | {"null"} or self.is_by_network

    @property
    def is_by_network(self) -> bool:
        """Whether addresses decide, and all of them are known."""
        return self.base == _IP and all(_network(value) is not None for value in self.values)

    def holds(self, world: World) -> bool:
        if not self.is_by_value:
            return self._holds_as_a_whole(world)
        value = world[self.key.lower(),]
        if self.base == "null":
            return (value is None) == (self.values[0].lower() == "true") if self.values else False
        if value is None:
            return self.is_satisfied_by_absence
        return any(self._takes(value, wanted) for wanted in self.values) != self.is_negated

    def _takes(self, value: str, wanted: str) -> bool:
        if self.base == _IP:
            address, network = _network(value), _network(wanted)
            return address is not None and network is not None and address.network_address in network
        if self.base in _LIKE:
            return matches(value, wanted)
        if self.base == "stringequals":
            return value == wanted
        return value.lower() == wanted.lower()

    def _holds_as_a_whole(self, world: World) -> bool:
        if self.base.startswith("forallvalues:"):
            return world[self._whole] is not None
        found = any(world[self._one(value)] is not None for value in self.values)
        return found != self.is_negated

    @property
    def _whole(self) -> tuple[str, ...]:
        return (self.operator.lower(), self.key.lower(), *self.values)

    def _one(self, value: str) -> tuple[str, ...]:
        # Apart with IfExists: absence decides there, which this does not compute.
        exists = "ifexists" if self.operator.lower().endswith("ifexists") else ""
        return (self.base + exists, self.key.lower(), value)

    def unknowns(self) -> list[tuple[str, ...]]:
        """What is true or not, whatever it means."""
        if self.is_by_value:
            return []
        if self.base.startswith("forallvalues:"):
            return [self._whole]
        return [self._one(value) for value in self.values]

    def readable(self) -> str:
        """`kms:ViaService is s3.us-east-1.amazonaws.com`."""
        quantifier, _, operator = self._lowered.rpartition(":")
        if operator == "null" and self.values in (("true",), ("false",)):
            return f"{self.key} is {'absent' if self.values == ('true',) else 'there'}"
        word = "is absent:" if operator == "null" else _WORDS.get(operator, operator)
        each = {"": "", "foranyvalue": "any of ", "forallvalues": "all of "}.get(quantifier, "")
        there = " (where there is one)" if self.operator.lower().endswith("ifexists") else ""
        return f"{each}{self.key} {word} {' or '.join(self.values)}{there}"


Conditions = tuple[Condition, ...]


def hold(conditions: Conditions, world: World) -> bool:
    return all(condition.holds(world) for condition in conditions)


def outcomes(blocks: Iterable[Conditions]) -> set[frozenset[Conditions]]:
    """Which of these blocks of conditions can hold together, all others not."""
    different = set(blocks)
    if not are_tried(different):
        return _as_a_whole(different)
    candidates = _candidates({condition for block in different for condition in block})
    return {
        frozenset(block for block in different if hold(block, dict(zip(candidates, world, strict=True))))
        for world in itertools.product(*candidates.values())
    }


def are_tried(blocks: Iterable[Conditions]) -> bool:
    """Whether these are so few that `outcomes` looks at their values."""
    candidates = _candidates({condition for block in blocks for condition in block})
    return math.prod(len(values) for values in candidates.values()) <= _ENOUGH


def _as_a_whole(blocks: set[Conditions]) -> set[frozenset[Conditions]]:
    """Without a look at the values: what holds unconditionally, with one of the others, or with all of them."""
    always = frozenset(block for block in blocks if not block)
    # Block A holds wherever B does if A's conditions are some of B's.
    return {
        always,
        frozenset(blocks),
        *(always | {other for other in blocks if set(other) <= set(block)} for block in blocks),
    }


def _candidates(conditions: set[Condition]) -> dict[tuple[str, ...], list[str | None]]:
    """For each key of the context, values enough to tell these conditions apart."""
    found: dict[tuple[str, ...], set[str | None]] = {}
    for condition in conditions:
        for unknown in condition.unknowns():
            found[unknown] = {"true", None}
    keys: dict[str, set[Condition]] = {}
    for condition in conditions:
        if condition.is_by_value:
            keys.setdefault(condition.key.lower(), set()).add(condition)
    for key, about in keys.items():
        found[key,] = _values(about)
    return {
        key: sorted(values, key=lambda value: (value is None, value or "")) for key, values in sorted(found.items())
    }


def _values(conditions: set[Condition]) -> set[str | None]:
    if all(condition.base in ("bool", "null") for condition in conditions):
        return {"true", "false", None}
    addresses = _addresses(condition for condition in conditions if condition.base == _IP)
    conditions = {condition for condition in conditions if condition.base != _IP}
    values = {value for condition in conditions if condition.base != "null" for value in condition.values}
    patterns = {
        value
        for condition in conditions
        if condition.base in _LIKE
        for value in condition.values
        if set("*?") & set(value)
    }
    # A pattern is tried with something strange in its gaps, and with what the other values bring along.
    pieces = {_OTHER, ""} | ({value.strip("*") for value in values} if patterns else set())
    tried = {pattern.replace("*", piece).replace("?", _OTHER) for pattern in patterns for piece in pieces}
    exact = {value for condition in conditions if condition.base not in _LIKE for value in condition.values}
    return {_OTHER, None, *exact, *(values - patterns), *tried, *addresses}


def _addresses(conditions: Iterable[Condition]) -> set[str]:
    """Addresses enough to tell networks apart: where each begins, and what follows its end."""
    networks = [found for each in conditions for value in each.values if (found := _network(value)) is not None]
    begins = {network.network_address for network in networks}
    ends = [network.broadcast_address for network in networks]
    after = {end + 1 for end in ends if int(end) + 1 < 2**end.max_prefixlen}
    first = {ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")} if networks else set()  # noqa: S104  no socket
    return {str(address) for address in begins | after | first}


@cache
def _network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None
