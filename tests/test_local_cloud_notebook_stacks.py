"""Notebook instances in stacks of the real local cloud: made, changed, opened in a browser's way, and deleted."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.local_cloud_fakes import patiently
from tests.local_cloud_fixtures import LocalCloud
from tests.notebook_fakes import encoded
from tests.test_local_cloud_cloudformation import Stack, Template

URL = "https://git.example.org/team/analysis.git"
SCRIPTS = {"Type": "AWS::SageMaker::NotebookInstanceLifecycleConfig", "Properties": {"OnStart": encoded("exit 3")}}


def repository(cloud: LocalCloud, secret: str, url: str = URL) -> Template:
    arn = f"arn:aws:secretsmanager:{cloud.region}:{cloud.account}:secret:{secret}"
    return {
        "Type": "AWS::SageMaker::CodeRepository",
        "Properties": {"GitConfig": {"RepositoryUrl": url, "Branch": "main", "SecretArn": arn}},
    }


def template(cloud: LocalCloud, secret: str, url: str = URL, **scripts: str) -> Template:
    hooks = {hook: encoded(script) for hook, script in scripts.items()}
    return {
        "Resources": {
            "Scripts": {"Type": "AWS::SageMaker::NotebookInstanceLifecycleConfig", "Properties": hooks},
            "Repository": repository(cloud, secret, url),
        },
        "Outputs": {
            "Scripts": {"Value": {"Ref": "Scripts"}},
            "ScriptsName": {"Value": {"Fn::GetAtt": ["Scripts", "NotebookInstanceLifecycleConfigName"]}},
            "Repository": {"Value": {"Ref": "Repository"}},
            "RepositoryName": {"Value": {"Fn::GetAtt": ["Repository", "CodeRepositoryName"]}},
        },
    }


@pytest.mark.long
def test_scripts_and_repositories_change_in_place_and_another_address_is_another_repository(cloud: LocalCloud) -> None:
    sagemaker, stack = cloud.client("sagemaker"), Stack(cloud, "notebook-parts")
    stack.create(template(cloud, "one", OnCreate="echo once", OnStart="echo always"))
    made = stack.outputs
    assert made["Scripts"].endswith(f":notebook-instance-lifecycle-config/{made['ScriptsName'].lower()}")
    assert made["Repository"].endswith(f":code-repository/{made['RepositoryName'].lower()}")

    stack.update(template(cloud, "two", OnStart="echo other"))
    assert stack.outputs == made
    scripts = sagemaker.describe_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName=made["ScriptsName"]
    )
    assert (scripts["OnCreate"], scripts["OnStart"]) == ([], encoded("echo other"))
    git = sagemaker.describe_code_repository(CodeRepositoryName=made["RepositoryName"])["GitConfig"]
    assert git["SecretArn"].endswith(":two")

    stack.update(template(cloud, "two", f"{URL}/elsewhere", OnStart="echo other"))
    assert stack.outputs["Repository"] != made["Repository"]
    assert stack.outputs["RepositoryName"].startswith("Repository-")
    with pytest.raises(ClientError, match="Cannot find CodeRepository"):
        sagemaker.describe_code_repository(CodeRepositoryName=made["RepositoryName"])

    stack.delete()
    assert not sagemaker.list_code_repositories(NameContains="Repository-")["CodeRepositorySummaryList"]
    listed = sagemaker.list_notebook_instance_lifecycle_configs(NameContains="Scripts-")
    assert not listed["NotebookInstanceLifecycleConfigs"]


@pytest.mark.long
def test_an_instance_whose_script_fails_or_cannot_run_fails_its_stack_and_leaves_nothing(cloud: LocalCloud) -> None:
    role = cloud.role("notebook-fails", {"Action": "logs:*", "Resource": "*"})
    stack = Stack(cloud, "notebook-fails")
    config = {"Fn::GetAtt": ["Scripts", "NotebookInstanceLifecycleConfigName"]}
    instance = {
        "Type": "AWS::SageMaker::NotebookInstance",
        "Properties": {"InstanceType": "ml.t3.medium", "RoleArn": role, "LifecycleConfigName": config},
    }
    with pytest.raises(WaiterError):
        stack.create({"Resources": {"Scripts": SCRIPTS, "Notebook": instance}})
    reasons = [reason for status, reason in stack.events("Notebook") if status == "CREATE_FAILED"]
    assert len(reasons) == 1
    # The script's exit code where an engine runs it; why it cannot run where none does.
    assert "exit code 3" in reasons[0] or "cannot run" in reasons[0] or "cannot start" in reasons[0], reasons
    for _ in patiently("nothing to be left"):
        if not cloud.client("sagemaker").list_notebook_instances(NameContains="Notebook-")["NotebookInstances"]:
            break
    stack.delete()


def opened(url: str) -> tuple[int, str]:
    """What a browser is shown at an address: it keeps cookies and follows redirections."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    try:
        with browser.open(url, timeout=60) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, ""


@pytest.mark.notebook
def test_a_stacks_notebook_opens_stops_itself_and_comes_back(own_cloud: LocalCloud) -> None:
    cloud, stack = own_cloud, Stack(own_cloud, "notebook")
    sagemaker = cloud.client("sagemaker")
    role = cloud.role("notebook", {"Action": ["sagemaker:StopNotebookInstance", "logs:*"], "Resource": "*"})

    def wanted(instance_type: str) -> Template:
        properties: dict[str, Any] = {"InstanceType": instance_type, "RoleArn": role, "NotebookInstanceName": "story"}
        return {"Resources": {"Notebook": {"Type": "AWS::SageMaker::NotebookInstance", "Properties": properties}}}

    def status() -> str:
        return str(sagemaker.describe_notebook_instance(NotebookInstanceName="story")["NotebookInstanceStatus"])

    def until(expected: str) -> None:
        for _ in patiently(f"story to be {expected}", 60):
            if status() == expected:
                return
            time.sleep(0.1)

    stack.create(wanted("ml.t3.medium"))
    assert status() == "InService"
    volume = cloud.state_dir / "notebooks/story/volume"
    (volume / "work.txt").write_text("kept")

    url = sagemaker.create_presigned_notebook_instance_url(NotebookInstanceName="story")["AuthorizedUrl"]
    code, page = opened(url)
    assert (code, "jupyterlab" in page.lower()) == (200, True)
    assert opened(url)[0] == 403, "the address opens once"

    stack.update(wanted("ml.m5.xlarge"))
    assert status() == "InService"
    described = sagemaker.describe_notebook_instance(NotebookInstanceName="story")
    assert described["InstanceType"] == "ml.m5.xlarge"

    cloud.kill()
    cloud.start()
    until("InService")
    assert (volume / "work.txt").read_text() == "kept"

    # As the auto-stop program does it: with the role of the instance.
    trusted = {"Service": "sagemaker.amazonaws.com", "AWS": cloud.account}
    statement = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    cloud.client("iam").update_assume_role_policy(RoleName="notebook", PolicyDocument=trust)
    mine = cloud.client("sts", cloud.description["access_key_id"], cloud.description["secret_access_key"])
    given = mine.assume_role(RoleArn=role, RoleSessionName="SageMaker")["Credentials"]
    itself = cloud.client("sagemaker", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    itself.stop_notebook_instance(NotebookInstanceName="story")
    until("Stopped")
    stack.delete()
    assert not volume.exists()
