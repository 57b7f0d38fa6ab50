"""Says, on a schedule, where somebody has changed by hand what git deployed."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.delivery.parts import Job, Step, Workflow
from sagestack.delivery.steps import checkout, credentials, set_up
from sagestack.settings import Environment, EnvironmentNames
from sagestack.settings.delivery import Delivery

FILE = "sagestack-drift.yml"


def drift_workflow(delivery: Delivery, environments: Mapping[str, Environment], schedule: str) -> Workflow:
    """The workflow that looks into every environment of `delivery.yaml`; a job that fails is how it tells.

    Its jobs have no environment of GitHub's, so nobody is asked each morning; their role is another one, which only reads.
    """
    return Workflow(
        file=FILE,
        name="Sagestack drift",
        why="Looks for what was changed by hand.",
        on={"schedule": [{"cron": schedule}], "workflow_dispatch": None},
        jobs=[_drift(stage.environment, environments[stage.environment], delivery) for stage in delivery.stages],
    )


def _drift(name: str, environment: Environment, delivery: Delivery) -> Job:
    return Job(
        name,
        f"Drift in {name}",
        condition=f"github.ref == 'refs/heads/{delivery.repository.branch}'",
        one_at_a_time=f"sagestack-drift-{name}",
        timeout_minutes=30,
        permissions={"id-token": "write", "contents": "read"},
        steps=[
            checkout(),
            *set_up(),
            credentials(environment, EnvironmentNames(name).github_drift_role),
            Step(
                f"Compare {name} with what was deployed",
                # 3: something was changed. Shown on the run's page either way, then told as the job's end.
                run=(
                    "exit_code=0\n"
                    f"sagestack drift --env {name} > drift.txt 2>&1 || exit_code=$?\n"
                    "cat drift.txt\n"
                    f"{{ echo '### {name}'; echo '```'; cat drift.txt; echo '```'; }} >> \"$GITHUB_STEP_SUMMARY\"\n"
                    'exit "$exit_code"\n'
                ),
            ),
        ],
    )
