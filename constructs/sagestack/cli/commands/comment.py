"""`sagestack comment`: the review where people look for it, on the pull request, once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagestack.cli.errors import CliError
from sagestack.cli.options import JsonOption, state_of

if TYPE_CHECKING:
    from functions.version_pin.git_hosts import Comment, GitHost

MAX_CHARACTERS = 65_536
"""Of a comment on GitHub: "Body is too long (maximum is 65536 characters)"."""


def comment(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Markdown; `-` reads stdin.")],
    pull_request: Annotated[
        int | None,
        typer.Option(
            "--pull-request",
            min=1,
            metavar="N",
            help="Its number. Default: the one that CI runs for.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Put a review on a pull request, in the place of the one before.

    There is one comment of this kind on a pull request, however often this is run. The repository is that of delivery.yaml, and
    the token that of GITHUB_TOKEN, GITLAB_TOKEN or BITBUCKET_TOKEN (SAGESTACK_GIT_TOKEN wins over them).

    Examples:
    [cyan]sagestack comment cdk.out/review/review.md[/cyan]
    [cyan]sagestack comment review.md --pull-request 12[/cyan]
    """
    from sagestack.cli import ci
    from sagestack.cli.hosted_repository import open_repository

    state = state_of(context)
    out = state.output
    written = _read(file)
    hosted = open_repository(state.root)
    text = _checked(written, file, hosted.kind)
    number = pull_request or ci.pull_request(hosted.kind)
    if number is None:
        raise CliError(
            "Which pull request? Nothing here says that CI runs for one.",
            hint="Add --pull-request N.",
            code="usage",
        )
    outcome, said = hosted.ask(lambda: put(hosted.host, number, text))
    words = {"created": "is there", "replaced": "took the place of the one before", "unchanged": "was there already"}
    where = said.address or f"pull request {number}"
    out.say(f"The review {words[outcome]}: {where}")
    out.result({"pull_request": number, "outcome": outcome, "address": said.address or None})


def put(host: GitHost, number: int, text: str) -> tuple[str, Comment]:
    """Make the comment, or replace the one of an earlier run; never somebody else's, even where they quote the marker.

    Raises:
        HostError: the host refused.
    """
    from sagestack.review.render.markdown import MARKERS

    author = host.author()
    ours = [
        each
        for each in host.comments(number)
        if each.text.lstrip().startswith(MARKERS) and (each.is_by_app if author is None else each.author == author)
    ]
    if not ours:
        return "created", host.add_comment(number, text)
    latest = ours[-1]
    # Hosts keep a comment without the line end that a file has, or with other ones.
    if latest.text.replace("\r\n", "\n").strip() == text.strip():
        return "unchanged", latest
    return "replaced", host.replace_comment(number, latest, text)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CliError(f"{file} is not text in UTF-8.", code="usage") from None
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}.", code="not-found") from error


def _checked(text: str, file: str, kind: str) -> str:
    from sagestack.review.render.markdown import MARKER, MARKER_WITHOUT_HTML, MARKERS, shows_html

    if not text.strip():
        raise CliError(f"{file} is empty: there is nothing to say.", code="usage")
    if not text.lstrip().startswith(MARKERS):
        # An empty line between, as what follows the definition of a link could be read as a part of it.
        text = f"{MARKER}\n{text}" if shows_html(kind) else f"{MARKER_WITHOUT_HTML}\n\n{text}"
    if len(text) > MAX_CHARACTERS:
        raise CliError(
            f"{file} has {len(text):,} characters; a comment may have {MAX_CHARACTERS:,}.",
            hint="`sagestack review --format markdown` stays below; put a longer text into an artefact of the run and link it.",
        )
    return text
