"""What the runtime API answers for what a container said, and its errors."""

from __future__ import annotations

import json

from local_cloud.platform import Caller
from local_cloud.sagemaker.hosting.container_route import Outcome
from local_cloud.sagemaker.hosting.provisioning import LOG_GROUP

MAX_ORIGINAL_MESSAGE = 4096
"""How much of a container's error goes into the answer; its log has the rest."""

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def answer_of(
    caller: Caller, endpoint_name: str, variant: str, outcome: Outcome, log_group: str | None = None
) -> Answer:
    """The answer for what came of a request: what the container said, or ModelError with what it said.

    Args:
        caller: who called.
        endpoint_name: as the caller wrote it.
        variant: the name of the variant that took the request.
        outcome: what came of it.
        log_group: where the container's log is; None for the endpoint's own group.
    """
    reply = outcome.reply
    if reply.succeeded:
        headers = {
            # In lower case on purpose: the server in front takes the usual spelling for the type of an API's envelope, and
            # would make application/json the type of SageMaker's own protocol.
            "content-type": reply.headers.get("content-type", "application/octet-stream"),
            "x-Amzn-Invoked-Production-Variant": variant,
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
    group, server = log_group or f"{LOG_GROUP}{endpoint_name}", outcome.server
    console = f"https://{caller.region}.console.aws.amazon.com/cloudwatch/home?region={caller.region}"
    return error(
        424,
        "ModelError",
        f'Received {kind} error ({reply.status}) from {server.spec.container} with message "{original}". See {console}'
        f"#logEventViewer:group={group} in account {caller.account} for more information.",
        OriginalStatusCode=reply.status,
        OriginalMessage=original,
        LogStreamArn=f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{group}:log-stream:{server.log_stream}",
    )


def error(status: int, code: str, message: str, **members: object) -> Answer:
    """An error of the runtime API: its HTTP status, its code, its message and further members."""
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return status, headers, json.dumps({"Message": message, **members}).encode()
