"""Whether a condition compares what can be compared.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html (condition step)
"""

from typing import cast

from sagestack.pipeline import quotas
from sagestack.pipeline.references import Json, ReferenceMistake, Resolver
from sagestack.pipeline.shapes import a, is_of_type, is_reference, python_kind, show

_NUMERIC = {"Integer", "Float"}
_ORDERED = {"GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"}


class ConditionChecker:
    """Checks the conditions of one condition step; adds what is wrong to `mistakes`."""

    def __init__(self, step: Json, resolver: Resolver, mistakes: list[str]) -> None:
        self.step = step
        self.resolver = resolver
        self.mistakes = mistakes

    def check(self, condition: Json, path: str) -> None:
        kind = str(condition["Type"])
        if kind == "Not":
            self.check(cast(Json, condition["Condition"]), f"{path}.Condition")
        elif kind == "Or":
            inner = cast(list[Json], condition["Conditions"])
            if not inner:
                self.mistakes.append(f"{path}.Conditions is empty: give at least one condition")
            if len(inner) > quotas.CONDITIONS:
                self.mistakes.append(quotas.too_many(len(inner), quotas.CONDITIONS, f"{path}.Conditions", "conditions"))
            for index, each in enumerate(inner):
                self.check(each, f"{path}.Conditions[{index}]")
        elif kind == "In":
            values = cast(list[object], condition["Values"])
            if not values:
                self.mistakes.append(f"{path}.Values is empty, so the condition never holds")
            query = self._operand(condition["QueryValue"], f"{path}.QueryValue")
            for index, value in enumerate(values):
                at = f"{path}.Values[{index}]"
                self._comparable(query, self._operand(value, at), at, value)
        else:
            left = self._operand(condition["LeftValue"], f"{path}.LeftValue")
            right = self._operand(condition["RightValue"], f"{path}.RightValue")
            self._comparable(left, right, f"{path}.RightValue", condition["RightValue"])
            for side, scalar in (("LeftValue", left), ("RightValue", right)):
                if kind in _ORDERED and scalar is not None and scalar not in _NUMERIC:
                    self.mistakes.append(
                        f"{path}.{side}: {show(condition[side])} is {a(scalar)}, {kind} compares numbers"
                    )

    def _operand(self, value: object, path: str) -> str | None:
        """The scalar type of one side of a comparison; None where only the execution will tell."""
        if is_reference(value):
            try:
                return self.resolver.type_of(cast(Json, value), self.step)
            except ReferenceMistake as mistake:
                self.mistakes.append(f"{path}: {mistake}")
                return None
        for scalar in ("Boolean", "Integer", "Float", "String"):
            if is_of_type(value, scalar):
                return scalar
        self.mistakes.append(f"{path}: {show(value)} is {a(python_kind(value))}; conditions compare single values")
        return None

    def _comparable(self, left: str | None, right: str | None, path: str, value: object) -> None:
        if left is None or right is None or left == right or {left, right} <= _NUMERIC:
            return
        self.mistakes.append(f"{path}: {show(value)} is {a(right)}, but it is compared with {a(left)}")
