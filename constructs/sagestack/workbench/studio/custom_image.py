"""An image of one's own that people start apps of Studio from."""

from __future__ import annotations

from typing import Any, Literal

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.build_context import LEFT_BEHIND
from sagestack.roles import SageMakerRole
from sagestack.settings.workbench.studio import CustomImage as CustomImageSettings
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench.studio.spelling import spelled

_LEFT_BEHIND = [f"**/{pattern}" for pattern in LEFT_BEHIND]


class CustomImage(Construct):
    """An image, its version, and how a container of it is run.

    The version is made anew when the image is another one, by digest or by the hash of the folder that it is built from. A tag
    that is moved to another image changes nothing here: name a digest, or a tag that stays.

    Attributes:
        app: the app that starts from it.
        is_default: whether apps do where nobody chose another.
        setting: how the domain's settings name it.
        image_arn: of the image.
        image_version_arn: of its version.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        physical_name: str,
        image: CustomImageSettings,
        model_image: Literal["build-context", "ecr"],
    ) -> None:
        """Makes them.

        Args:
            name: as people call it.
            physical_name: what it is called in the account.
            image: what it is.
            model_image: how images of the project are published: to ECR, or for the local cloud, which needs no Docker, as their
                build context.

        Raises:
            ValueError: the folder has no Dockerfile.
        """
        super().__init__(scope, id)
        self.app, self.is_default = image.app, image.default
        self._asset: ecr_assets.DockerImageAsset | s3_assets.Asset | None = None
        self._repository_arn: str | None = None
        base_image = self._base_image(name, image, model_image)
        role = SageMakerRole(self, "Role", description=f"Reads the image {name} for Studio")
        self.grant_pull(role)
        acknowledge_wildcards(
            role,
            [iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"])],
            "ecr:GetAuthorizationToken takes no resource.",
        )
        resource = sagemaker.CfnImage(
            self,
            "Resource",
            image_name=physical_name,
            image_role_arn=role.role_arn,
            image_display_name=image.display_name or name,
        )
        resource.node.add_dependency(role)
        version = sagemaker.CfnImageVersion(self, "Version", image_name=physical_name, base_image=base_image)
        version.node.add_dependency(resource)
        container = {
            "container_arguments": image.arguments or None,
            "container_entrypoint": [image.entrypoint] if image.entrypoint else None,
            "container_environment_variables": [
                {"key": key, "value": value} for key, value in image.environment_variables.items()
            ]
            or None,
        }
        key = "jupyter_lab_app_image_config" if image.app == "jupyter-lab" else "code_editor_app_image_config"
        config: dict[str, Any] = {key: {"container_config": container}}
        app_image_config = sagemaker.CfnAppImageConfig(
            self, "Config", app_image_config_name=physical_name, **spelled(config)
        )
        self.image_arn, self.image_version_arn = version.attr_image_arn, version.attr_image_version_arn
        self.setting: dict[str, Any] = {
            "image_name": physical_name,
            "app_image_config_name": app_image_config.ref,
            "image_version_number": version.attr_version,
        }

    def _base_image(self, name: str, image: CustomImageSettings, model_image: Literal["build-context", "ecr"]) -> str:
        if image.image_uri is not None:
            host, _, path = image.image_uri.partition("/")
            account, _, _, region = host.split(".")[:4]
            repository = path.partition("@")[0].partition(":")[0]
            self._repository_arn = cdk.Stack.of(self).format_arn(
                service="ecr", account=account, region=region, resource="repository", resource_name=repository
            )
            return image.image_uri
        assert image.folder is not None
        folder = settings.PROJECT_ROOT / image.folder
        if not (folder / "Dockerfile").is_file():
            raise ValueError(
                f"workbench.studio.custom_images.{name}.folder: {image.folder} has no Dockerfile (looked in {folder})"
            )
        if model_image == "ecr":
            self._asset = ecr_assets.DockerImageAsset(
                self,
                "Image",
                directory=str(folder),
                # Studio's apps run on x86: their instance types have no Graviton.
                platform=ecr_assets.Platform.LINUX_AMD64,
                exclude=_LEFT_BEHIND,
                ignore_mode=cdk.IgnoreMode.DOCKER,
                display_name=f"{name} image of Studio",
            )
            return self._asset.image_uri
        self._asset = s3_assets.Asset(
            self,
            "Image",
            path=str(folder),
            exclude=_LEFT_BEHIND,
            ignore_mode=cdk.IgnoreMode.DOCKER,
            display_name=f"{name} build context of Studio",
        )
        return self._asset.s3_object_url

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        """Lets a role fetch the image, as those who start apps from it must:
        https://docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-byoi-how-to-prepare-image.html"""
        if isinstance(self._asset, ecr_assets.DockerImageAsset):
            self._asset.repository.grant_pull(grantee)
        elif self._asset is not None:
            self._asset.grant_read(grantee)
        elif self._repository_arn is not None:
            for actions, resource in (
                (
                    ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    self._repository_arn,
                ),
                (["ecr:GetAuthorizationToken"], "*"),
            ):
                iam.Grant.add_to_principal(grantee=grantee, actions=actions, resource_arns=[resource])
