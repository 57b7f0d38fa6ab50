"""The hosts of a training job: which they are, which one this is, and where the others are found.

Source: "How Amazon SageMaker AI Provides Training Information", the section on `resourceconfig.json`, in the Amazon
SageMaker AI Developer Guide. It also warns that a host's name may not resolve yet when a container starts.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...contract import AlgorithmError, Paths, UserError, read_config

ADDRESSES = "SAGEMAKER_HOST_ADDRESSES"
PORT = "SAGEMAKER_HOSTS_PORT"
CONNECT_SECONDS = "SAGEMAKER_HOSTS_CONNECT_SECONDS"
SILENCE_SECONDS = "SAGEMAKER_HOSTS_SILENCE_SECONDS"

DEFAULT_PORT = 9099  # the one that SageMaker's own XGBoost container meets on: what lets it through, lets us
DEFAULT_CONNECT_SECONDS = 900.0  # hosts of one job start minutes apart: each has its own image and data to fetch
DEFAULT_SILENCE_SECONDS = 60.0  # far above the longest that parsing one piece of a file keeps a host from answering


@dataclass(frozen=True)
class Hosts:
    """The hosts that one training job runs on.

    Attributes:
        current: the name of this host.
        all: every host by name, in sorted order, so that each host has the same list. The first one leads.
        addresses: where hosts are found, for names that do not resolve: several processes on one machine.
        port: where the leader listens, on its own address.
        connect_seconds: how long to wait for a host's name, and then for the host.
        silence_seconds: how long a host may say nothing before it counts as lost.
    """

    current: str = "algo-1"
    all: tuple[str, ...] = ("algo-1",)
    addresses: Mapping[str, str] = field(default_factory=dict)
    port: int = DEFAULT_PORT
    connect_seconds: float = DEFAULT_CONNECT_SECONDS
    silence_seconds: float = DEFAULT_SILENCE_SECONDS

    @classmethod
    def read(cls, paths: Paths, environment: Mapping[str, str] | None = None) -> Hosts:
        """The hosts in `resourceconfig.json`. Without the file, as on a laptop, there is this one host.

        Environment variables change what SageMaker does not tell: SAGEMAKER_HOST_ADDRESSES (a JSON object, host to IPv4
        address), SAGEMAKER_HOSTS_PORT, SAGEMAKER_HOSTS_CONNECT_SECONDS, SAGEMAKER_HOSTS_SILENCE_SECONDS.

        Raises:
            UserError: the file or a variable is not what it must be.
        """
        environment = os.environ if environment is None else environment
        file = paths.config / "resourceconfig.json"
        config = read_config(file)
        if config is None:
            return cls()
        names = config.get("hosts")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise UserError(f'{file}: "hosts" must be a list of host names such as ["algo-1"], got {names!r}')
        if len(set(names)) < len(names):
            raise UserError(f'{file}: "hosts" names a host twice: {names!r}')
        current = config.get("current_host")
        if current not in names:
            raise UserError(f'{file}: "current_host" must be one of the hosts {names!r}, got {current!r}')
        return cls(
            current=str(current),
            all=tuple(sorted(names)),
            addresses=_addresses(environment.get(ADDRESSES), names) if len(names) > 1 else {},
            port=int(_number(environment, PORT, DEFAULT_PORT, 1, 65535)),
            connect_seconds=_number(environment, CONNECT_SECONDS, DEFAULT_CONNECT_SECONDS, 1, 86400),
            silence_seconds=_number(environment, SILENCE_SECONDS, DEFAULT_SILENCE_SECONDS, 1, 3600),
        )

    @property
    def leader(self) -> str:
        """The host that all others connect to."""
        return self.all[0]

    @property
    def is_leader(self) -> bool:
        return self.current == self.leader

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(name for name in self.all if name != self.current)

    def address(self, name: str) -> str:
        """The IPv4 address of a host, once its name resolves.

        Raises:
            AlgorithmError: it did not within `connect_seconds`.
        """
        if name in self.addresses:
            return self.addresses[name]
        deadline = time.monotonic() + self.connect_seconds
        pause = 0.1
        while True:
            try:
                return socket.gethostbyname(name)
            except OSError as error:
                if time.monotonic() + pause > deadline:
                    raise AlgorithmError(
                        f"host {name} was lost before it began: its name did not resolve within "
                        f"{self.connect_seconds:g} seconds ({error}). Where hosts have no names, set {ADDRESSES}"
                    ) from error
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


def _addresses(text: str | None, names: list[str]) -> dict[str, str]:
    if not text:
        return {}
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise UserError(f"{ADDRESSES}: not valid JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) and value for value in content.values()):
        raise UserError(f'{ADDRESSES}: must be a JSON object such as {{"algo-1": "10.0.0.1"}}, got {text}')
    missing = sorted(set(names) - set(content))
    if missing:
        raise UserError(
            f"{ADDRESSES}: has no address for {', '.join(missing)}: give one for every host, or set it not at all"
        )
    return content


def _number(environment: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise UserError(f"{name} must be a number between {low:g} and {high:g}, got {text!r}")
    return value
