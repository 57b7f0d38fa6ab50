"""What the actions of others do, of those that our workflows use: emulated by what each documents, in the order of its README.

Only at the commits that `sagestack.delivery.actions` pins; another commit is another program, which nobody here has read.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from sagestack.delivery import actions
from sagestack.github_identity import AUDIENCE, ISSUER

from tests.git_repositories import git
from tests.local_cloud_fixtures import ROOT

if TYPE_CHECKING:
    from tests.workflow_events import Event


_INSTALLERS = ("uv", "uvx", "npm", "npx", "pip", "pip3", "pip3.11", "corepack")
"""What is borrowed is everybody's: nothing may be installed into it."""


class ActionFailed(Exception):
    """The step fails, with these words in its log."""


@dataclass
class Machine:
    """One job's machine, as a step finds it.

    Attributes:
        workspace: GITHUB_WORKSPACE.
        variables: what GITHUB_ENV has set so far; every later step gets them.
        path: what GITHUB_PATH has put in front.
        repository: owner/name.
        event: what happened.
        permissions: of the job.
        environment: GitHub's, of the job; None where it names none.
        token: the job's.
        server: the git host's address.
        cloud: variables with which AWS clients reach the cloud.
        kept: what artifacts and findings are kept in, for the whole run.
    """

    workspace: Path
    repository: str
    event: Event
    permissions: dict[str, str]
    environment: str | None
    token: str
    server: str
    cloud: dict[str, str]
    kept: Path
    variables: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    @property
    def subject(self) -> str:
        """Of an OIDC token: https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims"""
        if self.environment:
            return f"repo:{self.repository}:environment:{self.environment}"
        if self.event.name == "pull_request":
            return f"repo:{self.repository}:pull_request"
        return f"repo:{self.repository}:ref:{self.event.ref}"

    def identity_token(self) -> str:
        """What GitHub signs for a job. Nobody signs it here: the local cloud, unlike IAM, looks at no signature.

        Raises:
            ActionFailed: the job may not have one.
        """
        if self.permissions.get("id-token") != "write":
            raise ActionFailed(
                "It looks like you might be trying to authenticate with OIDC. Did you mean to set id-token?"
            )
        now = int(time.time())
        claims = {"iss": f"https://{ISSUER}", "aud": AUDIENCE, "sub": self.subject, "iat": now, "exp": now + 300}
        parts: list[dict[str, Any]] = [{"alg": "RS256", "typ": "JWT"}, claims]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        return ".".join([*encoded, "nobody-signed-this"])


def run_action(uses: str, inputs: dict[str, Any], machine: Machine) -> str:
    """Do what an action does; its log.

    Raises:
        ActionFailed: it fails.
        AssertionError: nobody here knows the action, this commit of it, or one of its inputs.
    """
    assert uses in _ACTIONS, f"uses: {uses} is not known here; known: {', '.join(_ACTIONS)}"
    known, act = _ACTIONS[uses]
    unknown = set(inputs) - known
    assert not unknown, f"{uses}: the inputs {sorted(unknown)} are not known here"
    return act(inputs, machine)


def _checkout(inputs: dict[str, Any], machine: Machine) -> str:
    """A clone over HTTP with the job's token, of one commit or of all: https://github.com/actions/checkout

    What `make setup` installs is put beside it: see `borrow`.
    """
    folder, event = machine.workspace, machine.event
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    basic = base64.b64encode(f"x-access-token:{machine.token}".encode()).decode()
    header = f"http.{machine.server}/.extraheader=AUTHORIZATION: basic {basic}"
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "remote", "add", "origin", f"{machine.server}/{machine.repository}.git")
    depth = int(inputs.get("fetch-depth", 1))
    ref = inputs.get("ref") or ""
    commit = ref or event.sha
    what = ["+refs/heads/*:refs/remotes/origin/*"] if depth == 0 else []
    if not ref and event.name == "pull_request":
        what.append(f"+{commit}:refs/remotes/{event.ref.removeprefix('refs/')}")
    elif depth or ref:
        what.append(commit)
    limit = [f"--depth={depth}"] if depth else []
    try:
        git(folder, "-c", header, "-c", "protocol.version=2", "fetch", "--quiet", "--no-tags", *limit, "origin", *what)
    except AssertionError as error:
        raise ActionFailed(f"The process '/usr/bin/git' failed: {error}") from None
    if ref or event.name == "pull_request":
        git(folder, "checkout", "--quiet", "--force", "--detach", commit)
    else:
        git(folder, "update-ref", f"refs/remotes/origin/{event.ref_name}", commit)
        git(folder, "checkout", "--quiet", "--force", "-B", event.ref_name, f"refs/remotes/origin/{event.ref_name}")
    if inputs.get("persist-credentials", True):
        name, _, value = header.partition("=")
        git(folder, "config", "--local", name, value)
    borrow(folder)
    return f"{commit} is checked out"


