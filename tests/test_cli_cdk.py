"""How the command line runs the CDK CLI and what it makes of its words, with a script in the CLI's place."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from sagestack.cli.cdk_output import Line, Reader
from sagestack.cli.cdk_tools import check_tools
from sagestack.cli.deployment_outcome import Deployment, failure
from sagestack.cli.errors import CliError
from sagestack.cli.main import app
from sagestack.cli.options import State
from sagestack.cli.stuck_stacks import LOOKED_FOR
from typer.testing import CliRunner

from tests import cli_fakes

runner = CliRunner()

SAID = """\

✨  Synthesis time: 3.45s

sagestack-local-foundation: deploying... [1/2]
sagestack-local-foundation | 0/7 | 5:04:17 AM | CREATE_IN_PROGRESS      | AWS::S3::Bucket          | Data (Data666C94C7)
sagestack-local-foundation | 1/7 | 5:04:17 AM | CREATE_COMPLETE         | AWS::S3::Bucket          | Data (Data666C94C7)

 ✅  sagestack-local-foundation

✨  Deployment time: 5.05s

 ✅  sagestack-local-housing-training (no changes)
[Warning at /sagestack-local-foundation/Key] something to know
"""


def _project(root: Path, node: str = "v24.1.0", cdk: str = "2.1148.1", said: str = SAID, code: int = 0) -> Path:
    """A project whose Node and CDK CLI are scripts that write down how they were called."""
    cli_fakes.make_project(root)
    (root / "node_modules/aws-cdk").mkdir(parents=True)
    (root / "node_modules/aws-cdk/package.json").write_text(json.dumps({"version": cdk}))
    template = root / "node_modules/aws-cdk/lib/api/bootstrap/bootstrap-template.yaml"
    template.parent.mkdir(parents=True)
    template.write_text("Outputs:\n  BootstrapVersion:\n    Value: '33'\n")
    (root / "said").write_text(said)
    _script(root / ".venv/bin/node", f"echo {node}")
    _script(
        root / "node_modules/.bin/cdk",
        f'printf "%s\\n" "$@" > "{root}/called-$1"; env > "{root}/environment"; cat "{root}/said"; exit {code}',
    )
    return root


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _deploy(root: Path, monkeypatch: pytest.MonkeyPatch, toolkit: str | None = "33") -> cli_fakes.FakeSession:
    session = cli_fakes.FakeSession(root)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    session.answer("cloudformation", "list_stacks", {"StackSummaries": []}, {"StackStatusFilter": [*LOOKED_FOR]})
    if toolkit is None:
        session.refuse("cloudformation", "describe_stacks", "ValidationError", "Stack does not exist")
    else:
        outputs = [{"OutputKey": "BootstrapVersion", "OutputValue": toolkit}]
        stack = {
            "StackName": "CDKToolkit",
            "StackStatus": "CREATE_COMPLETE",
            "CreationTime": cli_fakes.NOW,
            "Outputs": outputs,
        }
        session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]})
    return session


@pytest.mark.parametrize(
    ("node", "cdk", "says"),
    [
        ("v20.19.0", "2.1148.1", "is Node 20.19.0"),
        ("v25.0.0", "2.1148.1", "is Node 25.0.0"),
        ("v22.1.0", "3.0.0", "is 3.0.0"),
        ("v22.1.0", "2.1100.0", "is 2.1100.0"),
    ],
)
def test_tools_of_other_versions_are_refused_with_what_is_needed(
    tmp_path: Path, node: str, cdk: str, says: str
) -> None:
    with pytest.raises(CliError) as caught:
        check_tools(_project(tmp_path / "p", node, cdk))
    assert says in caught.value.message
    assert "Needed: " in (caught.value.hint or "")
    assert "make setup" in (caught.value.hint or "")


def test_a_missing_cli_is_named(tmp_path: Path) -> None:
    root = _project(tmp_path / "p")
    (root / "node_modules/aws-cdk/package.json").unlink()
    with pytest.raises(CliError, match="The CDK CLI is not installed"):
        check_tools(root)


def test_a_missing_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _project(tmp_path / "p")
    (root / ".venv/bin/node").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match="There is no Node"):
        check_tools(root)


def test_what_a_person_should_read_is_picked_from_what_the_cli_says() -> None:
    lines: list[Line] = []
    states: list[str] = []
    reader = Reader(lines.append, states.append)
    for line in SAID.splitlines():
        reader.take(line)
    assert reader.stacks == {"sagestack-local-foundation": "deployed", "sagestack-local-housing-training": "no changes"}
    assert [line.kind for line in lines] == ["done", "same", "warning"]
    assert "sagestack-local-foundation: 1/7 create complete Data" in states


def test_what_failed_is_shown_with_its_reason() -> None:
    lines: list[Line] = []
    reader = Reader(lines.append, lambda _: None)
    reader.take("a-stack | 3/7 | 5:04:17 AM | CREATE_FAILED        | AWS::S3::Bucket | Data (Data6) no such key")
    reader.take(" ❌  a-stack failed: ToolkitError: The stack named a-stack failed")
    assert reader.stacks == {"a-stack": "failed"}
    assert lines[0].kind == "error"
    assert "no such key" in lines[0].text


def test_a_deployment_that_was_taken_back_says_why_and_that_all_is_as_before(tmp_path: Path) -> None:
    reader = Reader(lambda _: None, lambda _: None)
    for line in (
        "a-stack | 27/7 | 11:36:58 AM | UPDATE_FAILED           | Custom::Check | Gate/Check/Default (GateCheck6) "
        "Error: version 1 of housing is Rejected, not Approved: approve it.",
        "Logs: /aws/lambda/a-function",
        "a-stack | 27/7 | 11:36:58 AM | UPDATE_FAILED           | AWS::S3::Bucket | Data (Data6) Resource update cancelled",
        "a-stack | 27/7 | 11:36:58 AM | UPDATE_ROLLBACK_IN_PROG | AWS::CloudFormation::Stack       | a-stack The following "
        "resource(s) failed to update: [GateCheck6].",
        "a-stack | 30/7 | 11:37:02 AM | UPDATE_ROLLBACK_COMPLET | AWS::CloudFormation::Stack       | a-stack",
        "a-stack | 11:36:58 AM | UPDATE_FAILED           | Custom::Check | Gate/Check/Default (GateCheck6) "
        "Error: version 1 of housing is Rejected, not Approved: approve it.",
        "❌  a-stack failed to deploy",
    ):
        reader.take(line)
    deployment = Deployment(1, tmp_path / "log", reader.stacks, 1.0, tuple(reader.reasons), reader.went_back)
    error = failure(deployment)
    assert error.message == (
        "a-stack failed, and is as it was before:\n"
        "  Gate/Check: version 1 of housing is Rejected, not Approved: approve it."
    )
    assert error.details["reasons"] == ["Gate/Check: version 1 of housing is Rejected, not Approved: approve it."]


def test_it_deploys_all_stacks_of_the_environment_and_keeps_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _project(tmp_path / "with space")
    session = _deploy(root, monkeypatch)
    result = runner.invoke(app, ["deploy", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["changed"]
    assert told["stacks"]["sagestack-local-housing-training"] == "no changes"
    assert Path(told["log"]).read_text() == SAID
    called = (root / "called-deploy").read_text().splitlines()
    assert called[:4] == ["deploy", "--all", "-c", "env=local"]
    assert called[called.index("--output") + 1] == str(root / "cdk.out/local")
    assert called[called.index("--require-approval") + 1] == "never"
    assert "--no-notices" in called
    assert not (root / "called-bootstrap").exists()
    session.check()


def test_the_cli_reaches_the_local_cloud_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    root = _project(tmp_path / "p")
    _deploy(root, monkeypatch)
    assert runner.invoke(app, ["deploy"]).exit_code == 0
    seen = dict(line.partition("=")[::2] for line in (root / "environment").read_text().splitlines())
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:20001"
    assert seen["NODE_EXTRA_CA_CERTS"] == "/with space/certificate.pem"
    assert seen["CDK_DISABLE_CLI_TELEMETRY"] == "true"
    assert "127.0.0.1" in seen["NO_PROXY"]
    assert seen["PATH"].split(os.pathsep)[0] == str(root / ".venv/bin")
    unwanted = {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"}
    assert not unwanted & set(seen)


@pytest.mark.parametrize("toolkit", [None, "32"])
def test_a_local_cloud_without_the_toolkit_or_with_an_older_one_is_bootstrapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolkit: str | None
) -> None:
    root = _project(tmp_path / "p")
    _deploy(root, monkeypatch, toolkit)
    assert runner.invoke(app, ["deploy"]).exit_code == 0
    assert (root / "called-bootstrap").read_text().splitlines()[:2] == ["bootstrap", "aws://000000000000/us-east-1"]


def test_nothing_to_change_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _project(tmp_path / "p", said=" ✅  sagestack-local-foundation (no changes)\n")
    _deploy(root, monkeypatch)
    assert "No changes" in runner.invoke(app, ["deploy"]).stdout


def test_a_failure_keeps_the_clis_exit_code_and_shows_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _project(tmp_path / "p", said=" ❌  sagestack-local-foundation failed: no such thing\n", code=3)
    _deploy(root, monkeypatch)
    result = runner.invoke(app, ["deploy", "--json"])
    assert result.exit_code == 3
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "deploy-failed"
    assert error["stacks"] == {"sagestack-local-foundation": "failed"}
    assert "no such thing" in error["message"]


def test_what_a_construct_refuses_is_told_in_its_own_words_without_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = """\
Traceback (most recent call last):
  File "/p/app.py", line 1, in <module>
    raise ValueError(f"{where}: there is no file {path}")
