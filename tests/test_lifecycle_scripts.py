"""What lifecycle scripts do: composed at synth, and run for real in a folder that stands for an instance."""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import lzma
import os
import re
import signal
import subprocess
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copy_examples
import pytest
from sagestack.workbench.lifecycle.checks import MAX_CHARACTERS, problems_of_bash, problems_of_text
from sagestack.workbench.lifecycle.composer import Script, compose
from sagestack.workbench.lifecycle.options import ORDER, steps_of
from sagestack.workbench.lifecycle.shortening import shortened_bash, shortened_python
from sagestack.workbench.lifecycle.steps import PROGRAMS, Step

from tests.lifecycle_samples import CONTEXT, SAMPLES, Machine, composed, options
from tests.waiting import wait_for

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be kept from what others own")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, getpass.getuser())


@pytest.fixture(scope="module")
def everything() -> dict[str, Script]:
    """The start of each option alone, and of all together."""
    alone = {name: composed(options(name), "start") for name in SAMPLES}
    return {**alone, "all": composed(options(*SAMPLES), "start")}


# --- Composed at synth


def test_there_is_a_sample_of_each_option() -> None:
    assert set(SAMPLES) == set(ORDER)


def test_each_step_and_a_script_of_each_form_is_clean_for_shellcheck(
    everything: dict[str, Script], tmp_path: Path
) -> None:
    texts: dict[str, str] = {script.form: script.text for script in everything.values()}
    assert set(texts) == {"plain", "runner packed", "packed", "fetched"}
    for step in steps_of(options(*SAMPLES), CONTEXT):
        texts[f"step-{step.name}"] = "#!/bin/bash\n" + step.script
        for name, text in step.files.items():
            if name.endswith(".sh"):
                texts[f"file-{name}"] = "#!/bin/bash\n" + text
    assert _shellcheck(texts, tmp_path) == ""


@pytest.mark.long
def test_the_script_of_every_option_alone_is_clean_for_shellcheck(
    everything: dict[str, Script], tmp_path: Path
) -> None:
    assert _shellcheck({name: script.text for name, script in everything.items()}, tmp_path) == ""


def _shellcheck(texts: dict[str, str], folder: Path) -> str:
    for name, text in texts.items():
        (folder / f"{name}.sh").write_text(text)
    command = ["shellcheck", "--norc", "--format=gcc", *sorted(map(str, folder.iterdir()))]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout + found.stderr


def test_every_script_fits_into_what_sagemaker_takes(everything: dict[str, Script]) -> None:
    for name, script in everything.items():
        assert len(base64.b64encode(script.text.encode())) == script.characters <= MAX_CHARACTERS, name
        assert script.text.startswith("#!/bin/bash\n"), name
        assert "\r" not in script.text, name
        assert script.text.isascii(), name


def test_the_scripts_of_the_same_options_are_equal_byte_by_byte(everything: dict[str, Script]) -> None:
    for name in ("git", "metrics", "auto_stop"):
        assert composed(options(name), "start") == everything[name]


def test_nothing_is_downloaded_but_from_the_stacks_own_bucket(everything: dict[str, Script]) -> None:
    text = everything["all"].steps_text + "".join(script.text for script in everything.values())
    assert not re.search(r"\b(curl|wget)\b.*https?://(?!169\.254|localhost)", text)
    assert "githubusercontent" not in text


def test_a_small_script_is_plain_text() -> None:
    script = composed(options("fips", "environment_variables"), "start")
    assert script.form == "plain"
    assert "export PROJECT=churn" in script.text


def test_where_the_runner_takes_too_much_the_steps_stay_readable() -> None:
    step = Step("say", "echo here I am\n" * 200)
    script = compose("x", "start", [step], exported={}, environment={})
    assert script.form == "runner packed"
    assert "echo here I am" in script.text


