"""Synthesizes the platform for tests, from a copy of the project, so that no pin of the laptop's owner is in it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from sagestack.settings import PROJECT_ROOT, Environment, Network, load_models, load_sources

import app as platform

Resource = dict[str, Any]

NETWORK = Network(
    subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    security_group_ids=["sg-0123456789abcdef0"],
)


def flags() -> dict[str, Any]:
    """The CDK flags that the real app runs with."""
    context: dict[str, Any] = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    return context


def copy_project(target: Path) -> Path:
    """Copies what synth reads: environments without local pins, and the model folders."""
    shutil.copytree(
        PROJECT_ROOT / "environments", target / "environments", ignore=shutil.ignore_patterns("*.pins.yaml")
    )
    shutil.copytree(PROJECT_ROOT / "model_code", target / "model_code", ignore=shutil.ignore_patterns("__pycache__"))
    return target


def served(environment: Environment, version: int = 3, **changes: Any) -> Environment:
    """The environment with every model in service."""
    models = {name: model.model_copy(update={"served_version": version}) for name, model in environment.models.items()}
    return environment.model_copy(update={"models": models, **changes})


def share_between_accounts(root: Path) -> None:
    """`prod` serves versions of `dev`, which lets it in and takes approvals to git."""
    prod, dev = root / "environments/prod.yaml", root / "environments/dev.yaml"
    prod.write_text(prod.read_text().replace("served_version: null", "served_version: 4\n    versions_from: dev"))
    changed = dev.read_text().replace(
        "served_version: null", 'served_version: null\n    deployable_from: ["333333333333"]'
    )
    secret = "arn:aws:secretsmanager:us-east-1:111111111111:secret:token-AbCdEf"
    dev.write_text(f"{changed}git: {{host: github, repository: team/ml, token_secret_arn: '{secret}'}}\n")


def build(root: Path, environment: Environment, outdir: Path | None = None) -> cdk.App:
    """Builds the stacks as app.py does, without the CDK CLI and without the guardrails."""
    app = cdk.App(context=flags(), outdir=str(outdir) if outdir else None, analytics_reporting=False)
    platform.add_platform(app, environment, load_models(root), load_sources(environment, root))
    return app


@dataclass(frozen=True)
class Templates:
    """The templates of one synth, by stack name."""

    by_stack: Mapping[str, dict[str, Any]]

    def resources(self, kind: str, stack: str = "") -> list[Resource]:
        """All resources of a type, in the stacks whose name ends so."""
        return [
            resource
            for name, template in self.by_stack.items()
            for resource in template["Resources"].values()
            if resource["Type"] == kind and name.endswith(stack)
        ]

    def properties(self, kind: str, stack: str = "") -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (resource,) = self.resources(kind, stack)
        properties: dict[str, Any] = resource["Properties"]
        return properties

    def statements(self, policy: str) -> list[dict[str, Any]]:
        """The statements of the policies whose logical id starts so."""
        return [
            statement
            for template in self.by_stack.values()
            for logical_id, resource in template["Resources"].items()
            if resource["Type"] == "AWS::IAM::Policy" and logical_id.startswith(policy)
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        ]


def synthesize(app: cdk.App) -> Templates:
    return Templates({stack.stack_name: stack.template for stack in app.synth().stacks})


def text_of(value: object) -> str:
    """A joined CloudFormation string, with references written as `<Name>`."""
    match value:
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(text_of(part) for part in parts)
        case {"Fn::ImportValue": name} | {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Sub": str(text)}:
            return text.replace("${AWS::URLSuffix}", "amazonaws.com")
    return str(value)


def pipeline_definition(templates: Templates) -> dict[str, Any]:
    """The pipeline's definition as it would be parsed after deployment."""
    body = templates.properties("AWS::SageMaker::Pipeline")["PipelineDefinition"]["PipelineDefinitionBody"]
    definition: dict[str, Any] = json.loads(text_of(body))
    return definition
