"""Roles hold what their work needs, and exist, with their policies, before anything takes them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sagestack.settings import load_environment

from tests.synthesis import NETWORK, Templates, build, served, synthesize, text_of
from tests.whole_workbench import STACK, WholeWorkbench


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return WholeWorkbench.of(tmp_path_factory).templates


def references(value: object) -> Iterator[str]:
    """The logical ids that something refers to."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case dict():
            for inner in value.values():
                yield from references(inner)
        case list():
            for inner in value:
                yield from references(inner)


def statements(templates: Templates) -> list[dict[str, Any]]:
    return templates.statements("")


TAKES_NONE = ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::SSM::Parameter")
"""Types that name a role, and do nothing as it."""


def takers_of_roles(template: dict[str, Any]) -> set[str]:
    """The types of what takes a role, each of which waits for its policies."""
    takers = set()
    resources = template["Resources"]
    roles = {name for name, resource in resources.items() if resource["Type"] == "AWS::IAM::Role"}
    policies = {
        role: {
            name
            for name, resource in resources.items()
            if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
            and {"Ref": role} in resource["Properties"]["Roles"]
        }
        for role in roles
    }
    assert all(policies.values()), "a role without a policy can do nothing"
    for name, resource in resources.items():
        if resource["Type"] in TAKES_NONE:
            continue
        for role in roles & set(references(resource.get("Properties", {}))):
            takers.add(resource["Type"])
            # A policy that names what takes the role comes after it, of course: a function that may call itself.
            awaited = {policy for policy in policies[role] if name not in _after(name, resources[policy], resources)}
            assert awaited <= set(resource.get("DependsOn", [])), f"{name} may start before {role} has its policies"
    return takers


def _after(name: str, resource: dict[str, Any], resources: dict[str, Any]) -> set[str]:
    """What a resource can only come after: what it refers to, and what that refers to and waits for."""
    found: set[str] = set()
    waiting = [*references(resource), *resource.get("DependsOn", [])]
    while waiting and name not in found:
        each = waiting.pop()
        if each in resources and each not in found:
            found.add(each)
            waiting += [*references(resources[each]), *resources[each].get("DependsOn", [])]
    return found


def test_what_takes_a_role_waits_for_its_policies(templates: Templates) -> None:
    takers = {taker for template in templates.by_stack.values() for taker in takers_of_roles(template)}
    assert takers == {
        "AWS::Lambda::Function",
        "AWS::SageMaker::Model",
        "AWS::SageMaker::Pipeline",
        "AWS::StepFunctions::StateMachine",
    }


def test_what_takes_a_role_of_the_workbench_waits_for_its_policies(workbench: Templates) -> None:
    assert takers_of_roles(workbench.by_stack[STACK]) == {
        "AWS::EC2::FlowLog",
        "AWS::Lambda::Function",
        "AWS::SageMaker::Domain",
        "AWS::SageMaker::Image",
        "AWS::SageMaker::NotebookInstance",
        "AWS::SageMaker::UserProfile",
        "AWS::Scheduler::Schedule",
        "AWS::StepFunctions::StateMachine",
    }


def test_who_may_take_a_role_of_the_workbench(workbench: Templates) -> None:
    services, people = set(), []
    for role in workbench.resources("AWS::IAM::Role", STACK):
        for trust in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            service = trust["Principal"].get("Service")
            services |= {service} - {None}
            people += [trust] if service is None else []
            # Functions and state machines by their own ARNs; whom others speak for, AWS asks by the account.
            if service not in (None, "lambda.amazonaws.com", "states.amazonaws.com"):
                assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == "111111111111"
    assert services == {
        *("lambda.amazonaws.com", "sagemaker.amazonaws.com", "scheduler.amazonaws.com", "states.amazonaws.com"),
        "vpc-flow-logs.amazonaws.com",
    }
    # Nobody becomes a persona without saying who they are.
    assert len(people) == 4
    assert all("aws:RequestTag/user" in json.dumps(trust["Condition"]) for trust in people)


def test_a_notebook_hands_on_its_own_role_alone(workbench: Templates) -> None:
    template = workbench.by_stack[STACK]["Resources"]
    passing = [
        (resource["Properties"]["Roles"], statement)
        for resource in template.values()
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        if "iam:PassRole" in statement["Action"]
    ]
    assert len(passing) == 2
    for roles, statement in passing:
        assert [statement["Resource"]] == [{"Fn::GetAtt": [role["Ref"], "Arn"]} for role in roles]
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_no_role_of_the_workbench_deletes_versions_of_objects_or_reads_what_other_apps_publish(
    workbench: Templates,
) -> None:
    text = json.dumps(workbench.by_stack[STACK])
    assert "s3:DeleteObject*" not in text
    assert "s3:DeleteObjectVersion" not in text
    assert "-assets-111111111111-us-east-1/*" not in text


def test_sagemaker_alone_assumes_the_roles_and_for_this_account_alone(templates: Templates) -> None:
    trusts = [
        statement
        for role in templates.resources("AWS::IAM::Role")
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    ]
    of_sagemaker = [trust for trust in trusts if trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}]
    assert len(of_sagemaker) == 3
    for trust in of_sagemaker:
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "111111111111"}}
    # The others are those of functions, and of what waits for them.
    others = {trust["Principal"]["Service"] for trust in trusts if trust not in of_sagemaker}
    assert others == {"lambda.amazonaws.com", "states.amazonaws.com"}


