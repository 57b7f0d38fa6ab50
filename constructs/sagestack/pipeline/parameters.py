"""Parameters: what the person who starts a pipeline may choose.

A parameter without a default must be given at every start. What no step uses is refused, because whoever sets it
would believe that it did something.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-parameters.html
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from sagestack.pipeline.values import ParameterType, Value


class Parameter(Value):
    """What the four types have in common."""

    name: str

    @abstractmethod
    def declaration(self) -> dict[str, object]:
        """The parameter's entry in the definition's `Parameters`."""

    def to_request(self) -> dict[str, object]:
        return {"Get": f"Parameters.{self.name}"}


def _declaration(name: str, kind: ParameterType, default: object) -> dict[str, object]:
    declaration: dict[str, object] = {"Name": name, "Type": kind.value}
    if default is not None:
        declaration["DefaultValue"] = default
    return declaration


@dataclass(frozen=True)
class StringParameter(Parameter):
    """Text. With `enum_values`, SageMaker refuses a start with any other value (it knows them for text only)."""

    name: str
    default: str | None = None
    enum_values: Sequence[str] = ()

    def declaration(self) -> dict[str, object]:
        declaration = _declaration(self.name, ParameterType.STRING, self.default)
        if self.enum_values:
            declaration["EnumValues"] = list(self.enum_values)
        return declaration


@dataclass(frozen=True)
class IntegerParameter(Parameter):
    """A whole number."""

    name: str
    default: int | None = None

    def declaration(self) -> dict[str, object]:
        return _declaration(self.name, ParameterType.INTEGER, self.default)


@dataclass(frozen=True)
class FloatParameter(Parameter):
    """A number."""

    name: str
    default: float | None = None

    def declaration(self) -> dict[str, object]:
        return _declaration(self.name, ParameterType.FLOAT, self.default)


@dataclass(frozen=True)
class BooleanParameter(Parameter):
    """True or false."""

    name: str
    default: bool | None = None

    def declaration(self) -> dict[str, object]:
        return _declaration(self.name, ParameterType.BOOLEAN, self.default)
