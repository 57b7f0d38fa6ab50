"""What somebody would try who holds one role of a workbench and wants more: nothing of it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from functions.notebook_rollout.tags import RESTART_TAG
from tests.policy_decisions import Statement, allows
from tests.whole_workbench import STACK
from tests.workbench_roles import (
    ACCOUNT,
    ADAS,
    BUCKET,
    EVERYBODYS,
    REGION,
    ROLES,
    logs,
    of_iam,
    role_policies,
    sagemaker,
    statements_of_role,
    who_may,
)

BOB = {"aws:ResourceTag/sagestack:owner": "bob"}


def tagged(operation: str, **tags: str) -> dict[str, str]:
    """What IAM is told of a request that makes something with these tags."""
    requested = {f"aws:RequestTag/{_key_in_any_case(key)}": value for key, value in tags.items()}
    return {"sagemaker:TaggingAction": operation, "aws:TagKeys": ",".join(tags), **requested}


def _key_in_any_case(key: str) -> str:
    """IAM compares the keys of tags without regard to case, so here all are written as policies write them."""
    return key.lower()


OF_STUDIO = {
    "sagemaker:domain-arn": sagemaker("domain/d-example"),
    "sagemaker:user-profile-arn": sagemaker("user-profile/d-example/ada"),
}
"""What Studio puts on a space that somebody makes in its user interface."""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Statement]]:
    return role_policies(tmp_path_factory)


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
    # What another notebook is said to have done.
    **{
        f"{operation} {stream}": (f"logs:{operation}", logs(f"NotebookInstances:log-stream:{stream}"), {})
        for operation in ("CreateLogStream", "PutLogEvents")
        for stream in ("sagestack-dev-explore2/jupyter.log", "sagestack-prod-explore/jupyter.log", "mine")
    },
    "forget what a notebook did": (
        "logs:DeleteLogStream",
        logs("NotebookInstances:log-stream:sagestack-dev-explore/x"),
        {},
    ),
    "say what serves": ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/SageMaker"}),
    # To evade the stop of a spent budget, or the count of it, in Studio.
    **{
        f"make a space with {'; '.join(f'{key}={value}' for key, value in given.items() if key not in OF_STUDIO)}"
        f"{' in Studio itself' if given.keys() >= OF_STUDIO.keys() else ''}": (
            "sagemaker:AddTags",
            sagemaker("space/d-example/mine"),
            tagged("CreateSpace", **given),
        )
        for given in (
            {"sagestack:keep": "true"},
            {"Sagestack:Keep": "true"},
            {**OF_STUDIO, "sagestack:keep": "true"},
            {"sagestack:budget-spent": "2026-11"},
            {"sagestack:owner": "grace"},
            {"Sagestack:Owner": "grace"},
            {"sagestack:workbench": "prod"},
        )
    },
    "make an app that is another's cost": (
        "sagemaker:AddTags",
        sagemaker("app/d-example/ada/jupyterlab/default"),
        tagged("CreateApp", **{"sagestack:workbench": "prod"}),
    ),
    **{
        f"tag {what} that is there": ("sagemaker:AddTags", sagemaker(what), {"aws:TagKeys": "team"})
        for what in ("space/d-example/mine", "app/d-example/ada/jupyterlab/default", "user-profile/d-example/ada")
    },
    "make a profile with tags": (
        "sagemaker:AddTags",
        sagemaker("user-profile/d-example/mine"),
        tagged("CreateUserProfile", team="a"),
    ),
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
        *(
            (
                "sagemaker:AddTags",
                sagemaker(what),
                tagged(operation, **OF_STUDIO, **more),
                {"a person in Studio"},
            )
            for what, operation, more in (
                ("space/d-example/mine", "CreateSpace", {}),
                # What the profile and the domain have, in case that SageMaker asks for it.
                ("space/d-example/mine", "CreateSpace", {"sagestack:owner": "ada", "sagestack:workbench": "dev"}),
                ("space/d-example/mine", "CreateSpace", {"team": "churn"}),
                # And the space: another's, which an operator lets run.
                (
                    "app/d-example/team/jupyterlab/default",
                    "CreateApp",
                    {"sagestack:owner": "grace", "sagestack:keep": "true", "sagestack:workbench": "dev"},
                ),
            )
        ),
        *(
            (
                f"logs:{operation}",
                logs(f"NotebookInstances:log-stream:sagestack-dev-explore/{stream}"),
                {},
                {"a notebook with jobs"},
            )
            for operation in ("CreateLogStream", "PutLogEvents")
            for stream in ("jupyter.log", "LifecycleConfigOnStart")
        ),
        (
            "logs:CreateLogGroup",
            # As CloudWatch asks for it.
            logs("NotebookInstances:log-stream:"),
            {},
            {"a notebook with jobs", "a notebook without"},
        ),
        (
            "cloudwatch:PutMetricData",
            "*",
            {"cloudwatch:namespace": "Sagestack/Notebooks"},
            {"a notebook with jobs"},
        ),
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


@pytest.mark.parametrize(
    "keys", ["sagestack:owner", "sagestack:budget-spent", "sagestack:restarting,sagestack:owner", None]
)
def test_the_maintenance_window_puts_its_own_mark_on_instances_and_no_other(
    maintenance: list[Statement], keys: str | None
) -> None:
    for operation in ("AddTags", "DeleteTags"):
        action, context = f"sagemaker:{operation}", {"aws:TagKeys": keys} if keys else {}
        assert not allows(maintenance, action, sagemaker(ADAS), context)
        assert allows(maintenance, action, sagemaker(ADAS), {"aws:TagKeys": RESTART_TAG})


@pytest.fixture(scope="module")
def maintenance(tmp_path_factory: pytest.TempPathFactory) -> list[Statement]:
    """What the functions of the maintenance window may do."""
    found = statements_of_role(tmp_path_factory, "MaintenanceRestart")
    assert found
    return found
