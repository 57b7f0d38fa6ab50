"""Notebook instances in a real container engine: a system like an instance's, which lifecycle scripts change as root.

Needs a Docker engine that answers, and .venv-notebook for what a browser would do.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.notebook_runtime.runtime import CodeRepository, Instance, NotebookRuntime, RuntimeRefused
from tests.jupyter_visitor import Visitor
from tests.local_cloud_fixtures import PYTHON, ROOT
from tests.notebook_instances import ARN, Printed, instance_spec
from tests.waiting import wait_for

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookRuntime]:
    # The client of the engine is only in the local cloud's own environment, and nothing of it is compiled.
    packages = next((PYTHON.parent.parent / "lib").glob("python3.*/site-packages"))
    sys.path.append(str(packages))
    try:
        from local_cloud.notebook_runtime import choose_runtime

        runtime = choose_runtime("docker", tmp_path_factory.mktemp("state"))
        assert runtime.kind == "docker"
        yield runtime
        runtime.close()
    finally:
        sys.path.remove(str(packages))


class Started:
    """An instance of its own volume, and what it prints."""

    def __init__(self, runtime: NotebookRuntime, folder: Path, **more: Any) -> None:
        self.printed = Printed()
        self.volume = folder / "volume"
        self.instance: Instance = runtime.start(instance_spec(folder, self.printed, **more))

    def hook(self, script: str, timeout_s: float = 120) -> int | None:
        return self.instance.run_hook("OnStart", "#!/bin/bash\n" + script, timeout_s)

    def printed_by(self, script: str) -> list[str]:
        """What a lifecycle script that succeeds prints."""
        self.printed.forget()
        assert self.hook("set -eu\n" + script) == 0, self.printed.of("LifecycleConfigOnStart")
        return self.printed.of("LifecycleConfigOnStart")

    def visitor(self, base_url: str) -> Visitor:
        visitor = Visitor(base_url)
        url = self.instance.authorize(secrets.token_urlsafe(32), time.time() + 300, 1800)
        assert visitor.open(url)[0] == 200
        return visitor


@pytest.fixture(scope="module")
def started(runtime: NotebookRuntime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """An instance without JupyterLab, for what lifecycle scripts see."""
    started = Started(runtime, tmp_path_factory.mktemp("instance"))
    yield started
    started.instance.stop(1)


def names_of_containers() -> list[str]:
    listed = subprocess.run(
        ["docker", "ps", "--all", "--format", '{{.Label "sagestack.local-cloud.name"}}'],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def test_a_lifecycle_script_runs_as_root_from_the_root_with_the_documented_path(started: Started) -> None:
    assert started.printed_by("id -un; pwd; echo $PATH; echo ${HOME:-no home}") == [
        "root",
        "/",
        "/sbin:/bin:/usr/sbin:/usr/bin",
        "no home",
    ]


def test_a_lifecycle_script_finds_an_instances_programs_and_folders(started: Started) -> None:
    script = """
for name in aws crontab curl git jq python3 sudo unzip wget; do command -v $name >/dev/null || echo missing $name; done
jq -r .ResourceArn /opt/ml/metadata/resource-metadata.json
id -u ec2-user
ls -d /home/ec2-user/SageMaker /home/ec2-user/anaconda3/envs/{JupyterSystemEnv,python3}
stat -c %U /home/ec2-user/SageMaker
sudo -u ec2-user -i pwd
"""
    assert started.printed_by(script) == [
        ARN,
        str(os.getuid() or 1000),
        "/home/ec2-user/SageMaker",
        "/home/ec2-user/anaconda3/envs/JupyterSystemEnv",
        "/home/ec2-user/anaconda3/envs/python3",
        "ec2-user",
        "/home/ec2-user",
    ]


@pytest.mark.parametrize(
    "way",
    [
        "source activate python3",
        "source /home/ec2-user/anaconda3/bin/activate python3",
        "conda activate /home/ec2-user/anaconda3/envs/python3",
    ],
)
def test_an_environment_is_activated_as_with_conda(started: Started, way: str) -> None:
    script = f"""sudo -u ec2-user -i <<'END'
