"""Typed builders of SageMaker pipeline definitions, checked offline against the service's own model.

`PipelineDefinition(parameters=..., steps=...)` is the way in; docs/reference/pipeline-builders.md shows it whole.
Nothing in here imports the CDK.
"""

from sagestack.pipeline.arguments import channel, hyperparameters, processing_input, processing_output
from sagestack.pipeline.conditions import (
    Condition,
    Equals,
    GreaterThan,
    GreaterThanOrEqualTo,
    In,
    LessThan,
    LessThanOrEqualTo,
    Not,
    Or,
)
from sagestack.pipeline.definition import SCHEMA_VERSION, PipelineDefinition
from sagestack.pipeline.errors import PipelineError
from sagestack.pipeline.parameters import (
    BooleanParameter,
    FloatParameter,
    IntegerParameter,
    Parameter,
    StringParameter,
)
from sagestack.pipeline.policies import CacheConfig, RetryOn, RetryPolicy
from sagestack.pipeline.steps import (
    ConditionStep,
    FailStep,
    ProcessingStep,
    PropertyFile,
    RegisterModelStep,
    Step,
    TrainingStep,
)
from sagestack.pipeline.values import ExecutionVariables, Join, JsonGet, Property, Scalar, Value

__all__ = [
    "SCHEMA_VERSION",
    "BooleanParameter",
    "CacheConfig",
    "Condition",
    "ConditionStep",
    "Equals",
    "ExecutionVariables",
    "FailStep",
    "FloatParameter",
    "GreaterThan",
    "GreaterThanOrEqualTo",
    "In",
    "IntegerParameter",
    "Join",
    "JsonGet",
    "LessThan",
    "LessThanOrEqualTo",
    "Not",
    "Or",
    "Parameter",
    "PipelineDefinition",
    "PipelineError",
    "ProcessingStep",
    "Property",
    "PropertyFile",
    "RegisterModelStep",
    "RetryOn",
    "RetryPolicy",
    "Scalar",
    "Step",
    "StringParameter",
    "TrainingStep",
    "Value",
    "channel",
    "hyperparameters",
    "processing_input",
    "processing_output",
]
