"""Tells what the CDK CLI says of a deployment in fewer lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

StackResult = Literal["deployed", "no changes", "failed"]


@dataclass(frozen=True)
class Line:
    """A line of the CDK CLI that a person should read."""

    text: str
    kind: Literal["done", "same", "warning", "error"]


class Reader:
    """Picks what matters from the CDK CLI's output; the rest is in the log."""

    _EVENT = re.compile(
        r"^(?P<stack>[\w-]+) \| +(?P<done>\d+(?:/\d+)?) \| [^|]+ \| (?P<status>[A-Z_]+) +\| (?P<type>[\w:]+) +\| (?P<rest>.*)$"
    )
    _RESULT = re.compile(r"^ *(?P<mark>✅|❌) +(?P<stack>[\w-]+)(?P<rest>.*)$")

    def __init__(self, on_line: Callable[[Line], None], on_state: Callable[[str], None]) -> None:
        self.stacks: dict[str, StackResult] = {}
        self.reasons: list[str] = []
        self.went_back = False
        self._on_line = on_line
        self._on_state = on_state

    def take(self, line: str) -> None:
        """Takes one line, without its end."""
        if event := self._EVENT.match(line):
            self._take_event(event)
        elif result := self._RESULT.match(line):
            self._take_result(result)
        elif re.match(r"^\[(warning|error)\b", line, re.IGNORECASE):
            self._on_line(Line(line, "error" if line[1:6].lower() == "error" else "warning"))
        elif building := re.match(r"^([\w-]+): (deploying|creating CloudFormation changeset|start: \w+)", line):
            self._on_state(f"{building[1]}: {building[2].replace('start: ', '').lower()}")

    def _take_event(self, event: re.Match[str]) -> None:
        stack, status = event["stack"], event["status"]
        # The CLI cuts statuses to a column's width.
        if status.startswith("UPDATE_ROLLBACK_COMPL") and event["type"] == "AWS::CloudFormation::Stack":
            self.went_back = True
        if status.endswith("_FAILED") or "ROLLBACK" in status:
            self._on_line(Line(f"{stack}: {status} {event['type']} {event['rest'].strip()}", "error"))
            self._keep_reason(event["type"], event["rest"])
        else:
            name = event["rest"].split()[0] if event["rest"].split() else event["type"]
            self._on_state(f"{stack}: {event['done']} {status.replace('_', ' ').lower()} {name}")

    def _keep_reason(self, kind: str, rest: str) -> None:
        """Keeps what a resource failed of. Being cancelled as another failed is no reason, and the stack only counts them."""
        found = re.match(r"^(?P<path>\S+) \(\S+\) (?P<why>.+)$", rest.strip())
        if found and kind != "AWS::CloudFormation::Stack" and "cancelled" not in found["why"]:
            why = found["why"].removeprefix("Error: ").rstrip()
            self.reasons.append(f"{found['path'].removesuffix('/Default').removesuffix('/Resource')}: {why}")

    def _take_result(self, result: re.Match[str]) -> None:
        stack = result["stack"]
        if result["mark"] == "❌":
            self.stacks[stack] = "failed"
            self._on_line(Line(f"{stack}{result['rest']}", "error"))
        elif "(no changes)" in result["rest"]:
            self.stacks[stack] = "no changes"
            self._on_line(Line(f"{stack}: no changes", "same"))
        else:
            self.stacks[stack] = "deployed"
            self._on_line(Line(f"{stack}: deployed", "done"))
