"""Reads values of a template as far as the template alone tells them: parameters' defaults, conditions, references as names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sagestack.review.assembly import Resource, StackTemplate

_IN_SUB = re.compile(r"\$\{(!?)([^}]+)\}")
_FROM_PARAMETER_STORE = "AWS::SSM::Parameter::Value"


class Unknown:
    """A value that only the deployment knows."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


class Reading:
    """One stack's template, read.

    A reference to a resource reads as `${LogicalId}` or `${LogicalId.Attribute}`, so that two of them can be compared.
    """

    def __init__(self, stack: StackTemplate) -> None:
        self._stack = stack
        self._template = stack.template

    def value(self, value: Any) -> Any:
        """The value, with CloudFormation's functions resolved.

        None for `AWS::NoValue`, UNKNOWN for what is not in the template.
        """
        if isinstance(value, list):
            read = [self.value(each) for each in value]
            return [each for given, each in zip(value, read, strict=True) if each is not None or given is None]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: read for key, each in value.items() if (read := self.value(each)) is not None}

    def text(self, value: Any) -> str | None:
        """A string or a number, as text."""
        read = self.value(value)
        if isinstance(read, bool):
            return str(read).lower()
        return str(read) if isinstance(read, str | int | float) else None

    def number(self, value: Any) -> float | None:
        """A number, or the text of one."""
        read = self.value(value)
        if isinstance(read, bool) or not isinstance(read, str | int | float):
            return None
        try:
            return float(read)
        except ValueError:
            return None

    def items(self, value: Any) -> list[Any] | None:
        """A list whose length is known."""
        read = self.value(value)
        return read if isinstance(read, list) else None

    def document(self, value: Any) -> Mapping[str, Any] | None:
        """A JSON object, given as one or as text."""
        read = self.value(value)
        if isinstance(read, str):
            try:
                read = json.loads(read)
            except ValueError:
                return None
        return read if isinstance(read, Mapping) else None

    def get(self, resource: Resource, *path: str) -> Any:
        """A property, resolved; None where it is not there."""
        value: Any = self.value(resource.properties.get(path[0]))
        for part in path[1:]:
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def referred(self, value: Any, kind: str) -> Resource | None:
        """The resource of this stack that a value names, where it is of that type."""
        text = self.text(value) or ""
        if match := re.fullmatch(r"\$\{(\w+)(?:\.[\w.]+)?\}", text):
            found = self._stack.resources.get(match[1])
            return found if found is not None and found.type == kind else None
        return None

    def exists(self, resource: Resource) -> bool | None:
        """Whether the resource's condition holds; None where the template does not tell."""
        condition = resource.definition.get("Condition")
        return True if condition is None else self.holds(str(condition))

    def holds(self, condition: str) -> bool | None:
        """Whether a condition of the template holds; None where the template does not tell."""
        return self._test(self._template.get("Conditions", {}).get(condition))

    def _test(self, test: Any) -> bool | None:
        if not isinstance(test, Mapping) or len(test) != 1:
            return None
        ((name, argument),) = test.items()
        match name:
            case "Condition":
                return self.holds(str(argument))
            case "Fn::Equals":
                left, right = (self.text(each) for each in argument)
                # What is only known at deployment may well be equal then.
                return None if left is None or right is None or "${" in left + right else left == right
            case "Fn::Not":
                inner = self._test(argument[0])
                return None if inner is None else not inner
            case "Fn::And" | "Fn::Or":
                results = [self._test(each) for each in argument]
                decides: bool = name == "Fn::Or"
                if decides in results:
                    return decides
                return None if None in results else not decides
        return None

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(str(argument))
            case "Fn::GetAtt":
                return "${" + (".".join(map(str, argument)) if isinstance(argument, list) else str(argument)) + "}"
            case "Fn::ImportValue":
                return f"${{import {self.text(argument) or '?'}}}"
            case "Fn::Join":
                parts = self.value(argument[1])
                if not isinstance(parts, list):
                    return UNKNOWN
                return str(argument[0]).join(self.text(each) or "${?}" for each in parts)
            case "Fn::Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                return _IN_SUB.sub(lambda found: self._substituted(found, own), text)
            case "Fn::If":
                holds = self.holds(str(argument[0]))
                return UNKNOWN if holds is None else self.value(argument[1] if holds else argument[2])
            case "Fn::Select":
                place, items = self.number(argument[0]), self.items(argument[1])
                known = place is not None and items is not None and 0 <= place < len(items)
                return items[int(place)] if known else UNKNOWN  # type: ignore[index,arg-type]
            case "Fn::FindInMap":
                found: Any = self._template.get("Mappings", {})
                for each in argument[:3]:
                    found = found.get(self.text(each)) if isinstance(found, Mapping) else None
                return UNKNOWN if found is None else found
            case "Fn::Base64":
                return self.value(argument)
        return UNKNOWN

    def _ref(self, name: str) -> Any:
        match name:
            case "AWS::NoValue":
                return None
            case "AWS::Region":
                return self._stack.region
            case "AWS::AccountId":
                return self._stack.account
        parameter = self._template.get("Parameters", {}).get(name)
        if parameter is not None:
            if "Default" not in parameter or str(parameter.get("Type", "")).startswith(_FROM_PARAMETER_STORE):
                return UNKNOWN
            listed = str(parameter["Type"]).startswith("List<") or parameter["Type"] == "CommaDelimitedList"
            return str(parameter["Default"]).split(",") if listed else parameter["Default"]
        return f"${{{name}}}"

    def _substituted(self, found: re.Match[str], own: Mapping[str, Any]) -> str:
        if found[1]:
            return f"${{{found[2]}}}"
        if found[2] in own:
            return self.text(own[found[2]]) or "${?}"
        read = self.text({"Ref": found[2]}) if "." not in found[2] else found[0]
        return read or "${?}"
