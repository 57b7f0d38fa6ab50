"""Which workflows a project has, as text, and whether the repository has them so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sagestack.delivery.deploy_workflow import deploy_workflow
from sagestack.delivery.drift_workflow import drift_workflow
from sagestack.delivery.parts import Workflow
from sagestack.delivery.review_workflow import review_workflow
from sagestack.delivery.text import to_yaml
from sagestack.settings import PROJECT_ROOT, Environment, SettingsError, load_environment
from sagestack.settings.delivery import FILE, Delivery, load_delivery

FOLDER = Path(".github/workflows")
_OURS = "sagestack*.yml"
"""The files that are ours to write and to remove; all others are their owners'."""


@dataclass(frozen=True)
class Difference:
    """A file that is not as it would be generated."""

    path: Path
    """Below the project."""
    wanted: str | None
    """Its text; None where it should not be there."""
    found: str | None
    """What is there; None where nothing is."""


def workflows(delivery: Delivery, environments: dict[str, Environment]) -> list[Workflow]:
    """The workflows of a project.

    Args:
        delivery: the stages, their order and the repository.
        environments: the settings of at least the stages' environments.

    Raises:
        SettingsError: the repository is not on github.com, so there is nothing to generate.
    """
    repository = delivery.repository
    if repository.host != "github":
        raise SettingsError(
            [
                f"{FILE}: repository.host: {repository.host!r}: workflows are generated for github alone. For {repository.host}"
                " use the pipeline on AWS (pipeline: in this file, then `npx cdk deploy -c part=delivery sagestack-delivery`), or"
                " call the same commands from its own CI"
            ]
        )
    if repository.api_url is not None:
        raise SettingsError(
            [
                f"{FILE}: repository.api_url: {repository.api_url!r}: workflows are generated for github.com alone, whose"
                " identity the roles trust; a server of one's own has another"
            ]
        )
    result = [review_workflow(delivery), deploy_workflow(delivery, environments)]
    if delivery.drift_schedule:
        result.append(drift_workflow(delivery, environments, delivery.drift_schedule))
    return result


def generated(root: Path = PROJECT_ROOT) -> dict[Path, str]:
    """The text of each file by its path below the project, from `delivery.yaml` and the environments.

    Raises:
        SettingsError: one of these is not valid, or there is nothing to generate.
    """
    delivery = load_delivery(root)
    environments = {stage.environment: load_environment(stage.environment, root) for stage in delivery.stages}
    return {FOLDER / workflow.file: to_yaml(workflow) for workflow in workflows(delivery, environments)}


def differences(root: Path = PROJECT_ROOT) -> list[Difference]:
    """What the repository has otherwise than it would be generated, by path."""
    wanted: dict[Path, str | None] = dict(generated(root).items())
    for path in (root / FOLDER).glob(_OURS):
        wanted.setdefault(FOLDER / path.name, None)
    found = {
        path: (root / path).read_text(encoding="utf-8", errors="replace") if (root / path).is_file() else None
        for path in wanted
    }
    return [Difference(path, wanted[path], found[path]) for path in sorted(wanted) if wanted[path] != found[path]]


def write(root: Path = PROJECT_ROOT) -> list[Difference]:
    """Makes the repository's files as they are generated; what is no longer generated goes.

    Returns:
        What was not so before.
    """
    changed = differences(root)
    for difference in changed:
        path = root / difference.path
        if difference.wanted is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(difference.wanted, encoding="utf-8")
    return changed