def test_a_packed_script_can_be_read_as_it_says(tmp_path: Path) -> None:
    step = Step("say", "echo here I am\n" + "".join(f"echo line {number}\n" for number in range(800)))
    script = compose("x", "start", [step], exported={}, environment={})
    assert script.form == "packed"
    (tmp_path / "FILE").write_text(script.text)
    (command,) = re.findall(r"^#   (sed .*)$", script.text, flags=re.MULTILINE)
    (payload,) = re.findall(r"-----BEGIN PACKED-----\n(.*)\n-----END", script.text, flags=re.DOTALL)
    text = lzma.decompress(base64.b64decode(payload)).decode()
    assert "echo here I am\n" in text
    if subprocess.run(["which", "xz"], capture_output=True, check=False).returncode == 0:
        read = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert read.stdout == text


def test_what_does_not_fit_is_refused_with_the_size_of_each_step() -> None:
    noise = base64.b85encode(os.urandom(20000)).decode()
    steps = [Step("big", f"echo '{noise}'\n"), Step("small", "true\n")]
    with pytest.raises(
        ValueError, match=r"lifecycle config x, hook start: \d+ characters .*Bytes before: big \d+, small \d+"
    ):
        compose("x", "start", steps, exported={}, environment={})


def test_what_is_fetched_is_named_by_its_sha256(everything: dict[str, Script]) -> None:
    script = everything["all"]
    assert script.form == "fetched"
    assert "export SAGESTACK_STEPS_URL=s3://assets-bucket/steps.sh" in script.text
    digest = hashlib.sha256(script.steps_text.encode()).hexdigest()
    assert f"export SAGESTACK_STEPS_SHA256={digest}\n" in script.text
    assert "auto_stop.py" in script.steps_text


def test_text_beyond_ascii_is_packed() -> None:
    script = compose("x", "start", [Step("say", "echo grüß Gott\n")], exported={}, environment={})
    assert script.form == "packed"
    assert script.text.isascii()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Step("a", "true"), Step("a", "true")], "two steps have this name"),
        ([Step("a", "true"), Step("a", "true", is_of_user=True)], "a script of yours has the name of another step"),
        ([Step("a b", "true")], "is no name for a step"),
        ([Step("background", "true")], "is no name for a step"),
        ([Step("a", "true\r\n")], "carriage return"),
        ([Step("a", "echo ${Token[X.1]}")], "value of deployment time"),
        ([Step("a", "true", background=True, after=("c",)), Step("b", "true")], "there is no such step"),
        ([Step("a", "true", after=("b",)), Step("b", "true", background=True)], "is in the foreground, and after 'b'"),
        ([Step("a", "", hook="create", after=("b",), background=True), Step("b", "")], "runs at its start"),
        (
            [Step("a", "", background=True, after=("b",)), Step("b", "", background=True, after=("a",))],
            "waits for itself",
        ),
        ([Step("a", "", required=True, background=True)], "does not wait for it"),
        ([Step("a", "", files={"x": "1"}), Step("b", "", files={"x": "2"})], "another step brings another file"),
    ],
    ids=[
        "twice",
        "users",
        "name",
        "reserved",
        "crlf",
        "token",
        "unknown",
        "place",
        "hook",
        "circle",
        "required",
        "file",
    ],
)
def test_steps_that_cannot_run_together_are_refused(steps: list[Step], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        compose("x", "start", steps, exported={}, environment={})


def test_every_program_means_the_same_without_its_comments() -> None:
    for file in sorted(PROGRAMS.glob("*.py")):
        text = file.read_text()
        short = shortened_python(text)
        assert len(short) < len(text)
        assert "#" not in short or compile(short, file.name, "exec"), file
        assert _without_docstrings(short) == _without_docstrings(text), file


def _without_docstrings(text: str) -> str:
    import ast

    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [
                each
                for each in node.body
                if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
                and not isinstance(each, ast.Pass)
            ]
    return ast.dump(tree)


def test_comments_are_taken_and_strings_stay() -> None:
    text = textwrap.dedent(
        '''\
        #!/usr/bin/env python3
        """Why."""

        X = "# no comment"  # a comment
        Y = """a

        # b
        """


        class A:
            """Only this."""


        def f():
            """Says ü."""
            return "ü"  # ü
        '''
    )
    short = shortened_python(text)
    assert '"""Why."""' not in short
    assert "a comment" not in short
    found: dict[str, Any] = {}
    exec(short, found)
    assert (found["X"], found["Y"], found["f"]()) == ("# no comment", "a\n\n# b\n", "ü")


def test_heredocs_stay_as_they_are_in_short_bash() -> None:
    text = "# away\ncat <<'END'\n# stays\n\nEND\n\nread -r x <<<word\n# away\n"
    assert shortened_bash(text) == "cat <<'END'\n# stays\n\nEND\nread -r x <<<word\n"


# --- Scripts of the user's own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/bash\necho a\r\necho b\r\n", "line 2 ends with CRLF"),
        ("#!/usr/bin/python3\nprint(1)\n", "line 1 is '#!/usr/bin/python3'"),
        ("echo a\n", "line 1 is 'echo a'"),
        ("\ufeff#!/bin/bash\n", "byte order mark"),
        ("#!/bin/bash\n" + "# x\n" * 4000, "is 21352 characters in base64, and SageMaker takes 16384"),
    ],
    ids=["crlf", "python", "shebang", "bom", "size"],
)
def test_a_text_that_is_no_script_is_refused(text: str, said: str) -> None:
    assert any(said in problem for problem in problems_of_text(text))


