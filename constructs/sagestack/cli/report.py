"""Draws what commands found: tables, panels and a view of a running pipeline."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.live import Live
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

from sagestack.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sagestack.cli.pipeline_execution import Execution
    from sagestack.cli.registry import Version

_STYLES = {
    "Succeeded": "green",
    "Completed": "green",
    "InService": "green",
    "Approved": "green",
    "Executing": "cyan",
    "Starting": "cyan",
    "Creating": "cyan",
    "Updating": "cyan",
    "PendingManualApproval": "yellow",
    "Stopping": "yellow",
    "Stopped": "yellow",
    "Rejected": "red",
    "Failed": "red",
    "Waiting": "dim",
    "NotRun": "dim",
}
_WORDS = {"NotRun": "not run", "Waiting": "waiting", "PendingManualApproval": "pending approval"}


def status_text(status: str) -> Text:
    """A status in the colour that it deserves."""
    style = _STYLES.get(status, "green" if status.endswith("_COMPLETE") and "ROLLBACK" not in status else "")
    return Text(
        _WORDS.get(status, status), style=style or ("red" if "FAILED" in status or "ROLLBACK" in status else "")
    )


def duration(seconds: float | None) -> str:
    """Seconds as people read them."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def moment(time: datetime.datetime | None) -> str:
    """A time in the reader's own zone."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def metric_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that matter, under short names: `regression_metrics.rmse.value` becomes `rmse`.

    SageMaker's reports put each metric's number under `value`, beside its standard deviation and other particulars;
    those are left out. Where nothing is written that way, or two names would be equal, the paths stay as they are.
    """
    values = {path.removesuffix(".value"): value for path, value in metrics.items() if path.endswith(".value")}
    short = {path.rsplit(".", 1)[-1]: value for path, value in values.items()}
    if len(short) == len(values):
        return short or dict(metrics)
    return values


def metrics_line(metrics: Mapping[str, float]) -> str:
    """All metrics on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metric_names(metrics).items()) or "no metrics"


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table without lines, as it can be pasted."""
    table = Table(box=None, title=title, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table


def steps_table(execution: Execution) -> Table:
    """The steps of an execution."""
    table = plain_table("Step", "Status", "Took", "Detail")
    for step in execution.steps:
        table.add_row(Text(step.name), status_text(step.status), duration(step.seconds), Text(step.detail))
    return table


def versions_table(versions: Sequence[tuple[Version, Mapping[str, float]]], pinned: int | None) -> Table:
    """Registered versions and what they scored."""
    table = plain_table("Version", "Approval", "Registered", "Metrics", "")
    for version, metrics in versions:
        mark = Text("pinned", style="bold") if version.number == pinned else Text("")
        created = moment(version.created)
        table.add_row(str(version.number), status_text(version.approval), created, Text(metrics_line(metrics)), mark)
    return table


def panel(title: str, rows: Mapping[str, RenderableType]) -> Panel:
    """Facts, one a line, in a frame."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return Panel(table, title=title, title_align="left", expand=False)


class RunView(AbstractContextManager["RunView"]):
    """Shows an execution while it runs: in place on a terminal, a line per change elsewhere, nothing under --json."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._execution: Execution | None = None
        self._told: dict[str, str] = {}
        self._live: Live | None = None
        if output.can_redraw:
            # Drawn anew four times a second, so that the seconds count although the cloud is asked less often.
            self._live = Live(console=output.console, get_renderable=self._draw, refresh_per_second=4)

    def __enter__(self) -> RunView:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, execution: Execution) -> None:
        """Takes the execution as it is now."""
        self._execution = execution
        if self._live:
            return
        for step in execution.steps:
            if step.status not in ("Waiting", "NotRun", "Starting") and self._told.get(step.name) != step.status:
                self._told[step.name] = step.status
                took = duration(step.seconds) if step.ended else ""
                self._output.say(
                    "  ".join(filter(None, [f"{step.name:<14} {step.status:<10}", took, step.detail])).rstrip()
                )

    def _draw(self) -> RenderableType:
        return steps_table(self._execution) if self._execution else Text("Starting")


class Activity(AbstractContextManager["Activity"]):
    """One line that says what goes on just now, on a terminal; elsewhere it would only fill a log."""

    def __init__(self, output: Output, text: str) -> None:
        self._status: Status | None = None
        if output.can_redraw:
            self._status = output.console.status(Text(text))

    def __enter__(self) -> Activity:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leaves the terminal to somebody else."""
        if self._status:
            self._status.stop()

    def update(self, text: str) -> None:
        """Says what goes on now."""
        if self._status:
            self._status.update(Text(text))
