"""What the documents say exists, exists: links, files, commands, options, keys, and code that parses."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML
from sagestack import pipeline
from sagestack.cli.main import app
from sagestack.settings import PROJECT_ROOT, Environment, Model
from sagestack.settings.workbench import LifecycleOptions, Workbench
from typer.core import TyperGroup
from xgboost_container.contract import Paths
from xgboost_container.evaluation import classification, regression
from xgboost_container.formats import content_types
from xgboost_container.serving import accept, selection
from xgboost_container.training import library, metrics, parameter_table, script
from xgboost_container.training.input.declarations import KNOWN

from local_cloud.sagemaker.pipelines import step_types
from local_cloud.sagemaker.resource_types import RESOURCE_TYPES

DOCUMENTS = sorted(
    [PROJECT_ROOT / "README.md", *(PROJECT_ROOT / "docs").rglob("*.md"), *(PROJECT_ROOT / "model_code").rglob("*.md")]
)
MADE_LATER = ("cdk.out/", ".laptop/", ".local-cloud/", "environments/local.pins.yaml", "model_code/houses")
"""What appears only when somebody runs something, or follows the tutorial."""
MUST_NOT_BE = ("constructs/__init__.py",)

command_line = typer.main.get_command(app)
assert isinstance(command_line, TyperGroup)
COMMANDS = command_line.commands
TARGETS = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))


def name_of(document: Path) -> str:
    return str(document.relative_to(PROJECT_ROOT))


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)


def fences(document: Path, *languages: str) -> Iterator[str]:
    """The fenced code blocks in one of the languages."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
        if language in languages:
            yield body