def test_what_bash_and_shellcheck_say_names_the_line() -> None:
    assert problems_of_bash("#!/bin/bash\nif true; then\n")[0].startswith("bash cannot read it: line ")
    (found,) = problems_of_bash("#!/bin/bash\ncd /somewhere\nrm -rf $X/*\n", severity="warning")[:1]
    assert found.startswith("line 2: ")
    assert "SC2164" in found
    assert problems_of_bash("#!/bin/bash\necho fine\n") == []


# --- Run


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, subprocess.CompletedProcess[str]]]:
    """One start with steps of all kinds, to its end."""
    machine = Machine(tmp_path_factory.mktemp("machine"), getpass.getuser())
    steps = [
        Step("says", 'echo "$WORD of $SAGESTACK_NOTEBOOK, $PROJECT"\n', variables={"WORD": "it's $(id) `id`"}),
        Step("fails", "echo oh no; false; echo never"),
        Step("unset", 'echo "$NOBODY_SET_THIS"'),
        Step("hangs", "echo waiting; sleep 30", timeout_s=1),
        Step("loud", "head -c 600000 /dev/zero | tr '\\0' x; echo the end"),
        Step("leaves", 'sleep 30 & echo $! >"$SAGESTACK_VOLUME/left"; echo left'),
        Step("second", 'cat "$SAGESTACK_VOLUME/first"', background=True, after=("first", "broken")),
        Step("first", 'sleep 0.3; echo made >"$SAGESTACK_VOLUME/first"', background=True),
        Step("broken", "exit 9", background=True),
        Step("program", 'cat "$SAGESTACK_PROGRAMS/data.txt"', files={"data.txt": "END\n$HOME `id`\n"}),
        Step("at-creation", "exit 3", hook="create"),
    ]
    result = machine.run_steps(steps, environment={"PROJECT": "a \"b\" 'c' $(id)"})
    machine.wait_for("second", "broken")
    yield machine, result
    subprocess.run(["kill", (machine.volume / "left").read_text().strip()], check=False)


Ran = tuple[Machine, "subprocess.CompletedProcess[str]"]


def test_a_step_that_fails_fails_neither_the_instance_nor_the_others(ran: Ran) -> None:
    machine, result = ran
    assert result.returncode == 0, result.stdout + result.stderr
    assert machine.states() == {
        "says": "succeeded",
        "fails": "failed",
        "unset": "failed",
        "hangs": "failed",
        "loud": "succeeded",
        "leaves": "succeeded",
        "second": "succeeded",
        "first": "succeeded",
        "broken": "failed",
        "program": "succeeded",
    }


