"""How git deploys: the repository, the order of the environments, and where a person is asked first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from sagestack.settings import source
from sagestack.settings.accounts import Account, Region
from sagestack.settings.base import Settings
from sagestack.settings.cron import check_cron
from sagestack.settings.environment import Environment
from sagestack.settings.environment_reading import load_environment
from sagestack.settings.errors import Allowed, Misfit, SettingsError, described, suggestion
from sagestack.settings.project_files import LOCAL, PROJECT_ROOT, known_environments
from sagestack.settings.review_conditions import parse_conditions
from sagestack.settings.source import SettingsFile

FILE = "delivery.yaml"
DEFAULT_FAIL_ON = ("cannot-deploy", "replacement-with-data", "iam-widening", "cost>10%")


class GitHubIds(Settings):
    """The numbers by which GitHub knows an owner and a repository. Unlike names, nobody else ever gets them."""

    owner: Annotated[int, Field(ge=1), Allowed("a number, as `gh api repos/OWNER/NAME --jq .owner.id` prints it")]
    repository: Annotated[int, Field(ge=1), Allowed("a number, as `gh api repos/OWNER/NAME --jq .id` prints it")]


class Repository(Settings):
    """Where the project's git repository is."""

    host: Annotated[Literal["github", "gitlab", "bitbucket"], Allowed("github, gitlab or bitbucket")]
    name: Annotated[
        str,
        Field(pattern=r"^[\w.-]+(/[\w.-]+)+$"),
        Allowed("owner/name; on GitLab the path of the project, with its groups"),
    ]
    branch: Annotated[str, Field(pattern=r"^[\w./-]+$"), Allowed("a branch, like main")] = "main"
    api_url: Annotated[
        str | None, Field(pattern=r"^https?://"), Allowed("the address of the API of a server of one's own, or null")
    ] = None
    """Null: github.com, gitlab.com or bitbucket.org."""
    github_ids: Annotated[GitHubIds | None, Allowed("null, or owner and repository, both numbers")] = None
    """For a repository that github.com names with its numbers in the tokens of its jobs: those made, renamed or transferred since
    2026-07-15, and those that chose it. Null: tokens have the names alone, so that whoever gets the names later gets the roles.
    https://docs.github.com/en/actions/reference/security/oidc#immutable-subject-claims"""

    @model_validator(mode="after")
    def _is_as_its_host_has_it(self) -> Repository:
        if self.host != "gitlab" and self.name.count("/") != 1:
            raise Misfit((("name",), f"{self.name!r} is not allowed on {self.host} (allowed: owner/name)"))
        if self.github_ids and (self.host != "github" or self.api_url):
            raise Misfit(
                (("github_ids",), "are of github.com alone, whose jobs the roles in AWS trust; leave them out")
            )
        return self

    def github_subject(self, of: str) -> str:
        """What a token of GitHub's says that a job is: the repository, and what of it.

        Args:
            of: `environment:NAME` of a job that names one, else `ref:refs/heads/BRANCH`.

        https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims
        """
        if self.github_ids is None:
            return f"repo:{self.name}:{of}"
        owner, name = self.name.split("/")
        return f"repo:{owner}@{self.github_ids.owner}/{name}@{self.github_ids.repository}:{of}"


class DeliveryStage(Settings):
    """One environment on the way of a change, after the one before it."""

    environment: Annotated[str, Allowed("the name of an environment")]
    approval: Annotated[bool, Allowed("true or false")] = False
    """Whether a person says yes, with the review at hand, before it is deployed."""


def _conditions(written: tuple[str, ...]) -> tuple[str, ...]:
    parse_conditions(written)
    return written


class ReviewSettings(Settings):
    """What makes a review ask for a human."""

    fail_on: Annotated[
        tuple[str, ...],
        Field(strict=False),
        AfterValidator(_conditions),
        Allowed("conditions as of `sagestack review --fail-on`"),
    ] = DEFAULT_FAIL_ON


class AwsPipeline(Settings):
    """The self-mutating pipeline in an account of its own."""

    account: Account
    region: Region
    connection_arn: Annotated[
        str,
        Field(pattern=r"^arn:[^:]+:(codeconnections|codestar-connections):[^:]+:[0-9]{12}:connection/[0-9a-f-]{36}$"),
        Allowed("the ARN of a CodeConnections connection to the repository's host"),
    ]
    token_secret_arn: Annotated[
        str | None,
        Field(pattern=r"^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$"),
        Allowed(
            "the whole ARN of a secret in Secrets Manager, whose text is a token of the repository's host, or null"
        ),
    ] = None
    """With it the pipeline opens the pull requests that promote versions; null: nobody does."""


