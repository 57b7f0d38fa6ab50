"""What options of a lifecycle config do on an instance that is not as it should be, what they may, and which are refused."""

from __future__ import annotations

import configparser
import io
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import private_access
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Match, Template
from pydantic import ValidationError
from sagestack.settings.names import EnvironmentNames
from sagestack.settings.workbench.lifecycle import LifecycleOptions
from sagestack.workbench.lifecycle import mounts
from sagestack.workbench.lifecycle.checks import problems_of_bash
from sagestack.workbench.lifecycle.context import GrantContext
from sagestack.workbench.lifecycle.options import grant_all
from sagestack.workbench.lifecycle.steps import SCRIPTS, Step

from tests.lifecycle_steps import SECRET, Instance, steps

OURS = "backup conda_environments extensions git metrics mount package_index packages run_notebook"
EFS = {"kind": "efs", "file_system_id": "fs-0123456789abcdef0", "path": "/home/ec2-user/SageMaker/shared"}
LUSTRE = {
    "kind": "fsx-lustre",
    "file_system_id": "fs-1123456789abcdef0",
    "path": "/mnt/fast",
    "mount_name": "abcdefgh",
    "security_group_id": "sg-00000002",
}
ONTAP = {
    "kind": "fsx-ontap",
    "file_system_id": "fs-2123456789abcdef0",
    "storage_virtual_machine_id": "svm-0123456789abcdef0",
    "path": "/mnt/ontap",
}
ZFS = {"kind": "fsx-openzfs", "file_system_id": "fs-3123456789abcdef0", "path": "/mnt/zfs", "volume_path": "/fsx/data"}


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path / "instance")


# --- All of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS.split())
def test_scripts_are_clean_as_they_stand(name: str) -> None:
    assert problems_of_bash("#!/bin/bash\n" + (SCRIPTS / f"{name}.sh").read_text()) == []


def test_what_takes_long_is_in_the_background() -> None:
    found = steps(
        packages=[{"manager": "pip", "packages": ["pandas"]}],
        conda_environments={"research": {}},
        r_kernel=True,
        mounts=[EFS],
        extensions={"pip": ["jupyterlab-git"]},
        backup={},
        run_notebook={"path": "a.ipynb"},
        git={"user_name": "Ada", "user_email": "ada@example.org"},
        package_index={"url": "https://pypi.example.org/simple"},
        metrics={},
    )
    assert {name for name, step in found.items() if not step.background} == {
        "backup-look",
        "git",
        "metrics",
        "package-index",
    }
    # A notebook wants all that others prepare.
    assert set(found["run-notebook"].after) == {
        name for name, step in found.items() if step.background and name != "run-notebook"
    }


def test_a_password_is_never_in_a_script() -> None:
    found = steps(
        git={"user_name": "Ada", "user_email": "ada@example.org", "secret_arn": SECRET, "hosts": ["github.com"]},
        package_index={"url": "https://pypi.example.org/simple", "secret_arn": SECRET},
    )
    for step in found.values():
        assert SECRET in step.variables.values()


# --- Packages ---------------------------------------------------------------------------------------


def packages(*lines: tuple[str, str, list[str]]) -> Step:
    options = [{"manager": manager, "kernel": kernel, "packages": names} for manager, kernel, names in lines]
    return steps(packages=options)["packages"]


def test_packages_go_into_the_environment_of_their_kernel(instance: Instance) -> None:
    code, said = instance.run(
        packages(("pip", "python3", ["xgboost-cpu==3.2.0", "pandas"]), ("conda", "python3", ["r-base>=4"]))
    )
    assert code == 0, said
    prefix = f"{instance.root}/conda/envs/python3"
    assert instance.calls == [
        "python -m pip install xgboost-cpu==3.2.0 pandas",
        f"conda install --yes --quiet --prefix {prefix} r-base>=4",
    ]


def test_an_index_that_does_not_answer_keeps_no_other_package_away(instance: Instance) -> None:
    instance.command("conda/envs/python3/bin/python", 'echo "Could not connect to $PIP_DEFAULT_TIMEOUT" >&2; exit 1')
    code, said = instance.run(packages(("pip", "python3", ["a"]), ("conda", "python3", ["b"])))
    assert code == 1
    assert "Could not connect to 15" in said
    assert "pip did not install into python3 (exit code 1; 124: it took too long): a" in said
    assert instance.calls[-1].endswith(" b")


