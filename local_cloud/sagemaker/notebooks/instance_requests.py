"""What requests for notebook instances are checked for beyond their shapes: what AWS would find out minutes later, or refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.notebooks import code_repositories, lifecycle_configs
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document

SESSION = "SageMaker"
"""The session that an instance's role is assumed with: it ends the ARN that `GetCallerIdentity` tells on an instance."""
ENDED_PLATFORMS = ("notebook-al1-v1", "notebook-al2-v1", "notebook-al2-v2", "notebook-al2-v3")
"""The API still has them in its pattern; SageMaker refuses the second in these words, and the others have ended, too:
https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-al2.html"""


def check(service: Sagemaker, caller: Caller, request: Request, current: Document | None = None) -> None:
    """Check what a request to create or update an instance asks for.

    Args:
        service: the service.
        caller: who asks.
        request: with the members of the API.
        current: the instance that is updated.

    Raises:
        ValidationError: something in it does not exist or does not go together.
        AccessDenied: the caller may not pass the role.
    """
    if request.get("AcceleratorTypes"):
        raise ValidationError("AcceleratorTypes is no longer supported: Elastic Inference is no longer available.")
    platform = request.get("PlatformIdentifier")
    if platform in ENDED_PLATFORMS:
        raise ValidationError(f"Platform identifier ({platform}) is not supported for this service.")
    if role_arn := request.get("RoleArn"):
        _check_role(service, caller, role_arn)
    if name := request.get("LifecycleConfigName"):
        lifecycle_configs.find(service, caller, name)
    if references(request):
        # Others of the instance may be gone by now; its next start says so.
        check_repositories(service, caller, {**(current or {}), **request})
    _check_network(service, caller, request, current)
    if key := request.get("KmsKeyId"):
        _check_key(service, caller, key)


def references(document: Document) -> list[str]:
    """The names and addresses of an instance's repositories, the default one first."""
    default = document.get("DefaultCodeRepository")
    return [*([default] if default else []), *(document.get("AdditionalCodeRepositories") or [])]


def check_repositories(service: Sagemaker, caller: Caller, document: Document) -> None:
    """Refuse repositories that are not there, or that would be cloned into one folder.

    Raises:
        ValidationError: so it is.
    """
    found: dict[str, str] = {}
    for reference in references(document):
        folder = code_repositories.resolved(service, caller, reference).folder
        if folder in found:
            raise ValidationError(
                f"The repositories {found[folder]} and {reference} would both be cloned into SageMaker/{folder}."
            )
        found[folder] = reference


def _check_role(service: Sagemaker, caller: Caller, role_arn: str) -> None:
    service.check_pass_role(caller, role_arn)
    try:
        service.platform.forget_session(service.platform.assume_role(role_arn, SESSION))
    except RoleRefused as error:
        raise ValidationError(str(error)) from error


def _check_network(service: Sagemaker, caller: Caller, request: Request, current: Document | None) -> None:
    subnet = request.get("SubnetId") or (current or {}).get("SubnetId")
    groups = request.get("SecurityGroupIds") or []
    if request.get("DirectInternetAccess") == "Disabled" and not subnet:
        raise ValidationError(
            "DirectInternetAccess can be Disabled only with a SubnetId: without either, the instance would reach nothing."
        )
    if groups and not subnet:
        raise ValidationError(f"SecurityGroupIds ({', '.join(groups)}) need a SubnetId.")
    if request.get("SubnetId") and not groups:
        raise ValidationError(f"SubnetId ({subnet}) needs SecurityGroupIds, 1 to 5 of the subnet's VPC.")
    dual = request.get("IpAddressType") == "dualstack"
    if dual and not subnet:
        raise ValidationError("IpAddressType dualstack needs a SubnetId whose subnet has an IPv6 CIDR block.")
    if not subnet or not (request.get("SubnetId") or dual):
        return
    found = _subnet(service, caller, subnet)
    if dual and not found.get("Ipv6CidrBlockAssociationSet"):
        raise ValidationError(f"IpAddressType dualstack: the subnet {subnet} has no IPv6 CIDR block.")
    _check_groups(service, caller, groups, subnet, str(found["VpcId"]))


def _subnet(service: Sagemaker, caller: Caller, subnet: str) -> dict[str, Any]:
    ec2 = service.platform.client("ec2", caller.region)
    try:
        found: list[dict[str, Any]] = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
    except ClientError as error:
        raise ValidationError(error.response["Error"]["Message"]) from error
    if not found:
        raise ValidationError(f"The subnet ID '{subnet}' does not exist")
    return found[0]


def _check_groups(service: Sagemaker, caller: Caller, groups: Sequence[str], subnet: str, vpc: str) -> None:
    if not groups:
        return
    ec2 = service.platform.client("ec2", caller.region)
    try:
        found = ec2.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    except ClientError as error:
        raise ValidationError(error.response["Error"]["Message"]) from error
    vpcs = {str(group["GroupId"]): str(group.get("VpcId")) for group in found}
    for group in groups:
        if group not in vpcs:
            raise ValidationError(f"The security group '{group}' does not exist")
        if vpcs[group] != vpc:
            raise ValidationError(
                f"The security group {group} is of {vpcs[group]}, and the subnet {subnet} of {vpc}: they must be of one VPC."
            )


def _check_key(service: Sagemaker, caller: Caller, key: str) -> None:
    try:
        found = service.platform.client("kms", caller.region).describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        raise ValidationError(f"KmsKeyId {key}: {error.response['Error']['Message']}") from error
    if found.get("KeyState") != "Enabled":
        raise ValidationError(f"KmsKeyId {key}: the key is {found.get('KeyState')}; it must be Enabled.")
