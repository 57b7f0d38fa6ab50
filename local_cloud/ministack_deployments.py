"""What MiniStack's CloudFormation leaves out where roles and users are made: the permissions boundary, and who deploys.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.

A stack that is deployed with a role (the CDK's is) may do with IAM what that role may: the narrow policy of an account can be
tried on a laptop. For all other kinds of resources nobody is asked; docs/local-cloud.md says so.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import iam
from ministack.services.cloudformation import handlers, provisioners

Properties = Mapping[str, Any]
Asked = tuple[str, str, dict[str, str]]
"""An action, what it is done to, and what IAM may know of it besides."""

_roles: dict[tuple[str, str, str], str] = {}
"""The role that a stack was given last, by account, region and name: CloudFormation goes on with it."""


def install() -> None:
    """Let stacks carry boundaries, and ask their role."""
    for action in ("CreateStack", "UpdateStack", "CreateChangeSet", "DeleteStack"):
        handlers._ACTION_HANDLERS[action] = _remembering(handlers._ACTION_HANDLERS[action])
    for kind in ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::User"):
        handler = provisioners._RESOURCE_HANDLERS[kind]
        provisioners._RESOURCE_HANDLERS[kind] = {
            **handler,
            "create": _creating(kind, handler["create"]),
            "update": _updating(kind, handler["update"]),
        }


def _remembering(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def remember(params: Any) -> Any:
        role = handlers._p(params, "RoleARN")
        if role:
            _roles[_key(handlers._p(params, "StackName"))] = role
        return answer(params)

    return remember


def _creating(kind: str, create: Callable[..., Any]) -> Callable[..., Any]:
    def checked(logical_id: str, properties: Properties, stack_name: str) -> Any:
        _ask(stack_name, _asked(kind, properties, f"{stack_name}-{logical_id}"))
        physical_id, attributes = create(logical_id, properties, stack_name)
        if kind == "AWS::IAM::Role":
            _carry(physical_id, properties)
        return physical_id, attributes

    return checked


def _updating(kind: str, update: Callable[..., Any]) -> Callable[..., Any]:
    def checked(physical_id: str, old: Properties, new: Properties, stack_name: str, *more: Any) -> Any:
        if (boundary := old.get("PermissionsBoundary")) and not new.get("PermissionsBoundary"):
            arn = _arn("role", physical_id)
            _ask(stack_name, [("iam:DeleteRolePermissionsBoundary", arn, {"iam:permissionsboundary": boundary})])
        _ask(stack_name, _asked(kind, new, physical_id))
        result = update(physical_id, old, new, stack_name, *more)
        if kind == "AWS::IAM::Role":
            _carry(result[0], new)
        return result

    return checked


def _asked(kind: str, properties: Properties, name: str) -> Iterator[Asked]:
    """What IAM would be asked for a resource; CloudFormation's own names begin with the stack's."""
    boundary = properties.get("PermissionsBoundary")
    context = {"iam:permissionsboundary": boundary} if boundary else {}
    path = str(properties.get("Path", "/")).lstrip("/")
    match kind:
        case "AWS::IAM::Role":
            arn = _arn("role", path + properties.get("RoleName", name))
            yield "iam:CreateRole", arn, context
            if properties.get("Policies"):
                yield "iam:PutRolePolicy", arn, context
            for policy in properties.get("ManagedPolicyArns") or []:
                yield "iam:AttachRolePolicy", arn, {**context, "iam:policyarn": policy}
        case "AWS::IAM::Policy":
            for role in properties.get("Roles") or []:
                known = (iam._roles.get(role) or {}).get("PermissionsBoundary")
                path = str((iam._roles.get(role) or {}).get("Path", "/")).lstrip("/")
                yield (
                    "iam:PutRolePolicy",
                    _arn("role", path + role),
                    {"iam:permissionsboundary": known} if known else {},
                )
            for user in properties.get("Users") or []:
                yield "iam:PutUserPolicy", _arn("user", user), {}
        case "AWS::IAM::ManagedPolicy":
            yield "iam:CreatePolicy", _arn("policy", path + properties.get("ManagedPolicyName", name)), {}
        case "AWS::IAM::User":
            yield "iam:CreateUser", _arn("user", path + properties.get("UserName", name)), context


def _ask(stack_name: str, asked: Any) -> None:
    """Raises what CloudFormation says where the stack's role may not."""
    role = _roles.get(_key(stack_name))
    if role is None:
        return
    account, region = responses.get_account_id(), responses.get_region()
    name = role.rsplit("/", 1)[-1]
    attached = (iam._roles.get(name) or {}).get("AttachedPolicies", [])
    if any(iam_evaluator._resolve_managed_policy_document(arn, account) is None for arn in attached):
        # Of AWS's own policies MiniStack has no text, and CDK's default one (AdministratorAccess) it attaches without a name.
        return
    policies = iam_evaluator._gather_role_policies(name, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    session = f"arn:aws:sts::{account}:assumed-role/{name}/AWSCloudFormation"
    for action, arn, context in asked:
        result = iam_evaluator.evaluate(
            iam_evaluator.EvalContext(
                principal_arn=session,
                principal_type="AssumedRole",
                principal_account=account,
                action=action,
                resource_arn=arn,
                region=region,
                service_context=context,
            ),
            policies,
            *limits,
        )
        if result.decision != "Allow":
            raise ValueError(
                f"User: {session} is not authorized to perform: {action} on resource: {arn} (Service: Iam, Status Code: 403)"
            )


def _carry(name: str, properties: Properties) -> None:
    """Puts the boundary of the template on the role, or takes it off: MiniStack's own provisioner reads it for users alone."""
    role = iam._roles.get(name)
    if role is not None:
        role["PermissionsBoundary"] = properties.get("PermissionsBoundary") or None


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::{responses.get_account_id()}:{kind}/{name}"


def _key(stack_name: str) -> tuple[str, str, str]:
    # A request may name the stack by its ARN.
    name = stack_name.split("/")[1] if stack_name.startswith("arn:") else stack_name
    return responses.get_account_id(), responses.get_region(), name