def test_an_environment_that_is_not_there_is_said_with_those_that_are(instance: Instance) -> None:
    code, said = instance.run(packages(("pip", "python33", ["a"]), ("pip", "python3", ["b"])))
    assert code == 1
    assert "no environment python33 here; there are: base JupyterSystemEnv python3" in said
    assert instance.calls == ["python -m pip install b"]


def test_a_manager_that_a_script_does_not_know_is_said(instance: Instance) -> None:
    code, said = instance.run(packages(("pip", "python3", ["a"])), PACKAGES="mamba python3 a")
    assert (code, instance.calls) == (1, [])
    assert "mamba is no package manager" in said


def test_two_condas_never_run_at_once(instance: Instance) -> None:
    instance.command(
        "conda/bin/conda", f"echo begin >>{instance.root}/order; sleep 0.1; echo end >>{instance.root}/order"
    )
    wanted = [packages(("conda", "python3", ["a"])), steps(r_kernel=True)["r-kernel"]]
    at_once = [threading.Thread(target=instance.run, args=(step,)) for step in wanted]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert (instance.root / "order").read_text().split() == ["begin", "end"] * 2


# --- Conda environments ------------------------------------------------------------------------------

CREATES = 'while [ "$1" != --prefix ]; do shift; done; mkdir -p "$2/bin"; echo >"$2/content"; '


def environments(**options: Any) -> Step:
    return steps(conda_environments=options)["conda-environments"]


def kernel(instance: Instance, name: str) -> dict[str, Any]:
    path = instance.home / ".local/share/jupyter/kernels" / name / "kernel.json"
    return dict(json.loads(path.read_text()))


def test_an_environment_is_made_once_and_its_kernel_is_there_at_each_start(instance: Instance) -> None:
    instance.command("conda/bin/conda", CREATES)
    step = environments(research={"packages": ["pandas"], "channels": ["conda-forge"]})
    assert instance.run(step)[0] == 0
    made = instance.calls
    assert len(made) == 1
    assert made[0].endswith("--channel conda-forge --override-channels python=3.12 pip ipykernel pandas")
    # The home is new at each start, the volume is not.
    first = kernel(instance, "research")
    subprocess.run(["rm", "-rf", instance.home / ".local"], check=True)
    assert instance.run(step)[0] == 0
    assert instance.calls == made
    assert kernel(instance, "research") == first
    assert first["argv"][0].startswith(str(instance.store / "conda" / "research"))
    assert first["argv"][1:] == ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert first["env"]["PATH"].endswith("/bin:${PATH}")


def test_an_environment_that_broke_off_is_begun_anew_at_the_next_start(instance: Instance) -> None:
    instance.command("conda/bin/conda", CREATES + "echo 'No space left on device'; exit 1")
    step = environments(research={})
    code, said = instance.run(step)
    assert code == 1
    assert "research could not be made (exit code 1" in said
    assert "Filesystem" in said  # how full the volume is
    assert list((instance.store / "conda" / "research").iterdir()) == []
    instance.command("conda/bin/conda", CREATES)
    assert instance.run(step)[0] == 0
    assert kernel(instance, "research")


def test_what_a_stop_left_half_made_is_no_environment(instance: Instance) -> None:
    instance.command("conda/bin/conda", CREATES)
    step = environments(research={})
    digest = step.variables["ENVIRONMENTS"].split("|")[2]
    half = instance.store / "conda" / "research" / digest
    half.mkdir(parents=True)
    (half / "rest").touch()
    assert instance.run(step)[0] == 0
    assert not (half / "rest").exists()
    assert (half / "complete").exists()


def test_a_changed_environment_replaces_its_former_only_when_it_is_whole(instance: Instance) -> None:
    instance.command("conda/bin/conda", CREATES)
    instance.run(environments(research={}))
    former = kernel(instance, "research")
    changed = environments(research={"packages": ["polars"]})
    instance.command("conda/bin/conda", CREATES + "exit 1")
    assert instance.run(changed)[0] == 1
    assert kernel(instance, "research") == former
    assert Path(former["env"]["CONDA_PREFIX"]).exists()
    instance.command("conda/bin/conda", CREATES)
    assert instance.run(changed)[0] == 0
    assert kernel(instance, "research") != former
    # People may still work in it: it goes when nobody does, at the next start.
    assert Path(former["env"]["CONDA_PREFIX"]).exists()
    instance.run(changed)
    assert not Path(former["env"]["CONDA_PREFIX"]).exists()


