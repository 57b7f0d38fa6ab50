"""A request is held against botocore's model, and the refusal says what AWS would say."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.model import Shape

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.validation import validate


def shape_of(operation: str) -> Shape:
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model(operation).input_shape
    assert shape is not None
    return shape


GOOD = {
    "EndpointConfigName": "housing",
    "ProductionVariants": [
        {"VariantName": "live", "ModelName": "housing", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    ],
}


def test_a_good_request_passes() -> None:
    validate(GOOD, shape_of("CreateEndpointConfig"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"EndpointConfigName": "a b"}, "at 'endpointConfigName' .* must satisfy regular expression pattern"),
        ({"EndpointConfigName": "x" * 64}, "length less than or equal to 63"),
        ({"EndpointConfigName": None}, "Value null at 'endpointConfigName' .* must not be null"),
        ({"EndpointConfigName": 7}, "at 'endpointConfigName' .* must be a string"),
        ({"Endpointconfigname": "x"}, "at 'endpointconfigname' .* is not known"),
        ({"ProductionVariants": []}, "at 'productionVariants' .* length greater than or equal to 1"),
        (
            {"ProductionVariants": [{**GOOD["ProductionVariants"][0], "InitialInstanceCount": 0}]},  # type: ignore[dict-item]
            r"'0' at 'productionVariants.1.member.initialInstanceCount' .* greater than or equal to 1",
        ),
        (
            {"ProductionVariants": [{**GOOD["ProductionVariants"][0], "InitialInstanceCount": True}]},  # type: ignore[dict-item]
            "must be a integer",
        ),
        (
            {"ProductionVariants": [{**GOOD["ProductionVariants"][0], "InstanceType": "ml.m5.huge"}]},  # type: ignore[dict-item]
            r"'ml.m5.huge' at .*instanceType' .* must satisfy enum value set: \[ml",
        ),
    ],
)
def test_a_bad_request_is_refused_with_its_place_and_value(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        validate({**GOOD, **change}, shape_of("CreateEndpointConfig"))


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ValidationError, match=r"^2 validation errors detected"):
        validate({**GOOD, "EndpointConfigName": "a b", "KmsKeyId": "x" * 3000}, shape_of("CreateEndpointConfig"))