set -e
{way}
command -v pip
python -c 'import boto3, pandas; print("has pandas")'
conda deactivate
command -v pip
END
"""
    assert started.printed_by(script) == [
        "/home/ec2-user/anaconda3/envs/python3/bin/pip",
        "has pandas",
        "/home/ec2-user/anaconda3/bin/pip",
    ]


def test_what_conda_cannot_do_here_is_refused_by_name(started: Started) -> None:
    assert started.hook("sudo -u ec2-user -i conda install --yes pandas") == 1
    assert started.printed.has("LifecycleConfigOnStart", "conda install --yes pandas: refused. The notebook instances")
    listed = started.printed_by("sudo -u ec2-user -i conda env list")
    assert [line.split()[0] for line in listed[2:]] == ["base", "JupyterSystemEnv", "python3"]
    assert started.printed_by("sudo -u ec2-user -i conda run -n python3 python -c 'print(1)'") == ["1"]


@pytest.mark.parametrize("user", ["root", "ec2-user"])
def test_both_users_have_the_roles_credentials(started: Started, user: str) -> None:
    as_user = "" if user == "root" else f"sudo -u {user} "
    printed = started.printed_by(f"{as_user}aws configure list; {as_user}aws configure get endpoint_url")
    assert any(re.match(r"\s*access_key\s+\*+MPLE\s+shared-credentials-file", line) for line in printed), printed
    assert any(re.match(r"\s*region\s+us-east-1", line) for line in printed), printed
    assert printed[-1] == "https://127.0.0.1:4566"


def test_cron_runs_what_a_script_leaves(started: Started) -> None:
    started.printed_by("echo '* * * * * ec2-user date >/tmp/cron-ran' >/etc/cron.d/one")
    assert started.hook("for i in $(seq 400); do [ -e /tmp/cron-ran ] && exit 0; sleep 0.5; done; exit 1", 250) == 0


def test_what_a_script_leaves_in_the_background_lives_on_and_zombies_do_not(started: Started) -> None:
    later = "until [ -e /tmp/go ]; do sleep 0.05; done; echo later"
    assert started.printed_by(f"({later}) &\n(setsid sleep 0.2 &)\necho now") == ["now"]
    # Not `printed_by`, which forgets what was printed.
    assert started.hook("touch /tmp/go") == 0
    assert started.printed.has("LifecycleConfigOnStart", "later")
    # Each is one for a moment.
    wait_for(lambda: started.printed_by("ps -eo stat | grep -c ^Z || true") == ["0"])


def test_a_repository_is_cloned_as_ec2_user(started: Started) -> None:
    made = "git init --quiet --bare /tmp/one.git; chown -R ec2-user /tmp/one.git"
    started.printed_by(made)
    assert started.instance.clone(CodeRepository("/tmp/one.git"), "one") is None
    assert started.printed_by("stat -c %U /home/ec2-user/SageMaker/one/.git/config") == ["ec2-user"]
    said = started.instance.clone(CodeRepository("https://127.0.0.1:1/none.git", None, "ada", "secret"), "none")
    assert said is not None
    assert "secret" not in said


def test_jupyterlab_runs_as_ec2_user_with_what_scripts_have_left(runtime: NotebookRuntime, tmp_path: Path) -> None:
    started = Started(runtime, tmp_path, root_access=False)
    started.printed_by("echo 'export PROJECT=churn' >>/etc/profile.d/jupyter-env.sh")
    url = started.instance.start_jupyter(None)
    visitor = started.visitor(url)
    program = """
import boto3, getpass, json, os, subprocess, sys
root = subprocess.run(["sudo", "-n", "id", "-un"], capture_output=True, text=True)
print(json.dumps([getpass.getuser(), sys.prefix, os.environ["PROJECT"], root.returncode, os.getcwd(),
    boto3.Session().get_credentials().access_key]))
