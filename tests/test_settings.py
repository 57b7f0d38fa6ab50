"""The environments and models are typed: what is wrong is refused with its file, line, key, value and cure."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sagestack.settings import (
    PROJECT_ROOT,
    SettingsError,
    known_environments,
    load_environment,
    load_model,
    load_models,
    takes_volume_key,
    write_pin,
)

MODEL_YAML = """\
description: Predicts the price of a house.
data: {file: data/housing.csv}
training:
  kind: own-container
  hyperparameters: {max_depth: 5, eta: 0.2, objective: "reg:squarederror", verbose: false}
quality: {metric: regression_metrics.rmse.value, at_most: 4.0}
serving: {content_types: [text/csv], response_types: [text/csv, application/json]}
"""

Edit = Callable[[str, str], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PROJECT_ROOT / "environments", tmp_path / "environments")
    (tmp_path / "environments" / "local.pins.yaml").unlink(missing_ok=True)
    add_model(tmp_path, "housing")
    return tmp_path


def add_model(project: Path, name: str) -> None:
    (project / "model_code" / name / "data").mkdir(parents=True)
    (project / "model_code" / name / "model.yaml").write_text(MODEL_YAML)
    (project / "model_code" / name / "data" / "housing.csv").write_text("rm,medv\n6.5,24.0\n")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(project: Path, environment: str = "dev") -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_environment(environment, project)
    return caught.value.problems


def refused_models(project: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_models(project)
    return caught.value.problems


# --- Environments ---


@pytest.mark.parametrize("name", ["local", "dev", "staging", "prod"])
def test_every_environment_is_valid_as_committed(project: Path, name: str) -> None:
    environment = load_environment(name, project)
    assert environment.name == name
    assert environment.tags["environment"] == name


def test_the_environments_are_the_files(project: Path) -> None:
    write_pin("local", "housing", 1, project)
    assert known_environments(project) == ["dev", "local", "prod", "staging"]


def test_an_unknown_environment_lists_the_known(project: Path) -> None:
    assert refused(project, "stagin") == [
        "there is no environment 'stagin'; did you mean 'staging'? (known: dev, local, prod, staging)"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("region:", "regoin:", ":4: regoin: unknown key; did you mean 'region'? (allowed here: account, region"),
        ("      volume_size_in_gb: 10\n", "", ":21: models.housing.pipeline.volume_size_in_gb: the key is missing"),
        (
            "volume_size_in_gb: 10",
            "volume_size_in_gb: 0",
            ":24: models.housing.pipeline.volume_size_in_gb: 0 is not allowed (allowed: a whole number of GB, 1 to",
        ),
        ("volume_size_in_gb: 10", "volume_size_in_gb: ten", ":24: models.housing.pipeline.volume_size_in_gb: 'ten' is"),
        ('"111111111111"', "111111111111", ":3: account: 111111111111 is not allowed (allowed: 12 digits, in quotes)"),
        ('"111111111111"', '"1111"', ":3: account: '1111' is not allowed (allowed: 12 digits, in quotes)"),
        ("us-east-1", "us-east-11", ":4: region: 'us-east-11' is not a region with SageMaker; did you mean"),
        ("model_image: ecr", "model_image: docker", ":5: model_image: 'docker' is not allowed (allowed: build"),
        ("removal_policy: destroy", "removal_policy: keep", ":7: removal_policy: 'keep' is not allowed (allowed: "),
        ("access_log_days: 30", "access_log_days: 9999", ":10: retention.access_log_days: 9999 is not allowed"),
        ("served_version: null", "served_version: 0", ":16: models.housing.served_version: 0 is not allowed (allow"),
        ("served_version: null", "served_version: 1.5", ":16: models.housing.served_version: 1.5 is not allowed"),
        (
            "instance_type: ml.m5.large",
            "instance_type: ml.m5.lage",
            ":19: models.housing.endpoint.instance_type: 'ml.m5.lage' is not an instance type for hosting; did you mean"
            " 'ml.m5.large'",
        ),
        (
            "instance_type: ml.m5.large",
            "instance_type: ml.m7i-flex.large",
            ":19: models.housing.endpoint.instance_type: 'ml.m7i-flex.large' is not an instance type for hosting",
        ),
        (
            "training_instance_type: ml.m5.large",
            "training_instance_type: ml.p6e-gb200.36xlarge",
            ":23: models.housing.pipeline.training_instance_type: 'ml.p6e-gb200.36xlarge' has an Arm processor, and the",
        ),
        (
            "spot: null",
            "spot: {max_wait_in_seconds: 60}",
            ":21: models.housing.pipeline: spot.max_wait_in_seconds is 60, and must be at least max_runtime_in_seconds",
        ),
        ("initial_instance_count: 1", "initial_instance_count: true", ":20: models.housing.endpoint.initial_ins"),
        (
            "network: null",
            "network: {subnet_ids: [subnet-1], security_group_ids: [sg-0123456789abcdef0]}",
            ":6: network.subnet_ids[0]: 'subnet-1' is not allowed (allowed: 1 to 16 ids like subnet-0123456789abcdef0)",
        ),
        (
            "network: null",
            "network: {subnet_ids: [subnet-0123456789abcdef0]}",
            ":6: network.security_group_ids: the key is missing (allowed: 1 to 5 ids like sg-0123456789abcdef0)",
        ),
        ("network: null", "network: private", ":6: network: 'private' is not allowed (allowed: null, or subnet_"),
        ("project: sagestack", "project: 7", ":12: tags.project: 7 is not allowed (allowed: at most 40"),
        ("project: sagestack", "aws:project: sagestack", "tags.aws:project: keys that start with 'aws:' belong to AWS"),
        (
            "project: sagestack",
            '"Sagestack:owner": ada',
            "tags.Sagestack:owner: keys that start with 'sagestack:' belong to the project",
        ),
        ("housing:\n", "Housing:\n", ":15: models.Housing: 'Housing' is not allowed (allowed: names of folders"),
        ("account:", "name: prod\naccount:", ":3: name: unknown key; the environment is named by its file"),
        ("region: us-east-1", "region: us-east-1\nregion: us-east-1", ':5: found duplicate key "region"'),
        ("network: null", "network: [", ":8: expected "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(project: Path, old: str, new: str, problem: str) -> None:
    edit(project / "environments" / "dev.yaml", old, new)
    problems = refused(project)
    assert any(line.startswith("environments/dev.yaml") and problem in line for line in problems), problems
    assert all("\n" not in line for line in problems)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(project: Path) -> None:
    file = project / "environments" / "dev.yaml"
    edit(file, "us-east-1", "mars-1")
    edit(file, "removal_policy: destroy", "removal_policy: maybe")
    edit(file, "max_runtime_in_seconds: 3600", "max_runtime_in_seconds: 1")
    assert [line.split(":")[2].strip() for line in refused(project)] == [
        "region",
        "removal_policy",
        "models.housing.pipeline.max_runtime_in_seconds",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "environments/dev.yaml: must be a mapping of keys to values, found nothing"),
        (b"- a\n- b\n", "environments/dev.yaml: must be a mapping of keys to values, found a list"),
        (b"account: \xff\n", "environments/dev.yaml: is not UTF-8 text (byte 9)"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(project: Path, content: bytes, problem: str) -> None:
    (project / "environments" / "dev.yaml").write_bytes(content)
    assert refused(project) == [problem]


def test_an_image_that_aws_cannot_start_is_refused(project: Path) -> None:
    edit(project / "environments" / "dev.yaml", "model_image: ecr", "model_image: build-context")
    (problem,) = refused(project)
    assert "model_image 'build-context' does not fit account '111111111111'" in problem


def test_a_folder_without_an_entry_is_refused(project: Path) -> None:
    add_model(project, "churn")
    assert refused(project) == [
        "environments/dev.yaml:14: models: model_code/churn has no entry here; add models.churn"
    ]


def test_an_entry_without_a_folder_is_refused(project: Path) -> None:
    (project / "model_code" / "housing").rename(project / "model_code" / "houses")
    problems = refused(project)
    assert problems == [
        "environments/dev.yaml:15: models.housing: there is no model_code/housing/model.yaml; did you mean 'houses'?"
        " (models: houses)",
        "environments/dev.yaml:14: models: model_code/houses has no entry here; add models.houses",
    ]


# --- Pins ---


def test_a_pin_of_local_goes_to_a_file_of_its_own(project: Path) -> None:
    before = (project / "environments" / "local.yaml").read_bytes()
    path = write_pin("local", "housing", 3, project)
    assert path == project / "environments" / "local.pins.yaml"
    assert load_environment("local", project).models["housing"].served_version == 3
    assert (project / "environments" / "local.yaml").read_bytes() == before


def test_a_pin_of_local_concerns_no_other_environment(project: Path) -> None:
    write_pin("local", "housing", 3, project)
    assert load_environment("dev", project).models["housing"].served_version is None


def test_pins_of_local_add_up(project: Path) -> None:
    add_model(project, "churn")
    for name in known_environments(project):
        file = project / "environments" / f"{name}.yaml"
        file.write_text(file.read_text() + file.read_text().split("models:\n")[1].replace("housing:", "churn:"))
    write_pin("local", "housing", 3, project)
    write_pin("local", "churn", 1, project)
    models = load_environment("local", project).models
    assert (models["housing"].served_version, models["churn"].served_version) == (3, 1)


@pytest.mark.parametrize("line", ["served_version: null", "served_version: 2   # the winner", "served_version:   7"])
def test_a_pin_elsewhere_changes_the_version_and_no_other_byte(project: Path, line: str) -> None:
    file = project / "environments" / "prod.yaml"
    edit(file, "served_version: null", line)
    before = file.read_bytes()
    assert write_pin("prod", "housing", 12, project) == file
    assert load_environment("prod", project).models["housing"].served_version == 12
    old = line.split(":")[1].split("#")[0].strip()
    new_line = line.replace(old, "12")
    assert file.read_bytes() == before.replace(line.encode(), new_line.encode())


def test_a_pin_is_written_into_a_flow_mapping_and_windows_lines_too(project: Path) -> None:
    file = project / "environments" / "prod.yaml"
    head = file.read_text().split("models:\n")[0]
    text = head + (
        "models:\n  housing: {served_version: 2, "
        "endpoint: {kind: real-time, instance_type: ml.m5.large, initial_instance_count: 1}, "
        "pipeline: {processing_instance_type: ml.m5.large, training_instance_type: ml.m5.large, "
        "volume_size_in_gb: 10, max_runtime_in_seconds: 3600, training_instance_count: 1, spot: null}}\n"
    )
    before = text.replace("\n", "\r\n").encode()
    file.write_bytes(before)
    write_pin("prod", "housing", None, project)
    assert file.read_bytes() == before.replace(b"served_version: 2,", b"served_version: null,")


@pytest.mark.parametrize("version", [0, -1, True])
def test_a_version_that_cannot_exist_is_not_pinned(project: Path, version: int) -> None:
    with pytest.raises(SettingsError, match="is not allowed"):
        write_pin("prod", "housing", version, project)


def test_an_unknown_model_is_not_pinned(project: Path) -> None:
    with pytest.raises(SettingsError, match="no model 'housin'; did you mean 'housing'"):
        write_pin("prod", "housin", 1, project)


def test_a_pin_of_a_model_that_is_gone_is_refused(project: Path) -> None:
    (project / "environments" / "local.pins.yaml").write_text("models:\n  churn: {served_version: 1}\n")
    assert refused(project, "local") == [
        "environments/local.pins.yaml:2: models.churn: is not a model of this environment (known: housing)"
    ]


def test_a_pins_file_is_checked_like_any_other(project: Path) -> None:
    (project / "environments" / "local.pins.yaml").write_text("models:\n  housing: {served_version: latest}\n")
    (problem,) = refused(project, "local")
    assert problem.startswith("environments/local.pins.yaml:2: models.housing.served_version: 'latest' is not allowed")


# --- Models ---


def test_a_model_is_what_its_folder_says(project: Path) -> None:
    model = load_models(project)["housing"]
    assert model.folder == project / "model_code" / "housing"
    assert model.data_file.read_text().startswith("rm,medv")
    assert (model.quality.threshold, model.quality.lower_is_better) == (4.0, True)


def test_hyperparameters_are_sent_as_the_strings_that_the_api_wants(project: Path) -> None:
    assert load_model("housing", project).training.hyperparameter_texts == {
        "max_depth": "5",
        "eta": "0.2",
        "objective": "reg:squarederror",
        "verbose": "false",
    }


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind:", "knd: own-container\n  kind:", ":4: training.knd: unknown key; did you mean 'kind'?"),
        ("at_most: 4.0", "at_most: 4.0, at_least: 1", ":6: quality: say exactly one of at_most (lower is better)"),
        (", at_most: 4.0", "", ":6: quality: say exactly one of at_most (lower is better) and at_least"),
        ("at_most: 4.0", "at_most: .nan", ":6: quality.at_most: nan is not allowed (allowed: a number)"),
        ("at_most: 4.0", "at_most: low", ":6: quality.at_most: 'low' is not allowed (allowed: a number)"),
        ("regression_metrics.rmse.value", "rmse..value", ":6: quality.metric: 'rmse..value' is not allowed"),
        ("eta: 0.2", "eta: [0.2]", ":5: training.hyperparameters.eta: [0.2] is not allowed (allowed: text of up"),
        ("kind: own-container", "kind: magic", ":4: training.kind: 'magic' is not allowed (allowed: xgboost or own-container)"),
        ("data/housing.csv", "data/none.csv", ":2: data.file: there is no file 'data/none.csv' in mod"),
        ("data/housing.csv", "../other/housing.csv", ":2: data.file: '../other/housing.csv' leaves the model"),
        ("[text/csv],", "[csv],", ":7: serving.content_types[0]: 'csv' is not allowed (allowed: at least one"),
        ("[text/csv],", "[],", ":7: serving.content_types: [] is not allowed (allowed: at least one"),
        ("description:", "name: other\ndescription:", ":1: name: unknown key; the fold"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_model_is_named_with_its_line(project: Path, old: str, new: str, problem: str) -> None:
    edit(project / "model_code" / "housing" / "model.yaml", old, new)
    problems = refused_models(project)
    assert len(problems) == 1
    assert problems[0].startswith(f"model_code/housing/model.yaml{problem}")


def test_everything_wrong_with_all_models_is_said_at_once(project: Path) -> None:
    add_model(project, "churn")
    for name in ("churn", "housing"):
        edit(project / "model_code" / name / "model.yaml", "quality:", "qualty:")
    assert len(refused_models(project)) == 4


def test_an_unknown_model_lists_the_known(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"no model 'house'; did you mean 'housing'\? \(models: housing\)"):
        load_model("house", project)


@pytest.mark.parametrize(
    ("instance_type", "takes"),
    [
        ("ml.m5.large", True),
        ("ml.c6i.xlarge", True),
        ("ml.c6in.xlarge", True),
        ("ml.p3.2xlarge", True),
        ("ml.inf2.xlarge", True),
        ("ml.m5d.large", False),
        ("ml.c5d.xlarge", False),
        ("ml.g4dn.xlarge", False),
        ("ml.g5.xlarge", False),
        ("ml.g6e.xlarge", False),
        ("ml.p3dn.24xlarge", False),
        ("ml.p4d.24xlarge", False),
        ("ml.p5.48xlarge", False),
        ("ml.trn1.2xlarge", False),
    ],
)
def test_a_volume_key_is_for_instances_without_disks_of_their_own(instance_type: str, takes: bool) -> None:
    assert takes_volume_key(instance_type) is takes


def test_a_profile_of_the_machine_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from sagestack.settings import accounts, instance_types

    monkeypatch.setenv("AWS_PROFILE", "not-there")
    accounts._regions.cache_clear()
    instance_types.known_instance_types.cache_clear()
    assert load_environment("dev").region


def test_a_folder_where_an_environment_file_should_be_is_named(project: Path) -> None:
    (project / "environments/dev.yaml").unlink()
    (project / "environments/dev.yaml").mkdir()
    with pytest.raises(SettingsError, match=r"environments/dev\.yaml"):
        load_environment("dev", project)


# --- The workbench ---

WORKBENCH = """\
workbench:
  network: {cidr: 10.42.0.0/22}
  notebooks:
    explore: {instance_type: ml.t3.medium, grants: {models: [housing]}}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("explore: {instance_type: ml.t3.medium", "explore: {instance_type: ml.t3.mediun", "'ml.t3.medium'"),
        ("region: us-east-1", "region: ap-southeast-7", "'ml.g5.xlarge' does not exist in ap-southeast-7"),
        ("[housing]", "[housin]", "did you mean 'housing'"),
        ("cidr: 10.42.0.0/22", "cidr: 10.42.0.0/33", "no block of addresses"),
    ],
    ids=["no such type", "not in the region", "no such model", "no network"],
)
def test_a_workbench_that_cannot_be_is_refused_with_its_line(project: Path, old: str, new: str, words: str) -> None:
    path = project / "environments/dev.yaml"
    text = path.read_text() + WORKBENCH
    if "region" in old:
        text = text.replace("ml.t3.medium, grants", "ml.g5.xlarge, grants")
    path.write_text(text)
    edit(path, old, new)
    (problem,) = refused(project)
    assert problem.startswith("environments/dev.yaml:")
    assert words in problem


def test_the_local_cloud_has_no_nat_gateway(project: Path) -> None:
    path = project / "environments/local.yaml"
    path.write_text(path.read_text() + WORKBENCH.replace("10.42.0.0/22", "10.42.0.0/22, nat: true"))
    (problem,) = refused(project, "local")
    assert "workbench.network.nat: true, and the local cloud has no NAT gateways" in problem
