"""What runs for a moment costs: functions, state machines, messages, the front door."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import Site, amount
from sagestack.review.results import CostLine

DEFAULT_MEMORY_MB = 128.0
"""https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html"""
FRONT_DOOR_SECONDS = 0.05
"""What a function adds to the model's own time; measured on no account, and small beside it."""


def function(site: Site, resource: Resource) -> Iterator[CostLine]:
    """By the request and by the GB-second, without the free tier: https://aws.amazon.com/lambda/pricing/"""
    memory = site.reading.number(resource.properties.get("MemorySize", DEFAULT_MEMORY_MB))
    architectures = site.reading.items(resource.properties.get("Architectures", [])) or []
    if memory is None:
        yield site.unknown(resource, "calls", "load", "only the deployment knows its memory")
        return
    model = site.model_load
    if _is_behind_an_api(site, resource):
        calls, seconds = model.requests, model.request_seconds + FRONT_DOOR_SECONDS
    else:
        calls, seconds = site.load.function_calls, site.load.function_seconds
    timeout = site.reading.number(resource.properties.get("Timeout", 3))
    seconds = min(seconds, timeout) if timeout else seconds
    if not calls:
        return
    gb = memory / 1024
    yield site.sum(
        resource,
        "calls",
        "load",
        ("lambda.request", calls, f"{amount(calls)} calls x {{price}}"),
        (
            "lambda.arm" if "arm64" in architectures else "lambda.x86",
            calls * seconds * gb,
            f"{seconds:g} s x {gb:g} GB of each x {{price}}",
        ),
    )


def _is_behind_an_api(site: Site, resource: Resource) -> bool:
    reference = f"${{{resource.logical_id}"
    return any(
        reference in (site.reading.text(each.properties.get("IntegrationUri")) or "")
        for each in site.of_type("AWS::ApiGatewayV2::Integration")
    )


def state_machine(site: Site, resource: Resource) -> Iterator[CostLine]:
    """A standard one by its transitions: https://aws.amazon.com/step-functions/pricing/"""
    if site.reading.text(resource.properties.get("StateMachineType", "STANDARD")) != "STANDARD":
        yield site.unknown(resource, "executions", "load", "the price of express executions is not known here")
        return
    definition = site.reading.document(
        resource.properties.get("DefinitionString", resource.properties.get("Definition"))
    )
    states = len(definition.get("States", {})) if definition else None
    runs = site.load.function_calls
    if states is None:
        yield site.unknown(resource, "executions", "load", "its definition is not in the template")
    elif runs:
        yield site.line(
            resource,
            "transitions",
            "load",
            "states.transition",
            quantity=runs * (states + 1),
            how=f"{amount(runs)} executions x ({states} states + the start) x {{price}}; retries come on top",
        )


def topic(site: Site, resource: Resource) -> Iterator[CostLine]:
    """What is published; deliveries to functions and queues cost nothing, e-mail and HTTP have prices of their own."""
    count = site.model_load.requests if _gets_answers(site, resource) else site.load.function_calls
    if count:
        yield site.line(
            resource, "messages", "load", "sns.publish", quantity=count, how=f"{amount(count)} messages x {{price}}"
        )


def _gets_answers(site: Site, resource: Resource) -> bool:
    reference = f"${{{resource.logical_id}}}"
    return any(
        reference
        == (site.reading.get(config, "AsyncInferenceConfig", "OutputConfig", "NotificationConfig") or {}).get(
            "SuccessTopic"
        )
        for config in site.of_type("AWS::SageMaker::EndpointConfig")
    )


def queue(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Each message is sent, received and deleted: https://aws.amazon.com/sqs/pricing/"""
    fifo = str(resource.properties.get("FifoQueue", False)).lower() == "true"
    if count := site.load.function_calls:
        yield site.line(
            resource,
            "messages",
            "load",
            "sqs.fifo_request" if fifo else "sqs.request",
            quantity=3 * count,
            how=f"{amount(count)} messages x 3 requests x {{price}}",
        )


def api(site: Site, resource: Resource) -> Iterator[CostLine]:
    """An HTTP API by its requests, each up to 512 kB: https://aws.amazon.com/api-gateway/pricing/"""
    if site.reading.text(resource.properties.get("ProtocolType", "HTTP")) != "HTTP":
        yield site.unknown(resource, "requests", "load", "the price of WebSocket APIs is not known here")
    elif requests := site.model_load.requests:
        pieces = max(1, -(-int(site.model_load.request_kb) // 512))
        parts = f" x {pieces} pieces of 512 kB" if pieces > 1 else ""
        yield site.line(
            resource,
            "requests",
            "load",
            "apigateway.http_request",
            quantity=requests * pieces,
            how=f"{amount(requests)} requests{parts} x {{price}}",
        )


def event_bus(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Events of AWS's own services are free; those that are put on a bus of one's own are not."""
    if count := site.load.function_calls:
        yield site.line(
            resource, "events", "load", "events.custom", quantity=count, how=f"{amount(count)} events x {{price}}"
        )


__all__ = ["api", "event_bus", "function", "queue", "state_machine", "topic"]
