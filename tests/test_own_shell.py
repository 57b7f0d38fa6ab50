"""The tests say the same on everybody's machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.own_shell import NO_ENGINE, forget


def test_somebodys_account_repository_and_terminal_are_forgotten_and_a_proxy_is_not_asked_for_loopback() -> None:
    environment = {
        "AWS_PROFILE": "prod",
        "AWS_ENDPOINT_URL_S3": "https://s3.example",
        "GIT_DIR": "/somebody/.git",
        "GIT_AUTHOR_NAME": "Ada",
        "FORCE_COLOR": "1",
        "https_proxy": "http://proxy.example:3128",
        "PATH": "/usr/bin",
    }
    forget(environment)
    exceptions = "127.0.0.1,localhost"
    assert environment == {
        "GIT_AUTHOR_NAME": "Ada",
        "https_proxy": "http://proxy.example:3128",
        "PATH": "/usr/bin",
        "no_proxy": exceptions,
        "NO_PROXY": exceptions,
    }


def test_what_a_test_starts_can_be_interrupted() -> None:
    program = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "True\n"


def test_only_container_tests_see_a_container_engine(pytestconfig: pytest.Config) -> None:
    assert (os.environ.get("DOCKER_HOST") == NO_ENGINE) is not pytestconfig.getoption("--run-container")
