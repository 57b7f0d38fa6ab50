"""Deletes with a Studio domain what CloudFormation does not know of."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from functions.studio_cleanup.names import DOMAIN, MANAGED_BY, MARK, PROFILE, RESIDUE, SPACE
from sagestack.functions import Function, Provider
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench.private_network import PrivateNetwork

_PATIENCE = cdk.Duration.hours(1)
"""CloudFormation waits no longer for a custom resource, and an app may take twenty minutes to go.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html"""


class CleanDelete(Construct):
    """Custom resources around a domain, which do nothing but when something is deleted.

    SageMaker deletes no profile that has a space, no space that has an app, and no domain that has a profile; people make all of
    these themselves. And CloudFormation's deletion of a domain leaves its file system and two security groups, whose rules name
    each other, so that the network cannot be deleted either. CloudFormation deletes in the reverse order of creation, and so
    there is a resource on each side:

    1. with each space, its app; with each profile, its apps and the private spaces that the person made;
    2. then all else that is in the domain;
    3. then CloudFormation deletes the domain;
    4. then what it left: network interfaces, mount targets, the file system (or not), the security groups; and lifecycle configs
       that an update could not delete because apps still ran with them.

    The function's role can delete in SageMaker what is in this domain, and in EFS and EC2 what carries the tag that it may put on
    nothing but what SageMaker made for this domain.

    The first resource also refuses a change that would replace the domain, before anything is touched: the spaces of the old one,
    with all that is on their volumes, would be lost.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        domain: sagemaker.CfnDomain,
        fixed: Mapping[str, str],
        network: PrivateNetwork,
        keep_home_directories: bool,
    ) -> None:
        """Makes the functions, and the resources on both sides of the domain.

        Args:
            domain: what is deleted cleanly.
            fixed: what cannot change without a replacement of the domain, by the word that people have for it.
            network: whose subnets and security group the domain has; it is deleted after everything here.
            keep_home_directories: whether the domain's file system stays.
        """
        super().__init__(scope, id)
        stack = cdk.Stack.of(self)
        self._domain, self._home_directories = domain, "keep" if keep_home_directories else "delete"
        on_event, is_complete = (
            Function(
                self,
                name,
                package="studio_cleanup",
                handler=handler,
                description=f"{what} of a Studio domain",
                timeout=cdk.Duration.minutes(5),
                environment={},
            )
            for name, handler, what in (
                ("Begin", "on_event", "Begins the deletion"),
                ("Delete", "is_complete", "Deletes what is in it and what is left"),
            )
        )
        on_event.add_to_role_policy(
            iam.PolicyStatement(actions=["cloudformation:DescribeStacks"], resources=[stack.stack_id])
        )
        self._grant_always(is_complete)
        self._provider = Provider(
            self,
            on_event_handler=on_event,
            is_complete_handler=is_complete,
            query_interval=cdk.Duration.seconds(3),
            total_timeout=_PATIENCE,
        )
        residue = self._resource(
            self,
            "Residue",
            RESIDUE,
            {
                "DomainLogicalId": stack.get_logical_id(domain),
                "DomainArnPrefix": self._arn("sagemaker", "domain", ""),
                "VpcId": network.vpc_id,
                "HomeDirectories": self._home_directories,
                "Fixed": stack.to_json_string(dict(sorted(fixed.items()))),
            },
        )
        # Subnets and security group cannot go while anything of the domain is in them.
        residue.node.add_dependency(network)
        domain.node.add_dependency(residue)
        self.contents = self._resource(
            self,
            "Contents",
            DOMAIN,
            {
                "DomainId": domain.attr_domain_id,
                "DomainArn": domain.attr_domain_arn,
                "VpcId": network.vpc_id,
                "HomeDirectories": self._home_directories,
            },
        )
        """Whatever is made in the domain comes after it."""
        self.contents.node.add_dependency(self._grant_in_domain(is_complete))

    def of_profile(self, profile: sagemaker.CfnUserProfile) -> cdk.CustomResource:
        """Deletes, before the profile is, what would keep SageMaker from deleting it."""
        properties = {"UserProfileName": profile.user_profile_name, "HomeDirectories": self._home_directories}
        return self._below(profile, PROFILE, properties)

    def of_space(self, space: sagemaker.CfnSpace) -> cdk.CustomResource:
        """Deletes, before the space is, its app."""
        return self._below(space, SPACE, {"SpaceName": space.space_name})

    def _below(self, resource: cdk.CfnResource, kind: str, properties: Mapping[str, str]) -> cdk.CustomResource:
        resource.node.add_dependency(self.contents)
        scope = resource.node.scope
        assert isinstance(scope, Construct)
        contents = self._resource(scope, "Contents", kind, {"DomainId": self._domain.attr_domain_id, **properties})
        contents.node.add_dependency(resource)
        return contents

    def _resource(self, scope: Construct, id: str, kind: str, properties: Mapping[str, str]) -> cdk.CustomResource:
        return cdk.CustomResource(
            scope,
            id,
            service_token=self._provider.service_token,
            resource_type=kind,
            properties=dict(properties),
        )

    def _grant_always(self, function: Function) -> None:
        """What is needed before the domain is there, and after it is gone: only what carries our tag is deleted."""
        stack = cdk.Stack.of(self)
        of_this_stack = {
            "StringEquals": {f"aws:ResourceTag/{MARK}": stack.stack_id},
            "StringLike": {f"aws:ResourceTag/{MANAGED_BY}": self._arn("sagemaker", "domain", "*")},
        }
        systems = self._arn("elasticfilesystem", "file-system", "*")
        scripts = self._arn("sagemaker", "studio-lifecycle-config", "*")
        looking = [
            iam.PolicyStatement(
                actions=["elasticfilesystem:DescribeFileSystems", "elasticfilesystem:DescribeMountTargets"],
                resources=[systems],
            ),
            # These take no resource.
            iam.PolicyStatement(
                actions=[
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSecurityGroups",
                    "sagemaker:ListApps",
                    "sagemaker:ListSpaces",
                    "sagemaker:ListStudioLifecycleConfigs",
                    "sagemaker:ListUserProfiles",
                ],
                resources=["*"],
            ),
            iam.PolicyStatement(
                actions=["sagemaker:DescribeDomain"], resources=[self._arn("sagemaker", "domain", "*")]
            ),
            iam.PolicyStatement(actions=["sagemaker:ListTags"], resources=[scripts]),
        ]
        deleting = [
            iam.PolicyStatement(
                actions=[
                    "elasticfilesystem:DeleteFileSystem",
                    "elasticfilesystem:DeleteMountTarget",
                    "elasticfilesystem:TagResource",
                ],
                resources=[systems],
                conditions=of_this_stack,
            ),
            iam.PolicyStatement(
                actions=[
                    "ec2:DeleteNetworkInterface",
                    "ec2:DeleteSecurityGroup",
                    "ec2:RevokeSecurityGroupEgress",
                    "ec2:RevokeSecurityGroupIngress",
                ],
                resources=[self._arn("ec2", kind, "*") for kind in ("network-interface", "security-group")],
                conditions=of_this_stack,
            ),
            iam.PolicyStatement(
                actions=["sagemaker:DeleteStudioLifecycleConfig"],
                resources=[scripts],
                conditions={"StringEquals": {f"aws:ResourceTag/{MARK}": stack.stack_id}},
            ),
        ]
        for statement in (
            iam.PolicyStatement(
                actions=["cloudformation:DescribeStackResource", "cloudformation:DescribeStacks"],
                resources=[stack.stack_id],
            ),
            *looking,
            *deleting,
        ):
            function.add_to_role_policy(statement)
        role = function.role
        assert isinstance(role, iam.Role)
        acknowledge_wildcards(
            role, looking, "To find what SageMaker made: looking only, and mostly without a resource."
        )
        acknowledge_wildcards(
            role,
            deleting,
            "SageMaker names them. Limited by a tag that the function can put on this domain's alone.",
        )

    def _grant_in_domain(self, function: Function) -> iam.Policy:
        """What is needed while the domain is there, in a policy that comes and goes with it."""
        domain_id, domain_arn = self._domain.attr_domain_id, self._domain.attr_domain_arn
        statements = [
            iam.PolicyStatement(
                actions=["sagemaker:DeleteApp", "sagemaker:DeleteSpace", "sagemaker:DeleteUserProfile"],
                resources=[self._arn("sagemaker", kind, f"{domain_id}/*") for kind in ("app", "space", "user-profile")],
            ),
            # Whose home directory is whose, where they are kept.
            iam.PolicyStatement(
                actions=["sagemaker:DescribeUserProfile"],
                resources=[self._arn("sagemaker", "user-profile", f"{domain_id}/*")],
            ),
            iam.PolicyStatement(
                actions=["ec2:CreateTags", "elasticfilesystem:TagResource"],
                resources=[
                    self._arn("elasticfilesystem", "file-system", "*"),
                    *(self._arn("ec2", kind, "*") for kind in ("network-interface", "security-group")),
                ],
                conditions={
                    "StringEquals": {f"aws:ResourceTag/{MANAGED_BY}": domain_arn},
                    "ForAllValues:StringEquals": {"aws:TagKeys": [MARK]},
                },
            ),
        ]
        assert function.role is not None
        policy = iam.Policy(self, "InDomain", roles=[function.role], statements=statements)
        # Those of the domain's own ARNs are in accepted_risks.py: its id is not known here.
        acknowledge_wildcards(
            policy, statements[-1:], "What SageMaker made for this domain, by its tag: the names are its own."
        )
        return policy

    def _arn(self, service: str, resource: str, name: str) -> str:
        return cdk.Stack.of(self).format_arn(service=service, resource=resource, resource_name=name)
