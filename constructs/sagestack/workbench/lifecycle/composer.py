"""Makes one script of all steps of a hook: as readable as the limit of SageMaker allows."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sagestack.workbench.lifecycle.checks import MAX_CHARACTERS, characters
from sagestack.workbench.lifecycle.packing import packed
from sagestack.workbench.lifecycle.shortening import shortened, shortened_bash
from sagestack.workbench.lifecycle.step_checks import check_steps
from sagestack.workbench.lifecycle.steps import Hook, Step, script

FOREGROUND_SECONDS = 60
BACKGROUND_SECONDS = 6 * 60 * 60

_TOKEN = re.compile(r"\$\{Token\[[^\]]+\]\}")
# What stands for a token in the size: the longest that is put there is s3:// with a bucket (63) and the key of an asset.
_LONGEST_VALUE = "x" * 160

Form = Literal["plain", "packed", "fetched"]


@dataclass(frozen=True)
class Script:
    """A script of a hook, as SageMaker runs it.

    Attributes:
        text: bash; values in its first lines may be CDK tokens.
        form: `plain`; `packed`: the steps are compressed within it; `fetched`: they are in a file of the stack's own, whose
            SHA-256 is in the script.
        steps_text: that file, else empty.
        characters: what it takes of SageMaker's 16384.
    """

    text: str
    form: Form
    steps_text: str
    characters: int


def compose(
    name: str,
    hook: Hook,
    steps: Sequence[Step],
    *,
    exported: Mapping[str, str],
    environment: Mapping[str, str],
    publish: Callable[[str], str] | None = None,
) -> Script:
    """Makes the script of one hook. Equal steps make an equal script, byte by byte.

    Args:
        name: of the lifecycle config, for people who find it.
        steps: of this hook and of others, in order; those of others are left out.
        exported: variables that all steps find; values may be CDK tokens.
        environment: variables for kernels and terminals as well.
        publish: takes the steps where they do not fit, and gives the `s3://` address that the instance fetches them from.
            None: what does not fit is refused.

    Raises:
        ValueError: steps do not go together, or do not fit; the message says each one's size.
    """
    check_steps(steps)
    mine = [step for step in steps if step.hook == hook]
    required = next((step.name for step in mine if step.required), None)
    head = {"SAGESTACK_HOOK": hook, "SAGESTACK_CONFIG": name, **exported}
    readable, short = _body(mine, environment), _body(mine, environment, shorten=True)
    candidates: list[tuple[Form, str]] = [
        ("plain", _header(name, hook, mine, head) + script("runner.sh") + readable),
        ("plain", _header(name, hook, mine, head) + shortened_bash(script("runner.sh")) + short),
    ]
    for form, text in candidates:
        # CloudFormation's templates keep ASCII alone as it is.
        if text.isascii() and _size(text) <= MAX_CHARACTERS:
            return Script(text, form, "", _size(text))
    inside = shortened_bash(script("runner.sh")) + short
    text = _header(name, hook, mine, head) + packed(inside, required=required is not None)
    if _size(text) <= MAX_CHARACTERS:
        return Script(text, "packed", "", _size(text))
    if publish is None:
        raise ValueError(_too_big(name, hook, mine, _size(text)))
    return _fetched(name, hook, mine, head, environment, publish)


def _fetched(
    name: str,
    hook: Hook,
    steps: Sequence[Step],
    head: Mapping[str, str],
    environment: Mapping[str, str],
    publish: Callable[[str], str],
) -> Script:
    steps_text = "\n".join(["#!/bin/bash", *_contents(name, hook, steps), ""]) + _steps(steps, environment)
    head = {
        **head,
        "SAGESTACK_STEPS_URL": publish(steps_text),
        "SAGESTACK_STEPS_SHA256": hashlib.sha256(steps_text.encode()).hexdigest(),
    }
    if required := [step.name for step in steps if step.required]:
        head["SAGESTACK_REQUIRED"] = required[0]
    runner = shortened_bash(script("runner.sh") + script("fetch.sh")) + "begin\nfetched_steps\n"
    text = _header(name, hook, steps, head) + runner
    if _size(text) > MAX_CHARACTERS:
        text = _header(name, hook, steps, head) + packed(runner, required=bool(required))
    return Script(text, "fetched", steps_text, _size(text))


def _header(name: str, hook: Hook, steps: Sequence[Step], variables: Mapping[str, str]) -> str:
    return "\n".join(
        [
            "#!/bin/bash",
            *_contents(name, hook, steps),
            *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
            "",
        ]
    )


def _contents(name: str, hook: Hook, steps: Sequence[Step]) -> list[str]:
    what = {"create": "once, when the instance is made", "start": "each time that the instance starts"}[hook]
    return [
        f"# Lifecycle config {name} of Sagestack: {what}. Made from environments/*.yaml; change that.",
        f"# In the foreground: {', '.join(step.name for step in steps if not step.background) or 'nothing'}",
        f"# In the background: {', '.join(step.name for step in steps if step.background) or 'nothing'}",
    ]


def _body(steps: Sequence[Step], environment: Mapping[str, str], *, shorten: bool = False) -> str:
    return f"begin\n{_steps(steps, environment, shorten=shorten)}finish\n"


def _steps(steps: Sequence[Step], environment: Mapping[str, str], *, shorten: bool = False) -> str:
    parts = [_heredoc("environment", _exports(environment))]
    files = {name: text for step in steps for name, text in step.files.items()}
    parts += [
        _heredoc(f"file {shlex.quote(name)}", shortened(name, text) if shorten else text)
        for name, text in files.items()
    ]
    parts += [_heredoc(_call(step), _script(step, shorten=shorten)) for step in steps]
    return "".join(parts)


def _exports(variables: Mapping[str, str]) -> str:
    return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in variables.items())


def _call(step: Step) -> str:
    place = "background" if step.background else "required" if step.required else "foreground"
    limit = step.timeout_s or (BACKGROUND_SECONDS if step.background else FOREGROUND_SECONDS)
    return f"step {step.name} {place} {step.user} {limit} {shlex.quote(' '.join(step.after))}"


def _script(step: Step, *, shorten: bool) -> str:
    text = shortened_bash(step.script) if shorten and not step.is_of_user else step.script
    return _exports(step.variables) + text


def _heredoc(command: str, text: str) -> str:
    if not text:
        return f"{command} </dev/null\n"
    lines, end, number = set(text.split("\n")), "END", 0
    while end in lines:
        number += 1
        end = f"END_{number}"
    return f"{command} <<'{end}'\n{text}{'' if text.endswith(chr(10)) else chr(10)}{end}\n"


def _size(text: str) -> int:
    return characters(_TOKEN.sub(_LONGEST_VALUE, text))


def _too_big(name: str, hook: Hook, steps: Sequence[Step], size: int) -> str:
    sizes = sorted(
        (
            (
                len(_heredoc(_call(step), _script(step, shorten=True)).encode())
                + sum(len(shortened(file, text).encode()) for file, text in step.files.items()),
                step.name,
            )
            for step in steps
        ),
        reverse=True,
    )
    listed = ", ".join(f"{step} {bytes_} bytes" for bytes_, step in sizes)
    return (
        f"lifecycle config {name}, hook {hook}: {size} characters in base64 although compressed, and SageMaker takes"
        f" {MAX_CHARACTERS}; leave something out. Before compression: {listed}"
    )
