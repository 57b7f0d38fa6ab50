"""The whole workbench, deployed, changed and deleted in the local cloud: nothing of it is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from sagestack.settings import Environment, EnvironmentNames, load_environment
from sagestack.settings.workbench import Workbench

from stacks import FoundationStack
from stacks.workbench import WorkbenchStack
from tests.hosted_images import BUCKET
from tests.local_cloud_fixtures import LocalCloud
from tests.local_cloud_inventory import inventory, left_behind
from tests.stack_deployer import StackDeployer, synthesizer
from tests.synthesis import flags

NAMES = EnvironmentNames("local")
INSTANCE = "sagestack-local-explore"

# No lifecycle config on the instance: without a container engine its scripts would be refused.
WORKBENCH: dict[str, Any] = {
    "network": {"cidr": "10.42.0.0/22", "availability_zones": 2},
    "lifecycle_configs": {"standard": {"auto_stop": {"idle_minutes": 60}, "examples": True}},
    "notebooks": {
        "explore": {
            "instance_type": "ml.t3.medium",
            "owner": "ada",
            "grants": {"jobs": True},
            "hours": {"start": "cron(0 8 ? * MON-FRI *)", "stop": "cron(0 19 ? * * *)"},
        }
    },
    "studio": {"user_profiles": {"ada": {}}, "spaces": {"ada-lab": {"owner": "ada"}}},
    "personas": {"trusted": ["arn:aws:iam::000000000000:role/people"], "source_ips": ["203.0.113.0/24"]},
    "idle_report": {"emails": ["ada@example.org"]},
    "budget": {"monthly_usd": 200, "emails": ["ada@example.org"]},
}
CHANGED: dict[str, Any] = {
    **WORKBENCH,
    "lifecycle_configs": {"standard": {"auto_stop": {"idle_minutes": 30}}},
    "notebooks": {
        "explore": {"instance_type": "ml.t3.large", "volume_size_in_gb": 40, "owner": "bob"},
        "second": {"instance_type": "ml.t3.medium"},
    },
    "studio": {"user_profiles": {"bob": {}}, "spaces": {"bob-lab": {"owner": "bob"}}},
    "budget": {"monthly_usd": 100, "emails": ["ada@example.org"], "warn_at_percent": [60]},
}


class Stacks:
    """The foundation and the workbench of an environment, deployed again and again."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.foundation = StackDeployer(cloud, NAMES.foundation_stack)
        self.workbench = StackDeployer(cloud, NAMES.workbench_stack)
        cloud.client("s3").create_bucket(Bucket=BUCKET)

    def deploy(self, workbench: dict[str, Any]) -> list[str]:
        """The status of each stack, and why something failed."""
        self._count += 1
        environment = load_environment("local").model_copy(
            update={"workbench": Workbench.model_validate(workbench), "models": {}}
        )
        statuses = []
        for stack in (self.foundation, self.workbench):
            template = stack.synthesize(
                self._folder / f"{self._count}-{stack.name}", lambda app: _platform(app, environment)
            )
            if stack is self.foundation and self._count > 1:
                continue
            statuses.append(stack.deploy(template))
            statuses += stack.failures() if "ROLLBACK" in statuses[-1] or "FAILED" in statuses[-1] else []
        return statuses


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


@pytest.mark.notebook
def test_a_workbench_is_deployed_changed_and_deleted_and_leaves_nothing(own_cloud: LocalCloud, tmp_path: Path) -> None:
    sagemaker = own_cloud.client("sagemaker")
    stacks = Stacks(own_cloud, tmp_path)
    before = inventory(own_cloud)

    assert stacks.deploy(WORKBENCH) == ["CREATE_COMPLETE", "CREATE_COMPLETE"]
    made = sagemaker.describe_notebook_instance(NotebookInstanceName=INSTANCE)
    assert made["NotebookInstanceStatus"] == "InService"
    (domain,) = sagemaker.list_domains()["Domains"]
    # What people make by hand in it is in the way of a deletion.
    by_hand = {"DomainId": domain["DomainId"], "SpaceName": "ada-lab", "AppType": "JupyterLab", "AppName": "default"}
    sagemaker.create_app(**by_hand)

    assert stacks.deploy(CHANGED) == ["UPDATE_COMPLETE"]
    changed = sagemaker.describe_notebook_instance(NotebookInstanceName=INSTANCE)
    assert (changed["InstanceType"], changed["VolumeSizeInGB"]) == ("ml.t3.large", 40)
    assert [each["UserProfileName"] for each in sagemaker.list_user_profiles()["UserProfiles"]] == ["bob"]
    sagemaker.create_app(**{**by_hand, "SpaceName": "bob-lab"})

    stacks.workbench.delete()
    stacks.foundation.delete()
    left = left_behind(before, inventory(own_cloud))
    # SageMaker's own log group is the account's, on AWS as here. And a function of CDK's framework that says its last words
    # after its log group was deleted makes it again, as its managed policy lets it.
    logs = {group for group in left.pop("log group", set()) if not group.endswith("NotebookInstances")}
    assert all("ProviderLogs" in group for group in logs), logs
    assert left == {}
