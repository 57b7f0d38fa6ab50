"""The environments and the models, typed: read by the stacks and by the command line alike. Imports no CDK."""

from sagestack.settings.environment import (
    LOCAL,
    LOCAL_ACCOUNT,
    PROJECT_ROOT,
    EndpointSize,
    Environment,
    ModelSettings,
    Network,
    PipelineSize,
    Retention,
    environment_file,
    known_environments,
    load_environment,
    model_folders,
    pins_file,
)
from sagestack.settings.errors import SettingsError
from sagestack.settings.instance_types import Architecture, architecture, check_instance_type, takes_volume_key
from sagestack.settings.model import Model, Quality, Serving, load_model, load_models
from sagestack.settings.names import EnvironmentNames, ModelNames
from sagestack.settings.pins import write_pin

__all__ = [
    "LOCAL",
    "LOCAL_ACCOUNT",
    "PROJECT_ROOT",
    "Architecture",
    "EndpointSize",
    "Environment",
    "EnvironmentNames",
    "Model",
    "ModelNames",
    "ModelSettings",
    "Network",
    "PipelineSize",
    "Quality",
    "Retention",
    "Serving",
    "SettingsError",
    "architecture",
    "check_instance_type",
    "environment_file",
    "known_environments",
    "load_environment",
    "load_model",
    "load_models",
    "model_folders",
    "pins_file",
    "takes_volume_key",
    "write_pin",
]
