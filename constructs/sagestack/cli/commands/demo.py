"""`sagestack demo`: the whole story, from nothing to a served model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sagestack.cli import local_cloud
from sagestack.cli.errors import INTERRUPTED, CliError
from sagestack.cli.options import ClockFactorOption, JsonOption, ModelOption, PortOption, state_of

if TYPE_CHECKING:
    from sagestack.cli.options import State


def demo(
    context: typer.Context,
    port: PortOption = None,
    model: ModelOption = None,
    clock_factor: ClockFactorOption = None,
    json: JsonOption = False,
) -> None:
    """Go the whole way on this machine: start, deploy, train, approve, serve, predict.

    Run again, it trains and serves another version. The local cloud goes on afterwards; [cyan]make down[/cyan] stops it.

    Examples:
    [cyan]make demo[/cyan]
    [cyan]sagestack demo --port 4567[/cyan]
    """
    state = state_of(context)
    lock = local_cloud.state_dir(state.root) / "demo.lock"
    with local_cloud.exclusive(lock, wait=False) as other:
        if other is not None:
            raise CliError(
                f"A demo runs already in {state.root} (process {other or 'unknown'}).",
                hint="Wait until it has ended, or end it with Ctrl-C where it runs.",
                code="busy",
                details={"pid": other or None},
            )
        _tell(state, state.model(model), port, clock_factor)


def _tell(state: State, model: str, port: int | None, clock_factor: float | None) -> None:
    from sagestack.cli.demo_story import Story

    story = Story(state, model)
    try:
        state.output.result(story.tell(port, clock_factor))
    except KeyboardInterrupt:
        raise CliError(
            f"Interrupted in step {story.number}. The local cloud goes on with what it was given.",
            hint="To go on: make demo. To look: sagestack status. To stop everything: make down",
            code="interrupted",
            exit_code=INTERRUPTED,
        ) from None
