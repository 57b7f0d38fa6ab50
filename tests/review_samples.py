"""Assemblies for tests of the review: written by hand, or synthesized in this process."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagestack.review.assembly import Assembly, StackTemplate, read_assembly
from sagestack.settings import Environment

from tests import synthesis

STACK = "sagestack-dev-foundation"


def assembly(
    resources: Mapping[str, Mapping[str, Any]], *, stack: str = STACK, environment: str = "dev", **parts: Any
) -> Assembly:
    """One stack with these resources, by logical id; the construct paths are the logical ids."""
    template = {"Resources": copy.deepcopy(dict(resources)), **parts}
    return Assembly(
        environment,
        {stack: StackTemplate(environment, stack, "111111111111", "us-east-1", template)},
    )


def synthesized(root: Path, environment: Environment, outdir: Path) -> Assembly:
    """What app.py would synthesize for an environment, without the guardrails."""
    synthesis.build(root, environment, outdir).synth()
    return read_assembly(outdir, environment.name)
