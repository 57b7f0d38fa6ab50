"""The image is named by what goes into it, and nothing else."""

from pathlib import Path
from typing import Literal

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from sagestack.model_image import ModelImage
from sagestack.settings import Model, load_model

from tests.synthesis import copy_project, flags, text_of

Kind = Literal["build-context", "ecr"]
KINDS: list[Kind] = ["build-context", "ecr"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "checkout")


def new_stack() -> cdk.Stack:
    place = cdk.Environment(account="111111111111", region="us-east-1")
    return cdk.Stack(cdk.App(context=flags()), "Stack", env=place)


def image_of(model: Model, kind: Kind, stack: cdk.Stack | None = None) -> ModelImage:
    return ModelImage.of(stack or new_stack(), "Image", model=model, model_image=kind)


def uri_of(model: Model, kind: Kind) -> str:
    stack = new_stack()
    return text_of(stack.resolve(image_of(model, kind, stack).image_uri))


def test_locally_it_is_the_zipped_build_context(checkout: Path) -> None:
    uri = uri_of(load_model("housing", checkout), "build-context")
    assert uri.startswith("s3://cdk-hnb659fds-assets-111111111111-us-east-1/")
    assert uri.endswith(".zip")


def test_on_aws_it_is_an_image_in_ecr_for_x86(checkout: Path) -> None:
    assert uri_of(load_model("housing", checkout), "ecr").startswith("111111111111.dkr.ecr.us-east-1.")
    app = cdk.App(context=flags())
    image_of(load_model("housing", checkout), "ecr", cdk.Stack(app, "Stack"))
    assert '"platform": "linux/amd64"' in (Path(app.synth().directory) / "Stack.assets.json").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_two_checkouts_are_one_image(checkout: Path, tmp_path: Path, kind: Kind) -> None:
    other = copy_project(tmp_path / "elsewhere")
    (other / "model_code" / "housing" / "housing" / "__pycache__").mkdir()
    (other / "model_code" / "housing" / "housing" / "__pycache__" / "train.pyc").write_bytes(b"\0")
    (other / "model_code" / "housing" / ".pytest_cache").mkdir()
    (other / "model_code" / "housing" / ".pytest_cache" / "README.md").write_text("left behind")
    images = [uri_of(load_model("housing", root), kind) for root in (checkout, other)]
    assert images[0] == images[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_the_code_is_another_image(checkout: Path, kind: Kind) -> None:
    model = load_model("housing", checkout)
    before = uri_of(model, kind)
    dockerfile = model.folder / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "LABEL changed=yes\n")
    assert uri_of(model, kind) != before


@pytest.mark.parametrize("kind", KINDS)
def test_what_dockerignore_names_does_not_count(checkout: Path, kind: Kind) -> None:
    model = load_model("housing", checkout)
    (model.folder / ".dockerignore").write_text("notes\n")
    before = uri_of(model, kind)
    (model.folder / "notes").mkdir()
    (model.folder / "notes" / "todo.md").write_text("later")
    assert uri_of(model, kind) == before


def test_a_folder_without_a_dockerfile_is_refused(checkout: Path) -> None:
    model = load_model("housing", checkout)
    (model.folder / "Dockerfile").unlink()
    with pytest.raises(ValueError, match="model_code/housing has no Dockerfile"):
        image_of(model, "ecr")


@pytest.mark.parametrize(("kind", "action"), [("build-context", "s3:GetObject*"), ("ecr", "ecr:BatchGetImage")])
def test_who_may_pull_it_may_pull_older_ones_too(checkout: Path, kind: Kind, action: str) -> None:
    stack = new_stack()
    image_of(load_model("housing", checkout), kind, stack).grant_pull(iam.User(stack, "Puller"))
    policies = str(Template.from_stack(stack).find_resources("AWS::IAM::Policy"))
    assert action in policies
    assert "s3:Put" not in policies
    assert "ecr:Put" not in policies
