"""IAM and notebook instances: who may open which, by its tags, and by where the request comes from."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_fixtures import LocalCloud
from tests.stopped_notebooks import stopped_notebook

OPEN = "sagemaker:CreatePresignedNotebookInstanceUrl"


@pytest.fixture(scope="module")
def tagged(cloud: LocalCloud) -> str:
    """Two instances that are stopped: whoever is let in is told that. What their ARNs begin with."""
    arns = [stopped_notebook(cloud, f"access-of-{owner}", owner=owner) for owner in ("ada", "bob")]
    return arns[0].removesuffix("-of-ada")


def answers(cloud: LocalCloud, user: str, statement: dict[str, Any], *calls: tuple[str, dict[str, Any]]) -> list[str]:
    """What a user who may do this, and pass any role, is answered: the code of each error."""
    iam = cloud.client("iam")
    iam.create_user(UserName=user)
    statements = [{"Effect": "Allow", "Resource": "*", **each} for each in (statement, {"Action": "iam:PassRole"})]
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.put_user_policy(UserName=user, PolicyName="policy", PolicyDocument=json.dumps(policy))
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    sagemaker = cloud.client("sagemaker", keys["AccessKeyId"], keys["SecretAccessKey"])
    codes = []
    for operation, request in calls:
        with pytest.raises(ClientError) as caught:
            getattr(sagemaker, operation)(**request)
        codes.append(str(caught.value.response["Error"]["Code"]))
    return codes


def opening(name: str) -> tuple[str, dict[str, Any]]:
    return "create_presigned_notebook_instance_url", {"NotebookInstanceName": name}


LET_IN, KEPT_OUT = "ValidationException", "AccessDeniedException"


@pytest.mark.parametrize("key", ["aws:ResourceTag/sagestack:owner", "sagemaker:ResourceTag/sagestack:owner"])
def test_people_open_the_instances_that_are_tagged_as_theirs(cloud: LocalCloud, tagged: str, key: str) -> None:
    statement = {"Action": OPEN, "Condition": {"StringEquals": {key: "ada"}}}
    calls = [opening("access-of-ada"), opening("Access-Of-Ada"), opening("access-of-bob"), opening("access-of-none")]
    seen = answers(cloud, f"opens-by-{key.partition(':')[0]}", statement, *calls)
    assert seen == [LET_IN, LET_IN, KEPT_OUT, KEPT_OUT]


def test_people_open_the_instances_that_their_policy_names(cloud: LocalCloud, tagged: str) -> None:
    statement = {"Action": OPEN, "Resource": f"{tagged}-of-ada"}
    seen = answers(cloud, "opens-by-name", statement, opening("access-of-ada"), opening("access-of-bob"))
    assert seen == [LET_IN, KEPT_OUT]


@pytest.mark.parametrize(
    ("condition", "seen"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, LET_IN),
        ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, KEPT_OUT),
        ({"StringEquals": {"aws:SourceVpc": "vpc-1"}}, KEPT_OUT),
    ],
    ids=["from here", "from elsewhere", "from a VPC"],
)
def test_people_open_instances_from_where_they_may(
    cloud: LocalCloud, request: pytest.FixtureRequest, condition: dict[str, Any], seen: str
) -> None:
    user = f"opens-{request.node.callspec.id.replace(' ', '-')}"
    assert answers(cloud, user, {"Action": OPEN, "Condition": condition}, opening("access-of-ada")) == [seen]


CREATE = {"NotebookInstanceName": "access-new", "InstanceType": "ml.t3.medium"}


@pytest.mark.parametrize(
    ("condition", "fits", "does_not"),
    [
        (
            {"StringEquals": {"aws:RequestTag/sagestack:owner": "ada"}},
            {"Tags": [{"Key": "sagestack:owner", "Value": "ada"}]},
            {"Tags": [{"Key": "sagestack:owner", "Value": "bob"}]},
        ),
        (
            {"StringEquals": {"sagemaker:DirectInternetAccess": "Disabled"}},
            {"DirectInternetAccess": "Disabled"},
            {},
        ),
        (
            {"ForAllValues:StringEquals": {"sagemaker:InstanceTypes": ["ml.t3.medium"]}},
            {},
            {"InstanceType": "ml.p5.48xlarge"},
        ),
        ({"StringEquals": {"sagemaker:RootAccess": "Disabled"}}, {"RootAccess": "Disabled"}, {"RootAccess": "Enabled"}),
    ],
    ids=["tag", "internet", "type", "root"],
)
def test_people_create_the_instances_that_they_may(
    cloud: LocalCloud,
    request: pytest.FixtureRequest,
    condition: dict[str, Any],
    fits: dict[str, Any],
    does_not: dict[str, Any],
) -> None:
    # A role that SageMaker cannot assume: nothing is made, even for who may.
    role = cloud.role("access-untrusted", {"Action": "s3:GetObject", "Resource": "*"}, trusts="ec2.amazonaws.com")
    statement = {"Action": "sagemaker:CreateNotebookInstance", "Condition": condition}
    asked = [("create_notebook_instance", {**CREATE, "RoleArn": role, **more}) for more in (fits, does_not)]
    seen = answers(cloud, f"creates-by-{request.node.callspec.id}", statement, *asked)
    assert seen == [LET_IN, KEPT_OUT]


def test_who_may_write_one_instances_streams_writes_no_others(cloud: LocalCloud) -> None:
    group = "/aws/sagemaker/access"
    arn = f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:{group}"
    may = [
        {"Effect": "Allow", "Action": "logs:CreateLogGroup", "Resource": [arn, f"{arn}:*"]},
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"{arn}:log-stream:mine/*",
        },
    ]
    iam = cloud.client("iam")
    iam.create_user(UserName="writes-logs")
    policy = json.dumps({"Version": "2012-10-17", "Statement": may})
    iam.put_user_policy(UserName="writes-logs", PolicyName="policy", PolicyDocument=policy)
    keys = iam.create_access_key(UserName="writes-logs")["AccessKey"]
    writer = cloud.client("logs", keys["AccessKeyId"], keys["SecretAccessKey"])
    writer.create_log_group(logGroupName=group)
    events = [{"timestamp": int(time.time() * 1000), "message": "started"}]
    for stream in ("mine/jupyter.log", "mine/LifecycleConfigOnStart"):
        writer.create_log_stream(logGroupName=group, logStreamName=stream)
        writer.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    cloud.client("logs").create_log_stream(logGroupName=group, logStreamName="mine2/jupyter.log")
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.create_log_stream(logGroupName=group, logStreamName="other/jupyter.log")
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.put_log_events(logGroupName=group, logStreamName="mine2/jupyter.log", logEvents=events)
