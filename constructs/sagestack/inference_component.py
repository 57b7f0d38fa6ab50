"""Copies of a model on instances that they share."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.settings.update_checks import MAIN_VARIANT
from sagestack.update_policy import UpdatePolicy


class InferenceComponent(cdk.Resource):
    """One model in several copies, each with its part of an instance's CPU and memory.

    It has a name, the endpoint's: its alarms and its scaling must know it before it exists, and a caller must say it. That is
    no trouble here, since another model or size changes a component in place; only the endpoint and the name replace it.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-inferencecomponent.html

    Attributes:
        inference_component_name: as it was given, in plain text.
        inference_component_arn: a token until deployment.
        resource: the L1 resource.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        inference_component_name: str,
        endpoint: sagemaker.CfnEndpoint,
        endpoint_name: str,
        model_name: str,
        hosting: settings.InferenceComponents,
        policy: UpdatePolicy,
        alarms: Sequence[cloudwatch.IAlarm],
    ) -> None:
        """Places the copies once the endpoint is in service.

        Args:
            inference_component_name: 1 to 63 letters, digits and hyphens.
            endpoint: whose instances are shared.
            endpoint_name: its name in plain text.
            model_name: the SageMaker model; another one rolls through the copies.
            hosting: how many copies, and what each needs.
            policy: how copies are replaced.
            alarms: what rolls that back.
        """
        super().__init__(scope, id)
        self.inference_component_name = inference_component_name
        property_of = sagemaker.CfnInferenceComponent
        self.resource = sagemaker.CfnInferenceComponent(
            self,
            "Resource",
            inference_component_name=inference_component_name,
            endpoint_name=endpoint_name,
            variant_name=MAIN_VARIANT,
            specification=property_of.InferenceComponentSpecificationProperty(
                model_name=model_name,
                compute_resource_requirements=property_of.InferenceComponentComputeResourceRequirementsProperty(
                    number_of_cpu_cores_required=hosting.cpus_per_copy,
                    min_memory_required_in_mb=hosting.memory_per_copy_in_mb,
                ),
            ),
            runtime_config=property_of.InferenceComponentRuntimeConfigProperty(copy_count=hosting.copies),
            deployment_config=policy.component_deployment_config(alarms),
        )
        # Its name in plain text is no reference, so CloudFormation must be told.
        self.resource.node.add_dependency(endpoint)
        self.inference_component_arn = self.resource.ref
