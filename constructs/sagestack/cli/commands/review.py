"""`sagestack review`: what a change would do to the environments, before anybody does it."""

from __future__ import annotations

import json as json_module
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagestack.cli.errors import CliError
from sagestack.cli.options import JsonOption, state_of

if TYPE_CHECKING:
    from sagestack.cli.output import Output
    from sagestack.review.results import Review
    from sagestack.settings.delivery import Delivery
    from sagestack.settings.review_conditions import Condition

NEEDS_A_HUMAN = 3
"""The exit code that says: the review is complete, and a condition of `--fail-on` is met."""
_STDOUT = "-"


class ReviewFormat(StrEnum):
    """What the review is written as; the file is `review.` and the ending."""

    html = "html"
    markdown = "markdown"
    json = "json"
    sarif = "sarif"


def _format(text: str) -> ReviewFormat:
    from sagestack.settings.errors import suggestion

    try:
        return ReviewFormat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a format{suggestion(text, map(str, ReviewFormat))} (allowed: {', '.join(ReviewFormat)})."
        ) from None


_ENDINGS = {ReviewFormat.markdown: "md"}


def review(
    context: typer.Context,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "-b",
            metavar="REF",
            help="What it is compared with: a ref of git, of which the merge base counts, as in a pull request; or a folder that "
            "`cdk synth` wrote. Default: origin/main, or the branch that delivery.yaml names.",
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="REF",
            help="What is reviewed: a ref of git, or a folder as for --base. Default: the working tree as it is.",
        ),
    ] = None,
    environments: Annotated[
        list[str] | None,
        typer.Option(
            "--env", "-e", metavar="ENV", help="An environment; may be given several times. Default: all of both sides."
        ),
    ] = None,
    formats: Annotated[
        list[ReviewFormat] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(ReviewFormat),
            parser=_format,
            help="What to write; may be given several times. Default: html.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The folder for review.html, .md, .json and .sarif; `-` with one format for stdout. Default: cdk.out/review.",
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="CONDITIONS",
            help="What ends it with exit code 3, with commas between, or `never`. Default: review.fail_on of "
            "delivery.yaml, on both sides.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what a change would do: what is replaced or lost, newly allowed, dearer, and which rules it breaks.

    Synthesizes both sides of every environment, with no credentials and without touching your files.
    Exit code 0: nothing needs a human. 3: a condition of [bold]--fail-on[/bold] is met. 1: an error.

    Examples:
    [cyan]sagestack review --base origin/main[/cyan]
    [cyan]sagestack review --base v1.4 --env prod --format markdown --output -[/cyan]
    [cyan]sagestack review --fail-on 'data-loss,public-access,cost>50'[/cyan]
    """
    state = state_of(context)
    out = state.output
    wanted = list(dict.fromkeys(formats or [ReviewFormat.html]))
    to_stdout = output == _STDOUT
    if to_stdout and (len(wanted) > 1 or out.is_json):
        raise typer.BadParameter("`--output -` takes one --format, and no --json beside it.")
    conditions = _conditions(fail_on)
    # Minutes before it would be found out by itself that this file is wrong.
    delivery = _delivery(state.root)
    folder = state.root / "cdk.out" / "review" if output is None else Path(output)
    if not to_stdout:
        _check_writable(folder)

    from sagestack.cli.report import Activity, duration
    from sagestack.review import run
    from sagestack.review.render.markdown import shows_html

    is_folding = delivery is None or shows_html(delivery.repository.host)
    # What goes to stdout may be read by a program, so nobody is told anything there.
    quiet = to_stdout or out.is_json
    with Activity(out, "Reading both sides") as activity:
        if to_stdout:
            activity.stop()
        outcome = run.run_review(
            state.root,
            base or f"origin/{delivery.repository.branch if delivery else 'main'}",
            head,
            environments or (),
            conditions,
            (lambda _text: None) if to_stdout else activity.update,
        )
        activity.update("Writing")
        documents = {each: _document(each, outcome.review, is_folding) for each in wanted}
    found = outcome.review
    if to_stdout:
        sys.stdout.write(documents[wanted[0]])
    else:
        files = _write(folder, {f"review.{_ENDINGS.get(each, each)}": text for each, text in documents.items()})
        if not quiet:
            _show(out, found)
            for file in files:
                out.say(f"{file}")
            made, reused = outcome.synthesized, outcome.reused
            out.say(f"Synthesized {made}, reused {reused}, in {duration(outcome.seconds)}.", style="dim")
        elif out.is_json:
            out.result(_as_json(found))
    if found.needs_a_human:
        raise typer.Exit(NEEDS_A_HUMAN)


def _conditions(written: str | None) -> Sequence[Condition] | None:
    """None for those of delivery.yaml, which only the sides of the change can tell."""
    from sagestack.settings.review_conditions import ConditionError, parse_conditions

    if written is None:
        return None
    try:
        return parse_conditions(written)
    except ConditionError as error:
        raise typer.BadParameter(f"--fail-on: {error}") from None


def _delivery(root: Path) -> Delivery | None:
    from sagestack.settings.delivery import FILE, load_delivery

    return load_delivery(root) if (root / FILE).exists() else None


def _check_writable(folder: Path) -> None:
    """Refuses before minutes are spent; makes nothing."""
    nearest = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not nearest.is_dir():
        raise CliError(f"--output: {nearest} is not a folder.", hint="Choose another: --output DIR.", code="usage")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise CliError(
            f"--output: {nearest} cannot be written to.", hint="Choose another: --output DIR.", code="set-up"
        )


def _document(wanted: ReviewFormat, found: Review, is_folding: bool) -> str:
    # Each has its own imports, and most reviews want one or two.
    if wanted is ReviewFormat.html:
        from sagestack.review.render.html import to_html

        return to_html(found)
    if wanted is ReviewFormat.markdown:
        from sagestack.review.render.markdown import to_markdown

        return to_markdown(found, folding=is_folding)
    if wanted is ReviewFormat.sarif:
        from sagestack.review.render.sarif import to_sarif

        return json_module.dumps(to_sarif(found), indent=2) + "\n"
    return json_module.dumps(_as_json(found), indent=2) + "\n"


def _as_json(found: Review) -> dict[str, object]:
    from sagestack.review.render.document import to_json

    return to_json(found)


def _show(out: Output, found: Review) -> None:
    from sagestack.review.render.terminal import summary

    summary(found, out)


def _write(folder: Path, documents: Mapping[str, str]) -> list[Path]:
    """Writes files that are whole or not there: each under another name first, and renamed when all of them are."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".review-", dir=folder) as beside:
        for name, text in documents.items():
            (Path(beside) / name).write_text(text, encoding="utf-8")
        for name in documents:
            (Path(beside) / name).replace(folder / name)
    return [folder / name for name in documents]
