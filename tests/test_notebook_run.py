"""A notebook that runs at the start of an instance leaves what came of it, the cell that failed included."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.notebook

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-notebook/bin/python"


def notebook(volume: Path, *cells: str) -> None:
    """explore.ipynb, with these cells."""
    content = {
        "cells": [
            {
                "cell_type": "code",
                "id": str(number),
                "metadata": {},
                "source": cell,
                "outputs": [],
                "execution_count": None,
            }
            for number, cell in enumerate(cells)
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (volume / "work").mkdir(exist_ok=True)
    (volume / "work" / "explore.ipynb").write_text(json.dumps(content))


def run(volume: Path, kernel: str = "python3") -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, output, and the cells of what came of it."""
    done = subprocess.run(
        [PYTHON, ROOT / "notebooks/programs/run_notebook.py"],
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(volume),
            "SAGESTACK_VOLUME": str(volume),
            "NOTEBOOK_PATH": "work/explore.ipynb",
            "NOTEBOOK_KERNEL": kernel,
        },
    )
    results = list((volume / "work").glob("explore.2*.ipynb")) if (volume / "work").exists() else []
    return done.returncode, done.stdout, json.loads(results[0].read_text())["cells"] if results else []


def test_it_runs_in_its_own_folder_and_leaves_the_notebook_as_it_was(tmp_path: Path) -> None:
    notebook(tmp_path, "import os", "print(os.path.basename(os.getcwd()))")
    before = (tmp_path / "work" / "explore.ipynb").read_bytes()
    code, said, cells = run(tmp_path)
    assert code == 0, said
    assert cells[1]["outputs"][0]["text"] == ["work\n"]
    assert (tmp_path / "work" / "explore.ipynb").read_bytes() == before
    assert "ran: " in said


def test_a_cell_that_fails_is_in_what_is_left_and_in_the_log(tmp_path: Path) -> None:
    notebook(tmp_path, "print('fine')", "1 / 0", "print('never')")
    code, said, cells = run(tmp_path)
    assert code == 1
    assert "A cell failed: ZeroDivisionError: division by zero" in said
    assert cells[0]["outputs"][0]["text"] == ["fine\n"]
    assert cells[1]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert cells[2]["outputs"] == []


def test_a_kernel_that_dies_leaves_what_there_was(tmp_path: Path) -> None:
    notebook(tmp_path, "print('fine')", "import os; os._exit(3)")
    code, said, cells = run(tmp_path)
    assert code == 1
    assert "did not run to its end" in said
    assert cells[0]["outputs"][0]["text"] == ["fine\n"]


def test_a_kernel_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    notebook(tmp_path, "1")
    code, said, _ = run(tmp_path, "conda_nothing")
    assert code == 4
    assert "There is no kernel conda_nothing (there are: python3)" in said


def test_what_is_no_notebook_is_said(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "explore.ipynb").write_text("print(1)")
    code, said, _ = run(tmp_path)
    assert code == 5
    assert "is no notebook" in said
