"""What somebody would try who holds one role of a workbench and wants more: nothing of it works."""

from __future__ import annotations

from collections.abc import Callable
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
BOB = {"aws:ResourceTag/sagestack:owner": "bob"}


def sagemaker(what: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{what}"


def of_iam(what: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{what}"


def logs(what: str) -> str:
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/{what}"


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Statement]]:
    """All statements of each role of the workbench's stack, with what is known at deployment as text."""
    resources = WholeWorkbench.of(tmp_path_factory).templates.by_stack[STACK]["Resources"]
    return {
        who: [
            _plain(statement)
            for logical_id, resource in resources.items()
            if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy") and logical_id.startswith(role)
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        ]
        for who, role in ROLES.items()
    }


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


# By what they are after.
ATTACKS: dict[str, tuple[str, str, dict[str, str]]] = {
    # A stronger role, handed to something that one may make.
    **{
        f"hand {role} over": ("iam:PassRole", of_iam(f"role/{role}"), {})
        for role in (
            "sagestack-dev-housing-training-PipelineRole",
            "sagestack-dev-housing-serving-EndpointRole",
            "sagestack-dev-workbench-PersonasOperator",
            "sagestack-dev-workbench-StudioRolegrace",
            "admin",
        )
    },
    **{
        f"make by {operation}": (f"sagemaker:{operation}", sagemaker(f"{kind}/sagestack-dev-mine"), {})
        for operation, kind in (
            ("CreateNotebookInstance", "notebook-instance"),
            ("CreateNotebookInstanceLifecycleConfig", "notebook-instance-lifecycle-config"),
            ("UpdateNotebookInstanceLifecycleConfig", "notebook-instance-lifecycle-config"),
            ("CreateStudioLifecycleConfig", "studio-lifecycle-config"),
            ("CreatePipeline", "pipeline"),
            ("UpdatePipeline", "pipeline"),
            ("CreateTrainingJob", "training-job"),
            ("CreateProcessingJob", "processing-job"),
            ("CreateModel", "model"),
            ("CreateHyperParameterTuningJob", "hyper-parameter-tuning-job"),
            ("CreateAutoMLJobV2", "automl-job"),
            ("CreateDomain", "domain"),
            ("CreateUserProfile", "user-profile"),
            ("UpdateUserProfile", "user-profile"),
            ("CreateModelPackage", "model-package"),
            ("UpdateEndpoint", "endpoint"),
        )
    },
    "change their own instance": ("sagemaker:UpdateNotebookInstance", sagemaker(ADAS), {}),
    "delete their own instance": ("sagemaker:DeleteNotebookInstance", sagemaker(ADAS), {}),
    # Another role.
    **{
        f"become {role}": ("sts:AssumeRole", of_iam(f"role/{role}"), {})
        for role in ("sagestack-dev-workbench-PersonasReviewer", "cdk-hnb659fds-deploy-role-111111111111-us-east-1")
    },
    # What holds them.
    **{
        f"{operation}": (f"iam:{operation}", of_iam("role/sagestack-dev-workbench-NotebookRoleexplore"), {})
        for operation in (
            "AttachRolePolicy",
            "DeleteRolePermissionsBoundary",
            "DeleteRolePolicy",
            "PutRolePermissionsBoundary",
            "PutRolePolicy",
            "TagRole",
            "UntagRole",
            "UpdateAssumeRolePolicy",
        )
    },
    "change the boundary": ("iam:CreatePolicyVersion", of_iam("policy/sagestack/sagestack-dev-boundary"), {}),
    # To be the owner.
    **{
        f"{operation} {keys} of {what}": (f"sagemaker:{operation}", sagemaker(what), {"aws:TagKeys": keys, **BOB})
        for operation in ("AddTags", "DeleteTags")
        for keys in ("sagestack:owner", "Sagestack:Owner", "sagestack:keep,sagestack:owner", "sagestack:budget-spent")
        for what in (ADAS, EVERYBODYS, "user-profile/d-example/grace", "space/d-example/team", "domain/d-example")
    },
    # What is another's.
    "open another's notebook": ("sagemaker:CreatePresignedNotebookInstanceUrl", sagemaker(ADAS), BOB),
    "open an owner's whose name begins so": (
        "sagemaker:CreatePresignedNotebookInstanceUrl",
        sagemaker(ADAS),
        {"aws:ResourceTag/sagestack:owner": "ada2"},
    ),
    "open an owner's in capitals": (
        "sagemaker:CreatePresignedNotebookInstanceUrl",
        sagemaker(ADAS),
        {"aws:ResourceTag/sagestack:owner": "ADA"},
    ),
    "open as nobody": (
        "sagemaker:CreatePresignedNotebookInstanceUrl",
        sagemaker(ADAS),
        {"aws:PrincipalTag/user": "", **BOB},
    ),
    "open from elsewhere": (
        "sagemaker:CreatePresignedNotebookInstanceUrl",
        sagemaker(EVERYBODYS),
        {"aws:SourceIp": "198.51.100.1"},
    ),
    "open another's Studio": ("sagemaker:CreatePresignedDomainUrl", sagemaker("user-profile/d-example/grace"), BOB),
    "open one without an owner": ("sagemaker:CreatePresignedDomainUrl", sagemaker("user-profile/d-other/grace"), {}),
    "end another's app": (
        "sagemaker:DeleteApp",
        sagemaker("app/d-other/grace/jupyterlab/default"),
        {"sagemaker:SpaceSharingType": "Private", "aws:ResourceTag/sagestack:workbench": "dev"},
    ),
    **{
        f"{operation} {key}": (f"s3:{operation}", f"{BUCKET}/{key}", {})
        for operation in ("GetObject", "PutObject", "DeleteObject")
        for key in ("notebooks/studio-grace/plan", "notebooks/explore2/plan", "other/1/Train/model.tar.gz")
    },
    "change what will be served": ("s3:PutObject", f"{BUCKET}/housing/1/Train/model.tar.gz", {}),
    "change what was scored": ("s3:PutObject", f"{BUCKET}/housing/1/Evaluate/evaluation/evaluation.json", {}),
    "read another's secret": (
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:theirs-AbCdEf",
        {},
    ),
    "read the log of another environment's notebook": (
        "logs:GetLogEvents",
        logs("NotebookInstances:log-stream:sagestack-prod-explore/jupyter.log"),
        {},
    ),
    "read all logs of notebooks": ("logs:FilterLogEvents", logs("NotebookInstances:*"), {}),
    # What would then happen by itself.
    **{
        f"{operation} a schedule": (
            f"scheduler:{operation}",
            f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{what}",
            {},
        )
        for operation in ("CreateSchedule", "DeleteSchedule", "UpdateSchedule")
        for what in ("sagestack-dev-workbench/stop", "default/mine")
    },
    **{
        f"{operation} the budget": (f"budgets:{operation}", f"arn:aws:budgets::{ACCOUNT}:budget/{STACK}-1a2b3c4d", {})
        for operation in ("ModifyBudget",)
    },
    "say that the money is spent": ("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-BudgetStopTopic", {}),
    "change a parameter": (
        "ssm:PutParameter",
        f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/sagestack/dev/data-bucket",
        {},
    ),
    "change a function": (
        "lambda:UpdateFunctionCode",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}-BudgetStopFunction",
        {},
    ),
    "change a stack": ("cloudformation:UpdateStack", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1", {}),
    # Elsewhere.
    "stop a notebook of another environment": (
        "sagemaker:StopNotebookInstance",
        sagemaker("notebook-instance/sagestack-prod-explore"),
        {},
    ),
    "list in another region": ("sagemaker:ListNotebookInstances", "*", {"aws:RequestedRegion": "eu-west-1"}),
    # Of what a spent budget stopped.
    "start what is marked": (
        "sagemaker:StartNotebookInstance",
        sagemaker(EVERYBODYS),
        {"aws:ResourceTag/sagestack:budget-spent": "2026-11"},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nobody_gets_further_than_their_role(policies: dict[str, list[Statement]], attack: str) -> None:
    action, resource, context = ATTACKS[attack]
    assert who_may(policies, action, resource, context) == set()


def test_what_some_may_is_nobody_elses(policies: dict[str, list[Statement]]) -> None:
    """The other side: the table above is silent because of the policies, and not because nothing is ever allowed."""
    working = {"people: data-scientist", "people: ml-engineer"}
    mine = {"aws:ResourceTag/sagestack:owner": "ada"}
    keep = {"aws:TagKeys": "sagestack:keep"}
    version = sagemaker("model-package/sagestack-dev-housing/3")
    run = sagemaker("pipeline/sagestack-dev-housing")
    job = sagemaker("training-job/sagestack-dev-explore-first")
    cases: list[tuple[str, str, dict[str, str], set[str]]] = [
        ("sagemaker:CreatePresignedNotebookInstanceUrl", sagemaker(ADAS), mine, working),
        ("sagemaker:CreatePresignedNotebookInstanceUrl", sagemaker(EVERYBODYS), {}, working),
        ("sagemaker:AddTags", sagemaker(ADAS), keep, {"people: operator"}),
        ("sagemaker:DeleteTags", sagemaker(ADAS), keep, {"people: operator"}),
        ("sagemaker:UpdateModelPackage", version, {}, {"people: reviewer"}),
        (
            "sagemaker:StartPipelineExecution",
            run,
            {},
            {"people: ml-engineer", "a notebook with jobs", "a person in Studio"},
        ),
        ("sagemaker:CreateTrainingJob", job, {"sagemaker:NetworkIsolation": "true"}, {"a notebook with jobs"}),
        ("s3:GetObject", f"{BUCKET}/notebooks/explore/plan", {}, {"a notebook with jobs"}),
        (
            "s3:GetObject",
            f"{BUCKET}/housing/1/Evaluate/evaluation/evaluation.json",
            {},
            {*ROLES} - {"a notebook without"},
        ),
        (
            "sagemaker:UpdateEndpointWeightsAndCapacities",
            sagemaker("endpoint/sagestack-dev-housing"),
            {},
            {"people: operator"},
        ),
    ]
    assert [who_may(policies, action, resource, context) for action, resource, context, _ in cases] == [
        who for *_, who in cases
    ]


def test_a_notebook_hands_over_no_role_but_its_own(policies: dict[str, list[Statement]]) -> None:
    handed: dict[str, set[Any]] = {
        who: {
            str(each)
            for statement in statements
            if "iam:PassRole" in statement["Action"] and statement["Effect"] == "Allow"
            for each in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
        }
        for who, statements in policies.items()
    }
    is_own: Callable[[str, str], bool] = lambda who, arn: ROLES[who] in arn and arn.endswith(".Arn>")  # noqa: E731
    assert {who for who, arns in handed.items() if arns} == {"a notebook with jobs", "a person in Studio"}
    assert all(is_own(who, arn) for who, arns in handed.items() for arn in arns), handed
