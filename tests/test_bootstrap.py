"""What the bootstrap stack lets a deployment do, and what it does not."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aws_cdk as cdk
import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
from sagestack.guardrails import add_guardrails
from sagestack.settings import PROJECT_ROOT, Environment, EnvironmentNames, load_environment
from sagestack.settings.delivery import Delivery, GitHubIds, github_delivery, load_delivery
from sagestack.settings.workbench import Workbench

from functions.studio_cleanup.names import MANAGED_BY
from stacks.bootstrap import BootstrapStack
from tests.all_kinds import AllKinds
from tests.cli_fakes import ENVIRONMENT, make_project
from tests.policy_decisions import Statement, allows, statements_of
from tests.synthesis import Templates, build, copy_project, flags, share_between_accounts, synthesize, text_of
from tests.test_delivery_settings import GOOD
from tests.whole_workbench import STACK, WholeWorkbench, with_workbench

ACCOUNT, REGION = "111111111111", "us-east-1"
BOUNDARY = "PermissionsBoundary"


def _template(
    environment: Environment,
    delivery: Delivery | None,
    *,
    makes_identity: bool = True,
    guarded: bool = False,
    sources: Mapping[str, Environment] = MappingProxyType({}),
) -> dict[str, Any]:
    app = cdk.App(context=flags(), analytics_reporting=False)
    BootstrapStack(
        app,
        EnvironmentNames(environment.name).bootstrap_stack,
        environment=environment,
        delivery=delivery,
        makes_identity=makes_identity,
        sources=sources,
        env=cdk.Environment(account=environment.account, region=environment.region),
    )
    if guarded:
        add_guardrails(app)
    (stack,) = app.synth().stacks
    template: dict[str, Any] = stack.template
    return template


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """With all that a workbench can have."""
    return load_environment("dev", with_workbench(copy_project(tmp_path_factory.mktemp("dev"))))


@pytest.fixture(scope="module")
def template(dev: Environment) -> dict[str, Any]:
    return _template(dev, load_delivery(), guarded=True)


@pytest.fixture(scope="module")
def deployment(template: dict[str, Any]) -> list[Statement]:
    return statements_of(template, "DeploymentPolicy")


@pytest.fixture(scope="module")
def boundary_arn(template: dict[str, Any]) -> str:
    """As the deployment policy refers to it."""
    (logical_id,) = (
        str(name)
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith(BOUNDARY)
    )
    return logical_id


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """All that an environment can have: every kind of endpoint, versions that go to git and to another account, a workbench."""
    kinds = AllKinds.of(tmp_path_factory).templates
    root = copy_project(tmp_path_factory.mktemp("shared"))
    share_between_accounts(root)
    shared = synthesize(build(root, load_environment("dev", root), root / "cdk.out"))
    workbench = WholeWorkbench.of(tmp_path_factory).templates.by_stack[STACK]
    return Templates({**kinds.by_stack, **shared.by_stack, STACK: workbench})


def _handlers(deployed: Templates) -> dict[str, dict[str, Any]]:
    """What CloudFormation asks for, for each kind."""
    kinds = {resource["Type"] for stack in deployed.by_stack.values() for resource in stack["Resources"].values()}
    return {
        kind: PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema["handlers"]
        for kind in sorted(kinds)
        if not kind.startswith("Custom::")
    }


def _role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


OURS = "sagestack-dev-housing-training-Some-ABC123"
ROLE = _role(OURS)
ANYTHING_OF_EC2 = _arn("ec2", "anything/x-1234")
DOMAIN = "d-abc"
NAMED = {
    **dict.fromkeys(
        (
            *("AWS::EC2::EIP", "AWS::EC2::FlowLog", "AWS::EC2::InternetGateway", "AWS::EC2::NatGateway"),
            *("AWS::EC2::Route", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress"),
            *("AWS::EC2::SecurityGroupIngress", "AWS::EC2::Subnet", "AWS::EC2::SubnetRouteTableAssociation"),
            *("AWS::EC2::VPC", "AWS::EC2::VPCEndpoint", "AWS::EC2::VPCGatewayAttachment"),
        ),
        ANYTHING_OF_EC2,
    ),
    "AWS::Budgets::Budget": f"arn:aws:budgets::{ACCOUNT}:budget/sagestack-dev-workbench-abc",
    "AWS::Lambda::EventInvokeConfig": _arn("lambda", f"function:{OURS}"),
    "AWS::SNS::Subscription": _arn("sns", f"{OURS}:1234"),
    "AWS::SageMaker::AppImageConfig": _arn("sagemaker", "app-image-config/sagestack-dev-research"),
    "AWS::SageMaker::CodeRepository": _arn("sagemaker", "code-repository/coderepository-abc"),
    "AWS::SageMaker::Domain": _arn("sagemaker", f"domain/{DOMAIN}"),
    "AWS::SageMaker::Image": _arn("sagemaker", "image/sagestack-dev-research"),
    "AWS::SageMaker::ImageVersion": _arn("sagemaker", "image-version/sagestack-dev-research/1"),
    "AWS::SageMaker::NotebookInstance": _arn("sagemaker", "notebook-instance/sagestack-dev-explore"),
    "AWS::SageMaker::NotebookInstanceLifecycleConfig": _arn(
        "sagemaker", "notebook-instance-lifecycle-config/sagestack-dev-standard"
    ),
    "AWS::SageMaker::Space": _arn("sagemaker", f"space/{DOMAIN}/ada-lab"),
    "AWS::SageMaker::StudioLifecycleConfig": _arn("sagemaker", "studio-lifecycle-config/sagestack-dev-greeting-1"),
    "AWS::SageMaker::UserProfile": _arn("sagemaker", f"user-profile/{DOMAIN}/ada"),
    "AWS::Scheduler::Schedule": _arn("scheduler", "schedule/sagestack-dev-workbench/Start"),
    "AWS::Scheduler::ScheduleGroup": _arn("scheduler", "schedule-group/sagestack-dev-workbench"),
    "AWS::ApiGatewayV2::Api": f"arn:aws:apigateway:{REGION}::/apis/abc",
    "AWS::ApiGatewayV2::Authorizer": f"arn:aws:apigateway:{REGION}::/apis/abc/authorizers/x",
    "AWS::ApiGatewayV2::Integration": f"arn:aws:apigateway:{REGION}::/apis/abc/integrations/x",
    "AWS::ApiGatewayV2::Route": f"arn:aws:apigateway:{REGION}::/apis/abc/routes/x",
    "AWS::ApiGatewayV2::Stage": f"arn:aws:apigateway:{REGION}::/apis/abc/stages/x",
    "AWS::ApplicationAutoScaling::ScalableTarget": _arn("application-autoscaling", "scalable-target/abc"),
    "AWS::ApplicationAutoScaling::ScalingPolicy": _arn("application-autoscaling", "scalable-target/abc"),
    "AWS::CloudWatch::Alarm": _arn("cloudwatch", f"alarm:{OURS}"),
    "AWS::Events::Rule": _arn("events", f"rule/{OURS}"),
    "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/sagestack-dev-workbench-StudioRoleOverflowPolicy1A-ABC",
    "AWS::IAM::Policy": ROLE,
    "AWS::IAM::Role": ROLE,
    "AWS::KMS::Key": _arn("kms", "key/1234"),
    "AWS::Lambda::Function": _arn("lambda", f"function:{OURS}"),
    "AWS::Lambda::Permission": _arn("lambda", f"function:{OURS}"),
    "AWS::Logs::LogGroup": _arn("logs", f"log-group:{OURS}:*"),
    "AWS::S3::Bucket": f"arn:aws:s3:::{OURS.lower()}",
    "AWS::S3::BucketPolicy": f"arn:aws:s3:::{OURS.lower()}",
    "AWS::SNS::Topic": _arn("sns", OURS),
    "AWS::SNS::TopicPolicy": _arn("sns", OURS),
    "AWS::SQS::Queue": _arn("sqs", OURS),
    "AWS::SQS::QueuePolicy": _arn("sqs", OURS),
    "AWS::SSM::Parameter": _arn("ssm", "parameter/sagestack/dev/data-bucket"),
    "AWS::SageMaker::Endpoint": _arn("sagemaker", "endpoint/sagestack-dev-housing"),
    "AWS::SageMaker::EndpointConfig": _arn("sagemaker", "endpoint-config/config-abc"),
    "AWS::SageMaker::InferenceComponent": _arn("sagemaker", "inference-component/sagestack-dev-housing"),
    "AWS::SageMaker::Model": _arn("sagemaker", "model/model-abc"),
    "AWS::SageMaker::ModelPackageGroup": _arn("sagemaker", "model-package-group/sagestack-dev-housing"),
    "AWS::SageMaker::Pipeline": _arn("sagemaker", "pipeline/sagestack-dev-housing"),
    "AWS::StepFunctions::StateMachine": _arn("states", "stateMachine:GateProviderwaiterstatemachine160AD459-abc"),
}
"""How each kind is named by us or by CloudFormation; of other kinds the app has none."""
NOT_USED = {
    "AWS::Lambda::Function: ec2:": "functions in a network",
    "autoscaling:DescribeTags": "flow logs of what scales itself",
    "ec2:AcceptAddressTransfer": "addresses that somebody else had",
    "ec2:AssignPrivateNatGatewayAddress": "NAT gateways with several addresses",
    "ec2:AssociateAddress": "addresses of instances",
    "ec2:AssociateNatGatewayAddress": "NAT gateways with several addresses",
    "ec2:AssociateSubnetCidrBlock": "networks with IPv6",
    "ec2:AttachVpnGateway": "networks with a VPN",
    "ec2:CreateVpcEncryptionControl": "networks that enforce encryption",
    "ec2:DescribeInstances": "groups that instances are in",
    "ec2:DescribeVpnGateways": "networks with a VPN",
    "ec2:DetachVpnGateway": "networks with a VPN",
    "ec2:DisassociateAddress": "addresses of instances",
    "ec2:DisassociateNatGatewayAddress": "NAT gateways with several addresses",
    "ec2:DisassociateSubnetCidrBlock": "networks with IPv6",
    "ec2:UnassignPrivateNatGatewayAddress": "NAT gateways with several addresses",
    "AWS::EC2::FlowLog: s3:": "flow logs that go to S3",
    "kms:GenerateDataKeyWithoutPlainText": "no action of IAM's: text is lower-case",
    "efs:": "no actions of IAM's: they begin with elasticfilesystem",
    "elasticfilesystem:": "functions with a file system",
    "identitystore:": "people by IAM Identity Center",
    "sagemaker:CreateApp": "domains with RStudio",
    "sagemaker:DeleteApp": "domains with RStudio",
    "sagemaker:DescribeApp": "domains with RStudio",
    "sagemaker:ListAliases": "image versions with aliases",
    "sso:": "people by IAM Identity Center",
    "vpc-lattice:": "endpoints of a service network",
    "vpce:AllowMultiRegion": "endpoints of services in another region",
    "s3files:": "functions with a file system",
    "firehose:": "logs that go to Firehose",
    "s3tables:": "buckets with tables of metadata",
    "lambda:AssociateRuntimeAlias": "functions with a pinned runtime",
    "lambda:GetCodeSigningConfig": "signed code",
    "lambda:DeleteFunctionCodeSigningConfig": "signed code",
    "lambda:PutFunctionCodeSigningConfig": "signed code",
    "lambda:GetLayerVersion": "layers",
    "lambda:PassCapacityProvider": "managed instances",
    "lambda:PutFunctionScalingConfig": "managed instances",
    "lambda:DeleteProvisionedConcurrencyConfig": "functions that scale",
    "lambda:GetProvisionedConcurrencyConfig": "functions that scale",
    "lambda:PutProvisionedConcurrencyConfig": "functions that scale",
    "iam:AttachGroupPolicy": "policies of groups",
    "iam:AttachUserPolicy": "policies of users",
    "iam:DeleteGroupPolicy": "policies of groups",
    "iam:DetachGroupPolicy": "policies of groups",
    "iam:DetachUserPolicy": "policies of users",
    "iam:GetGroupPolicy": "policies of groups",
    "iam:PutGroupPolicy": "policies of groups",
    "iam:DeleteUserPolicy": "policies of users",
    "iam:GetUserPolicy": "policies of users",
    "iam:PutUserPolicy": "policies of users",
    "iam:DeleteRolePermissionsBoundary": "denied by design",
    **{
        f"{kind}: kms:{action}": "a key of their own"
        for kind in ("AWS::Lambda::Function", "AWS::Logs::LogGroup", "AWS::StepFunctions::StateMachine")
        for action in ("Decrypt", "Encrypt", "GenerateDataKey")
    },
    "logs:AssociateKmsKey": "log groups with a key",
    "logs:DisassociateKmsKey": "log groups with a key",
    "logs:DeleteDataProtectionPolicy": "log groups with such a policy",
    "logs:PutDataProtectionPolicy": "log groups with such a policy",
    "logs:DeleteIndexPolicy": "log groups with such a policy",
    "logs:PutIndexPolicy": "log groups with such a policy",
    "logs:DeleteResourcePolicy": "log groups with such a policy",
    "logs:PutBearerTokenAuthentication": "log groups with such an entry",
    "logs:PutLogGroupDeletionProtection": "log groups with such a protection",
    "s3:DeleteObject": "buckets with tables of metadata",
    "s3:PutObjectAcl": "buckets with an access list",
    "s3:UpdateBucketMetadata": "buckets with tables of metadata",
    "s3:CreateBucketMetadata": "buckets with tables of metadata",
    "s3:REST.PUT.OBJECT": "no action of IAM's",
    "s3:getObject": "APIs from a file in S3",
    "sns:PutDataProtectionPolicy": "topics with such a policy",
}
"""What a handler asks for only where a template uses what ours do not: an action's beginning, of one kind or of all."""


