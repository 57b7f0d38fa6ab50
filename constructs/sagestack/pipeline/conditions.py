"""What a condition step asks. A step with several conditions takes its if-branch when all of them hold.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html (condition step)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from sagestack.pipeline.values import Scalar, Value


class Condition(ABC):
    """A question that SageMaker answers when the pipeline runs."""

    @abstractmethod
    def to_request(self) -> dict[str, object]:
        """The JSON of this condition in a pipeline definition."""


def _plain(value: Scalar) -> object:
    return value.to_request() if isinstance(value, Value) else value


@dataclass(frozen=True)
class _Comparison(Condition):
    left: Scalar
    right: Scalar

    def to_request(self) -> dict[str, object]:
        return {"Type": type(self).__name__, "LeftValue": _plain(self.left), "RightValue": _plain(self.right)}


class Equals(_Comparison):
    """Both sides are the same."""


class GreaterThan(_Comparison):
    """The left number is above the right one."""


class GreaterThanOrEqualTo(_Comparison):
    """The left number is not below the right one."""


class LessThan(_Comparison):
    """The left number is below the right one."""


class LessThanOrEqualTo(_Comparison):
    """The left number is not above the right one."""


@dataclass(frozen=True)
class In(Condition):
    """The value is one of several."""

    value: Scalar
    values: Sequence[Scalar]

    def to_request(self) -> dict[str, object]:
        return {"Type": "In", "QueryValue": _plain(self.value), "Values": [_plain(value) for value in self.values]}


@dataclass(frozen=True)
class Not(Condition):
    """The condition does not hold."""

    condition: Condition

    def to_request(self) -> dict[str, object]:
        return {"Type": "Not", "Condition": self.condition.to_request()}


@dataclass(frozen=True)
class Or(Condition):
    """At least one of the conditions holds."""

    conditions: Sequence[Condition]

    def to_request(self) -> dict[str, object]:
        return {"Type": "Or", "Conditions": [condition.to_request() for condition in self.conditions]}
