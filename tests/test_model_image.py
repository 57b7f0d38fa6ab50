"""The image is named by what goes into it, and nothing else."""

import json
from pathlib import Path
from typing import Literal

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from sagestack.build_context import build_context
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


def with_an_image_of_its_own(checkout: Path) -> Model:
    file = checkout / "model_code" / "housing" / "model.yaml"
    file.write_text(file.read_text().replace("kind: xgboost", "kind: own-container"))
    return load_model("housing", checkout)


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
    for left_behind in (
        other / "model_code" / "housing" / "model" / "__pycache__",
        other / "model_code" / "images" / "xgboost" / "xgboost_container" / "__pycache__",
    ):
        left_behind.mkdir()
        (left_behind / "train.pyc").write_bytes(b"\0")
    (other / "model_code" / "housing" / ".pytest_cache").mkdir()
    (other / "model_code" / "housing" / ".pytest_cache" / "README.md").write_text("left behind")
    images = [uri_of(load_model("housing", root), kind) for root in (checkout, other)]
    assert images[0] == images[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "file",
    ["images/xgboost/Dockerfile", "images/xgboost/xgboost_container/contract.py", "housing/model/preprocess.py"],
)
def test_a_change_of_the_code_is_another_image(checkout: Path, kind: Kind, file: str) -> None:
    model = load_model("housing", checkout)
    before = uri_of(model, kind)
    changed = checkout / "model_code" / file
    changed.write_text(changed.read_text() + "# changed\n")
    assert uri_of(model, kind) != before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["housing/data/more.csv", "housing/README.md", "images/xgboost/README.md"])
def test_what_is_for_people_does_not_count(checkout: Path, kind: Kind, file: str) -> None:
    model = load_model("housing", checkout)
    before = uri_of(model, kind)
    (checkout / "model_code" / file).write_text("changed")
    assert uri_of(model, kind) == before


def test_a_models_folder_adds_what_is_its_own_to_the_shared_image(checkout: Path, tmp_path: Path) -> None:
    model = load_model("housing", checkout)
    (model.folder / "requirements.txt").write_text("# a package of its own\n")
    context = build_context(model, tmp_path)
    shared = checkout / "model_code" / "images" / "xgboost"
    assert (context / "Dockerfile").read_bytes() == (shared / "Dockerfile").read_bytes()
    assert (context / "requirements-model.txt").read_text() == "# a package of its own\n"
    assert {path.name for path in (context / "model").iterdir()} == {
        path.name for path in (model.folder / "model").iterdir() if path.name != "__pycache__"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_its_own_is_the_folder_itself(checkout: Path, kind: Kind) -> None:
    model = with_an_image_of_its_own(checkout)
    (model.folder / "Dockerfile").write_text("FROM scratch\n")
    (model.folder / ".dockerignore").write_text("notes\n")
    before = uri_of(model, kind)
    (model.folder / "notes").mkdir()
    (model.folder / "notes" / "todo.md").write_text("later")
    assert uri_of(model, kind) == before
    (model.folder / "Dockerfile").write_text("FROM scratch\nLABEL changed=yes\n")
    assert uri_of(model, kind) != before


def test_an_image_of_its_own_without_a_dockerfile_is_refused(checkout: Path) -> None:
    with pytest.raises(ValueError, match="model_code/housing has no Dockerfile"):
        image_of(with_an_image_of_its_own(checkout), "ecr")


def test_a_model_without_its_own_preprocess_is_refused(checkout: Path) -> None:
    model = load_model("housing", checkout)
    (model.folder / "model" / "preprocess.py").unlink()
    with pytest.raises(ValueError, match="model_code/housing/model must be a package"):
        image_of(model, "build-context")


def test_the_image_for_graviton_is_built_for_arm_beside_the_one_of_the_jobs(checkout: Path) -> None:
    app = cdk.App(context=flags())
    image = image_of(load_model("housing", checkout), "ecr", cdk.Stack(app, "Stack"))
    assert image.on("amd64") is image
    assert image.on("arm64") is not image
    assert image.on("arm64") is image.on("arm64")
    assets = json.loads((Path(app.synth().directory) / "Stack.assets.json").read_text())["dockerImages"]
    assert {asset["source"]["platform"] for asset in assets.values()} == {"linux/amd64", "linux/arm64"}


@pytest.mark.parametrize(("kind", "action"), [("build-context", "s3:GetObject*"), ("ecr", "ecr:BatchGetImage")])
def test_who_may_pull_it_may_pull_older_ones_too(checkout: Path, kind: Kind, action: str) -> None:
    stack = new_stack()
    image_of(load_model("housing", checkout), kind, stack).grant_pull(iam.User(stack, "Puller"))
    policies = str(Template.from_stack(stack).find_resources("AWS::IAM::Policy"))
    assert action in policies
    assert "s3:Put" not in policies
    assert "ecr:Put" not in policies
