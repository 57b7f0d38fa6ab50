"""What a person's role may do in Studio itself: see the domain, and open, start and stop what is their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.roles import grant_logs
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench.cost_tags import KEEP_TAG, SPENT_TAG
from sagestack.workbench.notebook import OWNER_TAG

_LOG_GROUP = "/aws/sagemaker/studio"
_OWN_PROFILE = "${sagemaker:DomainId}/${sagemaker:UserProfileName}"
"""Filled in by SageMaker with whose session it is."""


def grant_studio(
    role: iam.IRole, *, instance_types: Sequence[str], tags: Mapping[str, str], owner: str | None = None
) -> None:
    """Lets the role of a profile use Studio: its own private spaces, and the shared ones of its domain.

    The statements are those that SageMaker's documentation has, without the apps of Studio Classic and without creating users:
    https://docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-migrate-ui.html. They name no domain: the policy has to be
    there before the domain is.

    Args:
        role: of a profile, or of the domain.
        instance_types: what apps may run on; all, where none is said. `sagemaker:InstanceTypes` is known to CreateApp,
            CreateSpace and UpdateSpace:
            https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
        tags: of the domain, which cost is counted by: no space and no app is given another value.
        owner: whose spaces the role makes; of whoever says so, where it is not said: profiles that somebody makes by hand.
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
        *_tags_at_creation(arn("space", "*"), arn("app", "*"), tags=tags, owner=owner),
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


def _tags_at_creation(
    spaces: str, apps: str, *, tags: Mapping[str, str], owner: str | None
) -> tuple[iam.PolicyStatement, iam.PolicyStatement]:
    """Tags when a space or an app is made, and never after.

    Studio itself tags what it makes (`sagemaker:domain-arn`, `sagemaker:user-profile-arn`; without the right it fails), and the
    tags of the domain, the profile and the space are put on its apps: so what is forbidden is named here, not what is allowed.
    https://docs.aws.amazon.com/sagemaker/latest/dg/security_iam_id-based-policy-examples.html#grant-tagging-permissions
    https://docs.aws.amazon.com/sagemaker/latest/dg/custom-tags.html
    """
    at_creation = {"sagemaker:TaggingAction": "false"}
    # IAM takes the key of a tag in any case, and so does this.
    same = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    own = {} if owner is None else {f"aws:RequestTag/{OWNER_TAG}": owner}
    return (
        iam.PolicyStatement(
            actions=["sagemaker:AddTags"],
            resources=[spaces],
            conditions={
                "Null": at_creation,
                "StringEqualsIfExists": {**same, **own},
                # What the budget heeds, which reads the tags of spaces: an operator says so.
                "ForAllValues:StringNotEqualsIgnoreCase": {"aws:TagKeys": [KEEP_TAG, SPENT_TAG]},
            },
        ),
        # An app has the tags of its space, also an operator's and another owner's; nobody reads them but the bill.
        iam.PolicyStatement(
            actions=["sagemaker:AddTags"],
            resources=[apps],
            conditions={"Null": at_creation, "StringEqualsIfExists": same},
        ),
    )
