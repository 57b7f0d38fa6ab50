"""Lifecycle scripts in a container with a system like an instance's: as root, for ec2-user, with cron and login shells.

Needs a Docker engine that answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sagestack.workbench.lifecycle.options import environment_of, steps_of
from sagestack.workbench.lifecycle.rendering import Rendering
from sagestack.workbench.lifecycle.steps import Step, script

from local_cloud.notebook_runtime.runtime import Instance
from tests.lifecycle_samples import CONTEXT, options
from tests.local_cloud_fixtures import PYTHON
from tests.notebook_instances import Printed, instance_spec
from tests.waiting import wait_for

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]


class Started:
    """An instance on which a lifecycle config ran that stops it when idle and sets a variable, with steps of each user."""

    def __init__(self, instance: Instance, printed: Printed, volume: Path) -> None:
        self.instance, self.printed, self.home = instance, printed, volume / ".sagestack"
        chosen = options("auto_stop", "environment_variables", "git")
        steps = [
            *steps_of(chosen, CONTEXT),
            Step("as-root", 'id -un; echo "$SAGESTACK_PYTHON"; "$SAGESTACK_PYTHON" -c "import boto3"'),
            Step("as-user", "id -un; echo $HOME; touch ~/SageMaker/mine", user="ec2-user"),
            Step("later", "id -un; sleep 1; echo done", background=True, user="ec2-user"),
            Step("fails", "exit 3"),
        ]
        rendering = Rendering("standard", "start", steps, CONTEXT.exported, environment_of(chosen, CONTEXT))
        # Without the limit of SageMaker's, for there is no S3 here to fetch the rest from.
        text = rendering.header() + script("runner.sh") + rendering.body(shorten=True)
        self.exit_code = instance.run_hook("OnStart", text, 280)
        wait_for(lambda: self.states().get("later") == "succeeded", 60, str(printed.of("LifecycleConfigOnStart")))

    def states(self) -> dict[str, str]:
        steps = json.loads((self.home / "status.json").read_text())["steps"]
        return {name: step["state"] for name, step in steps.items()}

    def says(self, command: str) -> list[str]:
        self.printed.forget()
        assert self.instance.run_hook("OnStart", f"#!/bin/bash\n{command}\n", 120) == 0
        return self.printed.of("LifecycleConfigOnStart")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    # The client of the engine is only in the local cloud's own environment, and nothing of it is compiled.
    packages = next((PYTHON.parent.parent / "lib").glob("python3.*/site-packages"))
    sys.path.append(str(packages))
    try:
        from local_cloud.notebook_runtime import choose_runtime

        runtime = choose_runtime("docker", tmp_path_factory.mktemp("state"))
        folder, printed = tmp_path_factory.mktemp("instance"), Printed()
        instance = runtime.start(instance_spec(folder, printed))
        try:
            yield Started(instance, printed, folder / "volume")
        finally:
            instance.stop(1)
            runtime.close()
    finally:
        sys.path.remove(str(packages))


def test_all_steps_run_and_the_one_that_fails_fails_alone(started: Started) -> None:
    assert started.exit_code == 0
    assert started.states() == {
        "auto-stop": "succeeded",
        "git": "succeeded",
        "as-root": "succeeded",
        "as-user": "succeeded",
        "later": "succeeded",
        "fails": "failed",
    }


def test_steps_run_as_whom_they_say_with_a_python_that_has_boto3(started: Started) -> None:
    log = started.home / "log"
    wait_for(lambda: (log / "later.log").exists() and "done" in (log / "later.log").read_text())
    assert (log / "as-root.log").read_text().startswith("root\n/home/ec2-user/anaconda3/envs/JupyterSystemEnv/")
    assert (log / "as-user.log").read_text() == "ec2-user\n/home/ec2-user\n"
    assert (log / "later.log").read_text() == "ec2-user\ndone\n"


def test_what_is_on_the_volume_belongs_to_its_owner(started: Started) -> None:
    listed = started.says(
        "stat -c %U /home/ec2-user/SageMaker/.sagestack/{,status.json,log/as-root.log} /opt/sagestack/programs"
    )
    assert listed == ["ec2-user", "ec2-user", "ec2-user", "root"]


def test_login_shells_find_the_variables_and_the_identity(started: Started) -> None:
    said = started.says("sudo -u ec2-user -i bash -lc 'echo $PROJECT; git config user.email'")
    assert said == ["churn", "ada@example.org"]


def test_auto_stop_looks_and_people_keep_the_instance(started: Started) -> None:
    wait_for((started.home / "auto-stop.json").exists, 150, "auto-stop did not look")
    assert json.loads((started.home / "auto-stop.json").read_text())["state"]
    # Whoever can change conda's Python must not have it run by root.
    assert started.says("stat -c %U /dev/shm/sagestack-auto-stop-*.json") == ["ec2-user"]
    said = started.says("sudo -u ec2-user -i keep-running 2h; sudo -u ec2-user -i keep-running off")
    assert "It is kept running until" in said[0]
    assert said[1] == "It stops by itself again."
