"""InvokeEndpoint: takes a request to a server and its answer back, byte by byte the same.

Runs on the event loop of the server, so nothing here may wait for anything but the network.
"""

from __future__ import annotations

import asyncio
import json
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker import container_route, endpoint_metrics
from local_cloud.sagemaker.container_calls import MAX_BODY_BYTES, Unreachable
from local_cloud.sagemaker.container_route import Outcome
from local_cloud.sagemaker.deployments import KIND
from local_cloud.sagemaker.endpoint_metrics import Invocation
from local_cloud.sagemaker.errors import NotEmulated
from local_cloud.sagemaker.hosting import hosting_of, key_for
from local_cloud.sagemaker.instance import Instance
from local_cloud.sagemaker.loaded_models import TARGET_MODEL, NotReady
from local_cloud.sagemaker.model_archives import NoModel
from local_cloud.sagemaker.provisioning import LOG_GROUP
from local_cloud.sagemaker.router import Lease, Router, UnknownVariant
from local_cloud.sagemaker.service import Sagemaker, error_answer
from local_cloud.sagemaker.serving_containers import DIRECT

MAX_ORIGINAL_MESSAGE = 4096
"""How much of a container's error goes into the answer; its log has the rest."""
_NOT_EMULATED = {
    "x-amzn-sagemaker-inference-component": "InferenceComponentName",
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId",
}

Answer = tuple[int, dict[str, str], bytes]


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
    received = time.perf_counter()
    headers = {name.lower(): value for name, value in headers.items()}
    for header, member in _NOT_EMULATED.items():
        if header in headers:
            return error_answer(NotEmulated(f"The local cloud does not emulate {member} of InvokeEndpoint."))
    if len(body) > MAX_BODY_BYTES:
        return _error(
            400,
            "ValidationError",
            f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than "
            f"or equal to {MAX_BODY_BYTES}, got {len(body)}",
        )
    router = hosting_of(service).router(key_for(caller, endpoint_name))
    if router is None or router.endpoint != endpoint_name:
        return await asyncio.to_thread(_not_serving, service, caller, endpoint_name)
    tried: list[Instance] = []
    target_variant, target_model = headers.get("x-amzn-sagemaker-target-variant"), headers.get(TARGET_MODEL)
    while True:
        try:
            with router.lease(target_variant, tried, target_model) as lease:
                if lease is None:
                    message = (
                        f"Endpoint {endpoint_name} has no instance that takes requests now: its servers are starting."
                    )
                    return _error(503, "ServiceUnavailable", message)
                if refusal := container_route.refusal(endpoint_name, lease.variant, headers):
                    return _error(400, "ValidationError", refusal)
                try:
                    outcome = await container_route.carry(service, lease.variant, lease.instance, headers, body)
                except Unreachable:
                    tried.append(lease.instance)
                    continue
                answer = _answer(caller, endpoint_name, lease, outcome)
        except UnknownVariant as error:
            return _error(
                400,
                "ValidationError",
                f"Variant {error} of endpoint {endpoint_name} not found; it has: {', '.join(_variants(router))}.",
            )
        except NoModel as error:
            return _error(400, "ValidationError", str(error))
        except NotReady:
            message = f"Model {target_model} of endpoint {endpoint_name} is still being loaded. Wait and try again."
            return _error(429, "ModelNotReadyException", message)
        invocation = Invocation(
            endpoint=endpoint_name,
            variant=lease.variant.name,
            instance_count=len(lease.variant.ready),
            status=outcome.reply.status,
            model_s=outcome.model_s,
            total_s=time.perf_counter() - received,
            calls=outcome.calls if len(lease.variant.specs) > 1 else (),
            is_direct=lease.variant.mode == DIRECT,
            model_wait_s=outcome.use.waited_s if outcome.use else None,
            model_was_loaded=bool(outcome.use and outcome.use.hit),
        )
        endpoint_metrics.recorder_of(service).record(caller.region, invocation)
        return answer


def _not_serving(service: Sagemaker, caller: Caller, endpoint_name: str) -> Answer:
    """The answer for an endpoint that is not there, or that has no servers; it reads the store, so not on the event loop."""
    document = service.store.get(KIND, *key_for(caller, endpoint_name))
    message = f"Endpoint {endpoint_name} of account {caller.account} not found."
    if document is None or document["EndpointName"] != endpoint_name:
        return _error(400, "ValidationError", message)
    status = document["EndpointStatus"]
    if status in ("SystemUpdating", "Updating"):
        message = f"Endpoint {endpoint_name} is {status}: its servers start again after a restart of the local cloud."
        return _error(503, "ServiceUnavailable", message)
    return _error(400, "ValidationError", f"{message} It is {status}, and takes requests when it is InService.")


def _answer(caller: Caller, endpoint_name: str, lease: Lease, outcome: Outcome) -> Answer:
    reply = outcome.reply
    if reply.succeeded:
        headers = {
            # In lower case on purpose: the server in front takes the usual spelling for the type of an API's envelope, and
            # would make application/json the type of SageMaker's own protocol.
            "content-type": reply.headers.get("content-type", "application/octet-stream"),
            "x-Amzn-Invoked-Production-Variant": lease.variant.name,
        }
        for name in (
            "x-amzn-sagemaker-custom-attributes",
            "x-amzn-sagemaker-new-session-id",
            "x-amzn-sagemaker-closed-session-id",
        ):
            if name in reply.headers:
                headers[name] = reply.headers[name]
        return 200, headers, reply.body
    original = reply.body.decode(errors="replace")[:MAX_ORIGINAL_MESSAGE]
    kind = "client" if 400 <= reply.status < 500 else "server"
    group, server = f"{LOG_GROUP}{endpoint_name}", outcome.server
    console = f"https://{caller.region}.console.aws.amazon.com/cloudwatch/home?region={caller.region}"
    return _error(
        424,
        "ModelError",
        f'Received {kind} error ({reply.status}) from {server.spec.container} with message "{original}". See {console}'
        f"#logEventViewer:group={group} in account {caller.account} for more information.",
        OriginalStatusCode=reply.status,
        OriginalMessage=original,
        LogStreamArn=f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{group}:log-stream:{server.log_stream}",
    )


def _variants(router: Router) -> list[str]:
    return sorted({name for fleet in router.fleets for name in fleet.variants})


def _error(status: int, code: str, message: str, **members: object) -> Answer:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return status, headers, json.dumps({"Message": message, **members}).encode()
