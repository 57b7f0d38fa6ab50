"""What CreateEndpoint and UpdateEndpoint say about the deployment, and what of it is refused at once."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.deployments import alarm_watch, deployment_policy
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document


def config_of(request: Request, document: Document | None) -> Document | None:
    """The DeploymentConfig of an update: the request's own; or the last one, if the request retains it and has none.

    Raises:
        ValidationError: it is none.
    """
    config: Document | None = request.get("DeploymentConfig")
    if config:
        deployment_policy.check(config)
        return config
    return document.get("LastDeploymentConfig") if document and request.get("RetainDeploymentConfig") else None


def refuse_unwatched(service: Sagemaker, caller: Caller, plan: Document, config: Document) -> None:
    """Refuse an update whose alarms are not there, or cannot be read by its role: nothing would roll it back.

    Raises:
        ValidationError: with the role and the action, or the alarms.
    """
    policy, role_arn = deployment_policy.policy_of(config), plan["Variants"][0]["ExecutionRoleArn"]
    assert policy is not None
    try:
        with alarm_watch.watching(service.platform, caller.region, role_arn, policy.alarms) as watch:
            watch.tripped()
    except alarm_watch.Refused as error:
        raise ValidationError(str(error)) from error
