"""What endpoints and inference components ask of each other: where a component may go, and what must go before an endpoint."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.inference_components.inference_components_hosts import ENDPOINT
from local_cloud.sagemaker.inference_components.inference_components_moves import KIND
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document


def of_endpoint(service: Sagemaker, caller: Caller, endpoint: str) -> list[Document]:
    """The documents of the components on an endpoint."""
    components = service.store.list(KIND, caller.account, caller.region)
    return [component for component in components if key_of(component["EndpointName"]) == key_of(endpoint)]


def refuse_deletion(service: Sagemaker, caller: Caller, endpoint: Document) -> None:
    """Refuse to delete an endpoint that has components: the developer guide has them deleted first.

    Raises:
        ValidationError: it has; the message names them.
    """
    if names := [
        component["InferenceComponentName"] for component in of_endpoint(service, caller, endpoint["EndpointName"])
    ]:
        raise ValidationError(
            f'Cannot delete endpoint "{endpoint["EndpointArn"]}" while it has inference components: {", ".join(names)}. '
            "Delete them first."
        )


def endpoint_of(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The document of an endpoint that takes components now."""
    document = service.store.get(ENDPOINT, caller.account, caller.region, key_of(name))
    if document is None:
        raise ValidationError(f'Could not find endpoint "{arn_of(caller, ENDPOINT, name)}".')
    if document["EndpointStatus"] not in ("InService", "Updating"):
        raise ValidationError(
            f'Endpoint "{document["EndpointArn"]}" is {document["EndpointStatus"]}; it takes inference components when it is '
            "InService."
        )
    return document


def host_variant(endpoint: Document, name: str | None) -> Document:
    """The variant of an endpoint that a component goes on: the one of that name, or the only one."""
    variants: list[Document] = endpoint["Deployed"]["Variants"]
    # A variant that an earlier version of the local cloud kept has no Containers, but a model.
    if any(variant.get("Containers", True) for variant in variants):
        # SageMaker's words.
        raise ValidationError(
            "Inference Components are not supported in this Endpoint. Please make sure this endpoint can deploy inference "
            "components."
        )
    names = ", ".join(variant["VariantName"] for variant in variants)
    if name is None and len(variants) > 1:
        raise ValidationError(f"VariantName is required: endpoint {endpoint['EndpointName']} has {names}.")
    found = [variant for variant in variants if name in (None, variant["VariantName"])]
    if not found:
        raise ValidationError(f"Variant {name} of endpoint {endpoint['EndpointName']} not found; it has: {names}.")
    return found[0]
