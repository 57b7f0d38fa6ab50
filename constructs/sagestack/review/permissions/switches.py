"""Settings that open something without any policy: S3's block of public access, ACLs, function URLs, routes, providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.permissions.globs import is_reference
from sagestack.review.permissions.references import Reader, listed_values
from sagestack.review.results import PermissionChange, PermissionFlag, Severity

_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_PUBLIC_ACLS = {
    "PublicRead": "anyone may list and read",
    "PublicReadWrite": "anyone may list, read and write",
    "AuthenticatedRead": "anyone with an AWS account may list and read",
}
_CLOSED = {"AWS_IAM", "JWT", "CUSTOM", "COGNITO_USER_POOLS"}


def switch_changes(
    before: Resource | None, after: Resource | None, old: Reader, new: Reader
) -> Iterator[PermissionChange]:
    """Of one resource, as it is on either side."""
    resource = after or before
    if resource is None or resource.type not in _SWITCHES or after is None:
        return
    was = _properties(before, old) if before else None
    yield from _SWITCHES[resource.type](after, was, _properties(after, new))


def _properties(resource: Resource, reader: Reader) -> Mapping[str, Any]:
    assert reader.assembly is not None
    stack = reader.assembly.stacks[resource.stack]

    def read(value: Any) -> Any:
        match value:
            case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::Join": _} | {"Fn::Sub": _} | {"Fn::ImportValue": _}:
                return reader.text(value, stack)
            case dict():
                return {key: read(each) for key, each in value.items()}
            case list():
                return [read(each) for each in value]
        return value

    found: Mapping[str, Any] = read(resource.properties)
    return found


def _bucket(resource: Resource, was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[PermissionChange]:
    """New buckets block public access unless they say otherwise, since April 2023; taking the property away unblocks.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
    """
    blocks, blocked = _blocks(now, is_new=was is None), _blocks(was, is_new=False) if was is not None else set(_BLOCKS)
    if lost := sorted(blocked - blocks):
        yield _row(
            resource,
            "anyone",
            tuple(lost),
            f"A policy or an ACL may now open {resource.path} to the public: {', '.join(lost)} "
            f"{'is' if len(lost) == 1 else 'are'} off",
            severity=Severity.DANGER,
            flags={PermissionFlag.PUBLIC},
        )
    if was is not None and (won := sorted(blocks - blocked)):
        yield _row(
            resource, "anyone", tuple(won), f"{resource.path} now blocks public access: {', '.join(won)}", wider=False
        )
    acl, old_acl = str(now.get("AccessControl")), str((was or {}).get("AccessControl"))
    if acl != old_acl and acl in _PUBLIC_ACLS:
        yield _row(
            resource,
            "anyone",
            (f"ACL {acl}",),
            f"By its ACL {acl}, {_PUBLIC_ACLS[acl]} {resource.path}",
            severity=Severity.DANGER,
            flags={PermissionFlag.PUBLIC},
        )
    elif acl != old_acl and old_acl in _PUBLIC_ACLS:
        yield _row(
            resource,
            "anyone",
            (f"ACL {old_acl}",),
            f"{resource.path} is no longer open by its ACL {old_acl}",
            wider=False,
        )

    yield from _copies(resource, was, now)


def _copies(resource: Resource, was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[PermissionChange]:
    """What is written is copied to another bucket, whoever may read that one.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication.html
    """
    for target, account in sorted(_replicas(now) - _replicas(was or {})):
        where = f"{target} in account {account}" if account else target
        if not account and target.startswith("arn:") and not any(map(is_reference, target)):
            where += ", and no template tells whose bucket that is"
        yield _row(
            resource,
            f"account {account}" if account else "who reads the copy",
            ("replication",),
            f"What is written to {resource.path} is now copied to {where}",
            severity=Severity.DANGER if account else Severity.WARNING,
            flags={PermissionFlag.CROSS_ACCOUNT} if account else set(),
        )


def _replicas(properties: Mapping[str, Any]) -> set[tuple[str, str]]:
    configuration = properties.get("ReplicationConfiguration")
    rules = listed_values(configuration.get("Rules")) if isinstance(configuration, dict) else []
    return {
        (str(target.get("Bucket", "")), str(target.get("Account", "")))
        for rule in rules
        if isinstance(rule, dict) and rule.get("Status") != "Disabled"
        for target in [rule.get("Destination")]
        if isinstance(target, dict)
    }


def _blocks(properties: Mapping[str, Any], *, is_new: bool) -> set[str]:
    found = properties.get("PublicAccessBlockConfiguration")
    if found is None:
        return set(_BLOCKS) if is_new else set()
    if not isinstance(found, dict):
        return set()
    return {name for name in _BLOCKS if str(found.get(name, False)).lower() == "true"}


def _texts(properties: Mapping[str, Any], name: str) -> set[str]:
    return {str(each) for each in listed_values(properties.get(name))}


def _authorization(property_name: str, what: str) -> Callable[..., Iterator[PermissionChange]]:
    def changes(
        resource: Resource, was: Mapping[str, Any] | None, now: Mapping[str, Any]
    ) -> Iterator[PermissionChange]:
        old, new = (None if was is None else was.get(property_name, "NONE")), now.get(property_name, "NONE")
        if new == old or now.get("HttpMethod") == "OPTIONS":
            return
        where = f"{what} {resource.path}"
        if str(new) not in _CLOSED:
            by_key = str(now.get("ApiKeyRequired", "")).lower() == "true"
            yield _row(
                resource,
                "anyone",
                (f"{property_name} {new}",),
                f"{where} asks callers for {'an API key and nothing else' if by_key else 'nothing'}"
                + (f", before {old}" if old else ""),
                severity=Severity.WARNING if by_key else Severity.DANGER,
                flags=set() if by_key else {PermissionFlag.PUBLIC},
            )
        elif str(old) in _CLOSED:
            yield _row(
                resource,
                f"callers by {new}",
                (f"{property_name} {new}",),
                f"{where} lets in by {new}, before by {old}",
                severity=Severity.WARNING,
            )
        elif old is not None:
            yield _row(
                resource,
                "anyone",
                (f"{property_name} {new}",),
                f"{where} now lets in by {new}, before anyone",
                wider=False,
            )
        else:
            yield _row(
                resource, f"callers by {new}", (f"{property_name} {new}",), f"{where} is new and lets in by {new}"
            )

    return changes


def _provider(resource: Resource, was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[PermissionChange]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html"""
    url = now.get("Url", "a SAML provider")
    if was is None or was.get("Url") != now.get("Url"):
        yield _row(
            resource,
            str(url),
            (),
            f"Roles may trust the identities of {url} ({resource.path})",
            severity=Severity.WARNING,
            kind="trust",
        )
        return
    if new := sorted(_texts(now, "ClientIdList") - _texts(was, "ClientIdList")):
        yield _row(
            resource,
            str(url),
            tuple(new),
            f"{resource.path} now accepts identities of {url} for {', '.join(new)}",
            severity=Severity.WARNING,
            kind="trust",
        )
    if now.get("SamlMetadataDocument") != was.get("SamlMetadataDocument"):
        yield _row(
            resource,
            str(url),
            (),
            f"{resource.path} now believes other SAML metadata",
            severity=Severity.WARNING,
            kind="trust",
        )


