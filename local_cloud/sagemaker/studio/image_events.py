"""The events of custom images, the only ones of Studio that AWS documents (there are none of domains, user profiles or apps).

The developer guide shows the status in another case than the API has it ("Creating"); rules of AWS's own project templates match
what the API says ("CREATED"), and so it is sent here.
https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker import events
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document


def send_image(service: Sagemaker, caller: Caller, image: Document, its_tags: dict[str, str]) -> None:
    """`SageMaker Image State Change`; its version is that of the newest one."""
    detail = {
        "ImageName": image["ImageName"],
        "ImageArn": image["ImageArn"],
        "ImageStatus": image["ImageStatus"],
        "Version": float(image.get("LastVersion", 0)),
        "Tags": its_tags,
    }
    events.send(service, caller.account, caller.region, "SageMaker Image State Change", detail, [image["ImageArn"]])


def send_version(service: Sagemaker, caller: Caller, version: Document, its_tags: dict[str, str]) -> None:
    """`SageMaker Image Version State Change`."""
    detail = {
        "ImageArn": version["ImageArn"],
        "ImageVersionArn": version["ImageVersionArn"],
        "ImageVersionStatus": version["ImageVersionStatus"],
        "Version": float(version["Version"]),
        "Tags": its_tags,
    }
    arn = version["ImageVersionArn"]
    events.send(service, caller.account, caller.region, "SageMaker Image Version State Change", detail, [arn])
