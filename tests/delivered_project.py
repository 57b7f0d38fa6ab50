"""This project as a team has it, on a git host and in a local cloud: three environments, bootstrapped, and the team."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sagestack.github_identity import AUDIENCE, ISSUER

from local_cloud.git_host.server import GitHost
from tests.git_repositories import NAME, TOKEN, ask, bare, git, hosted
from tests.local_cloud_fixtures import ROOT, LocalCloud
from tests.workflow_actions import borrow
from tests.workflow_events import Event, pull_request, push
from tests.workflow_runner import Run, Runner
from tests.workflow_tokens import opened

STAGES = ("dev", "staging", "prod")
WORKFLOWS = Path(".github/workflows")


class DeliveredProject:
    """The repository on its host, GitHub Actions for it, and somebody's clone.

    Attributes:
        work: the clone.
        answers: what the reviewers of staging and prod say.
    """

    def __init__(
        self, folder: Path, host: GitHost, cloud: LocalCloud, runner: Runner, answers: dict[str, bool]
    ) -> None:
        self.work, self.host, self.cloud, self.runner, self.answers = folder, host, cloud, runner, answers

    # --- People ---------------------------------------------------------------------------------------------------

    def sagestack(self, *arguments: str) -> str:
        """What a command says to somebody with an administrator's keys."""
        variables = {**os.environ, **self.cloud.environment(), "CDK_VALIDATION": "false"}
        variables |= {
            "PATH": os.pathsep.join([f"{self.work}/.venv/bin", f"{self.work}/node_modules/.bin", "/usr/bin", "/bin"])
        }
        variables.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["sagestack", *arguments], cwd=self.work, env=variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, message: str, changes: dict[str, tuple[str, str]]) -> None:
        """Change files, each by one replacement, and commit them where the clone is."""
        for name, (old, new) in changes.items():
            text = (self.work / name).read_text()
            assert old in text, (name, old)
            (self.work / name).write_text(text.replace(old, new, 1))
        git(self.work, "commit", "--quiet", "--all", "--message", message)

    def propose(self, branch: str, title: str) -> int:
        """Push the clone's commits as a branch, and open a pull request; its number."""
        git(self.work, "push", "--quiet", "origin", f"HEAD:{branch}")
        status, said = ask(self.host, "POST", "pulls", {"title": title, "head": branch, "base": "main"})
        assert status == 201, said
        return int(said["number"])

    def pulls(self) -> dict[str, int]:
        """The open pull requests: their numbers by branch."""
        return {pull["head"]["ref"]: pull["number"] for pull in ask(self.host, "GET", "pulls")[1]}

    def comments(self, number: int) -> list[str]:
        return [each["body"] for each in ask(self.host, "GET", f"issues/{number}/comments")[1]]

    # --- GitHub ---------------------------------------------------------------------------------------------------

    def reviewed(self, number: int) -> Run:
        """The review's run for a pull request."""
        event = pull_request(self.host.repository.path, NAME, ask(self.host, "GET", f"pulls/{number}")[1])
        return self.run("review", event)

    def merged(self, number: int) -> Run:
        """The deployment's run for the push that a merge is; the clone follows."""
        before = git(self.host.repository.path, "rev-parse", "main")
        status, said = ask(self.host, "PUT", f"pulls/{number}/merge", {})
        assert status == 200, said
        git(self.work, "checkout", "--quiet", "main")
        git(self.work, "pull", "--quiet", "--ff-only")
        return self.run("deploy", push(self.host.repository.path, before))

    def run(self, name: str, event: Event) -> Run:
        """Run a workflow as the commit of the event has it."""
        path = WORKFLOWS / f"sagestack-{name}.yml"
        return self.runner.run(git(self.host.repository.path, "show", f"{event.sha}:{path}"), event)

    # --- The cloud --------------------------------------------------------------------------------------------------

    def served(self, environment: str) -> int | None:
        """The version behind an environment's endpoint, by what SageMaker says of it; None where there is none."""
        sagemaker = self.cloud.client("sagemaker")
        names = [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]]
        if (name := f"sagestack-{environment}-housing") not in names:
            return None
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
        assert endpoint["EndpointStatus"] == "InService"
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
        [container] = model.get("Containers") or [model["PrimaryContainer"]]
        return int(container["ModelPackageName"].rpartition("/")[2])

    def answer(self, environment: str, row: str) -> float:
        """What an environment's endpoint predicts."""
        answer = self.cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=f"sagestack-{environment}-housing",
            ContentType="text/csv",
            Accept="text/csv",
            Body=row.encode(),
        )
        return float(answer["Body"].read())

    def stacks(self) -> set[str]:
        pages = self.cloud.client("cloudformation").get_paginator("describe_stacks").paginate()
        return {stack["StackName"] for page in pages for stack in page["Stacks"]}


@contextmanager
def delivered(folder: Path, cloud: LocalCloud) -> Iterator[DeliveredProject]:
    """The project, bootstrapped; nothing is deployed yet."""
    answers = {"staging": True, "prod": True}
    with hosted(bare(folder, _files())) as host, opened(host.url, TOKEN) as gate:
        work = folder / "work"
        git(folder, "clone", "--quiet", f"http://x:{TOKEN}@127.0.0.1:{host.server_address[1]}/{NAME}.git", str(work))
        borrow(work)
        runner = Runner(
            folder / "actions",
            NAME,
            gate,
            cloud={
                name: value
                for name, value in cloud.environment().items()
                if name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
            },
            secrets={},
            reviewers={name: lambda name=name: answers[name] for name in answers},  # type: ignore[misc]
        )
        project = DeliveredProject(work, host, cloud, runner, answers)
        _adapt(project)
        cloud.client("iam").create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=[AUDIENCE])
        for name in STAGES:
            project.sagestack("bootstrap", "--env", name)
        yield project


def _files() -> dict[str, str]:
    """The working tree, as git would commit it; text is all there is."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: (ROOT / name).read_text() for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def _adapt(project: DeliveredProject) -> None:
    """What a team does once: its repository, its account, and where approvals go."""
    secret: Any = project.cloud.client("secretsmanager").create_secret(Name="git-token", SecretString=TOKEN)
    git_settings = (
        f"git:\n  host: github\n  repository: {NAME}\n  api_url: {project.host.url}\n"
        f"  token_secret_arn: {secret['ARN']}\n"
    )
    for name in STAGES:
        file = project.work / f"environments/{name}.yaml"
        text = re.sub(r'account: "\d+"', f'account: "{project.cloud.account}"', file.read_text())
        for old, new in (
            ("model_image: ecr", "model_image: build-context"),
            ("removal_policy: retain", "removal_policy: destroy"),
            ("initial_instance_count: 2", "initial_instance_count: 1"),
        ):
            text = text.replace(old, new)
        if name == "dev":
            text = text.replace("models:\n", f"{git_settings}models:\n", 1)
        else:
            text = text.replace("    served_version: null\n", "    served_version: null\n    versions_from: dev\n")
        file.write_text(text)
    delivery = project.work / "delivery.yaml"
    text = re.sub(r"name: \S+", f"name: {NAME}", delivery.read_text(), count=1)
    # IAM knows GitHub's identity provider already, as in an account of which this is not the first project.
    delivery.write_text(f'{text}accounts_with_oidc_provider: ["{project.cloud.account}"]\n')
    project.sagestack("delivery", "write")
    git(project.work, "add", "--all")
    git(project.work, "commit", "--quiet", "--message", "Our accounts and our repository")
    git(project.work, "push", "--quiet", "origin", "HEAD:main")
