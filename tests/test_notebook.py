"""A notebook instance is private, encrypted and without root, and its role reaches what was granted."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Annotations, Match, Template
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import LifecycleOptions, Workbench, WorkbenchNetwork
from sagestack.settings.workbench import Notebook as NotebookSettings
from sagestack.settings.workbench.network import INTERFACE_ENDPOINTS
from sagestack.settings.workbench.notebook import Grants
from sagestack.workbench.lifecycle.lifecycle_config import LifecycleConfig
from sagestack.workbench.lifecycle.out_of_reach import out_of_reach
from sagestack.workbench.notebook import Notebook
from sagestack.workbench.notebook_role import NotebookRole
from sagestack.workbench.private_network import PrivateNetwork

from tests.policy_decisions import Statement, allows, statements_of

ACCOUNT, REGION = "222222222222", "us-east-1"
HERE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:git-AbCdEf"
NAMES = EnvironmentNames("dev")
DECLARED: dict[str, Any] = {
    "instance_type": "ml.t3.medium",
    "owner": "ada",
    "grants": {"jobs": True, "read_buckets": ["shared-data"], "write_buckets": ["scratch"]},
    "repositories": [
        {"url": "https://git.example.org/team/analysis.git", "branch": "main", "secret_arn": SECRET},
        {"url": "https://git.example.org/team/tools.git"},
    ],
}


class Made:
    """A stack with one notebook."""

    def __init__(
        self, network: dict[str, Any], declared: dict[str, Any], options: dict[str, Any] | None = None
    ) -> None:
        app = cdk.App(context={"@aws-cdk/core:enablePartitionLiterals": True})
        self.stack = cdk.Stack(app, "Stack", env=cdk.Environment(account=ACCOUNT, region=REGION))
        key = kms.Key(self.stack, "Key")
        data, artifacts = (
            s3.Bucket.from_bucket_attributes(self.stack, name, bucket_name=name.lower(), encryption_key=key)
            for name in ("Data", "Artifacts")
        )
        notebook = NotebookSettings.model_validate(declared)
        role = NotebookRole(
            self.stack,
            "Role",
            name="explore",
            names=NAMES,
            grants=notebook.grants,
            models={},
            data=data,
            artifacts=artifacts,
            encryption_key=key,
        )
        Notebook(
            self.stack,
            "Notebook",
            name="explore",
            names=NAMES,
            notebook=notebook,
            network=PrivateNetwork(
                self.stack,
                "Network",
                network=WorkbenchNetwork.model_validate(network),
                services=INTERFACE_ENDPOINTS,
            ),
            role=role,
            encryption_key=key,
            lifecycle_config=LifecycleConfig(
                self.stack,
                "LifecycleConfig",
                name="standard",
                options=LifecycleOptions.model_validate(options),
                names=NAMES,
                region=REGION,
                artifacts=artifacts,
            )
            if options
            else None,
        )
        self.template = Template.from_stack(self.stack)
        self.statements: list[Statement] = statements_of(self.template.to_json(), "Role", kind="AWS::IAM::Policy")

    def may(self, action: str, resource: str, **context: str) -> bool:
        return allows(self.statements, action, resource, context)


@pytest.fixture(scope="module")
def made() -> Made:
    return Made({"cidr": "10.42.0.0/22", "availability_zones": 2}, DECLARED)


def test_it_is_private_encrypted_and_without_root(made: Made) -> None:
    made.template.has_resource_properties(
        "AWS::SageMaker::NotebookInstance",
        {
            "DirectInternetAccess": "Disabled",
            "RootAccess": "Disabled",
            "KmsKeyId": Match.any_value(),
            "SubnetId": Match.any_value(),
            "SecurityGroupIds": Match.any_value(),
            "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "2"},
            "PlatformIdentifier": "notebook-al2023-v1",
        },
    )


def test_people_find_it_by_its_name_and_its_owner_by_a_tag(made: Made) -> None:
    made.template.has_resource_properties(
        "AWS::SageMaker::NotebookInstance",
        {
            "NotebookInstanceName": "sagestack-dev-explore",
            "Tags": Match.array_with([{"Key": "sagestack:owner", "Value": "ada"}]),
        },
    )


def test_repositories_of_any_host_are_attached_with_their_secret(made: Made) -> None:
    repositories = made.template.find_resources("AWS::SageMaker::CodeRepository").values()
    assert [each["Properties"]["GitConfig"] for each in repositories] == [
        {"RepositoryUrl": "https://git.example.org/team/analysis.git", "Branch": "main", "SecretArn": SECRET},
        {"RepositoryUrl": "https://git.example.org/team/tools.git"},
    ]
    assert all("CodeRepositoryName" not in each["Properties"] for each in repositories)
    made.template.has_resource_properties(
        "AWS::SageMaker::NotebookInstance",
        {"DefaultCodeRepository": Match.any_value(), "AdditionalCodeRepositories": [Match.any_value()]},
    )
    assert made.may("secretsmanager:GetSecretValue", SECRET)
    assert not made.may("secretsmanager:GetSecretValue", SECRET.replace("git", "other"))


def test_the_instance_waits_for_its_role(made: Made) -> None:
    (instance,) = made.template.find_resources("AWS::SageMaker::NotebookInstance").values()
    assert any(name.startswith("RoleDefaultPolicy") for name in instance["DependsOn"])


def test_its_role_reads_the_data_and_writes_below_its_own_prefix_alone(made: Made) -> None:
    assert made.may("s3:GetObject", "arn:aws:s3:::data/housing/input/housing.csv")
    assert not made.may("s3:PutObject", "arn:aws:s3:::data/housing/input/housing.csv")
    assert made.may("s3:PutObject", "arn:aws:s3:::artifacts/notebooks/explore/x")
    for elsewhere in ("notebooks/other/x", "notebooks/explorer/x", "housing/model.tar.gz"):
        assert not made.may("s3:PutObject", f"arn:aws:s3:::artifacts/{elsewhere}")
        assert not made.may("s3:GetObject", f"arn:aws:s3:::artifacts/{elsewhere}")


def test_other_buckets_are_what_was_granted(made: Made) -> None:
    assert made.may("s3:GetObject", "arn:aws:s3:::shared-data/x")
    assert not made.may("s3:PutObject", "arn:aws:s3:::shared-data/x")
    assert made.may("s3:PutObject", "arn:aws:s3:::scratch/x")
    assert not made.may("s3:GetObject", "arn:aws:s3:::sagemaker-anything/x")


def test_it_stops_itself_and_no_other(made: Made) -> None:
    assert made.may("sagemaker:StopNotebookInstance", f"{HERE}:notebook-instance/sagestack-dev-explore")
    assert not made.may("sagemaker:StopNotebookInstance", f"{HERE}:notebook-instance/sagestack-dev-other")
    for action in (
        "StartNotebookInstance",
        "UpdateNotebookInstance",
        "CreatePresignedNotebookInstanceUrl",
        "DeleteTags",
    ):
        assert not made.may(f"sagemaker:{action}", f"{HERE}:notebook-instance/sagestack-dev-explore")


ISOLATED = {"sagemaker:NetworkIsolation": "true"}


def test_jobs_are_its_own_and_run_with_its_own_role(made: Made) -> None:
    assert made.may("sagemaker:CreateTrainingJob", f"{HERE}:training-job/sagestack-dev-explore-1", **ISOLATED)
    assert not made.may("sagemaker:CreateTrainingJob", f"{HERE}:training-job/sagestack-dev-other-1", **ISOLATED)
    assert made.may("sagemaker:CreateTransformJob", f"{HERE}:transform-job/sagestack-dev-explore-1")
    assert made.may("sagemaker:CreateEndpoint", f"{HERE}:endpoint/sagestack-dev-explore-1")
    assert not made.may("sagemaker:UpdateEndpoint", f"{HERE}:endpoint/sagestack-dev-housing")
    passing = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    passed = [each for each in made.statements if "iam:PassRole" in each["Action"]]
    assert [each["Condition"] for each in passed] == [{"StringEquals": passing}]
    assert "*" not in json.dumps(passed[0]["Resource"])


@pytest.mark.parametrize(
    ("action", "kind"),
    [("CreateTrainingJob", "training-job"), ("CreateProcessingJob", "processing-job"), ("CreateModel", "model")],
)
def test_its_containers_reach_the_internet_no_more_than_it_does(made: Made, action: str, kind: str) -> None:
    (notebook,) = made.template.find_resources("AWS::SageMaker::NotebookInstance").values()
    subnet = notebook["Properties"]["SubnetId"]["Ref"]
    group = notebook["Properties"]["SecurityGroupIds"][0]["Fn::GetAtt"][0]
    text = json.dumps(made.statements).replace(json.dumps({"Fn::GetAtt": [group, "GroupId"]}), json.dumps(group))
    statements = json.loads(text)

    def may(isolated: str, subnets: str = "", groups: str = group) -> bool:
        network = {"sagemaker:VpcSubnets": subnets, "sagemaker:VpcSecurityGroupIds": groups} if subnets else {}
        context = {"sagemaker:NetworkIsolation": isolated, **network}
        return allows(statements, f"sagemaker:{action}", f"{HERE}:{kind}/sagestack-dev-explore-1", context)

    assert may("true")
    assert not may("false")
    assert may("false", subnet)
    assert not may("false", f"{subnet},subnet-elsewhere")
    assert not may("false", subnet, "sg-elsewhere")


def test_it_reads_the_logs_of_its_own_jobs_and_of_no_others(made: Made) -> None:
    jobs = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/TrainingJobs"
    endpoints = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints"
    assert made.may("logs:GetLogEvents", f"{jobs}:log-stream:sagestack-dev-explore-1/algo-1-1")
    assert not made.may("logs:GetLogEvents", f"{jobs}:log-stream:sagestack-dev-other-1/algo-1-1")
    assert not made.may("logs:FilterLogEvents", jobs)
    assert made.may("logs:FilterLogEvents", f"{endpoints}/sagestack-dev-explore-1")
    assert not made.may("logs:FilterLogEvents", f"{endpoints}/sagestack-dev-housing")


def test_without_grants_there_are_none() -> None:
    made = Made({"cidr": "10.42.0.0/22"}, {"instance_type": "ml.t3.medium"})
    assert not made.may("sagemaker:CreateTrainingJob", f"{HERE}:training-job/sagestack-dev-explore-1", **ISOLATED)
    assert not made.may("s3:GetObject", "arn:aws:s3:::shared-data/x")
    assert not any("iam:PassRole" in each["Action"] for each in made.statements)


def test_a_network_of_its_own_has_no_way_out_and_reaches_aws(made: Made) -> None:
    services = {
        each["Properties"]["ServiceName"]: each["Properties"]
        for each in made.template.find_resources("AWS::EC2::VPCEndpoint").values()
    }
    assert services.keys() == {f"com.amazonaws.{REGION}.{name}" for name in (*INTERFACE_ENDPOINTS, "s3")}
    assert len(services[f"com.amazonaws.{REGION}.sts"]["SubnetIds"]) == 2
    for kind in ("InternetGateway", "NatGateway", "Route"):
        made.template.resource_count_is(f"AWS::EC2::{kind}", 0)
    blocks = [each["Properties"]["CidrBlock"] for each in made.template.find_resources("AWS::EC2::Subnet").values()]
    assert blocks == ["10.42.1.0/24", "10.42.2.0/24"]
    made.template.has_resource_properties("AWS::EC2::FlowLog", {"TrafficType": "ALL"})


def test_nothing_comes_in_and_https_goes_out(made: Made) -> None:
    groups = made.template.find_resources("AWS::EC2::SecurityGroup").values()
    (notebooks,) = (each["Properties"] for each in groups if "Notebooks" in each["Properties"]["GroupDescription"])
    assert "SecurityGroupIngress" not in notebooks
    assert [rule["FromPort"] for rule in notebooks["SecurityGroupEgress"]] == [443]
    assert not made.template.find_resources("AWS::EC2::SecurityGroupIngress")


def test_a_way_out_moves_no_subnet(made: Made) -> None:
    with_nat = Made({"cidr": "10.42.0.0/22", "availability_zones": 2, "nat": True}, {"instance_type": "ml.t3.medium"})
    with_nat.template.resource_count_is("AWS::EC2::NatGateway", 1)

    def subnets(one: Made) -> dict[str, Any]:
        found = one.template.find_resources("AWS::EC2::Subnet").items()
        return {name: each["Properties"]["CidrBlock"] for name, each in found if "Public" not in name}

    assert subnets(with_nat) == subnets(made)


def test_behind_a_way_out_the_endpoints_can_be_spared() -> None:
    network = WorkbenchNetwork(cidr="10.42.0.0/22", nat=True, interface_endpoints="none")
    assert network.services(has_efs=True, has_secrets=True, has_studio=True) == ()
    stack = cdk.Stack()
    PrivateNetwork(stack, "Network", network=network, services=())
    template = Template.from_stack(stack)
    # Of S3, which costs nothing.
    template.resource_count_is("AWS::EC2::VPCEndpoint", 1)
    template.resource_count_is("AWS::EC2::SecurityGroup", 1)


@pytest.mark.parametrize(("what", "service"), [("has_efs", "elasticfilesystem"), ("has_secrets", "secretsmanager")])
def test_what_nobody_needs_has_no_endpoint(what: str, service: str) -> None:
    nothing = {"has_efs": False, "has_secrets": False, "has_studio": False}
    network = WorkbenchNetwork(cidr="10.42.0.0/22")
    assert set(network.services(**{**nothing, what: True})) - set(network.services(**nothing)) == {service}


def test_another_zone_moves_no_subnet(made: Made) -> None:
    (first,) = (
        Made({"cidr": "10.42.0.0/22"}, {"instance_type": "ml.t3.medium"})
        .template.find_resources("AWS::EC2::Subnet")
        .items()
    )
    assert first in made.template.find_resources("AWS::EC2::Subnet").items()


def test_a_network_that_is_there_is_left_as_it_is() -> None:
    made = Made(
        {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0"]},
        {"instance_type": "ml.t3.medium"},
    )
    made.template.resource_count_is("AWS::EC2::VPC", 0)
    made.template.resource_count_is("AWS::EC2::VPCEndpoint", 0)
    made.template.has_resource_properties("AWS::SageMaker::NotebookInstance", {"SubnetId": "subnet-0123456789abcdef0"})


def test_a_repository_out_of_reach_is_said_at_synth(made: Made) -> None:
    Annotations.from_stack(made.stack).has_warning("*", Match.string_like_regexp("network.nat: true"))


def test_packages_out_of_reach_are_said_at_synth() -> None:
    made = Made(
        {"cidr": "10.42.0.0/22"}, {"instance_type": "ml.t3.medium"}, {"r_kernel": True, "extensions": {"pip": ["a"]}}
    )
    Annotations.from_stack(made.stack).has_warning("*", Match.string_like_regexp("^r_kernel, extensions of explore's"))


PRIVATE = {"url": "https://pypi.example.org", "conda_channels": ["https://conda.example.org"]}
PIP, CONDA = ({"manager": manager, "packages": ["a"]} for manager in ("pip", "conda"))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"packages": [PIP]}, ["packages"]),
        ({"packages": [PIP], "package_index": {"conda_channels": ["https://conda.example.org"]}}, ["packages"]),
        ({"packages": [PIP, CONDA], "package_index": {"url": "https://pypi.example.org"}}, ["packages"]),
        ({"packages": [PIP, CONDA], "package_index": PRIVATE, "r_kernel": True}, []),
        (
            {"packages": [CONDA], "package_index": {"conda_channels": ["conda-forge"]}, "r_kernel": True},
            ["packages", "r_kernel"],
        ),
        (
            {"conda_environments": {"e": {}}, "package_index": {"conda_channels": ["conda-forge"]}},
            ["conda_environments"],
        ),
        ({"packages": [PIP], "proxy": {"https": "http://proxy.example.org:3128"}}, []),
        ({"conda_environments": {"e": {}}}, ["conda_environments"]),
        (
            {"conda_environments": {"e": {"channels": ["conda-forge"]}}, "package_index": PRIVATE},
            ["conda_environments"],
        ),
        ({"conda_environments": {"e": {"channels": ["https://conda.example.org"]}}}, []),
        (
            {"conda_environments": {"e": {"channels": ["https://conda.example.org"], "pip": ["a"]}}},
            ["conda_environments"],
        ),
        ({"extensions": {"disable": ["a"]}, "auto_stop": {}}, []),
    ],
)
def test_what_installs_from_public_places_is_known(options: dict[str, Any], names: list[str]) -> None:
    assert out_of_reach(LifecycleOptions.model_validate(options)) == names


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"instance_type": "ml.m5.huge"}, "ml.m5.huge"),
        ({"instance_type": "ml.c5.large"}, "ml.c5.large"),
        ({"platform": "notebook-al1-v1"}, "'notebook-al1-v1' has ended"),
        ({"platform": "notebook-al2-v3"}, "'notebook-al2-v3' has ended: since July 2026"),
        ({"platform": "notebook-al2023"}, "platform"),
        ({"instance_type": "ml.p3.2xlarge"}, "'ml.p3.2xlarge' does not run Amazon Linux 2023"),
        ({"volume_size_in_gb": 4}, "volume_size_in_gb"),
        ({"repositories": [{"url": "git@example.org:team/x.git"}]}, "url"),
        ({"repositories": [{"url": "https://me:secret@example.org/x.git"}]}, "url"),
        ({"repositories": [{"url": "https://example.org/x.git", "secret_arn": "git"}]}, "secret_arn"),
        ({"repositories": [{"url": "https://example.org/x.git"}] * 5}, "repositories"),
        ({"hours": {"start": "at eight"}}, "at eight"),
    ],
    ids=[
        "no such type",
        "no notebook type",
        "an old platform",
        "Amazon Linux 2",
        "no platform",
        "an old GPU",
        "too small",
        "ssh",
        "a password in git",
        "no ARN",
        "five",
        "no schedule",
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        NotebookSettings.model_validate({"instance_type": "ml.t3.medium", **changed})


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"cidr": "10.42.0.0/22", "vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0"]},
        {"vpc_id": "vpc-0123456789abcdef0"},
        {"cidr": "8.8.8.0/24"},
        {"cidr": "10.42.0.1/22"},
        {"cidr": "10.0.0.0/8"},
        {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0"], "nat": True},
    ],
    ids=["none", "both", "half", "public", "no block", "too large", "nat of others"],
)
def test_a_network_that_is_none_is_refused(network: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cidr|network|8\.8\.8|10\."):
        WorkbenchNetwork.model_validate(network)


def test_a_lifecycle_config_that_is_not_there_is_named_with_what_is_meant() -> None:
    with pytest.raises(ValueError, match="did you mean 'standard'"):
        Workbench.model_validate(
            {
                "network": {"cidr": "10.42.0.0/22"},
                "lifecycle_configs": {"standard": {}},
                "notebooks": {"explore": {"instance_type": "ml.t3.medium", "lifecycle_config": "standart"}},
            }
        )


def test_jobs_of_somebody_with_upper_case_in_their_name_are_theirs_in_sagemakers_lower_case_too() -> None:
    stack = cdk.Stack()
    bucket = s3.Bucket(stack, "Bucket")
    NotebookRole(
        stack,
        "Role",
        name="studio-Ada",
        names=EnvironmentNames("dev"),
        grants=Grants(jobs=True),
        models={},
        data=bucket,
        artifacts=bucket,
        encryption_key=kms.Key(stack, "Key"),
    )
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    text = json.dumps(policy)
    for name in ("studio-Ada", "studio-ada"):
        assert f":training-job/sagestack-dev-{name}-*" in text
