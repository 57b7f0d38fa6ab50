"""InvokeEndpoint on a serverless endpoint: a process for each request, or the word that there are too many."""

from __future__ import annotations

import time
from collections.abc import Mapping

from local_cloud.platform import Caller
from local_cloud.sagemaker.hosting import container_route, endpoint_metrics
from local_cloud.sagemaker.hosting.container_calls import Unreachable
from local_cloud.sagemaker.hosting.invocation_answers import Answer, answer_of, error
from local_cloud.sagemaker.hosting.router import Router
from local_cloud.sagemaker.hosting.server import NotHealthy
from local_cloud.sagemaker.serverless.serverless_metrics import ServerlessInvocation
from local_cloud.sagemaker.serverless.serverless_variant import Execution, Gone, ServerlessVariant, Throttled
from local_cloud.sagemaker.service import Sagemaker

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The largest request and the largest answer ("Invoke a serverless endpoint" in the developer guide)."""
ATTEMPTS = 3
"""How many processes may turn out to be dead before the request is given up."""


def variant_of(router: Router) -> ServerlessVariant | None:
    """The serverless variant that an endpoint has; None for one with instances."""
    for fleet in router.fleets:
        for variant in fleet.variants.values():
            if isinstance(variant, ServerlessVariant):
                return variant
    return None


async def invoke(
    service: Sagemaker,
    caller: Caller,
    router: Router,
    headers: Mapping[str, str],
    body: bytes,
    received: float,
) -> Answer:
    """Answer InvokeEndpoint: status, headers, body.

    Args:
        service: the service.
        caller: who calls.
        router: of the endpoint, which has a serverless variant.
        headers: of the request, in lower case.
        body: of the request.
        received: when it came, by time.perf_counter().
    """
    name = router.endpoint
    if len(body) > MAX_BODY_BYTES:
        return error(
            400,
            "ValidationError",
            f"The request of {len(body)} bytes is larger than {MAX_BODY_BYTES} bytes, the maximum of a serverless endpoint.",
        )
    for _ in range(ATTEMPTS):
        # Anew each time: a deployment may have put another fleet in its place.
        variant = variant_of(router)
        if variant is None:
            break
        target = headers.get("x-amzn-sagemaker-target-variant")
        if target not in (None, variant.name):
            return error(
                400, "ValidationError", f"Variant {target} of endpoint {name} not found; it has: {variant.name}."
            )
        if refusal := container_route.refusal(name, variant, headers):
            return error(400, "ValidationError", refusal)
        try:
            async with variant.execution() as execution:
                return await _carried(service, caller, variant, execution, headers, body, received)
        except Throttled:
            maximum = variant.config["MaxConcurrency"]
            return error(
                # The code and the status are those of "Common Errors" in the API reference. AWS sends no message with it.
                400,
                "ThrottlingException",
                f"The request was denied due to request throttling: all {maximum} concurrent invocations that "
                f"MaxConcurrency of variant {variant.name} of endpoint {name} allows are in use. Try again.",
            )
        except NotHealthy as failure:
            _record(service, caller, ServerlessInvocation(name, variant.name, 500, 0.0, 0.0, None, variant.concurrency))
            return error(424, "ModelError", str(failure), OriginalStatusCode=500, OriginalMessage=str(failure))
        except (Gone, Unreachable):
            continue
    return error(503, "ServiceUnavailable", f"Endpoint {name} has no process that takes the request now. Try again.")


async def _carried(
    service: Sagemaker,
    caller: Caller,
    variant: ServerlessVariant,
    execution: Execution,
    headers: Mapping[str, str],
    body: bytes,
    received: float,
) -> Answer:
    outcome = await container_route.carry(service, variant, execution.instance, headers, body)
    name = variant.specs[0].endpoint
    _record(
        service,
        caller,
        ServerlessInvocation(
            endpoint=name,
            variant=variant.name,
            status=outcome.reply.status,
            model_s=outcome.model_s,
            total_s=time.perf_counter() - received,
            setup_s=execution.setup_s,
            concurrency=execution.concurrency,
        ),
    )
    if outcome.reply.succeeded and len(outcome.reply.body) > MAX_BODY_BYTES:
        size = len(outcome.reply.body)
        message = f"The container answered with {size} bytes; the limit of a serverless endpoint is {MAX_BODY_BYTES}."
        return error(424, "ModelError", message, OriginalStatusCode=outcome.reply.status, OriginalMessage=message)
    return answer_of(caller, name, variant.name, outcome)


def _record(service: Sagemaker, caller: Caller, invocation: ServerlessInvocation) -> None:
    endpoint_metrics.recorder_of(service).record(caller.region, invocation)
