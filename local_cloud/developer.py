"""The person who works with the local cloud: an IAM user with full access and keys of its own, made at the first start.

Not the account's root: as in AWS, root cannot assume roles, and the CDK CLI deploys by assuming the bootstrap's roles.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

USER = "developer"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Keys:
    """Long-lived keys of an IAM user."""

    access_key_id: str
    secret_access_key: str


def ensure(iam: Any, path: Path) -> Keys:
    """The keys of the developer, the same at every start as long as the state is there.

    Args:
        iam: a client of IAM that may do anything.
        path: where the keys are kept, readable by the owner only.
    """
    if path.exists():
        keys = Keys(**json.loads(path.read_text()))
        known = _known_keys(iam)
        if keys.access_key_id in known:
            return keys
    try:
        iam.create_user(UserName=USER)
    except iam.exceptions.EntityAlreadyExistsException:
        for access_key_id in _known_keys(iam):
            iam.delete_access_key(UserName=USER, AccessKeyId=access_key_id)
    iam.put_user_policy(UserName=USER, PolicyName="everything", PolicyDocument=json.dumps(POLICY))
    created = iam.create_access_key(UserName=USER)["AccessKey"]
    keys = Keys(created["AccessKeyId"], created["SecretAccessKey"])
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(keys)))
    return keys


def _known_keys(iam: Any) -> set[str]:
    try:
        return {key["AccessKeyId"] for key in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]}
    except iam.exceptions.NoSuchEntityException:
        return set()
