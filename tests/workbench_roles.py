"""The roles of a whole workbench and what their policies say, to ask who may do what."""

from __future__ import annotations

from typing import Any

import pytest
from sagestack.review.intrinsics import as_text, is_intrinsic
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.personas import PERSONAS

from tests.policy_decisions import Statement, allows
from tests.whole_workbench import STACK, WholeWorkbench

ACCOUNT, REGION = "111111111111", "us-east-1"
NAMES = EnvironmentNames("dev")
ADAS, EVERYBODYS = (f"notebook-instance/{NAMES.notebook_instance(name)}" for name in ("explore", "review"))
PEOPLE = {f"people: {persona}": f"Personas{persona.title().replace('-', '')}" for persona in PERSONAS}
MACHINES = {
    "a notebook with jobs": "NotebookRoleexplore",
    "a notebook without": "NotebookRolereview",
    "a person in Studio": "StudioRoleada",
}
ROLES = {**PEOPLE, **MACHINES}
BUCKET = "<import sagestack-dev-foundation:ExportsOutputFnGetAttArtifacts82DD59A1Arn3B515032>"
"""Of artefacts, as the template refers to it: were it called otherwise, the test of what some may would fail."""


def sagemaker(what: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{what}"


def of_iam(what: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{what}"


def logs(what: str) -> str:
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/{what}"


def role_policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Statement]]:
    """All statements of each role of the workbench's stack, with what is known at deployment as text."""
    return {who: statements_of_role(tmp_path_factory, role) for who, role in ROLES.items()}


def statements_of_role(tmp_path_factory: pytest.TempPathFactory, role: str) -> list[Statement]:
    """Those of the role whose logical id begins so."""
    resources = WholeWorkbench.of(tmp_path_factory).templates.by_stack[STACK]["Resources"]
    return [
        _plain(statement)
        for logical_id, resource in resources.items()
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy") and logical_id.startswith(role)
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return separator.join(_plain(part) for part in parts)
    if is_intrinsic(value):
        # Not as a variable of the policy looks.
        return as_text(value).replace("${", "<").replace("}", ">")
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def who_may(policies: dict[str, list[Statement]], action: str, resource: str, context: dict[str, str]) -> set[str]:
    everywhere = {
        "aws:PrincipalTag/user": "ada",
        "aws:RequestedRegion": REGION,
        "aws:SourceIp": "203.0.113.9",
        "iam:PassedToService": "sagemaker.amazonaws.com",
        "sagemaker:DomainId": "d-example",
        "sagemaker:UserProfileName": "ada",
    }
    return {who for who in ROLES if allows(policies[who], action, resource, {**everywhere, **context})}
