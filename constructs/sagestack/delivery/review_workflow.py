"""What happens to a pull request: tests, a synth of every environment, and a review that says what it would do.

Nothing here gets credentials of AWS or may write to the repository, so a pull request of a fork is safe to run. Its review is
on the run's page: GitHub gives forks a token that only reads, so no comment can be written.
https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#pull_request
"""

from __future__ import annotations

from sagestack.delivery import actions
from sagestack.delivery.parts import Job, Step, Workflow
from sagestack.delivery.steps import checkout, set_up
from sagestack.settings.delivery import Delivery

FILE = "sagestack-review.yml"
_REVIEW = "cdk.out/review"
_ARTIFACT = "review"
_OF_THIS_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


def review_workflow(delivery: Delivery) -> Workflow:
    """The workflow for pull requests to the branch that is deployed."""
    return Workflow(
        file=FILE,
        name="Sagestack review",
        why="What a pull request would do, before it does it.",
        on={"pull_request": {"branches": [delivery.repository.branch]}},
        cancel_older="sagestack-review-${{ github.event.pull_request.number }}",
        jobs=[_tests(delivery), _review(), _comment(), _verdict()],
    )


def _tests(delivery: Delivery) -> Job:
    return Job(
        "test",
        "Tests and synth",
        timeout_minutes=45,
        permissions={"contents": "read"},
        steps=[
            checkout(),
            *set_up(),
            Step("Check that the workflows are as generated", run="sagestack delivery check"),
            Step("Check style and types", run="make lint"),
            Step("Test", run="make test"),
            *(
                Step(f"Synthesize {stage.environment}", run=f"make synth ENV={stage.environment}")
                for stage in delivery.stages
            ),
        ],
    )


def _review() -> Job:
    """Runs the pull request's own code, so it may only read; who may write is the next job, with the base's code."""
    return Job(
        "review",
        "Review",
        timeout_minutes=30,
        permissions={"contents": "read"},
        outputs={"exit-code": "${{ steps.review.outputs.exit-code }}"},
        steps=[
            checkout(history=True),
            *set_up(),
            Step(
                "Review all environments",
                id="review",
                env={"BASE_REF": "${{ github.base_ref }}"},
                # 3: a human is needed. That is for the last job to say, after everybody can read why.
                run=(
                    "exit_code=0\n"
                    'sagestack review --base "origin/$BASE_REF" --format html --format markdown --format sarif'
                    f" --output {_REVIEW} || exit_code=$?\n"
                    'echo "exit-code=$exit_code" >> "$GITHUB_OUTPUT"\n'
                    'case "$exit_code" in 0 | 3) ;; *) exit "$exit_code" ;; esac\n'
                    f'cat {_REVIEW}/review.md >> "$GITHUB_STEP_SUMMARY"\n'
                ),
            ),
            Step(
                "Keep the review",
                uses=actions.UPLOAD_ARTIFACT,
                inputs={"name": _ARTIFACT, "path": _REVIEW, "if-no-files-found": "error", "retention-days": 30},
            ),
        ],
    )


def _comment() -> Job:
    return Job(
        "comment",
        "Comment",
        needs=["review"],
        condition=_OF_THIS_REPOSITORY,
        timeout_minutes=15,
        # The last two for the findings: in a private repository their upload looks at the run that it belongs to.
        permissions={"contents": "read", "pull-requests": "write", "security-events": "write", "actions": "read"},
        steps=[
            checkout(ref="${{ github.event.pull_request.base.sha }}"),
            *set_up(),
            Step(
                "Get the review",
                uses=actions.DOWNLOAD_ARTIFACT,
                inputs={"name": _ARTIFACT, "path": _REVIEW},
            ),
            Step(
                "Comment on the pull request",
                env={"GITHUB_TOKEN": "${{ github.token }}"},
                run=f"sagestack comment {_REVIEW}/review.md",
            ),
            Step(
                "Show the findings where they are",
                uses=actions.UPLOAD_SARIF,
                # Private repositories have code scanning only where it is paid for; the review does not need it.
                continue_on_error=True,
                inputs={
                    "sarif_file": f"{_REVIEW}/review.sarif",
                    "category": "sagestack-review",
                    "ref": "refs/pull/${{ github.event.pull_request.number }}/merge",
                    "sha": "${{ github.sha }}",
                },
            ),
        ],
    )


def _verdict() -> Job:
    """A check of its own, so that a team may require it for a merge, or not."""
    return Job(
        "verdict",
        "Needs no human",
        needs=["review", "comment"],
        # A comment is not written for a fork, and one that failed must not hide what the review says.
        condition="${{ !cancelled() }}",
        timeout_minutes=5,
        permissions={},
        steps=[
            Step(
                "Say what the review says",
                env={"EXIT_CODE": "${{ needs.review.outputs.exit-code }}"},
                run=(
                    'case "$EXIT_CODE" in\n'
                    '  0) echo "Nothing in this change needs a human." ;;\n'
                    '  3) echo "::error title=A human is needed::The review says why: its comment, or the page of this run."'
                    "; exit 1 ;;\n"
                    '  *) echo "::error title=No review::The review failed, so nobody knows what this change would do."'
                    "; exit 1 ;;\n"
                    "esac\n"
                ),
            )
        ],
    )