def borrow(folder: Path) -> None:
    """What `make setup` would install in minutes, from this project: packages are shared, the project's own are the workspace's.

    A Python environment of the workspace's own, so that `sagestack` and `import sagestack` are what is checked out there.
    """
    environment, theirs = folder / ".venv", ROOT / ".venv"
    # The project's Python, not whoever's runs this.
    subprocess.run([theirs / "bin/python", "-m", "venv", "--without-pip", environment], check=True)
    [packages] = environment.glob("lib/python3*/site-packages")
    borrowed = theirs / packages.relative_to(environment)
    # Plain lines: the .pth files in the borrowed folder, which name this project, are not read.
    (packages / "workspace.pth").write_text(f"{folder / 'constructs'}\n{borrowed}\n")
    for program in (theirs / "bin").iterdir():
        own = environment / "bin" / program.name
        if own.exists() or not program.is_file():
            continue
        first, _, rest = program.read_bytes().partition(b"\n")
        if program.name in _INSTALLERS:
            _write_program(
                own, f"#!/bin/sh\necho '{program.name} would install something here' >&2\nexit 99\n".encode()
            )
        elif first == f"#!{theirs}/bin/python".encode():
            _write_program(own, f"#!{environment}/bin/python\n".encode() + rest)
        else:
            own.symlink_to(program)
    for stamp in (".uv", ".installed", ".node"):
        (environment / stamp).touch()
    for name in (".venv-local-cloud", "node_modules"):
        (folder / name).mkdir()
        for each in (ROOT / name).iterdir():
            if each.name != ".installed":
                (folder / name / each.name).symlink_to(each)
        (folder / name / ".installed").touch()


def _write_program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _setup_python(inputs: dict[str, Any], machine: Machine) -> str:
    """The project's Python, which must be of the version that is asked for: https://github.com/actions/setup-python"""
    has = "{}.{}".format(*sys.version_info)
    if inputs["python-version"] != has:
        raise ActionFailed(f"The version '{inputs['python-version']}' was not found; there is {has}")
    machine.path.insert(0, str(Path(sys.base_prefix) / "bin"))
    return f"Python {has}"


def _configure_aws_credentials(inputs: dict[str, Any], machine: Machine) -> str:
    """Credentials for a token of the job's: https://github.com/aws-actions/configure-aws-credentials

    By STS of the local cloud, which asks the role's trust policy.
    """
    region = inputs["aws-region"]
    account = str(inputs["allowed-account-ids"])

    def client(**keys: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            "sts",
            region_name=region,
            endpoint_url=machine.cloud["AWS_ENDPOINT_URL"],
            verify=machine.cloud["AWS_CA_BUNDLE"],
            **(keys or {"aws_access_key_id": "none", "aws_secret_access_key": "none"}),
        )

    try:
        answer = client().assume_role_with_web_identity(
            RoleArn=inputs["role-to-assume"],
            RoleSessionName=inputs["role-session-name"],
            WebIdentityToken=machine.identity_token(),
            DurationSeconds=int(inputs["role-duration-seconds"]),
        )
    except ClientError as error:
        raise ActionFailed(f"Could not assume role with OIDC: {error.response['Error']['Message']}") from error
    keys = answer["Credentials"]
    got = {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }
    found = client(**got).get_caller_identity()
    if found["Account"] != account:
        raise ActionFailed(f"The account ID of the provided credentials ({found['Account']}) is not {account}")
    machine.variables |= {name.upper(): value for name, value in got.items()}
    machine.variables |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return f"Authenticated as {found['Arn']}"


def _upload_artifact(inputs: dict[str, Any], machine: Machine) -> str:
    """https://github.com/actions/upload-artifact"""
    source, target = machine.workspace / inputs["path"], machine.kept / "artifacts" / inputs["name"]
    if not source.exists():
        if inputs["if-no-files-found"] == "error":
            raise ActionFailed(f"No files were found with the provided path: {inputs['path']}")
        return "No files were found"
    if target.exists():
        raise ActionFailed(f"an artifact with the name {inputs['name']} already exists on the workflow run")
    # Names with a dot in front are left out: include-hidden-files is false.
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
    return f"{inputs['name']}: {sorted(path.name for path in target.iterdir())}"


def _download_artifact(inputs: dict[str, Any], machine: Machine) -> str:
    """https://github.com/actions/download-artifact"""
    source = machine.kept / "artifacts" / inputs["name"]
    if not source.exists():
        raise ActionFailed(f"Artifact not found for name: {inputs['name']}")
    shutil.copytree(source, machine.workspace / inputs["path"], dirs_exist_ok=True)
    return f"{inputs['name']} is in {inputs['path']}"


def _upload_sarif(inputs: dict[str, Any], machine: Machine) -> str:
    """https://github.com/github/codeql-action; GitHub's own checks of the file are not made, only that it is SARIF 2.1.0."""
    if machine.permissions.get("security-events") != "write":
        raise ActionFailed("Resource not accessible by integration")
    text = (machine.workspace / inputs["sarif_file"]).read_text()
    if json.loads(text)["version"] != "2.1.0":
        raise ActionFailed("Invalid SARIF")
    target = machine.kept / "findings" / inputs["category"]
    target.mkdir(parents=True)
    (target / "findings.sarif").write_text(text)
    (target / "of.json").write_text(json.dumps({"ref": inputs["ref"], "sha": inputs["sha"]}))
    return "Uploaded"


_Act = Callable[[dict[str, Any], Machine], str]
_ACTIONS: dict[str, tuple[set[str], _Act]] = {
    actions.CHECKOUT.pinned: ({"persist-credentials", "fetch-depth", "ref"}, _checkout),
    actions.SETUP_PYTHON.pinned: ({"python-version"}, _setup_python),
    actions.CONFIGURE_AWS_CREDENTIALS.pinned: (
        {"role-to-assume", "role-session-name", "role-duration-seconds", "aws-region", "allowed-account-ids"},
        _configure_aws_credentials,
    ),
    actions.UPLOAD_ARTIFACT.pinned: ({"name", "path", "if-no-files-found", "retention-days"}, _upload_artifact),
    actions.DOWNLOAD_ARTIFACT.pinned: ({"name", "path"}, _download_artifact),
    actions.UPLOAD_SARIF.pinned: ({"sarif_file", "category", "ref", "sha"}, _upload_sarif),
}