def _is_not_used(kind: str, action: str) -> bool:
    return any(text.startswith(tuple(NOT_USED)) for text in (action, f"{kind}: {action}"))


IN_CONTEXT = {
    "aws:RequestedRegion": REGION,
    "iam:PassedToService": "lambda.amazonaws.com",
    "iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "kms:GrantIsForAWSResource": "true",
}
THROUGH = {"kms:Decrypt": {"kms:ViaService": f"sagemaker.{REGION}.amazonaws.com"}}
"""What is asked for by another service alone."""
ELSEWHERE = {
    "iam:AttachRolePolicy": ROLE,
    "iam:DetachRolePolicy": ROLE,
    "iam:PassRole": ROLE,
    "iam:GetRole": ROLE,
    "iam:CreateServiceLinkedRole": _role("aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSService"),
    "s3:GetObject": f"arn:aws:s3:::cdk-hnb659fds-assets-{ACCOUNT}-{REGION}/abc.zip",
    "s3:GetObjectVersion": f"arn:aws:s3:::cdk-hnb659fds-assets-{ACCOUNT}-{REGION}/abc.zip",
    "cloudwatch:": _arn("cloudwatch", f"alarm:{OURS}"),
    "cloudwatch:GetMetricData": "*",
    "sagemaker:DescribeImage": _arn("sagemaker", "image/sagestack-dev-research"),
    "sagemaker:DescribeImageVersion": _arn("sagemaker", "image-version/sagestack-dev-research/1"),
    "billing:GetBillingViewData": f"arn:aws:billing::{ACCOUNT}:billingview/primary",
    "ec2:": ANYTHING_OF_EC2,
    "kms:CreateGrant": _arn("kms", "key/1234"),
    "kms:Decrypt": _arn("kms", "key/1234"),
    "kms:DescribeKey": _arn("kms", "key/1234"),
    "kms:CreateKey": "*",
    "apigateway:TagResource": f"arn:aws:apigateway:{REGION}::/apis/abc/stages/x",
    "logs:CreateLogDelivery": "*",
    "logs:Describe": "*",
    "logs:PutResourcePolicy": "*",
}
"""Actions on something else than the resource itself: the longest beginning counts."""


