"""What the documents say exists, exists: links, files, commands, options, keys, and code that parses."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML
from sagestack import pipeline
from sagestack.cli.main import app
from sagestack.settings import PROJECT_ROOT, Environment, Model
from typer.core import TyperGroup

from local_cloud.sagemaker import cloudformation, step_types

DOCUMENTS = sorted(
    [PROJECT_ROOT / "README.md", *(PROJECT_ROOT / "docs").rglob("*.md"), *(PROJECT_ROOT / "model_code").rglob("*.md")]
)
MADE_LATER = ("cdk.out/", ".local-cloud/", "environments/local.pins.yaml", "model_code/houses")
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
            known |= {name for parameter in COMMANDS[names[0]].params for name in parameter.opts}
            known |= {name for parameter in COMMANDS[names[0]].params for name in parameter.secondary_opts}
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
    sections = dict(re.findall(r"^## `sagestack (\w+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(COMMANDS)
    shared = {"--env", "--model", "--json"}
    for name, section in sections.items():
        options = {
            option
            for parameter in COMMANDS[name].params
            for option in (*parameter.opts, *parameter.secondary_opts)
            if option.startswith("--")
        }
        listed = {option for line in re.findall(r"^- (`--.*)$", section, re.MULTILINE) for option in _options(line)}
        assert listed == options - shared, f"sagestack {name}"


@pytest.mark.parametrize(
    ("document", "settings"),
    [("docs/reference/environments.md", Environment), ("docs/reference/model-yaml.md", Model)],
)
def test_the_references_of_the_settings_have_every_key(document: str, settings: type[BaseModel]) -> None:
    table = re.findall(r"^\| `([\w.]+)` \|", (PROJECT_ROOT / document).read_text(), re.MULTILINE)
    # These hold keys, and are explained only where they can be null.
    groups = {"network", "models", "models.NAME.pipeline.spot"}
    assert sorted(set(table) - groups) == sorted(set(keys(settings)) - groups)


def keys(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a settings file; NAME stands for a name that its author chose."""
    for name, field in settings.model_fields.items():
        if any(type(extra).__name__ == "FromPath" for extra in field.metadata) or name == "folder":
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
    assert described == {kind.name for kind in cloudformation.RESOURCE_TYPES}
    (row,) = re.findall(r"^\| Pipelines \| (.*)\|$", text, re.MULTILINE)
    (types,) = re.findall(r"steps of type ([\w, ]+)", row)
    assert set(types.strip().split(", ")) == set(step_types.STEP_TYPES)
    assert f"the {len(step_types.ELSEWHERE)} other step types" in row


def _options(line: str) -> list[str]:
    return re.findall(r"`(--[\w-]+)`", line.split(":")[0].split(" as for")[0])


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)
