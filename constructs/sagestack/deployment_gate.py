"""A deployment that is not what it says fails its stack, before it changes anything where that is possible."""

from __future__ import annotations

from collections.abc import Callable

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from functions.deployment_gate.names import GATE, VERSION_CHECK
from sagestack.endpoint import Endpoint
from sagestack.functions import Function, Provider
from sagestack.golden_probe import give_room_for_boto3, grant_ask, grant_look_at_endpoint, group_of
from sagestack.served_parts import ServedParts

_PATIENCE = cdk.Duration.hours(1)
"""CloudFormation waits no longer for a custom resource. An update may take eight hours, and CloudFormation waits for its
end in the endpoint itself; the gate begins after that.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html"""
_ONE_LOOK = cdk.Duration.minutes(5)
_FOLDER = "golden-records"
"""Where the golden records of an asynchronous endpoint go in, below its requests."""


class DeploymentGate(Construct):
    """Checks a version before anything changes, and what the endpoint serves and answers after each update.

    SageMaker reports an update that it took back as an endpoint in service, and every tool believes it. The gate compares
    what is live with what was wanted and asks the golden records that travel with each version; what differs fails
    the stack, and CloudFormation goes back to what served before. Going back is let through unlooked-at: a gate that fails
    then would leave a stack that no deployment can mend.

    A deployment that changes neither configuration nor version runs nothing of this.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint: Endpoint,
        parts: ServedParts,
        grant_read_golden_records: Callable[[iam.IGrantable], object],
        requests: tuple[s3.IBucket, str] | None = None,
    ) -> None:
        """Makes the functions and the two custom resources around an endpoint.

        Args:
            endpoint: what is guarded: its models come after the check, and the gate comes after it.
            parts: what it must be in the end.
            grant_read_golden_records: lets the functions read where versions keep their records.
            requests: for an asynchronous endpoint, the bucket and the prefix that its requests are read from, with a slash at
                the end.

        Raises:
            ValueError: an asynchronous endpoint without `requests`.
        """
        super().__init__(scope, id)
        if (endpoint.answers is None) != (requests is None):
            raise ValueError("requests is for asynchronous endpoints, and needed there: golden records go in by S3")
        stack = cdk.Stack.of(self)
        on_event, is_complete = (
            Function(
                self,
                name,
                package="deployment_gate",
                handler=handler,
                description=f"{what} {endpoint.endpoint_name}",
                timeout=_ONE_LOOK,
                environment={},
            )
            for name, handler, what in (
                ("Check", "on_event", "Checks the versions that are to be deployed to"),
                ("Look", "is_complete", "Compares, and asks, what is deployed to"),
            )
        )
        for function in (on_event, is_complete):
            give_room_for_boto3(function)
            grant_look_at_endpoint(function, endpoint.endpoint_name, parts.model_package_arns)
            grant_read_golden_records(function)
            function.add_to_role_policy(
                iam.PolicyStatement(actions=["cloudformation:DescribeStacks"], resources=[stack.stack_id])
            )
        _grant_questions(is_complete, endpoint, parts, requests)
        provider = Provider(
            self,
            on_event_handler=on_event,
            is_complete_handler=is_complete,
            query_interval=cdk.Duration.seconds(10),
            total_timeout=_PATIENCE,
        )
        check = cdk.CustomResource(
            self,
            "VersionCheck",
            service_token=provider.service_token,
            resource_type=VERSION_CHECK,
            properties={
                "EndpointName": endpoint.endpoint_name,
                "Versions": [
                    {"ModelPackageArn": arn, "ModelPackageGroupArn": group_of(arn)} for arn in parts.model_package_arns
                ],
            },
        )
        for model in endpoint.node.find_all():
            if isinstance(model, sagemaker.CfnModel):
                model.node.add_dependency(check)
        gate = cdk.CustomResource(
            self,
            "Resource",
            service_token=provider.service_token,
            resource_type=GATE,
            properties={
                "EndpointName": endpoint.endpoint_name,
                "EndpointConfigName": endpoint.config.attr_endpoint_config_name,
                "Variants": [part.wanted() for part in parts.variants],
                "ShadowVariants": [part.wanted() for part in parts.shadows],
                "InferenceComponents": [part.wanted() for part in parts.components],
                "Questions": parts.questions(),
                **({"AsyncInputUri": _inputs(*requests)} if requests else {}),
            },
        )
        gate.node.add_dependency(endpoint.resource)
        if endpoint.component:
            gate.node.add_dependency(endpoint.component.resource)


def _grant_questions(
    function: Function, endpoint: Endpoint, parts: ServedParts, requests: tuple[s3.IBucket, str] | None
) -> None:
    if endpoint.answers and requests:
        grant_ask(function, endpoint.endpoint_name, "sagemaker:InvokeEndpointAsync")
        endpoint.answers.grant_ask(function)
        # What was sent is noted beside it, for the next look.
        bucket, prefix = requests
        bucket.grant_read(function, f"{prefix}{_FOLDER}/*")
        return
    grant_ask(function, endpoint.endpoint_name)
    if parts.components:
        stack = cdk.Stack.of(function)
        arns = [
            stack.format_arn(service="sagemaker", resource="inference-component", resource_name=part.name)
            for part in parts.components
        ]
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["sagemaker:DescribeInferenceComponent", "sagemaker:InvokeEndpoint"], resources=arns
            )
        )


def _inputs(bucket: s3.IBucket, prefix: str) -> str:
    return bucket.s3_url_for_object(f"{prefix}{_FOLDER}")
