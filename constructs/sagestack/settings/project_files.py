"""Where the settings stand in the project: a file for each environment, a folder for each model."""

from __future__ import annotations

from pathlib import Path

LOCAL = "local"
"""The environment of one laptop."""
PROJECT_ROOT = Path(__file__).resolve().parents[3]


def known_environments(root: Path = PROJECT_ROOT) -> list[str]:
    """The names of all environments, sorted: one per `environments/<name>.yaml`."""
    return sorted(path.stem for path in (root / "environments").glob("*.yaml") if "." not in path.stem)


def environment_file(name: str, root: Path = PROJECT_ROOT) -> Path:
    return root / "environments" / f"{name}.yaml"


def pins_file(name: str, root: Path = PROJECT_ROOT) -> Path:
    """The file that holds the served versions of an environment.

    It is the environment's own, reviewed in git, but for `local`: what a laptop serves concerns nobody else.
    """
    return root / "environments" / f"{LOCAL}.pins.yaml" if name == LOCAL else environment_file(name, root)


def model_folders(root: Path = PROJECT_ROOT) -> list[str]:
    """The names of all models, sorted: one per `model_code/<name>/model.yaml`."""
    return sorted(path.parent.name for path in (root / "model_code").glob("*/model.yaml"))
