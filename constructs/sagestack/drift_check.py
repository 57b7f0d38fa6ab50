"""Looks into all environments on a schedule, and tells when somebody has changed something by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import aws_cdk as cdk
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns

from constructs import Construct
from sagestack import settings
from sagestack.policy_statements import QUALIFIER
from sagestack.settings import shipped
from sagestack.settings.cron import eventbridge_cron
from sagestack.settings.delivery import AwsPipeline, Repository

_SOURCE_TYPES = {"github": "GITHUB", "gitlab": "GITLAB", "bitbucket": "BITBUCKET"}
_HOSTS = {"github": "https://github.com", "gitlab": "https://gitlab.com", "bitbucket": "https://bitbucket.org"}


class DriftCheck(Construct):
    """Runs `sagestack drift` for each environment, on the branch that is deployed.

    It looks with the roles for looking that `cdk bootstrap --trust` made in each account, which can change nothing.

    Attributes:
        topic: gets a message when something was changed by hand, or when it could not be looked at. Subscribe to it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        schedule: str,
        repository: Repository,
        aws_pipeline: AwsPipeline,
        environments: Iterable[settings.Environment],
        encryption_key: kms.IKey,
        log_group: logs.ILogGroup,
    ) -> None:
        """Makes the project, its schedule and the topic.

        Args:
            schedule: five fields of cron, in UTC.
            repository: of the project.
            aws_pipeline: its connection to the repository's host.
            environments: what is looked into, in this order; one that drifts does not hide the next.
            encryption_key: of the topic and of what is built.
            log_group: of what it says.

        Raises:
            ValueError: EventBridge cannot say the schedule.
        """
        super().__init__(scope, id)
        environments = list(environments)
        self.topic = sns.Topic(self, "Topic", master_key=encryption_key, enforce_ssl=True)
        project = codebuild.Project(
            self,
            "Project",
            description=f"What was changed by hand in {', '.join(each.name for each in environments)}",
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.STANDARD_7_0, compute_type=codebuild.ComputeType.SMALL
            ),
            build_spec=codebuild.BuildSpec.from_object(
                {
                    "version": "0.2",
                    "phases": {
                        "install": {"runtime-versions": {"python": "3.11"}, "commands": ["make setup"]},
                        "build": {"commands": _commands(environments)},
                    },
                }
            ),
            encryption_key=encryption_key,
            logging=codebuild.LoggingOptions(cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log_group)),
            timeout=cdk.Duration.minutes(60),
            # It makes none.
            grant_report_group_permissions=False,
        )
        _read_from(project, repository, aws_pipeline.connection_arn)
        project.add_to_role_policy(
            iam.PolicyStatement(
                actions=["codeconnections:UseConnection", "codestar-connections:UseConnection"],
                resources=[aws_pipeline.connection_arn],
            )
        )
        project.add_to_role_policy(
            iam.PolicyStatement(actions=["sts:AssumeRole"], resources=[_role_of(each) for each in environments])
        )
        events.Rule(
            self,
            "Schedule",
            description="Looks for drift",
            schedule=events.Schedule.expression(eventbridge_cron(schedule)),
            targets=[targets.CodeBuildProject(project)],
        )
        project.on_build_failed(
            "Drifted",
            target=targets.SnsTopic(
                self.topic,
                message=events.RuleTargetInput.from_text(
                    "Somebody changed an environment by hand, or it could not be looked at. What sagestack drift said: "
                    + events.EventField.from_path("$.detail.additional-information.logs.deep-link")
                ),
            ),
        )


def _read_from(project: codebuild.Project, repository: Repository, connection_arn: str) -> None:
    """Lets it clone by the connection, which the L2 construct does not know."""
    resource = project.node.default_child
    assert isinstance(resource, codebuild.CfnProject)
    source: Mapping[str, object] = {
        "Type": _SOURCE_TYPES[repository.host],
        "Location": f"{_HOSTS[repository.host]}/{repository.name}.git",
        "GitCloneDepth": 1,
        "Auth": {"Type": "CODECONNECTIONS", "Resource": connection_arn},
    }
    for key, value in source.items():
        resource.add_property_override(f"Source.{key}", value)
    resource.add_property_override("SourceVersion", repository.branch)


def _commands(environments: Iterable[settings.Environment]) -> list[str]:
    """Signs in to each account by a profile of its own, and fails at the end where any of them drifted."""
    lines = ["mkdir -p ~/.aws", "WORST=0"]
    for each in environments:
        profile = [
            f"[profile {each.name}]",
            f"role_arn={_role_of(each)}",
            "credential_source=EcsContainer",
            f"region={each.region}",
        ]
        lines.append(f"printf '%s\\n' {' '.join(json.dumps(line) for line in profile)} >> ~/.aws/config")
        lines.append(f"AWS_PROFILE={each.name} .venv/bin/sagestack drift --env {each.name} || WORST=$?")
    return [*lines, "exit $WORST"]


def _role_of(environment: settings.Environment) -> str:
    """The bootstrap's role for looking: ReadOnlyAccess, which includes to detect drift."""
    partition = shipped.partition(environment.region)
    name = f"cdk-{QUALIFIER}-lookup-role-{environment.account}-{environment.region}"
    return f"arn:{partition}:iam::{environment.account}:role/{name}"
