"""The model archives of a multi-model container: those below one prefix in S3, fetched when a request names one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.sagemaker import model_data
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.model_data import BadModelData, ModelData


class NoModel(Exception):
    """A request names a model that cannot be had; the message is SageMaker's where it is known."""


@dataclass(frozen=True)
class ModelArchives:
    """Where the models of a multi-model container are.

    Attributes:
        bucket: the bucket.
        prefix: of the archives' keys; ends with a slash, or is empty.
        cached: whether a model stays loaded after its request (ModelCacheSetting; Enabled is SageMaker's default).
    """

    bucket: str
    prefix: str
    cached: bool = True

    @classmethod
    def of(cls, container: Mapping[str, Any]) -> ModelArchives:
        """The archives of a ContainerDefinition of Mode MultiModel.

        Raises:
            ValidationError: it has no prefix, or has its model data from where multi-model containers cannot.
        """
        if container.get("ModelDataSource"):
            # ModelDataSource of ContainerDefinition in the API reference.
            raise ValidationError("ModelDataSource cannot be used with multi-model endpoints; give a ModelDataUrl.")
        url = container.get("ModelDataUrl")
        if not url:
            raise ValidationError("A container of Mode MultiModel needs a ModelDataUrl: the S3 prefix of its models.")
        if url.endswith(".tar.gz"):
            raise ValidationError(f"The ModelDataUrl of Mode MultiModel is a prefix of archives, not one: {url}")
        bucket, prefix = model_data.split(url, bucket_alone=True)
        setting = (container.get("MultiModelConfig") or {}).get("ModelCacheSetting", "Enabled")
        return cls(bucket, f"{prefix.rstrip('/')}/" if prefix else "", cached=setting == "Enabled")

    def download(self, s3: Any, target_model: str, folder: Path, staging: Path) -> int:
        """Unpack an archive into a folder, which is there only once it is whole; the bytes that it takes.

        Args:
            s3: a client with the credentials of the model's role.
            target_model: what follows the prefix in the archive's key.
            folder: not there yet.
            staging: a folder on the same disk, for what is not whole yet.

        Raises:
            NoModel: there is no such archive, the role may not read it, or it is none.
        """
        key = self.prefix + target_model
        where = f"(bucket: {self.bucket}, key: {key})"
        part = staging / folder.name
        shutil.rmtree(part, ignore_errors=True)
        try:
            model_data.download(s3, ModelData(self.bucket, key), part / "model")
        except ClientError as error:
            denied = error.response["Error"]["Code"] in ("403", "AccessDenied")
            detail = f" {model_data.denied_read(self.bucket, key, error)}" if denied else ""
            raise NoModel(
                f"Failed to download model data{where}. Please ensure that there is an object located at the URL and that "
                f"the role passed to CreateModel has permissions to download the model.{detail}"
            ) from error
        except BotoCoreError as error:
            raise NoModel(f"Failed to download model data{where}: {error}") from error
        except BadModelData as error:
            raise NoModel(f"Failed to extract model data{where}: {error}") from error
        size = sum(path.lstat().st_size for path in part.rglob("*"))
        # For the image's user, whatever the mask of this program is.
        part.chmod(0o755)
        part.rename(folder)
        return size


def name_of(target_model: str) -> str:
    """What a container calls a model: opaque, as in SageMaker's contract, and fit for paths."""
    return hashlib.sha256(target_model.encode()).hexdigest()


def refused_target(target_model: str) -> str | None:
    """Why a TargetModel cannot be: it must stay below the prefix. None if it can."""
    parts = target_model.split("/")
    if target_model.startswith(("/", "s3://")) or any(part in ("", ".", "..") for part in parts):
        return (
            f"TargetModel must be a path relative to the ModelDataUrl, without `..`, `.` and `//`; got {target_model}"
        )
    return None
