"""Environment variables of the user's own: in kernels, in terminals and in all steps."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step

_SECRET = re.compile(r"SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY", re.IGNORECASE)


def steps(option: Mapping[str, str], context: LifecycleContext) -> tuple[Step, ...]:
    """None: the runner sets the variables of all options before it runs the first step."""
    return ()


def environment(option: Mapping[str, str], context: LifecycleContext) -> Mapping[str, str]:
    return option


def like_secrets(option: Mapping[str, str]) -> list[str]:
    """The names that look as if their values were secret, which everybody sees who may read the template.

    A variable that says where a secret is (`..._ARN`, `..._NAME`, `..._URL`) is what one should have instead.
    """
    return [name for name in option if _SECRET.search(name) and not name.upper().endswith(("_ARN", "_NAME", "_URL"))]
