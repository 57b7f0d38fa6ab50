"""What happens when a change is merged: each environment is deployed after the one before it, where somebody said yes first."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.delivery import actions
from sagestack.delivery.parts import Job, Step, Workflow
from sagestack.delivery.steps import checkout, credentials, set_up
from sagestack.settings import Environment, EnvironmentNames
from sagestack.settings.delivery import Delivery, DeliveryStage

FILE = "sagestack-deploy.yml"
TOKEN = "${{ secrets.SAGESTACK_GIT_TOKEN || github.token }}"  # noqa: S105  an expression of GitHub's
"""What opens pull requests. On those that GitHub's own token opens it starts no checks: docs/reference/delivery.md."""
_PREVIEW = "what-would-change"
"""No name of an environment has a hyphen, so none is called so."""
_DEPLOY_MINUTES = 60
"""As long as the credentials: the sessions of CDK's roles, which are taken with them, end after an hour, too."""


def deploy_workflow(delivery: Delivery, environments: Mapping[str, Environment]) -> Workflow:
    """The workflow for the branch that is deployed, and for one environment by hand."""
    jobs: list[Job] = []
    approved = [stage.environment for stage in delivery.stages if stage.approval]
    if approved:
        jobs.append(_preview(approved, delivery))
    for stage in delivery.stages:
        jobs.append(_deployment(stage, delivery, environments[stage.environment]))
        if delivery.stage_after(stage.environment):
            jobs.append(_promotion(stage))
    return Workflow(
        file=FILE,
        name="Sagestack deploy",
        why="Deploys what is merged, environment by environment.",
        on={
            "push": {"branches": [delivery.repository.branch]},
            "workflow_dispatch": {
                "inputs": {
                    "environment": {
                        "description": "The environment to deploy, alone",
                        "type": "choice",
                        "options": [stage.environment for stage in delivery.stages],
                        "required": True,
                    }
                }
            },
        },
        jobs=jobs,
    )


def _preview(approved: list[str], delivery: Delivery) -> Job:
    """On the run's page before anybody is asked: what this commit changes in the environments that ask.

    Compared with what each of them has, not with the commit before: a push that nobody let through is still to come. It keeps
    nobody from deploying: where no review can be made, it says so to those who are asked, who may be in the middle of a way back.
    """
    return Job(
        _PREVIEW,
        "What would change",
        condition=_on_branch(delivery),
        timeout_minutes=30,
        permissions={"contents": "read", "deployments": "read"},
        steps=[
            checkout(history=True),
            *set_up(),
            Step(
                f"Review {' and '.join(approved)}",
                env={"GITHUB_TOKEN": "${{ github.token }}"},
                # An empty folder is an assembly of nothing: before the first deployment everything is new. 3 means that a human
                # is needed, who is about to be asked.
                run=(
                    "mkdir -p cdk.out/nothing\n"
                    'echo \'{"version":"36.0.0","artifacts":{}}\' > cdk.out/nothing/manifest.json\n'
                    f"for environment in {' '.join(approved)}; do\n"
                    '  if base=$(sagestack delivery deployed --env "$environment") &&\n'
                    '    { sagestack review --base "${base:-cdk.out/nothing}" --env "$environment" --format markdown \\\n'
                    '      --output "cdk.out/review/$environment" || test "$?" = 3; }; then\n'
                    '    cat "cdk.out/review/$environment/review.md" >> "$GITHUB_STEP_SUMMARY"\n'
                    "  else\n"
                    '    echo "**No review of $environment**: the log of this job says why." >> "$GITHUB_STEP_SUMMARY"\n'
                    '    echo "::warning title=No review of $environment::Nobody knows what would change there: see this log."\n'
                    "  fi\n"
                    "done\n"
                ),
            ),
        ],
    )


def _deployment(stage: DeliveryStage, delivery: Delivery, environment: Environment) -> Job:
    before = delivery.stage_before(stage.environment)
    needs = ([before.environment] if before else []) + ([_PREVIEW] if stage.approval else [])
    return Job(
        stage.environment,
        f"Deploy {stage.environment}",
        needs=needs,
        # By hand the stages before are skipped, and what is skipped has not failed.
        condition=(
            f"${{{{ !cancelled() && !failure() && {_on_branch(delivery)}"
            f" && (github.event_name == 'push' || inputs.environment == '{stage.environment}') }}}}"
        ),
        environment=stage.environment,
        one_at_a_time=f"sagestack-{stage.environment}",
        timeout_minutes=_DEPLOY_MINUTES,
        permissions={"id-token": "write", "contents": "read", "deployments": "read"},
        steps=[
            checkout(history=True),
            *set_up(),
            # Runs may overtake each other: one that waited for its approval, or that somebody runs again.
            Step(
                "Refuse to go back",
                env={"GITHUB_TOKEN": "${{ github.token }}"},
                run=f"sagestack delivery deployed --env {stage.environment} --refuse-older",
            ),
            *_other_processors(environment),
            credentials(environment, EnvironmentNames(stage.environment).github_deployment_role),
            Step(
                f"Deploy {stage.environment}",
                run=f"sagestack deploy --env {stage.environment} --require-approval never",
            ),
            Step(
                "Keep what the CDK CLI said",
                condition="${{ !success() }}",
                uses=actions.UPLOAD_ARTIFACT,
                inputs={
                    "name": f"deploy-{stage.environment}-" + "${{ github.run_attempt }}",
                    "path": f"cdk.out/deploy-{stage.environment}.log",
                    "if-no-files-found": "ignore",
                    "retention-days": 30,
                },
            ),
        ],
    )


def _promotion(stage: DeliveryStage) -> Job:
    """Apart from the deployment: who may write to the repository has no credentials of AWS."""
    return Job(
        f"promote-{stage.environment}",
        f"Promote what {stage.environment} serves",
        needs=[stage.environment],
        # Not where it was skipped.
        condition=f"${{{{ !cancelled() && needs.{stage.environment}.result == 'success' }}}}",
        one_at_a_time=f"sagestack-promote-{stage.environment}",
        timeout_minutes=15,
        permissions={"contents": "write", "pull-requests": "write"},
        steps=[
            checkout(history=True),
            *set_up(),
            Step(
                "Open the pull request for the next environment",
                env={"SAGESTACK_GIT_TOKEN": TOKEN},
                run=f"sagestack promote --after {stage.environment}",
            ),
        ],
    )


def _other_processors(environment: Environment) -> list[Step]:
    """For images that GitHub's machines (amd64) cannot build by themselves."""
    if all(model.endpoint.architecture == "amd64" for model in environment.models.values()):
        return []
    return [Step("Emulate arm64", uses=actions.SETUP_QEMU, inputs={"platforms": "arm64"})]


def _on_branch(delivery: Delivery) -> str:
    """Whoever starts it by hand may choose any branch. GitHub's environments should refuse others, too."""
    return f"github.ref == 'refs/heads/{delivery.repository.branch}'"
