"""Imports run downward only: app.py -> stacks -> sagestack; what runs elsewhere knows nothing of the CDK."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "stacks": {"app", "local_cloud", "model_code", "tests"},
    "constructs/sagestack": {"app", "stacks", "local_cloud", "model_code", "tests"},
    "constructs/sagestack/cli": {"aws_cdk", "constructs"},
    "constructs/sagestack/settings": {"aws_cdk", "constructs", "boto3"},
    "constructs/sagestack/pipeline": {"aws_cdk", "constructs", "boto3"},
    "local_cloud": {"aws_cdk", "constructs", "sagestack", "stacks", "app", "model_code", "tests"},
    "model_code": {"aws_cdk", "constructs", "sagestack", "stacks", "app", "local_cloud", "boto3", "botocore", "tests"},
}
"""What the modules below a folder must not import, by the first word of its name."""


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs; what only a type checker reads is left out."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
        pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_run_downward_only(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[folder]
    }
    assert not wrong


def test_a_stack_builds_connects_and_grants_and_holds_no_cfn_resource() -> None:
    for path in (ROOT / "stacks").glob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        # An output is no resource.
        assert not {name for name in names - {"CfnOutput"} if name.startswith("Cfn")}, path.name


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "constructs/__init__.py").exists(), "it would hide the PyPI package constructs from aws_cdk"


def test_an_installed_sagestack_has_every_file_that_it_reads() -> None:
    package = ROOT / "constructs/sagestack"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {
        file
        for name, patterns in settings.items()
        for pattern in patterns
        for file in (ROOT / "constructs" / name.replace(".", "/")).glob(pattern)
    }
    files = {file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert {file for file in files if file.suffix != ".py"} - shipped == set()
    assert {
        file.parent for file in files if file.suffix == ".py" and not (file.parent / "__init__.py").exists()
    } == set()
