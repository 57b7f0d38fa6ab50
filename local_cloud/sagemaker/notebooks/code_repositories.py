"""Git repositories as resources of SageMaker: where they are, and the secret that opens them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from local_cloud.platform import Caller
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

KIND = "code-repository"


@dataclass(frozen=True)
class Repository:
    """A repository that an instance is to have.

    Attributes:
        url: of the repository.
        branch: to check out; None for its own default.
        secret_arn: of the secret with its username and password; None where it is public.
    """

    url: str
    branch: str | None = None
    secret_arn: str | None = None

    @property
    def folder(self) -> str:
        """The folder it is cloned into, as git names it (git-clone(1): "the humanish part of the source repository").

        Raises:
            ValidationError: git would not know how to name it.
        """
        named = self.url.rstrip("/").removesuffix("/.git").rstrip("/")
        folder = named.rpartition("/")[2].removesuffix(".git").strip()
        if folder in ("", ".", "..", ".git"):
            raise ValidationError(f"The repository {self.url} has no name that a folder could have.")
        return folder


@operation("CreateCodeRepository")
def create_code_repository(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateCodeRepository: nobody asks the repository, nor for the secret, until an instance starts with it."""
    name, arn = request["CodeRepositoryName"], arn_of(caller, KIND, request["CodeRepositoryName"])
    now = time.time()
    document: Document = {
        "CodeRepositoryName": name,
        "CodeRepositoryArn": arn,
        "GitConfig": request["GitConfig"],
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    try:
        with service.store.transaction():
            service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
            tags.save(service, caller, arn, request.get("Tags"))
    except Duplicate:
        raise ValidationError(f"Cannot create already existing CodeRepository: {arn}") from None
    return {"CodeRepositoryArn": arn}


@operation("DescribeCodeRepository")
def describe_code_repository(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeCodeRepository."""
    return find(service, caller, request["CodeRepositoryName"])


@operation("ListCodeRepositories")
def list_code_repositories(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListCodeRepositories; by name, as the reference says."""
    kept = matching(
        service.store.list(KIND, caller.account, caller.region),
        request,
        name_key="CodeRepositoryName",
        default_sort="Name",
        default_order="Ascending",
    )
    return page(kept, request, "CodeRepositorySummaryList")


@operation("UpdateCodeRepository")
def update_code_repository(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateCodeRepository: another secret; instances have it at their next start."""
    name = request["CodeRepositoryName"]
    git = request.get("GitConfig") or {}

    def change(document: Document) -> None:
        document["GitConfig"] = {**document["GitConfig"], **git}
        document["LastModifiedTime"] = time.time()

    document = service.store.update(KIND, caller.account, caller.region, key_of(name), change)
    if document is None:
        raise _unknown(caller, name)
    return {"CodeRepositoryArn": document["CodeRepositoryArn"]}


@operation("DeleteCodeRepository")
def delete_code_repository(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteCodeRepository: only the entry; what was cloned stays on the volumes."""
    with service.store.transaction():
        document = find(service, caller, request["CodeRepositoryName"])
        service.store.delete(KIND, caller.account, caller.region, key_of(request["CodeRepositoryName"]))
        tags.forget(service, caller, document["CodeRepositoryArn"])
    return {}


def find(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The repository of that name.

    Raises:
        ValidationError: there is none.
    """
    document = service.store.get(KIND, caller.account, caller.region, key_of(name))
    if document is None:
        raise _unknown(caller, name)
    return document


def resolved(service: Sagemaker, caller: Caller, reference: str) -> Repository:
    """The repository that an instance names: an address, or one of the account's resources.

    Raises:
        ValidationError: there is no resource of that name.
    """
    if reference.startswith("https://"):
        return Repository(reference)
    git = find(service, caller, reference)["GitConfig"]
    return Repository(git["RepositoryUrl"], git.get("Branch"), git.get("SecretArn"))


def _unknown(caller: Caller, name: str) -> ValidationError:
    return ValidationError(f"Cannot find CodeRepository: {arn_of(caller, KIND, name)}")
