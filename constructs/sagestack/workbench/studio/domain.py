"""A Studio domain that is safe by default, and that leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack.build_context import LEFT_BEHIND
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.studio import Studio
from sagestack.workbench.cost_tags import WORKBENCH_TAG
from sagestack.workbench.lifecycle.lifecycle_config import EXAMPLES
from sagestack.workbench.private_network import PrivateNetwork
from sagestack.workbench.studio.access import grant_studio
from sagestack.workbench.studio.app_script import Examples
from sagestack.workbench.studio.app_settings import Software
from sagestack.workbench.studio.clean_delete import CleanDelete
from sagestack.workbench.studio.custom_image import CustomImage
from sagestack.workbench.studio.space import StudioSpace
from sagestack.workbench.studio.spelling import spelled
from sagestack.workbench.studio.studio_lifecycle_config import StudioLifecycleConfig
from sagestack.workbench.studio.user_profile import StudioUserProfile

SHARED_PREFIX = "notebooks/studio/shared/"
"""Where notebooks that people share go, in the bucket of artefacts."""

_HIDDEN_APPS = ("Canvas", "JupyterServer", "RStudioServerPro")
"""Idle shutdown, lifecycle configs and images of one's own know JupyterLab and Code Editor alone. What else Studio offers would
run, and cost, until somebody thinks of it; Studio Classic (JupyterServer) can no longer be started."""


class StudioDomain(Construct):
    """The domain, its people and their spaces.

    All traffic goes through the workbench's private network (`VpcOnly`); file system and volumes are encrypted with the
    environment's key; apps that do nothing are shut down; no Docker, no sharing of what notebooks printed. Each person has a role
    of their own, and SageMaker tells CloudTrail whose session it was. Tags of the domain are put on its apps, so that the bill
    knows them.

    What people make in it is deleted before it, and what SageMaker leaves of it after it (see `CleanDelete`).

    Attributes:
        domain_id: of the domain.
        domain_arn: of it.
        domain_name: as people see it.
        url: where people sign in, with IAM Identity Center.
        profiles: by name.
        spaces: by name.
        home_file_system_id: of the file system with the home directories.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: EnvironmentNames,
        studio: Studio,
        removal_policy: Literal["destroy", "retain"],
        network: PrivateNetwork,
        execution_role: iam.IRole,
        profile_roles: Mapping[str, iam.IRole],
        encryption_key: kms.IKey,
        artifacts: s3.IBucket,
        model_image: Literal["build-context", "ecr"],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the domain, and what is in it.

        Args:
            names: of the environment.
            studio: what is wanted.
            removal_policy: the environment's: what becomes of home directories where `studio` does not say.
            network: where apps have their network interfaces.
            execution_role: of shared spaces, and of profiles that somebody makes by hand. What Studio itself needs is granted
                here.
            profile_roles: by the name of the profile, one for each. The same is granted to them.
            encryption_key: of the file system and of the volumes.
            artifacts: the bucket for notebooks that are shared, where that is on.
            model_image: how images of the project are published.
            tags: the environment's, which cost may be counted by: people give their spaces and apps no other value. None by
                default, besides the workbench's own.

        Raises:
            ValueError: a profile has no role; the network has too many or no subnets; a script or a folder is not there.
        """
        super().__init__(scope, id)
        _check(studio, network, profile_roles)
        self._studio, self._names = studio, names
        self._tags = {**(tags or {}), WORKBENCH_TAG: names.environment}
        self.domain_name = names.stack_prefix.rstrip("-")
        self._examples = self._archive() if any(each.examples for each in studio.lifecycle_configs.values()) else None
        examples = Examples(self._examples.s3_object_url, names.environment) if self._examples else None
        self._software = Software(
            lifecycle_configs={
                name: StudioLifecycleConfig(
                    self,
                    f"LifecycleConfig-{name}",
                    name=name,
                    physical_prefix=names.stack_prefix,
                    config=config,
                    examples=examples,
                )
                for name, config in studio.lifecycle_configs.items()
            },
            images={
                name: CustomImage(
                    self,
                    f"Image-{name}",
                    name=name,
                    physical_name=f"{names.stack_prefix}{name}",
                    image=image,
                    model_image=model_image,
                )
                for name, image in studio.custom_images.items()
            },
        )
        self._grant(execution_role, studio.instance_types, None, artifacts, encryption_key)
        for name, profile in studio.user_profiles.items():
            own = profile.instance_types
            types = studio.instance_types if own is None else own
            self._grant(profile_roles[name], types, studio.owners[name], artifacts, encryption_key)

        resource = self._domain(network, execution_role, encryption_key, artifacts)
        self.domain_id, self.domain_arn = resource.attr_domain_id, resource.attr_domain_arn
        self.url, self.home_file_system_id = resource.attr_url, resource.attr_home_efs_file_system_id
        keeps_homes = studio.keeps_home_directories(removal_policy)
        if keeps_homes and removal_policy == "destroy":
            cdk.Annotations.of(self).add_warning_v2(
                "sagestack:keptHomesNeedTheKey",
                "workbench.studio.home_directories: keep outlives the Studio domain, and not the environment: with"
                " removal_policy: destroy the key that they are encrypted with is deleted with it, and nobody can read them.",
            )
        clean_delete = CleanDelete(
            self,
            "CleanDelete",
            domain=resource,
            fixed={
                "auth": studio.auth,
                "encryption key": encryption_key.key_arn,
                "name": self.domain_name,
                "network": network.vpc_id,
            },
            network=network,
            keep_home_directories=keeps_homes,
        )
        self.profiles = {
            name: StudioUserProfile(
                self,
                f"Profile-{name}",
                name=name,
                owner=studio.owners[name],
                auth=studio.auth,
                domain=resource,
                role=profile_roles[name],
                storage=profile.storage,
                clean_delete=clean_delete,
            )
            for name, profile in studio.user_profiles.items()
        }
        self.spaces = {name: self._space(name, resource, clean_delete) for name in studio.spaces}

    def _domain(
        self, network: PrivateNetwork, execution_role: iam.IRole, encryption_key: kms.IKey, artifacts: s3.IBucket
    ) -> sagemaker.CfnDomain:
        studio, group = self._studio, network.security_group.security_group_id
        common: dict[str, Any] = {
            "instance_type": studio.instance_type,
            "idle": studio.idle_shutdown,
            "storage": studio.storage,
        }
        users: dict[str, Any] = {
            "execution_role": execution_role.role_arn,
            "security_groups": [group],
            # What is there outlives the space; a space's volume does not.
            "auto_mount_home_efs": "Enabled",
            "studio_web_portal": "ENABLED",
            "default_landing_uri": "studio::",
            "studio_web_portal_settings": {
                "hidden_app_types": list(_HIDDEN_APPS),
                "hidden_instance_types": studio.hidden_instance_types or None,
                "hidden_ml_tools": studio.hidden_ml_tools or None,
            },
            "sharing_settings": self._sharing(artifacts, encryption_key),
            **self._software.app_settings(**common),
        }
        spaces: dict[str, Any] = {
            "execution_role": execution_role.role_arn,
            "security_groups": [group],
            **self._software.shared_space_settings(**common),
        }
        resource = sagemaker.CfnDomain(
            self,
            "Resource",
            domain_name=self.domain_name,
            auth_mode="SSO" if studio.auth == "identity-center" else "IAM",
            app_network_access_type="VpcOnly",
            vpc_id=network.vpc_id,
            subnet_ids=network.subnet_ids,
            kms_key_id=encryption_key.key_arn,
            tag_propagation="ENABLED",
            default_user_settings=sagemaker.CfnDomain.UserSettingsProperty(**spelled(users)),
            default_space_settings=sagemaker.CfnDomain.DefaultSpaceSettingsProperty(**spelled(spaces)),
            domain_settings=sagemaker.CfnDomain.DomainSettingsProperty(
                docker_settings=sagemaker.CfnDomain.DockerSettingsProperty(
                    enable_docker_access="ENABLED" if studio.docker_access else "DISABLED"
                ),
                execution_role_identity_config="USER_PROFILE_NAME",
            ),
        )
        # The role's policies, not only its name; and a network that apps can be started in.
        resource.node.add_dependency(execution_role, network)
        return resource

    def _sharing(self, artifacts: s3.IBucket, encryption_key: kms.IKey) -> dict[str, Any]:
        if not self._studio.notebook_output_sharing:
            return {"notebook_output_option": "Disabled"}
        return {
            "notebook_output_option": "Allowed",
            "s3_output_path": artifacts.s3_url_for_object(SHARED_PREFIX.rstrip("/")),
            "s3_kms_key_id": encryption_key.key_arn,
        }

    def _archive(self) -> s3_assets.Asset:
        return s3_assets.Asset(self, "Examples", path=str(EXAMPLES), exclude=[*LEFT_BEHIND, ".ipynb_checkpoints"])

    def _grant(
        self, role: iam.IRole, types: list[str], owner: str | None, artifacts: s3.IBucket, encryption_key: kms.IKey
    ) -> None:
        grant_studio(role, instance_types=types, tags=self._tags, owner=owner)
        if self._studio.notebook_output_sharing:
            artifacts.grant_read(role, f"{SHARED_PREFIX}*")
            artifacts.grant_put(role, f"{SHARED_PREFIX}*")
        for image in self._software.images.values():
            image.grant_pull(role)
        if asset := self._examples:
            # CDK's own grant is of all that all apps of the account publish.
            archive = asset.bucket.arn_for_objects(asset.s3_object_key)
            role.add_to_principal_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[archive]))

    def _space(self, name: str, domain: sagemaker.CfnDomain, clean_delete: CleanDelete) -> StudioSpace:
        studio, space = self._studio, self._studio.spaces[name]
        owner = studio.user_profiles[space.owner]
        return StudioSpace(
            self,
            f"Space-{name}",
            name=name,
            space=space,
            owner=self.profiles[space.owner],
            owner_name=studio.owners[space.owner],
            domain=domain,
            app_settings=self._software.space_app_settings(
                space.app,
                instance_type=space.instance_type or owner.instance_type or studio.instance_type,
                lifecycle_config=space.lifecycle_config,
            ),
            volume_size_in_gb=space.volume_size_in_gb or (owner.storage or studio.storage).default_gb,
            clean_delete=clean_delete,
        )


def _check(studio: Studio, network: PrivateNetwork, profile_roles: Mapping[str, iam.IRole]) -> None:
    if missing := sorted(set(studio.user_profiles) - set(profile_roles)):
        raise ValueError(
            f"profile_roles must have a role for each of user_profiles, and has none for {', '.join(missing)}"
        )
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateDomain.html
    if not cdk.Token.is_unresolved(network.subnet_ids) and not 1 <= len(network.subnet_ids) <= 16:
        raise ValueError(
            f"A Studio domain takes 1 to 16 private subnets, and workbench.network has {len(network.subnet_ids)}"
        )
