"""What the settings of domains, user profiles and spaces are checked for, and what is refused by name.

Which setting goes with which is said in the API reference of UserSettings, SpaceSettings, ResourceSpec, IdleSettings and
DefaultEbsStorageSettings: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UserSettings.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.request_checks import refuse, refuse_members
from local_cloud.sagemaker.service import Sagemaker, name_of
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import app_image_configs, image_versions, images, studio_lifecycle_configs

NONE = "None"
"""How the API clears an ARN in settings."""
APP_SETTINGS = {
    "JupyterServerAppSettings": "JupyterServer",
    "KernelGatewayAppSettings": "KernelGateway",
    "JupyterLabAppSettings": "JupyterLab",
    "CodeEditorAppSettings": "CodeEditor",
}
"""The members with the settings of a type of app."""
MAX_SECURITY_GROUPS = 4
"""SageMaker adds one of its own, so one less than the API's five may be given (UserSettings)."""
MAX_CUSTOM_IMAGES = 5
"""Custom images of a user profile or a space; a domain may have the 200 that the shape allows (KernelGatewayAppSettings)."""
DEFAULT_VOLUME_GB = 5
MAX_VOLUME_GB = 100
"""The size of a space's volume where nothing else is said, and the largest that its owner may then ask for, in GB.
https://docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-jl-admin-guide-storage.html"""
_NOT_HERE = {
    "CanvasAppSettings": "SageMaker Canvas",
    "RSessionAppSettings": "RStudio on SageMaker",
    "TensorBoardAppSettings": "TensorBoard apps",
}


def check(
    service: Sagemaker, caller: Caller, settings: Mapping[str, Any], path: str, *, vpc_id: str, of_domain: bool
) -> None:
    """Check the settings of a domain, a user profile or a space.

    Args:
        service: SageMaker.
        caller: who asks for them; must be allowed to pass their execution role.
        settings: UserSettings, DefaultSpaceSettings or SpaceSettings.
        path: where they are, for messages.
        vpc_id: the VPC of the domain.
        of_domain: whether they are a domain's own.

    Raises:
        ApiError: they are wrong, name what is not there, or ask for what the local cloud does not have.
    """
    refuse_members(settings, _NOT_HERE, f"{path}.")
    if (settings.get("RStudioServerProAppSettings") or {}).get("AccessStatus") == "ENABLED":
        refuse(f"RStudio on SageMaker ({path}.RStudioServerProAppSettings)")
    if role := settings.get("ExecutionRole"):
        service.check_pass_role(caller, role)
    _check_groups(service, caller, settings.get("SecurityGroups") or [], f"{path}.SecurityGroups", vpc_id)
    if of_domain and settings.get("AutoMountHomeEFS") == "DefaultAsDomain":
        raise ValidationError(f"{path}.AutoMountHomeEFS DefaultAsDomain is for user profiles, not for a domain.")
    for member, app_type in APP_SETTINGS.items():
        if member in settings:
            _check_app(service, caller, settings[member], f"{path}.{member}", app_type, of_domain=of_domain)
    check_fit(settings, path)
    for config in settings.get("CustomFileSystemConfigs") or []:
        _check_file_system(service, caller, config.get("EFSFileSystemConfig"), path)
    for file_system in settings.get("CustomFileSystems") or []:
        _check_file_system(service, caller, file_system.get("EFSFileSystem"), path)


def check_fit(settings: Mapping[str, Any], path: str) -> None:
    """Check that settings fit each other, also those that an update leaves as they were.

    Raises:
        ValidationError: they do not.
    """
    landing = str(settings.get("DefaultLandingUri", ""))
    if landing.startswith("studio::") and settings.get("StudioWebPortal") == "DISABLED":
        raise ValidationError(f"{path}.DefaultLandingUri studio:: needs {path}.StudioWebPortal ENABLED.")
    for member in APP_SETTINGS:
        idle = ((settings.get(member) or {}).get("AppLifecycleManagement") or {}).get("IdleSettings") or {}
        _check_idle(idle, f"{path}.{member}")
    _check_volumes(settings.get("SpaceStorageSettings") or {}, f"{path}.SpaceStorageSettings")


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Document:
    """Settings after an update: members that it names are replaced, in structures one by one, and "None" clears an ARN.

    So the API reference describes what it takes to remove a lifecycle configuration (an empty list) or an image ("None").
    """
    result = dict(old)
    for key, value in new.items():
        if value == NONE:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def volume_limits(*levels: Mapping[str, Any]) -> tuple[int, int]:
    """The default and the largest size of a space's volume, in GB.

    Args:
        levels: the settings that may say so, the one that counts first: of the user profile, of the domain.
    """
    for settings in levels:
        if said := (settings.get("SpaceStorageSettings") or {}).get("DefaultEbsStorageSettings"):
            return said["DefaultEbsVolumeSizeInGb"], said["MaximumEbsVolumeSizeInGb"]
    return DEFAULT_VOLUME_GB, MAX_VOLUME_GB


def lifecycle_configs(settings: Mapping[str, Any]) -> Iterator[str]:
    """The ARNs of the lifecycle configurations in the settings of one type of app."""
    named = [*(settings.get("LifecycleConfigArns") or []), settings.get("BuiltInLifecycleConfigArn")]
    named.append((settings.get("DefaultResourceSpec") or {}).get("LifecycleConfigArn"))
    yield from (each for each in named if each and each != NONE)