def prose(document: Path) -> str:
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline_code(document: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", prose(document))


def commands(document: Path) -> Iterator[list[str]]:
    """What a reader is told to type, word by word: in consoles after a `$`, and in the running text."""
    typed = [line.removeprefix("$ ") for block in fences(document, "console") for line in block.splitlines()]
    typed = [
        line for line in typed if re.match(r"(\.venv/bin/)?(make|sagestack)\b|\w+=\S+ make\b|echo|eval|git|npx", line)
    ]
    for line in [*typed, *inline_code(document)]:
        for part in re.split(r"&&|\||\$\(|\)|;", line.split(" #")[0].replace('"', " ")):
            try:
                words = [word for word in shlex.split(part) if not re.match(r"^[A-Z_]+=", word)]
            except ValueError:
                continue
            if words and words[0].removeprefix(".venv/bin/") in ("make", "sagestack"):
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        to = (document.parent / file).resolve() if file else document
        assert to.exists(), f"{target} is not there"
        if heading:
            assert heading in [anchor(h) for h in re.findall(r"^#+ (.+)$", to.read_text(), re.MULTILINE)], target


@every_document
def test_files_and_folders_that_are_named_exist(document: Path) -> None:
    tops = {path.name for path in PROJECT_ROOT.iterdir()}
    for text in inline_code(document):
        path = text.partition(" ")[0]
        if not re.fullmatch(r"[\w./-]+", path) or re.search(r"\b(ENV|NAME|MODEL)\b", path):
            continue
        is_ours = "/" in path and path.split("/")[0] in tops
        if not is_ours or path.startswith(MADE_LATER):
            continue
        if path in MUST_NOT_BE:
            assert not (PROJECT_ROOT / path).exists()
        else:
            assert (PROJECT_ROOT / path).exists() or (document.parent / path).exists(), f"{path} is not there"


def options_of(command: Any) -> set[str]:
    """All options that a command takes, short ones and the words that switch something off included."""
    return {
        option for each in command.params for option in (*each.opts, *each.secondary_opts) if option.startswith("-")
    }


@every_document
def test_commands_and_options_that_are_named_exist(document: Path) -> None:
    for program, *words in commands(document):
        if program == "make":
            targets = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
            assert set(targets) <= TARGETS, f"make {' '.join(words)}"
            continue
        names = [word for word in words if not word.startswith("-")]
        options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        known = {"--help", "--version", "--debug"}
        if names and names[0] not in ("COMMAND", "X"):
            assert names[0] in COMMANDS, f"sagestack {' '.join(words)}"
            below = getattr(COMMANDS[names[0]], "commands", {})
            assert not below or len(names) < 2 or names[1] in below, f"sagestack {' '.join(words)}"
            known |= options_of(below.get(names[1], COMMANDS[names[0]]) if len(names) > 1 else COMMANDS[names[0]])
        assert set(options) <= known, f"sagestack {' '.join(words)}"


@every_document
def test_code_parses(document: Path) -> None:
    for block in fences(document, "json"):
        json.loads(block)
    for block in fences(document, "yaml"):
        assert YAML(typ="safe").load(block)
    for block in fences(document, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "sagestack.pipeline":
                assert {alias.name for alias in node.names} <= set(pipeline.__all__)


def test_the_reference_of_the_command_line_has_every_command_with_its_options() -> None:
    text = (PROJECT_ROOT / "docs/reference/cli.md").read_text()
    sections = dict(re.findall(r"^## `sagestack ([\w-]+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(COMMANDS)
    shared = {"--env", "--model", "--json"}
    for name, section in sections.items():
        below = getattr(COMMANDS[name], "commands", {})
        for command in below.values():
            named = {word for words in code(section) for word in words.split()}
            assert {o for o in options_of(command) if o.startswith("--")} - shared <= named, f"sagestack {name}"
            assert f"`sagestack {name} {command.name}`" in section
        if below:
            continue
        options = {option for option in options_of(COMMANDS[name]) if option.startswith("--")}
        listed = {option for line in re.findall(r"^- (`--.*)$", section, re.MULTILINE) for option in _options(line)}
        # A shared one is listed where it means something else: `review` takes several environments.
        assert listed - shared == options - shared, f"sagestack {name}"


@pytest.mark.parametrize(
    ("document", "settings"),
    [
        ("docs/reference/environments.md", Environment),
        ("docs/reference/model-yaml.md", Model),
        ("docs/reference/workbench.md", Workbench),
    ],
)
def test_the_references_of_the_settings_have_every_key(document: str, settings: type[BaseModel]) -> None:
    table = re.findall(r"^\| `([\w.]+)` \|", (PROJECT_ROOT / document).read_text(), re.MULTILINE)
    # These hold keys, and are explained only where they can be null.
    groups = {"network", "models", "models.NAME.pipeline.spot", "workbench"}
    elsewhere = ("workbench.", "lifecycle_configs.")
    wanted = {key for key in keys(settings) if not key.startswith(elsewhere)}
    assert sorted(set(table) - groups) == sorted(wanted - groups)


def test_the_reference_of_lifecycle_configs_has_every_key() -> None:
    named = {
        part
        for text in inline_code(PROJECT_ROOT / "docs/reference/lifecycle-configs.md")
        for part in re.split(r"\W+", text)
    }
    assert {key.rpartition(".")[2] for key in keys(LifecycleOptions)} <= named


def keys(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a settings file; NAME stands for a name that its author chose."""
    for name, field in settings.model_fields.items():
        if any(type(extra).__name__ == "FromPath" for extra in field.metadata) or f"{prefix}{name}" == "folder":
            continue
        models = [kind for kind in _classes(field.annotation) if issubclass(kind, BaseModel)]
        below = f"{prefix}{name}." + ("NAME." if "dict" in str(field.annotation) else "")
        if not models:
            yield f"{prefix}{name}"
        for model in models:
            yield from keys(model, below)


def test_the_local_cloud_is_described_with_the_types_that_it_has() -> None:
    text = (PROJECT_ROOT / "docs/local-cloud.md").read_text()
    (row,) = re.findall(r"^\| CloudFormation \| (.*?) \|", text, re.MULTILINE)
    described = {f"AWS::SageMaker::{name.removeprefix('AWS::SageMaker::')}" for name in re.findall(r"`([\w:]+)`", row)}
    assert described == {kind.name for kind in RESOURCE_TYPES}
    (row,) = re.findall(r"^\| Pipelines \| (.*)\|$", text, re.MULTILINE)
    (types,) = re.findall(r"steps of type ([\w, ]+)", row)
    assert set(types.strip().split(", ")) == set(step_types.STEP_TYPES)
    assert f"the {len(step_types.ELSEWHERE)} other step types" in row


# --- The reference of the XGBoost image, against its code ---

IMAGE = PROJECT_ROOT / "model_code" / "images" / "xgboost" / "xgboost_container"
REFERENCE = PROJECT_ROOT / "docs" / "reference" / "xgboost-image.md"


def section(heading: str) -> str:
    """What stands below a heading of the image's reference, up to the next one of its rank or a higher one."""
    rank = len(heading.split()[0])
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{rank}}} |\Z)", REFERENCE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in a text, without their headings."""
    lines = text.splitlines()
    # A heading is the line above the dashes.
    cells = [(number, line) for number, line in enumerate(lines) if line.startswith("|")]
    rules = {number for number, line in cells if re.fullmatch(r"[|\- ]+", line)}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in cells
        if number not in rules and number + 1 not in rules
    ]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def variables(file: Path) -> set[str]:
    """The environment variables that a module names, whole."""
    constants = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    return {text for text in constants if isinstance(text, str) and re.fullmatch(r"(SAGEMAKER|MAX)_[A-Z_]+", text)}


def test_the_reference_of_the_image_has_every_hyperparameter_with_its_bounds_and_default() -> None:
    described = {code(row[0])[0]: row[1:] for row in rows(section("### Hyperparameters")) if len(row) == 4}
    assert list(described) == list(parameter_table.TABLE)
    for name, (value, default, _) in described.items():
        parameter = parameter_table.TABLE[name]
        if name == "objective":
            assert tuple(code(value)) == library.objectives()
        else:
            assert value == parameter.wanted, name
        if parameter.default is not None:
            assert default.strip("`") == shown(parameter.default), name
        for booster in ("dart", "gblinear"):
            if parameter.boosters == (booster,):
                assert f"For `{booster}`." in described[name][2], name


def shown(default: object) -> str:
    return (
        str(default).lower()
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


def test_the_reference_of_the_image_has_every_hyperparameter_that_is_gone_and_every_other_name() -> None:
    text = section("### Hyperparameters")
    gone = {code(row[0])[0]: tuple(code(row[1])) for row in rows(text) if len(row) == 2}
    assert gone == {name: was.harmless for name, was in parameter_table.GONE.items()}
    paragraph = next(part for part in text.split("\n\n") if "are other names of" in part)
    names, _, meant = paragraph.partition(". Names")[0].partition("are other names of")
    assert dict(zip(code(names), code(meant), strict=True)) == parameter_table.ALIASES


def test_the_reference_of_the_image_has_every_metric() -> None:
    text = section("### Hyperparameters").partition("**Metrics**")[2]
    of_xgboost, takes_number, of_container = (
        code(re.findall(pattern, text, re.DOTALL)[0])
        for pattern in (r"of XGBoost:(.*?)\.\s", r"\.\s+(`[^.]*?) take a\s+number", r"algorithm:(.*?)\.\s")
    )
    assert of_xgboost == list(metrics.OF_XGBOOST)
    assert of_container == list(metrics.OF_CONTAINER)
    assert set(takes_number) == {name for name, metric in metrics.METRICS.items() if metric.takes_number}


def test_the_reference_of_the_image_has_every_metric_of_evaluation() -> None:
    described = {code(row[1])[0]: set(code(row[2])) for row in rows(section("## Evaluation"))}
    truth, score = np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.7, 0.4])
    assert described == {
        # The objective to which one of them does not belong is named beside it.
        "binary_classification_metrics": {*classification.binary(truth, score), "binary:hinge"},
        "multiclass_classification_metrics": set(classification.multiclass(truth, np.stack([1 - score, score], 1))),
        "regression_metrics": set(regression.metrics(truth, score)),
    }
    assert set(described) == set(re.findall(r"\w+_metrics(?=\")", (IMAGE / "evaluation" / "evaluate.py").read_text()))


