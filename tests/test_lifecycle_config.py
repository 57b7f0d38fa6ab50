"""What `environments/*.yaml` may say of lifecycle configs, and the resource that becomes of it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
import yaml  # type: ignore[import-untyped]
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Annotations, Match, Template
from pydantic import ValidationError
from sagestack.settings import EnvironmentNames, SettingsError, load_environment
from sagestack.settings.workbench.lifecycle import LifecycleOptions
from sagestack.settings.workbench.lifecycle_fips import fips_regions
from sagestack.workbench.lifecycle import environment_variables, proxy
from sagestack.workbench.lifecycle.fit import check_lifecycle_configs
from sagestack.workbench.lifecycle.lifecycle_config import LifecycleConfig
from sagestack.workbench.lifecycle.options import environment_of

from tests.lifecycle_samples import CONTEXT, SAMPLES, options
from tests.synthesis import copy_project, text_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"))


def problems(root: Path, config: dict[str, Any], **changes: str) -> str:
    """What is said of an environment with this lifecycle config."""
    content = yaml.safe_load((root / "environments/dev.yaml").read_text())
    content["workbench"] = {"network": {"cidr": "10.42.0.0/22"}, "lifecycle_configs": {"standard": config}}
    path = root / "environments/trial.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    try:
        check_lifecycle_configs(load_environment("trial", root), root)
    except SettingsError as error:
        return str(error)
    finally:
        path.unlink()
    return ""


# --- Settings


def test_nothing_said_is_nothing_done() -> None:
    assert LifecycleOptions() == LifecycleOptions.model_validate({})
    assert not any(value for value in LifecycleOptions().model_dump().values())


def test_a_config_with_every_option_is_fine(root: Path) -> None:
    assert problems(root, SAMPLES) == ""


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"auto_stop": {"idle_minutes": 4}},
            "auto_stop.idle_minutes: 4 is not allowed (allowed: a whole number of minutes, 5",
        ),
        (
            {"auto_stop": {"idle_minutes": 5, "warn_minutes": 5}},
            "auto_stop.warn_minutes: 5 does not fit idle_minutes: 5: people would be warned",
        ),
        ({"environment_variables": {"PATH": "/x"}}, "PATH cannot be set here: the system sets it"),
        ({"environment_variables": {"HTTPS_PROXY": "x"}}, "HTTPS_PROXY cannot be set here: say proxy: instead"),
        ({"environment_variables": {"AWS_SECRET_ACCESS_KEY": "x"}}, "the instance's role gives credentials"),
        ({"environment_variables": {"SAGESTACK_HOME": "x"}}, "belong to the platform"),
        ({"environment_variables": {"A B": "x"}}, "'A B' is no name of a variable"),
        ({"environment_variables": {"A": "x\ny"}}, "does not fit (allowed: one line"),
        (
            {"environment_variables": {"A": 1}},
            "environment_variables.A: 1 is not allowed (allowed: one line of text in quotes, up to 1024 characters)",
        ),
        (
            {"packages": [{"manager": "npm", "packages": ["x"]}]},
            "manager: 'npm' is not allowed (allowed: pip or conda)",
        ),
        ({"packages": [{"manager": "pip", "packages": ["--index-url=x"]}]}, "'--index-url=x' is not allowed"),
        ({"proxy": {}}, "proxy: say http or https"),
        ({"proxy": {"http": "http://me:secret@proxy:1"}}, "without a user or a password"),
        ({"scripts": [{"name": "a", "file": "../a.sh"}]}, "'../a.sh' is not allowed"),
        (
            {"scripts": [{"name": "a", "file": "a.sh", "required": True}]},
            "scripts[0].required: true does not fit background: true",
        ),
        (
            {"scripts": [{"name": "a", "file": "a.sh", "background": False, "timeout_minutes": 10}]},
            "scripts[0].timeout_minutes: 10 does not fit background: false: SageMaker gives all of a hook five minutes",
        ),
        (
            {"scripts": [{"name": "a", "file": "a.sh"}, {"name": "a", "file": "b.sh"}]},
            "scripts[1].name: 'a' is the name of 2 scripts",
        ),
        ({"auto_stopp": {}}, "unknown key; did you mean 'auto_stop'?"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40] if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused_at_its_line(root: Path, config: dict[str, Any], said: str) -> None:
    found = problems(root, config)
    assert said in found
    assert re.match(r"environments/trial.yaml:\d+: workbench.lifecycle_configs.standard.", found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no file mine.sh"),
        (b"#!/bin/bash\r\necho\r\n", "mine.sh: line 1 ends with CRLF"),
        (b"#!/bin/bash\ncd $X\n", "mine.sh: line 2: Use 'cd ... || exit'"),
        (b"#!/bin/bash\nif\n", "mine.sh: bash cannot read it: line "),
        (b"#!/bin/bash\n\xff\n", "mine.sh: is no UTF-8 text (byte 12)"),
        (b"#!/bin/bash\n" + b"echo\n" * 3000, "mine.sh: is 20016 characters in base64"),
    ],
    ids=["missing", "crlf", "shellcheck", "syntax", "bytes", "size"],
)
def test_a_script_of_ones_own_is_checked_like_ours(root: Path, text: bytes | None, said: str) -> None:
    (root / "mine.sh").unlink(missing_ok=True)
    if text is not None:
        (root / "mine.sh").write_bytes(text)
    found = problems(root, {"scripts": [{"name": "mine", "file": "mine.sh"}]})
    assert f"workbench.lifecycle_configs.standard.scripts[0].file: {said}" in found


def test_a_script_with_the_name_of_one_of_our_steps_is_refused(root: Path) -> None:
    (root / "mine.sh").write_text("#!/bin/bash\necho\n")
    script = {"name": "auto-stop", "file": "mine.sh"}
    assert problems(root, {"scripts": [script]}) == ""
    found = problems(root, {"scripts": [script], "auto_stop": {}})
    assert "scripts[0].name: 'auto-stop' is the name of another step of this config; choose another" in found


def test_fips_is_refused_where_sagemaker_has_no_such_endpoint(root: Path) -> None:
    assert {"us-east-1", "us-gov-west-1", "ca-central-1"} <= fips_regions()
    assert problems(root, {"fips": True}, region="us-west-2") == ""
    assert "SageMaker has no FIPS endpoint in eu-central-1" in problems(root, {"fips": True}, region="eu-central-1")


# --- What kernels and terminals find


def test_a_proxy_never_stands_between_an_instance_and_its_credentials() -> None:
    found = environment_of(options("proxy"), CONTEXT)
    assert found["http_proxy"] == found["HTTP_PROXY"] == "http://proxy.example.org:3128"
    assert {"169.254.169.254", "169.254.170.2", "localhost", ".example.org"} <= set(found["no_proxy"].split(","))
    assert found["NO_PROXY"] == found["no_proxy"]
    assert "https_proxy" not in found


def test_fips_is_a_variable_that_every_sdk_reads() -> None:
    assert environment_of(options("fips"), CONTEXT) == {"AWS_USE_FIPS_ENDPOINT": "true"}
    assert proxy.steps(options("proxy").proxy, CONTEXT) == ()  # type: ignore[arg-type]


def test_names_that_look_secret_are_told_apart_from_those_that_say_where_a_secret_is() -> None:
    given = {
        "API_KEY": "1",
        "DB_PASSWORD": "2",
        "GIT_TOKEN": "3",
        "DB_SECRET_ARN": "4",
        "PROJECT": "5",
        "TOKENIZER_NAME": "6",
    }
    assert environment_variables.like_secrets(given) == ["API_KEY", "DB_PASSWORD", "GIT_TOKEN"]


# --- The resource


class _Made:
    def __init__(self, *, values: dict[str, Any], notebooks: list[str] | None = None) -> None:
        self.stack = cdk.Stack(cdk.App(), "stack", env=cdk.Environment(account="111111111111", region="us-east-1"))
        self.config = LifecycleConfig(
            self.stack,
            "Config",
            name="standard",
            options=LifecycleOptions.model_validate(values),
            names=EnvironmentNames("dev"),
            region="us-east-1",
            artifacts=s3.Bucket(self.stack, "Artifacts"),
            notebooks=notebooks or [],
        )
        self.role = iam.Role(self.stack, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        self.config.grant(self.role, notebook="explore")
        cdk.CfnOutput(self.stack, "Name", value=self.config.lifecycle_config_name)
        self.template = Template.from_stack(self.stack)
        (resource,) = self.template.find_resources("AWS::SageMaker::NotebookInstanceLifecycleConfig").values()
        self.properties = resource["Properties"]


@pytest.fixture(scope="module")
def made() -> _Made:
    values = {**SAMPLES, "environment_variables": {"API_KEY": "x"}}
    return _Made(values=values, notebooks=["explore", "train"])


@pytest.fixture(scope="module")
def small() -> _Made:
    return _Made(values={"environment_variables": {"PROJECT": "churn"}})


def test_it_has_the_name_that_people_look_for(made: _Made) -> None:
    assert made.properties["NotebookInstanceLifecycleConfigName"] == "sagestack-dev-standard"


def test_a_hook_that_has_nothing_to_do_is_not_there(small: _Made) -> None:
    assert "OnCreate" not in small.properties
    assert small.config.scripts.on_create is None


def test_reviewers_read_the_script_in_the_template(small: _Made) -> None:
    (hook,) = small.properties["OnStart"]
    text = text_of(hook["Content"]["Fn::Base64"])
    assert text.startswith("#!/bin/bash\n# Lifecycle config standard of Sagestack: each time that the instance starts.")
    assert "export PROJECT=churn\n" in text
    assert re.search(r"^export SAGESTACK_ARTIFACT_BUCKET='<Artifacts\w*>'$", text, re.MULTILINE)
    assert len(base64.b64encode(text.encode())) <= 16384


def test_what_does_not_fit_is_an_asset_whose_sha256_is_in_the_script(made: _Made) -> None:
    import hashlib

    script = made.config.scripts.on_start
    assert script is not None
    assert script.form == "fetched"
    text = text_of(made.properties["OnStart"][0]["Content"]["Fn::Base64"])
    digest = hashlib.sha256(script.steps_text.encode()).hexdigest()
    assert f"export SAGESTACK_STEPS_SHA256={digest}\n" in text
    assert re.search(r"SAGESTACK_STEPS_URL='?s3://cdk-hnb659fds-assets-111111111111-us-east-1/\w+\.sh", text)


def test_the_role_may_read_the_assets_of_the_config_and_no_others(made: _Made) -> None:
    (policy,) = made.template.find_resources("AWS::IAM::Policy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    reading = json.dumps([each["Resource"] for each in statements if "s3:GetObject" in each["Action"]])
    of_assets = re.findall(r":s3:::cdk-hnb659fds-assets-111111111111-us-east-1/([^\"]*)", reading)
    assert sorted(re.sub(r"^[0-9a-f]{64}", "HASH", each) for each in of_assets) == ["HASH.sh", "HASH.zip"]


def test_synth_says_which_instances_must_be_stopped_for_a_change(made: _Made, small: _Made) -> None:
    said = Match.string_like_regexp("A change of lifecycle config standard reaches explore, train at the next start")
    Annotations.from_stack(made.stack).has_info("*", said)
    assert not Annotations.from_stack(small.stack).find_info("*", Match.any_value())


def test_synth_warns_of_secrets_that_everybody_could_read(made: _Made, small: _Made) -> None:
    said = Match.string_like_regexp("API_KEY may be secret")
    Annotations.from_stack(made.stack).has_warning("*", said)
    assert not Annotations.from_stack(small.stack).find_warning("*", Match.any_value())


def test_backups_need_to_know_whose_they_are(made: _Made) -> None:
    with pytest.raises(ValueError, match="say the notebook's name"):
        made.config.grant(made.role)


def test_a_config_that_the_user_wrote_in_code_is_checked_too() -> None:
    script = {"name": "mine", "file": "no/such/file.sh"}
    with pytest.raises(ValueError, match="there is no file no/such/file"):
        _Made(values={"scripts": [script]})
    with pytest.raises(ValidationError):
        LifecycleOptions.model_validate({"auto_stop": {"idle_minutes": 1}})
