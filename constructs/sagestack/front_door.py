"""An HTTP API in front of an endpoint, for callers that speak no SigV4 to SageMaker, or are not in the account."""

from __future__ import annotations

import json
from collections.abc import Sequence

import aws_cdk as cdk
import jsii
from aws_cdk import aws_apigateway as rest
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from constructs import Construct
from sagestack import settings
from sagestack.functions import Function

PATH = "/invocations"


class FrontDoor(Construct):
    """Answers `POST /invocations` with predictions, to callers with a token (JWT) or with AWS credentials (IAM).

    What cannot be a request to the model is refused before it costs the endpoint anything: too many of them, an unknown
    content type, an empty body, one above 6 MB (4.5 MB where it is not text: Lambda carries it in base64). What the model
    answers must fit the same way, within 25 seconds; larger or slower requests are for `InvokeEndpoint` itself
    (`Endpoint.grant_invoke`). No browser on another site may call it: CORS is off.

    Attributes:
        url: where to post to.
        api: the HTTP API.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint_name: str,
        endpoint_arn: str,
        door: settings.FrontDoor,
        content_types: Sequence[str],
        inference_component_name: str | None = None,
        inference_component_arn: str | None = None,
    ) -> None:
        """Makes the API, and the function behind it, which may ask this endpoint and nothing else.

        Args:
            endpoint_name: the endpoint that answers.
            endpoint_arn: the same, for the permission.
            door: who may come in, and how many.
            content_types: what the model reads, from its model.yaml.
            inference_component_name: which of the endpoint's components answers, where it has them.
            inference_component_arn: the same, for the permission.
        """
        super().__init__(scope, id)
        self._door = door
        function = Function(
            self,
            "Function",
            package="front_door",
            description=f"Takes HTTP requests to the endpoint {endpoint_name}",
            timeout=cdk.Duration.seconds(29),
            environment={
                "ENDPOINT_NAME": endpoint_name,
                "CONTENT_TYPES": ",".join(content_types),
                **({"INFERENCE_COMPONENT_NAME": inference_component_name} if inference_component_name else {}),
            },
        )
        iam.Grant.add_to_principal(
            grantee=function,
            actions=["sagemaker:InvokeEndpoint"],
            resource_arns=[endpoint_arn, *([inference_component_arn] if inference_component_arn else [])],
        )
        self.api = apigateway.HttpApi(
            self,
            "Api",
            api_name=endpoint_name,
            description=f"Predictions of {endpoint_name}",
            create_default_stage=False,
        )
        self.api.add_routes(
            path=PATH,
            methods=[apigateway.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Integration", function),
            authorizer=_authorizer(door),
        )
        access_logs = logs.LogGroup(
            self, "AccessLogs", retention=logs.RetentionDays.ONE_YEAR, removal_policy=cdk.RemovalPolicy.DESTROY
        )
        apigateway.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=apigateway.ThrottleSettings(rate_limit=door.requests_per_second, burst_limit=door.burst),
            access_log_settings=_AccessLogs(access_logs),
        )

    @property
    def url(self) -> str:
        return f"{self.api.api_endpoint}{PATH}"

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody of this account in, where the door asks for AWS credentials (`authorization: iam`).

        Raises:
            ValueError: it asks for a token instead, which is not a matter of permissions.
        """
        if self._door.authorization != "iam":
            raise ValueError(
                f"{self.node.path} lets in by tokens of {self._door.authorization.issuer}, not by permissions"
            )
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["execute-api:Invoke"],
            resource_arns=[self.api.arn_for_execute_api("POST", PATH, "$default")],
        )


def _authorizer(door: settings.FrontDoor) -> apigateway.IHttpRouteAuthorizer:
    if door.authorization == "iam":
        return authorizers.HttpIamAuthorizer()
    return authorizers.HttpJwtAuthorizer("Jwt", door.authorization.issuer, jwt_audience=door.authorization.audience)


@jsii.implements(apigateway.IAccessLogSettings)
class _AccessLogs:
    """Who asked, when, and what became of it; the function's own log has the rest, by the same request id."""

    def __init__(self, log_group: logs.ILogGroup) -> None:
        self._destination = apigateway.LogGroupLogDestination(log_group)

    @property
    def destination(self) -> apigateway.IAccessLogDestination:
        return self._destination

    @property
    def format(self) -> rest.AccessLogFormat:
        fields = {
            "request_id": "requestId",
            "time": "requestTime",
            "source_ip": "identity.sourceIp",
            "caller": "identity.caller",
            "route": "routeKey",
            "status": "status",
            "response_bytes": "responseLength",
            "milliseconds": "responseLatency",
            "error": "error.message",
            "authorizer_error": "authorizer.error",
            "integration_error": "integrationErrorMessage",
        }
        return rest.AccessLogFormat.custom(json.dumps({name: f"$context.{field}" for name, field in fields.items()}))
