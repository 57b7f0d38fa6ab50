"""CreatePresignedNotebookInstanceUrl: an address that opens JupyterLab once, within five minutes.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreatePresignedNotebookInstanceUrl.html
"""

from __future__ import annotations

import secrets
import time

from local_cloud.notebook_runtime.runtime import RuntimeRefused
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.notebooks import notebook_status
from local_cloud.sagemaker.notebooks.running import key_for, notebooks_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation

VALID_S = 300.0
"""How long the address can be used; real seconds, since a person opens it."""
DEFAULT_SESSION_S = 43_200
"""SessionExpirationDurationInSeconds where the request has none: 12 hours."""


@operation("CreatePresignedNotebookInstanceUrl")
def create_presigned_url(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreatePresignedNotebookInstanceUrl; the length of the session is a matter of the request's shape."""
    document = notebook_status.find(service, caller, request["NotebookInstanceName"])
    status, arn = document["NotebookInstanceStatus"], document["NotebookInstanceArn"]
    running = notebooks_of(service).running.get(key_for(caller, document["NotebookInstanceName"]))
    if status == "InService" and running is None:
        # Its JupyterLab has ended by itself a moment ago, and it is about to be Failed.
        raise _refusal(arn, "JupyterLab does not run on this notebook instance.")
    if status != "InService" or running is None:
        raise ValidationError(
            f"Status ({status}) not in ([InService]). Unable to create a presigned URL for Notebook Instance ({arn})."
        )
    session_s = float(request.get("SessionExpirationDurationInSeconds") or DEFAULT_SESSION_S)
    try:
        url = running.instance.authorize(secrets.token_urlsafe(32), time.time() + VALID_S, session_s)
    except RuntimeRefused as error:
        raise _refusal(arn, str(error)) from error
    return {"AuthorizedUrl": url}


def _refusal(arn: str, why: str) -> ValidationError:
    return ValidationError(f"Unable to create a presigned URL for Notebook Instance ({arn}): {why}")
