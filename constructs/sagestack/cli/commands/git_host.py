"""`sagestack git-host`: GitHub's part in the project, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sagestack.cli import local_git
from sagestack.cli.errors import CliError
from sagestack.cli.options import state_of
from sagestack.cli.ports import refuse_taken

FOLDER = ".git-host"
PORT = 4580


def git_host(
    context: typer.Context,
    repository: Annotated[
        Path | None,
        typer.Option(
            "--repository",
            metavar="DIR.git",
            help="A bare repository; made from the project where there is none. Default: .git-host/NAME.git in the project.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", "-p", min=0, max=65535, metavar="N", help="The loopback port; 0 for any that is free."),
    ] = PORT,
) -> None:
    """Serve a bare git repository as GitHub does, as far as the project needs it.

    Runs until Ctrl-C and listens on this machine only. Approvals, promotions and comments work against it unchanged; git clones
    and pushes over HTTP or by the repository's path. Pull requests are kept beside the repository, in DIR.git.host.

    Examples:
    [cyan]sagestack git-host[/cyan]
    [cyan]sagestack git-host --repository ~/platform.git --port 4581[/cyan]
    """
    from sagestack.settings.delivery import load_delivery

    state = state_of(context)
    out = state.output
    settings = load_delivery(state.root).repository
    if settings.host != "github":
        raise CliError(
            f"delivery.yaml names a repository on {settings.host}; the local git host speaks GitHub's API alone.",
            hint="To try it, write repository.host: github on a branch of your own.",
        )
    local_git.ensure_git()
    if port:
        try:
            refuse_taken(port)
        except CliError as error:
            # Its hint is for the local cloud.
            raise CliError(
                error.message,
                hint="Choose another: sagestack git-host --port N",
                code=error.code,
                details=error.details,
            ) from error
    path = (repository or state.root / FOLDER / f"{settings.name.split('/')[-1]}.git").expanduser().absolute()
    if local_git.ensure_repository(state.root, path, settings.branch):
        out.say(f"Made {path} from what the project has committed; {settings.branch} is what is checked out.")
        if local_git.has_uncommitted_changes(state.root):
            out.warn("What is not committed in the project is not in there.")
    out.say(f"Serving {path}. Ctrl-C ends it; nothing is lost.")
    address = f"http://127.0.0.1:{port or 'PORT'}"
    out.say(f"For approvals: git.api_url {address} in the environment's file, and the token in its secret.")
    local_git.serve(path, settings.name, settings.branch, port)
