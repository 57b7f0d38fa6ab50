"""Variables in policies of the local cloud: who somebody is decides what they may become, and reach."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_fixtures import LocalCloud
from tests.stopped_notebooks import stopped_notebook

ROOT = Path(__file__).parent.parent
MINE = {"StringEquals": {"aws:ResourceTag/owner": "${aws:PrincipalTag/user}"}}


@pytest.fixture(scope="module")
def decided() -> dict[str, bool]:
    """What policies with variables decide, in one process of the local cloud's environment."""
    program = """
import json
from ministack.core import iam_evaluator as iam
from local_cloud import ministack_policy_variables
ministack_policy_variables.install()

def decide(user, condition=None, resource="*", arn="arn:aws:x:::a/ada", denied="arn:aws:x:::nothing"):
    keys = {} if user is None else {"aws:principaltag/user": user}
    context = iam.EvalContext(principal_arn="p", principal_type="AssumedRole", principal_account="1", action="x:Do",
        resource_arn=arn, region="r", principal_keys=keys, service_context={"aws:resourcetag/owner": "ada"})
    statement = {"Effect": "Allow", "Action": "x:Do", "Resource": resource, "Condition": condition or {}}
    statements = [statement, {"Effect": "Deny", "Action": "x:Do", "Resource": denied}]
    return iam.evaluate(context, [iam.parse_policy_document({"Statement": statements})]).decision == "Allow"

MINE = {"StringEquals": {"aws:ResourceTag/owner": "${aws:PrincipalTag/user}"}}
LIKE = {"StringLike": {"aws:ResourceTag/owner": "${aws:PrincipalTag/user}"}}
print(json.dumps({
    "own": decide("ada", MINE),
    "another's": decide("bob", MINE),
    "of nobody": decide(None, MINE),
    "another case": decide("Ada", MINE),
    "a default": decide(None, {"StringEquals": {"aws:ResourceTag/owner": "${aws:PrincipalTag/user, 'ada'}"}}),
    "a star is no pattern": decide("*", LIKE),
    "a star is a character": decide("*", {"StringEquals": {"aws:PrincipalTag/user": "${*}"}}),
    "one of several": decide("ada", {"StringEquals": {"aws:ResourceTag/owner": ["bob", "${aws:PrincipalTag/user}"]}}),
    "own resource": decide("ada", resource="arn:aws:x:::a/${aws:PrincipalTag/user}"),
    "another's resource": decide("bob", resource="arn:aws:x:::a/${aws:PrincipalTag/user}"),
    "a star in a resource": decide("*", resource="arn:aws:x:::a/${aws:PrincipalTag/user}"),
    "a star that is the resource's own": decide("a*", resource="arn:aws:x:::a/${aws:PrincipalTag/user}", arn="arn:aws:x:::a/a*"),
    "denied by its own star": decide("a*", arn="arn:aws:x:::a/a*", denied="arn:aws:x:::a/${aws:PrincipalTag/user}"),
    "denied by a star that is a character": decide("ada", arn="arn:aws:x:::a/*", denied="arn:aws:x:::a/${*}"),
    "not denied what another star would": decide("*", denied="arn:aws:x:::a/${aws:PrincipalTag/user}"),
}))
"""
    python = ROOT / ".venv-local-cloud/bin/python"
    result = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_a_variable_stands_for_who_somebody_is_and_for_nothing_else(decided: dict[str, bool]) -> None:
    assert {what for what, is_allowed in decided.items() if is_allowed} == {
        "own",
        "a default",
        "a star is a character",
        "one of several",
        "own resource",
        "a star that is the resource's own",
        "not denied what another star would",
    }


@pytest.mark.long
def test_people_become_who_they_are_and_reach_what_is_theirs(cloud: LocalCloud) -> None:
    iam = cloud.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{cloud.account}:root"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {"StringEquals": {"aws:RequestTag/user": "${aws:PrincipalTag/user}"}},
        },
    }
    role = iam.create_role(RoleName="is-somebody", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    opening = {"Effect": "Allow", "Action": "sagemaker:CreatePresignedNotebookInstanceUrl", "Resource": "*"}
    tag = {"StringEquals": {"aws:ResourceTag/sagestack:owner": "${aws:PrincipalTag/user}"}}
    policy = {"Version": "2012-10-17", "Statement": {**opening, "Condition": tag}}
    iam.put_role_policy(RoleName="is-somebody", PolicyName="policy", PolicyDocument=json.dumps(policy))
    for owner in ("vera", "walt"):
        stopped_notebook(cloud, f"of-{owner}", owner=owner)
    iam.create_user(UserName="vera", Tags=[{"Key": "user", "Value": "vera"}])
    may = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}}
    iam.put_user_policy(UserName="vera", PolicyName="policy", PolicyDocument=json.dumps(may))
    keys = iam.create_access_key(UserName="vera")["AccessKey"]
    sts = cloud.client("sts", keys["AccessKeyId"], keys["SecretAccessKey"])

    def become(user: str) -> dict[str, str]:
        answer = sts.assume_role(RoleArn=role, RoleSessionName="work", Tags=[{"Key": "user", "Value": user}])
        return dict(answer["Credentials"])

    with pytest.raises(ClientError, match="AccessDenied"):
        become("walt")
    session = become("vera")
    sagemaker = cloud.client("sagemaker", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    for name, code in (("of-vera", "ValidationException"), ("of-walt", "AccessDeniedException")):
        # Neither runs: who is let in is told that.
        with pytest.raises(ClientError, match=code):
            sagemaker.create_presigned_notebook_instance_url(NotebookInstanceName=name)
