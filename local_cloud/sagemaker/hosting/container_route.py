"""Which containers of an instance a request goes to: the only one, one by its name, all in a row, or one with a loaded model."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from local_cloud.sagemaker.hosting.container_calls import MODEL_TIMEOUT_S, Call, Reply
from local_cloud.sagemaker.hosting.container_http import ask
from local_cloud.sagemaker.hosting.endpoint_metrics import ContainerCall
from local_cloud.sagemaker.hosting.fleet import Variant
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.loaded_models import TARGET_MODEL, LoadedModels, NotLoaded, Use
from local_cloud.sagemaker.hosting.model_archives import refused_target
from local_cloud.sagemaker.hosting.server import Server
from local_cloud.sagemaker.hosting.serving_containers import DIRECT
from local_cloud.sagemaker.service import Sagemaker

TARGET_CONTAINER = "x-amzn-sagemaker-target-container-hostname"
_PASSED_ON = (
    "content-type",
    "accept",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
)
"""SageMaker strips all headers of a request but those of its API (InvokeEndpoint in the API reference)."""


@dataclass(frozen=True)
class Outcome:
    """What came of a request on an instance.

    Attributes:
        reply: what the last server that was asked answered.
        server: that server.
        calls: what each server did, in order.
        use: the model that was used, on a multi-model endpoint.
    """

    reply: Reply
    server: Server
    calls: tuple[ContainerCall, ...]
    use: Use | None

    @property
    def model_s(self) -> float:
        """How long the containers took."""
        return sum(call.seconds for call in self.calls)


def refusal(endpoint: str, variant: Variant, headers: Mapping[str, str]) -> str | None:
    """Why a request cannot go to a variant, None if it can.

    The words about TargetModel are SageMaker's. Those about TargetContainerHostname are ours: the developer guide
    documents that these are validation errors ("Invoke a multi-container endpoint with direct invocation"), but not their
    messages.
    """
    model, container = headers.get(TARGET_MODEL), headers.get(TARGET_CONTAINER)
    names = [spec.container for spec in variant.specs]
    if model is not None and not variant.is_multi_model:
        return f"Endpoint {endpoint} is not a multi-model endpoint and does not support target model header."
    if model is None and variant.is_multi_model:
        return f"Request {uuid.uuid4()} is missing a target model header."
    if model is not None and (message := refused_target(model)):
        return message
    if variant.mode != DIRECT:
        if container is None:
            return None
        return (
            f"Endpoint {endpoint} is not configured for direct invocation and does not support TargetContainerHostname."
        )
    if container is None:
        return (
            f"Endpoint {endpoint} is configured for direct invocation and needs a TargetContainerHostname, one of: "
            f"{', '.join(names)}."
        )
    if container not in names:
        return f"Container {container} of endpoint {endpoint} not found; it has: {', '.join(names)}."
    return None


async def carry(
    service: Sagemaker, variant: Variant, instance: Instance, headers: Mapping[str, str], body: bytes
) -> Outcome:
    """Take a request through the containers that it is for.

    In an inference pipeline each container gets what the one before it answered, with its content type; what the caller
    accepts is asked of the last one alone. The first that fails ends it.

    Args:
        service: the service.
        variant: to whom it goes; `refusal` had nothing against it.
        instance: one of the variant's.
        headers: of the request, in lower case.
        body: of the request.

    Raises:
        Unreachable: a container does not listen.
        NotReady: the model is still being loaded.
        NoModel: there is no such model.
    """
    deadline = time.monotonic() + MODEL_TIMEOUT_S
    chosen = [instance.servers[headers[TARGET_CONTAINER]]] if variant.mode == DIRECT else [*instance.servers.values()]
    passed_on = {name: headers[name] for name in _PASSED_ON if name in headers}
    calls: list[ContainerCall] = []
    used: Use | None = None
    for server in chosen:
        its_headers = {name: passed_on[name] for name in passed_on if name != "accept" or server is chosen[-1]}
        if server.models is not None:
            target = headers[TARGET_MODEL]
            reply, used = await _ask_model(service, server, server.models, target, its_headers, body, deadline)
        else:
            reply = await _ask(service, server, Call("/invocations", its_headers, body), deadline)
        calls.append(ContainerCall(server.spec.container, reply.status, reply.seconds))
        if server is chosen[-1] or not reply.succeeded:
            break
        body = reply.body
        passed_on["content-type"] = reply.headers.get("content-type", "application/octet-stream")
    return Outcome(reply, server, tuple(calls), used)


async def _ask_model(
    service: Sagemaker,
    server: Server,
    models: LoadedModels,
    target_model: str,
    headers: Mapping[str, str],
    body: bytes,
    deadline: float,
) -> tuple[Reply, Use | None]:
    """Ask one model of a multi-model container, once more if the container turns out to have unloaded it by itself."""
    may_be_lost = True
    while True:
        try:
            async with models.using(target_model, deadline - time.monotonic()) as use:
                call = Call(f"/models/{use.name}/invoke", {**headers, TARGET_MODEL: target_model}, body)
                reply = await _ask(service, server, call, deadline)
                if reply.status != 404 or not may_be_lost or not await models.lost(target_model):
                    return reply, use
        except NotLoaded as error:
            return error.reply, None
        may_be_lost = False


async def _ask(service: Sagemaker, server: Server, call: Call, deadline: float) -> Reply:
    timeout_s = max(0.1, deadline - time.monotonic())
    return await ask(service, server.port, call, server.spec.container, timeout_s)
