"""Whose home directory is whose on a file system that outlives its domain: they are numbers, and SageMaker forgets whose."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from .names import HOME
from .problems import in_words
from .residue import Clients, tags_of


def note_homes(clients: Clients, domain_id: str, *, profile: str | None = None) -> None:
    """Writes on the file system of a domain, as tags, which directory is whose.

    A file system takes fifty tags; whose directory found no place is in the function's log. Nothing here is a reason to fail.

    Args:
        clients: of the services.
        domain_id: the domain.
        profile: the one that is about to go; without it, all that are there.
    """
    try:
        system_id = clients.sagemaker.describe_domain(DomainId=domain_id).get("HomeEfsFileSystemId")
        if system_id is None:
            return
        (system,) = clients.efs.describe_file_systems(FileSystemId=system_id)["FileSystems"]
        noted = {value for key, value in tags_of(system).items() if key.startswith(HOME)}
        for name in [profile] if profile else _profiles(clients.sagemaker, domain_id):
            if name in noted:
                continue
            try:
                _note(clients, domain_id, system_id, name)
            except ClientError as error:
                # One that finds no place must not keep the others out of the log.
                _tell("home directories not noted", profile=name, reason=in_words(error))
    except ClientError as error:
        _tell("home directories not noted", reason=in_words(error))


def _note(clients: Clients, domain_id: str, system_id: str, name: str) -> None:
    described = clients.sagemaker.describe_user_profile(DomainId=domain_id, UserProfileName=name)
    if uid := described.get("HomeEfsFileSystemUid"):
        _tell("home directory", file_system=system_id, directory=f"/{uid}", profile=name)
        clients.efs.tag_resource(ResourceId=system_id, Tags=[{"Key": f"{HOME}{uid}", "Value": name}])


def _profiles(sagemaker: Any, domain_id: str) -> Iterable[str]:
    for page in sagemaker.get_paginator("list_user_profiles").paginate(DomainIdEquals=domain_id):
        yield from (each["UserProfileName"] for each in page["UserProfiles"])


def _tell(what: str, **more: Any) -> None:
    print(json.dumps({"outcome": what, **more}), flush=True)
