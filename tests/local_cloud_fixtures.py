"""A local cloud for tests: the real program, on a free port, with a state of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest

from local_cloud.sagemaker import loopback_ports

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-local-cloud/bin/python"
START_TIMEOUT_S = 120


class LocalCloud:
    """A local cloud that runs as a process of its own, and can be killed and started again on the same state."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        # Ours until this process ends, also while it is stopped: nobody else's server or client gets it in between.
        self.port = loopback_ports.take()
        self.process: subprocess.Popen[bytes] | None = None
        # A client costs tens of milliseconds to make, and tests ask for the same ones again and again.
        self.client = cache(self._client)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        description = self.state_dir / "cloud.json"
        description.unlink(missing_ok=True)
        with (self.state_dir / "cloud.log").open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "local_cloud", "--state-dir", self.state_dir, "--port", str(self.port)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not description.exists():
            assert self.process.poll() is None, f"the local cloud ended:\n{self.log()[-4000:]}"
            assert time.monotonic() < deadline, f"the local cloud did not start:\n{self.log()[-4000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it as `sagestack down` does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning."""
        self._end(signal.SIGKILL)

    def _end(self, signal_number: signal.Signals) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, signal_number)
        self.process.wait(timeout=60)

    @property
    def description(self) -> dict[str, Any]:
        """cloud.json."""
        return dict(json.loads((self.state_dir / "cloud.json").read_text()))

    @property
    def account(self) -> str:
        """The account of everything in it."""
        return "000000000000"

    @property
    def region(self) -> str:
        """The region of everything in it."""
        return "us-east-1"

    def log(self) -> str:
        """What the process wrote."""
        return (self.state_dir / "cloud.log").read_text(errors="replace")

    def environment(self) -> dict[str, str]:
        """The variables with which any AWS client reaches it."""
        certificate = str(self.state_dir / "tls/certificate.pem")
        return {
            "AWS_ENDPOINT_URL": f"https://127.0.0.1:{self.port}",
            "AWS_CA_BUNDLE": certificate,
            "NODE_EXTRA_CA_CERTS": certificate,
            "AWS_ACCESS_KEY_ID": self.description["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.description["secret_access_key"],
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }

    def _client(
        self,
        service: str,
        access_key: str = "test",
        secret: str = "test",
        token: str | None = None,
        connections: int = 10,  # botocore's own default
    ) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=self.region,
            endpoint_url=f"https://127.0.0.1:{self.port}",
            verify=str(self.state_dir / "tls/certificate.pem"),
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=botocore.config.Config(
                retries={"mode": "standard", "max_attempts": 1},
                read_timeout=90,
                s3={"addressing_style": "path"},
                max_pool_connections=connections,
            ),
        )

    def role(self, name: str, *statements: dict[str, Any], trusts: str = "sagemaker.amazonaws.com") -> str:
        """The ARN of a role with these policy statements (Effect Allow is filled in), made or replaced."""
        iam = self.client("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": trusts}, "Action": "sts:AssumeRole"}],
        }
        try:
            arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        except iam.exceptions.EntityAlreadyExistsException:
            arn = iam.get_role(RoleName=name)["Role"]["Arn"]
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}
        iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=json.dumps(policy))
        return str(arn)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One local cloud for all tests that do not kill it; they keep apart by the names of what they make."""
    local_cloud = LocalCloud(tmp_path_factory.mktemp("local-cloud"))
    local_cloud.start()
    yield local_cloud
    local_cloud.stop()


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A local cloud of one's own, started: for tests that stop it or kill it."""
    local_cloud = LocalCloud(tmp_path / "local-cloud")
    local_cloud.start()
    yield local_cloud
    local_cloud.stop()
