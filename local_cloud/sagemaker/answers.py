"""Parts that many answers of the API share."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.store import Document


def user_context(caller: Caller) -> Document:
    """UserContext: who created or changed a resource."""
    return {"IamIdentity": {"Arn": caller.arn}}


def without_nulls(document: Document) -> Document:
    """An answer without the members that have no value: the API leaves them out."""
    return {key: value for key, value in document.items() if value is not None}
