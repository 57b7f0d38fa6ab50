"""A workbench whose lifecycle config really runs: on an instance in a container, from its deployment to its deletion.

Needs a Docker engine that answers.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.git_host.server import GitHost
from tests.containers import docker
from tests.git_repositories import NAME, TOKEN, bare, hosted
from tests.jupyter_visitor import Visitor
from tests.local_cloud_fakes import patiently
from tests.local_cloud_fixtures import ROOT, LocalCloud
from tests.local_cloud_inventory import inventory, left_by_stacks
from tests.waiting import wait_for
from tests.workbench_stacks import WorkbenchStacks

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]

INSTANCE = "sagestack-local-explore"
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
WARNING = "STOPPING-SOON.txt"
PROJECT = "import os; print(os.environ['PROJECT'])"
EXAMPLES = ROOT / "notebooks/examples"
# What auto-stop counts from look to look, as it would be so many seconds later: nothing else of it is touched.
LATER = """
import glob, json, sys
[file] = glob.glob("/dev/shm/sagestack-auto-stop-*.json")
state, seconds = json.load(open(file)), float(sys.argv[1])
state["now"] -= seconds
state["since"] = {key: first - seconds for key, first in state["since"].items()}
if "warned" in state:
    state["warned"][0] -= seconds
json.dump(state, open(file, "w"))
"""


class Explore:
    """The notebook instance, as its owner and its machine see it."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._sagemaker = cloud.client("sagemaker")
        self.volume = cloud.state_dir / "notebooks" / INSTANCE / "volume"

    @property
    def status(self) -> str:
        described = self._sagemaker.describe_notebook_instance(NotebookInstanceName=INSTANCE)
        assert described["NotebookInstanceStatus"] != "Failed", described["FailureReason"]
        return str(described["NotebookInstanceStatus"])

    def until(self, status: str) -> None:
        wait_for(lambda: self.status == status, 60, f"{INSTANCE} is not {status}")

    def start(self) -> None:
        self._sagemaker.start_notebook_instance(NotebookInstanceName=INSTANCE)
        self.until("InService")

    def steps(self) -> dict[str, str]:
        """The state of each step of the lifecycle config."""
        steps = json.loads((self.volume / ".sagestack/status.json").read_text())["steps"]
        return {name: step["state"] for name, step in steps.items()}

    def until_prepared(self) -> None:
        """All steps have succeeded, those in the background, too."""
        prepared = dict.fromkeys(["auto-stop", "examples", "git", "mine"], "succeeded")
        for _ in patiently("all steps to succeed", 60):
            if self.steps() == prepared:
                return
            assert "failed" not in self.steps().values(), self.steps()
            time.sleep(0.1)

    def said_by(self, step: str) -> list[str]:
        return (self.volume / f".sagestack/log/{step}.log").read_text().splitlines()

    def files(self, pattern: str) -> list[Path]:
        return list(self.volume.glob(pattern))

    def auto_stop(self) -> dict[str, Any]:
        """What auto-stop tells people."""
        return dict(json.loads((self.volume / ".sagestack/auto-stop.json").read_text()))

    def look_later(self, minutes: float) -> None:
        """Auto-stop looks, so many minutes after its last look."""
        self.machine("python3", "-c", LATER, str(60 * minutes), user="ec2-user")
        self.machine("bash", "/run/sagestack/every-auto-stop.sh")

    def looks_until(self, minutes: float, condition: Callable[[], bool], what: str) -> None:
        """Looks so many minutes apart. The instance's own timer looks as well, once a minute, and one look at a time."""
        for _ in patiently(what, 60):
            self.look_later(minutes)
            if condition():
                return

    def machine(self, *command: str, user: str = "root") -> str:
        """What a command prints on the instance's machine."""
        found = docker("ps", "--quiet", "--filter", f"label=sagestack.local-cloud.name=notebook-instance/{INSTANCE}")
        done = docker("exec", "--user", user, found.stdout.strip(), *command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def opened(self) -> Visitor:
        """A browser that the presigned URL has let in."""
        answer = self._sagemaker.create_presigned_notebook_instance_url(NotebookInstanceName=INSTANCE)
        visitor = Visitor(answer["AuthorizedUrl"].partition("?")[0])
        assert visitor.open(answer["AuthorizedUrl"])[0] == 200
        return visitor

    def kernel_says(self, code: str) -> str:
        return self.opened().run(code, "conda_python3").strip()


def workbench(repository: str, secret_arn: str, *, project: str, window: datetime.datetime) -> dict[str, Any]:
    host = repository.split("/")[2]
    return {
        "network": {"cidr": "10.42.0.0/22", "availability_zones": 1},
        "lifecycle_configs": {
            "standard": {
                "auto_stop": {"idle_minutes": 5, "warn_minutes": 1},
                "environment_variables": {"PROJECT": project},
                "git": {
                    "user_name": "Ada",
                    "user_email": "ada@example.org",
                    "secret_arn": secret_arn,
                    "hosts": [host],
                },
                "examples": True,
                "scripts": [{"name": "mine", "file": "tests/workbench_step.sh"}],
            }
        },
        "notebooks": {
            "explore": {
                "instance_type": "ml.t3.medium",
                "owner": "ada",
                "lifecycle_config": "standard",
                "repositories": [{"url": repository, "branch": "main", "secret_arn": secret_arn}],
            }
        },
        "maintenance": {
            "days": [DAYS[window.weekday()]],
            "at": f"{window:%H:%M}",
            "duration_in_minutes": 60,
        },
    }


def maintain(cloud: LocalCloud) -> dict[str, Any]:
    """What the function did that the window's schedule calls every five minutes; called once, as the schedule would."""
    scheduler = cloud.client("scheduler")
    (found,) = (each for each in scheduler.list_schedules()["Schedules"] if "Maintenance" in each["Name"])
    target = scheduler.get_schedule(GroupName=found["GroupName"], Name=found["Name"])["Target"]
    assert target["Arn"].endswith(":lambda:invoke")
    name = json.loads(target["Input"])["FunctionName"]
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    said = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, said
    return dict(said)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A local cloud whose git trusts the cloud's own certificate, which the git host has, too."""
    local_cloud = LocalCloud(tmp_path / "local-cloud")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(local_cloud.state_dir / "tls/certificate.pem"))
    local_cloud.start()
    yield local_cloud
    local_cloud.stop()


