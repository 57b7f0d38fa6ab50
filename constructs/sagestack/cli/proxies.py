"""A company's proxy does not know this machine's loopback address, so what speaks to the local cloud must not take it."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.cli.ports import HOST

# npm's own as well: the CDK CLI takes them before the others (https://github.com/Rob--W/proxy-from-env).
_PROXIES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "npm_config_proxy",
    "npm_config_http_proxy",
    "npm_config_https_proxy",
)
_EXCEPTIONS, _NPM_EXCEPTIONS = ("no_proxy", "NO_PROXY"), ("npm_config_no_proxy", "NPM_CONFIG_NO_PROXY")
_LOOPBACK = (HOST, "localhost")
_ALL = "*"


def loopback_directly(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with which programs that find a proxy in an environment ask loopback addresses without it.

    The exceptions that it has stay. Both spellings are set: Python and curl prefer the one in lower case, Go the other one.

    Returns:
        Nothing where the environment names no proxy.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    either = next(filter(None, map(environment.get, _EXCEPTIONS)), "")
    said = {name: environment.get(name) or either for name in _EXCEPTIONS}
    said |= {name: environment[name] for name in _NPM_EXCEPTIONS if environment.get(name)}
    return {name: _with_loopback(exceptions) for name, exceptions in said.items()}


def _with_loopback(exceptions: str) -> str:
    hosts = [host.strip() for host in exceptions.split(",") if host.strip()]
    # Everything, but only while nothing else is said.
    return _ALL if hosts == [_ALL] else ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))
