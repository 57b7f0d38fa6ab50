"""Refuses steps that cannot run together, before they are a script that nobody understands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sagestack.settings.errors import suggestion
from sagestack.workbench.lifecycle.steps import Step

RESERVED = {"background", "fetch-steps"}
"""Names of logs and statuses of the runner's own."""


def check_steps(steps: Sequence[Step]) -> None:
    """Refuses names that mix up logs, and an order that nothing can keep.

    Raises:
        ValueError: with a line for everything that is wrong.
    """
    if problems := list(_problems(steps)):
        raise ValueError("\n".join(problems))


def _problems(steps: Sequence[Step]) -> Iterator[str]:
    by_name = {step.name: step for step in steps}
    files: dict[str, str] = {}
    for index, step in enumerate(steps):
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", step.name) or step.name in RESERVED:
            yield f"step {step.name!r}: is no name for a step (allowed: lower-case words with hyphens, none of {_listed()})"
        if any(other.name == step.name for other in steps[:index]):
            whose = "a script of yours has the name of another step" if step.is_of_user else "two steps have this name"
            yield f"step {step.name!r}: {whose}; logs and statuses would mix: choose another"
        for name, text in [(step.name, step.script), *step.files.items(), *step.variables.items()]:
            if "\r" in text or "\0" in text:
                yield f"step {step.name!r}: {name} has a carriage return or a NUL; scripts are text with LF"
            if "${Token[" in text:
                yield f"step {step.name!r}: {name} has a value of deployment time; those go into LifecycleContext.variables"
        for name, text in step.files.items():
            if files.setdefault(name, text) != text or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
                yield f"step {step.name!r}: another step brings another file {name!r}, or it is no plain name"
        if step.required and step.background:
            yield f"step {step.name!r}: is required and in the background, where the instance does not wait for it"
        yield from _problems_of_order(step, by_name)


def _problems_of_order(step: Step, by_name: dict[str, Step]) -> Iterator[str]:
    for name in step.after:
        before = by_name.get(name)
        if before is None:
            yield f"step {step.name!r}: is after {name!r}, and there is no such step{suggestion(name, by_name)}"
        elif not step.background and before.background:
            yield f"step {step.name!r}: is in the foreground, and after {name!r}, which is in the background"
        elif step.hook == "create" and before.hook == "start":
            yield f"step {step.name!r}: runs when the instance is made, and after {name!r}, which runs at its start"
    if step.name in _all_before(step, by_name):
        yield f"step {step.name!r}: waits for itself"


def _all_before(step: Step, by_name: dict[str, Step]) -> set[str]:
    found: set[str] = set()
    left = list(step.after)
    while left:
        name = left.pop()
        if name not in found and name in by_name:
            found.add(name)
            left += by_name[name].after
    return found


def _listed() -> str:
    return ", ".join(sorted(RESERVED))
