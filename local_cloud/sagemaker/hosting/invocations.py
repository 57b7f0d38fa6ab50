"""InvokeEndpoint: takes a request to a server and its answer back, byte by byte the same.

Runs on the event loop of the server, so nothing here may wait for anything but the network.
"""

from __future__ import annotations

import asyncio
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker.capture import data_capture_hook
from local_cloud.sagemaker.deployments.deployments import KIND
from local_cloud.sagemaker.errors import NotEmulated
from local_cloud.sagemaker.hosting import container_route, endpoint_metrics
from local_cloud.sagemaker.hosting.container_calls import MAX_BODY_BYTES, Unreachable
from local_cloud.sagemaker.hosting.endpoint_metrics import Invocation
from local_cloud.sagemaker.hosting.hosting import hosting_of, key_for
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.invocation_answers import Answer, answer_of, error
from local_cloud.sagemaker.hosting.loaded_models import TARGET_MODEL, NotReady
from local_cloud.sagemaker.hosting.model_archives import NoModel
from local_cloud.sagemaker.hosting.router import Router, UnknownVariant
from local_cloud.sagemaker.hosting.serving_containers import DIRECT
from local_cloud.sagemaker.inference_components import inference_components_invocations
from local_cloud.sagemaker.serverless import serverless_invocations
from local_cloud.sagemaker.service import Sagemaker, error_answer

_NOT_EMULATED = {
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId",
}


async def invoke(
    service: Sagemaker, caller: Caller, endpoint_name: str, headers: dict[str, str], body: bytes
) -> Answer:
    """Answer InvokeEndpoint: status, headers, body. The caller was authorized before.

    Args:
        service: the service.
        caller: who calls.
        endpoint_name: from the path; its case must be that of the endpoint (CreateEndpoint in the API reference).
        headers: of the request.
        body: of the request.
    """
    received, received_at = time.perf_counter(), time.time()
    headers = {name.lower(): value for name, value in headers.items()}
    for header, member in _NOT_EMULATED.items():
        if header in headers:
            return error_answer(NotEmulated(f"The local cloud does not emulate {member} of InvokeEndpoint."))
    if len(body) > MAX_BODY_BYTES:
        return error(
            400,
            "ValidationError",
            f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than "
            f"or equal to {MAX_BODY_BYTES}, got {len(body)}",
        )
    router = hosting_of(service).router(key_for(caller, endpoint_name))
    if router is None or router.endpoint != endpoint_name:
        return await asyncio.to_thread(_not_serving, service, caller, endpoint_name)
    if any(fleet.asynchronous for fleet in router.fleets):
        return error(
            400,
            "ValidationError",
            f"Endpoint {endpoint_name} is an asynchronous endpoint and does not support InvokeEndpoint. Use "
            "InvokeEndpointAsync.",
        )
    if refused := inference_components_invocations.refusal(router, headers):
        return refused
    if inference_components_invocations.COMPONENT in headers:
        return await inference_components_invocations.invoke(service, caller, endpoint_name, headers, body, received)
    if serverless_invocations.variant_of(router) is not None:
        return await serverless_invocations.invoke(service, caller, router, headers, body, received)
    tried: list[Instance] = []
    target_variant, target_model = headers.get("x-amzn-sagemaker-target-variant"), headers.get(TARGET_MODEL)
    while True:
        try:
            with router.lease(target_variant, tried, target_model) as lease:
                if lease is None:
                    message = (
                        f"Endpoint {endpoint_name} has no instance that takes requests now: its servers are starting."
                    )
                    return error(503, "ServiceUnavailable", message)
                if refusal := container_route.refusal(endpoint_name, lease.variant, headers):
                    return error(400, "ValidationError", refusal)
                try:
                    outcome = await container_route.carry(service, lease.variant, lease.instance, headers, body)
                except Unreachable:
                    tried.append(lease.instance)
                    continue
                # While it counts as in flight: at the end of the last one the fleet's captured records are written.
                data_capture_hook.keep(lease.variant, received_at, headers, body, outcome.reply)
                answer = answer_of(caller, endpoint_name, lease.variant.name, outcome)
        except UnknownVariant as unknown:
            return error(
                400,
                "ValidationError",
                f"Variant {unknown} of endpoint {endpoint_name} not found; it has: {', '.join(_variants(router))}.",
            )
        except NoModel as missing:
            return error(400, "ValidationError", str(missing))
        except NotReady:
            message = f"Model {target_model} of endpoint {endpoint_name} is still being loaded. Wait and try again."
            return error(429, "ModelNotReadyException", message)
        invocation = Invocation(
            endpoint=endpoint_name,
            variant=lease.variant.name,
            instance_count=router.ready_instances(lease.variant.name),
            status=outcome.reply.status,
            model_s=outcome.model_s,
            total_s=time.perf_counter() - received,
            calls=outcome.calls if len(lease.variant.specs) > 1 else (),
            is_direct=lease.variant.mode == DIRECT,
            model_wait_s=outcome.use.waited_s if outcome.use else None,
            model_was_loaded=bool(outcome.use and outcome.use.hit),
        )
        endpoint_metrics.recorder_of(service).record(caller.region, invocation)
        if lease.variant.shadow:
            lease.variant.shadow.copy(service, caller, endpoint_name, headers, body, container_route.carry)
        return answer


def _not_serving(service: Sagemaker, caller: Caller, endpoint_name: str) -> Answer:
    """The answer for an endpoint that is not there, or that has no servers; it reads the store, so not on the event loop."""
    document = service.store.get(KIND, *key_for(caller, endpoint_name))
    message = f"Endpoint {endpoint_name} of account {caller.account} not found."
    if document is None or document["EndpointName"] != endpoint_name:
        return error(400, "ValidationError", message)
    status = document["EndpointStatus"]
    if status in ("SystemUpdating", "Updating", "RollingBack", "UpdateRollbackFailed"):
        message = f"Endpoint {endpoint_name} is {status}: its servers start again after a restart of the local cloud."
        return error(503, "ServiceUnavailable", message)
    return error(400, "ValidationError", f"{message} It is {status}, and takes requests when it is InService.")


def _variants(router: Router) -> list[str]:
    variants = [variant for fleet in router.fleets for variant in fleet.variants.values()]
    return sorted({variant.name for variant in variants if not variant.is_shadow})
