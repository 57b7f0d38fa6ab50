"""The parameters that an execution is started with: read from the command line, held against what the pipeline declares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session


def parse_parameters(texts: Sequence[str]) -> dict[str, str]:
    """Reads `--param KEY=VALUE` options.

    Raises:
        CliError: one is not of that form, or a key stands twice.
    """
    parameters: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"--param {text!r} is not KEY=VALUE, for example QualityThreshold=4.5.", code="usage")
        if key in parameters:
            raise CliError(f"--param {key} is given twice.", code="usage")
        parameters[key] = value
    return parameters


def check_parameters(session: Session, pipeline: str, parameters: Mapping[str, str]) -> None:
    """Refuses, before anything is uploaded or started, what the pipeline would refuse.

    Raises:
        CliError: the pipeline does not declare a parameter, or its value is not of the declared type.
    """
    if not parameters:
        return
    definition = json.loads(session.sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
    declared = {parameter["Name"]: parameter for parameter in definition.get("Parameters", [])}
    for key, value in parameters.items():
        if key not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise CliError(f"Pipeline {pipeline} has no parameter {key!r} (it has: {known}).", code="usage")
        kind, allowed = declared[key]["Type"], declared[key].get("EnumValues")
        if not _fits(value, kind):
            raise CliError(f"--param {key}: {value!r} is not of type {kind}.", code="usage")
        if allowed and value not in allowed:
            raise CliError(f"--param {key}: {value!r} is not allowed (allowed: {', '.join(allowed)}).", code="usage")


def _fits(value: str, kind: str) -> bool:
    try:
        if kind == "Integer":
            int(value)
        elif kind == "Float":
            # A threshold that is no number, or that every number is below, would be no threshold.
            return math.isfinite(float(value))
    except ValueError:
        return False
    return kind != "Boolean" or value.lower() in ("true", "false")
