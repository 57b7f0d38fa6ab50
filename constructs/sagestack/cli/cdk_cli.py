"""Runs the project's own, unmodified CDK CLI, and tells what it says in fewer lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sagestack.cli import local_cloud, ports
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session

NODE_MAJORS = (22, 24)
"""The versions of Node that jsii supports; older ones print a banner per process, or fail."""
CLI_SERIES = "2.1148."
"""The CDK CLI that reads what our aws-cdk-lib synthesizes. npm's `latest` does not."""
TOOLKIT_STACK = "CDKToolkit"
STAY_QUIET = {
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "CDK_DISABLE_VERSION_CHECK": "true",
    "NODE_NO_WARNINGS": "1",
    "NO_UPDATE_NOTIFIER": "1",
}

Approval = Literal["never", "broadening"]
StackResult = Literal["deployed", "no changes", "failed"]


@dataclass
class Deployment:
    """What one `cdk deploy` came to."""

    exit_code: int
    log: Path
    stacks: dict[str, StackResult] = field(default_factory=dict)
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    """Why resources failed, each in a line: what, and CloudFormation's words."""
    went_back: bool = False
    """Whether the stack that failed is as it was before."""

    @property
    def changed(self) -> bool:
        return any(result != "no changes" for result in self.stacks.values())


@dataclass(frozen=True)
class Tools:
    """The programs that deploy."""

    node: str
    cdk: str


def check_tools(root: Path) -> Tools:
    """Finds Node and the CDK CLI, and refuses versions that would fail later and in other words.

    Raises:
        CliError: one is missing or not of a supported version; says what was found and what is needed.
    """
    path = _path(root)
    node = shutil.which("node", path=path)
    needed = f"Needed: Node {' or '.join(map(str, NODE_MAJORS))}. `make setup` installs it into .venv."
    if node is None:
        raise CliError("There is no Node.", hint=needed, code="set-up")
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, errors="replace", check=False)
    found = asked.stdout.strip()
    major = re.match(r"v(\d+)\.", found)
    if not major:
        said = (asked.stderr or asked.stdout).strip() or "nothing"
        hint = f"{needed} NODE_OPTIONS is {os.environ['NODE_OPTIONS']!r}." if "NODE_OPTIONS" in os.environ else needed
        raise CliError(
            f"`{node} --version` ended with exit code {asked.returncode} and said: {said}", hint=hint, code="set-up"
        )
    if int(major[1]) not in NODE_MAJORS:
        raise CliError(f"{node} is Node {found.lstrip('v')}.", hint=needed, code="set-up")
    cdk = root / "node_modules" / ".bin" / "cdk"
    needed = f"Needed: aws-cdk {CLI_SERIES}x, as package.json pins it. `make setup` installs it."
    try:
        package = json.loads((root / "node_modules" / "aws-cdk" / "package.json").read_text(encoding="utf-8"))
        version = str(package["version"])
    except (OSError, ValueError, KeyError):
        version = ""
    if not version or not cdk.exists():
        raise CliError(f"The CDK CLI is not installed in {root / 'node_modules'}.", hint=needed, code="set-up")
    if not version.startswith(CLI_SERIES):
        raise CliError(f"The CDK CLI in {root / 'node_modules'} is {version}.", hint=needed, code="set-up")
    return Tools(node, str(cdk))


def variables(root: Path, cloud: local_cloud.LocalCloud | None) -> dict[str, str]:
    """The environment in which the CDK CLI runs."""
    result = {**os.environ, **STAY_QUIET, "PATH": _path(root)}
    if cloud:
        for name in list(result):
            # One service's own endpoint would win over AWS_ENDPOINT_URL and lead out of the local cloud.
            if name in local_cloud.UNSET or name.startswith("AWS_ENDPOINT_URL"):
                del result[name]
        result |= cloud.variables()
        result["AWS_EC2_METADATA_DISABLED"] = "true"
        for name in ("NO_PROXY", "no_proxy"):
            result[name] = ",".join(filter(None, [result.get(name), ports.HOST, "localhost"]))
    return result


