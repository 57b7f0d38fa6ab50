"""A network of a workbench's own has an interface endpoint for each service that something in it calls, and for no other."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML
from sagestack.settings.workbench import Workbench
from sagestack.settings.workbench.network import INTERFACE_ENDPOINTS, STUDIO_ENDPOINT

from tests.whole_workbench import STACK, WORKBENCH, WholeWorkbench

SECRET = "arn:aws:secretsmanager:us-east-1:111111111111:secret:git-AbCdEf"
GIT = {"user_name": "Ada", "user_email": "ada@example.org", "secret_arn": SECRET, "hosts": ["github.com"]}
EFS = {
    "kind": "efs",
    "file_system_id": "fs-0123456789abcdef0",
    "path": "/home/ec2-user/SageMaker/shared",
    "security_group_id": "sg-0123456789abcdef0",
}
LUSTRE = {**EFS, "kind": "fsx-lustre"}


def test_all_that_a_whole_workbench_calls_has_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    resources = WholeWorkbench.of(tmp_path_factory).templates.by_stack[STACK]["Resources"].values()
    found = {
        str(each["Properties"]["ServiceName"]).rpartition("us-east-1.")[2]
        for each in resources
        if each["Type"] == "AWS::EC2::VPCEndpoint"
    }
    assert found == {"s3", STUDIO_ENDPOINT, *INTERFACE_ENDPOINTS}
    assert set(Workbench.model_validate(YAML(typ="safe").load(WORKBENCH)["workbench"]).services) == found - {"s3"}


def services(**more: Any) -> set[str]:
    notebook = {"instance_type": "ml.t3.medium", **more.pop("notebook", {})}
    declared = {"network": {"cidr": "10.42.0.0/22"}, "notebooks": {"explore": notebook}}
    return set(Workbench.model_validate({**declared, **more}).services)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"lifecycle_configs": {"a": {"mounts": [EFS]}}}, {"elasticfilesystem"}),
        ({"lifecycle_configs": {"a": {"mounts": [LUSTRE]}}}, set()),
        ({"lifecycle_configs": {"a": {"git": GIT}}}, {"secretsmanager"}),
        (
            {"notebook": {"repositories": [{"url": "https://github.com/e/a.git", "secret_arn": SECRET}]}},
            {"secretsmanager"},
        ),
    ],
    ids=["EFS", "another file system", "git's secret", "a repository's secret"],
)
def test_what_some_workbenches_call_has_one_there_alone(more: dict[str, Any], expected: set[str]) -> None:
    assert services(**more) - services() == expected
