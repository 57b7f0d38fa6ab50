"""IAM is enforced for functions, too: one runs with its role's temporary credentials and may do what its role may."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_fixtures import LocalCloud

HANDLER = """
import boto3, botocore.exceptions

def handler(event, context):
    try:
        boto3.client("s3").put_object(Bucket="of-functions", Key="a", Body=b"x")
    except botocore.exceptions.ClientError as error:
        return {"denied": error.response["Error"]["Code"], "who": boto3.client("sts").get_caller_identity()["Arn"]}
    return {"who": boto3.client("sts").get_caller_identity()["Arn"]}
"""


@pytest.mark.parametrize("granted", [True, False])
def test_a_function_may_do_what_its_role_may(cloud: LocalCloud, granted: bool) -> None:
    cloud.client("s3").create_bucket(Bucket="of-functions")
    name = f"function-{granted}".lower()
    action = "s3:PutObject" if granted else "s3:GetObject"
    role = cloud.role(
        name, {"Action": action, "Resource": "arn:aws:s3:::of-functions/*"}, trusts="lambda.amazonaws.com"
    )
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", HANDLER)
    functions = cloud.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="index.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=80,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    answer = functions.invoke(FunctionName=name)
    told: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, told
    assert f":assumed-role/{name}/" in told["who"]
    assert told.get("denied") == (None if granted else "AccessDenied")


@pytest.mark.parametrize(
    ("member", "key"),
    [
        ("TargetModel", "sagemaker:TargetModel"),
        ("TargetContainerHostname", "sagemaker:TargetContainerHostname"),
    ],
)
def test_who_may_ask_some_models_of_an_endpoint_may_ask_no_others(cloud: LocalCloud, member: str, key: str) -> None:
    iam, user = cloud.client("iam"), f"asks-some-{member.lower()}"
    iam.create_user(UserName=user)
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": "*",
        "Condition": {"StringLike": {key: ["red*", "blue"]}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=user, PolicyName="policy", PolicyDocument=json.dumps(policy))
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    runtime = cloud.client("sagemaker-runtime", keys["AccessKeyId"], keys["SecretAccessKey"])

    def answer(**target: str) -> str:
        with pytest.raises(ClientError) as caught:
            runtime.invoke_endpoint(EndpointName="not-there", Body=b"x", **target)
        return str(caught.value.response["Error"]["Code"])

    # Who is let in is told that there is no such endpoint.
    assert [answer(**{member: target}) for target in ("red.tar.gz", "blue")] == ["ValidationError"] * 2
    assert answer(**{member: "green"}) == answer() == "AccessDeniedException"


def test_who_may_list_one_groups_versions_may_list_no_others(cloud: LocalCloud) -> None:
    iam, user = cloud.client("iam"), "lists-versions"
    iam.create_user(UserName=user)
    for group in ("seen", "unseen"):
        cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=f"iam-{group}")
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:ListModelPackages",
        "Resource": f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:model-package/iam-seen/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=user, PolicyName="policy", PolicyDocument=json.dumps(policy))
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    sagemaker = cloud.client("sagemaker", keys["AccessKeyId"], keys["SecretAccessKey"])
    assert sagemaker.list_model_packages(ModelPackageGroupName="iam-seen")["ModelPackageSummaryList"] == []
    for request in ({"ModelPackageGroupName": "iam-unseen"}, {}):
        with pytest.raises(ClientError, match="AccessDenied"):
            sagemaker.list_model_packages(**request)
