"""The demo once more where a container engine answers: the same stacks and pipeline, in the image's own containers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.checkout import Checkout

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Not yet started: the demo starts it."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    yield made
    made.run("sagestack", "down")


@pytest.fixture(scope="module")
def told(checkout: Checkout) -> dict[str, Any]:
    """What the demo tells in the end."""
    return dict(checkout.sagestack("demo", "--port", str(checkout.port)))


def test_the_demo_serves_the_same_model_from_containers(checkout: Checkout, told: dict[str, Any]) -> None:
    assert told["runner"] == "docker"
    # What it measures as processes, too: same code, same libraries, same seed.
    assert told["rmse"] == pytest.approx(3.797, abs=0.001)
    running = checkout.run("docker", "ps", "--no-trunc", "--format", "{{.Image}} {{.Command}}").stdout
    assert "serve" in running, "the endpoint's server is a container"


def test_stopping_the_cloud_leaves_no_container(checkout: Checkout, told: dict[str, Any]) -> None:
    assert checkout.run("sagestack", "down").returncode == 0
    assert checkout.run("docker", "ps", "--quiet").stdout == ""
