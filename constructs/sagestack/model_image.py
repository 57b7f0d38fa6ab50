"""The image that a model is trained, judged and served with."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Literal

import aws_cdk as cdk
from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from sagestack import settings
from sagestack.build_context import LEFT_BEHIND, build_context
from sagestack.repository_policy import RepositoryPolicy

_LEFT_BEHIND = [f"**/{pattern}" for pattern in LEFT_BEHIND]
_PLATFORMS: dict[settings.Architecture, ecr_assets.Platform] = {
    "amd64": ecr_assets.Platform.LINUX_AMD64,
    "arm64": ecr_assets.Platform.LINUX_ARM64,
}


class ModelImage(Construct):
    """The image that a model runs in, named by the hash of all that goes into it.

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

    @abstractmethod
    def grant_pull_from(self, account: str) -> None:
        """Lets the roles of another account fetch the image; that account's own policies say which."""

    @abstractmethod
    def on(self, architecture: settings.Architecture) -> ModelImage:
        """The same image for instances of another architecture: `arm64` is for endpoints on Graviton.

        To build that one on an x86 machine, Docker needs its emulation (binfmt).
        """

    @staticmethod
    def of(
        scope: Construct,
        id: str,
        *,
        model: settings.Model,
        model_image: Literal["build-context", "ecr"],
    ) -> ModelImage:
        """The image of a model, as the environment wants it: `ecr` on AWS, `build-context` in the local cloud.

        Raises:
            ValueError: the model's folder is not complete.
        """
        return (EcrImage if model_image == "ecr" else BuildContext)(scope, id, model=model)


class EcrImage(ModelImage):
    """An image in ECR. Docker builds it when it is published, not at synth.

    For x86 unless told otherwise: all of SageMaker's jobs run there.
    """

    def __init__(
        self, scope: Construct, id: str, *, model: settings.Model, architecture: settings.Architecture = "amd64"
    ) -> None:
        super().__init__(scope, id)
        self._model, self._architecture = model, architecture
        self._asset = ecr_assets.DockerImageAsset(
            self,
            "Resource",
            directory=str(_context_of(self, model)),
            # Said even where it is the machine's own: the name must not depend on who builds it.
            platform=_PLATFORMS[architecture],
            exclude=_LEFT_BEHIND,
            ignore_mode=IgnoreMode.DOCKER,
            display_name=f"{model.name} image" + ("" if architecture == "amd64" else f" ({architecture})"),
        )
        self.image_uri = self._asset.image_uri

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        self._asset.repository.grant_pull(grantee)

    def grant_describe(self, grantee: iam.IGrantable) -> None:
        # What AWS's own policy for the registry has of ECR:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/security-iam-awsmanpol-model-registry.html
        self._asset.repository.grant(grantee, "ecr:BatchGetImage", "ecr:DescribeImages")

    def grant_pull_from(self, account: str) -> None:
        RepositoryPolicy.of(self).grant_pull_from(self._asset.repository, account)

    def on(self, architecture: settings.Architecture) -> ModelImage:
        if architecture == self._architecture:
            return self
        arm = architecture.capitalize()
        found = self.node.try_find_child(arm)
        return (
            found if isinstance(found, EcrImage) else EcrImage(self, arm, model=self._model, architecture=architecture)
        )


class BuildContext(ModelImage):
    """The zipped build context, Dockerfile at its root, from which the local cloud makes what it runs."""

    def __init__(self, scope: Construct, id: str, *, model: settings.Model) -> None:
        super().__init__(scope, id)
        context = _context_of(self, model)
        dockerignore = context / ".dockerignore"
        ignored = dockerignore.read_text(encoding="utf-8").splitlines() if dockerignore.is_file() else []
        self._asset = s3_assets.Asset(
            self,
            "Resource",
            path=str(context),
            exclude=[*ignored, *_LEFT_BEHIND],
            ignore_mode=IgnoreMode.DOCKER,
            display_name=f"{model.name} build context",
        )
        self.image_uri = self._asset.s3_object_url

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        self._asset.grant_read(grantee)

    def grant_describe(self, grantee: iam.IGrantable) -> None:
        """Grants nothing: to register a build context, the local cloud does not look at it."""

    def grant_pull_from(self, account: str) -> None:
        """Refuses: a build context is a file of the local cloud, which has one account.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"account {account} cannot deploy what the local cloud builds: set deployable_from to []")

    def on(self, architecture: settings.Architecture) -> ModelImage:
        """This one: the local cloud builds it on its machine, for its machine."""
        return self


def _context_of(scope: Construct, model: settings.Model) -> Path:
    stage = cdk.Stage.of(scope)
    if stage is None:
        raise AssertionError("a construct of ours is always below an app")
    return build_context(model, Path(stage.outdir))
