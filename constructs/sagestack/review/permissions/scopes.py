"""Where permissions are written: for each principal and each guarded resource, the statements that count there.

What a role may do stands in its inline policies, in policies of their own and in managed ones: all of it is one scope, so that a
statement that moves between them is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sagestack.review.assembly import Resource, StackTemplate
from sagestack.review.permissions.conditions import Condition
from sagestack.review.permissions.references import Names, Reader, listed_values
from sagestack.review.permissions.statements import (
    Selection,
    Statement,
    Unreadable,
    principal,
    read_statements,
)

Kind = Literal["identity", "resource", "key", "trust", "boundary"]
Key = tuple[str, ...]

PRINCIPALS = {"AWS::IAM::Role": "Roles", "AWS::IAM::User": "Users", "AWS::IAM::Group": "Groups"}
_NAMES = {"RoleName": "AWS::IAM::Role", "UserName": "AWS::IAM::User", "GroupName": "AWS::IAM::Group"}
_POLICIES = {
    "AWS::IAM::Policy",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::UserPolicy",
    "AWS::IAM::GroupPolicy",
}


@dataclass(frozen=True)
class Guard:
    """A resource type that carries a policy of what it guards.

    Attributes:
        document: the property with the policy.
        guarded: the property that names what it guards; None where it is the resource itself.
    """

    document: str
    guarded: str | None = None
    kind: Kind = "resource"


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
GUARDS = {
    "AWS::S3::BucketPolicy": Guard("PolicyDocument", "Bucket"),
    "AWS::S3::AccessPoint": Guard("Policy"),
    "AWS::KMS::Key": Guard("KeyPolicy", kind="key"),
    "AWS::KMS::ReplicaKey": Guard("KeyPolicy", kind="key"),
    "AWS::SQS::QueuePolicy": Guard("PolicyDocument", "Queues"),
    "AWS::SQS::QueueInlinePolicy": Guard("PolicyDocument", "Queue"),
    "AWS::SNS::TopicPolicy": Guard("PolicyDocument", "Topics"),
    "AWS::SNS::TopicInlinePolicy": Guard("PolicyDocument", "TopicArn"),
    "AWS::SecretsManager::ResourcePolicy": Guard("ResourcePolicy", "SecretId"),
    "AWS::ECR::Repository": Guard("RepositoryPolicyText"),
    "AWS::ECR::RegistryPolicy": Guard("PolicyText"),
    "AWS::EFS::FileSystem": Guard("FileSystemPolicy"),
    "AWS::Logs::ResourcePolicy": Guard("PolicyDocument"),
    "AWS::Logs::Destination": Guard("DestinationPolicy"),
    "AWS::EC2::VPCEndpoint": Guard("PolicyDocument"),
    "AWS::SageMaker::ModelPackageGroup": Guard("ModelPackageGroupPolicy"),
    "AWS::DynamoDB::Table": Guard("ResourcePolicy.PolicyDocument"),
    "AWS::Kinesis::ResourcePolicy": Guard("ResourcePolicy", "ResourceArn"),
    "AWS::ApiGateway::RestApi": Guard("Policy"),
    "AWS::Backup::BackupVault": Guard("AccessPolicy"),
    "AWS::OpenSearchService::Domain": Guard("AccessPolicies"),
}
VPC_ENDPOINT = "AWS::EC2::VPCEndpoint"
GUARDS_OF_MANY = {VPC_ENDPOINT, "AWS::Logs::ResourcePolicy", "AWS::ECR::RegistryPolicy"}
"""Where `*` is more than the resource that the policy is attached to."""
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
"""What `functions/repository_policy` lets another account do."""


@dataclass
class Scope:
    """One place where permissions add up.

    Attributes:
        resource: whose page a reviewer would open.
        owner: the resource that makes this scope new when it is new; None where it is not of this assembly.
        statements: all that are attached.
        unreadable: documents that nobody can read before they are deployed.
    """

    key: Key
    kind: Kind
    resource: Resource
    owner: Resource | None
    label: str
    statements: set[Statement] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)


def scopes(reader: Reader, names: Names) -> dict[Key, Scope]:
    """All of one side, by what is the same on both."""
    return _Collector(reader, names).collect()


class _Collector:
    def __init__(self, reader: Reader, names: Names) -> None:
        self._reader, self._names = reader, names
        self._found: dict[Key, Scope] = {}

    def collect(self) -> dict[Key, Scope]:
        assembly = self._reader.assembly
        for stack in assembly.stacks.values() if assembly else ():
            for resource in stack.resources.values():
                self._read(resource, stack)
        return self._found

    def _read(self, resource: Resource, stack: StackTemplate) -> None:
        properties = resource.properties
        if resource.type in PRINCIPALS:
            scope = self._own(resource, stack, "identity")
            for policy in listed_values(properties.get("Policies")):
                self._add(scope, policy.get("PolicyDocument", policy) if isinstance(policy, dict) else policy, stack)
            if resource.type == "AWS::IAM::Role":
                trust = self._own(resource, stack, "trust")
                self._add(trust, properties.get("AssumeRolePolicyDocument"), stack, own_resource=trust.label)
        elif resource.type in _POLICIES:
            for scope in self._attached(resource, stack):
                self._add(scope, properties.get("PolicyDocument"), stack)
        elif resource.type in GUARDS:
            self._guard(resource, stack, GUARDS[resource.type])
        elif resource.type in _SPECIAL:
            _SPECIAL[resource.type](self, resource, stack)

    def _own(self, resource: Resource, stack: StackTemplate, kind: Kind) -> Scope:
        identity = self._reader.identity(resource)
        return self._scope((kind, identity.address), kind, identity, identity, identity.path)

    def _scope(self, key: Key, kind: Kind, resource: Resource, owner: Resource | None, label: str) -> Scope:
        scope = self._found.setdefault(key, Scope(key, kind, resource, owner, label))
        if owner is not None and scope.owner is None:
            # A policy may stand in the template before the role that it is attached to.
            scope.resource, scope.owner, scope.label = resource, owner, label
        return scope

    def _add(self, scope: Scope, document: Any, stack: StackTemplate, *, own_resource: str | None = None) -> None:
        if document is None:
            return
        is_identity = scope.kind in ("identity", "boundary")
        try:
            found = read_statements(document, self._reader, stack, own_resource=own_resource, is_identity=is_identity)
        except Unreadable as reason:
            scope.unreadable.add(str(reason))
            return
        scope.statements.update(found)

    def _attached(self, policy: Resource, stack: StackTemplate) -> Iterator[Scope]:
        """The scopes of the principals that a policy is attached to; of a managed one that nobody has, its own."""
        named = [
            (kind, name)
            for kind, attribute in PRINCIPALS.items()
            for name in listed_values(policy.properties.get(attribute))
        ] + [
            (_NAMES[attribute], policy.properties[attribute]) for attribute in _NAMES if attribute in policy.properties
        ]
        for kind, name in named:
            yield self._of_principal(self._reader.text(name, stack), kind, policy)
        if policy.type != "AWS::IAM::ManagedPolicy":
            return
        arn = self._reader.text({"Ref": policy.logical_id}, stack)
        users = [
            principal
            for other in (self._reader.assembly.stacks.values() if self._reader.assembly else ())
            for principal in other.resources.values()
            if principal.type in PRINCIPALS
            and arn in self._reader.texts(principal.properties.get("ManagedPolicyArns", []), other)
        ]
        for user in users:
            yield self._own(user, stack, "identity")
        if not users and not named:
            yield self._own(policy, stack, "boundary" if self._bounds(arn) else "identity")

    def _bounds(self, arn: str) -> bool:
        return any(
            arn == self._reader.text(resource.properties["PermissionsBoundary"], stack)
            for stack in (self._reader.assembly.stacks.values() if self._reader.assembly else ())
            for resource in stack.resources.values()
            if "PermissionsBoundary" in resource.properties
        )

    def _of_principal(self, name: str, kind: str, policy: Resource) -> Scope:
        found = self._names.resource(name)
        if found is not None and found.type == kind and len(name) == 1:
            return self._scope(("identity", found.address), "identity", found, found, found.path)
        # Somebody else's role: the policy's page is the nearest.
        return self._scope(("identity", kind, name), "identity", policy, None, self._names.readable(name))

    def _guard(self, resource: Resource, stack: StackTemplate, guard: Guard) -> None:
        document: Any = resource.properties
        for name in guard.document.split("."):
            document = document.get(name) if isinstance(document, dict) else None
        if document is None and resource.type == VPC_ENDPOINT:
            # https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html
            document = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}
        for guarded in self._guarded(resource, stack, guard, document):
            self._add(guarded, document, stack, own_resource=guarded.label)

    def _guarded(self, resource: Resource, stack: StackTemplate, guard: Guard, document: Any) -> Iterator[Scope]:
        if guard.guarded is None:
            yield self._own(resource, stack, guard.kind)
            return
        for value in listed_values(resource.properties.get(guard.guarded)):
            yield self._about(self._reader.text(value, stack), resource, guard.kind)

    def _about(self, text: str, resource: Resource, kind: Kind = "resource") -> Scope:
        """The scope of what a text refers to, a resource of these templates or not."""
        found = self._names.resource(text)
        if found is not None:
            return self._scope((kind, found.address), kind, found, found, found.path)
        return self._scope((kind, text), kind, resource, None, self._names.readable(text))

    def _lambda_permission(self, resource: Resource, stack: StackTemplate) -> None:
        """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-permission.html"""
        properties = resource.properties
        scope = self._about(self._reader.text(properties.get("FunctionName", ""), stack), resource)
        wanted = {
            "SourceArn": ("ArnLike", "aws:SourceArn"),
            "SourceAccount": ("StringEquals", "aws:SourceAccount"),
            "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
            "EventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
            "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
            "InvokedViaFunctionUrl": ("Bool", "lambda:InvokedViaFunctionUrl"),
        }
        conditions = [
            Condition(operator, key, (self._reader.text(properties[name], stack),))
            for name, (operator, key) in wanted.items()
            if name in properties
        ]
        name = self._reader.text(properties.get("Principal", "*"), stack)
        kind = "AWS" if name == "*" or "arn:" in name or name.isdigit() or self._names.resource(name) else "Service"
        scope.statements.add(
            Statement(
                allows=True,
                principals=Selection((principal(kind, name, self._reader, stack),)),
                actions=Selection((self._reader.text(properties.get("Action", "lambda:*"), stack),)),
                # By name or by ARN, it is the same function.
                resources=Selection(
                    (self._names.readable(self._reader.text(properties.get("FunctionName", ""), stack)),)
                ),
                conditions=tuple(sorted(conditions)),
            )
        )

    def _event_bus_policy(self, resource: Resource, stack: StackTemplate) -> None:
        """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-eventbuspolicy.html"""
        properties = resource.properties
        scope = self._about(self._reader.text(properties.get("EventBusName", "default"), stack), resource)
        statement = properties.get("Statement")
        if statement is None:
            condition = properties.get("Condition") or {}
            if isinstance(condition, dict) and {"Type", "Key", "Value"} <= condition.keys():
                operator, key = (self._reader.text(condition[name], stack) for name in ("Type", "Key"))
                condition = {operator: {key: condition["Value"]}}
            statement = {
                "Effect": "Allow",
                "Principal": properties.get("Principal", "*"),
                "Action": properties.get("Action", "events:PutEvents"),
                "Condition": condition,
            }
        self._add(scope, {"Statement": statement}, stack, own_resource=scope.label)

    def _repository_statement(self, resource: Resource, stack: StackTemplate) -> None:
        """The project's own resource, which keeps a statement in the policy of a repository that another stack owns."""
        properties = resource.properties
        repository = self._reader.text(properties.get("RepositoryName", ""), stack)
        scope = self._about(repository, resource)
        account = self._reader.text(properties.get("Account", "*"), stack)
        self._add(
            scope,
            {"Statement": {"Effect": "Allow", "Principal": {"AWS": account}, "Action": list(PULL)}},
            stack,
            own_resource=scope.label,
        )


_SPECIAL: dict[str, Callable[[_Collector, Resource, StackTemplate], None]] = {
    "AWS::Lambda::Permission": _Collector._lambda_permission,
    "AWS::Events::EventBusPolicy": _Collector._event_bus_policy,
    "Custom::RepositoryPolicyStatement": _Collector._repository_statement,
}
