"""Finds what the stacks of this environment made: its names come from SSM parameters, so that no notebook has one in it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

_METADATA = "/opt/ml/metadata/resource-metadata.json"
_PREFIX = "sagestack"
_LONGEST_NAME = 63
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class NotThere(Exception):
    """Something that a notebook needs is not there. The message says what, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a stack trace, which would help nobody."""
        return [f"NotThere: {self}"]


class Platform:
    """The names of an environment, as a notebook needs them.

    Attributes:
        environment: like `dev`.
        notebook: the notebook's name, as `environments/ENV.yaml` has it.
        model: the model that this is about.
    """

    def __init__(self, model: str | None = None) -> None:
        """Reads all parameters of the environment, in one call; make another `Platform()` to read them again.

        Args:
            model: the folder's name in `model_code`. Default: the only one that is deployed, or `SAGESTACK_MODEL`.

        Raises:
            NotThere: this is no notebook instance of the platform, or the environment is not deployed.
        """
        self.environment, notebook = _where_am_i()
        pages = boto3.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(Path=f"/{_PREFIX}/{self.environment}", Recursive=True)
        self._parameters = {each["Name"]: each["Value"] for page in found for each in page["Parameters"]}
        self.notebook = notebook or self._named_by_role()
        self.model = self._choose(model or os.environ.get("SAGESTACK_MODEL"))

    def __repr__(self) -> str:
        return f"the model {self.model} in the environment {self.environment}, seen from the notebook {self.notebook}"

    @property
    def data_bucket(self) -> str:
        """Where the models' input is. Notebooks read it."""
        return self._parameter("data-bucket")

    @property
    def artifact_bucket(self) -> str:
        """Where pipelines write, and notebooks below their own prefix (`own_prefix`)."""
        return self._parameter("artifact-bucket")

    @property
    def pipeline_name(self) -> str:
        """Of the pipeline that trains the model."""
        return self._parameter(f"{self.model}/pipeline-name")

    @property
    def model_package_group_name(self) -> str:
        """Of the model's versions in the registry."""
        return self._parameter(f"{self.model}/model-package-group-name")

    @property
    def image_uri(self) -> str:
        """The image that the model is trained and served with."""
        return self._parameter(f"{self.model}/image-uri")

    @property
    def role_arn(self) -> str:
        """The role of this notebook, which its jobs and endpoints run with, too."""
        found = self._parameters.get(self._path(f"notebooks/{self.notebook}/role-arn"))
        return found or _role_of_caller()

    @property
    def vpc_config(self) -> dict[str, list[str]]:
        """This notebook's network as `VpcConfig`, for jobs and models that cannot do with `EnableNetworkIsolation`.

        Their containers reach what the notebook reaches: S3 and the services of AWS, and the internet only where it does. Without
        either of the two the role of a notebook makes no container: it would have the internet.

        Raises:
            NotThere: this is no notebook instance in a network; in Studio containers have none.
        """
        name = f"{_PREFIX}-{self.environment}-{self.notebook}"
        try:
            instance = boto3.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name)
            return {"Subnets": [instance["SubnetId"]], "SecurityGroupIds": instance["SecurityGroups"]}
        except (ClientError, KeyError) as error:
            raise NotThere(
                f"{name} is no notebook instance with a network ({error}): its jobs and models say EnableNetworkIsolation=True"
            ) from None

    @property
    def endpoint_name(self) -> str:
        """Of the endpoint that serves the model.

        Raises:
            NotThere: no version is served.
        """
        name = self._path(f"{self.model}/endpoint-name")
        if name not in self._parameters:
            raise NotThere(
                f"{self.environment} serves no version of {self.model} yet: there is no parameter {name}. Somebody who may must "
                f"approve, pin and deploy one:  sagestack approve --env {self.environment} && sagestack promote --env "
                f"{self.environment} && sagestack deploy --env {self.environment}"
            )
        return self._parameters[name]

    @property
    def inference_component_name(self) -> str | None:
        """What requests must name where the endpoint hosts inference components; else None."""
        return self._parameters.get(self._path(f"{self.model}/inference-component-name"))

    @property
    def input_prefix(self) -> str:
        """Where the model's input is in the data bucket."""
        return f"{self.model}/input/"

    @property
    def own_prefix(self) -> str:
        """Where this notebook writes in the artifact bucket: below, for the examples."""
        return f"notebooks/{self.notebook}/examples"

    def own_uri(self, *path: str) -> str:
        """An S3 address that this notebook may write to."""
        return "/".join((f"s3://{self.artifact_bucket}", self.own_prefix, *path))

    def name(self, purpose: str, *, is_unique: bool = False) -> str:
        """A name for a job or an endpoint of this notebook: its role may make no others.

        Args:
            purpose: like `boto3`.
            is_unique: for jobs, whose names are taken for ever: the time is in it.
        """
        own = f"{_PREFIX}-{self.environment}-{self.notebook}-"
        end = f"{purpose}-{_base36(int(time.time() * 10))}" if is_unique else purpose
        return own + end[-(_LONGEST_NAME - len(own)) :].strip("-")

    def training_step(self) -> dict[str, Any]:
        """How the deployed pipeline trains: the arguments of its CreateTrainingJob. The notebooks train likewise.

        Raises:
            NotThere: the pipeline has no such step.
        """
        described = boto3.client("sagemaker").describe_pipeline(PipelineName=self.pipeline_name)
        for step in json.loads(described["PipelineDefinition"])["Steps"]:
            if step["Type"] == "Training":
                arguments: dict[str, Any] = step["Arguments"]
                return arguments
        raise NotThere(f"The pipeline {self.pipeline_name} has no step that trains")

    def data_keys(self) -> list[str]:
        """The keys of the model's CSV files in the data bucket.

        Raises:
            NotThere: there are none.
        """
        pages = boto3.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.data_bucket, Prefix=self.input_prefix)
        keys = [each["Key"] for page in found for each in page.get("Contents", []) if each["Key"].endswith(".csv")]
        if not keys:
            raise NotThere(
                f"There are no CSV files in s3://{self.data_bucket}/{self.input_prefix} yet. To bring the model's sample there:"
                f"  sagestack run --model {self.model} --env {self.environment}  (your own file: --data FILE)"
            )
        return keys

    def read_data(self) -> Any:
        """The model's input, all of its files in one pandas.DataFrame."""
        import pandas as pd  # type: ignore[import-untyped, unused-ignore]

        s3 = boto3.client("s3")
        files = [pd.read_csv(s3.get_object(Bucket=self.data_bucket, Key=key)["Body"]) for key in self.data_keys()]
        return pd.concat(files, ignore_index=True)

    def features_and_target(self, data: Any) -> tuple[list[str], str]:
        """The columns that the model is told, in the order of training, and the one that it predicts.

        Files for training and requests have no header: this order is all that binds a number to its column.

        Args:
            data: the input, with its header. Where the pipeline says no names, the target is the last column.
        """
        columns = list(data.columns)
        named = self.training_step().get("HyperParameters", {}).get("feature_names", "").split(",")
        features = named if set(named) < set(columns) else columns[:-1]
        return features, next(column for column in reversed(columns) if column not in features)

    def _choose(self, wanted: str | None) -> str:
        ending = "/pipeline-name"
        prefix = self._path("")
        known = sorted(name[len(prefix) : -len(ending)] for name in self._parameters if name.endswith(ending))
        if not known:
            raise NotThere(
                f"No model is deployed in the environment {self.environment} (no parameter {prefix}MODEL{ending}):"
                f"  sagestack deploy --env {self.environment}"
            )
        if wanted is None and len(known) > 1:
            raise NotThere(f'Say which model this is about, like Platform("{known[0]}"): there are {", ".join(known)}')
        if wanted is not None and wanted not in known:
            raise NotThere(f"There is no model {wanted!r} in {self.environment} (there are: {', '.join(known)})")
        return wanted or known[0]

    def _named_by_role(self) -> str:
        """The notebook whose role this runs as: in Studio, each person has one."""
        caller = _role_of_caller()
        for name, value in self._parameters.items():
            # Who asks is told without the role's path.
            if name.startswith(self._path("notebooks/")) and value.split("/")[-1] == caller.split("/")[-1]:
                return name.split("/")[-2]
        raise NotThere(
            f"{caller} is the role of no notebook of {self.environment}. Say whose names to use, before anything else:"
            '  import os; os.environ["SAGESTACK_NOTEBOOK"] = "explore"'
        )

    def _path(self, name: str) -> str:
        return f"/{_PREFIX}/{self.environment}/{name}"

    def _parameter(self, name: str) -> str:
        path = self._path(name)
        if path not in self._parameters:
            raise NotThere(f"There is no parameter {path}:  sagestack deploy --env {self.environment}")
        return self._parameters[path]