ValueError: workbench.studio.script: there is no file a.sh
Give another one.
.venv/bin/python app.py: Subprocess exited with error 1
"""
    root = _project(tmp_path / "p", said=said, code=1)
    _deploy(root, monkeypatch)
    result = runner.invoke(app, ["deploy"])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: workbench.studio.script: there is no file a.sh\nGive another one.\nEverything that"
    )


FRAMES = 'Traceback (most recent call last):\n  File "/p/app.py", line 1, in <module>\n    build()\n'
DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        pytest.param(f"{FRAMES}KeyError: 'a'\n{DURING}{FRAMES}ValueError: b\n", "b", id="a-refusal-ends-it"),
        pytest.param(
            f"{FRAMES}ValueError: a\n{DURING}{FRAMES}RuntimeError: b\n",
            "cdk deploy failed; the end",
            id="a-mistake-ends-it",
        ),
        pytest.param(
            f"{FRAMES}RuntimeError: b\nValueError: a\n",
            "cdk deploy failed; the end",
            id="a-mistake-that-speaks-of-a-refusal",
        ),
        pytest.param("ValueError: a\n", "cdk deploy failed; the end", id="no-traceback"),
    ],
)
def test_of_chained_exceptions_the_last_one_counts(tmp_path: Path, said: str, begins: str) -> None:
    log = tmp_path / "cdk.log"
    log.write_text(f"{said}.venv/bin/python app.py: Subprocess exited with error 1\n")
    message = failure(Deployment(1, log)).message
    assert message == begins if begins == "b" else message.startswith(begins)


@pytest.mark.parametrize("stack", ["CDKToolkit", "sagestack-dev-bootstrap"])
def test_an_account_that_nobody_bootstrapped_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: str
) -> None:
    root = _project(tmp_path / "p")
    session = cli_fakes.FakeSession(root, "dev")
    monkeypatch.setattr(cli_fakes.FakeSession, "is_local", False)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    session.answer("cloudformation", "list_stacks", {"StackSummaries": []})
    if stack != "CDKToolkit":
        outputs = [{"OutputKey": "BootstrapVersion", "OutputValue": "33"}]
        toolkit = {
            "StackName": "t",
            "StackStatus": "CREATE_COMPLETE",
            "CreationTime": cli_fakes.NOW,
            "Outputs": outputs,
        }
        session.answer("cloudformation", "describe_stacks", {"Stacks": [toolkit]})
    session.refuse("cloudformation", "describe_stacks", "ValidationError", f"Stack with id {stack} does not exist")
    error = json.loads(runner.invoke(app, ["deploy", "--env", "dev", "--json"]).stdout)["error"]
    assert error["code"] == "not-deployed"
    assert f"no stack {stack}" in error["message"]
    assert "sagestack bootstrap --env dev" in error["hint"]
    assert not (root / "called-deploy").exists()
    session.check()


def test_node_that_does_not_start_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _project(tmp_path / "p")
    _script(root / ".venv/bin/node", "echo '--foo is not allowed in NODE_OPTIONS' >&2; exit 9")
    monkeypatch.setenv("NODE_OPTIONS", "--foo")
    with pytest.raises(CliError, match="exit code 9 and said: --foo is not allowed") as error:
        check_tools(root)
    assert "NODE_OPTIONS is '--foo'" in str(error.value.hint)


def test_a_pin_that_the_registry_does_not_have_is_refused_before_anything_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _project(tmp_path / "p")
    (root / "environments/local.pins.yaml").write_text("models: {housing: {served_version: 7}}\n")
    session = cli_fakes.FakeSession(root)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    session.answer("cloudformation", "list_stacks", {"StackSummaries": []})
    session.parameters(cli_fakes.GROUP)
    session.answer("sagemaker", "list_model_packages", cli_fakes.versions(cli_fakes.version(1, "Approved")))
    result = runner.invoke(app, ["deploy"])
    assert result.exit_code == 1
    assert "version 7 of housing, which its registry does not have" in result.stderr
    assert not (root / "called-deploy").exists()


@pytest.mark.long
def test_under_json_the_cli_does_not_get_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _project(tmp_path / "p")
    program = """
