"""The settings of apps as SageMaker's requests have them: for a domain, for its shared spaces and, in part, for one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagestack.settings.workbench.studio import AppType, IdleShutdown, Storage
from sagestack.settings.workbench.studio_people import takes_space_type
from sagestack.workbench.studio.custom_image import CustomImage
from sagestack.workbench.studio.studio_lifecycle_config import StudioLifecycleConfig

API_NAMES: Mapping[AppType, str] = {"jupyter-lab": "JupyterLab", "code-editor": "CodeEditor"}
_KEYS: Mapping[AppType, str] = {"jupyter-lab": "jupyter_lab_app_settings", "code-editor": "code_editor_app_settings"}


@dataclass(frozen=True)
class Software:
    """What apps can be started with: scripts and images of the domain, by name."""

    lifecycle_configs: Mapping[str, StudioLifecycleConfig]
    images: Mapping[str, CustomImage]

    def lifecycle_configs_for(self, app: AppType) -> Sequence[StudioLifecycleConfig]:
        """Those that people choose from."""
        return [each for each in self.lifecycle_configs.values() if each.app == app and not each.is_always]

    def built_in_for(self, app: AppType) -> StudioLifecycleConfig | None:
        """The one that SageMaker runs before the chosen one, as the domain has it when the app starts:
        https://docs.aws.amazon.com/sagemaker/latest/dg/studio-lifecycle-configurations.html"""
        return next((each for each in self.lifecycle_configs.values() if each.app == app and each.is_always), None)

    def images_for(self, app: AppType) -> Sequence[CustomImage]:
        return [each for each in self.images.values() if each.app == app]

    def resource_spec(
        self, app: AppType, *, instance_type: str | None, lifecycle_config: str | None = None
    ) -> dict[str, Any]:
        """What an app starts on (None: as the domain says), with the script that was asked for or is the default, and the
        default image."""
        chosen = (
            self.lifecycle_configs[lifecycle_config]
            if lifecycle_config
            else next((each for each in self.lifecycle_configs_for(app) if each.is_default), None)
        )
        image = next((each for each in self.images_for(app) if each.is_default), None)
        return {
            **({"instance_type": instance_type} if instance_type else {}),
            **({"lifecycle_config_arn": chosen.lifecycle_config_arn} if chosen else {}),
            **(
                {"sage_maker_image_arn": image.image_arn, "sage_maker_image_version_arn": image.image_version_arn}
                if image
                else {}
            ),
        }

    def app_settings(self, *, instance_type: str, idle: IdleShutdown | None, storage: Storage) -> dict[str, Any]:
        """The part of the settings of a domain that is about apps."""
        return {
            **{key: self._app(app, instance_type, idle) for app, key in _KEYS.items()},
            "space_storage_settings": storage_settings(storage),
        }

    def shared_space_settings(
        self, *, instance_type: str, idle: IdleShutdown | None, storage: Storage
    ) -> dict[str, Any]:
        """The same for shared spaces, which have JupyterLab alone."""
        return {
            _KEYS["jupyter-lab"]: self._app("jupyter-lab", instance_type, idle),
            "space_storage_settings": storage_settings(storage),
        }

    def space_app_settings(self, app: AppType, *, instance_type: str, lifecycle_config: str | None) -> dict[str, Any]:
        """The settings of the one app of a space. A type that CloudFormation does not take there is the domain's own: settings
        refuse any other."""
        said = instance_type if takes_space_type(instance_type) else None
        spec = self.resource_spec(app, instance_type=said, lifecycle_config=lifecycle_config)
        return {"app_type": API_NAMES[app], **({_KEYS[app]: {"default_resource_spec": spec}} if spec else {})}

    def _app(self, app: AppType, instance_type: str, idle: IdleShutdown | None) -> dict[str, Any]:
        built_in = self.built_in_for(app)
        return {
            **({"built_in_lifecycle_config_arn": built_in.lifecycle_config_arn} if built_in else {}),
            "default_resource_spec": self.resource_spec(app, instance_type=instance_type),
            "lifecycle_config_arns": [each.lifecycle_config_arn for each in self.lifecycle_configs_for(app)],
            "custom_images": [each.setting for each in self.images_for(app)],
            "app_lifecycle_management": {"idle_settings": idle_settings(idle)},
        }


def idle_settings(idle: IdleShutdown | None) -> dict[str, Any]:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_IdleSettings.html"""
    if idle is None:
        return {"lifecycle_management": "DISABLED"}
    return {
        "lifecycle_management": "ENABLED",
        "idle_timeout_in_minutes": idle.minutes,
        "min_idle_timeout_in_minutes": idle.shortest,
        "max_idle_timeout_in_minutes": idle.longest,
    }


def storage_settings(storage: Storage) -> dict[str, Any]:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DefaultEbsStorageSettings.html"""
    return {
        "default_ebs_storage_settings": {
            "default_ebs_volume_size_in_gb": storage.default_gb,
            "maximum_ebs_volume_size_in_gb": storage.max_gb,
        }
    }