def test_the_status_says_exit_codes_and_times(ran: Ran) -> None:
    steps = ran[0].status()
    assert steps["fails"]["exit_code"] == 1
    assert steps["broken"]["exit_code"] == 9
    assert steps["hangs"]["exit_code"] == 124
    for step in steps.values():
        assert step["began"] <= step["ended"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", step["began"])


def test_the_hooks_own_log_shows_what_failed(ran: Ran) -> None:
    assert "fails: failed with exit code 1" in ran[1].stdout
    assert "    oh no\n" in ran[1].stdout
    assert "never" not in ran[1].stdout


def test_no_value_breaks_out_of_its_quotes(ran: Ran) -> None:
    assert ran[0].log("says") == "it's $(id) `id` of explore, a \"b\" 'c' $(id)\n"
    assert ran[0].log("program") == "END\n$HOME `id`\n"


def test_kernels_and_terminals_find_the_variables(ran: Ran) -> None:
    profile = ran[0].folder / "profile.d" / "jupyter-env.sh"
    shown = subprocess.run(["bash", "-c", f'. {profile}; echo "$PROJECT"'], capture_output=True, text=True, check=True)
    assert shown.stdout == "a \"b\" 'c' $(id)\n"


def test_a_step_that_hangs_is_ended(ran: Ran) -> None:
    assert ran[0].log("hangs") == "waiting\nEnded: a step like this one may take 1 seconds.\n"


@pytest.mark.long
def test_a_step_that_does_not_listen_is_killed(machine: Machine) -> None:
    assert machine.run_steps([Step("hangs", "trap '' TERM; sleep 30", timeout_s=1)]).returncode == 0
    assert machine.status()["hangs"]["exit_code"] == 137


def test_a_log_has_an_end_and_keeps_it(ran: Ran) -> None:
    log = ran[0].log("loud")
    assert len(log) < 400_000
    assert log.endswith("the end\n")
    assert "[... shortened" in log


def test_what_a_step_leaves_running_keeps_nobody_waiting(ran: Ran) -> None:
    took = ran[0].status()["leaves"]
    assert took["state"] == "succeeded"
    assert ran[0].log("leaves") == "left\n"


def test_steps_in_the_background_wait_for_those_before_them(ran: Ran) -> None:
    assert ran[0].log("second") == "made\n"


def test_a_script_that_is_required_fails_the_instance_and_says_so_last(machine: Machine) -> None:
    result = machine.run_steps([Step("mine", "echo why; exit 4", required=True), Step("later", "true")])
    assert result.returncode == 1
    assert (
        result.stdout.strip()
        .splitlines()[-1]
        .endswith(f"The script mine is required, and failed: see {machine.home}/log/mine.log, or the lines above.")
    )
    assert machine.states() == {"mine": "failed"}


def test_a_volume_that_takes_nothing_costs_the_logs_alone(machine: Machine) -> None:
    machine.volume.rmdir()
    machine.volume.write_text("a file where the volume should be")
    result = machine.run_steps([Step("a", "echo a"), Step("b", "echo b", background=True)])
    assert result.returncode == 0
    wait_for(lambda: machine.states(machine.run_folder) == {"a": "succeeded", "b": "succeeded"})


@pytest.mark.long
@as_root
def test_a_user_who_is_not_there_fails_only_the_users_steps(machine: Machine) -> None:
    machine.settings["SAGESTACK_USER"] = "nobody-of-this-name"
    result = machine.run_steps([Step("theirs", "true", user="ec2-user"), Step("ours", "echo fine")])
    assert result.returncode == 0
    assert machine.states() == {"theirs": "failed", "ours": "succeeded"}
    assert "There is no user nobody-of-this-name on this machine." in machine.log("theirs")


@as_root
def test_root_follows_nobodys_link_on_the_volume(machine: Machine, tmp_path: Path) -> None:
    # Another user must get here: pytest's own folders are for whoever runs it.
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    treasure = tmp_path / "roots-own"
    (treasure / "log").mkdir(parents=True)
    subprocess.run(["chown", "nobody", machine.volume], check=True)
    machine.home.symlink_to(treasure)
    machine.settings["SAGESTACK_USER"] = "nobody"
    result = machine.run_steps([Step("a", "echo a"), Step("b", "id -un", user="ec2-user")])
    assert result.returncode == 0
    assert machine.states(machine.run_folder) == {"a": "succeeded", "b": "succeeded"}
    assert [each.name for each in treasure.rglob("*")] == ["log"]
    assert (machine.run_folder / "log/b.log").read_text() == "nobody\n"


@pytest.mark.long
def test_without_python_everything_else_still_runs(machine: Machine) -> None:
    (auto_stop,) = steps_of(options("auto_stop"), CONTEXT)
    blind = Step(auto_stop.name, "SAGESTACK_PYTHON=\n" + auto_stop.script)
    assert machine.run_steps([blind, Step("after", "true")]).returncode == 0
    assert machine.states() == {"auto-stop": "failed", "after": "succeeded"}
    assert "this instance does not stop by itself" in machine.log("auto-stop")


@pytest.mark.long
def test_a_second_run_takes_the_place_of_the_first(machine: Machine) -> None:
    steps = [Step("counts", 'echo x >>"$SAGESTACK_VOLUME/count"'), Step("b", "echo b", background=True)]
    for _ in range(2):
        assert machine.run_steps(steps, environment={"A": "1"}).returncode == 0
        machine.wait_for("b")
    assert (machine.volume / "count").read_text() == "x\nx\n"
    assert (machine.folder / "profile.d/jupyter-env.sh").read_text().count("sagestack.sh ]") == 1
    assert (machine.home / "log/counts.log.1").exists()


@pytest.mark.long
def test_what_happened_at_creation_is_still_said_after_the_first_start(machine: Machine) -> None:
    steps = [Step("made", "true", hook="create"), Step("started", "true")]
    machine.run_steps(steps, hook="create")
    assert machine.states() == {"made": "succeeded"}
    machine.run_steps(steps)
    assert machine.states() == {"made": "succeeded", "started": "succeeded"}
    machine.run_steps(steps)
    assert machine.states() == {"started": "succeeded"}


def test_jupyterlab_restarts_once_and_only_for_what_is_new(machine: Machine) -> None:
    (machine.folder / "systemd").mkdir()
    machine.settings["SAGESTACK_SYSTEMD"] = str(machine.folder / "systemd")
    machine.command("systemctl", f'echo "$*" >>{machine.folder}/asked')
    machine.command("ps", "echo '?'")
    machine.command("pgrep", "exit 1")
    for _ in range(2):
        machine.run_steps([], environment={"A": "1"})
    asked = (machine.folder / "asked").read_text().splitlines()
    assert asked == ["is-active --quiet jupyter-server.service", "--no-block restart jupyter-server.service"]


@pytest.mark.long
def test_jupyterlab_is_not_restarted_under_somebodys_terminal(machine: Machine) -> None:
    (machine.folder / "systemd").mkdir()
    machine.settings["SAGESTACK_SYSTEMD"] = str(machine.folder / "systemd")
    machine.command("systemctl", f'echo "$*" >>{machine.folder}/asked')
    machine.command("pgrep", "exit 1")
    machine.command("ps", "echo pts/0")
    result = machine.run_steps([], environment={"A": "1"})
    assert "restart jupyter" not in (machine.folder / "asked").read_text()
    assert "JupyterLab is in use and was not restarted" in result.stdout


def _publish_to(machine: Machine, broken: str = "false") -> Any:
    """A program `aws` that copies what is published, and a Python that has no boto3."""

    def publish(text: str) -> str:
        (machine.folder / "published").write_text(text)
        return "s3://assets/steps.sh"

    machine.command("aws", f"{broken} && exit 1\ncat {machine.folder}/published")
    machine.command("python3", 'case "$*" in *get_object*) exit 1 ;; esac; exec /usr/bin/env -i /usr/bin/python3 "$@"')
    return publish


def _too_big(machine: Machine) -> list[Step]:
    noise = base64.b85encode(os.urandom(12000)).decode()
    return [
        Step("first", 'echo ran >"$SAGESTACK_VOLUME/ran"'),
        Step("second", "true", background=True, files={"noise.txt": noise}),
    ]


@pytest.mark.long
def test_steps_that_do_not_fit_are_fetched_checked_and_run(machine: Machine) -> None:
    script = compose("x", "start", _too_big(machine), exported={}, environment={}, publish=_publish_to(machine))
    assert script.form == "fetched"
    result = machine.run(script)
    assert result.returncode == 0, result.stdout
    assert machine.wait_for("second") == {"first": "succeeded", "second": "succeeded"}
    assert (machine.volume / "ran").exists()


def test_steps_that_are_not_what_was_deployed_are_never_run(machine: Machine) -> None:
    script = compose("x", "start", _too_big(machine), exported={}, environment={}, publish=_publish_to(machine))
    published = machine.folder / "published"
    genuine = published.read_text()
    published.write_text(genuine + f"touch {machine.volume}/evil\n")
    result = machine.run(script)
    assert result.returncode == 0
    assert "is not what was deployed: its SHA-256 is another" in result.stdout
    assert machine.states() == {"fetch-steps": "failed"}
    assert "its SHA-256 is another" in machine.log("fetch-steps")
    # It is tried again, and works as soon as it can.
    published.write_text(genuine)
    assert machine.wait_for("second")["fetch-steps"] == "succeeded"
    assert (machine.volume / "ran").exists()
    assert not (machine.volume / "evil").exists()


@pytest.mark.long
def test_what_is_ended_in_the_middle_says_so(machine: Machine) -> None:
    machine.run_steps([Step("goes-on", "sleep 60", background=True)])
    wait_for(lambda: machine.states() == {"goes-on": "running"})
    (pid,) = _processes(machine, "background-start.sh")[:1]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: machine.states(machine.run_folder) == {"goes-on": "failed"})
    assert machine.status(machine.run_folder)["goes-on"]["exit_code"] == 143


