"""The chapters of the demo, in order, with the time that each took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sagestack.cli import cdk_tools, endpoint, held_out, local_cloud, promotion, registry, report
from sagestack.cli.commands import run
from sagestack.cli.commands.cloud import runner_words
from sagestack.cli.commands.deploy import run_deployment
from sagestack.cli.errors import CliError
from sagestack.cli.stuck_stacks import refuse_stuck
from sagestack.settings import LOCAL, load_model

if TYPE_CHECKING:
    from sagestack.cli.options import State

CHAPTERS = 7


class Story:
    """What `make demo` does: nothing that a person could not do with the commands it names."""

    def __init__(self, state: State, model: str) -> None:
        self.number = 0
        self._state = state
        self._out = state.output
        self._model = model
        self._seconds: dict[str, float] = {}

    def tell(self, port: int | None, clock_factor: float | None = None) -> dict[str, Any]:
        """Goes the whole way and returns the report for scripts.

        Raises:
            CliError: a chapter failed.
        """
        began = time.monotonic()
        root = self._state.root
        tools = cdk_tools.check_tools(root)
        with self._chapter("The local cloud", "sagestack up"):
            cloud, is_new = local_cloud.start(
                root, port, lambda: self._out.say("  Starting it"), clock_factor=clock_factor
            )
            what = "It answers" if is_new else "It already runs"
            self._out.say(f"  {what} at {cloud.endpoint_url}; jobs run as {runner_words(cloud)}")
        session = self._state.connect(LOCAL)
        with self._chapter("The stacks, by the CDK CLI", "sagestack deploy"):
            refuse_stuck(session)
            self._drop_missing_pins()
            run_deployment(self._state.connect(LOCAL), tools, "never", self._out)
        with self._chapter("The pipeline: data in, a registered model out", "sagestack run"):
            sample = load_model(self._model, root).data_file
            arn = run.start(session, self._model, sample, {}, self._out)
            execution = run.watch(session, self._model, arn, self._out)
            number = run.outcome(session, self._model, execution, self._out)["version"]
            if number is None:
                raise CliError(f"Execution {execution.id} succeeded but registered no version.")
        with self._chapter("The approval", f"sagestack approve {number}"):
            version = registry.find(session, registry.group_name(session, self._model), number)
            metrics = registry.metrics(session, version)
            registry.decide(session, version, "Approved", "by the demo")
            self._out.say(f"  Version {number} is approved: {report.metrics_line(metrics)}")
        with self._chapter("The pin", f"sagestack promote {number}"):
            pinned = promotion.promote(self._state.connect(LOCAL), self._model, number)
            self._out.say(f"  {pinned.file.relative_to(root).as_posix()} names version {number} now")
        with self._chapter("The endpoint", "sagestack deploy"):
            session = self._state.connect(LOCAL)
            run_deployment(session, tools, "never", self._out)
            served = endpoint.wait_in_service(session, endpoint.name(session, self._model))
            if served.versions != (number,):
                # None: who runs the demo may look at everything, so that is no version either.
                found = ", ".join(map(str, served.versions or ())) or "none that can be seen"
                raise CliError(f"Endpoint {served.name} is in service with version {found}, not with version {number}.")
            self._out.say(f"  {served.name} is in service with version {number}")
        with self._chapter("The held-out rows", "sagestack invoke"):
            rows = held_out.load(session, execution.arn)
            predictions = held_out.predict(session, served.name, rows)
            rmse = held_out.rmse(rows.labels, predictions)
            self._out.say(f"  {len(predictions)} rows that training has not seen, answered by the endpoint")
        seconds = time.monotonic() - began
        self._show_report(cloud, served.name, number, len(predictions), rmse, metrics, seconds)
        return {
            "model": self._model,
            "rmse": rmse,
            "rows": len(predictions),
            "version": number,
            "metrics": metrics,
            "endpoint": served.name,
            "endpoint_url": cloud.endpoint_url,
            "runner": cloud.runner,
            "execution_arn": execution.arn,
            "seconds": round(seconds, 1),
            "step_seconds": self._seconds,
        }

    def _drop_missing_pins(self) -> None:
        """A local cloud that starts empty has not the versions that an earlier one had."""
        session = self._state.connect(LOCAL)
        for model, number in promotion.missing_pins(session).items():
            promotion.pin(session, model, None)
            self._out.say(f"  The local cloud does not have version {number} of {model}: its pin was taken out")

    def _show_report(
        self,
        cloud: local_cloud.LocalCloud,
        name: str,
        number: int,
        rows: int,
        rmse: float,
        metrics: dict[str, float],
        seconds: float,
    ) -> None:
        self._out.say("")
        self._out.show(
            report.panel(
                f"{self._model} is served",
                {
                    "RMSE": f"{rmse:.4g} on {rows} held-out rows, asked of the endpoint",
                    "Registered": f"version {number}: {report.metrics_line(metrics)}",
                    "Endpoint": name,
                    "Cloud": f"{cloud.endpoint_url}, jobs run as {runner_words(cloud)}",
                    "Took": report.duration(seconds),
                    "Look": "sagestack status, sagestack logs, sagestack invoke (in .venv/bin)",
                    "AWS clients": 'eval "$(.venv/bin/sagestack env)"',
                    "Stop": "make down",
                },
            )
        )

    @contextlib.contextmanager
    def _chapter(self, title: str, command: str) -> Iterator[None]:
        self.number += 1
        self._out.say(f"[{self.number}/{CHAPTERS}] {title} ({command})", style="bold")
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self._seconds[title] = round(seconds, 1)
        self._out.say(f"  {report.duration(seconds)}", style="dim")