def _where_am_i() -> tuple[str, str | None]:
    """The environment and the notebook: from variables, or from the file in which an instance reads its own name.

    In Studio a lifecycle config says the environment, and that file has no name of ours: the notebook is None then.

    https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-metadata.html
    """
    said = os.environ.get("SAGESTACK_ENVIRONMENT"), os.environ.get("SAGESTACK_NOTEBOOK")
    if said[0] and said[1]:
        return said[0], said[1]
    file = Path(os.environ.get("SAGESTACK_METADATA", _METADATA))
    try:
        name = json.loads(file.read_text())["ResourceName"]
        # The name of an environment has no hyphen in it.
        prefix, environment, notebook = name.split("-", 2)
        if prefix != _PREFIX:
            raise ValueError(name)
    except (OSError, ValueError, KeyError):
        if said[0]:
            return said[0], None
        raise NotThere(
            f"This is no notebook instance of the platform ({file} has no name like {_PREFIX}-dev-explore). Say whose names "
            "to use, before anything else:"
            '  import os; os.environ |= {"SAGESTACK_ENVIRONMENT": "dev", "SAGESTACK_NOTEBOOK": "explore"}'
        ) from None
    return said[0] or environment, said[1] or notebook


def _role_of_caller() -> str:
    """The role that this runs as, where no parameter says it: in Studio, each person has one."""
    arn = boto3.client("sts").get_caller_identity()["Arn"]
    if ":assumed-role/" not in arn:
        raise NotThere(f"Jobs need a role to run with, and {arn} is none")
    account, role = arn.split(":")[4], arn.split("/")[1]
    return f"arn:{arn.split(':')[1]}:iam::{account}:role/{role}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, last = divmod(number, 36)
        digits = _DIGITS[last] + digits
    return digits