class Delivery(Settings):
    """`delivery.yaml`."""

    repository: Repository
    stages: Annotated[tuple[DeliveryStage, ...], Field(min_length=1, strict=False), Allowed("environments, in order")]
    review: ReviewSettings = ReviewSettings()
    drift_schedule: Annotated[
        str | None,
        AfterValidator(lambda written: written if written is None else check_cron(written)),
        Allowed("five fields of cron in UTC, as GitHub Actions takes them, or null"),
    ] = None
    """When somebody looks for what was changed by hand; null: never by itself."""
    accounts_with_oidc_provider: Annotated[
        tuple[Account, ...], Field(strict=False), Allowed("accounts, 12 digits in quotes")
    ] = ()
    """Where IAM knows GitHub's identity provider already: an account has it only once. Elsewhere the bootstrap makes it."""
    pipeline: Annotated[AwsPipeline | None, Allowed("null, or account, region, connection_arn")] = None

    _file: SettingsFile | None = PrivateAttr(default=None)

    def stage_before(self, environment: str) -> DeliveryStage | None:
        """The stage whose deployment comes before an environment's own; None for the first.

        Raises:
            KeyError: no stage is of this environment.
        """
        names = [stage.environment for stage in self.stages]
        if environment not in names:
            raise KeyError(environment)
        place = names.index(environment)
        return self.stages[place - 1] if place else None

    def stage_after(self, environment: str) -> DeliveryStage | None:
        """The stage that a change goes to from this environment; None for the last.

        Raises:
            KeyError: no stage is of this environment.
        """
        names = [stage.environment for stage in self.stages]
        if environment not in names:
            raise KeyError(environment)
        place = names.index(environment) + 1
        return self.stages[place] if place < len(self.stages) else None


def load_delivery(root: Path = PROJECT_ROOT) -> Delivery:
    """Reads `delivery.yaml` against the environments that there are.

    Raises:
        SettingsError: with everything that is wrong at once.
    """
    path = root / FILE
    if not path.exists():
        raise SettingsError([f"there is no {FILE}; docs/reference/delivery.md says what stands in it"])
    try:
        file = source.read(path, root=root)
        delivery = Delivery.model_validate(file.content)
    except source.UnreadableError as error:
        raise SettingsError([str(error)]) from error
    except ValidationError as error:
        raise SettingsError(described(error, Delivery, file)) from error
    known = [name for name in known_environments(root) if name != LOCAL]
    names = [stage.environment for stage in delivery.stages]
    problems = [
        file.problem(
            f"stages[{place}].environment: {_unknown(name, known)} (known: {', '.join(known)})",
            path=("stages", place, "environment"),
        )
        for place, name in enumerate(names)
        if name not in known
    ]
    problems += [
        file.problem(f"stages[{place}].environment: {name!r} stands twice", path=("stages", place, "environment"))
        for place, name in enumerate(names)
        if name in names[:place]
    ]
    if problems:
        raise SettingsError(problems)
    delivery._file = file
    return delivery


@dataclass(frozen=True)
class GitHubDelivery:
    """GitHub deploys an environment."""

    delivery: Delivery
    makes_identity: bool
    """Whether this environment's bootstrap makes GitHub's identity provider: that of the first stage in its account does."""


def github_delivery(environment: Environment, root: Path = PROJECT_ROOT) -> GitHubDelivery | None:
    """How GitHub deploys an environment; None where it does not: no delivery.yaml, another host, or no stage of it.

    Raises:
        SettingsError: `delivery.yaml`, or an environment before this one in it, is not valid.
    """
    if not (root / FILE).exists():
        return None
    delivery = load_delivery(root)
    names = [stage.environment for stage in delivery.stages]
    if delivery.repository.host != "github" or delivery.repository.api_url or environment.name not in names:
        return None
    before = names[: names.index(environment.name)]
    is_made = environment.account in delivery.accounts_with_oidc_provider or any(
        load_environment(name, root).account == environment.account for name in before
    )
    return GitHubDelivery(delivery, makes_identity=not is_made)


def _unknown(name: str, known: list[str]) -> str:
    if name == LOCAL:
        return f"{LOCAL!r} is the cloud of one laptop, which git cannot deploy to"
    return f"there is no environment {name!r}{suggestion(name, known)}"
