"""The steps that several workflows have."""

from __future__ import annotations

from sagestack.delivery import actions
from sagestack.delivery.parts import Step
from sagestack.settings import Environment, shipped
from sagestack.settings.names import GUARDED_PATH

PYTHON = "3.11"


def checkout(*, history: bool = False, ref: str | None = None) -> Step:
    """The repository, without leaving a token behind for whatever runs next.

    Args:
        history: all commits, for whoever compares two of them.
        ref: another commit than the one that the run is about.
    """
    inputs: dict[str, str | int | bool] = {"persist-credentials": False}
    if history:
        inputs["fetch-depth"] = 0
    if ref:
        inputs["ref"] = ref
    return Step("Check out", uses=actions.CHECKOUT, inputs=inputs)


def set_up() -> list[Step]:
    """What the project needs. No cache: what one run leaves behind would be code that the next one runs with other rights."""
    return [
        Step("Set up Python", uses=actions.SETUP_PYTHON, inputs={"python-version": PYTHON}),
        Step(
            "Set up the project",
            run='make setup\necho "$PWD/.venv/bin" >> "$GITHUB_PATH"\necho "$PWD/node_modules/.bin" >> "$GITHUB_PATH"\n',
        ),
    ]


def credentials(environment: Environment, role: str) -> Step:
    """Credentials for an hour, for what GitHub says of this job: no key is kept anywhere."""
    partition = shipped.partition(environment.region)
    return Step(
        "Get credentials",
        uses=actions.CONFIGURE_AWS_CREDENTIALS,
        inputs={
            "role-to-assume": f"arn:{partition}:iam::{environment.account}:role{GUARDED_PATH}{role}",
            "role-session-name": "sagestack-${{ github.run_id }}-${{ github.run_attempt }}",
            "role-duration-seconds": 3600,
            "aws-region": environment.region,
            "allowed-account-ids": environment.account,
        },
    )
