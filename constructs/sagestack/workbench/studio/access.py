"""What a person's role may do in Studio itself: see the domain, and open, start and stop what is their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.roles import grant_logs
from sagestack.wildcards import acknowledge_wildcards

_LOG_GROUP = "/aws/sagemaker/studio"
_OWN_PROFILE = "${sagemaker:DomainId}/${sagemaker:UserProfileName}"
"""Filled in by SageMaker with whose session it is."""


def grant_studio(role: iam.IRole, *, instance_types: Sequence[str]) -> None:
    """Lets the role of a profile use Studio: its own private spaces, and the shared ones of its domain.

    The statements are those that SageMaker's documentation has, without the apps of Studio Classic and without creating users:
    https://docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-migrate-ui.html. They name no domain: the policy has to be
    there before the domain is.

    Args:
        role: of a profile, or of the domain.
        instance_types: what apps may run on; all, where none is said. `sagemaker:InstanceTypes` is known to CreateApp,
            CreateSpace and UpdateSpace:
            https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    stack = cdk.Stack.of(role)

    def arn(kind: str, name: str) -> str:
        return stack.format_arn(service="sagemaker", resource=kind, resource_name=name)

    on_types = (
        {"ForAllValues:StringEquals": {"sagemaker:InstanceTypes": list(instance_types)}} if instance_types else {}
    )
    in_domain = "${sagemaker:DomainId}/*"
    own = {"ArnLike": {"sagemaker:OwnerUserProfileArn": arn("user-profile", _OWN_PROFILE)}}
    private, shared = ({"StringEquals": {"sagemaker:SpaceSharingType": kind}} for kind in ("Private", "Shared"))
    starts = ["sagemaker:CreateApp"]
    statements = [
        iam.PolicyStatement(
            actions=[
                "sagemaker:DescribeApp",
                "sagemaker:DescribeDomain",
                "sagemaker:DescribeSpace",
                "sagemaker:DescribeUserProfile",
            ],
            resources=[arn(kind, "*") for kind in ("app", "domain", "space", "user-profile")],
        ),
        # These take no resource.
        iam.PolicyStatement(
            actions=[f"sagemaker:List{kind}" for kind in ("Apps", "Domains", "Spaces", "Tags", "UserProfiles")],
            resources=["*"],
        ),
        iam.PolicyStatement(
            actions=["sagemaker:CreatePresignedDomainUrl"], resources=[arn("user-profile", _OWN_PROFILE)]
        ),
        # Tags at the creation alone; the domain's tags are put on its apps so, too.
        iam.PolicyStatement(
            actions=["sagemaker:AddTags"],
            resources=[arn("app", "*"), arn("space", "*")],
            conditions={"Null": {"sagemaker:TaggingAction": "false"}},
        ),
        iam.PolicyStatement(
            actions=["sagemaker:CreateSpace", "sagemaker:UpdateSpace"],
            resources=[arn("space", in_domain)],
            conditions={**own, "StringEquals": {"sagemaker:SpaceSharingType": ["Private", "Shared"]}, **on_types},
        ),
        iam.PolicyStatement(actions=["sagemaker:DeleteSpace"], resources=[arn("space", in_domain)], conditions=own),
        iam.PolicyStatement(
            actions=["sagemaker:DeleteApp"], resources=[arn("app", in_domain)], conditions={**own, **private}
        ),
        iam.PolicyStatement(actions=["sagemaker:DeleteApp"], resources=[arn("app", in_domain)], conditions=shared),
        iam.PolicyStatement(
            actions=starts, resources=[arn("app", in_domain)], conditions={**own, **private, **on_types}
        ),
        iam.PolicyStatement(actions=starts, resources=[arn("app", in_domain)], conditions={**shared, **on_types}),
    ]
    for statement in statements:
        role.add_to_principal_policy(statement)
    as_found = [
        # cdk-nag spells a variable of IAM so.
        iam.PolicyStatement(
            actions=starts, resources=[arn(kind, "<sagemaker:DomainId>/*") for kind in ("app", "space")]
        )
    ]
    acknowledge_wildcards(
        cast(Construct, role),
        [*statements, *as_found],
        "People name their spaces. Limited to the session's own domain and to the spaces of its profile or shared ones; the"
        " rest is looking.",
    )
    # Also what lifecycle configs print: https://docs.aws.amazon.com/sagemaker/latest/dg/jl-lcc-debug.html
    grant_logs(role, _LOG_GROUP)
    if isinstance(role, iam.Role) and role.assume_role_policy is not None:
        # So that CloudTrail says who it was, where several people have one role.
        role.assume_role_policy.add_statements(
            iam.PolicyStatement(
                actions=["sts:SetSourceIdentity"],
                principals=[iam.ServicePrincipal("sagemaker.amazonaws.com")],
                conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
            )
        )
