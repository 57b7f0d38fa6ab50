"""The whole workbench, deployed, changed and deleted in the local cloud: nothing of it is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.local_cloud_fixtures import LocalCloud
from tests.local_cloud_inventory import inventory, left_by_stacks
from tests.workbench_stacks import WorkbenchStacks

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


@pytest.mark.notebook
def test_a_workbench_is_deployed_changed_and_deleted_and_leaves_nothing(own_cloud: LocalCloud, tmp_path: Path) -> None:
    sagemaker = own_cloud.client("sagemaker")
    stacks = WorkbenchStacks(own_cloud, tmp_path)
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

    stacks.delete()
    assert left_by_stacks(before, inventory(own_cloud)) == {}
