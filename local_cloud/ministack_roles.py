"""Roles that services of the cloud take: whether a role's trust policy lets them, and the credentials that they get.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_evaluator
from ministack.services import iam, sts

from local_cloud.ministack_scope import in_scope
from local_cloud.platform import Credentials, RoleRefused


def credentials_for(
    principal: str, role_arn: str, session_name: str, context: Mapping[str, str] | None = None
) -> Credentials:
    """Temporary credentials of a role for a service.

    Args:
        principal: of the service, `sagemaker.amazonaws.com`.
        role_arn: the role.
        session_name: what the session is called.
        context: what the trust policy's conditions may ask, in lower case; the account is known.

    Raises:
        RoleRefused: no such role, or it does not trust the service.
    """
    check_trust(principal, role_arn, context)
    account, role_name = _account_and_name(role_arn)
    credentials = Credentials(
        access_key_id=f"ASIA{secrets.token_hex(8).upper()}",
        secret_access_key=secrets.token_hex(20),
        session_token=secrets.token_hex(64),
    )
    sts.register_session(
        credentials.access_key_id,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name[:64]}",
            "UserId": f"{role_name}:{session_name[:64]}",
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
        },
    )
    return credentials


def check_trust(principal: str, role_arn: str, context: Mapping[str, str] | None = None) -> None:
    """Looks whether a service may take a role, as `credentials_for`, and takes it not.

    Raises:
        RoleRefused: no such role, or it does not trust the service.
    """
    account, role_name = _account_and_name(role_arn)
    role = in_scope(account, None, lambda: iam._roles.get(role_name))
    trust = role.get("AssumeRolePolicyDocument") if role else None
    asked = {"aws:sourceaccount": account, **(context or {})}
    if trust is None or not _trusts(trust, principal, account, asked):
        raise RoleRefused(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{principal}' to assume the role."
        )


def _account_and_name(role_arn: str) -> tuple[str, str]:
    parts = role_arn.split(":")
    if len(parts) < 6:
        raise RoleRefused(f"Could not assume role {role_arn}, which is no ARN of a role.")
    return parts[4], role_arn.rsplit("/", 1)[-1]


def _trusts(trust: Any, principal: str, account: str, asked: Mapping[str, str]) -> bool:
    document = json.loads(unquote(trust)) if isinstance(trust, str) else trust
    statements = document.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        named_principal = statement.get("Principal", {})
        services = named_principal.get("Service", []) if isinstance(named_principal, dict) else []
        named = principal in ([services] if isinstance(services, str) else services)
        actions = statement.get("Action", [])
        assumes = {"sts:AssumeRole", "sts:*", "*"} & set([actions] if isinstance(actions, str) else actions)
        context = iam_evaluator.EvalContext(
            principal_arn=principal,
            principal_type="AWSService",
            principal_account=account,
            action="sts:AssumeRole",
            resource_arn="*",
            region="",
            service_context=dict(asked),
        )
        if named and assumes and statement.get("Effect") == "Allow":
            return bool(iam_evaluator._conditions_met(statement.get("Condition", {}), context))
    return False
