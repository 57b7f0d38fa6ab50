"""One person in a Studio domain."""

from __future__ import annotations

from typing import Any, Literal

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack.settings.workbench.studio import Storage
from sagestack.workbench.notebook import OWNER_TAG
from sagestack.workbench.studio.app_settings import storage_settings
from sagestack.workbench.studio.clean_delete import CleanDelete
from sagestack.workbench.studio.spelling import spelled


class StudioUserProfile(Construct):
    """A profile, which carries its owner as a tag and a role that is that person's alone.

    Attributes:
        user_profile_name: in the domain.
        user_profile_arn: of it; who may ask for its presigned URL is limited by the tag `sagestack:owner`.
        role: what the person may do from Studio.
        contents: comes after the profile; a space of it comes after this.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        owner: str,
        auth: Literal["iam", "identity-center"],
        domain: sagemaker.CfnDomain,
        role: iam.IRole,
        storage: Storage | None,
        clean_delete: CleanDelete,
    ) -> None:
        """Makes the profile.

        Args:
            name: of the profile.
            owner: whose it is: the user name in IAM Identity Center, where people sign in by that.
            auth: how people sign in.
            domain: what it is in.
            role: the person's.
            storage: of the spaces that the person makes, where it is not the domain's.
            clean_delete: what deletes before it what the person made.
        """
        super().__init__(scope, id)
        self.role, self.user_profile_name = role, name
        is_central = auth == "identity-center"
        # No settings of apps: those of the domain have idle shutdown, which CloudFormation's schema of a profile has not, and a
        # profile's come instead of them.
        settings: dict[str, Any] = {"execution_role": role.role_arn}
        if storage is not None:
            settings["space_storage_settings"] = storage_settings(storage)
        self.resource = sagemaker.CfnUserProfile(
            self,
            "Resource",
            domain_id=domain.attr_domain_id,
            user_profile_name=name,
            user_settings=sagemaker.CfnUserProfile.UserSettingsProperty(**spelled(settings)),
            single_sign_on_user_identifier="UserName" if is_central else None,
            single_sign_on_user_value=owner if is_central else None,
        )
        # Apps start as the role, and must find its policies, not only its name.
        self.resource.node.add_dependency(role)
        cdk.Tags.of(self.resource).add(OWNER_TAG, owner)
        self.user_profile_arn = self.resource.attr_user_profile_arn
        self.contents = clean_delete.of_profile(self.resource)
