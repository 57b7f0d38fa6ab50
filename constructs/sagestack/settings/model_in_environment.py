"""What one environment does with one model: which version it serves and how, and on what it trains."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.accounts import Account
from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit
from sagestack.settings.hosting import Hosting, RealTime
from sagestack.settings.hosting_checks import hosting_problems
from sagestack.settings.instance_types import check_instance_type

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
ServedVersion = Annotated[
    int | None,
    Field(ge=1),
    Allowed("the number of a version in the model registry, or null while none is served"),
]
TrainingType = Annotated[str, AfterValidator(lambda t: check_instance_type(t, "training")), Allowed("like ml.m5.large")]
ProcessingType = Annotated[
    str, AfterValidator(lambda t: check_instance_type(t, "processing")), Allowed("like ml.m5.large")
]


class Spot(Settings):
    """Training on capacity that AWS may take back: cheaper, and it may take longer."""

    max_wait_in_seconds: Annotated[
        int, Field(ge=60, le=2419200), Allowed("a whole number of seconds, 60 to 2419200 (28 days)")
    ]


class PipelineSize(Settings):
    """What a model is prepared, trained and evaluated on."""

    processing_instance_type: ProcessingType
    training_instance_type: TrainingType
    volume_size_in_gb: Annotated[int, Field(ge=1, le=16384), Allowed("a whole number of GB, 1 to 16384")]
    # A processing job may run for 9 days at most; a training job longer, but one number serves both.
    max_runtime_in_seconds: Annotated[
        int, Field(ge=60, le=777600), Allowed("a whole number of seconds, 60 to 777600 (9 days)")
    ]
    training_instance_count: Annotated[int, Field(ge=1, le=100), Allowed("a whole number, 1 to 100")]
    spot: Annotated[Spot | None, Allowed("null, or max_wait_in_seconds")]

    @model_validator(mode="after")
    def _wait_includes_the_run(self) -> PipelineSize:
        if self.spot is not None and self.spot.max_wait_in_seconds < self.max_runtime_in_seconds:
            raise ValueError(
                f"spot.max_wait_in_seconds is {self.spot.max_wait_in_seconds}, and must be at least"
                f" max_runtime_in_seconds ({self.max_runtime_in_seconds}): it counts the waiting and the run together"
            )
        return self


class ModelSettings(Settings):
    """What one environment does with one model."""

    served_version: ServedVersion
    endpoint: Hosting
    pipeline: PipelineSize
    versions_from: Annotated[str | None, Allowed("the name of another environment, or null")] = None
    """The environment whose registry the served version is in; null: this one's own."""
    deployable_from: Annotated[list[Account], Allowed("accounts that may deploy this environment's versions")] = []

    @property
    def is_served(self) -> bool:
        """Whether there is an endpoint."""
        return self.served_version is not None or self.serves_archives

    @property
    def serves_archives(self) -> bool:
        """Whether the endpoint serves whatever archives there are, rather than a version."""
        return isinstance(self.endpoint, RealTime) and self.endpoint.serves_archives

    @model_validator(mode="after")
    def _endpoint_fits_together(self) -> ModelSettings:
        if problems := hosting_problems(self.endpoint):
            raise Misfit(*((("endpoint", *path), text) for path, text in problems))
        return self

    @model_validator(mode="after")
    def _archives_have_no_version(self) -> ModelSettings:
        if self.serves_archives and self.served_version is not None:
            raise Misfit(
                (
                    ("served_version",),
                    f"{self.served_version}, and endpoint.serves_archives: an endpoint of many models serves the archives"
                    " below its prefix, not a version; write null",
                )
            )
        return self