def test_every_kind_that_is_deployed_can_be_created_read_changed_and_deleted(
    deployed: Templates, deployment: list[Statement], boundary_arn: str
) -> None:
    # Custom resources.
    assert allows(deployment, "lambda:InvokeFunction", NAMED["AWS::Lambda::Function"])
    refused = []
    for kind, handlers in _handlers(deployed).items():
        for action in {each for name in handlers if name != "list" for each in handlers[name]["permissions"]}:
            if _is_not_used(kind, action):
                continue
            begin = max((each for each in ELSEWHERE if action.startswith(each)), key=len, default=None)
            resource = ELSEWHERE[begin] if begin else NAMED[kind]
            context = {**IN_CONTEXT, **THROUGH.get(action, {}), "iam:PermissionsBoundary": boundary_arn}
            if kind == "AWS::IAM::ManagedPolicy":
                context["iam:PolicyARN"] = NAMED[kind]
            if not allows(deployment, action, resource, context):
                refused.append(f"{kind}: {action} on {resource}")
    assert refused == []


BESIDES = {
    "lambda:InvokeFunction": "custom resources, which CloudFormation calls as whoever deploys",
    "logs:ListLogDeliveries": "an API that sends its access log",
    "sagemaker:DescribeModelPackage": "a model that is made of a version",
    "elasticfilesystem:CreateFileSystem": "a Studio domain with a key; handlers write efs:, which IAM does not know",
    "kms:GenerateDataKeyWithoutPlaintext": "the same; the handler spells it otherwise",
    "route53:AssociateVPCWithHostedZone": "an interface endpoint with a private name",
    "secretsmanager:GetSecretValue": "a notebook with a private repository",
}
"""What no handler names, and AWS asks for nevertheless."""


