"""A company's proxy does not know this machine's loopback address, so what speaks to the local cloud must not take it."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.cli.ports import HOST

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_EXCEPTIONS = ("no_proxy", "NO_PROXY")
_LOOPBACK = (HOST, "localhost")


def loopback_directly(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with which programs that find a proxy in an environment ask loopback addresses without it.

    The exceptions that it has stay. Both spellings are set to the same: Python and curl prefer the one in lower case, others not.

    Returns:
        Nothing where the environment names no proxy.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    said = next(filter(None, map(environment.get, _EXCEPTIONS)), "")
    hosts = [host.strip() for host in said.split(",") if host.strip()]
    return dict.fromkeys(_EXCEPTIONS, ",".join(dict.fromkeys([*hosts, *_LOOPBACK])))
