"""The foundation and the workbench of an environment in a local cloud, deployed again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from sagestack.settings import Environment, EnvironmentNames, load_environment
from sagestack.settings.workbench import Workbench

from stacks import FoundationStack
from stacks.workbench import WorkbenchStack
from tests.hosted_images import BUCKET
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.synthesis import flags

NAMES = EnvironmentNames("local")


class WorkbenchStacks:
    """Both stacks, with no model.

    Attributes:
        foundation: its deployer.
        workbench: its deployer.
    """

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.foundation = StackDeployer(cloud, NAMES.foundation_stack)
        self.workbench = StackDeployer(cloud, NAMES.workbench_stack)
        cloud.client("s3").create_bucket(Bucket=BUCKET)

    def deploy(self, workbench: dict[str, Any]) -> list[str]:
        """The status of each stack that was deployed, and why something failed. The foundation is deployed once."""
        self._count += 1
        environment = load_environment("local").model_copy(
            update={"workbench": Workbench.model_validate(workbench), "models": {}}
        )
        statuses = []
        for stack in (self.foundation, self.workbench)[0 if self._count == 1 else 1 :]:
            template = stack.synthesize(
                self._folder / f"{self._count}-{stack.name}", lambda app: _platform(app, environment)
            )
            statuses.append(stack.deploy(template))
            statuses += stack.failures() if "ROLLBACK" in statuses[-1] or "FAILED" in statuses[-1] else []
        return statuses

    def delete(self) -> None:
        """Take both away."""
        self.workbench.delete()
        self.foundation.delete()


def _platform(app: cdk.App, environment: Environment) -> None:
    for key, value in flags().items():
        app.node.set_context(key, value)
    where = cdk.Environment(account=environment.account, region=environment.region)
    foundation = FoundationStack(
        app, NAMES.foundation_stack, environment=environment, env=where, synthesizer=synthesizer()
    )
    WorkbenchStack(
        app,
        NAMES.workbench_stack,
        environment=environment,
        foundation=foundation,
        training={},
        env=where,
        synthesizer=synthesizer(),
    )