def test_nothing_is_allowed_that_no_deployment_asks_for(deployed: Templates, deployment: list[Statement]) -> None:
    asked = set(BESIDES)
    for handlers in _handlers(deployed).values():
        asked |= {each for name in handlers if name != "list" for each in handlers[name]["permissions"]}
    allowed = {each for s in deployment if s["Effect"] == "Allow" for each in _listed(s["Action"])}
    assert {each for each in allowed if not fnmatch.filter(asked, each)} == set()


def test_an_alarm_that_scales_has_no_name_of_ours_and_is_not_made_by_the_deployment(
    deployment: list[Statement],
) -> None:
    assert not allows(deployment, "cloudwatch:PutMetricAlarm", _arn("cloudwatch", "alarm:TargetTracking-endpoint/x"))


@pytest.mark.parametrize("action", ["CreateRole", "PutRolePolicy", "AttachRolePolicy", "PutRolePermissionsBoundary"])
def test_a_role_gets_no_rights_without_the_boundary(
    deployment: list[Statement], boundary_arn: str, action: str
) -> None:
    bounded = {**IN_CONTEXT, "iam:PermissionsBoundary": boundary_arn}
    assert allows(deployment, f"iam:{action}", ROLE, bounded)
    assert not allows(deployment, f"iam:{action}", ROLE, IN_CONTEXT)
    other = {**IN_CONTEXT, "iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/other"}
    assert not allows(deployment, f"iam:{action}", ROLE, other)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/sagestack-dev-admin"),
        ("iam:CreateAccessKey", f"arn:aws:iam::{ACCOUNT}:user/anybody"),
        ("iam:CreatePolicy", f"arn:aws:iam::{ACCOUNT}:policy/sagestack-dev-more"),
        ("iam:CreateRole", _role("admin")),
        ("iam:CreateRole", _role("sagestack-prod-other")),
        ("iam:DeleteRolePermissionsBoundary", ROLE),
        ("iam:CreatePolicyVersion", f"arn:aws:iam::{ACCOUNT}:policy/sagestack/sagestack-dev-boundary"),
        ("iam:DeletePolicy", f"arn:aws:iam::{ACCOUNT}:policy/sagestack/sagestack-dev-deployment"),
        ("iam:UpdateAssumeRolePolicy", _role("sagestack/sagestack-dev-github")),
        ("iam:PutRolePolicy", _role("sagestack/sagestack-dev-github")),
        ("iam:AttachRolePolicy", _role(f"cdk-hnb659fds-cfn-exec-role-{ACCOUNT}-{REGION}")),
        ("iam:PassRole", _role(f"cdk-hnb659fds-cfn-exec-role-{ACCOUNT}-{REGION}")),
        ("iam:PassRole", _role("admin")),
        ("iam:UpdateOpenIDConnectProviderThumbprint", f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.example"),
        ("iam:CreateServiceLinkedRole", _role("aws-service-role/other.amazonaws.com/X")),
        ("sts:AssumeRole", _role("admin")),
        ("organizations:LeaveOrganization", "*"),
        ("ec2:RunInstances", "*"),
        ("s3:DeleteBucket", "arn:aws:s3:::somebody-elses"),
        ("s3:GetObject", "arn:aws:s3:::sagestack-dev-foundation-data/secret.csv"),
        ("kms:Decrypt", _arn("kms", "key/1234")),
        ("kms:CreateGrant", "arn:aws:kms:eu-west-1:111111111111:key/1234"),
        ("secretsmanager:GetSecretValue", _arn("secretsmanager", "secret:token")),
        ("ssm:PutParameter", _arn("ssm", "parameter/sagestack/prod/data-bucket")),
        ("sagemaker:DeleteEndpoint", _arn("sagemaker", "endpoint/sagestack-prod-housing")),
        ("sagemaker:CreateEndpoint", "arn:aws:sagemaker:eu-west-1:111111111111:endpoint/sagestack-dev-housing"),
        ("lambda:UpdateFunctionCode", _arn("lambda", "function:somebody-elses")),
        ("states:DeleteStateMachine", _arn("states", "stateMachine:Orders")),
        ("sagemaker:DeleteNotebookInstance", _arn("sagemaker", "notebook-instance/sagestack-prod-explore")),
        ("sagemaker:DeleteNotebookInstance", _arn("sagemaker", "notebook-instance/somebody-elses")),
        ("sagemaker:CreatePresignedNotebookInstanceUrl", NAMED["AWS::SageMaker::NotebookInstance"]),
        ("sagemaker:CreatePresignedDomainUrl", NAMED["AWS::SageMaker::UserProfile"]),
        ("sagemaker:CreateApp", _arn("sagemaker", f"app/{DOMAIN}/ada/jupyterlab/default")),
        ("sagemaker:DeleteImage", _arn("sagemaker", "image/somebody-elses")),
        ("scheduler:CreateSchedule", _arn("scheduler", "schedule/default/mine")),
        ("scheduler:DeleteScheduleGroup", _arn("scheduler", "schedule-group/sagestack-prod-workbench")),
        ("budgets:ModifyBudget", f"arn:aws:budgets::{ACCOUNT}:budget/all-of-it"),
        ("elasticfilesystem:DeleteFileSystem", _arn("elasticfilesystem", "file-system/fs-1")),
        ("ec2:TerminateInstances", "*"),
        ("ec2:CreateVpcPeeringConnection", "*"),
        ("kms:GenerateDataKeyWithoutPlaintext", _arn("kms", "key/1234")),
        ("iam:DeletePolicy", f"arn:aws:iam::{ACCOUNT}:policy/sagestack-prod-workbench-RoleOverflowPolicy1-A"),
    ],
)
def test_nothing_else_can_be_done(deployment: list[Statement], boundary_arn: str, action: str, resource: str) -> None:
    assert not allows(deployment, action, resource, {**IN_CONTEXT, "iam:PermissionsBoundary": boundary_arn})