def test_no_managed_policy_is_attached_but_to_the_cdks_own_functions(templates: Templates) -> None:
    for template in templates.by_stack.values():
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::IAM::Role" and "ManagedPolicyArns" in resource["Properties"]:
                assert "Providerframework" in name
                (policy,) = resource["Properties"]["ManagedPolicyArns"]
                assert text_of(policy).endswith(":iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")
    assert "FullAccess" not in json.dumps(dict(templates.by_stack))


def test_a_role_is_passed_to_sagemaker_alone(templates: Templates) -> None:
    (passing,) = (s for s in statements(templates) if "iam:PassRole" in s["Action"])
    assert passing["Action"] == "iam:PassRole"
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert text_of(passing["Resource"]).startswith("<PipelineJobRole")


def test_containers_can_start_nothing(templates: Templates) -> None:
    for role in ("PipelineJobRole", "EndpointRole"):
        actions = {action for s in templates.statements(role) for action in _actions(s)}
        assert not {action for action in actions if action.split(":")[0] in ("sagemaker", "iam", "sts")}


def test_jobs_write_artefacts_of_their_model_and_delete_none(templates: Templates) -> None:
    jobs = templates.statements("PipelineJobRole")
    (writing,) = (s for s in jobs if "s3:PutObject" in _actions(s))
    assert text_of(writing["Resource"]).endswith("/housing/*")
    assert not any("Delete" in action for s in jobs for action in _actions(s))


def test_jobs_read_the_input_of_their_model_alone(templates: Templates) -> None:
    assert _readable(templates, "PipelineJobRole") == ["/housing/*", "/housing/input/*"]


def test_the_endpoint_writes_what_it_captures_and_nothing_else(templates: Templates) -> None:
    statements = templates.statements("EndpointRole")
    writing = [s for s in statements if any(a.startswith(("s3:Put", "s3:Delete", "s3:Abort")) for a in _actions(s))]
    assert [text_of(statement["Resource"]).partition(">")[2] for statement in writing] == ["/housing/captured/*"]
    actions = {action for s in statements for action in _actions(s)}
    assert "s3:GetObject*" in actions
    assert not any(action.startswith("s3:Delete") for action in actions)


def test_the_endpoint_reads_models_and_not_what_they_were_trained_on(templates: Templates) -> None:
    assert _readable(templates, "EndpointRole") == ["/housing/*/Train/*"]


def test_the_pipeline_itself_reads_scores_and_models_and_no_data(templates: Templates) -> None:
    assert _readable(templates, "PipelineRole") == ["/housing/*/Evaluate/*", "/housing/*/Train/*"]


def test_the_pipeline_itself_looks_images_up_and_does_not_fetch_them(templates: Templates) -> None:
    (looking,) = (s for s in templates.statements("PipelineRole") if any("ecr:" in action for action in _actions(s)))
    assert _actions(looking) == ["ecr:BatchGetImage", "ecr:DescribeImages"]
    assert ":repository/" in text_of(looking["Resource"])


def test_every_star_for_a_resource_is_an_action_without_one(templates: Templates) -> None:
    wide = {action for s in statements(templates) if s["Resource"] == "*" for action in _actions(s)}
    assert wide == {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}


def test_metrics_go_to_sagemakers_namespaces_and_the_probes_to_ours(templates: Templates) -> None:
    metrics = [s for s in statements(templates) if "cloudwatch:PutMetricData" in _actions(s)]
    instances = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
    probe = {"StringEquals": {"cloudwatch:namespace": "Sagestack"}}
    assert sorted((s["Condition"] for s in metrics), key=str) == [probe, instances, instances]


def test_grants_on_the_key_are_for_aws_resources_alone(templates: Templates) -> None:
    grants = [s for s in statements(templates) if "kms:CreateGrant" in _actions(s)]
    assert len(grants) == 2
    for statement in grants:
        assert statement["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


@pytest.fixture(scope="module")
def in_a_network(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    environment = served(load_environment("dev", project), network=NETWORK)
    return synthesize(build(project, environment, tmp_path_factory.mktemp("cdk.out")))


def test_network_interfaces_are_made_in_the_networks_subnets_alone(in_a_network: Templates) -> None:
    for role in ("PipelineJobRole", "EndpointRole"):
        (creating,) = (s for s in in_a_network.statements(role) if "ec2:CreateNetworkInterface" in _actions(s))
        assert [resource.split(":")[-1] for resource in creating["Resource"]] == [
            "network-interface/*",
            "security-group/sg-0123456789abcdef0",
            "subnet/subnet-0123456789abcdef0",
            "subnet/subnet-0123456789abcdef1",
        ]
        (deleting,) = (s for s in in_a_network.statements(role) if "ec2:DeleteNetworkInterface" in _actions(s))
        assert len(deleting["Condition"]["ArnEquals"]["ec2:Subnet"]) == 2


def test_without_a_network_nobody_touches_interfaces(templates: Templates) -> None:
    assert "ec2:" not in json.dumps(statements(templates))


def _readable(templates: Templates, role: str) -> list[str]:
    """The keys of objects that a role can read, of any bucket."""
    (reading,) = (s for s in templates.statements(role) if "s3:GetObject*" in _actions(s))
    return sorted(text_of(r).split(">")[1] for r in reading["Resource"] if text_of(r).endswith("*"))


def _actions(statement: dict[str, Any]) -> list[str]:
    actions: str | list[str] = statement["Action"]
    return [actions] if isinstance(actions, str) else actions
