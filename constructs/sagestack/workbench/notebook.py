"""A notebook instance that is safe by default: private, encrypted, without root."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack.network import grant_interfaces_in
from sagestack.settings import LOCAL_ACCOUNT, EnvironmentNames
from sagestack.settings.workbench import Notebook as NotebookSettings
from sagestack.workbench.code_repository import CodeRepository
from sagestack.workbench.lifecycle.lifecycle_config import LifecycleConfig
from sagestack.workbench.notebook_role import NotebookRole
from sagestack.workbench.private_network import PrivateNetwork

OWNER_TAG = "sagestack:owner"
NAME_TAG = "sagestack:notebook"


class Notebook(Construct):
    """One notebook instance.

    In a private subnet, without SageMaker's own way to the internet; its volume encrypted with the environment's key; metadata by
    IMDSv2 alone, so that a page of the notebook cannot be talked into fetching the role's credentials; users are not root.

    The instance has a fixed name: people look for it by name, and a change that needs a replacement, which would lose the volume,
    fails rather than happens. Rename the notebook to have a new one.

    Attributes:
        notebook_instance_name: of the instance.
        notebook_instance_arn: of it.
        role: what it may do.
        lifecycle_config: what is done when it is made and each time that it starts; None for nothing.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        names: EnvironmentNames,
        notebook: NotebookSettings,
        network: PrivateNetwork,
        role: NotebookRole,
        encryption_key: kms.IKey,
        lifecycle_config: LifecycleConfig | None,
    ) -> None:
        """Makes the instance.

        Args:
            name: as people call it; the environment's name is put before it.
            names: of the environment.
            notebook: what it runs on, what is in it, who owns it.
            network: the first of its subnets is the instance's; a volume cannot change its zone.
            role: what it may do. What the instance itself needs is granted here.
            encryption_key: of the volume.
            lifecycle_config: what is done when it is made and each time that it starts.
        """
        super().__init__(scope, id)
        self.role, self.lifecycle_config = role, lifecycle_config
        self.notebook_instance_name = names.notebook_instance(name)
        self.notebook_instance_arn = cdk.Stack.of(self).format_arn(
            service="sagemaker", resource="notebook-instance", resource_name=self.notebook_instance_name
        )
        role.grant_own_instance()
        grant_interfaces_in(role, network.subnet_ids[:1], [network.security_group.security_group_id])
        if notebook.grants.jobs:
            role.grant_jobs_in(network)
        if lifecycle_config is not None:
            lifecycle_config.grant(role, notebook=name)
        repositories = [
            CodeRepository(self, f"Repository{index or ''}", repository=repository)
            for index, repository in enumerate(notebook.repositories)
        ]
        for repository in repositories:
            repository.grant_clone(role)
        # An instance of the local cloud reaches what its machine reaches.
        if network.has_internet is False and cdk.Stack.of(self).account != LOCAL_ACCOUNT:
            self._say_what_is_out_of_reach(name, [each.url for each in notebook.repositories])
        resource = sagemaker.CfnNotebookInstance(
            self,
            "Resource",
            notebook_instance_name=self.notebook_instance_name,
            instance_type=notebook.instance_type,
            platform_identifier=notebook.platform,
            volume_size_in_gb=notebook.volume_size_in_gb,
            role_arn=role.role_arn,
            kms_key_id=encryption_key.key_arn,
            subnet_id=network.subnet_ids[0],
            security_group_ids=[network.security_group.security_group_id],
            direct_internet_access="Disabled",
            root_access="Enabled" if notebook.root_access else "Disabled",
            instance_metadata_service_configuration=sagemaker.CfnNotebookInstance.InstanceMetadataServiceConfigurationProperty(
                minimum_instance_metadata_service_version="2"
            ),
            lifecycle_config_name=lifecycle_config.lifecycle_config_name if lifecycle_config else None,
            default_code_repository=repositories[0].code_repository_name if repositories else None,
            additional_code_repositories=[each.code_repository_name for each in repositories[1:]] or None,
        )
        # The instance starts as the role, and must find its policies, not only its name.
        resource.node.add_dependency(role, network)
        cdk.Tags.of(resource).add(NAME_TAG, name)
        if notebook.owner is not None:
            cdk.Tags.of(resource).add(OWNER_TAG, notebook.owner)

    def _say_what_is_out_of_reach(self, name: str, repositories: list[str]) -> None:
        annotations = cdk.Annotations.of(self)
        if repositories:
            annotations.add_warning_v2(
                "sagestack:repositoryOutOfReach",
                f"{name} clones {', '.join(repositories)}, and workbench.network has no way to the"
                " internet: the instance will not start. Set network.nat: true, or use a network that reaches the host.",
            )
        options = self.lifecycle_config.out_of_reach if self.lifecycle_config is not None else []
        if options:
            annotations.add_warning_v2(
                "sagestack:packagesOutOfReach",
                f"{', '.join(options)} of {name}'s lifecycle config install from the internet, and workbench.network has no way"
                " there: each start will say that they failed. Say package_index or proxy, or set network.nat: true.",
            )
