"""What holds for every test: the layout is right, CDK's own validation is off, slow kinds are asked for by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before anything that loads OpenMP: its threads would spin between two pieces of work, on cores that other workers need.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Before aws_cdk: where a folder of ours hides what it needs, this import fails and says which, and the cure.
import sagestack.layout  # noqa: F401

from tests import cheap_start, own_shell  # first of ours: it counts from here
from tests.image_environment import IMAGE_STARTUP
from tests.local_cloud_fixtures import cloud, own_cloud  # noqa: F401
from tests.property_tests import load_profile

if TYPE_CHECKING:
    from tests.synthesis import Templates

# Before any test module: some remember what they find.
own_shell.forget(os.environ)
own_shell.hear_interrupts()

# CDK's validation of templates starts an engine, seconds per process. tests/test_app.py has it on, once.
os.environ.setdefault("CDK_VALIDATION", "false")

# Before any test module: it asks for its number of examples when it is imported.
load_profile()

# By how long they take. A worker gets whole files: one of these at the end, and the others would wait for it.
_FIRST = (
    "test_end_to_end",
    "test_local_cloud_endpoints",
    "test_local_cloud_deployments",
    "test_app",
    "test_local_cloud_inference_components",
    "test_local_cloud_multi_model",
    "test_local_cloud_jobs",
    "test_xgboost_distributed",
    "test_xgboost_server",
    "test_local_cloud_restart",
    "test_xgboost_distributed_training",
    "test_local_cloud_spot_training",
    "test_local_cloud_serverless",
    "test_local_cloud_distributed_training",
    "test_local_cloud_multi_container",
    "test_local_cloud_pipeline_engine",
    "test_local_cloud_async",
    "test_xgboost_checkpoints",
    "test_xgboost_evaluate",
    "test_endpoint_kinds",
    "test_local_cloud_cloudformation",
    "test_local_cloud_pipelines",
    "test_local_cloud_autoscaling",
    "test_xgboost_bad_data",
    "test_local_cloud_shadow",
    "test_local_cloud_process_engine",
    "test_pipeline_checks",
)

_ON_REQUEST = {
    "browser": "--run-browser",
    "container": "--run-container",
    "long": "--run-long",
    "notebook": "--run-notebook",
    "sdk": "--run-sdk",
    "workflow": "--run-workflow",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-browser", action="store_true", help="run the tests that need Chromium")
    parser.addoption("--run-container", action="store_true", help="run the tests that need a container engine")
    parser.addoption("--run-long", action="store_true", help="run the stories that take long, too")
    parser.addoption("--run-notebook", action="store_true", help="run the tests that need JupyterLab")
    parser.addoption("--run-workflow", action="store_true", help="run the delivery workflows from their files")
    parser.addoption("--run-sdk", action="store_true", help="run the tests that need the SageMaker SDK")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--run-container"):
        own_shell.hide_container_engine(os.environ)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects what nobody asked for. What was asked for runs: it is never skipped. The longest files go first."""
    unwanted = {marker for marker, option in _ON_REQUEST.items() if not config.getoption(option)}
    deselected = [item for item in items if any(item.get_closest_marker(marker) for marker in unwanted)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]
    place = {name: number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_FIRST)))


def pytest_collection_finish() -> None:
    cheap_start.is_over()


@pytest.fixture(scope="session", autouse=True)
def children_are_as_in_the_image() -> Iterator[None]:
    """A fixture and no line above, so that the workers of pytest-xdist are not such children themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(IMAGE_STARTUP), prepend=os.pathsep)
        yield


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