@pytest.fixture
def git_host(cloud: LocalCloud, tmp_path: Path) -> Iterator[GitHost]:
    tls = cloud.state_dir / "tls"
    (tmp_path / "git").mkdir()
    repository = bare(tmp_path / "git", {"analysis.py": "print(6 * 7)\n"})
    with hosted(repository, certificate=(tls / "certificate.pem", tls / "key.pem")) as host:
        yield host


def test_an_instance_is_prepared_stops_itself_and_is_brought_to_a_changed_config_in_its_window(
    cloud: LocalCloud, git_host: GitHost, tmp_path: Path
) -> None:
    secret = json.dumps({"username": "ada", "password": TOKEN})
    arn = cloud.client("secretsmanager").create_secret(Name="git", SecretString=secret)["ARN"]
    url = f"{git_host.url.replace('http', 'https', 1)}/{NAME}.git"
    stacks, explore, before = WorkbenchStacks(cloud, tmp_path), Explore(cloud), inventory(cloud)
    now = datetime.datetime.now(datetime.UTC)
    closed, is_open = now + datetime.timedelta(days=3), now - datetime.timedelta(minutes=30)

    # It is in service while a script in the background still works, and what works is not idle.
    made = stacks.deploy(workbench(url, arn, project="churn", window=closed))
    assert made == ["CREATE_COMPLETE", "CREATE_COMPLETE"]
    assert explore.steps()["mine"] == "running"
    explore.looks_until(
        5, lambda: "the step mine runs" in json.dumps(explore.auto_stop()), "auto-stop to see the script"
    )
    (explore.volume / "go-on").touch()
    explore.until_prepared()

    # Its steps did not fit into the script: its role fetched them, as it did the examples, and may do no more than that.
    explore.machine("test", "-s", "/run/sagestack/steps-start.sh")
    by_whom, role = explore.said_by("mine")
    assert by_whom == "churn, by ec2-user"
    assert "assumed-role/sagestack-local-workbench-NotebookRoleexplore" in role
    assert {path.name for path in EXAMPLES.glob("*.ipynb")} <= {each.name for each in explore.files("examples/*")}
    told, refused = explore.kernel_says(f"{PROJECT}; import boto3; boto3.client('s3').list_buckets()").splitlines()
    assert (told, "AccessDenied" in refused) == ("churn", True)

    # The private repository is there, and people's own git opens it, too.
    clone = explore.volume / "platform"
    assert (clone / "analysis.py").read_text() == "print(6 * 7)\n"
    assert TOKEN not in (clone / ".git/config").read_text()
    said = explore.opened().type("cd ~/SageMaker/platform && git pull && git config user.email")
    assert "Already up to date." in said
    assert "ada@example.org" in said
    (clone / "analysis.py").write_text("print('mine')\n")

    # Nobody and nothing works: it warns, then it stops itself.
    explore.looks_until(5, (explore.volume / WARNING).exists, "auto-stop to warn")
    # The minute passes by its own clock, too, while this machine comes to ask.
    explore.look_later(0.1)
    assert explore.status == "InService"
    explore.looks_until(1, lambda: explore.status != "InService", "auto-stop to stop it")
    explore.until("Stopped")

    # What is on the volume is there after the next start, and all that is not is made again.
    explore.start()
    explore.until_prepared()
    assert (clone / "analysis.py").read_text() == "print('mine')\n"
    assert explore.kernel_says(PROJECT) == "churn"
    wait_for(lambda: not (explore.volume / WARNING).exists(), 90, "the old warning is still there")

    # A change leaves what runs as it is, in the window brings it there.
    assert stacks.deploy(workbench(url, arn, project="pricing", window=closed)) == ["UPDATE_COMPLETE"]
    assert maintain(cloud)["outdated"] == [INSTANCE]
    assert explore.kernel_says(PROJECT) == "churn"
    assert stacks.deploy(workbench(url, arn, project="pricing", window=is_open)) == ["UPDATE_COMPLETE"]
    for _ in patiently("the instance to be restarted", 60):
        # The schedule may do a step of it, too.
        if not any(maintain(cloud).values()):
            break
    assert explore.status == "InService"
    assert explore.kernel_says(PROJECT) == "pricing"

    stacks.delete()
    assert left_by_stacks(before, inventory(cloud)) == {}
