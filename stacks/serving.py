"""How one model answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from sagestack.deployable_versions import DeployableVersions, SharedVersions
from sagestack.deployment_gate import DeploymentGate
from sagestack.endpoint import Endpoint
from sagestack.front_door import FrontDoor
from sagestack.golden_probe import GoldenProbe
from sagestack.hosted_models import Archives, Beside, RegisteredModel
from sagestack.roles import SageMakerRole
from sagestack.served_parts import is_probed, served_parts
from sagestack.settings import Asynchronous, Environment, EnvironmentNames, Model

from constructs import Construct
from stacks.foundation import FoundationStack
from stacks.training import TrainingStack


class ServingStack(cdk.Stack):
    """The endpoint that serves the pinned version of one model, in the way that the environment says."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        model: Model,
        foundation: FoundationStack,
        training: Mapping[str, TrainingStack],
        sources: Mapping[str, Environment],
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id, **kwargs)
        names = EnvironmentNames(environment.name).model(model.name)
        entry = environment.models[model.name]
        own = training[model.name]
        versions = {name: self._versions_of(name, environment, training, sources) for name in model.served_together}

        role = SageMakerRole(self, "EndpointRole", description=f"What the endpoint of {model.name} may do")
        served: Archives | RegisteredModel
        if entry.served_version is None:
            own.serving_image.grant_pull(role)
            served = Archives(own.serving_image.image_uri, foundation.artifacts, names.archive_prefix)
        else:
            for each in versions.values():
                each.grant_deploy(role)
            served = RegisteredModel(
                model.name,
                versions[model.name],
                entry.served_version,
                mode=model.serving.mode,
                beside=[
                    Beside(name, versions[name].model_package_arn(version))
                    for name in model.serving.beside
                    if (version := environment.models[name].served_version) is not None
                ],
            )

        def grant_read_golden_records(grantee: iam.IGrantable) -> None:
            for each in versions.values():
                each.grant_read_golden_records(grantee)

        parts = served_parts(entry.endpoint, served, component_name=names.endpoint)
        probe = (
            GoldenProbe(
                self,
                "Probe",
                endpoint_name=names.endpoint,
                model_package_arns=parts.model_package_arns,
                grant_read_golden_records=grant_read_golden_records,
            )
            if is_probed(entry.endpoint, served)
            else None
        )
        self.endpoint = Endpoint(
            self,
            "Endpoint",
            names=names,
            hosting=entry.endpoint,
            serving=model.serving,
            model=served,
            rollback_alarms=[probe.alarm] if probe else [],
            role=role,
            artifacts=foundation.artifacts,
            encryption_key=foundation.key,
            network=environment.network,
        )
        if probe:
            probe.watch(self.endpoint)
        DeploymentGate(
            self,
            "Gate",
            endpoint=self.endpoint,
            parts=parts,
            grant_read_golden_records=grant_read_golden_records,
            requests=(foundation.artifacts, names.request_prefix) if self.endpoint.answers else None,
        )
        if not isinstance(entry.endpoint, Asynchronous) and entry.endpoint.front_door:
            component = self.endpoint.component
            front_door = FrontDoor(
                self,
                "FrontDoor",
                endpoint_name=names.endpoint,
                endpoint_arn=self.endpoint.endpoint_arn,
                door=entry.endpoint.front_door,
                content_types=model.serving.content_types,
                inference_component_name=component.inference_component_name if component else None,
                inference_component_arn=component.inference_component_arn if component else None,
            )
            ssm.StringParameter(
                self,
                "FrontDoorUrlParameter",
                parameter_name=names.front_door_url_parameter,
                string_value=front_door.url,
            )
        ssm.StringParameter(
            self,
            "EndpointNameParameter",
            parameter_name=names.endpoint_name_parameter,
            string_value=self.endpoint.endpoint_name,
        ).node.add_dependency(self.endpoint)  # who finds the name finds the endpoint
        if self.endpoint.component:
            ssm.StringParameter(
                self,
                "InferenceComponentNameParameter",
                parameter_name=names.inference_component_name_parameter,
                string_value=self.endpoint.component.inference_component_name,
            ).node.add_dependency(self.endpoint)
        # The versions are pinned by number, which says nothing to CloudFormation of where they came from.
        for name in model.served_together:
            self.add_stack_dependency(training[name])

    def _versions_of(
        self,
        name: str,
        environment: Environment,
        training: Mapping[str, TrainingStack],
        sources: Mapping[str, Environment],
    ) -> DeployableVersions:
        """Where the versions of a model are: here, or where the environment says that they come from."""
        source = environment.models[name].versions_from
        return (
            training[name].versions if source is None else SharedVersions(self, source=sources[source], model_name=name)
        )
