"""How a model is served is typed: each kind has its keys, and what does not go together is refused at its line."""

import re
import shutil
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from sagestack.settings import (
    PROJECT_ROOT,
    Asynchronous,
    EnvironmentNames,
    Hosting,
    InferenceComponents,
    RealTime,
    Serverless,
    SettingsError,
    check_fit,
    kept_by_endpoint,
    load_environment,
    load_models,
)
from sagestack.settings.hosting_checks import check_hosting
from sagestack.settings.schedules import check_schedule, check_time_zone

from tests.endpoint_kinds import ENDPOINTS, PIPELINE, SERVING, entry, project_of_all_kinds

REAL_TIME = "kind: real-time\n      instance_type: ml.m5.large\n      initial_instance_count: 2"
ASYNCHRONOUS = "kind: asynchronous\n      instance_type: ml.m5.large\n      initial_instance_count: 1"
SERVERLESS = "kind: serverless\n      memory_in_mb: 2048\n      max_concurrency: 5"
COMPONENTS = (
    "kind: inference-components\n      instance_type: ml.m5.large\n      initial_instance_count: 2\n"
    "      max_instance_count: 3\n      copies: 2\n      cpus_per_copy: 1\n      memory_per_copy_in_mb: 512"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the settings read, and no more: images are large."""
    sample = PROJECT_ROOT / "model_code" / "housing"
    shutil.copytree(PROJECT_ROOT / "environments", tmp_path / "environments")
    (tmp_path / "environments" / "local.pins.yaml").unlink(missing_ok=True)
    shutil.copytree(sample / "data", tmp_path / "model_code" / "housing" / "data")
    shutil.copy(sample / "model.yaml", tmp_path / "model_code" / "housing")
    return tmp_path


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_of_all_kinds(tmp_path_factory.mktemp("kinds"))


def write(project: Path, *lines: str, environment: str = "dev", version: str = "3") -> None:
    """Says of the model's endpoint what is given; `kind` is in line 18."""
    file = project / "environments" / f"{environment}.yaml"
    head = file.read_text().split("models:\n")[0]
    endpoint = "".join(f"\n      {line}" for line in lines)
    file.write_text(f"{head}models:\n  housing:\n    served_version: {version}\n    endpoint:{endpoint}{PIPELINE}")


def hosting(project: Path, environment: str = "dev") -> Hosting:
    return load_environment(environment, project).models["housing"].endpoint


def refused(project: Path, environment: str = "dev") -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_environment(environment, project)
    return caught.value.problems


# --- The kinds ---


@pytest.mark.parametrize(
    ("said", "kind"),
    [(REAL_TIME, RealTime), (SERVERLESS, Serverless), (ASYNCHRONOUS, Asynchronous), (COMPONENTS, InferenceComponents)],
)
def test_a_kind_needs_little_more_than_what_costs_money(project: Path, said: str, kind: type) -> None:
    write(project, said)
    assert isinstance(hosting(project), kind)


def test_every_example_of_a_kind_is_valid_and_fits_its_model(kinds: Path) -> None:
    models = load_models(kinds)
    for environment in ("dev", "local", "staging", "prod"):
        settings = load_environment(environment, kinds)
        check_fit(settings, models)
        assert settings.models.keys() == ENDPOINTS.keys()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["kind: realtime"], ":18: models.housing.endpoint.kind: 'realtime' is not allowed; did you mean 'real-time'?"
         " (allowed: real-time, serverless, asynchronous, inference-components)"),
        (["kind: 5"], ":18: models.housing.endpoint.kind: '5' is not allowed (allowed: real-time, serverless"),
        (["instance_type: ml.m5.large"], ":17: models.housing.endpoint.kind: the key is missing (allowed: real-time, ser"),
        (["kind: real-time", "initial_instance_count: 1"], ":17: models.housing.endpoint.instance_type: the key is missing"
         " for kind: real-time (allowed: like ml.m5.large)"),
        ([SERVERLESS, "instance_type: ml.m5.large"], ":21: models.housing.endpoint.instance_type: unknown key for kind:"
         " serverless (allowed here: kind, memory_in_mb, max_concurrency, provisioned_concurrency"),
        ([SERVERLESS, "data_capture: null"], ":21: models.housing.endpoint.data_capture: unknown key for kind: serverless"),
        ([SERVERLESS, "update: {kind: canary}"], ":21: models.housing.endpoint.update: unknown key for kind: serverless"),
        ([ASYNCHRONOUS, "variants: {}"], ":21: models.housing.endpoint.variants: unknown key for kind: asynchronous"),
        ([ASYNCHRONOUS, "shadow: null"], ":21: models.housing.endpoint.shadow: unknown key for kind: asynchronous"),
        (["kind: serverless", "memory_in_mb: 1500", "max_concurrency: 5"],
         ":19: models.housing.endpoint.memory_in_mb: 1500 is not allowed (allowed: 1024, 2048, 3072, 4096, 5120 or 6144)"),
        ([REAL_TIME, "autoscalling: null"], ":21: models.housing.endpoint.autoscalling: unknown key for kind: real-time;"
         " did you mean 'autoscaling'?"),
        ([REAL_TIME, "autoscaling: {min_capacity: 1}"], ":21: models.housing.endpoint.autoscaling.max_capacity: the key is"),
        ([REAL_TIME, "autoscaling: many"], ":21: models.housing.endpoint.autoscaling: 'many' is not allowed (allowed: a"
         " mapping with the keys min_capacity, max_capacity"),
        ([REAL_TIME, "update: canary"], ":21: models.housing.endpoint.update: 'canary' is not allowed (allowed: a mapping"
         " with kind: canary, linear, all-at-once, rolling)"),
        ([REAL_TIME, "update: {kind: canari}"], ":21: models.housing.endpoint.update.kind: 'canari' is not allowed; did"
         " you mean 'canary'? (allowed: canary, linear, all-at-once, rolling)"),
        ([REAL_TIME, "update: {canary_percent: 10}"], ":21: models.housing.endpoint.update.kind: the key is missing"),
        ([REAL_TIME, "update: {kind: canary, canary_percent: 60}"],
         ":21: models.housing.endpoint.update.canary_percent: 60 is not allowed (allowed: 1 to 50, of the fleet's"),
        ([REAL_TIME, "update:", "  kind: linear", "  canary_percent: 10"],
         ":23: models.housing.endpoint.update.canary_percent: unknown key for kind: linear"),
        ([REAL_TIME, "data_capture: always"], ":21: models.housing.endpoint.data_capture: 'always' is not allowed (allowed:"
         " null, or sampling_percent and retention_days)"),
        ([REAL_TIME, "front_door: {authorization: open}"], ":21: models.housing.endpoint.front_door.authorization: 'open'"
         " is not allowed (allowed: iam, or issuer and audience)"),
        ([REAL_TIME, "front_door: {authorization: {issuer: 'https://id.example', audience: []}}"],
         ":21: models.housing.endpoint.front_door.authorization.audience: [] is not allowed (allowed: at least one)"),
        ([REAL_TIME, "variants:", "  -b: {served_version: 4, weight: 1, instance_type: ml.m5.large, initial_instance_count: 1}"],
         ":22: models.housing.endpoint.variants.-b: '-b' is not allowed (allowed: up to 9 names in letters"),
        (["kind: real-time", "instance_type: ml.m5.lage", "initial_instance_count: 1"],
         ":19: models.housing.endpoint.instance_type: 'ml.m5.lage' is not an instance type for hosting; did you mean"),
        ([COMPONENTS, "layout: single"], ":25: models.housing.endpoint.layout: unknown key for kind: inference-components"),
        ([COMPONENTS, "update: {kind: canary}"], ":25: models.housing.endpoint.update.kind: 'canary' is not allowed"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_in_the_words_of_its_kind(
    project: Path, lines: list[str], problem: str
) -> None:
    write(project, *lines)
    problems = refused(project)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"environments/dev.yaml{problem}"), problems