def _processes(machine: Machine, name: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(machine.run_folder / name) in line.split("\0"):
            found.append(int(folder.name))
    return sorted(found)


@pytest.mark.long
def test_the_hook_that_is_killed_leaves_a_start_that_works(machine: Machine) -> None:
    script = compose("x", "start", [Step("slow", "sleep 60")], exported={}, environment={})
    (machine.folder / "hook.sh").write_text(script.text)
    hook = subprocess.Popen(["bash", str(machine.folder / "hook.sh")], env=machine.settings, stdout=subprocess.DEVNULL)
    wait_for(lambda: machine.states(machine.run_folder) == {"slow": "running"})
    hook.kill()
    hook.wait()
    assert machine.run_steps([Step("slow", "true")]).returncode == 0
    assert machine.states() == {"slow": "succeeded"}


@pytest.mark.long
def test_steps_for_which_no_time_is_left_run_in_the_background(machine: Machine) -> None:
    machine.settings["SAGESTACK_BUDGET"] = "6"
    result = machine.run_steps([Step("slow", "sleep 2"), Step("late", "true")])
    assert result.returncode == 0
    assert "late: goes to the background" in result.stdout
    assert machine.wait_for("late", "slow") == {"slow": "succeeded", "late": "succeeded"}


@pytest.mark.long
@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="no file system of its own can be mounted here",
)
def test_a_full_disk_costs_the_copies_alone(machine: Machine) -> None:
    script = compose("x", "start", [Step("a", "echo a; echo b")], exported={}, environment={"A": "1"})
    (machine.folder / "hook.sh").write_text(script.text)
    result = subprocess.run(
        [
            *("unshare", "-m", "bash", "-c"),
            f"mount -t tmpfs -o size=16k none {machine.volume}; head -c 99999 /dev/zero >{machine.volume}/full;"
            f" exec bash {machine.folder}/hook.sh",
        ],
        env={**machine.settings, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert machine.states(machine.run_folder) == {"a": "succeeded"}


# --- What runs again and again


def _every(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    step = Step("recurs", f'bash "$SAGESTACK_PROGRAMS/every.sh" looks {" ".join(words)}', files=dict(_EVERY))
    return machine.run_steps([step], environment={"A": "it's"})


_EVERY = {
    "every.sh": next(s for s in steps_of(options("auto_stop"), CONTEXT) if s.name == "auto-stop").files["every.sh"]
}


def test_a_timer_of_systemd_runs_what_recurs(machine: Machine) -> None:
    (machine.folder / "systemd").mkdir()
    machine.settings.update(SAGESTACK_SYSTEMD=str(machine.folder / "systemd"), SAGESTACK_UNITS=str(machine.folder))
    machine.command("systemctl", f'echo "$*" >>{machine.folder}/asked')
    _every(machine, "90", "root", "bash", "-c", '\'echo "$A" "$SAGESTACK_NOTEBOOK"\'')
    assert machine.states() == {"recurs": "succeeded"}, machine.log("recurs")
    assert "restart sagestack-looks.timer" in (machine.folder / "asked").read_text()
    assert "OnUnitActiveSec=90\n" in (machine.folder / "sagestack-looks.timer").read_text()
    (command,) = re.findall("ExecStart=(.*)\n", (machine.folder / "sagestack-looks.service").read_text())
    # With nothing of this environment, as systemd does it.
    subprocess.run(command.split(), env={}, check=True)
    assert machine.log("looks") == "it's explore\n"


@pytest.mark.long
def test_where_nothing_else_answers_a_loop_does_it_and_a_second_one_takes_its_place(machine: Machine) -> None:
    once = machine.run_folder / "every-looks.sh"
    try:
        for _ in range(2):
            _every(machine, "1", "root", "echo", "looked")
            wait_for(lambda: machine.log("looks").count("looked\n") >= 2)
        assert len(_processes(machine, "every-looks.sh")) in (1, 2)  # the loop, and what it may be running
        assert "a loop runs it every 1 seconds" in machine.log("recurs")
    finally:
        os.kill(int(Path(f"{once}.pid").read_text()), signal.SIGTERM)


@pytest.mark.long
def test_auto_stop_looks_once_a_minute_and_people_can_keep_the_instance(machine: Machine) -> None:
    script = composed(options(auto_stop={"idle_minutes": 30, "opt_out_hours": 4}), "start", [])
    (machine.folder / "published").write_text(script.steps_text)
    _publish_to(machine)
    try:
        assert machine.run(script).returncode == 0
        assert machine.wait_for("auto-stop") == {"auto-stop": "succeeded"}
        wait_for((machine.home / "auto-stop.json").exists)
        assert json.loads((machine.programs / "auto-stop-settings.json").read_text())["idle_minutes"] == 30
        kept = subprocess.run([machine.bin / "keep-running", "2h"], capture_output=True, text=True, check=True)
        assert "It is kept running until" in kept.stdout
        assert (machine.home / "keep-running-until").exists()
    finally:
        os.kill(int((machine.run_folder / "every-auto-stop.sh.pid").read_text()), signal.SIGTERM)


# --- Example notebooks


def _examples(folder: Path, **files: str) -> zipfile.ZipFile:
    path = folder / "examples.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return zipfile.ZipFile(path)


def test_examples_come_once_are_updated_and_never_take_what_people_changed(tmp_path: Path) -> None:
    folder, memory = tmp_path / "examples", tmp_path / ".sagestack/examples.json"
    first = _examples(tmp_path, a="1", b="1", c="1", d__e="1")
    assert copy_examples.copy(first, folder, memory) == {"new": 4, "updated": 0, "unchanged": 0, "left alone": 0}
    (folder / "b").write_text("mine")
    (folder / "c").unlink()
    second = _examples(tmp_path, a="2", b="2", c="2", d__e="1", f="1")
    assert copy_examples.copy(second, folder, memory) == {"new": 1, "updated": 1, "unchanged": 1, "left alone": 2}
    assert (folder / "a").read_text() == "2"
    assert (folder / "b").read_text() == "mine"
    assert not (folder / "c").exists()


def test_a_file_that_was_there_before_the_examples_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/a").write_text("mine")
    copy_examples.copy(_examples(tmp_path, a="1"), tmp_path / "examples", tmp_path / "memory.json")
    assert (tmp_path / "examples/a").read_text() == "mine"


def test_an_archive_writes_nowhere_else(tmp_path: Path) -> None:
    archive = _examples(tmp_path, **{"../out": "1", "/abs": "1", "in": "1"})
    copy_examples.copy(archive, tmp_path / "examples", tmp_path / "memory.json")
    assert [each.name for each in (tmp_path / "examples").iterdir()] == ["in"]
    assert not (tmp_path / "out").exists()
