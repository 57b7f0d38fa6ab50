"""What an environment is expected to do in a month: what the part of its cost that nobody pays while it idles depends on."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.names import ModelNames

HOURS_PER_MONTH = 730
"""As AWS counts a month: 365 x 24 / 12 hours. https://docs.aws.amazon.com/pricing-calculator/latest/userguide/what-is-pricing-calculator.html"""

Amount = Annotated[float, Field(ge=0, le=1e12), Allowed("a number, 0 or more")]
Seconds = Annotated[float, Field(gt=0, le=3600), Allowed("seconds, more than 0, up to 3600")]


class ModelLoad(Settings):
    """What is asked of one model, and how often it is trained.

    The defaults are a small service's. They are there so that two sides of a change are compared at the same load; whoever
    wants the bill states the real one.
    """

    requests_per_second: Amount = 1.0
    """The mean of the month, all variants together."""
    request_seconds: Seconds = 0.1
    """How long a container works on one request."""
    request_kb: Amount = 4.0
    answer_kb: Amount = 1.0
    training_runs: Amount = 4.0
    """Executions of the model's pipeline."""
    job_minutes: Annotated[float | None, Field(gt=0, le=40320), Allowed("minutes, more than 0, or null")] = None
    """How long a job of the pipeline takes; null: as long as it may, which is an upper bound."""

    @property
    def requests(self) -> float:
        """In a month."""
        return self.requests_per_second * HOURS_PER_MONTH * 3600


class Load(ModelLoad):
    """One month of an environment. What is not said below `models.NAME` holds for every model."""

    notebook_hours: Annotated[float, Field(ge=0, le=HOURS_PER_MONTH), Allowed("hours, 0 to 730")] = 80.0
    """How long each notebook that stops by itself runs; one that does not runs all 730."""
    stored_gb: Amount = 10.0
    """In each bucket and file system."""
    object_writes: Amount = 10_000.0
    """To each bucket."""
    object_reads: Amount = 100_000.0
    log_gb: Amount = 0.1
    """Written to each log group."""
    network_gb: Amount = 10.0
    """Through each NAT gateway and each interface endpoint."""
    function_calls: Amount = 1_000.0
    """Of each function, execution, topic and queue that no request of a model goes through."""
    function_seconds: Seconds = 1.0
    image_gb: Amount = 2.0
    """In each repository of images."""
    models: Annotated[
        dict[str, ModelLoad], Allowed("names of models, each with some of the keys that say load per model")
    ] = {}

    def of(self, model: str) -> ModelLoad:
        """What is expected of one model: what is said of it, and for the rest what is said of all."""
        common = {name: getattr(self, name) for name in ModelLoad.model_fields}
        own = self.models.get(model)
        return ModelLoad(**{**common, **({name: getattr(own, name) for name in own.model_fields_set} if own else {})})

    def of_stack(self, environment: str, stack: str) -> ModelLoad:
        """Of the model that a stack is about, by its name: `sagestack-prod-housing-serving` is about `housing`."""
        owners = (name for name in self.models if self._is_about(stack, ModelNames(environment, name)))
        return self.of(next(owners, ""))

    @staticmethod
    def _is_about(stack: str, names: ModelNames) -> bool:
        # One word behind the model's name: the stacks of `housing-in-town` are not about `housing`.
        return re.fullmatch(rf"{re.escape(names.pipeline)}-[a-z]+", stack) is not None

    @property
    def in_words(self) -> str:
        """For a report: `1 request a second, 4 runs of each pipeline, ...`."""
        said = [
            f"{_counted(self.requests_per_second, 'request')} a second and model, {self.request_seconds:g} s each,"
            f" {self.request_kb:g} kB in and {self.answer_kb:g} kB out",
            f"{_counted(self.training_runs, 'run')} of each pipeline, "
            + (f"{self.job_minutes:g} min a job" if self.job_minutes else "jobs as long as they may be"),
            f"{self.notebook_hours:g} h of a notebook that stops by itself",
            f"{self.stored_gb:g} GB in a bucket",
            f"{self.log_gb:g} GB into a log group",
            f"{self.network_gb:g} GB through a NAT gateway or interface endpoint",
        ]
        said += [f"{name}: {_differences(own)}" for name, own in self.models.items() if own.model_fields_set]
        return "; ".join(said)


def _counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


def _differences(own: ModelLoad) -> str:
    """What is said of one model alone, under the keys that say it."""
    values = {name: getattr(own, name) for name in ModelLoad.model_fields if name in own.model_fields_set}
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
