"""Composes what runs when an app of Studio starts, from options."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path

from sagestack.settings.workbench.lifecycle_session import Proxy
from sagestack.settings.workbench.studio import StudioLifecycleConfig

_SCRIPT = Path(__file__).parent / "scripts" / "app-start.sh"
_NEVER_PROXIED = ("localhost", "127.0.0.1", "169.254.169.254", "169.254.170.2", ".amazonaws.com")
"""The app itself, its credentials, and AWS, which the workbench's network reaches by its own endpoints."""


def app_script(config: StudioLifecycleConfig) -> str:
    """The script: what was asked for as assignments, and below them what does it."""
    variables = {**_proxy_variables(config.proxy), **config.environment_variables}
    assigned = {
        "SAGESTACK_EXPORTS": "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        "SAGESTACK_VARIABLES": json.dumps(variables, sort_keys=True) if variables else "",
        "SAGESTACK_GIT_USER_NAME": config.git.user_name if config.git else "",
        "SAGESTACK_GIT_USER_EMAIL": config.git.user_email if config.git else "",
        "SAGESTACK_PACKAGES": " ".join(config.packages),
    }
    shebang, _, rest = _text().partition("\n")
    lines = [f"{name}={shlex.quote(value)}" for name, value in assigned.items() if value]
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
