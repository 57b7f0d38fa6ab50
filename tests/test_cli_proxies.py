"""Who works behind a company's proxy reaches the local cloud without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sagestack.cli.proxies import loopback_directly

from tests.checkout import Checkout

DEAD = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("environment", "exceptions"),
    [
        ({}, None),
        ({"no_proxy": "a.example"}, None),
        ({"https_proxy": ""}, None),
        ({"https_proxy": DEAD}, "127.0.0.1,localhost"),
        ({"ALL_PROXY": DEAD}, "127.0.0.1,localhost"),
        ({"HTTP_PROXY": DEAD, "NO_PROXY": "a.example, .b.example"}, "a.example,.b.example,127.0.0.1,localhost"),
        ({"http_proxy": DEAD, "no_proxy": "localhost"}, "localhost,127.0.0.1"),
        ({"http_proxy": DEAD, "no_proxy": "*"}, "*"),
        ({"npm_config_https_proxy": DEAD}, "127.0.0.1,localhost"),
    ],
    ids=[
        "nothing",
        "no proxy",
        "an empty one",
        "one",
        "in capitals",
        "its exceptions",
        "twice",
        "everything",
        "npm's alone",
    ],
)
def test_loopback_is_one_more_exception_of_a_proxy(environment: dict[str, str], exceptions: str | None) -> None:
    wanted = {} if exceptions is None else {"no_proxy": exceptions, "NO_PROXY": exceptions}
    assert loopback_directly(environment) == wanted


def test_exceptions_stay_where_their_reader_looks_for_them() -> None:
    environment = {
        "http_proxy": DEAD,
        "no_proxy": "a.example",
        "NO_PROXY": "b.example",
        "npm_config_no_proxy": "c.example",
    }
    assert loopback_directly(environment) == {
        name: f"{said},127.0.0.1,localhost" for name, said in environment.items() if name != "http_proxy"
    }


@pytest.mark.long
def test_the_local_cloud_starts_deploys_and_answers_behind_a_proxy_that_does_not_know_it(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    proxy = {"https_proxy": DEAD, "HTTPS_PROXY": DEAD, "http_proxy": DEAD}
    try:
        up = checkout.run("sagestack", "up", "--port", str(checkout.port), **proxy)
        assert up.returncode == 0, up.stdout + up.stderr
        deployed = checkout.run("sagestack", "deploy", **proxy)
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        asked = (
            "import boto3; print(boto3.client('sagemaker').list_pipelines()['PipelineSummaries'][0]['PipelineName'])"
        )
        own = checkout.run("sh", "-c", f'eval "$(sagestack env)"; python -c "{asked}"', **proxy)
        assert own.stdout == "sagestack-local-housing\n", own.stderr
    finally:
        checkout.run("sagestack", "down")
