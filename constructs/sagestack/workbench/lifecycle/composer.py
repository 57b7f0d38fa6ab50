"""Makes one script of all steps of a hook: as readable as the limit of SageMaker allows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sagestack.workbench.lifecycle.checks import MAX_CHARACTERS, characters
from sagestack.workbench.lifecycle.packing import packed
from sagestack.workbench.lifecycle.rendering import Rendering
from sagestack.workbench.lifecycle.shortening import shortened_bash
from sagestack.workbench.lifecycle.step_checks import check_steps
from sagestack.workbench.lifecycle.steps import Hook, Step, script

_TOKEN = re.compile(r"\$\{Token\[[^\]]+\]\}")
# What stands for a token in the size: the longest that is put there is s3:// with a bucket (63) and the key of an asset.
_LONGEST_VALUE = "x" * 160

Form = Literal["plain", "runner packed", "packed", "fetched"]


@dataclass(frozen=True)
class Script:
    """A script of a hook, as SageMaker runs it.

    Attributes:
        text: bash; values in its first lines may be CDK tokens.
        form: `plain`: all of it can be read. `runner packed`: the steps can, and what runs them, the same for all configs, is
            compressed. `packed`: the steps are compressed, too. `fetched`: the steps are in a file of the stack's own, whose
            SHA-256 is in the script.
        steps_text: that file, else empty.
        characters: what it takes of SageMaker's 16384, in base64.
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
        hook: of which the script is made.
        steps: of this hook and of others, in order; those of others are left out.
        exported: variables that all steps find; values may be CDK tokens.
        environment: variables for kernels and terminals as well.
        publish: takes the steps where they do not fit, and gives the `s3://` address that the instance fetches them from.
            None: what does not fit is refused.

    Raises:
        ValueError: steps do not go together, or do not fit; the message says each one's size.
    """
    check_steps(steps)
    rendering = Rendering(name, hook, [step for step in steps if step.hook == hook], exported, environment)
    size = 0
    for form, text in _forms(rendering):
        size = _size(text)
        # A template keeps characters beyond ASCII for nobody who looks at it later.
        if size <= MAX_CHARACTERS and text.isascii():
            return Script(text, form, "", size)
    if publish is None:
        raise ValueError(
            f"lifecycle config {name}, hook {hook}: {size} characters in base64 although compressed, and SageMaker takes"
            f" {MAX_CHARACTERS}; leave something out. Bytes before: {rendering.sizes()}"
        )
    return _fetched(rendering, publish)


def _forms(rendering: Rendering) -> Iterator[tuple[Form, str]]:
    """From the one that is best to read to the smallest."""
    header, runner, short_runner = rendering.header(), script("runner.sh"), shortened_bash(script("runner.sh"))
    whole, short = rendering.body(shorten=False), rendering.body(shorten=True)
    required = bool(rendering.required)
    yield "plain", header + runner + whole
    yield "plain", header + short_runner + whole
    packed_runner = header + packed(short_runner, "What runs the steps below", required=required)
    yield "runner packed", packed_runner + whole
    yield "runner packed", packed_runner + short
    yield "packed", header + packed(short_runner + short, "The steps", required=required)


def _fetched(rendering: Rendering, publish: Callable[[str], str]) -> Script:
    steps = rendering.contents + rendering.calls(shorten=False)
    of_fetching = {
        "SAGESTACK_STEPS_URL": publish(steps),
        "SAGESTACK_STEPS_SHA256": hashlib.sha256(steps.encode()).hexdigest(),
        "SAGESTACK_REQUIRED": " ".join(rendering.required),
    }
    runner = shortened_bash(script("runner.sh") + script("fetch.sh"))
    start = "begin\nfetched_steps\n"
    text = rendering.header(**of_fetching) + runner + start
    if _size(text) > MAX_CHARACTERS:
        runner = packed(runner, "What fetches and runs the steps", required=bool(rendering.required))
        text = rendering.header(**of_fetching) + runner + start
    return Script(text, "fetched", steps, _size(text))


def _size(text: str) -> int:
    return characters(_TOKEN.sub(_LONGEST_VALUE, text))
