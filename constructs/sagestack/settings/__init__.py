"""The environments and the models, typed: read by the stacks and by the command line alike. Imports no CDK."""

from sagestack.settings.accounts import LOCAL_ACCOUNT
from sagestack.settings.delivery import (
    AwsPipeline,
    Delivery,
    DeliveryStage,
    GitHubDelivery,
    github_delivery,
    load_delivery,
)
from sagestack.settings.environment import Environment, Network, Retention
from sagestack.settings.environment_reading import load_environment, load_sources
from sagestack.settings.errors import SettingsError
from sagestack.settings.fit import check_fit
from sagestack.settings.git import Git
from sagestack.settings.hosting import (
    AllAtOnce,
    Asynchronous,
    Autoscaling,
    Canary,
    DataCapture,
    FrontDoor,
    Hosting,
    InferenceComponents,
    JwtAuthorizer,
    Linear,
    RealTime,
    RollbackLimits,
    Rolling,
    ScheduledSize,
    Serverless,
    Shadow,
    Update,
    Variant,
)
from sagestack.settings.hosting_checks import check_hosting
from sagestack.settings.instance_types import Architecture, architecture, check_instance_type, takes_volume_key
from sagestack.settings.kept import kept_by_endpoint
from sagestack.settings.model import Model, Quality, Serving, load_model, load_models
from sagestack.settings.model_in_environment import ModelSettings, PipelineSize
from sagestack.settings.names import DeliveryNames, EnvironmentNames, ModelNames
from sagestack.settings.pins import write_pin
from sagestack.settings.project_files import (
    LOCAL,
    PROJECT_ROOT,
    environment_file,
    known_environments,
    model_folders,
    pins_file,
)

__all__ = [
    "LOCAL",
    "LOCAL_ACCOUNT",
    "PROJECT_ROOT",
    "AllAtOnce",
    "Architecture",
    "Asynchronous",
    "Autoscaling",
    "AwsPipeline",
    "Canary",
    "DataCapture",
    "Delivery",
    "DeliveryNames",
    "DeliveryStage",
    "Environment",
    "EnvironmentNames",
    "FrontDoor",
    "Git",
    "GitHubDelivery",
    "Hosting",
    "InferenceComponents",
    "JwtAuthorizer",
    "Linear",
    "Model",
    "ModelNames",
    "ModelSettings",
    "Network",
    "PipelineSize",
    "Quality",
    "RealTime",
    "Retention",
    "RollbackLimits",
    "Rolling",
    "ScheduledSize",
    "Serverless",
    "Serving",
    "SettingsError",
    "Shadow",
    "Update",
    "Variant",
    "architecture",
    "check_fit",
    "check_hosting",
    "check_instance_type",
    "environment_file",
    "github_delivery",
    "kept_by_endpoint",
    "known_environments",
    "load_delivery",
    "load_environment",
    "load_model",
    "load_models",
    "load_sources",
    "model_folders",
    "pins_file",
    "takes_volume_key",
    "write_pin",
]