def test_a_role_is_handed_only_to_the_services_that_we_use(deployment: list[Statement]) -> None:
    for service in ("sagemaker", "lambda", "events", "states", "scheduler", "vpc-flow-logs"):
        assert allows(deployment, "iam:PassRole", ROLE, {"iam:PassedToService": f"{service}.amazonaws.com"})
    assert not allows(deployment, "iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"})


def test_only_what_functions_write_logs_with_and_the_rest_of_a_large_role_are_attached(
    deployment: list[Statement], boundary_arn: str
) -> None:
    def attaches(policy: str, boundary: str = boundary_arn) -> bool:
        context = {"iam:PermissionsBoundary": boundary, "iam:PolicyARN": policy}
        return allows(deployment, "iam:AttachRolePolicy", ROLE, context)

    assert attaches(NAMED["AWS::IAM::ManagedPolicy"])
    assert not attaches(NAMED["AWS::IAM::ManagedPolicy"], "none")
    assert not attaches("arn:aws:iam::aws:policy/AdministratorAccess")
    assert not attaches(f"arn:aws:iam::{ACCOUNT}:policy/somebody-elses")


def _policies(environment: Environment) -> dict[str, list[Statement]]:
    template = _template(environment, None)
    return {
        resource["Properties"]["ManagedPolicyName"]: statements_of(template, logical_id)
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
    }


def test_without_a_workbench_nothing_of_it_is_allowed() -> None:
    policies = _policies(load_environment("dev"))
    assert set(policies) == {"sagestack-dev-boundary", "sagestack-dev-deployment", "sagestack-dev-deployment-base"}
    statements = [each for policy in policies.values() for each in policy]
    for action in ("ec2:CreateVpc", "sagemaker:CreateNotebookInstance", "scheduler:CreateSchedule", "iam:CreatePolicy"):
        assert action not in {each for s in statements if s["Effect"] == "Allow" for each in _listed(s["Action"])}
    # No role can approve a version, or open a notebook.
    of_boundary = {each for s in policies["sagestack-dev-boundary"] for each in _listed(s["Action"])}
    assert not {each for each in of_boundary if "Presigned" in each or each == "sagemaker:UpdateModelPackage"}


def _changed(environment: Environment, **changes: Any) -> Environment:
    assert environment.workbench is not None
    written = {**environment.workbench.model_dump(exclude_unset=True), **changes}
    return environment.model_copy(update={"workbench": Workbench.model_validate(written)})


THERE = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0"]}
PRIVATE = {"cidr": "10.42.0.0/22"}
SECRET = "arn:aws:secretsmanager:us-east-1:111111111111:secret:git-AbCdEf"