def _share(resource: Resource, was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[PermissionChange]:
    """https://docs.aws.amazon.com/ram/latest/userguide/what-is.html"""
    old = was or {}
    for name in ("Principals", "ResourceArns"):
        if new := sorted(_texts(now, name) - _texts(old, name)):
            with_whom, what = (
                ", ".join(sorted(_texts(now, "Principals"))),
                ", ".join(sorted(_texts(now, "ResourceArns"))),
            )
            yield _row(
                resource,
                with_whom,
                tuple(new),
                f"{resource.path} now shares {what} with {with_whom}",
                severity=Severity.DANGER,
                flags={PermissionFlag.CROSS_ACCOUNT},
            )
            return


def _public_address(missing: bool) -> Callable[..., Iterator[PermissionChange]]:
    """A database with a public address, which its security groups and the routes of its subnets still guard.

    Args:
        missing: what nothing stands for.
    """

    def changes(
        resource: Resource, was: Mapping[str, Any] | None, now: Mapping[str, Any]
    ) -> Iterator[PermissionChange]:
        def is_public(properties: Mapping[str, Any]) -> bool:
            return str(properties.get("PubliclyAccessible", missing)).lower() == "true"

        old, new = was is not None and is_public(was), is_public(now)
        if new and not old:
            yield _row(
                resource,
                "anyone",
                ("PubliclyAccessible",),
                f"{resource.path} has a public address: whom its security groups and routes let through reaches it from the"
                " internet",
                severity=Severity.DANGER,
                flags={PermissionFlag.PUBLIC},
            )
        elif old and not new:
            yield _row(
                resource,
                "anyone",
                ("PubliclyAccessible",),
                f"{resource.path} has no public address any more",
                wider=False,
            )

    return changes


_SWITCHES: Mapping[str, Callable[..., Iterator[PermissionChange]]] = {
    "AWS::S3::Bucket": _bucket,
    "AWS::Lambda::Url": _authorization("AuthType", "The URL"),
    "AWS::ApiGatewayV2::Route": _authorization("AuthorizationType", "The route"),
    "AWS::ApiGateway::Method": _authorization("AuthorizationType", "The method"),
    "AWS::IAM::OIDCProvider": _provider,
    "AWS::IAM::SAMLProvider": _provider,
    "AWS::RAM::ResourceShare": _share,
    # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html
    "AWS::RDS::DBInstance": _public_address(missing=False),
    "AWS::RDS::DBCluster": _public_address(missing=False),
    "AWS::Redshift::Cluster": _public_address(missing=False),
    "AWS::RedshiftServerless::Workgroup": _public_address(missing=False),
    "AWS::AmazonMQ::Broker": _public_address(missing=False),
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dms-replicationinstance.html
    "AWS::DMS::ReplicationInstance": _public_address(missing=True),
}


def _row(
    resource: Resource,
    principal: str,
    actions: tuple[str, ...],
    sentence: str,
    *,
    wider: bool = True,
    severity: Severity = Severity.NOTICE,
    flags: set[PermissionFlag] | None = None,
    kind: str = "resource",
) -> PermissionChange:
    return PermissionChange(
        direction="wider" if wider else "narrower",
        kind=kind,  # type: ignore[arg-type]
        resource=resource,
        principal=principal,
        actions=actions,
        access_levels=(),
        targets=(resource.path,),
        conditions=(),
        severity=severity,
        sentence=sentence,
        flags=frozenset(flags or ()),
    )
