"""What each persona may do, asked of the policies that the stack would deploy."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Annotations, Match, Template
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.personas import PERSONAS, Personas
from sagestack.workbench.personas.permissions import WorkedWith
from sagestack.workbench.personas.persona_role import PersonaRole
from sagestack.workbench.personas.personas import PersonaRoles

from tests.policy_decisions import Statement, allows, statements_of

ACCOUNT = "222222222222"
HERE = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
NOTEBOOK = f"{HERE}:notebook-instance/sagestack-dev-explore"
OFFICE = {"aws:SourceIp": "203.0.113.9"}
TRUSTED = f"arn:aws:iam::{ACCOUNT}:role/people"
SAML = f"arn:aws:iam::{ACCOUNT}:saml-provider/company"
PLAIN = {"@aws-cdk/core:enablePartitionLiterals": True}
OPEN = "sagemaker:CreatePresignedNotebookInstanceUrl"
WORKED_WITH = WorkedWith(
    models=["housing"], owners={"explore": "ada", "bobs": "bob", "shared": None}, studio_domain_id="d-example"
)


@pytest.fixture(scope="module")
def template() -> Template:
    stack = cdk.Stack(cdk.App(context=PLAIN), "Stack", env=cdk.Environment(account=ACCOUNT, region="us-east-1"))
    personas = Personas(
        trusted=[TRUSTED, SAML], source_ips=["203.0.113.0/24"], source_vpcs=["vpc-0123456789abcdef0"], session_hours=4
    )
    for persona in PERSONAS:
        PersonaRole(
            stack,
            "".join(word.capitalize() for word in persona.split("-")),
            persona=persona,
            personas=personas,
            names=EnvironmentNames("dev"),
            worked_with=WORKED_WITH,
        )
    return Template.from_stack(stack)


@pytest.fixture(scope="module")
def policies(template: Template) -> dict[str, list[Statement]]:
    return {
        persona: statements_of(
            template.to_json(), "".join(word.capitalize() for word in persona.split("-")), kind="AWS::IAM::Policy"
        )
        for persona in PERSONAS
    }


def _may(statements: list[Statement], action: str, resource: str, user: str = "ada", **context: str) -> bool:
    return allows(
        statements,
        action,
        resource,
        {"aws:PrincipalTag/user": user, "aws:RequestedRegion": "us-east-1", **OFFICE, **context},
    )


def _of(owner: str) -> dict[str, str]:
    return {"aws:ResourceTag/sagestack:owner": owner}


@pytest.mark.parametrize("persona", ["data-scientist", "ml-engineer"])
def test_who_works_in_notebooks_opens_their_own_and_nobody_elses(
    policies: dict[str, list[Statement]], persona: str
) -> None:
    assert _may(policies[persona], OPEN, NOTEBOOK, **_of("ada"))
    assert not _may(policies[persona], OPEN, NOTEBOOK, **_of("bob"))
    assert not _may(policies[persona], "sagemaker:StopNotebookInstance", NOTEBOOK, **_of("bob"))


def test_a_notebook_without_an_owner_is_everybodys(policies: dict[str, list[Statement]]) -> None:
    assert _may(policies["data-scientist"], OPEN, NOTEBOOK)


@pytest.mark.parametrize("persona", ["reviewer", "operator"])
def test_who_does_not_work_in_notebooks_opens_none(policies: dict[str, list[Statement]], persona: str) -> None:
    assert not _may(policies[persona], OPEN, NOTEBOOK, **_of("ada"))
    assert not _may(policies[persona], OPEN, NOTEBOOK)


def test_an_operator_stops_anybodys(policies: dict[str, list[Statement]]) -> None:
    assert _may(policies["operator"], "sagemaker:StopNotebookInstance", NOTEBOOK, **_of("bob"))


@pytest.mark.parametrize("persona", PERSONAS)
def test_nobody_changes_what_git_deploys(policies: dict[str, list[Statement]], persona: str) -> None:
    for action, resource in (
        ("sagemaker:UpdateEndpoint", f"{HERE}:endpoint/sagestack-dev-housing"),
        ("sagemaker:UpdateNotebookInstance", NOTEBOOK),
        ("sagemaker:DeleteNotebookInstance", NOTEBOOK),
        ("sagemaker:AddTags", NOTEBOOK),
        ("sagemaker:DeleteTags", NOTEBOOK),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
        ("s3:GetObject", "arn:aws:s3:::any/key"),
    ):
        assert not _may(policies[persona], action, resource, **_of("ada")), (persona, action)


def test_who_makes_versions_does_not_approve_them(policies: dict[str, list[Statement]]) -> None:
    version = f"{HERE}:model-package/sagestack-dev-housing/3"
    pipeline = f"{HERE}:pipeline/sagestack-dev-housing"
    may = {
        persona: (
            _may(policies[persona], "sagemaker:UpdateModelPackage", version),
            _may(policies[persona], "sagemaker:StartPipelineExecution", pipeline),
        )
        for persona in PERSONAS
    }
    assert may == {
        "data-scientist": (False, False),
        "ml-engineer": (False, True),
        "reviewer": (True, False),
        "operator": (False, False),
    }


@pytest.mark.parametrize(
    ("where", "opens"),
    [
        ({"aws:SourceIp": "203.0.113.200"}, True),
        ({"aws:SourceIp": "198.51.100.1"}, False),
        ({"aws:SourceIp": "10.0.0.1", "aws:SourceVpc": "vpc-0123456789abcdef0"}, True),
        ({"aws:SourceIp": "10.0.0.1", "aws:SourceVpc": "vpc-00000000000000000"}, False),
    ],
    ids=["the office", "elsewhere", "our network", "another network"],
)
def test_a_notebook_opens_from_where_people_work_only(
    policies: dict[str, list[Statement]], where: dict[str, str], opens: bool
) -> None:
    context = {"aws:PrincipalTag/user": "ada", "aws:RequestedRegion": "us-east-1", **_of("ada"), **where}
    assert allows(policies["data-scientist"], OPEN, NOTEBOOK, context) is opens


def _log(notebook: str) -> str:
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/NotebookInstances"
    return f"{group}:log-stream:sagestack-dev-{notebook}/jupyter.log"


@pytest.mark.parametrize(
    ("persona", "reads"),
    [
        ("data-scientist", {"explore", "shared"}),
        ("ml-engineer", {"explore", "shared"}),
        ("reviewer", set()),
        ("operator", {"explore", "bobs", "shared"}),
    ],
)
def test_why_a_notebook_did_not_start_is_read_by_its_owner_and_by_operators(
    policies: dict[str, list[Statement]], persona: str, reads: set[str]
) -> None:
    notebooks = ("explore", "bobs", "shared")
    assert {name for name in notebooks if _may(policies[persona], "logs:GetLogEvents", _log(name))} == reads
    # The whole group at once is nobody's.
    group = _log("explore").partition(":log-stream")[0]
    assert not _may(policies[persona], "logs:FilterLogEvents", f"{group}:*")


def test_an_operator_says_what_must_run_and_not_whose_it_is(policies: dict[str, list[Statement]]) -> None:
    for action in ("sagemaker:AddTags", "sagemaker:DeleteTags"):
        for keys, is_allowed in (
            ("sagestack:keep", True),
            ("sagestack:owner", False),
            ("sagestack:keep,sagestack:owner", False),
            ("sagestack:budget-spent", False),
            ("Sagestack:Keep", False),
        ):
            assert _may(policies["operator"], action, NOTEBOOK, **{"aws:TagKeys": keys}) is is_allowed, keys
        assert not _may(policies["operator"], action, NOTEBOOK)


def test_other_environments_are_out_of_reach(policies: dict[str, list[Statement]]) -> None:
    elsewhere = f"{HERE}:notebook-instance/sagestack-prod-explore"
    assert not any(
        _may(policies[persona], action, elsewhere, **_of("ada"))
        for persona in PERSONAS
        for action in (OPEN, "sagemaker:StopNotebookInstance", "sagemaker:DescribeNotebookInstance")
    )


def test_everybody_sees_what_there_is(policies: dict[str, list[Statement]]) -> None:
    for persona in PERSONAS:
        assert _may(policies[persona], "sagemaker:ListNotebookInstances", "*")
        assert _may(policies[persona], "sagemaker:DescribeEndpoint", f"{HERE}:endpoint/sagestack-dev-housing")
        assert not _may(
            policies[persona], "sagemaker:ListNotebookInstances", "*", **{"aws:RequestedRegion": "eu-west-1"}
        )


def test_a_session_is_of_somebody_who_cannot_choose_who(template: Template) -> None:
    for role in template.find_resources("AWS::IAM::Role").values():
        by_principal = {
            str(statement["Principal"]): statement
            for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        }
        own = next(value for key, value in by_principal.items() if TRUSTED in key)
        assert own["Condition"] == {"StringEquals": {"aws:RequestTag/user": "${aws:PrincipalTag/user}"}}
        saml = next(value for key, value in by_principal.items() if SAML in key)
        assert saml["Condition"]["Null"] == {"aws:RequestTag/user": "false"}
        assert saml["Condition"]["StringEquals"] == {"SAML:aud": "https://signin.aws.amazon.com/saml"}
        for statement in by_principal.values():
            assert "sts:TagSession" in statement["Action"]
        assert role["Properties"]["MaxSessionDuration"] == 4 * 3600


ROOT, ELSEWHERE = f"arn:aws:iam::{ACCOUNT}:root", "arn:aws:iam::333333333333:role/engineers"
ENGINEERS, REVIEWERS = f"arn:aws:iam::{ACCOUNT}:role/engineers", f"arn:aws:iam::{ACCOUNT}:role/reviewers"


def test_a_persona_may_be_for_some_people_alone() -> None:
    personas = Personas(trusted=[ENGINEERS], trusted_as={"reviewer": [REVIEWERS]})
    stack = cdk.Stack(cdk.App(context=PLAIN), "Stack", env=cdk.Environment(account=ACCOUNT, region="us-east-1"))
    roles = PersonaRoles(
        stack, "Roles", names=EnvironmentNames("dev"), personas=personas, worked_with=WORKED_WITH, heeds_the_mark=True
    )
    trusting = {
        persona: json.dumps(stack.resolve(role.assume_role_policy.to_json() if role.assume_role_policy else {}))
        for persona, role in roles.roles.items()
    }
    assert {persona for persona, trust in trusting.items() if REVIEWERS in trust} == {"reviewer"}
    assert {persona for persona, trust in trusting.items() if ENGINEERS in trust} == {*PERSONAS} - {"reviewer"}
    assert not Annotations.from_stack(stack).find_warning("*", Match.any_value())


@pytest.mark.parametrize(
    ("personas", "both"),
    [
        ({"trusted": [TRUSTED, SAML]}, [TRUSTED]),
        ({"trusted": [SAML]}, []),
        ({"trusted": [TRUSTED], "roles": ["reviewer", "operator"]}, []),
        ({"trusted": [TRUSTED], "roles": ["data-scientist", "reviewer"]}, [TRUSTED]),
        ({"trusted": [ENGINEERS], "trusted_as": {"reviewer": [REVIEWERS]}}, []),
        ({"trusted": [TRUSTED], "trusted_as": {"reviewer": [TRUSTED]}}, []),
        (
            {
                "trusted": [TRUSTED],
                "trusted_as": {"ml-engineer": [ENGINEERS], "data-scientist": [ENGINEERS]},
            },
            [],
        ),
        ({"trusted": [ROOT], "trusted_as": {"ml-engineer": [ENGINEERS], "data-scientist": [ELSEWHERE]}}, [ENGINEERS]),
        ({"trusted": [ENGINEERS], "trusted_as": {"ml-engineer": [ROOT], "data-scientist": [ELSEWHERE]}}, [ENGINEERS]),
        ({"trusted": [ROOT], "trusted_as": {"ml-engineer": [SAML], "data-scientist": [SAML]}}, []),
        ({"trusted": [SAML], "trusted_as": {"ml-engineer": [ROOT], "data-scientist": [ROOT]}}, []),
    ],
    ids=[
        "one role for all", "a provider says itself", "nobody makes versions", "from a notebook", "apart",
        "said on purpose", "makers apart", "reviewers are an account with makers", "makers are an account with reviewers",
        "makers of a provider in the account", "reviewers of a provider in the account",
    ],
)  # fmt: skip
def test_who_may_approve_their_own_versions_is_told(personas: dict[str, Any], both: list[str]) -> None:
    assert Personas.model_validate(personas).approve_their_own == both


@pytest.mark.parametrize("key", ["aws", "sagestack", "awsUser"])
def test_a_key_that_only_begins_like_somebody_elses_is_a_session_tag(key: str) -> None:
    assert Personas(trusted=[TRUSTED], user_tag=key).user_tag == key


def test_one_role_for_makers_and_reviewers_is_a_warning_of_the_synth() -> None:
    stack = cdk.Stack(cdk.App(context=PLAIN), "Stack", env=cdk.Environment(account=ACCOUNT, region="us-east-1"))
    PersonaRoles(
        stack,
        "Roles",
        names=EnvironmentNames("dev"),
        personas=Personas(trusted=[TRUSTED]),
        worked_with=WORKED_WITH,
        heeds_the_mark=False,
    )
    (warning,) = Annotations.from_stack(stack).find_warning("*", Match.any_value())
    assert f"{TRUSTED} may become ml-engineer or data-scientist and reviewer" in str(warning.entry.data)
    # Without a budget that marks, nobody is denied a start that nothing would allow again.
    assert "BudgetIsSpent" not in json.dumps(Template.from_stack(stack).to_json())


def test_without_a_place_there_is_no_limit_of_place() -> None:
    stack = cdk.Stack(cdk.App(context=PLAIN), "Stack", env=cdk.Environment(account=ACCOUNT, region="us-east-1"))
    PersonaRole(
        stack,
        "Role",
        persona="reviewer",
        personas=Personas(trusted=[TRUSTED]),
        names=EnvironmentNames("dev"),
        worked_with=WORKED_WITH,
    )
    statements = statements_of(Template.from_stack(stack).to_json(), "Role", kind="AWS::IAM::Policy")
    assert {each["Effect"] for each in statements} == {"Allow"}


@pytest.mark.parametrize(
    "changed",
    [
        {"trusted": []},
        {"trusted": None},
        {"trusted": None, "trusted_as": {"reviewer": [REVIEWERS]}},
        {"trusted_as": {"operator": [TRUSTED]}, "roles": ["reviewer"]},
        {"trusted_as": {"operator": [f"arn:aws:iam::{ACCOUNT}:root", TRUSTED]}},
        {"user_tag": "aws:user"},
        {"user_tag": "Sagestack:workbench"},
        {"source_ips": ["10.0.0.0/8"]},
        {"source_ips": ["172.20.0.0/16"]},
        {"source_ips": ["fd00::/8"]},
        {"source_ips": ["0.0.0.0/0"]},
        {"trusted": ["people"]},
        {"trusted": [f"arn:aws:iam::{ACCOUNT}:root", TRUSTED]},
        {"roles": ["data-scientist", "data-scientist"]},
        {"roles": ["admin"]},
        {"source_ips": ["203.0.113.1/24"]},
        {"source_vpcs": ["vpc"]},
        {"session_hours": 13},
    ],
    ids=[
        "nobody", "not said", "only one of four", "of no role here", "an account and its role as one", "a tag of AWS",
        "a tag of ours", "private", "private too", "private of version 6", "everywhere", "no ARN",
        "an account and its role", "twice", "no persona", "no block", "no network", "too long",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="|".join(changed)):
        Personas.model_validate({"trusted": [TRUSTED], **changed})