def test_every_example_of_the_how_to_is_valid() -> None:
    text = (PROJECT_ROOT / "docs" / "how-to" / "choose-an-endpoint.md").read_text()
    examples = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    made = [TypeAdapter(Hosting).validate_python(YAML(typ="safe").load(example)) for example in examples]
    for each in made:
        check_hosting(each)
    assert {each.kind for each in made} == {"real-time", "serverless", "asynchronous", "inference-components"}


# --- What does not go together ---


def variant(name: str = "b", **changes: object) -> str:
    values = {"served_version": 4, "weight": 1, "instance_type": "ml.m5.large", "initial_instance_count": 1, **changes}
    return f"  {name}: {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([REAL_TIME, "weight: 0", "variants:", variant(weight=0)], ":21: models.housing.endpoint.weight: 0, as are those of"
         " b: nobody would answer; give one at least a weight"),
        ([REAL_TIME, "weight: 0"], ":21: models.housing.endpoint.weight: 0, and there are no variants: nobody would answer"),
        ([REAL_TIME, "shadow: {served_version: 4, instance_type: ml.m5.large, initial_instance_count: 1}", "variants:",
          variant()], ":21: models.housing.endpoint.shadow: does not go with variants (b): SageMaker copies the traffic"),
        ([REAL_TIME, "variants:", variant(instance_type="ml.c7g.large")], ":22: models.housing.endpoint.variants.b."
         "instance_type: 'ml.c7g.large' has arm64 processors and 'ml.m5.large' amd64"),
        ([REAL_TIME, "variants:", variant(instance_type="ml.m5d.large")], ":22: models.housing.endpoint.variants.b."
         "instance_type: 'ml.m5d.large' and 'ml.m5.large' cannot share an endpoint: one of them has disks of its own"),
        ([REAL_TIME, "variants:", variant(name="AllTraffic")], ":22: models.housing.endpoint.variants.AllTraffic: "),
        ([REAL_TIME, "update: {kind: rolling}", "variants:", variant()], ":21: models.housing.endpoint.update"),
        ([REAL_TIME, "autoscaling:", "  {min_capacity: 4, max_capacity: 2, cpu_percent: 50}"],
         ":22: models.housing.endpoint.autoscaling.min_capacity: 4 is"),
        ([REAL_TIME, "autoscaling: {min_capacity: 1, max_capacity: 2, backlog_per_instance: 5}"],
         ":21: models.housing.endpoint.autoscaling.backlog_per_instance: "),
        ([REAL_TIME, "autoscaling: {min_capacity: 0, max_capacity: 2, cpu_percent: 50}"],
         ":21: models.housing.endpoint.autoscaling.min_capacity: "),
        ([REAL_TIME, "autoscaling: {min_capacity: 3, max_capacity: 4, cpu_percent: 50}"],
         ":20: models.housing.endpoint.initial_instance_count: 2 is not within the autoscaling (3 to 4)"),
        ([REAL_TIME, "autoscaling: {min_capacity: 2, max_capacity: 4}"], ":21: models.housing.endpoint.autoscaling: "),
        ([REAL_TIME, "autoscaling:", "  min_capacity: 2", "  max_capacity: 4", "  schedule:",
          "    - {at: 'cron(0 7 * * * *)', min_capacity: 2, max_capacity: 3}"],
         ":25: models.housing.endpoint.autoscaling.schedule[0].at: 'cron(0 7 * * * *)' must have ? either as day or as"),
        ([REAL_TIME, "autoscaling:", "  min_capacity: 2", "  max_capacity: 4", "  schedule:",
          "    - {at: 'rate(1 day)', min_capacity: 5, max_capacity: 3}"],
         ":25: models.housing.endpoint.autoscaling.schedule[0].min_capacity: 5 is"),
        ([SERVERLESS, "provisioned_concurrency: 6"], ":21: models.housing.endpoint.provisioned_concurrency: 6 is more than"
         " max_concurrency (5)"),
        ([ASYNCHRONOUS, "autoscaling: {min_capacity: 0, max_capacity: 2, cpu_percent: 50}"],
         ":21: models.housing.endpoint.autoscaling.min_capacity: 0 "),
        (["kind: real-time", "instance_type: ml.t2.large", "initial_instance_count: 2",
          "autoscaling: {min_capacity: 2, max_capacity: 4, cpu_percent: 50}"],
         ":19: models.housing.endpoint.instance_type: 'ml.t2.large' cannot be scaled: SageMaker scales no burstable"),
        (["kind: real-time", "instance_type: ml.m5.large", "initial_instance_count: 1", "update: {kind: canary}"],
         ":21: models.housing.endpoint.update.canary_percent: "),
        (["kind: real-time", "instance_type: ml.inf1.xlarge", "initial_instance_count: 2"],
         ":19: models.housing.endpoint.instance_type: 'ml.inf1.xlarge' gets no guarded updates"),
        ([COMPONENTS.replace("max_instance_count: 3", "max_instance_count: 1")],
         ":21: models.housing.endpoint.max_instance_count: 1 is less than initial_instance_count (2)"),
        ([COMPONENTS, "autoscaling: {min_capacity: 3, max_capacity: 4, cpu_percent: 50}"],
         ":22: models.housing.endpoint.copies: 2 is not within the autoscaling (3 to 4)"),
        ([REAL_TIME, "serves_archives: true"], ":16: models.housing.served_version: 3, and endpoint.serves_archives"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_at_its_line(project: Path, lines: list[str], problem: str) -> None:
    write(project, *lines)
    problems = refused(project)
    assert any(each.startswith(f"environments/dev.yaml{problem}") for each in problems), problems


def test_several_contradictions_are_said_at_once(project: Path) -> None:
    write(project, REAL_TIME, "autoscaling: {min_capacity: 0, max_capacity: 1, backlog_per_instance: 5}", "weight: 0")
    assert [problem.split(": ")[1].removeprefix("models.housing.endpoint.") for problem in refused(project)] == [
        "initial_instance_count",
        "autoscaling.backlog_per_instance",
        "autoscaling.min_capacity",
        "weight",
    ]


def test_bounds_that_are_the_wrong_way_round_are_one_problem(project: Path) -> None:
    write(project, REAL_TIME, "autoscaling: {min_capacity: 5, max_capacity: 2, cpu_percent: 50}")
    assert refused(project) == [
        "environments/dev.yaml:21: models.housing.endpoint.autoscaling.min_capacity: 5 is more than max_capacity, 2; swap"
        " them, or raise the maximum"
    ]


@pytest.mark.parametrize("number", [".inf", ".nan"])
def test_a_number_that_no_template_can_say_is_refused(project: Path, number: str) -> None:
    write(project, REAL_TIME, f"weight: {number}", "variants:", variant())
    (problem,) = refused(project)
    assert problem.startswith(f"environments/dev.yaml:21: models.housing.endpoint.weight: {number[1:]} is not allowed")


def test_archives_have_no_versions_to_compare(project: Path) -> None:
    write(project, REAL_TIME, "serves_archives: true", "variants:", variant(), version="null")
    assert any("variants: does not go with serves_archives" in problem for problem in refused(project))


def test_a_serverless_endpoint_in_a_network_is_refused(project: Path) -> None:
    write(project, SERVERLESS)
    file = project / "environments" / "dev.yaml"
    network = "network: {subnet_ids: [subnet-0123456789abcdef0], security_group_ids: [sg-0123456789abcdef0]}"
    file.write_text(file.read_text().replace("network: null", network))
    assert refused(project) == [
        "environments/dev.yaml:18: models.housing.endpoint.kind: serverless does not run in a network, and this"
        " environment has one; choose another kind, or an environment with network: null"
    ]


def test_the_same_is_refused_of_settings_that_no_file_holds() -> None:
    made = Serverless(kind="serverless", memory_in_mb=1024, max_concurrency=1, provisioned_concurrency=2)
    with pytest.raises(ValueError, match=r"^provisioned_concurrency: 2 is more than max_concurrency \(1\)"):
        check_hosting(made)


# --- A model and its environment ---


def fit(project: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check_fit(load_environment("dev", project), load_models(project))
    return caught.value.problems


def of_kinds(kinds: Path, tmp_path: Path, changes: dict[str, str], **versions: str) -> Path:
    """The project of all kinds, with other endpoints for some of its models."""
    root = shutil.copytree(kinds, tmp_path / "project")
    file = root / "environments" / "dev.yaml"
    head = file.read_text().split("models:\n")[0]
    entries = "".join(entry(name, changes.get(name), versions.get(name, "3")) for name in ENDPOINTS)
    file.write_text(f"{head}models:\n{entries}")
    return root


@pytest.mark.parametrize(
    ("name", "endpoint", "problem"),
    [
        ("many", ENDPOINTS["serverless"], "models.many.endpoint.kind: serverless does not fit: model_code/many/model.yaml"
         " says serving.layout: multi-model, which is for real-time"),
        ("named", ENDPOINTS["asynchronous"], "models.named.endpoint.kind: asynchronous does not fit: "),
        ("chained", ENDPOINTS["shared"], "models.chained.endpoint.kind: inference-components does not fit: model_code/chained"
         "/model.yaml says serving.layout: serial, which is for asynchronous and real-time"),
        ("plain", "{kind: real-time, instance_type: ml.c7g.large, initial_instance_count: 2}",
         "models.chained.endpoint.instance_type: amd64, and model_code/chained/model.yaml says serving.beside: plain,"
         " whose image is built for the arm64 processors"),
    ],
)  # fmt: skip
def test_a_layout_that_the_kind_excludes_is_refused(
    kinds: Path, tmp_path: Path, name: str, endpoint: str, problem: str
) -> None:
    problems = fit(of_kinds(kinds, tmp_path, {name: endpoint}))
    assert any(line.startswith("environments/dev.yaml:") and problem in line for line in problems), problems


def test_a_model_beside_another_must_be_served_here(kinds: Path, tmp_path: Path) -> None:
    problems = fit(of_kinds(kinds, tmp_path, {}, plain="null"))
    assert len(problems) == 2
    assert all(
        "says serving.beside: plain, of which this environment serves no version; pin models.plain.served_version first"
        in problem
        for problem in problems
    )


def test_a_model_beside_another_must_exist(kinds: Path, tmp_path: Path) -> None:
    root = of_kinds(kinds, tmp_path, {})
    file = root / "model_code" / "chained" / "model.yaml"
    file.write_text(file.read_text().replace("beside: [plain]", "beside: [plan]"))
    (problem,) = fit(root)
    assert (
        "models.chained: model_code/chained/model.yaml says serving.beside: plan, and there is no such model" in problem
    )
    assert "did you mean 'plain'" in problem


def test_archives_are_for_models_that_are_laid_out_so(project: Path) -> None:
    write(project, REAL_TIME, "serves_archives: true", version="null")
    (problem,) = fit(project)
    assert problem.startswith("environments/dev.yaml:21: models.housing.endpoint.serves_archives: true does not fit")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("  layout: serial\n", ": serving.beside: nobody, and layout: serial is for several containers"),
        ("  beside: [churn]\n", ": serving.beside: churn, and layout: single has one container"),
        ("  layout: direct\n  beside: [churn, churn]\n", ": serving.beside: churn stands twice"),
        ("  layout: direct\n  beside: [housing]\n", ": serving.beside: housing is this model itself"),
        ("  layout: parallel\n", ": serving.layout: 'parallel' is not allowed (allowed: single, multi-model"),
        ("  p99_latency_in_ms: 0\n", ": serving.p99_latency_in_ms: 0 is not allowed (allowed: milliseconds, more"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(project: Path, lines: str, problem: str) -> None:
    with (project / "model_code" / "housing" / "model.yaml").open("a", encoding="utf-8") as file:
        file.write(lines)
    with pytest.raises(SettingsError) as caught:
        load_models(project)
    (found,) = caught.value.problems
    assert re.fullmatch(rf"model_code/housing/model\.yaml:\d+{re.escape(problem)}.*", found), found


def test_the_examples_have_the_layouts_that_they_claim(kinds: Path) -> None:
    models = load_models(kinds)
    assert {name: models[name].serving.layout for name in SERVING} == {
        "many": "multi-model",
        "chained": "serial",
        "named": "direct",
    }


# --- What is kept ---


@pytest.mark.parametrize(("environment", "captures"), [("dev", True), ("prod", True), ("local", False)])
def test_requests_are_captured_by_default_but_on_the_laptop(project: Path, environment: str, captures: bool) -> None:
    write(project, REAL_TIME, environment=environment, version="null")
    made = hosting(project, environment)
    assert isinstance(made, RealTime)
    assert (made.data_capture is not None) is captures


def test_capture_can_be_said_either_way(project: Path) -> None:
    write(project, REAL_TIME, "data_capture: {}", environment="local", version="null")
    write(project, REAL_TIME, "data_capture: null")
    on, off = hosting(project, "local"), hosting(project, "dev")
    assert isinstance(on, RealTime)
    assert isinstance(off, RealTime)
    assert on.data_capture is not None
    assert off.data_capture is None


def test_what_is_kept_is_kept_for_as_long_as_is_said(kinds: Path) -> None:
    models = load_environment("dev", kinds).models
    names = EnvironmentNames("dev").model("asynchronous")
    assert kept_by_endpoint(models["asynchronous"].endpoint, names) == {
        "asynchronous/requests/": 14,
        "asynchronous/answers/": 14,
        "asynchronous/failures/": 14,
        "asynchronous/captured/": 30,
    }
    assert kept_by_endpoint(models["serverless"].endpoint, names) == {}


# --- Schedules ---


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 7 ? * MON-FRI *)",
        "cron(0/15 8-18 * * ? *)",
        "cron(30 22 L * ? 2027-2030)",
        "cron(0 6 ? * 2#1 *)",
        "cron(0 6 ? JAN,jul SUN *)",
        "at(2027-01-31T22:15:00)",
        "rate(1 hour)",
        "rate(12 hours)",
    ],
)
def test_a_schedule_is_written_as_application_auto_scaling_reads_it(expression: str) -> None:
    assert check_schedule(expression) == expression


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("every morning", "is no schedule"),
        ("cron(0 7 * * ?)", "has 5 fields, and cron takes six"),
        ("cron(60 7 ? * MON *)", "has the minute '60'"),
        ("cron(0 24 ? * MON *)", "has the hour '24'"),
        ("cron(0 7 ? * MON-FRY *)", "has the weekday 'MON-FRY'"),
        ("cron(0 7 1 * MON *)", "must have ? either as day or as weekday"),
        ("cron(0 7 ? * ? *)", "must have ? either as day or as weekday"),
        ("cron(*/0 7 ? * MON *)", "has the minute '*/0'"),
        ("at(2027-02-30T00:00:00)", "is no time"),
        ("rate(1 hours)", "is no rate"),
        ("rate(2 hour)", "is no rate"),
        ("rate(5 weeks)", "is no rate"),
    ],
)
def test_a_schedule_that_is_none_is_refused(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?").replace("*", r"\*")):
        check_schedule(expression)


def test_a_time_zone_that_is_none_is_refused() -> None:
    assert check_time_zone("Europe/Berlin") == "Europe/Berlin"
    with pytest.raises(ValueError, match="'Berlin' is no time zone"):
        check_time_zone("Berlin")
