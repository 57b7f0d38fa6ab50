"""InvokeEndpointAsync: takes a request into the queue of its endpoint, and says where the answer will be."""

from __future__ import annotations

import json
from collections.abc import Mapping

from local_cloud.platform import Caller
from local_cloud.sagemaker.asynchronous import async_endpoints, async_requests
from local_cloud.sagemaker.errors import NotEmulated
from local_cloud.sagemaker.hosting.endpoint_status import KIND
from local_cloud.sagemaker.hosting.hosting import hosting_of, key_for
from local_cloud.sagemaker.hosting.invocation_answers import Answer, error
from local_cloud.sagemaker.service import Sagemaker, error_answer

_TAKES_REQUESTS = ("InService", "Updating", "SystemUpdating", "RollingBack")


def invoke(service: Sagemaker, caller: Caller, endpoint_name: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Answer InvokeEndpointAsync: status, headers, body. It writes to the disk, so it may not run on the event loop.

    Args:
        service: the service.
        caller: who calls, and was authorized before.
        endpoint_name: from the path; its case must be that of the endpoint.
        headers: of the request.
        body: of the request; stands for the InputLocation if there is none.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    hosting, key = hosting_of(service), key_for(caller, endpoint_name)
    document = service.store.get(KIND, *key)
    message = f"Endpoint {endpoint_name} of account {caller.account} not found."
    if document is None or document["EndpointName"] != endpoint_name:
        return error(400, "ValidationError", message)
    if document["EndpointStatus"] not in _TAKES_REQUESTS or not document["Deployed"]:
        status = document["EndpointStatus"]
        return error(400, "ValidationError", f"{message} It is {status}, and takes requests when it is InService.")
    plan = document["Deployed"]
    if not plan.get("AsyncInferenceConfig"):
        return error(
            400,
            "ValidationError",
            f"Endpoint {endpoint_name} is not an asynchronous endpoint: its configuration has no AsyncInferenceConfig. Use "
            "InvokeEndpoint.",
        )
    if (headers.get("x-amzn-sagemaker-inputlocation") or "").startswith("https://"):
        return error_answer(
            NotEmulated("The local cloud does not emulate an https address as InputLocation; write s3://bucket/key.")
        )
    try:
        request = async_requests.of(headers, body, endpoint_name, plan)
    except async_requests.BadRequest as refused:
        return error(400, "ValidationError", str(refused))
    async_endpoints.queue_of(hosting, key, endpoint_name).put(request)
    answered = {
        "Content-Type": "application/json",
        "X-Amzn-SageMaker-OutputLocation": request["OutputLocation"],
    }
    if request.get("FailureLocation"):
        answered["X-Amzn-SageMaker-FailureLocation"] = request["FailureLocation"]
    return 202, answered, json.dumps({"InferenceId": request["InferenceId"]}).encode()
