"""The review gives each recorded change the verdict that an expert gave it."""

import json
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from sagestack.review import run
from sagestack.review.assembly import read_assembly
from sagestack.review.render.document import to_json
from sagestack.review.results import Action, EnvironmentReview, Review
from sagestack.review.rules import check
from sagestack.review.sides.synth import Synthesizer
from sagestack.settings import PROJECT_ROOT
from sagestack.settings.review_conditions import KNOWN, parse_conditions

from tests.recorded_changes import AUTOSCALING, RECORDED, Edit, Recorded, prod, replace
from tests.recorded_workbench_changes import WORKBENCH_CHANGES
from tests.whole_workbench import with_workbench

# The first of them waits for all: some eighty seconds where nobody else works.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ALL = WORKBENCH_CHANGES
CONDITIONS = tuple(name for name in KNOWN if not name.startswith("cost") and name != "unknown-cost")
READ_BY_SYNTH = (
    "app.py",
    "cdk.json",
    "delivery.yaml",
    "stacks",
    "constructs",
    "functions",
    "model_code",
    "notebooks",
    "environments",
)


def copy_project(target: Path) -> Path:
    """What synth reads of the project, with a version in service in prod and a workbench in dev."""
    target.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.pins.yaml", "*.egg-info")
    for name in READ_BY_SYNTH:
        source = PROJECT_ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)
    replace("environments/prod.yaml", "served_version: null", "served_version: 3")(target)
    prod("initial_instance_count: 2\n", "initial_instance_count: 2\n" + AUTOSCALING)(target)
    return with_workbench(target)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Review]:
    """All changes, each made in a copy of the project and reviewed; synthesized two at a time, their rules checked at once."""
    root = tmp_path_factory.mktemp("root")
    synthesizer = Synthesizer(PROJECT_ROOT)

    def synthesized(name: str, environment: str, edit: Edit) -> Path:
        folder = root / name
        folder.mkdir()
        project = copy_project(folder / "project")
        edit(project)
        synthesizer.synthesize(project, {"env": environment}, folder / environment)
        return folder / environment

    with ThreadPoolExecutor(2) as pool:
        bases = {
            name: pool.submit(synthesized, f"base-{name}", name, lambda _root: None)
            for name in sorted({each.environment for each in ALL})
        }
        heads = {each.id: pool.submit(synthesized, each.id, each.environment, each.edit) for each in ALL}
    findings = root / run.CACHE / "findings"
    check(
        [
            *(read_assembly(base.result(), name) for name, base in bases.items()),
            *(read_assembly(heads[each.id].result(), each.environment) for each in ALL),
        ],
        cache=findings,
    )
    conditions = parse_conditions(",".join(CONDITIONS))
    return {
        each.id: run.run_review(
            root,
            str(bases[each.environment].result()),
            str(heads[each.id].result()),
            [each.environment],
            conditions,
        ).review
        for each in ALL
    }


@pytest.mark.parametrize("recorded", ALL, ids=lambda recorded: recorded.id)
def test_the_review_says_what_the_expert_said(recorded: Recorded, reviews: Mapping[str, Review]) -> None:
    review = reviews[recorded.id]
    (found,) = review.environments
    verdict = {
        "met": {met.condition for met in review.met},
        "gravest": _gravest(found),
        "dearer": _dearer(found),
        "replaced": _named(found, recorded.replaced, Action.REPLACED, Action.MAY_BE_REPLACED),
        "deleted": _named(found, recorded.deleted, Action.DELETED),
    }
    expected = {
        "met": set(recorded.met),
        "gravest": recorded.gravest,
        "dearer": recorded.dearer,
        "replaced": set(recorded.replaced),
        "deleted": set(recorded.deleted),
    }
    told = "\n".join(f"{met.condition}: {where}" for met in review.met for where in met.where)
    assert verdict == expected, f"{recorded.why}\n{told}"
    text = json.dumps(to_json(review), ensure_ascii=False).lower()
    assert [words for words in recorded.says if words.lower() not in text] == []


def test_a_change_of_nothing_is_met_with_silence(reviews: Mapping[str, Review]) -> None:
    review = reviews[ALL[0].id]
    (found,) = review.environments
    assert (found.changes, found.permissions, found.notes) == ((), (), ())
    assert [finding for finding in found.findings if finding.state != "old"] == []
    # But for the lines of the code, which a comment moves.
    before, after = (
        [(line.resource.address, line.what, line.usd_per_month) for line in cost.lines]
        for cost in (found.cost_before, found.cost_after)
    )
    assert before == after
    assert not review.needs_a_human


def test_there_are_at_least_25_of_them() -> None:
    assert len({recorded.id for recorded in RECORDED}) >= 25


def _named(found: EnvironmentReview, expected: Iterable[str], *actions: Action) -> set[str]:
    """The paths of what an action happens to; those that a pattern of the expert covers as that pattern."""
    paths = {change.resource.path for change in found.changes if change.action in actions}
    return {next((pattern for pattern in expected if fnmatchcase(path, pattern)), path) for path in paths}


def _gravest(found: EnvironmentReview) -> str | None:
    order = ["danger", "warning", "notice"]
    return min((change.severity.value for change in found.changes), key=order.index, default=None)


def _dearer(found: EnvironmentReview) -> bool | None:
    before, after = found.cost_before.total, found.cost_after.total
    return None if abs(after - before) < 0.5 else after > before
