"""The foundation and the workbench of an environment in a local cloud, deployed again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from sagestack.settings import EnvironmentNames, load_environment, load_models
from sagestack.settings.workbench import Workbench

from stacks import FoundationStack, TrainingStack
from stacks.workbench import WorkbenchStack
from tests.hosted_images import BUCKET
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.synthesis import flags

NAMES = EnvironmentNames("local")


class WorkbenchStacks:
    """Both stacks, and between them those that train the models that somebody asks for."""

    def __init__(self, cloud: LocalCloud, folder: Path, *, models: tuple[str, ...] = ()) -> None:
        self._folder, self._count = folder, 0
        self._environment = load_environment("local")
        self._models = {name: load_models()[name] for name in models}
        names = [NAMES.foundation_stack, *(NAMES.model(name).training_stack for name in models), NAMES.workbench_stack]
        self._stacks = [StackDeployer(cloud, name) for name in names]
        cloud.client("s3").create_bucket(Bucket=BUCKET)

    def deploy(self, workbench: dict[str, Any]) -> list[str]:
        """The status of each stack that was deployed, and why something failed. All are at first, the workbench again later."""
        self._count += 1
        folder = self._folder / f"cdk.out-{self._count}"
        self._synthesize(folder, Workbench.model_validate(workbench))
        statuses = []
        for stack in self._stacks if self._count == 1 else self._stacks[-1:]:
            statuses.append(stack.deploy(stack.published(folder)))
            statuses += stack.failures() if "ROLLBACK" in statuses[-1] or "FAILED" in statuses[-1] else []
        return statuses

    def delete(self) -> None:
        """Take all away."""
        for stack in reversed(self._stacks):
            stack.delete()

    def _synthesize(self, folder: Path, workbench: Workbench) -> None:
        models = {name: self._environment.models[name] for name in self._models}
        environment = self._environment.model_copy(update={"workbench": workbench, "models": models})
        app = cdk.App(context=flags(), outdir=str(folder), analytics_reporting=False)
        common: dict[str, Any] = {
            "environment": environment,
            "env": cdk.Environment(account=environment.account, region=environment.region),
        }
        foundation = FoundationStack(app, NAMES.foundation_stack, synthesizer=synthesizer(), **common)
        training = {
            name: TrainingStack(
                app,
                NAMES.model(name).training_stack,
                model=model,
                foundation=foundation,
                synthesizer=synthesizer(),
                **common,
            )
            for name, model in self._models.items()
        }
        WorkbenchStack(
            app, NAMES.workbench_stack, foundation=foundation, training=training, synthesizer=synthesizer(), **common
        )
        app.synth()
