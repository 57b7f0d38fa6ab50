"""What tests do not take over from the shell or the hook that starts them: accounts, repositories, terminals, ignored signals."""

from __future__ import annotations

import signal
from collections.abc import MutableMapping

from sagestack.cli.proxies import loopback_directly

NO_ENGINE = "unix:///no/docker.sock"
_ELSEWHERE = (
    "CDK_DEFAULT_ACCOUNT",
    "CDK_DEFAULT_REGION",
    # A hook of git runs its commands with these, and they win over the folder in which git is called.
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
    # Tables and errors are compared as they are without a terminal.
    "CLICOLOR_FORCE",
    "COLUMNS",
    "FORCE_COLOR",
    "LINES",
)


def forget(environment: MutableMapping[str, str]) -> None:
    """Take from an environment what names somebody's account, repository or terminal, and let no proxy of theirs come between us
    and our own servers."""
    for name in [name for name in environment if name.startswith("AWS_") or name in _ELSEWHERE]:
        del environment[name]
    environment.update(loopback_directly(environment))


def hear_interrupts() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and every program that a test starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hide_container_engine(environment: MutableMapping[str, str]) -> None:
    """Jobs and endpoints run as processes, as where no engine answers: containers are for tests that ask for them."""
    environment["DOCKER_HOST"] = NO_ENGINE
