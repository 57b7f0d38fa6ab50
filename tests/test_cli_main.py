"""The program: its start, its help, its errors, and what the reference says of all three."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from sagestack.cli import errors
from sagestack.cli.main import app
from sagestack.cli.options import State
from typer.main import get_command
from typer.testing import CliRunner

from tests.cli_fakes import add_model, make_project
from tests.pace import fastest

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
runner = CliRunner()


def test_help_comes_at_once_and_loads_no_aws() -> None:
    program = (
        "import sys; from sagestack.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'boto3', 'botocore', 'pydantic', 'tenacity'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )

    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert "From a folder of model code" in result.stdout
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        # The processor's time, not the clock's: other programs run, too. They take its caches, so the least of several.
        return now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime

    assert fastest(seconds, bound=1, of_processor=True) < 1


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself_with_an_example(name: str) -> None:
    result = runner.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"sagestack {name}" in result.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_reference_names_each_command_and_option(name: str) -> None:
    text = REFERENCE.read_text()
    section = text.partition(f"## `sagestack {name}")[2].partition("\n## ")[0]
    assert section, f"docs/reference/cli.md has no section on {name}"
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and parameter.name not in ("help", "json", "environment", "model"):
            assert f"`{parameter.opts[0]}" in section, f"{name} {parameter.opts[0]} is not in the reference"


def test_the_reference_names_each_error_code() -> None:
    text = REFERENCE.read_text()
    for code in get_args(errors.ErrorCode):
        assert f"`{code}`" in text


def test_it_works_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "with space")
    monkeypatch.chdir(root / "model_code" / "housing")
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 1
    assert "The local cloud is not running" in result.stderr


def test_outside_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another project's cdk.json is not ours.
    (tmp_path / "cdk.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 1
    assert f"{tmp_path} is not inside a Sagestack project" in result.stderr


def test_with_several_models_one_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "p")
    add_model(root, "wine")
    monkeypatch.chdir(root)
    assert "There are 2: housing, wine" in runner.invoke(app, ["run"]).stderr
    assert "There is no model 'beer' (models: housing, wine)" in runner.invoke(app, ["run", "-m", "beer"]).stderr


def test_an_unknown_environment_is_refused_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    result = runner.invoke(app, ["status", "--env", "nope", "--json"])
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "settings"
    assert "dev, local" in error["message"]
    assert result.exit_code == 1
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["nope"], "'nope'"),
        (["--nope"], "--nope"),
        (["status", "--nope"], "--nope"),
        (["status", "--executions", "99"], "--executions"),
        (["up", "--port", "abc"], "'abc' is not a port (allowed: a whole number, 1 to 65535)"),
        (["up", "--port", "0"], "'0' is not a port"),
    ],
)
def test_what_cannot_be_understood_is_one_json_document_too(
    typed: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    result = runner.invoke(app, [*typed, "--json"])
    assert (result.exit_code, result.stderr) == (2, "")
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "usage"
    assert named in error["message"]
    for_people = runner.invoke(app, typed)
    assert (for_people.exit_code, for_people.stdout) == (2, "")


@pytest.mark.parametrize("command", ["approve", "promote"])
def test_a_version_that_is_no_number_is_named(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    for text in ("x", "0", "1.5"):
        error = json.loads(runner.invoke(app, [command, text, "--json"]).stdout)["error"]
        assert error["code"] == "usage"
        assert f"{text!r} is not a version (allowed: a whole number from 1" in error["message"]


def _raising(error: BaseException) -> Any:
    def connect(state: State, environment: str) -> None:
        raise error

    return connect


def test_a_mistake_of_ours_is_one_line_unless_debug_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    monkeypatch.setattr(State, "connect", _raising(KeyError("surprise")))
    result = runner.invoke(app, ["status"])
    assert "KeyError: 'surprise'" in result.stderr
    assert "Traceback" not in result.output
    debugged = runner.invoke(app, ["--debug", "status"])
    assert isinstance(debugged.exception, KeyError)


def test_a_disk_that_refuses_is_not_called_a_mistake_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    monkeypatch.setattr(
        State, "connect", _raising(OSError(errno.EROFS, "Read-only file system", "/p/.local-cloud/lock"))
    )
    error = json.loads(runner.invoke(app, ["status", "--json"]).stdout)["error"]
    assert (error["code"], error["message"]) == ("set-up", "/p/.local-cloud/lock: Read-only file system.")


def test_an_error_of_aws_names_the_operation_and_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "[no] way"}}, "ListPipelines")
    monkeypatch.chdir(make_project(tmp_path / "p"))
    monkeypatch.setattr(State, "connect", _raising(refused))
    assert "ListPipelines was refused with AccessDeniedException: [no] way" in runner.invoke(app, ["status"]).stderr
    error = json.loads(runner.invoke(app, ["status", "--json"]).stdout)["error"]
    assert (error["code"], error["aws_code"], error["operation"]) == ("aws", "AccessDeniedException", "ListPipelines")


def test_ctrl_c_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    monkeypatch.setattr(State, "connect", _raising(KeyboardInterrupt()))
    assert runner.invoke(app, ["status"]).exit_code == 130