import sys
from pathlib import Path
from sagestack.cli.main import app
from sagestack.cli.options import State
from sagestack.cli.stuck_stacks import LOOKED_FOR
from tests import cli_fakes
session = cli_fakes.FakeSession(Path.cwd())
State.connect = cli_fakes.connect_to(session)
session.answer("cloudformation", "list_stacks", {"StackSummaries": []})
outputs = [{"OutputKey": "BootstrapVersion", "OutputValue": "33"}]
stack = {"StackName": "t", "StackStatus": "CREATE_COMPLETE", "CreationTime": cli_fakes.NOW, "Outputs": outputs}
session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]})
app(["deploy", "--require-approval", "broadening", *sys.argv[1:]])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "TERM": "dumb"}
    for options, is_streamed in (("--json", False), ("", True)):
        main, terminal = pty.openpty()
        command = [sys.executable, "-c", program, *filter(None, [options])]
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL
        )
        os.close(terminal)
        seen = b""
        try:
            while piece := os.read(main, 65536):
                seen += piece
        except OSError:  # how Linux tells that the other side of a terminal was closed
            pass
        os.close(main)
        assert process.wait() == 0
        assert (b"Synthesis time" in seen) == is_streamed, seen
        assert (b'"environment": "local"' in seen) != is_streamed
