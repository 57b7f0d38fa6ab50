"""Which of `sagestack`'s commands that only look each persona can use, asked of the policies that the stack would deploy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.policy_decisions import Statement, allows
from tests.workbench_roles import ACCOUNT, ADAS, BUCKET, EVERYBODYS, NAMES, PEOPLE, REGION, role_policies, sagemaker

CLI = Path(__file__).parent.parent / "constructs/sagestack/cli"
HOUSING = NAMES.model("housing")
MODULES = (*CLI.glob("*.py"), CLI / "commands/status.py")
CHANGES = re.compile(r"(Create|Delete|Start|Stop|Retry|Update|Put|Add)[A-Z]\w+")

Call = tuple[str, str]
SCIENTIST, ENGINEER, REVIEWER, OPERATOR = "data-scientist", "ml-engineer", "reviewer", "operator"
ALL = {SCIENTIST, ENGINEER, REVIEWER, OPERATOR}


def of(service: str, what: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{what}"


def calls(service: str, resource: str, *operations: str) -> tuple[Call, ...]:
    return tuple((f"{service}:{operation}", resource) for operation in operations)


def reading(group: str, stream: str) -> tuple[Call, ...]:
    arn = of("logs", f"log-group:/aws/sagemaker/{group}:log-stream:")
    return (("logs:DescribeLogStreams", arn), ("logs:GetLogEvents", f"{arn}{stream}"))


PARAMETERS = calls("ssm", of("ssm", f"parameter{HOUSING.pipeline_name_parameter}"), "GetParameter")
EXECUTION = (
    *PARAMETERS,
    *calls("sagemaker", sagemaker(f"pipeline/{HOUSING.pipeline}"), "DescribePipeline", "ListPipelineExecutions"),
    *calls(
        "sagemaker",
        sagemaker(f"pipeline/{HOUSING.pipeline}/execution/abc"),
        *("DescribePipelineExecution", "DescribePipelineDefinitionForExecution", "ListPipelineExecutionSteps"),
    ),
)
GROUP = HOUSING.model_package_group
SCORES = f"{BUCKET}/housing/abc/Evaluate/evaluation/evaluation.json"
JOBS: Mapping[str, Sequence[Call]] = {
    kind: calls("sagemaker", sagemaker(f"{kind.lower()}-job/pipelines-abc-x"), f"Describe{kind}Job")
    for kind in ("Training", "Processing", "Transform")
}
COMMANDS: Mapping[str, tuple[Sequence[Call], set[str]]] = {
    "status": (
        (
            *EXECUTION,
            *calls("cloudformation", of("cloudformation", f"stack/{NAMES.foundation_stack}/1"), "DescribeStacks"),
            *calls("sagemaker", sagemaker(f"model-package-group/{GROUP}"), "ListModelPackages"),
            *calls("sagemaker", sagemaker(f"model-package/{GROUP}/3"), "DescribeModelPackage"),
            ("s3:GetObject", SCORES),
            *calls("sagemaker", sagemaker(f"endpoint/{HOUSING.endpoint}"), "DescribeEndpoint"),
        ),
        ALL,
    ),
    # CloudFormation names both, of whichever environment they are: `status` says so, and goes on.
    "status: which version an endpoint serves": (
        (
            *calls("sagemaker", sagemaker("endpoint-config/EndpointConfig-AbCdEf"), "DescribeEndpointConfig"),
            *calls("sagemaker", sagemaker("model/Model-AbCdEf"), "DescribeModel"),
        ),
        set(),
    ),
    **{
        f"logs of a {kind.lower()} job": (
            (*EXECUTION, *described, *reading(f"{kind}Jobs", "pipelines-abc-x/algo-1")),
            {ENGINEER, OPERATOR},
        )
        for kind, described in JOBS.items()
    },
    "logs --endpoint": (
        (*PARAMETERS, *reading(f"Endpoints/{HOUSING.endpoint}", "all/i-1")),
        {ENGINEER, OPERATOR},
    ),
    "notebook list": (
        calls("sagemaker", sagemaker(ADAS), "DescribeNotebookInstance"),
        ALL,
    ),
    "notebook logs of one's own": (reading("NotebookInstances", "sagestack-dev-explore/jupyter.log"), ALL - {REVIEWER}),
    "notebook logs of everybody's": (
        reading("NotebookInstances", "sagestack-dev-review/jupyter.log"),
        ALL - {REVIEWER},
    ),
    "notebook idle": (
        (
            *calls("sagemaker", "*", "ListNotebookInstances", "ListDomains", "ListApps"),
            *calls("sagemaker", sagemaker(EVERYBODYS), "ListTags"),
            ("cloudwatch:GetMetricData", "*"),
        ),
        ALL,
    ),
    # The report names what it could not look at.
    "notebook idle: since when nobody uses an app of Studio": (
        (
            *calls("sagemaker", sagemaker("app/<{domain}>/ada/jupyterlab/default"), "DescribeApp"),
            *calls("sagemaker", sagemaker("space/<{domain}>/team"), "DescribeSpace", "ListTags"),
        ),
        {OPERATOR},
    ),
    # It compares all settings of an account with git: CI's role and administrators do.
    "drift": (
        (
            *calls("cloudformation", of("cloudformation", f"stack/{HOUSING.serving_stack}/1"), "ListStackResources"),
            *calls("sagemaker", sagemaker("endpoint-config/EndpointConfig-AbCdEf"), "DescribeEndpointConfig"),
            ("application-autoscaling:DescribeScalableTargets", "*"),
        ),
        set(),
    ),
}


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Statement]]:
    found = role_policies(tmp_path_factory)
    return {persona.removeprefix("people: "): found[persona] for persona in PEOPLE}


@pytest.mark.parametrize("command", COMMANDS)
def test_who_can_use_a_command_that_only_looks(policies: dict[str, list[Statement]], command: str) -> None:
    asked, expected = COMMANDS[command]
    context = {"aws:PrincipalTag/user": "ada", "aws:RequestedRegion": REGION}
    denied = {
        persona: [call for call in asked if not allows(statements, *_in_this_domain(call, statements), context)]
        for persona, statements in policies.items()
    }
    assert {persona for persona, calls_ in denied.items() if not calls_} == expected, denied


def test_the_table_has_whatever_these_commands_ask_of_sagemaker_and_of_logs() -> None:
    asked = {action for commands, _ in COMMANDS.values() for action, _ in commands}
    assert {each for each in _in_the_code() if each not in asked} == set()


def _in_the_code() -> Iterator[str]:
    for module in MODULES:
        found = re.findall(r"session\.(sagemaker|logs)\.(?:get_paginator\(\"(\w+)\"\)|(\w+)\()", module.read_text())
        for service, paged, plain in found:
            operation = "".join(word.capitalize() for word in (paged or plain).split("_"))
            if not CHANGES.match(operation):
                yield f"{service}:{operation}"


def _in_this_domain(call: Call, statements: Sequence[Statement]) -> Call:
    """With the Studio domain's id as these policies refer to it."""
    action, resource = call
    if "<{domain}>" not in resource:
        return call
    text = next((each for each in re.findall(r"<[^>]*DomainId>", str(statements))), "d-example")
    return action, resource.replace("<{domain}>", text)
