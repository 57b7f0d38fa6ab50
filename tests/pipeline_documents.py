"""Pipeline definitions written by hand, as AWS documents their structure; no builder had a part in them."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

ROLE = "arn:aws:iam::000000000000:role/job"
IMAGE = "s3://assets/image.zip"


def get(reference: str) -> Json:
    return {"Get": reference}


def join(*values: Any, on: str = "") -> Json:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(step: str, file: str, path: str) -> Json:
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step}.PropertyFiles.{file}"), "Path": path}}


def document(*steps: Json, parameters: list[Json] | None = None, **more: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps), **more})


def processing(name: str, **more: Any) -> Json:
    """A processing step with one input, one output and one property file in it."""
    arguments = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": [name]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
        "ProcessingInputs": [
            {
                "InputName": "data",
                "S3Input": {
                    "S3Uri": "s3://data/input",
                    "LocalPath": "/opt/ml/processing/input/data",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "report",
                    "S3Output": {
                        "S3Uri": join("s3://artifacts", get("Execution.PipelineExecutionId"), name, on="/"),
                        "LocalPath": "/opt/ml/processing/output/report",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    }
    arguments.update(more.pop("Arguments", {}))
    files = [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}]
    return {"Name": name, "Type": "Processing", "Arguments": arguments, "PropertyFiles": files, **more}


def training(name: str, **more: Any) -> Json:
    arguments = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"max_depth": "5"},
        "OutputDataConfig": {"S3OutputPath": join("s3://artifacts", get("Execution.PipelineExecutionId"), on="/")},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    arguments.update(more.pop("Arguments", {}))
    return {"Name": name, "Type": "Training", "Arguments": arguments, **more}


def register(name: str, group: str, model_data: Any, **more: Any) -> Json:
    arguments = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": model_data}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    }
    arguments.update(more.pop("Arguments", {}))
    return {"Name": name, "Type": "RegisterModel", "Arguments": arguments, **more}


def condition(name: str, *conditions: Json, then: list[Json], otherwise: list[Json] | None = None) -> Json:
    arguments = {"Conditions": list(conditions), "IfSteps": then, "ElseSteps": otherwise or []}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def fail(name: str, message: Any, **more: Any) -> Json:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **more}


def at_most(left: Any, right: Any) -> Json:
    return {"Type": "LessThanOrEqualTo", "LeftValue": left, "RightValue": right}
