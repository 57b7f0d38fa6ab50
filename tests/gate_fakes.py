"""SageMaker, S3 and CloudFormation as the gate's functions see them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from functions.deployment_gate.gate import Clients
from functions.deployment_gate.golden_records import FORMAT

GROUP = "arn:aws:sagemaker:us-east-1:111111111111:model-package-group/housing"
ENDPOINT = "sagestack-prod-housing"


def version(number: int, group: str = "housing", account: str = "111111111111") -> str:
    """The ARN of a version."""
    return f"arn:aws:sagemaker:us-east-1:{account}:model-package/{group}/{number}"


def error(code: str, message: str = "no", **more: Any) -> ClientError:
    """An error of the service."""
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, "Call")  # type: ignore[typeddict-item]


def golden(answers: dict[str, str], **more: Any) -> bytes:
    """Golden records, by what is asked."""
    records = [
        {"content_type": "text/csv", "accept": "text/csv", "body": body, "answer": answer}
        for body, answer in answers.items()
    ]
    return json.dumps({"format": FORMAT, "records": records, **more}).encode()


class Cloud:
    """All of it, with one endpoint that serves version 3 well until a test says otherwise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes | ClientError] = {}
        self.packages: dict[str, dict[str, Any] | ClientError] = {}
        self.models: dict[str, list[str]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.components: dict[str, dict[str, Any]] = {}
        self.endpoint: dict[str, Any] = {}
        self.stack_status = "UPDATE_IN_PROGRESS"
        self.sent: list[dict[str, Any]] = []
        self.published: list[dict[str, float]] = []
        self.answer: Callable[[dict[str, Any]], str | Exception] = lambda request: self._recorded(request)
        self.register(3, {"1,2": "0.5", "3,4": "-7"})
        self.deploy("config-3", {"AllTraffic": [version(3)]})

    @property
    def clients(self) -> Clients:
        return Clients(self, self, self, self)

    # What a test says

    def register(self, number: int, answers: dict[str, str] | None, **described: Any) -> str:
        """A version that is approved and has golden records (without any where `answers` is None)."""
        arn, uri = version(number), f"s3://artifacts/{number}/golden-records.json"
        self.packages[arn] = {
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": "Approved",
            "CustomerMetadataProperties": {"golden-records": uri},
            **described,
        }
        if answers is not None:
            self.objects[uri] = golden(answers)
        return arn

    def config(self, name: str, variants: dict[str, list[str]], shadows: dict[str, list[str]] | None = None) -> None:
        """An endpoint configuration whose variants' models are of these versions."""

        def listed(these: dict[str, list[str]]) -> list[dict[str, Any]]:
            for variant, arns in these.items():
                self.models[f"{name}-{variant}"] = arns
            return [{"VariantName": variant, "ModelName": f"{name}-{variant}"} for variant in these]

        self.configs[name] = {
            "ProductionVariants": listed(variants),
            "ShadowProductionVariants": listed(shadows or {}),
        }

    def deploy(
        self, name: str, variants: dict[str, list[str]], shadows: dict[str, list[str]] | None = None, count: int = 2
    ) -> None:
        """The endpoint serves a configuration, with so many instances in each variant."""
        self.config(name, variants, shadows)
        self.endpoint = {
            "EndpointName": ENDPOINT,
            "EndpointStatus": "InService",
            "EndpointConfigName": name,
            "ProductionVariants": [
                {"VariantName": variant, "CurrentInstanceCount": count, "DesiredInstanceCount": count}
                for variant in variants
            ],
            "ShadowProductionVariants": [{"VariantName": variant} for variant in shadows or {}],
        }

    def _recorded(self, request: dict[str, Any]) -> str:
        content = self.objects["s3://artifacts/3/golden-records.json"]
        assert isinstance(content, bytes)
        records = json.loads(content)["records"]
        return str(next(record["answer"] for record in records if record["body"] == request["Body"].decode()))

    # What the functions call

    def describe_model_package(self, **request: str) -> dict[str, Any]:
        arn = request["ModelPackageName"]
        found = self.packages.get(arn, error("ValidationException", f"{arn} does not exist."))
        if isinstance(found, ClientError):
            raise found
        return found

    def describe_endpoint(self, **request: str) -> dict[str, Any]:
        assert request["EndpointName"] == ENDPOINT
        return self.endpoint

    def describe_endpoint_config(self, **request: str) -> dict[str, Any]:
        return self.configs[request["EndpointConfigName"]]

    def describe_model(self, **request: str) -> dict[str, Any]:
        containers = [{"ModelPackageName": arn} for arn in self.models[request["ModelName"]]]
        return {"PrimaryContainer": containers[0]} if len(containers) == 1 else {"Containers": containers}

    def describe_inference_component(self, **request: str) -> dict[str, Any]:
        return self.components[request["InferenceComponentName"]]

    def describe_stacks(self, **request: str) -> dict[str, Any]:
        assert request["StackName"] == "the stack"
        return {"Stacks": [{"StackStatus": self.stack_status}]}

    def get_object(self, **request: str) -> dict[str, Any]:
        found = self.objects.get(_uri(request), error("NoSuchKey"))
        if isinstance(found, ClientError):
            raise found
        return {"Body": io.BytesIO(found)}

    def put_object(self, **request: Any) -> None:
        self.objects[_uri(request)] = request["Body"]

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.sent.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return {"Body": io.BytesIO(answer.encode())}

    def invoke_endpoint_async(self, **request: Any) -> dict[str, str]:
        self.sent.append(request)
        number = len(self.sent)
        return {"OutputLocation": f"s3://artifacts/out/{number}", "FailureLocation": f"s3://artifacts/failed/{number}"}

    def put_metric_data(self, **request: Any) -> None:
        assert request["Namespace"] == "Sagestack"
        for datum in request["MetricData"]:
            assert datum["Dimensions"] == [{"Name": "EndpointName", "Value": ENDPOINT}]
        self.published.append({datum["MetricName"]: datum["Value"] for datum in request["MetricData"]})


def _uri(request: Mapping[str, Any]) -> str:
    return f"s3://{request['Bucket']}/{request['Key']}"


class Context:
    """Lambda's."""

    function_name = "the function"

    def __init__(self, seconds: float = 300) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> float:
        return self._seconds * 1000