"""
    for kernel in ("conda_python3", "python3"):
        assert json.loads(visitor.run(program, kernel)) == [
            "ec2-user",
            "/home/ec2-user/anaconda3/envs/python3",
            "churn",
            1,
            "/home/ec2-user/SageMaker",
            "ASIAEXAMPLE",
        ]
    assert Visitor(url).status() == 403
    # Scripts are root's all the same, as on AWS.
    assert started.printed_by("id -un; tail -1 /var/log/jupyter.log >/dev/null") == ["root"]
    # A program on the instance finds Jupyter.
    token = (
        "cat ~ec2-user/.local/share/jupyter/runtime/jpserver-*.json | jq -r '.url + \"api/kernels?token=\" + .token'"
    )
    assert started.printed_by(f'curl --silent --fail "$({token})"; echo') == ["[]"]
    started.instance.stop(10)
    assert not started.instance.is_running()


def test_with_root_access_ec2_user_becomes_root(runtime: NotebookRuntime, tmp_path: Path) -> None:
    started = Started(runtime, tmp_path)
    visitor = started.visitor(started.instance.start_jupyter(None))
    assert visitor.run("import subprocess; print(subprocess.getoutput('sudo -n id -un'))").strip() == "root"
    started.instance.stop(10)


def test_a_lifecycle_script_restarts_jupyterlab_as_awss_examples_do(runtime: NotebookRuntime, tmp_path: Path) -> None:
    started = Started(runtime, tmp_path)
    restart = "sudo -u ec2-user -i <<'END'\nsudo systemctl --no-block restart jupyter-server.service\nEND\n"
    assert started.printed_by(restart) == [], "before it runs there is nothing to do"
    visitor = started.visitor(started.instance.start_jupyter(None))
    started.printed_by("systemctl daemon-reload\n" + restart)
    assert started.printed.has("jupyter.log", "it is started again")

    def is_in() -> bool:
        try:
            return visitor.status("api/contents") == 200
        except OSError:
            return False

    wait_for(is_in, 120)
    assert started.hook("systemctl enable --now docker") == 1
    assert started.printed.has(
        "LifecycleConfigOnStart", "systemctl enable --now docker: refused. The notebook instances"
    )
    assert started.printed_by("sudo -u ec2-user systemctl restart jupyter-server 2>&1 || echo $?")[-1] == "4"
    started.instance.stop(10)


def test_the_volume_survives_a_stop_and_the_system_does_not(runtime: NotebookRuntime, tmp_path: Path) -> None:
    started = Started(runtime, tmp_path)
    started.printed_by("echo kept >/home/ec2-user/SageMaker/kept; echo lost >/etc/lost")
    started.instance.stop(1)
    started.instance.stop(1)
    with pytest.raises(RuntimeRefused, match="has ended"):
        started.hook("true")
    again = Started(runtime, tmp_path)
    assert again.printed_by("cat /home/ec2-user/SageMaker/kept; [ ! -e /etc/lost ]") == ["kept"]
    again.instance.stop(1)
    runtime.remove_volume(again.volume)
    assert not again.volume.exists()


def test_a_new_image_replaces_the_earlier_ones_of_this_project(
    runtime: NotebookRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from local_cloud.containers.docker_engine import connect
    from local_cloud.notebook_runtime import docker_image

    # Names of the test's own: the image that the other tests need must stay.
    monkeypatch.setattr(docker_image, "REPOSITORY", "sagestack-local-cloud-notebook-test")
    monkeypatch.setattr(
        docker_image, "LABELS", {"sagestack.local-cloud": "test", "sagestack.local-cloud.folder": "test"}
    )
    client: Any = connect()
    for version in ("one", "two"):
        (tmp_path / "Dockerfile").write_text(f"FROM scratch\nCOPY Dockerfile /{version}\n")
        image = docker_image.InstanceImage(client, tmp_path / "images", {"Dockerfile": tmp_path / "Dockerfile"})
        image.ensure(lambda line: None)
        assert [each.tags for each in client.images.list(name=docker_image.REPOSITORY)] == [[image.tag]]
    client.images.remove(image.tag)
    client.close()


def test_an_instance_whose_container_is_killed_has_ended(runtime: NotebookRuntime, tmp_path: Path) -> None:
    started = Started(runtime, tmp_path, name="doomed")
    assert started.instance.is_running()
    identity = started.instance.id  # type: ignore[attr-defined]
    subprocess.run(["docker", "kill", identity], check=True, capture_output=True)
    wait_for(lambda: not started.instance.is_running())
    with pytest.raises(RuntimeRefused, match="has ended"):
        started.instance.start_jupyter(None)
    started.instance.stop(1)
    wait_for(lambda: "notebook-instance/doomed" not in names_of_containers())


def test_a_killed_local_cloud_leaves_no_container(runtime: NotebookRuntime, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from local_cloud.notebook_runtime import choose_runtime
from local_cloud.notebook_runtime.runtime import InstanceSpec
runtime = choose_runtime("docker", Path({str(tmp_path / "state")!r}))
instance = runtime.start(InstanceSpec("orphan", "arn", Path({str(tmp_path / "volume")!r})))
print(instance.start_jupyter(None), flush=True)
sys.stdin.read()
"""
    cloud = subprocess.Popen([PYTHON, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert cloud.stdout is not None
    url = cloud.stdout.readline().strip()
    assert Visitor(url).status() == 403
    assert "notebook-instance/orphan" in names_of_containers()
    cloud.kill()
    cloud.wait()
    cloud.stdout.close()
    wait_for(lambda: "notebook-instance/orphan" not in names_of_containers())