def test_an_environment_that_nobody_defines_any_more_goes_and_r_stays(instance: Instance) -> None:
    instance.command("conda/bin/conda", CREATES)
    instance.run(steps(r_kernel=True)["r-kernel"])
    instance.run(environments(a={}, b={}))
    code, said = instance.run(environments(b={}))
    assert code == 0
    assert "it is defined no more" in said
    assert [path.name for path in (instance.store / "conda").iterdir()] == ["b"]
    assert kernel(instance, "r")["argv"][1:4] == ["--slave", "-e", "IRkernel::main()"]
    assert kernel(instance, "r")["language"] == "R"


def test_pip_that_fails_makes_no_environment(instance: Instance) -> None:
    instance.command(
        "conda/bin/conda", CREATES + 'printf "#!/bin/bash\\nexit 3\\n" >"$2/bin/python"; chmod +x "$2/bin/python"'
    )
    code, said = instance.run(environments(research={"pip": ["private-thing"]}))
    assert code == 1
    assert "exit code 3" in said


def test_one_environment_that_fails_keeps_no_other_from_being_made(instance: Instance) -> None:
    instance.command("conda/bin/conda", CREATES + 'case "$*" in *nonsense*) exit 1 ;; esac')
    assert instance.run(environments(bad={"packages": ["nonsense"]}, good={}))[0] == 1
    assert kernel(instance, "good")


def test_only_a_change_of_what_is_in_it_makes_an_environment_anew() -> None:
    def digest(**options: Any) -> str:
        return environments(e=options).variables["ENVIRONMENTS"].split("|")[2]

    assert digest() == digest(python="3.12", packages=[])
    assert (
        len({digest(), digest(python="3.11"), digest(packages=["a"]), digest(pip=["a"]), digest(channels=["a"])}) == 5
    )


# --- Secrets: package index and git -----------------------------------------------------------------


def secret(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(private_access, "secret_text", lambda arn: text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("no json", "is no JSON like"),
        ("[1]", "is no JSON like"),
        ("", "is no JSON like"),
        ('{"username": "ada", "token": "t0ps3cret"}', "has no text under password (its keys: token, username)"),
        ('{"username": "ada", "password": 3}', "has no text under password"),
        ("{}", "has no text under username and password (its keys: none)"),
        ('{"username": "ada", "password": "t0ps3cret\\nhost=evil"}', "has a line end or another control character"),
    ],
    ids=["no-json", "a-list", "empty", "without-password", "a-number", "without-keys", "two-lines"],
)
def test_a_secret_that_cannot_be_used_is_named_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, wanted: str
) -> None:
    secret(monkeypatch, text)
    monkeypatch.setattr(sys, "stdin", io.StringIO("protocol=https\nhost=github.com\n\n"))
    assert private_access.main(["git", SECRET, "get"]) == 1
    said = capsys.readouterr()
    assert wanted in said.err
    assert SECRET in said.err
    assert "t0ps3cret" not in said.out + said.err


def test_git_gets_the_password_for_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    secret(monkeypatch, '{"username": "ada", "password": "p=w d"}')
    assert private_access.answer_git(SECRET, "protocol=https\nhost=github.com\n") == "username=ada\npassword=p=w d\n"
    assert private_access.answer_git(SECRET, "protocol=http\nhost=github.com\n") == ""


