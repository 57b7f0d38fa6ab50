"""Studio's resource types in templates: identifiers of several parts, statuses, and what a deletion leaves behind.

What Ref returns and which properties need a replacement follows the types' schemas in the CloudFormation registry, whose primary
identifier is what Ref gives: its parts, in the schema's order, with `|` between them. The deletion of a domain names no
RetentionPolicy, so the file system stays (its mount targets and security groups with it), and a user profile or a space with a
living app cannot be deleted, since no resource of the stack deletes that app.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SageMaker.html
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from local_cloud.sagemaker.cloudformation import Properties, Provisioned, Provisioner, ProvisioningError, ResourceType
from local_cloud.sagemaker.studio.studio_provisioner import StudioProvisioner

_RENAMED = {"ImageRoleArn": "RoleArn", "ImageDescription": "Description", "ImageDisplayName": "DisplayName"}
"""Properties of an image, and what the API calls them."""


class DomainProvisioner(StudioProvisioner):
    """A domain is known by its id."""

    identifier = ("DomainId",)

    def _change(self, key: Properties, old: Properties, new: Properties) -> None:
        settings = new.get("DomainSettings")
        # The API calls the settings otherwise in an update.
        request = {name: value for name, value in new.items() if name != "VpcId"}
        request |= {"DomainSettingsForUpdate": settings} if settings else {}
        super()._change(key, old, request)


class UserProfileProvisioner(StudioProvisioner):
    """A user profile is known by its name and its domain."""

    identifier = ("UserProfileName", "DomainId")


class SpaceProvisioner(StudioProvisioner):
    """A space is known by its domain and its name."""

    identifier = ("DomainId", "SpaceName")


class AppProvisioner(StudioProvisioner):
    """An app of a user profile: the type has no property for a space."""

    identifier = ("AppName", "AppType", "DomainId", "UserProfileName")

    def _change(self, key: Properties, old: Properties, new: Properties) -> None:
        """Nothing: only the recovery mode is left to change, which counts for the next start of the app."""

    def _gone(self, key: Properties) -> bool:
        try:
            return bool(self._call("DescribeApp", key)["Status"] == "Deleted")
        except ProvisioningError:
            return True

    def _remove_failed(self, key: Properties) -> None:
        """Nothing: an app that failed cannot be deleted, and stands in nobody's way."""


class LifecycleConfigProvisioner(StudioProvisioner):
    """A lifecycle configuration never changes in place, not even its tags."""

    identifier = ("StudioLifecycleConfigName",)


class AppImageConfigProvisioner(StudioProvisioner):
    """How a custom image is run."""

    identifier = ("AppImageConfigName",)


class ImageProvisioner(StudioProvisioner):
    """An image is known by its ARN; its properties have other names than in the API."""

    identifier = ("ImageArn",)

    def _parse(self, physical_id: str) -> Properties:
        return {"ImageName": physical_id.rpartition("/")[2]}

    def _key_of(self, members: Mapping[str, Any]) -> Properties:
        return {"ImageName": members["ImageName"]}

    def _change(self, key: Properties, old: Properties, new: Properties) -> None:
        gone = [_RENAMED[name] for name in ("ImageDescription", "ImageDisplayName") if name in old and name not in new]
        request = self._request("Update", self.kind.to_request(new)) | ({"DeleteProperties": gone} if gone else {})
        self._call("UpdateImage", {**request, **key})


class ImageVersionProvisioner(StudioProvisioner):
    """A version of an image is known by its ARN, which has its number."""

    identifier = ("ImageVersionArn",)

    def _create_request(self, properties: Properties) -> Properties:
        return {**super()._create_request(properties), "ClientToken": secrets.token_hex(16)}

    def _parse(self, physical_id: str) -> Properties:
        name, _, number = physical_id.partition(":image-version/")[2].rpartition("/")
        if not name:
            # Of our own making: the parts of the key.
            name, _, number = physical_id.rpartition("|")
        return {"ImageName": name, "Version": int(number)}

    def _key_of(self, members: Mapping[str, Any]) -> Properties:
        return self._parse(str(members["ImageVersionArn"]))

    def _change(self, key: Properties, old: Properties, new: Properties) -> None:
        before, after = set(_aliases(old)), set(_aliases(new))
        request = {name: value for name, value in self._request("Update", new).items() if name != "Alias"}
        if after - before:
            request["AliasesToAdd"] = sorted(after - before)
        if before - after:
            request["AliasesToDelete"] = sorted(before - after)
        self._call("UpdateImageVersion", {**request, **key})

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Provisioned:
        """Change aliases and properties; the type has no tags."""
        key = self._parse(physical_id)
        self._change(key, old, new)
        return self._made(key)