def check_resource_spec(service: Sagemaker, caller: Caller, spec: Mapping[str, Any], path: str, app_type: str) -> None:
    """Check what an app shall run on.

    Raises:
        ValidationError: the image, its version or the lifecycle configuration is not there, or not for such an app.
    """
    if app_type == "JupyterServer" and spec.get("InstanceType") not in (None, "system"):
        raise ValidationError(
            f"{path}.InstanceType {spec['InstanceType']}: JupyterServer apps only support the system value."
        )
    if spec.get("TrainingPlanArn") not in (None, NONE):
        refuse(f"apps on the capacity of a training plan ({path}.TrainingPlanArn)")
    if (arn := spec.get("LifecycleConfigArn")) and arn != NONE:
        _check_lifecycle_config(service, caller, arn, f"{path}.LifecycleConfigArn", app_type)
    if (arn := spec.get("SageMakerImageArn")) and arn.split(":")[4] == caller.account:
        images.IMAGE.find(service, caller, name_of(arn).lower())
    if (arn := spec.get("SageMakerImageVersionArn")) and arn != NONE and arn.split(":")[4] == caller.account:
        image_versions.VERSION.find(service, caller, name_of(arn))


def _check_app(
    service: Sagemaker, caller: Caller, settings: Mapping[str, Any], path: str, app_type: str, *, of_domain: bool
) -> None:
    for arn in lifecycle_configs(settings):
        _check_lifecycle_config(service, caller, arn, path, app_type)
    check_resource_spec(
        service, caller, settings.get("DefaultResourceSpec") or {}, f"{path}.DefaultResourceSpec", app_type
    )
    custom = settings.get("CustomImages") or []
    if not of_domain and len(custom) > MAX_CUSTOM_IMAGES:
        raise ValidationError(f"{path}.CustomImages has {len(custom)} images; the limit is {MAX_CUSTOM_IMAGES}.")
    for image in custom:
        images.IMAGE.find(service, caller, image["ImageName"].lower())
        if image.get("ImageVersionNumber") is not None:
            image_versions.find(service, caller, image["ImageName"], image["ImageVersionNumber"])
        app_image_configs.CONFIG.find(service, caller, image["AppImageConfigName"])


def _check_lifecycle_config(service: Sagemaker, caller: Caller, arn: str, path: str, app_type: str) -> None:
    config = studio_lifecycle_configs.CONFIG.look_up(service, caller, name_of(arn))
    if config is None:
        raise ValidationError(f"{path}: StudioLifecycleConfig [{arn}] does not exist.")
    if config["StudioLifecycleConfigAppType"] != app_type:
        raise ValidationError(
            f"{path}: StudioLifecycleConfig [{arn}] is for apps of type {config['StudioLifecycleConfigAppType']}, "
            f"not {app_type}."
        )


def _check_idle(idle: Mapping[str, Any], path: str) -> None:
    path = f"{path}.AppLifecycleManagement.IdleSettings"
    timeout = idle.get("IdleTimeoutInMinutes")
    least, most = idle.get("MinIdleTimeoutInMinutes"), idle.get("MaxIdleTimeoutInMinutes")
    if idle.get("LifecycleManagement") == "ENABLED" and timeout is None:
        raise ValidationError(f"{path}.IdleTimeoutInMinutes is required where LifecycleManagement is ENABLED.")
    if least is not None and most is not None and least > most:
        raise ValidationError(
            f"{path}.MinIdleTimeoutInMinutes {least} must not be more than MaxIdleTimeoutInMinutes {most}."
        )
    if timeout is not None and not (least or timeout) <= timeout <= (most or timeout):
        raise ValidationError(
            f"{path}.IdleTimeoutInMinutes {timeout} must be between MinIdleTimeoutInMinutes and MaxIdleTimeoutInMinutes."
        )


def _check_volumes(storage: Mapping[str, Any], path: str) -> None:
    sizes = storage.get("DefaultEbsStorageSettings") or {}
    if sizes and sizes["DefaultEbsVolumeSizeInGb"] > sizes["MaximumEbsVolumeSizeInGb"]:
        raise ValidationError(
            f"{path}.DefaultEbsVolumeSizeInGb {sizes['DefaultEbsVolumeSizeInGb']} must not be more than "
            f"MaximumEbsVolumeSizeInGb {sizes['MaximumEbsVolumeSizeInGb']}."
        )


def _check_groups(service: Sagemaker, caller: Caller, groups: list[str], path: str, vpc_id: str) -> None:
    if len(groups) > MAX_SECURITY_GROUPS:
        raise ValidationError(
            f"{path} has {len(groups)} groups; SageMaker adds one of its own, so the limit is {MAX_SECURITY_GROUPS}."
        )
    if not groups:
        return
    try:
        found = service.platform.client("ec2", caller.region).describe_security_groups(GroupIds=groups)
    except ClientError as error:
        raise ValidationError(f"{path}: {error.response['Error']['Message']}") from None
    for group in found["SecurityGroups"]:
        if group["VpcId"] != vpc_id:
            raise ValidationError(f"{path}: security group {group['GroupId']} is not in the domain's VPC {vpc_id}.")


def _check_file_system(service: Sagemaker, caller: Caller, config: Mapping[str, Any] | None, path: str) -> None:
    if not config:
        # Of FSx for Lustre and of S3 nothing can be looked up here: the settings are kept as they are.
        return
    try:
        service.platform.client("efs", caller.region).describe_file_systems(FileSystemId=config["FileSystemId"])
    except ClientError as error:
        raise ValidationError(f"{path}: {error.response['Error'].get('Message') or config['FileSystemId']}") from None