def test_the_reference_of_the_image_has_every_environment_variable() -> None:
    server = {code(row[0])[0] for row in rows(section("### Environment variables of the server"))}
    assert server == variables(IMAGE / "serving" / "settings.py")
    hosts = {code(row[0])[0] for row in rows(section("### Several hosts")) if "SAGEMAKER" in row[0]}
    assert hosts == variables(IMAGE / "training" / "distributed" / "hosts.py")
    everywhere = set(re.findall(r"\b(?:SAGEMAKER|MAX)_[A-Z_]+\b", REFERENCE.read_text()))
    assert everywhere == server | hosts | variables(IMAGE / "contract.py")


def test_the_reference_of_the_image_names_variables_that_scripts_get(tmp_path: Path) -> None:
    (tmp_path / "input" / "data" / "train").mkdir(parents=True)
    given = script.environment(Paths(tmp_path), {"eta": 0.3}, tmp_path, "train.py")
    named = set(re.findall(r"\bSM_[A-Z_]*[A-Z]\b", REFERENCE.read_text()))
    assert named
    assert named <= set(given)


def test_the_reference_of_the_image_has_every_channel_and_every_content_type() -> None:
    channels = section("### Channels")
    # Three tables: channels, content types, labels by objective.
    trained = {name for row in rows(channels) for name in code(row[0])} - set(_objectives_with_rules())
    assert trained == {*KNOWN, *content_types.TRAINING}
    served = {name for row in rows(section("### Content types")) for name in code(row[0])}
    assert served == set(content_types.SERVING)
    answers = rows(section("### Answers"))
    assert [code(row[0])[0] for row in answers if len(row) == 2] == list(accept.PRODUCED)
    words = {name for row in answers if len(row) == 4 for name in code(row[0])}
    assert words == set(selection.WORDS)


