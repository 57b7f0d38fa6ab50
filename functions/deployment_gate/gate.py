"""One look at an endpoint that was deployed: is it what was wanted, and does it answer what it must?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import live, versions
from .asking import Target, ask_all
from .queueing import Queue


@dataclass(frozen=True)
class Clients:
    """What the gate talks to, as boto3 clients."""

    sagemaker: Any
    runtime: Any
    s3: Any
    cloudformation: Any


@dataclass(frozen=True)
class Question:
    """Golden records, and whom they are for.

    Attributes:
        model_package_arn: the version whose records they are.
        what: how messages name who is asked.
        addressed: the members of InvokeEndpoint that pick a part of the endpoint.
    """

    model_package_arn: str
    what: str
    addressed: Mapping[str, str]


class Gate:
    """What is wanted of an endpoint, from the properties of the custom resource (in which all numbers are text)."""

    def __init__(self, clients: Clients, properties: Mapping[str, Any], request_id: str) -> None:
        """Take the properties; `request_id` tells this deployment from others."""
        self._clients = clients
        self._request_id = request_id
        self._endpoint: str = properties["EndpointName"]
        self._config: str = properties["EndpointConfigName"]
        self._variants = [live.WantedVariant.of(wanted) for wanted in properties["Variants"]]
        self._shadows = [live.WantedVariant.of(wanted) for wanted in properties.get("ShadowVariants", [])]
        self._components = [live.WantedVariant.of(wanted) for wanted in properties.get("InferenceComponents", [])]
        self._input_uri: str | None = properties.get("AsyncInputUri")
        self._questions = [
            Question(wanted["ModelPackageArn"], wanted["What"], wanted.get("Addressed", {}))
            for wanted in properties["Questions"]
        ]

    def passes(self, until: float) -> bool:
        """Whether everything is right; False where it is too early to say.

        Args:
            until: the time (`time.monotonic`) at which an endpoint that does not answer is given up.

        Raises:
            Problem: something is not right, and will not be.
        """
        sagemaker = self._clients.sagemaker
        described = sagemaker.describe_endpoint(EndpointName=self._endpoint)
        if not live.is_settled(described):
            return False
        live.compare(sagemaker, described, self._config, self._variants, self._shadows)
        if not live.components_settled(sagemaker, self._components):
            return False
        # Every question is asked, even where an earlier one has no answer yet.
        answered = [self._is_answered(question, until) for question in self._questions]
        return all(answered)

    def _is_answered(self, question: Question, until: float) -> bool:
        version = versions.find(self._clients.sagemaker, question.model_package_arn)
        golden = versions.read(self._clients.s3, version)
        what = f"{question.what} ({version.name})"
        if self._input_uri:
            queue = Queue(
                self._clients.runtime,
                self._clients.s3,
                endpoint=self._endpoint,
                input_uri=self._input_uri,
                request_id=f"{self._request_id}/{version.arn.rpartition('/')[2]}",
            )
            return queue.ask_all(what, golden)
        ask_all(self._clients.runtime, Target(self._endpoint, what, question.addressed), golden, until=until)
        return True
