"""An approval in the registry becomes a commit or a pull request that pins the version, once, on every git host."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template
from sagestack import settings
from sagestack.model_registry import ModelRegistry
from sagestack.version_pin import VersionPin

from functions.version_pin import handler, pin
from functions.version_pin.git_hosts import HOSTS, HostError
from tests.git_host_fakes import Repository, served

ROOT = Path(__file__).parent.parent
DEV = (ROOT / "environments/dev.yaml").read_text()
FILE = "environments/dev.yaml"
SECRET = "arn:aws:secretsmanager:us-east-1:111111111111:secret:token-AbCdEf"
ARN = "arn:aws:sagemaker:us-east-1:111111111111:model-package/sagestack-dev-housing/4"


@pytest.fixture
def repository() -> Repository:
    return Repository({"main": {FILE: DEV, "README.md": "other"}})


@pytest.fixture(params=sorted(HOSTS))
def host(request: pytest.FixtureRequest, repository: Repository) -> Iterator[Any]:
    with served(request.param, repository) as address:
        yield HOSTS[request.param](address, "team/ml", "secret-token")


def pin_version(host: Any, version: int = 4, *, is_reviewed: bool = True) -> dict[str, Any]:
    return handler.pin_version(
        host=host,
        environment="dev",
        model="housing",
        version=version,
        arn=ARN,
        base="main",
        is_reviewed=is_reviewed,
    )


def test_an_approval_becomes_a_pull_request_that_changes_one_line(host: Any, repository: Repository) -> None:
    outcome = pin_version(host)

    assert outcome == {"outcome": "review", "version": 4, "before": None, "address": "https://git.example/reviews/1"}
    assert repository.branches["main"][FILE] == DEV
    proposed = repository.branches["sagestack/dev-housing-4"]
    assert proposed[FILE] == DEV.replace("served_version: null", "served_version: 4")
    assert proposed["README.md"] == "other"
    [review] = repository.reviews
    assert (review["base"], review["title"]) == ("main", "Serve version 4 of housing in dev")
    assert ARN in repository.messages[0]
    assert "git revert" in repository.messages[0]


def test_or_a_commit_where_nobody_reviews_it(host: Any, repository: Repository) -> None:
    assert pin_version(host, is_reviewed=False)["outcome"] == "commit"
    assert pin.pinned(repository.branches["main"][FILE], "housing") == 4
    assert set(repository.branches) == {"main"}
    assert repository.reviews == []


def test_an_event_that_comes_twice_changes_nothing_more(host: Any, repository: Repository) -> None:
    assert pin_version(host)["address"] == pin_version(host)["address"]
    assert len(repository.messages) == 1
    assert len(repository.reviews) == 1
    repository.branches["main"] = dict(repository.branches["sagestack/dev-housing-4"])
    assert pin_version(host)["outcome"] == "unchanged"


def test_a_branch_that_stayed_of_a_closed_review_is_gone_on_from(host: Any, repository: Repository) -> None:
    stale = DEV.replace("served_version: null", "served_version: 3")
    repository.branches["sagestack/dev-housing-4"] = {FILE: stale, "README.md": "other"}

    assert pin_version(host)["outcome"] == "review"
    assert pin.pinned(repository.branches["sagestack/dev-housing-4"][FILE], "housing") == 4


def test_a_commit_of_somebody_else_in_between_is_kept(
    host: Any, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    changed = DEV.replace("instance_type: ml.m5.large", "instance_type: ml.m5.xlarge", 1)
    repository.before_commit = lambda: repository.branches["main"].update({FILE: changed})

    assert pin_version(host, is_reviewed=False)["outcome"] == "commit"
    assert repository.branches["main"][FILE] == changed.replace("served_version: null", "served_version: 4")


def test_a_refusal_is_told_with_the_hosts_words(repository: Repository) -> None:
    with (
        served("github", repository) as address,
        pytest.raises(HostError, match=r"GET repos/team/other/.*404.*GET /repos"),
    ):
        pin_version(HOSTS["github"](address, "team/other", "token"))


def test_a_host_that_does_not_answer_is_named() -> None:
    # Held, so that nobody else gets it, and nobody listens there.
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(HostError, match=rf"GET {address}/repos/team/ml/.* was not answered"):
            pin_version(HOSTS["github"](address, "team/ml", "token"))


def test_the_token_goes_where_each_host_looks_for_it(repository: Repository) -> None:
    for name, header in (("github", "authorization"), ("gitlab", "private-token"), ("bitbucket", "authorization")):
        with served(name, repository) as address:
            HOSTS[name](address, "team/ml", "secret-token").read(FILE, "main")
        assert repository.requests[-1][2][header].endswith("secret-token")


def test_a_host_that_sends_on_to_another_does_not_take_the_token_there(repository: Repository) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", self.server.target + self.path)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with served("github", repository) as address, ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.target = address  # type: ignore[attr-defined]
        own = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(HostError, match=f"is sent on to {address}, which is not given the token"):
            HOSTS["github"](own, "team/ml", "secret-token").read(FILE, "main")
        server.shutdown()
    assert repository.requests == []


def test_only_approvals_are_taken(monkeypatch: pytest.MonkeyPatch, repository: Repository) -> None:
    class Secrets:
        def get_secret_value(self, **request: str) -> dict[str, str]:
            assert request == {"SecretId": SECRET}
            return {"SecretString": "secret-token\n"}

    monkeypatch.setattr(boto3, "client", lambda service: {"secretsmanager": Secrets()}[service])
    event = {"detail": {"ModelPackageVersion": 4, "ModelPackageArn": ARN, "ModelApprovalStatus": "Rejected"}}
    with served("github", repository) as address:
        for name, value in {
            "ENVIRONMENT": "dev", "MODEL": "housing", "BRANCH": "main", "CHANGE": "commit",
            "TOKEN_SECRET": SECRET, "GIT_HOST": "github", "GIT_API": address, "REPOSITORY": "team/ml",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        assert handler.handler(event, None)["outcome"] == "ignored"
        assert repository.messages == []
        event["detail"]["ModelApprovalStatus"] = "Approved"
        assert handler.handler(event, None)["outcome"] == "commit"


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_the_pin_is_changed_as_promote_changes_it(environment: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "environments", tmp_path / "environments")
    shutil.copytree(ROOT / "model_code/housing", tmp_path / "model_code/housing")
    before = settings.environment_file(environment, tmp_path).read_text()
    settings.write_pin(environment, "housing", 17, tmp_path)
    after = settings.environment_file(environment, tmp_path).read_text()
    assert pin.with_pin(before, "housing", 17) == after
    assert pin.pinned(after, "housing") == 17


def test_of_several_models_the_right_one_is_pinned() -> None:
    text = (
        "models:\n  a:\n    served_version: 1 # one\n"
        "  b:\n    x: {served_version: 9}\n    served_version: 12\r\nother:\n  b:\n    served_version: 3\n"
    )
    assert pin.with_pin(text, "a", 5) == text.replace("served_version: 1 #", "served_version: 5 #")
    assert pin.with_pin(text, "b", 5) == text.replace("12\r", "5\r")


@pytest.mark.parametrize(
    "text", ["", "models: {housing: {served_version: 3}}", "models:\n  housing:\n    served_version: '3'\n"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(pin.NoPin):
        pin.with_pin(text, "housing", 4)


@pytest.fixture(scope="module")
def template() -> Template:
    stack = cdk.Stack(cdk.App(), "Stack")
    registry = ModelRegistry(
        stack, "Registry", model_package_group_name="sagestack-dev-housing", removal_policy=cdk.RemovalPolicy.DESTROY
    )
    VersionPin(
        stack,
        "Pin",
        environment=settings.load_environment("dev"),
        model=settings.load_model("housing"),
        git=settings.Git(host="gitlab", repository="team/ml", token_secret_arn=SECRET),
        registry=registry,
        encryption_key=kms.Key(stack, "Key"),
    )
    return Template.from_stack(stack)


def test_the_rule_takes_approvals_of_this_group_alone_and_keeps_what_fails(template: Template) -> None:
    [rule] = template.find_resources("AWS::Events::Rule").values()
    assert rule["Properties"]["EventPattern"]["detail"] == {
        "ModelPackageGroupName": ["sagestack-dev-housing"],
        "ModelApprovalStatus": ["Approved"],
    }
    assert "DeadLetterConfig" in rule["Properties"]["Targets"][0]


def test_the_function_may_read_its_token_and_nothing_else(template: Template) -> None:
    [policy] = template.find_resources("AWS::IAM::Policy").values()
    logs, secret = policy["Properties"]["PolicyDocument"]["Statement"]
    assert logs["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert secret == {
        "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
        "Effect": "Allow",
        "Resource": SECRET,
    }
    [function] = template.find_resources("AWS::Lambda::Function").values()
    assert "secret-token" not in json.dumps(function)
    assert function["Properties"]["Environment"]["Variables"]["GIT_API"] == "https://gitlab.com/api/v4"


def test_a_token_is_not_sent_unencrypted() -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        settings.Git(host="gitlab", repository="a/b", token_secret_arn=SECRET, api_url="http://git.example/api/v4")
