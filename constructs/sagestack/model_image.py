"""The image that a model is trained, judged and served with."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from sagestack import settings

# What running the code leaves behind. Whatever the .dockerignore says, it must not change the image's name:
# two checkouts of one commit are one image.
_LEFT_BEHIND = ["**/__pycache__", "**/*.pyc", "**/.*_cache", "**/.DS_Store", ".venv"]


class ModelImage(Construct):
    """The image that a model's Dockerfile describes, named by the hash of all that goes into it.

    Choose with `of`: on AWS it is an image in ECR, and in the local cloud its build context as a zip in S3,
    so that no Docker is needed to deploy.
    """

    image_uri: str
    """What SageMaker is told to start."""

    @abstractmethod
    def grant_pull(self, grantee: iam.IGrantable) -> None:
        """Lets a role fetch the image; older ones too, which registered versions still name."""

    @abstractmethod
    def grant_describe(self, grantee: iam.IGrantable) -> None:
        """Lets a role look the image up, as registering a version does, without fetching it."""

    @staticmethod
    def of(
        scope: Construct, id: str, *, model: settings.Model, model_image: Literal["build-context", "ecr"]
    ) -> ModelImage:
        """The image of a model, as the environment wants it: `ecr` on AWS, `build-context` in the local cloud.

        Raises:
            ValueError: the model's folder has no Dockerfile.
        """
        if not (model.folder / "Dockerfile").is_file():
            raise ValueError(f"model_code/{model.name} has no Dockerfile, which describes the image that it runs in")
        return (EcrImage if model_image == "ecr" else BuildContext)(scope, id, model=model)


class EcrImage(ModelImage):
    """An image in ECR. Docker builds it when it is published, not at synth."""

    def __init__(self, scope: Construct, id: str, *, model: settings.Model) -> None:
        super().__init__(scope, id)
        self._asset = ecr_assets.DockerImageAsset(
            self,
            "Resource",
            directory=str(model.folder),
            # SageMaker's x86 instances, also where the image is built on an Arm laptop.
            platform=ecr_assets.Platform.LINUX_AMD64,
            exclude=_LEFT_BEHIND,
            ignore_mode=IgnoreMode.DOCKER,
            display_name=f"{model.name} image",
        )
        self.image_uri = self._asset.image_uri

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        self._asset.repository.grant_pull(grantee)

    def grant_describe(self, grantee: iam.IGrantable) -> None:
        # What AWS's own policy for the registry has of ECR:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/security-iam-awsmanpol-model-registry.html
        self._asset.repository.grant(grantee, "ecr:BatchGetImage", "ecr:DescribeImages")


class BuildContext(ModelImage):
    """The zipped build context, Dockerfile at its root, from which the local cloud makes what it runs."""

    def __init__(self, scope: Construct, id: str, *, model: settings.Model) -> None:
        super().__init__(scope, id)
        dockerignore = model.folder / ".dockerignore"
        ignored = dockerignore.read_text(encoding="utf-8").splitlines() if dockerignore.is_file() else []
        self._asset = s3_assets.Asset(
            self,
            "Resource",
            path=str(model.folder),
            exclude=[*ignored, *_LEFT_BEHIND],
            ignore_mode=IgnoreMode.DOCKER,
            display_name=f"{model.name} build context",
        )
        self.image_uri = self._asset.s3_object_url

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        self._asset.grant_read(grantee)

    def grant_describe(self, grantee: iam.IGrantable) -> None:
        """Grants nothing: to register a build context, the local cloud does not look at it."""