@pytest.mark.parametrize(
    ("changes", "allowed", "refused"),
    [
        ({"network": THERE}, ["ec2:CreateSecurityGroup"], ["ec2:DeleteVpc", "ec2:DeleteSubnet", "ec2:CreateFlowLogs"]),
        ({"network": PRIVATE}, ["ec2:DeleteVpc"], ["ec2:CreateNatGateway", "ec2:CreateInternetGateway"]),
        ({"studio": None}, [], ["sagemaker:DeleteDomain", "elasticfilesystem:CreateFileSystem"]),
        ({}, ["sagemaker:DeleteDomain"], ["identitystore:DescribeUser", "sso:ListInstances"]),
        ({"studio": {"auth": "identity-center"}}, ["identitystore:DescribeUser", "sso:ListInstances"], []),
        ({"notebooks": {}, "maintenance": None}, [], ["sagemaker:CreateCodeRepository"]),
    ],
    ids=["network-that-is-there", "no-way-out", "no-studio", "people-by-iam", "identity-center", "no-repositories"],
)
def test_what_has_no_name_of_ours_is_allowed_only_where_the_workbench_has_it(
    dev: Environment, changes: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    policies = _policies(_changed(dev, **changes))
    deployment = [each for name, policy in policies.items() if "deployment" in name for each in policy]
    actions = {each for s in deployment if s["Effect"] == "Allow" for each in _listed(s["Action"])}
    assert not set(allowed) - actions
    assert not set(refused) & actions


def test_of_secrets_only_those_of_private_repositories_are_read(dev: Environment, deployment: list[Statement]) -> None:
    assert allows(deployment, "secretsmanager:GetSecretValue", SECRET)
    assert not allows(deployment, "secretsmanager:GetSecretValue", SECRET.replace("git", "index"))
    without = _policies(_changed(dev, notebooks={}, maintenance=None))["sagestack-dev-deployment-workbench"]
    assert not allows(without, "secretsmanager:GetSecretValue", SECRET)


def test_without_boundaries_none_is_asked_for() -> None:
    free = load_environment("dev").model_copy(update={"permissions_boundary": False})
    deployment = statements_of(_template(free, None), "DeploymentPolicy")
    assert allows(deployment, "iam:CreateRole", ROLE)
    assert not allows(deployment, "iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/x")


def _with_secrets(environment: Environment, count: int) -> Environment:
    """As many notebooks as secrets, each with a private repository."""
    notebooks = {
        f"n{index}": {
            "instance_type": "ml.t3.medium",
            "repositories": [{"url": "https://git.example.org/a.git", "secret_arn": f"{SECRET[:-7]}{index:02}-AbCdEf"}],
        }
        for index in range(count)
    }
    return _changed(environment, notebooks=notebooks, maintenance=None, studio={"auth": "identity-center"})


def test_more_secrets_than_a_policy_has_room_for_are_refused(dev: Environment) -> None:
    with pytest.raises(ValueError, match=r"repositories have 11 secrets.* room for 10; let repositories share one"):
        _template(_with_secrets(dev, 11), None)


def test_the_longest_names_fit_into_iam_and_the_template_into_a_request(dev: Environment) -> None:
    longest = {"name": "abcdefghijkl", "region": "ap-southeast-1"}
    template = _template(_with_secrets(dev, 10).model_copy(update=longest), load_delivery())
    assert (
        len(json.dumps(template)) < 51_200
    )  # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            # A reference becomes an ARN, about three times as long; white space does not count.
            text = json.dumps(resource["Properties"]["PolicyDocument"], separators=(",", ":"))
            references = text.count('"Ref"')
            assert len(text) + 100 * references <= 6_144, resource["Properties"]["ManagedPolicyName"]
        name = resource["Properties"].get("ManagedPolicyName", resource["Properties"].get("RoleName", ""))
        assert len(name) <= 64


PERSON = {"aws:PrincipalTag/user": "ada"}
OF_SAGEMAKER = {f"aws:ResourceTag/{MANAGED_BY}": NAMED["AWS::SageMaker::Domain"]}
WHO = {"Personas": PERSON, "StudioCleanDelete": OF_SAGEMAKER}
"""As people come, and as what SageMaker made for a domain is tagged, by the beginning of a policy's logical id."""


def test_everything_that_a_role_of_ours_may_do_is_within_the_boundary(
    deployed: Templates, template: dict[str, Any]
) -> None:
    boundary = statements_of(template, BOUNDARY)
    everywhere = {"aws:RequestedRegion": REGION, "iam:PassedToService": "sagemaker.amazonaws.com"}
    outside = set()
    for stack in deployed.by_stack.values():
        for logical_id, resource in stack["Resources"].items():
            if resource["Type"] not in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
                continue
            more = [context for begin, context in WHO.items() if logical_id.startswith(begin)]
            context = everywhere | (more[0] if more else {})
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                for action in _listed(statement["Action"]) if statement["Effect"] == "Allow" else ():
                    asked = action.replace("*", "")
                    if not allows(boundary, asked, ROLE if asked == "iam:PassRole" else "*", context):
                        outside.add(f"{logical_id}: {action}")
    assert outside == set()


@pytest.mark.parametrize(
    "action",
    ["iam:CreateUser", "iam:CreateRole", "iam:PutRolePolicy", "sts:AssumeRole", "s3:DeleteBucket", "kms:PutKeyPolicy"],
)
def test_no_role_can_do_what_is_outside_the_boundary(template: dict[str, Any], action: str) -> None:
    context = {"aws:RequestedRegion": REGION, "iam:PassedToService": "sagemaker.amazonaws.com"}
    assert not allows(statements_of(template, BOUNDARY), action, ROLE, context)


LAMBDA = "lambda:SourceFunctionArn"


@pytest.mark.parametrize(
    ("action", "context", "is_possible"),
    [
        ("sagemaker:CreatePresignedNotebookInstanceUrl", PERSON, True),
        ("sagemaker:CreatePresignedNotebookInstanceUrl", {}, False),
        ("sagemaker:CreatePresignedDomainUrl", {}, True),
        ("sagemaker:CreatePresignedDomainUrl", {LAMBDA: NAMED["AWS::Lambda::Function"]}, False),
        ("sagemaker:UpdateModelPackage", PERSON, True),
        ("sagemaker:UpdateModelPackage", {}, False),
        ("cloudformation:GetTemplate", PERSON, True),
        ("cloudformation:GetTemplate", {}, False),
        ("elasticfilesystem:DeleteFileSystem", OF_SAGEMAKER, True),
        ("elasticfilesystem:DeleteFileSystem", {}, False),
        ("ec2:DeleteSecurityGroup", OF_SAGEMAKER, True),
        ("ec2:DeleteSecurityGroup", {}, False),
        ("sagemaker:StartNotebookInstance", {}, True),
        ("sagemaker:CreateNotebookInstance", PERSON, False),
        ("sagemaker:DeleteNotebookInstance", PERSON, False),
        ("sagemaker:UpdateNotebookInstance", PERSON, False),
        ("sagemaker:UpdateNotebookInstanceLifecycleConfig", PERSON, False),
        ("sagemaker:UpdateDomain", PERSON, False),
        ("scheduler:CreateSchedule", PERSON, False),
        ("budgets:ModifyBudget", PERSON, False),
    ],
)
def test_people_open_and_approve_and_only_what_sagemaker_made_is_deleted(
    template: dict[str, Any], action: str, context: dict[str, str], is_possible: bool
) -> None:
    boundary = statements_of(template, BOUNDARY)
    assert allows(boundary, action, "*", {"aws:RequestedRegion": REGION, **context}) == is_possible


def test_no_role_works_in_another_region(template: dict[str, Any]) -> None:
    boundary = statements_of(template, BOUNDARY)
    assert allows(boundary, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:RequestedRegion": REGION})
    assert not allows(boundary, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:RequestedRegion": "eu-west-1"})


def test_every_role_of_an_environment_carries_the_boundary(deployed: Templates) -> None:
    roles = deployed.resources("AWS::IAM::Role")
    assert roles
    expected = f"arn:aws:iam::{ACCOUNT}:policy/sagestack/sagestack-dev-boundary"
    for role in roles:
        # The partition is written out or left to CloudFormation.
        found = text_of(role["Properties"].get("PermissionsBoundary")).replace("<AWS::Partition>", "aws")
        assert found.replace("<AWS::AccountId>", ACCOUNT) == expected


def test_the_local_cloud_does_without_and_aws_does_not() -> None:
    assert load_environment("local").permissions_boundary is False
    assert all(load_environment(name).permissions_boundary for name in ("dev", "staging", "prod"))


def _roles(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        resource["Properties"]["RoleName"]: resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::IAM::Role"
    }


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        ("sagestack-dev-github", "repo:my-team/my-platform:environment:dev"),
        ("sagestack-dev-github-drift", "repo:my-team/my-platform:ref:refs/heads/main"),
    ],
)
def test_github_becomes_a_role_for_exactly_one_subject_and_an_hour(
    template: dict[str, Any], role: str, subject: str
) -> None:
    properties = _roles(template)[role]
    (statement,) = properties["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": subject,
            }
        },
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"},
    }
    assert properties["MaxSessionDuration"] == 3600
    assert properties["Path"] == "/sagestack/"


