"""The condition keys that IAM policies may ask of SageMaker's requests: tags of the resource, tags and settings of the request.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

import json
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.service import Sagemaker

Conditions = dict[str, Any]

_SETTINGS = {
    "DirectInternetAccess": "sagemaker:directinternetaccess",
    "RootAccess": "sagemaker:rootaccess",
    "KmsKeyId": "sagemaker:volumekmskey",
    "SubnetId": "sagemaker:vpcsubnets",
    "SecurityGroupIds": "sagemaker:vpcsecuritygroupids",
    "InstanceType": "sagemaker:instancetypes",
}
"""Members of a request for a notebook instance, and the keys they fill; in lower case, as MiniStack looks them up."""

_CONTAINERS = frozenset(f"sagemaker:Create{what}" for what in ("Model", "ProcessingJob", "TrainingJob"))
"""What makes something that runs containers, with a network or without."""


def of_resource(service: Sagemaker, account: str, region: str, resource_arn: str) -> Conditions:
    """`aws:ResourceTag/KEY` and `sagemaker:ResourceTag/KEY`, for each tag of the resource that a request is about."""
    if resource_arn == "*":
        return {}
    its_tags = tags.current(service, Caller(account=account, region=region, arn=""), resource_arn)
    return {
        f"{prefix}:resourcetag/{key}".lower(): value
        for key, value in its_tags.items()
        for prefix in ("aws", "sagemaker")
    }


def of_request(action: str, body: bytes) -> Conditions:
    """`aws:RequestTag/KEY` and `aws:TagKeys`, and the keys of the settings of a notebook instance, a job and a model.

    Args:
        action: what IAM is asked for, as policies write it.
        body: of the request.
    """
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return {}
    if not isinstance(request, dict):
        return {}
    conditions: Conditions = {}
    # The request's shape is checked only after this.
    given = [tag for tag in _list(request.get("Tags")) if isinstance(tag, dict) and "Key" in tag]
    for tag in given:
        conditions[f"aws:requesttag/{tag['Key']}".lower()] = str(tag.get("Value", ""))
    keys = [str(tag["Key"]) for tag in given] + [str(key) for key in _list(request.get("TagKeys"))]
    if keys:
        conditions["aws:TagKeys"] = keys
    if "NotebookInstanceName" in request:
        conditions |= {key: request[member] for member, key in _SETTINGS.items() if request.get(member)}
        for key in ("sagemaker:vpcsubnets", "sagemaker:instancetypes"):
            if key in conditions:
                # A list in the reference, since other operations take several.
                conditions[key] = [conditions[key]]
        metadata = request.get("InstanceMetadataServiceConfiguration")
        if isinstance(metadata, dict) and metadata.get("MinimumInstanceMetadataServiceVersion"):
            conditions["sagemaker:minimuminstancemetadataserviceversion"] = metadata[
                "MinimumInstanceMetadataServiceVersion"
            ]
    if action in _CONTAINERS:
        conditions |= _of_network(request)
    return conditions


def _of_network(request: dict[str, Any]) -> Conditions:
    """Whether containers have a network, and which one. Processing has it a level below; the shape is checked only after this."""
    said = request.get("NetworkConfig")
    network = said if isinstance(said, dict) else request
    conditions: Conditions = {
        "sagemaker:networkisolation": "true" if network.get("EnableNetworkIsolation") is True else "false"
    }
    vpc = network.get("VpcConfig")
    if isinstance(vpc, dict):
        conditions["sagemaker:vpcsubnets"] = _list(vpc.get("Subnets"))
        conditions["sagemaker:vpcsecuritygroupids"] = _list(vpc.get("SecurityGroupIds"))
    return conditions


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
