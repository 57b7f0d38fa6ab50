"""Names and ARNs of hosting resources, which SageMaker compares without regard to case.

CreateEndpoint's reference says that a name is case-insensitive but that its case is kept, and the developer guide's events
show the ARN in lower case (`endpoint/myendpoint` for MyEndpoint). Models and endpoint configurations follow the same rule.
"""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.service import arn, name_of


def key_of(arn_or_name: str) -> str:
    """Under which name a resource is kept."""
    return name_of(arn_or_name).lower()


def arn_of(caller: Caller, kind: str, arn_or_name: str) -> str:
    """The ARN of a hosting resource.

    Args:
        caller: whose it is.
        kind: `model`, `endpoint-config` or `endpoint`.
        arn_or_name: its name.
    """
    return arn(caller, f"{kind}/{key_of(arn_or_name)}")
