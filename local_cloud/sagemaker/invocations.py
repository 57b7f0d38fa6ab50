"""InvokeEndpoint: takes a request to a server and its answer back, byte by byte the same.

Runs on the event loop of the server, so nothing here may wait for anything but the network.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import httpx

from local_cloud.platform import Caller
from local_cloud.sagemaker import endpoint_metrics
from local_cloud.sagemaker.deployments import KIND
from local_cloud.sagemaker.endpoint_metrics import Invocation
from local_cloud.sagemaker.errors import NotEmulated
from local_cloud.sagemaker.hosting import hosting_of, key_for
from local_cloud.sagemaker.instance import Instance
from local_cloud.sagemaker.provisioning import LOG_GROUP
from local_cloud.sagemaker.router import Lease, Router, UnknownVariant
from local_cloud.sagemaker.service import Sagemaker, error_answer

MODEL_TIMEOUT_S = 60.0
"""A container must answer within 60 seconds (InvokeEndpoint in the API reference)."""
MAX_BODY_BYTES = 6_291_456
"""The largest request and the largest answer (the length of Body in botocore's model)."""
MAX_ORIGINAL_MESSAGE = 4096
"""How much of a container's error goes into the answer; its log has the rest."""
KEEP_ALIVE_S = 1.5
"""How long an idle connection to a server is kept: less than the 2 seconds after which gunicorn, the most impatient of the
usual servers, closes it, since a request on a connection that is being closed is lost."""

_PASSED_ON = (
    "content-type",
    "accept",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
)
"""SageMaker strips all headers of a request but those of its API (InvokeEndpoint in the API reference)."""
_NOT_EMULATED = {
    "x-amzn-sagemaker-target-model": "TargetModel",
    "x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname",
    "x-amzn-sagemaker-inference-component": "InferenceComponentName",
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId",
}

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class _Reply:
    """What came of asking a server: its answer, or why there is none (status 0: it was too slow; 502: it hung up)."""

    status: int
    body: bytes
    headers: dict[str, str]
    model_s: float


class _Unreachable(Exception):
    """Nobody listens: the request was not sent, so another server may take it."""


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
    while True:
        try:
            with router.lease(headers.get("x-amzn-sagemaker-target-variant"), tried) as lease:
                if lease is None:
                    message = (
                        f"Endpoint {endpoint_name} has no instance that takes requests now: its servers are starting."
                    )
                    return _error(503, "ServiceUnavailable", message)
                try:
                    reply = await _ask(service, lease.instance, headers, body)
                except _Unreachable:
                    tried.append(lease.instance)
                    continue
                answer = _answer(caller, endpoint_name, lease, reply)
        except UnknownVariant as error:
            return _error(
                400,
                "ValidationError",
                f"Variant {error} of endpoint {endpoint_name} not found; it has: {', '.join(_variants(router))}.",
            )
        invocation = Invocation(
            endpoint=endpoint_name,
            variant=lease.variant.name,
            instance_count=len(lease.variant.ready),
            status=reply.status,
            model_s=reply.model_s,
            total_s=time.perf_counter() - received,
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


async def _ask(service: Sagemaker, instance: Instance, headers: dict[str, str], body: bytes) -> _Reply:
    """Send a request to one server.

    Raises:
        _Unreachable: nobody listens.
    """
    request = httpx.Request(
        "POST",
        f"http://127.0.0.1:{instance.port}/invocations",
        headers={name: headers[name] for name in _PASSED_ON if name in headers},
        content=body,
        extensions={"timeout": {"connect": 2.0, "read": None, "write": None, "pool": None}},
    )
    sent = time.perf_counter()
    try:
        async with asyncio.timeout(MODEL_TIMEOUT_S):
            response = await _transport(service).handle_async_request(request)
            try:
                # Raw, since a container may compress and its caller wants what it sent.
                content = b"".join([chunk async for chunk in response.aiter_raw()])
            finally:
                await response.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _Unreachable from error
    except TimeoutError:
        message = (
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
            "each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        return _Reply(0, message.encode(), {}, time.perf_counter() - sent)
    except httpx.HTTPError as error:
        message = f"The container closed the connection before it had answered: {error or type(error).__name__}"
        return _Reply(502, message.encode(), {}, time.perf_counter() - sent)
    model_s = time.perf_counter() - sent
    if len(content) > MAX_BODY_BYTES:
        message = f"The container answered with {len(content)} bytes; the limit is {MAX_BODY_BYTES}."
        return _Reply(500, message.encode(), {}, model_s)
    return _Reply(response.status_code, content, dict(response.headers), model_s)


def _answer(caller: Caller, endpoint_name: str, lease: Lease, reply: _Reply) -> Answer:
    if 200 <= reply.status < 300:
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
    group = f"{LOG_GROUP}{endpoint_name}"
    console = f"https://{caller.region}.console.aws.amazon.com/cloudwatch/home?region={caller.region}"
    return _error(
        424,
        "ModelError",
        f'Received {kind} error ({reply.status}) from primary with message "{original}". See {console}#logEventViewer:'
        f"group={group} in account {caller.account} for more information.",
        OriginalStatusCode=reply.status,
        OriginalMessage=original,
        LogStreamArn=f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{group}:log-stream:{lease.instance.log_stream}",
    )


def _transport(service: Sagemaker) -> httpx.AsyncHTTPTransport:
    """The pool of connections to all servers; a transport, since a client would decode, follow and add headers."""
    transport = service.background.get("invocations")
    if not isinstance(transport, httpx.AsyncHTTPTransport):
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE_S)
        # The servers are on this machine, without TLS: no certificates are read.
        transport = service.background["invocations"] = httpx.AsyncHTTPTransport(limits=limits, verify=False)
    return transport


def _variants(router: Router) -> list[str]:
    return sorted({name for fleet in router.fleets for name in fleet.variants})


def _error(status: int, code: str, message: str, **members: object) -> Answer:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return status, headers, json.dumps({"Message": message, **members}).encode()
