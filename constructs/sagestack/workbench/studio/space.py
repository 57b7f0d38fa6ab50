"""A place to work in a Studio domain."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack.settings.workbench.studio import Space
from sagestack.workbench.notebook import OWNER_TAG
from sagestack.workbench.studio.clean_delete import CleanDelete
from sagestack.workbench.studio.spelling import spelled
from sagestack.workbench.studio.user_profile import StudioUserProfile


class StudioSpace(Construct):
    """A space with its volume. Its app is started by people, and stopped by idle shutdown.

    A space cannot change its owner, or whether it is shared: CloudFormation would make another of the same name, which SageMaker
    refuses, so nothing is lost. Give the new one another name.

    Attributes:
        space_name: in the domain.
        space_arn: of it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        space: Space,
        owner: StudioUserProfile,
        owner_name: str,
        domain: sagemaker.CfnDomain,
        app_settings: dict[str, Any],
        volume_size_in_gb: int,
        clean_delete: CleanDelete,
    ) -> None:
        """Makes the space.

        Args:
            name: of the space.
            space: what it is.
            owner: the profile that owns it.
            owner_name: the person's user name.
            domain: what it is in.
            app_settings: of its app, as SageMaker has them.
            volume_size_in_gb: of its volume.
            clean_delete: what deletes its app before it.
        """
        super().__init__(scope, id)
        self.space_name = name
        settings: dict[str, Any] = {
            **app_settings,
            "space_storage_settings": {"ebs_storage_settings": {"ebs_volume_size_in_gb": volume_size_in_gb}},
        }
        resource = sagemaker.CfnSpace(
            self,
            "Resource",
            domain_id=domain.attr_domain_id,
            space_name=name,
            ownership_settings=sagemaker.CfnSpace.OwnershipSettingsProperty(
                owner_user_profile_name=owner.user_profile_name
            ),
            space_sharing_settings=sagemaker.CfnSpace.SpaceSharingSettingsProperty(
                sharing_type=space.sharing.capitalize()
            ),
            space_settings=sagemaker.CfnSpace.SpaceSettingsProperty(**spelled(settings)),
        )
        # What deletes the person's own spaces must not meet this one, which CloudFormation deletes.
        resource.node.add_dependency(owner.contents)
        cdk.Tags.of(resource).add(OWNER_TAG, owner_name)
        self.space_arn = resource.attr_space_arn
        clean_delete.of_space(resource)
