"""What holds for every test: the layout is right, CDK's own validation is off, slow kinds are asked for by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before aws_cdk: where a folder of ours hides what it needs, this import fails and says which, and the cure.
import sagestack.layout  # noqa: F401

from tests.local_cloud_fixtures import cloud, own_cloud  # noqa: F401

if TYPE_CHECKING:
    from tests.synthesis import Templates

# CDK's validation of templates starts an engine, seconds per process. tests/test_app.py has it on, once.
os.environ.setdefault("CDK_VALIDATION", "false")

_ON_REQUEST = {"container": "--run-container", "sdk": "--run-sdk"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-container", action="store_true", help="run the tests that need a container engine")
    parser.addoption("--run-sdk", action="store_true", help="run the tests that need the SageMaker SDK")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects what nobody asked for. What was asked for runs: it is never skipped."""
    unwanted = {marker for marker, option in _ON_REQUEST.items() if not config.getoption(option)}
    deselected = [item for item in items if any(item.get_closest_marker(marker) for marker in unwanted)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what synth reads. Not to be changed: it is shared."""
    from tests.synthesis import copy_project

    return copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def templates(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The ordinary case: `dev`, with every model in service."""
    # Imported here, since most tests need no CDK and it takes a second.
    from sagestack.settings import load_environment

    from tests.synthesis import build, served, synthesize

    return synthesize(build(project, served(load_environment("dev", project)), tmp_path_factory.mktemp("cdk.out")))