def test_without_boto3_the_command_line_reads_the_secret_where_it_is(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setenv("PATH", f"{instance.root}/bin:/usr/bin:/bin")
    instance.command("aws", """echo '{"username": "ada", "password": "pw"}'""")
    assert private_access.credentials(SECRET) == ("ada", "pw")
    assert "--region eu-central-1" in instance.calls[0]
    instance.command("aws", "echo 'AccessDeniedException: not allowed' >&2; exit 254")
    with pytest.raises(private_access.NoAccess, match="cannot be read: AccessDeniedException"):
        private_access.credentials(SECRET)


def test_pip_and_conda_get_the_password_in_files_of_their_user_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret(monkeypatch, '{"username": "ada@example.org", "password": "p/w:%@ #"}')
    step = steps(
        package_index={
            "url": "https://pypi.example.org/simple",
            "secret_arn": SECRET,
            "trusted_host": "pypi.example.org",
            "conda_channels": ["https://pypi.example.org/conda", "https://other.example.org/c", "conda-forge"],
        }
    )["package-index"]
    for name, value in {**step.variables, "SAGESTACK_USER_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    pip = tmp_path / ".config/pip/pip.conf"
    pip.parent.mkdir(parents=True)
    pip.write_text("old, and for everybody to read")
    assert private_access.main(["index"]) == 0
    place = "https://ada%40example.org:p%2Fw%3A%25%40%20%23@pypi.example.org"
    parsed = configparser.RawConfigParser()
    parsed.read(pip)
    assert dict(parsed["global"]) == {"index-url": f"{place}/simple", "trusted-host": "pypi.example.org"}
    conda = tmp_path / ".conda/condarc.d/sagestack.yml"
    first, *listed = conda.read_text().splitlines()
    assert first == "channels: #!final"
    channels = [json.loads(line.removeprefix("  - ")) for line in listed]
    # Another host is nobody to give the password to.
    assert channels == [f"{place}/conda", "https://other.example.org/c", "conda-forge"]
    for file in (pip, conda):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_index_without_a_password_needs_no_secret(instance: Instance) -> None:
    step = steps(package_index={"url": "https://pypi.example.org/simple"})["package-index"]
    assert instance.run(step)[0] == 0
    assert "index-url = https://pypi.example.org/simple" in (instance.home / ".config/pip/pip.conf").read_text()
    assert not (instance.home / ".conda").exists()


def test_git_asks_for_the_password_of_named_hosts_and_of_no_others(instance: Instance) -> None:
    step = steps(
        git={
            "user_name": 'Ada O\'Lovelace "the $HOME"',
            "user_email": "ada@example.org",
            "secret_arn": SECRET,
            "hosts": ["git.example.org"],
        }
    )["git"]
    config = instance.root / "gitconfig"
    for _ in range(2):
        code, said = instance.run(step, GIT_CONFIG_SYSTEM=str(config))
        assert code == 0, said
    # A helper that answers as Secrets Manager would let it.
    (instance.root / "programs/private_access.py").write_text(
        f"import sys\nassert sys.argv[1:] == ['git', '{SECRET}', 'get']\nprint('username=ada\\npassword=pw')\n"
    )

    def asks(host: str) -> str:
        done = subprocess.run(
            ["git", "credential", "fill"],
            input=f"protocol=https\nhost={host}\n\n",
            capture_output=True,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(instance.home),
                "GIT_CONFIG_SYSTEM": str(config),
                "GIT_TERMINAL_PROMPT": "0",
            },
        )
        return done.stdout

    assert "password=pw" in asks("git.example.org")
    assert "password" not in asks("evil.example.org")
    name = subprocess.run(["git", "config", "-f", config, "user.name"], capture_output=True, text=True).stdout
    assert name == 'Ada O\'Lovelace "the $HOME"\n'
    assert config.read_text().count("helper =") == 1
    assert "pw" not in config.read_text()


# --- Mounts -----------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[int]:
    """The port of somebody who answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield listening.getsockname()[1]


@pytest.fixture
def mountable(instance: Instance, server: int) -> Instance:
    """An instance that mounts: `mounted` is there when something is."""
    instance.command("mountpoint", f"test -e {instance.root}/mounted")
    instance.command("mount", f"touch {instance.root}/mounted")
    instance.command("mount.efs", "")
    instance.command("mount.lustre", "")
    instance.command("mount.nfs4", "")
    instance.command("getent", "")
    instance.environment = {
        "MOUNT_AT": str(instance.root / "volume" / "shared"),
        "MOUNT_HOST": "127.0.0.1",
        "MOUNT_PORT": str(server),
        "MOUNT_DELAY": "0",
        "MOUNT_ATTEMPTS": "2",
    }
    return instance


def mount_calls(instance: Instance) -> list[str]:
    return [call.replace(str(instance.root), "") for call in instance.calls if call.startswith("mount -t")]


NFS = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,nosuid,nodev"


@pytest.mark.parametrize(
    ("mount", "wanted"),
    [
        (EFS, "efs -o tls,nosuid,nodev fs-0123456789abcdef0:/"),
        (
            {**EFS, "iam": True, "access_point_id": "fsap-0123456789abcdef0"},
            "efs -o tls,iam,accesspoint=fsap-0123456789abcdef0,nosuid,nodev fs-0123456789abcdef0:/",
        ),
        (
            LUSTRE,
            "lustre -o relatime,flock,nosuid,nodev fs-1123456789abcdef0.fsx.eu-central-1.amazonaws.com@tcp:/abcdefgh",
        ),
        (
            ONTAP,
            f"nfs4 -o {NFS} svm-0123456789abcdef0.fs-2123456789abcdef0.fsx.eu-central-1.amazonaws.com:/vol1",
        ),
        (ZFS, f"nfs4 -o {NFS} fs-3123456789abcdef0.fsx.eu-central-1.amazonaws.com:/fsx/data"),
    ],
    ids=["efs", "efs-iam", "lustre", "ontap", "openzfs"],
)
def test_file_systems_are_mounted_as_aws_says(mountable: Instance, mount: dict[str, Any], wanted: str) -> None:
    code, said = mountable.run(steps(mounts=[mount])["mount-1"])
    assert code == 0, said
    assert mount_calls(mountable) == [f"mount -t {wanted} /volume/shared"]
    # Only a file system that is there is said to be.
    assert "volume/shared is mounted." in said


def test_efs_without_its_helper_is_mounted_by_nfs_and_said_to_be_unencrypted(mountable: Instance) -> None:
    (mountable.root / "bin/mount.efs").unlink()
    mountable.command("dnf", "exit 1")
    code, said = mountable.run(steps(mounts=[EFS])["mount-1"])
    assert code == 0
    assert "dnf -y -q install amazon-efs-utils" in mountable.calls
    assert "not encrypted on its way" in said
    assert mount_calls(mountable)[0].startswith(
        f"mount -t nfs4 -o {NFS} fs-0123456789abcdef0.efs.eu-central-1.amazonaws"
    )


def test_a_file_system_that_asks_who_mounts_it_is_never_mounted_unencrypted(mountable: Instance) -> None:
    (mountable.root / "bin/mount.efs").unlink()
    mountable.command("dnf", "exit 1")
    code, said = mountable.run(steps(mounts=[{**EFS, "iam": True}])["mount-1"])
    assert (code, mount_calls(mountable)) == (1, [])
    assert "amazon-efs-utils is not installed" in said


@pytest.mark.parametrize(
    ("mount", "program", "package"),
    [
        ({**EFS, "iam": True}, "mount.efs", "amazon-efs-utils"),
        (ONTAP, "mount.nfs4", "nfs-utils"),
        (LUSTRE, "mount.lustre", "lustre-client"),
    ],
    ids=["efs", "nfs", "lustre"],
)
def test_a_client_that_is_missing_comes_from_the_systems_own_repositories(
    mountable: Instance, mount: dict[str, Any], program: str, package: str
) -> None:
    (mountable.root / "bin" / program).unlink()
    mountable.command("dnf", "")
    code, said = mountable.run(steps(mounts=[mount])["mount-1"])
    assert code == 0, said
    assert f"dnf -y -q install {package}" in mountable.calls


def test_what_is_mounted_already_is_left_alone(mountable: Instance) -> None:
    (mountable.root / "mounted").touch()
    assert mountable.run(steps(mounts=[EFS])["mount-1"])[0] == 0
    assert mount_calls(mountable) == []


def test_a_file_system_that_does_not_answer_is_said_with_what_to_look_at(mountable: Instance) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    code, said = mountable.run(steps(mounts=[EFS])["mount-1"], MOUNT_PORT=str(port))
    assert (code, mount_calls(mountable)) == (1, [])
    assert said.count(f"127.0.0.1 does not answer at port {port}: do its security group and ours") == 2
    assert "Not mounted after 2 attempts" in said


def test_a_name_that_is_not_known_is_said(mountable: Instance) -> None:
    mountable.command("getent", "exit 2")
    code, said = mountable.run(steps(mounts=[EFS])["mount-1"])
    assert code == 1
    assert "The name 127.0.0.1 is not known: is the file system there, in this VPC" in said


def test_a_mount_that_hangs_is_ended(mountable: Instance) -> None:
    mountable.command("mount", "exec sleep 200")
    began = time.monotonic()
    code, said = mountable.run(steps(mounts=[EFS])["mount-1"], MOUNT_PATIENCE="0.2")
    assert code == 1
    assert "mount: exit code 124" in said
    assert time.monotonic() - began < 200


def test_a_mount_that_fails_at_first_is_tried_again(mountable: Instance) -> None:
    mountable.command(
        "mount",
        f"[ -e {mountable.root}/once ] && touch {mountable.root}/mounted || {{ touch {mountable.root}/once; exit 32; }}",
    )
    code, said = mountable.run(steps(mounts=[EFS])["mount-1"], MOUNT_ATTEMPTS="3")
    assert code == 0, said
    assert len(mount_calls(mountable)) == 2


def test_root_follows_no_link_that_people_put_at_the_place(mountable: Instance, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (mountable.root / "volume" / "shared").symlink_to(tmp_path / "etc")
    code, said = mountable.run(steps(mounts=[EFS])["mount-1"])
    assert (code, mount_calls(mountable)) == (1, [])
    assert "There is a link" in said


def test_without_a_client_of_lustre_nothing_is_mounted(mountable: Instance) -> None:
    (mountable.root / "bin/mount.lustre").unlink()
    mountable.command("dnf", "exit 1")
    code, said = mountable.run(steps(mounts=[LUSTRE])["mount-1"])
    assert (code, mount_calls(mountable)) == (1, [])
    assert "There is no Lustre client here, and none could be installed" in said


def test_in_china_file_systems_have_other_names() -> None:
    variables = mounts._variables(LifecycleOptions.model_validate({"mounts": [EFS]}).mounts[0], "cn-north-1")
    assert variables["MOUNT_HOST"] == "fs-0123456789abcdef0.efs.cn-north-1.amazonaws.com.cn"


# --- Extensions, notebook, backup, metrics ---------------------------------------------------------


def test_extensions_are_installed_where_jupyterlab_runs_and_ask_for_its_restart(instance: Instance) -> None:
    wanted = {"pip": ["jupyterlab-git==0.51.2"], "disable": ["@jupyterlab/apputils-extension:announcements"]}
    code, said = instance.run(steps(extensions=wanted)["extensions"])
    assert code == 0, said
    assert instance.calls == [
        "python -m pip install jupyterlab-git==0.51.2",
        "jupyter labextension disable @jupyterlab/apputils-extension:announcements",
    ]
    assert (instance.root / "run/restart-jupyter").exists()


def test_extensions_that_cannot_be_installed_restart_nothing(instance: Instance) -> None:
    instance.command("conda/envs/JupyterSystemEnv/bin/python", "exit 1")
    code, said = instance.run(steps(extensions={"pip": ["a"]})["extensions"])
    assert code == 1
    assert "pip did not install: a" in said
    assert not (instance.root / "run/restart-jupyter").exists()


@pytest.mark.parametrize(
    ("environment", "kernel", "found", "path"),
    [
        ("conda/envs/pytorch/share/jupyter/kernels", "pytorch", "python3", "/conda/envs/pytorch/share/jupyter"),
        ("conda/envs/R/share/jupyter/kernels", "R", "ir", "/conda/envs/R/share/jupyter"),
        ("home/.local/share/jupyter/kernels/research", "research", "research", ""),
    ],
    ids=["of-the-instance", "r-of-the-instance", "on-the-volume"],
)
def test_a_notebook_runs_with_the_kernel_that_was_asked_for(
    instance: Instance, environment: str, kernel: str, found: str, path: str
) -> None:
    (instance.root / environment).mkdir(parents=True)
    instance.command(
        "conda/envs/JupyterSystemEnv/bin/python", 'echo "$NOTEBOOK_KERNEL|$NOTEBOOK_PATH|${JUPYTER_PATH:-}"'
    )
    code, said = instance.run(steps(run_notebook={"path": "a/b.ipynb", "kernel": kernel})["run-notebook"])
    assert code == 0, said
    assert said.replace(str(instance.root), "") == f"{found}|a/b.ipynb|{path}\n"


def test_a_notebook_that_is_not_there_is_said(instance: Instance) -> None:
    instance.command("conda/envs/JupyterSystemEnv/bin/python", f'exec {sys.executable} "$@"')
    code, said = instance.run(steps(run_notebook={"path": "a.ipynb"})["run-notebook"])
    assert code == 2
    assert f"There is no notebook {instance.root}/volume/a.ipynb" in said


def test_backups_begin_when_a_restore_has_ended() -> None:
    found = steps(backup={"exclude": ["*.parquet", "data/*"], "keep": 3})
    assert list(found) == ["backup-look", "backup-restore", "backup"]
    assert found["backup"].after == ("backup-restore",)
    assert found["backup"].variables["BACKUP_EXCLUDE"] == "*.parquet\ndata/*"
    assert list(steps(backup={"restore": "never"})) == ["backup"]


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        (
            {"backup": {"exclude": ["a b", "c"]}},
            ["back-up", "900", "ec2-user", "env", "BACKUP_HOURS=24", "BACKUP_KEEP=7", "BACKUP_EXCLUDE=a b\nc"],
        ),
        ({"metrics": {"interval_in_seconds": 30}}, ["publish-metrics", "30", "ec2-user", "env", "METRICS_INTERVAL=30"]),
    ],
    ids=["backup", "metrics"],
)
def test_what_goes_on_and_on_is_given_to_a_timer_as_the_user(
    instance: Instance, option: dict[str, Any], wanted: list[str]
) -> None:
    (step,) = [each for each in steps(**option).values() if "every.sh" in each.script]
    (instance.root / "programs/every.sh").write_text('printf "%s\\0" "$@"\n')
    every = {name: text for name, text in step.files.items() if name != "every.sh"}
    code, said = instance.run(Step(step.name, step.script, files=every, variables=step.variables))
    assert code == 0, said
    assert said.split("\0")[: len(wanted)] == wanted


def test_where_there_is_no_python_steps_that_need_one_say_so(instance: Instance) -> None:
    for name, step in steps(backup={}, metrics={}, package_index={"url": "https://a.example"}).items():
        code, said = instance.run(step, SAGESTACK_PYTHON="")
        assert code != 0, name
        assert "there is no Python 3.8 or later here" in said


# --- Rights and rules -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template() -> Template:
    """One role with all that options grant, one security group with all that file systems need."""
    stack = cdk.Stack(cdk.App(), "Stack", env=cdk.Environment(account="111111111111", region="eu-central-1"))
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
    vpc = ec2.Vpc.from_vpc_attributes(stack, "Vpc", vpc_id="vpc-1", availability_zones=["a"])
    group = ec2.SecurityGroup(stack, "Notebooks", vpc=vpc, allow_all_outbound=False)
    options = LifecycleOptions.model_validate(
        {
            "git": {"user_name": "A", "user_email": "a@b.c", "secret_arn": SECRET, "hosts": ["github.com"]},
            "package_index": {"url": "https://a.example", "secret_arn": SECRET},
            "metrics": {},
            "backup": {},
            "packages": [{"manager": "pip", "packages": ["a"]}],
            "mounts": [
                {**EFS, "iam": True, "security_group_id": "sg-00000001", "access_point_id": "fsap-00000001"},
                {**ZFS, "security_group_id": "sg-00000001"},
                LUSTRE,
                ONTAP,
            ],
        }
    )
    bucket = s3.Bucket.from_bucket_name(stack, "Artifacts", "artifacts")
    grant_all(options, role, GrantContext(names=EnvironmentNames("dev"), notebook="explore", artifacts=bucket))
    mounts.connect(stack, options.mounts, group)
    return Template.from_stack(stack)


def test_the_role_gets_one_secret_one_namespace_one_file_system(template: Template) -> None:
    (policy,) = template.find_resources("AWS::IAM::Policy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    by_action = {json.dumps(statement["Action"]): statement for statement in statements}
    assert by_action['"secretsmanager:GetSecretValue"']["Resource"] == SECRET
    assert len(by_action) == 3
    metrics = by_action['"cloudwatch:PutMetricData"']
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "Sagestack/Notebooks"}}
    mount = by_action['["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]']
    assert "file-system/fs-0123456789abcdef0" in json.dumps(mount["Resource"])
    assert "access-point/fsap-00000001" in json.dumps(mount["Condition"])


def test_file_systems_let_notebooks_in_on_their_ports_alone(template: Template) -> None:
    notebooks = {"Fn::GetAtt": [Match.string_like_regexp("^Notebooks"), "GroupId"]}
    rules = {
        (each["Properties"]["GroupId"], each["Properties"]["FromPort"], each["Properties"]["ToPort"])
        for each in template.find_resources("AWS::EC2::SecurityGroupIngress").values()
        if isinstance(each["Properties"]["GroupId"], str)
    }
    assert rules == {
        ("sg-00000001", 2049, 2049),
        ("sg-00000002", 988, 988),
        ("sg-00000002", 1018, 1023),
    }
    for port in (988, 1018):
        # Lustre's servers call their clients back.
        template.has_resource_properties(
            "AWS::EC2::SecurityGroupEgress",
            {"GroupId": "sg-00000002", "FromPort": port, "DestinationSecurityGroupId": notebooks},
        )
        template.has_resource_properties(
            "AWS::EC2::SecurityGroupIngress",
            {"GroupId": notebooks, "FromPort": port, "SourceSecurityGroupId": "sg-00000002"},
        )


def test_notebooks_may_reach_their_file_systems_on_those_ports(template: Template) -> None:
    (group,) = template.find_resources("AWS::EC2::SecurityGroup").values()
    inline = {
        (each.get("DestinationSecurityGroupId"), each["FromPort"])
        for each in group["Properties"].get("SecurityGroupEgress", [])
        if "DestinationSecurityGroupId" in each
    }
    apart = {
        (each["Properties"]["DestinationSecurityGroupId"], each["Properties"]["FromPort"])
        for each in template.find_resources("AWS::EC2::SecurityGroupEgress").values()
        if isinstance(each["Properties"]["DestinationSecurityGroupId"], str)
    }
    assert inline | apart == {("sg-00000001", 2049), ("sg-00000002", 988), ("sg-00000002", 1018)}


def test_notebooks_may_reach_a_file_system_whose_security_group_nobody_named(template: Template) -> None:
    (group,) = template.find_resources("AWS::EC2::SecurityGroup").values()
    open_ports = [
        (each["FromPort"], each["ToPort"])
        for each in group["Properties"]["SecurityGroupEgress"]
        if each.get("CidrIp") == "0.0.0.0/0"
    ]
    assert open_ports == [(2049, 2049)]


# --- Settings that are refused ----------------------------------------------------------------------

GIT = {"user_name": "Ada", "user_email": "ada@example.org"}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"packages": [{"manager": "mamba", "packages": ["a"]}]}, "pip"),
        ({"packages": [{"manager": "pip", "packages": ["--index-url=https://evil"]}]}, "packages"),
        ({"packages": [{"manager": "pip", "packages": ["a b"]}]}, "packages"),
        ({"packages": [{"manager": "pip", "packages": ["a;rm -rf /"]}]}, "packages"),
        ({"packages": [{"manager": "pip", "packages": []}]}, "packages"),
        ({"packages": [{"manager": "pip", "kernel": "JupyterSystemEnv", "packages": ["a"]}]}, "say extensions instead"),
        (
            {"packages": [{"manager": "pip", "kernel": "e", "packages": ["a"]}], "conda_environments": {"e": {}}},
            "say its packages there",
        ),
        ({"conda_environments": {"../e": {}}}, "conda_environments"),
        ({"conda_environments": {"e": {"python": "2.7"}}}, "python"),
        ({"conda_environments": {"e": {"channels": ["a|b"]}}}, "channels"),
        ({"conda_environments": {"python3": {}}}, "an environment of the instance's own"),
        ({"conda_environments": {"r": {}}, "r_kernel": True}, "r is the name of the kernel of r_kernel"),
        ({"package_index": {}}, "say url"),
        ({"package_index": {"url": "https://ada:pw@pypi.example.org"}}, "url"),
        ({"package_index": {"url": "http://pypi.example.org", "secret_arn": SECRET}}, "https:// only"),
        ({"package_index": {"conda_channels": ["main"], "secret_arn": SECRET}}, "https:// only"),
        ({"package_index": {"conda_channels": ["main"], "trusted_host": "a"}}, "goes with url"),
        ({"git": {**GIT, "secret_arn": SECRET}}, "hosts and secret_arn go together"),
        ({"git": {**GIT, "hosts": ["github.com"]}}, "hosts and secret_arn go together"),
        ({"git": {**GIT, "hosts": ["https://github.com"], "secret_arn": SECRET}}, "hosts"),
        ({"git": {**GIT, "user_name": "Ada\nEve"}}, "user_name"),
        ({"mounts": [{**EFS, "path": "/etc"}]}, "does not fit"),
        ({"mounts": [{**EFS, "path": "/home/ec2-user/.ssh"}]}, "does not fit"),
        ({"mounts": [{**EFS, "path": "/home/ec2-user/SageMaker"}]}, "does not fit"),
        ({"mounts": [{**EFS, "path": "/home/ec2-user/SageMaker/../.ssh"}]}, "does not fit"),
        ({"mounts": [{**EFS, "path": "/home/ec2-user/SageMaker/.sagestack/x"}]}, "does not fit"),
        ({"mounts": [EFS, {**LUSTRE, "path": f"{EFS['path']}/below"}]}, "at or below each other"),
        ({"mounts": [{**LUSTRE, "security_group_id": None}]}, "security_group_id"),
        ({"mounts": [{**LUSTRE, "path": f"{EFS['path']}/below"}, EFS]}, "at or below each other"),
        ({"mounts": [{**EFS, "kind": "nfs"}]}, "kind"),
        ({"mounts": [{**ZFS, "volume_path": "/data"}]}, "volume_path"),
        ({"metrics": {"interval_in_seconds": 1}}, "interval_in_seconds"),
        ({"backup": {"schedule_hours": 0}}, "schedule_hours"),
        ({"backup": {"exclude": ["a\nb"]}}, "exclude"),
        ({"run_notebook": {"path": "../a.ipynb"}}, "path"),
        ({"run_notebook": {"path": "a.py"}}, "path"),
        ({"extensions": {"pip": ["-r requirements.txt"]}}, "pip"),
        ({"extensions": {"disable": ["a; b"]}}, "disable"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_deployed(options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted):
        LifecycleOptions.model_validate(options)