def _objectives_with_rules() -> Iterator[str]:
    described = rows(section("### Channels").partition("**Labels**")[2])
    return (name for row in described for name in code(row[0]))


def test_the_reference_of_the_image_says_the_rule_of_labels_for_each_objective_that_has_one() -> None:
    from xgboost_container.training.input import labels

    assert set(_objectives_with_rules()) == {*labels._RULES, "multi:softmax", "multi:softprob"}


def test_the_reference_of_the_image_has_every_status() -> None:
    described = {int(row[0]) for row in rows(section("### Statuses"))}
    # Whatever is called with a status first: an answer, an error, a reader that gives up.
    answered = {
        node.args[0].value
        for file in (IMAGE / "serving").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if node.args[0].value in range(200, 600)
    }
    assert described == answered


def test_the_metric_definitions_of_the_reference_read_its_line() -> None:
    text = section("### The log, and metrics out of it")
    (line,) = re.findall(r"^\[12\] .*$", text, re.MULTILINE)
    (block,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = {one["Name"]: re.search(one["Regex"], line) for one in json.loads(block)}
    assert {name: match and match[1] for name, match in found.items()} == {
        "train:auc": "0.99441",
        "validation:auc": "0.93381",
    }


def test_the_map_of_the_images_folders_is_whole() -> None:
    text = (IMAGE.parent / "README.md").read_text().partition("## What is where")[2]
    named = {name.rstrip("/") for row in rows(text) for name in code(row[0]) if not name.endswith("container/")}
    there = {path.name for path in IMAGE.iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert named == there


def _options(line: str) -> list[str]:
    return re.findall(r"`(--[\w-]+)`", line.split(":")[0].split(" as for")[0])


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)