def _aliases(properties: Properties) -> list[str]:
    alias = properties.get("Alias")
    return [*(properties.get("Aliases") or []), *([alias] if alias else [])]


def _image_request(properties: Properties) -> Properties:
    return {_RENAMED.get(name, name): value for name, value in properties.items()}


def _app_image_config_request(properties: Properties) -> Properties:
    """Variables of a container are a list of keys and values in a template, and a map in the API."""
    request = dict(properties)
    for member in ("JupyterLabAppImageConfig", "CodeEditorAppImageConfig"):
        container = (request.get(member) or {}).get("ContainerConfig") or {}
        listed = container.get("ContainerEnvironmentVariables")
        if isinstance(listed, list):
            variables = {each["Key"]: each["Value"] for each in listed}
            changed = {**container, "ContainerEnvironmentVariables": variables}
            request[member] = {**request[member], "ContainerConfig": changed}
    return request


def _version_request(properties: Properties) -> Properties:
    # Tags of the stack come with every type; this one has none.
    request = {name: value for name, value in properties.items() if name not in ("Alias", "Aliases", "Tags")}
    return {**request, **({"Aliases": _aliases(properties)} if _aliases(properties) else {})}


RESOURCE_TYPES: dict[ResourceType, type[Provisioner]] = {
    ResourceType(
        "AWS::SageMaker::Domain",
        "Domain",
        "DomainName",
        "DomainArn",
        # The VPC may only be added where there was none, which no domain here has.
        replacing=("AuthMode", "DomainName", "KmsKeyId", "VpcId"),
        settles=True,
    ): DomainProvisioner,
    ResourceType(
        "AWS::SageMaker::UserProfile",
        "UserProfile",
        "UserProfileName",
        "UserProfileArn",
        replacing=("DomainId", "UserProfileName", "SingleSignOnUserIdentifier", "SingleSignOnUserValue"),
        settles=True,
    ): UserProfileProvisioner,
    ResourceType(
        "AWS::SageMaker::Space",
        "Space",
        "SpaceName",
        "SpaceArn",
        replacing=("DomainId", "SpaceName", "SpaceSharingSettings", "OwnershipSettings"),
        settles=True,
    ): SpaceProvisioner,
    ResourceType(
        "AWS::SageMaker::App",
        "App",
        "AppName",
        "AppArn",
        replacing=("AppName", "AppType", "DomainId", "UserProfileName", "ResourceSpec"),
        settles=True,
    ): AppProvisioner,
    ResourceType(
        "AWS::SageMaker::StudioLifecycleConfig",
        "StudioLifecycleConfig",
        "StudioLifecycleConfigName",
        "StudioLifecycleConfigArn",
        replacing=(
            "StudioLifecycleConfigAppType",
            "StudioLifecycleConfigContent",
            "StudioLifecycleConfigName",
            "Tags",
        ),
    ): LifecycleConfigProvisioner,
    ResourceType(
        "AWS::SageMaker::AppImageConfig",
        "AppImageConfig",
        "AppImageConfigName",
        "AppImageConfigArn",
        replacing=("AppImageConfigName",),
        to_request=_app_image_config_request,
    ): AppImageConfigProvisioner,
    ResourceType(
        "AWS::SageMaker::Image",
        "Image",
        "ImageName",
        "ImageArn",
        replacing=("ImageName",),
        settles=True,
        to_request=_image_request,
    ): ImageProvisioner,
    ResourceType(
        "AWS::SageMaker::ImageVersion",
        "ImageVersion",
        "ImageName",
        "ImageVersionArn",
        replacing=("ImageName", "BaseImage"),
        settles=True,
        to_request=_version_request,
    ): ImageVersionProvisioner,
}
"""How each of the types is made."""
