"""The example notebooks find every name in their environment's parameters, and say what to do where one is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from notebooks.examples.platform_names import NotThere, Platform


class Parameters:
    """SSM with some parameters, and STS with somebody who asks."""

    def __init__(self, found: dict[str, str], caller: str) -> None:
        self._found, self._caller = found, caller

    def get_paginator(self, operation: str) -> Parameters:
        assert operation == "get_parameters_by_path"
        return self

    def paginate(self, *, Path: str, Recursive: bool) -> Iterator[dict[str, Any]]:  # noqa: N803  as boto3 has it
        assert Recursive
        for name, value in self._found.items():
            if name.startswith(f"{Path}/"):
                yield {"Parameters": [{"Name": name, "Value": value}]}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": self._caller}


@pytest.fixture
def parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What the stacks of `dev` published; tests add to it before they make a Platform, on the instance `sagestack-dev-my-own`."""
    found = {
        "/sagestack/dev/data-bucket": "the-data",
        "/sagestack/dev/artifact-bucket": "the-artifacts",
        "/sagestack/dev/churn/pipeline-name": "the-pipeline",
        "/sagestack/prod/other/pipeline-name": "not ours",
    }
    caller = "arn:aws:sts::111111111111:assumed-role/StudioRole-Ada/SageMaker"
    monkeypatch.setattr("boto3.client", lambda service: Parameters(found, caller))
    for variable in ("SAGESTACK_ENVIRONMENT", "SAGESTACK_NOTEBOOK", "SAGESTACK_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    metadata = tmp_path / "resource-metadata.json"
    metadata.write_text('{"ResourceArn": "arn:...", "ResourceName": "sagestack-dev-my-own"}')
    monkeypatch.setenv("SAGESTACK_METADATA", str(metadata))
    return found


def test_an_instance_knows_its_environment_its_notebook_and_the_only_model(parameters: dict[str, str]) -> None:
    platform = Platform()
    assert (platform.environment, platform.notebook, platform.model) == ("dev", "my-own", "churn")
    assert (platform.data_bucket, platform.pipeline_name) == ("the-data", "the-pipeline")
    assert platform.own_uri("x", "") == "s3://the-artifacts/notebooks/my-own/examples/x/"
    assert platform.inference_component_name is None


def test_variables_say_it_where_there_is_no_instance(
    parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGESTACK_METADATA", "/nowhere")
    with pytest.raises(NotThere, match="This is no notebook instance of the platform"):
        Platform()
    monkeypatch.setenv("SAGESTACK_ENVIRONMENT", "prod")
    monkeypatch.setenv("SAGESTACK_NOTEBOOK", "laptop")
    assert repr(Platform()) == "the model other in the environment prod, seen from the notebook laptop"


def test_an_instance_that_is_somebody_elses_is_refused(parameters: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "resource-metadata.json").write_text('{"ResourceName": "my-team-notebook"}')
    with pytest.raises(NotThere, match="has no name like sagestack-dev-explore"):
        Platform()


def test_with_several_models_it_asks_which(parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    parameters["/sagestack/dev/fraud/pipeline-name"] = "the-other"
    with pytest.raises(NotThere, match=r'like Platform\("churn"\): there are churn, fraud'):
        Platform()
    assert Platform("fraud").pipeline_name == "the-other"
    with pytest.raises(NotThere, match=r"no model 'frod' in dev \(there are: churn, fraud\)"):
        Platform("frod")
    monkeypatch.setenv("SAGESTACK_MODEL", "churn")
    assert Platform().model == "churn"


def test_where_nothing_is_deployed_or_served_it_says_what_to_do(
    parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotThere, match=r"dev serves no version of churn yet.*sagestack promote --env dev"):
        _ = Platform().endpoint_name
    with pytest.raises(
        NotThere, match="There is no parameter /sagestack/dev/churn/image-uri:  sagestack deploy --env dev"
    ):
        _ = Platform().image_uri
    monkeypatch.setenv("SAGESTACK_ENVIRONMENT", "staging")
    with pytest.raises(NotThere, match="No model is deployed in the environment staging"):
        Platform()


def test_jobs_run_as_the_notebook_or_in_studio_as_the_person(parameters: dict[str, str]) -> None:
    assert Platform().role_arn == "arn:aws:iam::111111111111:role/StudioRole-Ada"
    parameters["/sagestack/dev/notebooks/my-own/role-arn"] = "arn:of-the-notebook"
    assert Platform().role_arn == "arn:of-the-notebook"


def test_jobs_that_need_a_network_have_the_notebooks_own(
    parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = Platform()
    instance: dict[str, Any] = {"SubnetId": "subnet-1", "SecurityGroups": ["sg-1"]}

    def describe(NotebookInstanceName: str) -> dict[str, Any]:  # noqa: N803  as boto3 has it
        assert NotebookInstanceName == "sagestack-dev-my-own"
        return instance

    monkeypatch.setattr("boto3.client", lambda _: SimpleNamespace(describe_notebook_instance=describe))
    assert platform.vpc_config == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    instance.clear()
    with pytest.raises(NotThere, match="say EnableNetworkIsolation=True"):
        _ = platform.vpc_config


def test_names_are_those_that_the_role_may_use_and_never_too_long(
    parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Platform().name("boto3") == "sagestack-dev-my-own-boto3"
    assert re.fullmatch(r"sagestack-dev-my-own-boto3-[0-9a-z]{7}", Platform().name("boto3", is_unique=True))
    monkeypatch.setenv("SAGESTACK_NOTEBOOK", "n" * 30)
    monkeypatch.setenv("SAGESTACK_ENVIRONMENT", "production12")
    parameters["/sagestack/production12/churn/pipeline-name"] = "the-pipeline"
    name = Platform().name("boto3", is_unique=True)
    assert name.startswith(f"sagestack-production12-{'n' * 30}-")
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


def test_what_is_not_there_is_shown_as_a_sentence_and_not_as_a_stack_trace() -> None:
    assert NotThere("it is not there")._render_traceback_() == ["NotThere: it is not there"]


@pytest.mark.parametrize(
    "metadata", ['{"AppType": "JupyterLab", "ResourceName": "default"}', None], ids=["file", "none"]
)
def test_in_studio_a_persons_role_says_which_notebook_this_is(
    metadata: str | None, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An app's own file names the app alone; a lifecycle config says the environment."""
    file = tmp_path / "of-the-app.json"
    if metadata is not None:
        file.write_text(metadata)
    monkeypatch.setenv("SAGESTACK_METADATA", str(file))
    monkeypatch.setenv("SAGESTACK_ENVIRONMENT", "dev")
    role = "arn:aws:iam::111111111111:role/people/StudioRole-Ada"
    parameters |= {
        "/sagestack/dev/notebooks/explore/role-arn": "arn:aws:iam::111111111111:role/NotebookRole-explore",
        "/sagestack/dev/notebooks/studio-ada/role-arn": role,
    }

    platform = Platform()

    assert (platform.environment, platform.notebook, platform.role_arn) == ("dev", "studio-ada", role)
    assert platform.name("boto3") == "sagestack-dev-studio-ada-boto3"


def test_a_role_of_no_notebook_is_asked_whose_names_to_use(
    parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGESTACK_METADATA", "/nowhere")
    monkeypatch.setenv("SAGESTACK_ENVIRONMENT", "dev")
    with pytest.raises(NotThere, match=r"StudioRole-Ada is the role of no notebook of dev\. Say whose names to use"):
        Platform()
