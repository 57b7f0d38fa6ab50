"""Writes steps down as bash for the runner: each a call of one of its functions, with the text of the step behind it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sagestack.workbench.lifecycle.shortening import shortened, shortened_bash
from sagestack.workbench.lifecycle.steps import Hook, Step

_FOREGROUND_SECONDS = 60
_BACKGROUND_SECONDS = 6 * 60 * 60
_WHEN = {"create": "once, when the instance is made", "start": "each time that the instance starts"}


@dataclass(frozen=True)
class Rendering:
    """What one hook consists of.

    Attributes:
        config: the name of the lifecycle config.
        hook: which one it is.
        steps: that run in it, in order.
        exported: variables that all steps find; values may be CDK tokens.
        environment: variables for kernels and terminals as well.
    """

    config: str
    hook: Hook
    steps: Sequence[Step]
    exported: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def required(self) -> list[str]:
        """The steps without which the instance must not start."""
        return [step.name for step in self.steps if step.required]

    @property
    def contents(self) -> str:
        """What it is and does, in comments."""
        in_background = [step.name for step in self.steps if step.background]
        in_foreground = [step.name for step in self.steps if not step.background]
        return (
            "#!/bin/bash\n"
            f"# Lifecycle config {self.config} of Sagestack: {_WHEN[self.hook]}. Made from environments/*.yaml; change that.\n"
            f"# In the foreground: {', '.join(in_foreground) or 'nothing'}\n"
            f"# In the background: {', '.join(in_background) or 'nothing'}\n"
            # Functions of the runner's are called by others of its functions, and not all of them in each script.
            "# shellcheck disable=SC2317,SC2329\n"
        )

    def header(self, **more: str) -> str:
        """The first lines: what it is, and the only values that are known at deployment."""
        known = {"SAGESTACK_HOOK": self.hook, "SAGESTACK_CONFIG": self.config, **self.exported, **more}
        return self.contents + _exports(known)

    def body(self, *, shorten: bool) -> str:
        """All steps, from the runner's beginning to its end."""
        return f"begin\n{self.calls(shorten=shorten)}finish\n"

    def calls(self, *, shorten: bool) -> str:
        """All steps, the files that they need first."""
        files = {name: text for step in self.steps for name, text in step.files.items()}
        parts = [_heredoc("environment", _exports(self.environment))]
        parts += [
            _heredoc(f"file {shlex.quote(name)}", shortened(name, text) if shorten else text)
            for name, text in files.items()
        ]
        parts += [_step(step, shorten=shorten) for step in self.steps]
        return "".join(parts)

    def sizes(self) -> str:
        """How many bytes each step and each of its files take, the biggest first."""
        sizes = {step.name: len(_step(step, shorten=True).encode()) for step in self.steps}
        for step in self.steps:
            sizes.update({name: len(shortened(name, text).encode()) for name, text in step.files.items()})
        return ", ".join(f"{name} {size}" for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _step(step: Step, *, shorten: bool) -> str:
    place = "background" if step.background else "required" if step.required else "foreground"
    limit = step.timeout_s or (_BACKGROUND_SECONDS if step.background else _FOREGROUND_SECONDS)
    call = f"step {step.name} {place} {step.user} {limit} {shlex.quote(' '.join(step.after))}"
    text = shortened_bash(step.script) if shorten and not step.is_of_user else step.script
    return _heredoc(call, _exports(step.variables) + text)


def _exports(variables: Mapping[str, str]) -> str:
    return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in variables.items())


def _heredoc(command: str, text: str) -> str:
    if not text:
        return f"{command} </dev/null\n"
    lines, end, number = set(text.split("\n")), "END", 0
    while end in lines:
        number += 1
        end = f"END_{number}"
    return f"{command} <<'{end}'\n{text}{'' if text.endswith(chr(10)) else chr(10)}{end}\n"
