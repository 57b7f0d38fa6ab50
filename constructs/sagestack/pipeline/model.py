"""SageMaker's own description of its API, as botocore ships it: the reference for every shape in a definition.

Nothing here needs credentials, a region or a network: the model is a file inside botocore.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import cast

import botocore.loaders
import botocore.model


@cache
def service_model() -> botocore.model.ServiceModel:
    """SageMaker's service model. Loading it takes about a quarter of a second, hence once per process."""
    description = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    return botocore.model.ServiceModel(description, "sagemaker")


def shape(name: str) -> botocore.model.Shape:
    return service_model().shape_for(name)


@dataclass(frozen=True)
class StepKind:
    """What SageMaker does for one type of step."""

    request: str  # the shape that the step's arguments must fit
    calls: str  # the operation, for messages
    describes: str | None  # the shape that the step's properties are members of; None: it has no properties
    left_out: dict[str, str] = field(default_factory=dict)  # request members that do not belong in a step -> why
    job: bool = False  # runs a job: its failures can be retried, not only the call that starts it

    def required(self) -> frozenset[str]:
        members = cast(botocore.model.StructureShape, shape(self.request)).required_members
        return frozenset(members) - self.left_out.keys()


_NAMES_ITSELF = "Pipelines names the job of each execution itself; leave it out"

STEP_KINDS = {
    "Processing": StepKind(
        request="CreateProcessingJobRequest",
        calls="CreateProcessingJob",
        describes="DescribeProcessingJobResponse",
        left_out={"ProcessingJobName": _NAMES_ITSELF},
        job=True,
    ),
    "Training": StepKind(
        request="CreateTrainingJobRequest",
        calls="CreateTrainingJob",
        describes="DescribeTrainingJobResponse",
        left_out={"TrainingJobName": _NAMES_ITSELF},
        job=True,
    ),
    "RegisterModel": StepKind(
        request="CreateModelPackageInput",
        calls="CreateModelPackage",
        describes="DescribeModelPackageOutput",
        left_out={
            "ModelPackageName": "a fixed name can be registered only once, so the second execution would fail; "
            "give ModelPackageGroupName, which numbers its versions",
            "CertifyForMarketplace": "the pipelines service refuses it; leave it out",
            "ClientToken": "a fixed token would make every execution return the first one's package; leave it out",
        },
    ),
    "Condition": StepKind(request="", calls="a Condition step", describes="ConditionStepMetadata"),
    "Fail": StepKind(request="FailStepMetadata", calls="a Fail step", describes=None),
}

# Members of lists that a reference may pick by name, `Outputs['train']`, and the member that holds the name.
# Source: "Data Dependency - Property Reference" in the SageMaker Python SDK's documentation of Pipelines, to which
# https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps.html refers.
NAMED_LISTS = {
    "ProcessingOutputs": "OutputName",
    "ProcessingInputs": "InputName",
    "InputDataConfig": "ChannelName",
    "FinalMetricDataList": "MetricName",
}