def wanted_bootstrap_version(root: Path) -> int:
    """The version of the toolkit stack that this CLI would deploy, from the template that it carries."""
    template = root / "node_modules" / "aws-cdk" / "lib" / "api" / "bootstrap" / "bootstrap-template.yaml"
    versions = re.findall(r"^\s+Value: '(\d+)'$", template.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not versions:
        raise CliError(f"{template} names no version.", hint="make setup", code="set-up")
    return int(versions[-1])


def bootstrap_version(session: Session) -> int | None:
    """The version of the toolkit stack that the environment has; None where it has none, or a half-made one."""
    outputs = _outputs(session, TOOLKIT_STACK) or {}
    version = outputs.get("BootstrapVersion", "")
    return int(version) if version.isdecimal() else None


def _outputs(session: Session, name: str) -> dict[str, str] | None:
    """What a stack says that it has; None where there is none, or a half-made one."""
    from botocore.exceptions import ClientError

    try:
        stack = session.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        # CloudFormation's answer to the name of a stack that is not there.
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
        return None
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def ensure_bootstrapped(session: Session, tools: Tools, say: Callable[[str], None]) -> bool:
    """Bootstraps the local cloud where needed; asks for it elsewhere, where it is the account owner's decision.

    Returns:
        Whether it had to be done.

    Raises:
        CliError: an account is not bootstrapped, or bootstrapping failed.
    """
    found = bootstrap_version(session)
    if not session.is_local:
        if found is None:
            raise CliError(
                f"Account {session.environment.account} is not bootstrapped for CDK in {session.environment.region}: "
                f"there is no stack {TOOLKIT_STACK}.",
                hint=f"Once, by somebody who may: sagestack bootstrap --env {session.environment.name}",
                code="not-deployed",
            )
        return False
    wanted = wanted_bootstrap_version(session.root)
    if found is not None and found >= wanted:
        return False
    say(f"Bootstrapping the local cloud (CDK toolkit version {wanted})")
    log = local_cloud.state_dir(session.root) / "bootstrap.log"
    where = f"aws://{session.environment.account}/{session.environment.region}"
    command = [tools.cdk, "bootstrap", where, "--no-notices", "--no-color"]
    # In a folder without cdk.json: where the CLI finds an app, it synthesizes it first, for nothing.
    code = _stream(command, session, log, lambda _line: None, folder=log.parent)
    if code != 0:
        raise CliError(f"cdk bootstrap failed; the end of {log}:\n{_tail(log)}", code="deploy-failed", exit_code=code)
    return True


def refuse_unguarded(session: Session) -> None:
    """Refuses to deploy roles with a permissions boundary that is not there: IAM would refuse each of them, in other words.

    Raises:
        CliError: nobody has bootstrapped the environment with `sagestack bootstrap`.
    """
    name = session.names.bootstrap_stack
    if session.environment.permissions_boundary and _outputs(session, name) is None:
        raise CliError(
            f"There is no stack {name}, which has the permissions boundary of all roles of {session.environment.name}.",
            hint=f"Once, by somebody who may: sagestack bootstrap --env {session.environment.name}. Or do without, by"
            f" permissions_boundary: false in environments/{session.environment.name}.yaml.",
            code="not-deployed",
        )


def deploy(
    session: Session,
    tools: Tools,
    approval: Approval,
    on_line: Callable[[Line], None],
    on_state: Callable[[str], None],
    *,
    may_ask: bool,
) -> Deployment:
    """Deploys all stacks of an environment.

    Args:
        session: the environment.
        tools: what `check_tools` found.
        approval: `broadening` asks before permissions widen, which needs a terminal.
        on_line: takes each line that a person should read.
        on_state: takes what goes on just now.
        may_ask: whether there is a person at a terminal who can be asked. Without one the CLI fails where it has to ask.
    """
    name = session.environment.name
    output = session.root / "cdk.out" / name
    output.parent.mkdir(exist_ok=True)
    log = output.parent / f"deploy-{name}.log"
    command = [tools.cdk, "deploy", "--all", "-c", f"env={name}", "--output", str(output)]
    command += ["--require-approval", approval, "--progress", "events", "--no-notices"]
    started = time.monotonic()
    if approval != "never" and may_ask:
        # The CLI asks its question itself, so the terminal is its own for the time.
        process = subprocess.Popen(command, cwd=session.root, env=variables(session.root, session.cloud))
        log.write_text("This deployment talked to the terminal; nothing was kept.\n", encoding="utf-8")
        return Deployment(_wait(process), log, {}, time.monotonic() - started)
    reader = Reader(on_line, on_state)
    code = _stream([*command, "--no-color"], session, log, reader.take)
    return Deployment(
        code, log, reader.stacks, time.monotonic() - started, tuple(dict.fromkeys(reader.reasons)), reader.went_back
    )


@dataclass(frozen=True)
class Line:
    """A line of the CDK CLI that a person should read."""

    text: str
    kind: Literal["done", "same", "warning", "error"]


class Reader:
    """Picks what matters from the CDK CLI's output; the rest is in the log."""

    _EVENT = re.compile(
        r"^(?P<stack>[\w-]+) \| +(?P<done>\d+(?:/\d+)?) \| [^|]+ \| (?P<status>[A-Z_]+) +\| (?P<type>[\w:]+) +\| (?P<rest>.*)$"
    )
    _RESULT = re.compile(r"^ *(?P<mark>✅|❌) +(?P<stack>[\w-]+)(?P<rest>.*)$")

    def __init__(self, on_line: Callable[[Line], None], on_state: Callable[[str], None]) -> None:
        self.stacks: dict[str, StackResult] = {}
        self.reasons: list[str] = []
        self.went_back = False
        self._on_line = on_line
        self._on_state = on_state
        self._changes: dict[str, int] = {}

    def take(self, line: str) -> None:
        """Takes one line, without its end."""
        if event := self._EVENT.match(line):
            self._take_event(event)
        elif result := self._RESULT.match(line):
            self._take_result(result)
        elif re.match(r"^\[(warning|error)\b", line, re.IGNORECASE):
            self._on_line(Line(line, "error" if line[1:6].lower() == "error" else "warning"))
        elif building := re.match(r"^([\w-]+): (deploying|creating CloudFormation changeset|start: \w+)", line):
            self._on_state(f"{building[1]}: {building[2].replace('start: ', '').lower()}")

    def _take_event(self, event: re.Match[str]) -> None:
        stack, status = event["stack"], event["status"]
        if status.endswith("_COMPLETE"):
            self._changes[stack] = self._changes.get(stack, 0) + 1
        # The CLI cuts statuses to a column's width.
        if status.startswith("UPDATE_ROLLBACK_COMPL") and event["type"] == "AWS::CloudFormation::Stack":
            self.went_back = True
        if status.endswith("_FAILED") or "ROLLBACK" in status:
            self._on_line(Line(f"{stack}: {status} {event['type']} {event['rest'].strip()}", "error"))
            self._keep_reason(event["type"], event["rest"])
        else:
            name = event["rest"].split()[0] if event["rest"].split() else event["type"]
            self._on_state(f"{stack}: {event['done']} {status.replace('_', ' ').lower()} {name}")

    def _keep_reason(self, kind: str, rest: str) -> None:
        """Keeps what a resource failed of. Being cancelled as another failed is no reason, and the stack only counts them."""
        found = re.match(r"^(?P<path>\S+) \(\S+\) (?P<why>.+)$", rest.strip())
        if found and kind != "AWS::CloudFormation::Stack" and "cancelled" not in found["why"]:
            why = found["why"].removeprefix("Error: ").rstrip()
            self.reasons.append(f"{found['path'].removesuffix('/Default').removesuffix('/Resource')}: {why}")

    def _take_result(self, result: re.Match[str]) -> None:
        stack = result["stack"]
        if result["mark"] == "❌":
            self.stacks[stack] = "failed"
            self._on_line(Line(f"{stack}{result['rest']}", "error"))
        elif "(no changes)" in result["rest"]:
            self.stacks[stack] = "no changes"
            self._on_line(Line(f"{stack}: no changes", "same"))
        else:
            self.stacks[stack] = "deployed"
            self._on_line(Line(f"{stack}: deployed", "done"))


def failure(deployment: Deployment) -> CliError:
    """The error for a deployment that did not end well."""
    failed = [stack for stack, result in deployment.stacks.items() if result == "failed"]
    what = f"{', '.join(failed)} failed" if failed else "cdk deploy failed"
    if deployment.reasons:
        back = ", and is as it was before" if deployment.went_back and len(failed) == 1 else ""
        message = "\n".join([f"{what}{back}:", *(f"  {reason}" for reason in deployment.reasons)])
    else:
        refused = _refusal(deployment.log)
        message = refused or f"{what}; the end of {deployment.log}:\n{_tail(deployment.log)}"
    return CliError(
        message,
        hint=f"Everything that the CDK CLI said is in {deployment.log}.",
        code="deploy-failed",
        details={
            "stacks": deployment.stacks,
            "log": str(deployment.log),
            "reasons": list(deployment.reasons),
        },
        exit_code=deployment.exit_code,
    )


def _stream(
    command: Sequence[str], session: Session, log: Path, take: Callable[[str], None], folder: Path | None = None
) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        cwd=folder or session.root,
        env=variables(session.root, session.cloud),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None  # because of PIPE
    try:
        with process.stdout, log.open("w", encoding="utf-8") as kept:
            for line in _lines(process.stdout):
                kept.write(line + "\n")
                kept.flush()
                take(line)
        return _wait(process)
    except KeyboardInterrupt:
        _end(process)
        raise


def _lines(stream: Iterator[str]) -> Iterator[str]:
    for line in stream:
        # The CLI colours some lines whatever it is told.
        yield re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()


def _wait(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> int:
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _end(process)
        raise
    return code if code >= 0 else 128 - code


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    # Ctrl-C reached the CLI, too; it gets a moment to end by itself.
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            process.send_signal(number)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
        return


def _path(root: Path) -> str:
    own = [str(root / ".venv" / "bin"), str(root / "node_modules" / ".bin")]
    return os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])


def _refusal(log: Path) -> str | None:
    """What a construct refused while the stacks were built: its own words, without the traceback that stands before them."""
    said = log.read_text(encoding="utf-8", errors="replace")
    found = re.findall(
        r"^Traceback .*?^ValueError: (.+?)(?=^\S*python\S* app\.py: |\Z)", said, re.MULTILINE | re.DOTALL
    )
    return found[-1].strip() if found else None


def _tail(path: Path, lines: int = 25) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-lines:])


def summary(stacks: Mapping[str, StackResult]) -> str:
    """One line for all stacks."""
    changed = sum(result == "deployed" for result in stacks.values())
    if stacks and not changed:
        return "No changes: everything is as the repository says."
    # Where the CLI talked to the terminal itself, nobody counted.
    return f"Deployed {changed} of {len(stacks)} stacks" if stacks else "Deployed"
