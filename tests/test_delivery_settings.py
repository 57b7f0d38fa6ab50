"""What may stand in delivery.yaml, and how everything that may not is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sagestack.settings import SettingsError, shipped
from sagestack.settings.delivery import Delivery, load_delivery

from tests.cli_fakes import ENVIRONMENT, make_project

GOOD = """\
repository: {host: github, name: my-team/my-platform}
stages:
  - environment: dev
  - environment: prod
    approval: true
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_project(tmp_path / "p")
    (root / "environments/prod.yaml").write_text(ENVIRONMENT.format(account="3" * 12, image="ecr"))
    return root


def _load(root: Path, text: str) -> Delivery:
    (root / "delivery.yaml").write_text(text)
    return load_delivery(root)


def test_what_is_left_out_has_a_default(root: Path) -> None:
    delivery = _load(root, GOOD)
    assert delivery.repository.branch == "main"
    assert delivery.review.fail_on == ("cannot-deploy", "replacement-with-data", "iam-widening", "cost>10%")
    assert (delivery.drift_schedule, delivery.pipeline, delivery.accounts_with_oidc_provider) == (None, None, ())
    assert [stage.approval for stage in delivery.stages] == [False, True]


def test_the_project_has_one_that_is_valid() -> None:
    assert [stage.environment for stage in load_delivery().stages] == ["dev", "staging", "prod"]


def test_the_stages_know_their_neighbours(root: Path) -> None:
    delivery = _load(root, GOOD)
    first, last = delivery.stages
    assert delivery.stage_before("dev") is None
    assert delivery.stage_before("prod") == first
    assert delivery.stage_after("dev") == last
    assert delivery.stage_after("prod") is None
    with pytest.raises(KeyError):
        delivery.stage_after("staging")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(GOOD + "stage: x\n", "delivery.yaml:6: stage: unknown key", id="unknown-key"),
        pytest.param(GOOD.replace("prod", "prd"), "there is no environment 'prd'; did you mean 'prod'?", id="unknown"),
        pytest.param(GOOD.replace("prod", "local"), "'local' is the cloud of one laptop", id="local"),
        pytest.param(
            GOOD.replace("prod", "dev"), "delivery.yaml:4: stages[1].environment: 'dev' stands twice", id="twice"
        ),
        pytest.param("repository: {host: github, name: a/b}\nstages: []\n", "stages", id="no-stages"),
        pytest.param(GOOD.replace("github", "gitea"), "github, gitlab or bitbucket", id="host"),
        pytest.param(GOOD.replace("my-team/my-platform", "a/b/c"), "(allowed: owner/name)", id="github-with-groups"),
        pytest.param(
            GOOD.replace("platform}", "platform, github_ids: {owner: 1}}"), "github_ids.repository", id="one-id"
        ),
        pytest.param(
            GOOD.replace("platform}", "platform, github_ids: {owner: x, repository: 2}}"),
            "as `gh api repos/OWNER/NAME --jq .owner.id` prints it",
            id="id-no-number",
        ),
        pytest.param(
            GOOD.replace("github", "gitlab").replace("platform}", "platform, github_ids: {owner: 1, repository: 2}}"),
            "github_ids: are of github.com alone",
            id="ids-elsewhere",
        ),
        pytest.param(GOOD + "drift_schedule: 17 5 * *\n", "has 4 fields, and must have five", id="cron-fields"),
        pytest.param(GOOD + "drift_schedule: 17 25 * * *\n", "'25' is no hour (allowed: 0 to 23", id="cron-hour"),
        pytest.param(GOOD + "drift_schedule: 0 0 * * MO\n", "or SUN to SAT", id="cron-day"),
        pytest.param(GOOD + "drift_schedule: 0 0 5-1 * *\n", "'5-1' is no day of the month", id="cron-backwards"),
        pytest.param(GOOD + "drift_schedule: '* * * * *'\n", "no schedule more often than every 5", id="cron-often"),
        pytest.param(
            GOOD + "review: {fail_on: [replacment]}\n", "did you mean 'replacement'", id="condition-misspelled"
        ),
        pytest.param(GOOD + "review: {fail_on: [never, deletion]}\n", "'never' stands alone", id="never-beside-others"),
        pytest.param(GOOD + "accounts_with_oidc_provider: ['12']\n", "12 digits in quotes", id="account"),
        pytest.param("- 1\n", "must be a mapping", id="no-mapping"),
        pytest.param("a: [\n", "delivery.yaml:2:", id="no-yaml"),
    ],
)
def test_what_is_wrong_is_named(root: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(root, text)
    assert says in str(caught.value)


def test_everything_that_is_wrong_is_told_at_once(root: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(root, GOOD.replace("github", "gitea") + "drift_schedule: x\n")
    assert len(caught.value.problems) == 2


def test_without_the_file_it_says_where_to_read_on(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"docs/reference/delivery\.md"):
        load_delivery(root)


@pytest.mark.parametrize("written", ["17 5 * * 1-5", "*/5 * * * *", "0,30 0 1,15 JAN-MAR mon"])
def test_schedules_are_those_of_github(root: Path, written: str) -> None:
    assert _load(root, GOOD + f"drift_schedule: '{written}'\n").drift_schedule == written


@pytest.mark.parametrize(
    ("ids", "subject"),
    [
        ("", "repo:my-team/my-platform:environment:prod"),
        (
            ", github_ids: {owner: 123456, repository: 456789}",
            "repo:my-team@123456/my-platform@456789:environment:prod",
        ),
    ],
    ids=["names", "numbers"],
)
def test_the_subject_of_a_job_is_as_github_documents_it(root: Path, ids: str, subject: str) -> None:
    repository = _load(root, GOOD.replace("my-platform}", f"my-platform{ids}}}")).repository
    assert repository.github_subject("environment:prod") == subject


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_roles_are_named_in_their_regions_own_partition(region: str, partition: str) -> None:
    assert shipped.partition(region) == partition
