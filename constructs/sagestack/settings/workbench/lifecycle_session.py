"""What an instance does about people at work, and what every program on it finds: stopping, variables, proxy, scripts."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit

_OWNED_ELSEWHERE = {
    # A change of these breaks JupyterLab, conda or the login of people.
    **dict.fromkeys(
        [
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "PWD",
            "OLDPWD",
            "IFS",
            "ENV",
            "BASH_ENV",
            "BASHOPTS",
            "SHELLOPTS",
        ],
        "the system sets it",
    ),
    **dict.fromkeys(["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"], "it changes what every program of root's loads"),
    **dict.fromkeys(
        ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"], "it changes every Python, JupyterLab's own included"
    ),
    # The instance's role gives credentials, which expire; these would hide them.
    **dict.fromkeys(
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
        "the instance's role gives credentials; keys in a template are read by everybody who may read it",
    ),
    **dict.fromkeys(["AWS_REGION", "AWS_DEFAULT_REGION"], "the environment's region is set already"),
    **dict.fromkeys(
        ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"], "say proxy: instead"
    ),
    "AWS_USE_FIPS_ENDPOINT": "say fips: true instead",
}
_OWNED_PREFIXES = ("SAGESTACK_", "JUPYTER_", "JPY_", "CONDA_", "SUDO_")


def _no_others_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        raise ValueError(
            f"{name!r} is no name of a variable (allowed: letters, digits and _, no digit first, up to 128)"
        )
    why = _OWNED_ELSEWHERE.get(name)
    if why is None and name.upper().startswith(_OWNED_PREFIXES):
        why = f"names with {', '.join(_OWNED_PREFIXES)} belong to the platform"
    if why is not None:
        raise ValueError(f"{name} cannot be set here: {why}")
    return name


def _one_line(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError(f"{text!r} does not fit (allowed: one line, without tabs and other control characters)")
    return text


def _real_port(url: str) -> str:
    try:
        port = urlsplit(url).port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from error
    if port == 0:
        raise ValueError(f"{url!r} is no address: nothing listens at port 0")
    return url


VariableName = Annotated[str, AfterValidator(_no_others_variable), Allowed("the name of an environment variable")]
VariableValue = Annotated[
    str, Field(max_length=1024), AfterValidator(_one_line), Allowed("one line of text in quotes, up to 1024 characters")
]
ProxyUrl = Annotated[
    str,
    Field(pattern=r"^https?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?/?$"),
    AfterValidator(_real_port),
    Allowed("http://host:port, without a user or a password: templates are read by many"),
]
NotProxied = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9.:*/_-]+$", max_length=253),
    Allowed("a host, a domain with a dot before it (.example.org), an address or a block of addresses"),
]


class AutoStop(Settings):
    """Stops the instance when nobody and nothing works on it: what counts is in docs/how-to/stop-idle-notebooks.md.

    `open_tab_minutes` is how long a browser that has a notebook open holds the instance at most while nothing happens in it: a
    notebook that is read is worked with, one that was forgotten on Friday is not. 0, or anything up to `idle_minutes`: an open
    tab counts for nothing. The two thresholds are of one process each: what is below them is the noise of servers that wait.
    """

    idle_minutes: Annotated[int, Field(ge=5, le=7 * 24 * 60), Allowed("a whole number of minutes, 5 to 10080")] = 60
    warn_minutes: Annotated[int, Field(ge=0, le=60), Allowed("a whole number of minutes before the stop, 0 to 60")] = 5
    opt_out_hours: Annotated[int, Field(ge=0, le=72), Allowed("how long an opt-out holds at most, 0 to 72 hours")] = 12
    open_tab_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60), Allowed("a whole number of minutes, 0 to 10080")] = (
        120
    )
    cpu_percent: Annotated[
        int, Field(ge=1, le=100), Allowed("percent of one processor from which a process works, 1 to 100")
    ] = 10
    transfer_kilobytes_per_second: Annotated[
        int, Field(ge=1, le=1_000_000), Allowed("kB/s from which a process transfers, 1 to 1000000")
    ] = 50

    @model_validator(mode="after")
    def _warned_while_idle(self) -> AutoStop:
        if self.warn_minutes >= self.idle_minutes:
            raise Misfit(
                (
                    ("warn_minutes",),
                    f"{self.warn_minutes} does not fit idle_minutes: {self.idle_minutes}: people would be warned of a stop"
                    " before anything was idle; choose fewer minutes",
                )
            )
        return self


class Proxy(Settings):
    """The way out of the network, where it is a proxy. What must never take it is added to `no_proxy` by itself."""

    http: Annotated[ProxyUrl | None, Allowed("http://host:port without a user or a password, or null")] = None
    https: Annotated[ProxyUrl | None, Allowed("http://host:port without a user or a password, or null")] = None
    no_proxy: Annotated[list[NotProxied], Field(max_length=100), Allowed("hosts and domains, up to 100")] = []

    @model_validator(mode="after")
    def _one_is_said(self) -> Proxy:
        if self.http is None and self.https is None:
            raise ValueError("proxy: say http or https (or both), or leave proxy out")
        return self


class Script(Settings):
    """A bash script of the user's own, which becomes a step like any other."""

    name: Annotated[
        str,
        Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40),
        Allowed("lower-case letters, digits and single hyphens, at most 40 characters"),
    ]
    file: Annotated[
        str,
        Field(pattern=r"^(\w[\w. -]*/)*\w[\w. -]*\.sh$"),
        Allowed("the path of a .sh file in the project, from its root"),
    ]
    hook: Annotated[Literal["create", "start"], Allowed("create (once) or start (each time)")] = "start"
    background: Annotated[bool, Allowed("true or false")] = True
    """In the background by default: what waits for the network would else take from the five minutes that a start may take."""
    user: Annotated[Literal["ec2-user", "root"], Allowed("ec2-user or root")] = "ec2-user"
    required: Annotated[bool, Allowed("true or false")] = False
    """Whether the instance must not start without it. SageMaker then says Failed, with the last line as the reason."""
    timeout_minutes: Annotated[
        int | None, Field(ge=1, le=24 * 60), Allowed("a whole number of minutes, 1 to 1440, or null")
    ] = None
    """After which it is ended; null: one minute in the foreground, six hours in the background."""

    @model_validator(mode="after")
    def _fits_its_place(self) -> Script:
        if self.required and self.background:
            raise Misfit(
                (
                    ("required",),
                    "true does not fit background: true: the instance is in service before the script has ended; write"
                    " background: false (and keep it to seconds)",
                )
            )
        if not self.background and self.timeout_minutes is not None and self.timeout_minutes > 3:
            raise Misfit(
                (
                    ("timeout_minutes",),
                    f"{self.timeout_minutes} does not fit background: false: SageMaker gives all of a hook five minutes"
                    " together; write at most 3, or background: true",
                )
            )
        return self
