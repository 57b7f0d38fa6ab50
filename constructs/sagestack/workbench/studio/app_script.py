"""Composes what runs when an app of Studio starts, from options."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sagestack.settings.workbench.lifecycle_session import Proxy
from sagestack.settings.workbench.studio import StudioLifecycleConfig
from sagestack.workbench.lifecycle.steps import program

_SCRIPT = Path(__file__).parent / "scripts" / "app-start.sh"
_NEVER_PROXIED = ("localhost", "127.0.0.1", "169.254.169.254", "169.254.170.2", ".amazonaws.com")
"""The app itself, its credentials, and AWS, which the workbench's network reaches by its own endpoints."""


_END = "SAGESTACK_PROGRAM"
"""Ends a program in the script, where quotes would have to be written otherwise."""


@dataclass(frozen=True)
class Examples:
    """The example notebooks.

    Attributes:
        url: `s3://...` of their archive; may be a token.
        environment: whose names they look up.
    """

    url: str
    environment: str


def app_script(config: StudioLifecycleConfig, examples: Examples | None = None) -> str:
    """The script: what was asked for as assignments, and below them what does it.

    Args:
        config: what was asked for.
        examples: where they are.

    Raises:
        ValueError: examples are asked for, and nobody said where they are.
    """
    if config.examples and examples is None:
        raise ValueError("examples: there is no archive of example notebooks to copy from")
    copied = examples if config.examples else None
    variables = {
        **_proxy_variables(config.proxy),
        # Whose role it is tells them the rest.
        **({"SAGESTACK_ENVIRONMENT": copied.environment} if copied else {}),
        **config.environment_variables,
    }
    assigned = {
        # What was chosen runs last, and has the last word.
        "SAGESTACK_ORDER": "1-always" if config.always else "2-chosen",
        "SAGESTACK_EXPORTS": "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        "SAGESTACK_VARIABLES": json.dumps(variables, sort_keys=True) if variables else "",
        "SAGESTACK_GIT_USER_NAME": config.git.user_name if config.git else "",
        "SAGESTACK_GIT_USER_EMAIL": config.git.user_email if config.git else "",
        "SAGESTACK_PACKAGES": " ".join(config.packages),
        "SAGESTACK_EXAMPLES_URL": copied.url if copied else "",
    }
    shebang, _, rest = _text().partition("\n")
    lines = [f"{name}={shlex.quote(value)}" for name, value in assigned.items() if value]
    if copied:
        lines.append(f"SAGESTACK_COPY_EXAMPLES=$(cat <<'{_END}'\n{program('copy_examples.py')}{_END}\n)")
    return "\n".join([shebang, *lines, rest])


def _proxy_variables(proxy: Proxy | None) -> dict[str, str]:
    if proxy is None:
        return {}
    found = {"http_proxy": proxy.http, "https_proxy": proxy.https}
    excepted = ",".join(dict.fromkeys([*_NEVER_PROXIED, *proxy.no_proxy]))
    lower = {**{name: url for name, url in found.items() if url is not None}, "no_proxy": excepted}
    # Some programs read the one, some the other.
    return {**lower, **{name.upper(): value for name, value in lower.items()}}


@cache
def _text() -> str:
    return _SCRIPT.read_text(encoding="utf-8")
