"""The way out through a proxy, and what must never take it: the instance's own metadata and what is in its network."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.settings.workbench.lifecycle import Proxy
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step

_NEVER = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "169.254.170.2", "fd00:ec2::254")
"""This machine, and where it gets its metadata and the credentials of its role from."""


def steps(option: Proxy, context: LifecycleContext) -> tuple[Step, ...]:
    """None: it is variables alone, which pip, conda, git, curl, boto3 and the AWS CLI all read."""
    return ()


def environment(option: Proxy, context: LifecycleContext) -> Mapping[str, str]:
    """Each in both spellings: curl reads `http_proxy` in lower case alone, others either."""
    exceptions = [*_NEVER, *(each for each in option.no_proxy if each not in _NEVER)]
    values = {"http_proxy": option.http, "https_proxy": option.https, "no_proxy": ",".join(exceptions)}
    both = {key: value for key, value in values.items() if value is not None}
    return {**both, **{key.upper(): value for key, value in both.items()}}
