"""A training job's metrics: found in its log, published in CloudWatch, and told in its Describe response."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any


class Metrics:
    """Finds a job's metrics in its log, by the regular expressions of its MetricDefinitions.

    Args:
        definitions: of the request. One whose expression has no group around the number stays without a value.
        publish: called with the name and the value of each that is found.
    """

    def __init__(self, definitions: list[dict[str, str]], publish: Callable[[str, float], None]) -> None:
        patterns = [(definition["Name"], re.compile(definition["Regex"])) for definition in definitions]
        self._patterns = [(name, pattern) for name, pattern in patterns if pattern.groups]
        self.without_value = [name for name, pattern in patterns if not pattern.groups]
        self._publish = publish
        self._found: dict[str, dict[str, Any]] = {}

    def line(self, text: str) -> None:
        """Take a line of the log of any host."""
        for name, pattern in self._patterns:
            match = pattern.search(text)
            if match is None:
                continue
            try:
                value = float(match[1])
            except (ValueError, TypeError):
                continue
            if not math.isfinite(value):
                continue
            self._found[name] = {"MetricName": name, "Value": value, "Timestamp": time.time()}
            self._publish(name, value)

    def final(self) -> Mapping[str, Any]:
        """FinalMetricDataList: the last value of each."""
        return {"FinalMetricDataList": list(self._found.values())} if self._found else {}
