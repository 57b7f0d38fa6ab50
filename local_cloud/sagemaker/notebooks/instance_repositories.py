"""Clones an instance's git repositories when it starts, with the credentials of their secrets, read as the instance's role.

https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-git-repo.html
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.notebook_runtime.runtime import CodeRepository, Instance
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker.notebooks import code_repositories
from local_cloud.sagemaker.notebooks.instance_requests import references
from local_cloud.sagemaker.notebooks.start_failed import StartFailed
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document


def cloned(
    service: Sagemaker, caller: Caller, document: Document, instance: Instance, credentials: Credentials
) -> str | None:
    """Clone what is not on the volume yet; the folder of the default repository, None without one.

    A repository that cannot be cloned fails the instance, as on AWS, where the FailureReason is what git said.

    Raises:
        StartFailed: a repository or its secret cannot be had.
        ValidationError: a repository that the instance names was deleted.
    """
    for reference in references(document):
        repository = code_repositories.resolved(service, caller, reference)
        username = password = None
        if repository.secret_arn:
            username, password = _secret(service, repository.secret_arn, document["RoleArn"], credentials)
        wanted = CodeRepository(repository.url, repository.branch, username, password)
        if said := instance.clone(wanted, repository.folder):
            raise StartFailed(said)
    default = document.get("DefaultCodeRepository")
    return code_repositories.resolved(service, caller, default).folder if default else None


def _secret(service: Sagemaker, secret_arn: str, role_arn: str, credentials: Credentials) -> tuple[str, str]:
    """The user name and the password in a secret."""
    secrets = service.platform.client("secretsmanager", secret_arn.split(":")[3], credentials)
    try:
        text = secrets.get_secret_value(SecretId=secret_arn, VersionStage="AWSCURRENT").get("SecretString")
    except (ClientError, BotoCoreError) as error:
        raise StartFailed(
            f"The secret {secret_arn} of the git repository cannot be read as {role_arn}: {error}"
        ) from error
    found = _object(text)
    missing = [key for key in ("username", "password") if not isinstance(found.get(key), str) or not found[key]]
    if missing:
        raise StartFailed(
            f"The secret {secret_arn} of the git repository has no {' and no '.join(missing)}: it must be "
            '{"username": UserName, "password": Password}.'
        )
    if broken := [key for key in ("username", "password") if not found[key].isprintable()]:
        # Most often the line break of the command that wrote it; git hosts then answer that the password is wrong.
        raise StartFailed(
            f"The {' and the '.join(broken)} in the secret {secret_arn} of the git repository has a line break or another "
            "control character: write the secret again without it."
        )
    return found["username"], found["password"]


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
