"""InvokeEndpoint for an inference component: to one of its copies and back. Runs on the event loop.

The messages are SageMaker's.
"""

from __future__ import annotations

import asyncio
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker.hosting import container_route, endpoint_metrics
from local_cloud.sagemaker.hosting.container_calls import Unreachable
from local_cloud.sagemaker.hosting.hosting import hosting_of, key_for
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.invocation_answers import Answer, answer_of, error
from local_cloud.sagemaker.hosting.router import Router
from local_cloud.sagemaker.inference_components import inference_components_moves
from local_cloud.sagemaker.inference_components.inference_components_copies import LOG_GROUP, components_of
from local_cloud.sagemaker.inference_components.inference_components_metrics import ComponentInvocation, NoCapacity
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.service import Sagemaker

COMPONENT = "x-amzn-sagemaker-inference-component"
_NAME_REQUIRED = (
    "Inference Component Name header is required for endpoints to which you plan to deploy inference components. Please "
    "include Inference Component Name header or consider using SageMaker models."
)
_NAME_NOT_ALLOWED = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference components. "
    "Please remove the Inference Component Name header and try again."
)
_NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if configured) "
    "or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)


def hosts_components(router: Router) -> bool:
    """Whether an endpoint is one for inference components."""
    return any(not variant.specs for fleet in router.fleets for variant in fleet.variants.values())


def refusal(router: Router, headers: dict[str, str]) -> Answer | None:
    """The answer to a request that names a component where there are none, or none where there are; None if it fits."""
    if hosts_components(router) == (COMPONENT in headers):
        return None
    return error(400, "ValidationError", _NAME_NOT_ALLOWED if COMPONENT in headers else _NAME_REQUIRED)


async def invoke(
    service: Sagemaker, caller: Caller, endpoint: str, headers: dict[str, str], body: bytes, received: float
) -> Answer:
    """Answer InvokeEndpoint for the component that the headers name.

    Args:
        service: the service.
        caller: who calls.
        endpoint: the endpoint's name.
        headers: of the request, in lower case.
        body: of the request.
        received: when it came, of the clock `time.perf_counter`.
    """
    name = headers[COMPONENT]
    key, components = key_for(caller, name), components_of(hosting_of(service))
    recorder = endpoint_metrics.recorder_of(service)
    tried: list[Instance] = []
    serves = components.serves(key, name, key_for(caller, endpoint))
    while serves and (copy := components.pick(key, tried)) is not None:
        variant, instance = copy
        if refused := container_route.refusal(endpoint, variant, headers):
            return error(400, "ValidationError", refused)
        copies = components.ready(key)
        concurrent = 1 + sum(each.in_flight for _, each in copies)
        instance.in_flight += 1
        try:
            outcome = await container_route.carry(service, variant, instance, headers, body)
        except Unreachable:
            tried.append(instance)
            continue
        finally:
            instance.in_flight -= 1
        recorder.record(
            caller.region,
            ComponentInvocation(
                component=name,
                copies=len(copies),
                concurrent=concurrent,
                status=outcome.reply.status,
                model_s=outcome.model_s,
                total_s=time.perf_counter() - received,
            ),
        )
        return answer_of(caller, endpoint, variant.name, outcome, LOG_GROUP + name)
    missing = await asyncio.to_thread(_missing, service, caller, endpoint, name)
    if missing is None:
        recorder.record(caller.region, NoCapacity(name))
    return error(400, "ValidationError", missing or _NO_CAPACITY)


def _missing(service: Sagemaker, caller: Caller, endpoint: str, name: str) -> str | None:
    """What to answer if an endpoint has no such component; it reads the store, so not on the event loop."""
    kind = inference_components_moves.KIND
    document = service.store.get(kind, caller.account, caller.region, key_of(name))
    if document is None or document["InferenceComponentName"] != name or document["EndpointName"] != endpoint:
        return f"Inference Component {name} of account {caller.account} not found on endpoint {endpoint}."
    return None