def test_a_repository_with_numbers_is_trusted_by_them() -> None:
    """And not by its name besides, which may be somebody else's one day."""
    delivery = load_delivery()
    ids = GitHubIds(owner=123456, repository=456789)
    delivery = delivery.model_copy(update={"repository": delivery.repository.model_copy(update={"github_ids": ids})})
    roles = _roles(_template(load_environment("staging"), delivery)).values()
    found = [role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"] for role in roles]
    assert {each["token.actions.githubusercontent.com:sub"] for each in found} == {
        "repo:my-team@123456/my-platform@456789:environment:staging",
        "repo:my-team@123456/my-platform@456789:ref:refs/heads/main",
    }


def test_github_deploys_by_cdks_roles_alone_and_reads_what_the_command_line_reads(template: dict[str, Any]) -> None:
    statements = statements_of(template, "GitHubRoleDefaultPolicy", kind="AWS::IAM::Policy")
    assert {action for each in statements for action in _listed(each["Action"])} == {
        "sts:AssumeRole",
        "cloudformation:DescribeStacks",
        "cloudformation:ListStacks",
        "ssm:GetParameter",
        "sagemaker:ListModelPackages",
    }
    for role in ("deploy", "file-publishing", "image-publishing", "lookup"):
        assert allows(statements, "sts:AssumeRole", _role(f"cdk-hnb659fds-{role}-role-{ACCOUNT}-{REGION}"))
    for role in (
        f"cdk-hnb659fds-cfn-exec-role-{ACCOUNT}-{REGION}",
        f"cdk-hnb659fds-deploy-role-{ACCOUNT}-eu-west-1",
        "x",
    ):
        assert not allows(statements, "sts:AssumeRole", _role(role))
    assert allows(statements, "ssm:GetParameter", _arn("ssm", "parameter/sagestack/dev/data-bucket"))
    assert not allows(statements, "ssm:GetParameter", _arn("ssm", "parameter/sagestack/prod/data-bucket"))
    assert not allows(statements, "ssm:GetParameter", _arn("ssm", "parameter/password"))


def test_who_looks_for_drift_can_change_nothing_and_read_no_data(template: dict[str, Any]) -> None:
    statements = statements_of(template, "GitHubDriftRoleDefaultPolicy", kind="AWS::IAM::Policy")
    stack = _arn("cloudformation", "stack/sagestack-dev-foundation/id")
    assert allows(statements, "cloudformation:DetectStackDrift", stack)
    for action in ("sts:AssumeRole", "cloudformation:UpdateStack", "s3:GetObject", "kms:Decrypt", "iam:PutRolePolicy"):
        assert not allows(statements, action, "*")
        assert not allows(statements, action, stack)


ASKS = re.compile(r"(cloudformation|sagemaker|autoscaling)\.(?:get_paginator\(\s*\"(\w+)\"|(\w+)\()")


def test_who_looks_for_drift_may_ask_all_that_the_command_asks(template: dict[str, Any]) -> None:
    asked = {
        (found[1].replace("autoscaling", "application-autoscaling"), found[2] or found[3])
        for file in (PROJECT_ROOT / "constructs/sagestack/cli/drift").glob("*.py")
        for found in ASKS.finditer(file.read_text())
    }
    assert {("cloudformation", "detect_stack_drift"), ("sagemaker", "describe_endpoint")} <= asked
    assert {("application-autoscaling", "describe_scalable_targets"), ("cloudformation", "get_template")} <= asked
    statements = statements_of(template, "GitHubDriftRoleDefaultPolicy", kind="AWS::IAM::Policy")
    for stack in ("foundation", "housing-serving", "bootstrap"):
        where = {"cloudformation": _arn("cloudformation", f"stack/sagestack-dev-{stack}/id")}
        for service, method in asked:
            action = f"{service}:{method.title().replace('_', '')}"
            assert allows(statements, action, where.get(service, "*")), action
    # CloudFormation's own condition: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
    assert allows(statements, "cloudformation:BatchDescribeTypeConfigurations", "*")


READS_DATA = {"kms:Decrypt", "iam:PassRole"}
"""What handlers name for reading, and looking for drift does without."""


def test_who_looks_for_drift_reads_the_settings_of_all_that_is_deployed(
    template: dict[str, Any], deployed: Templates
) -> None:
    statements = statements_of(template, "GitHubDriftRoleDefaultPolicy", kind="AWS::IAM::Policy")
    both = Templates({**deployed.by_stack, "bootstrap": template})
    refused = {
        f"{kind}: {action}"
        for kind, handlers in _handlers(both).items()
        for action in handlers.get("read", {}).get("permissions", [])
        if action not in READS_DATA
        and not _is_not_used(kind, action)
        and not allows(statements, action, NAMED[kind] if action.startswith("ssm:") else "*")
    }
    assert refused == set()


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_an_account_gets_githubs_identity_provider_once(template: dict[str, Any], tmp_path: Path) -> None:
    (provider,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::IAM::OIDCProvider")
    assert provider["DeletionPolicy"] == "Retain"
    assert provider["Properties"] == {
        "ClientIdList": ["sts.amazonaws.com"],
        "Url": "https://token.actions.githubusercontent.com",
    } | {key: value for key, value in provider["Properties"].items() if key == "Tags"}
    other = _template(load_environment("dev"), load_delivery(), makes_identity=False)
    assert not [r for r in other["Resources"].values() if r["Type"] == "AWS::IAM::OIDCProvider"]
    root = make_project(tmp_path / "p")
    for name, account in (("prod", "1" * 12), ("staging", "3" * 12)):
        (root / f"environments/{name}.yaml").write_text(ENVIRONMENT.format(account=account, image="ecr"))
    (root / "delivery.yaml").write_text(
        GOOD + "  - environment: staging\naccounts_with_oidc_provider: ['333333333333']\n"
    )
    made = {}
    for name in ("dev", "prod", "staging"):
        github = github_delivery(load_environment(name, root), root)
        assert github is not None
        made[name] = github.makes_identity
    assert made == {"dev": True, "prod": False, "staging": False}


@pytest.mark.parametrize(("old", "new"), [("github", "gitlab"), ("environment: dev", "environment: staging")])
def test_nobody_else_becomes_a_role(tmp_path: Path, old: str, new: str) -> None:
    root = make_project(tmp_path / "p")
    for name in ("prod", "staging"):
        (root / f"environments/{name}.yaml").write_text(ENVIRONMENT.format(account="3" * 12, image="ecr"))
    dev = load_environment("dev", root)
    assert github_delivery(dev, root) is None  # no delivery.yaml
    (root / "delivery.yaml").write_text(GOOD.replace(old, new))
    assert github_delivery(dev, root) is None
    assert _roles(_template(load_environment("dev"), None)) == {}


def test_it_deploys_with_the_callers_own_rights_before_and_after_cdks_bootstrap() -> None:
    app = cdk.App(context=flags(), analytics_reporting=False)
    dev = load_environment("dev")
    where = cdk.Environment(account=dev.account, region=dev.region)
    BootstrapStack(app, "B", environment=dev, delivery=None, makes_identity=False, env=where)
    assembly = app.synth()
    manifest = json.loads((Path(assembly.directory) / "manifest.json").read_text())["artifacts"]
    assert "assumeRoleArn" not in manifest["B"]["properties"]
    assert "cloudFormationExecutionRoleArn" not in manifest["B"]["properties"]
    assert "BootstrapVersion" not in assembly.stacks[0].template.get("Parameters", {})
    # Nothing is uploaded first.
    assert [each["type"] for each in manifest.values() if each["type"] == "cdk:asset-manifest"] == []


def test_github_looks_into_the_registry_that_an_environment_serves_from_where_it_is_here() -> None:
    prod, dev = load_environment("prod"), load_environment("dev")
    housing = prod.models["housing"].model_copy(update={"versions_from": "dev"})
    prod = prod.model_copy(update={"models": {"housing": housing}})
    parameter = "parameter/sagestack/dev/housing/model-package-group-name"
    for account, is_here in ((prod.account, True), (dev.account, False)):
        sources = {"dev": dev.model_copy(update={"account": account})}
        template = _template(prod, load_delivery(), sources=sources)
        statements = statements_of(template, "GitHubRoleDefaultPolicy", kind="AWS::IAM::Policy")

        def may(action: str, service: str, resource: str, given: list[Statement] = statements) -> bool:
            return allows(given, action, _arn(service, resource).replace(ACCOUNT, prod.account))

        assert may("ssm:GetParameter", "ssm", parameter) is is_here
        assert not may("ssm:GetParameter", "ssm", "parameter/sagestack/dev/data-bucket")
        for environment, listed in (("dev", is_here), ("prod", not is_here)):
            group = f"model-package/sagestack-{environment}-housing/*"
            assert may("sagemaker:ListModelPackages", "sagemaker", group) is listed
