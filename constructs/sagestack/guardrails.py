"""What must hold for everything that is deployed, and the risks that were looked at and accepted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import aws_cdk as cdk
import jsii
from cdk_nag import AwsSolutionsChecks

from constructs import IConstruct

_IAM5 = "AwsSolutions-IAM5"

# A rule that may be broken, and why. A word in braces stands for letters, digits, colons and hyphens, as names of
# accounts and models come. "at" narrows it to the constructs below a path: a new wildcard elsewhere is a finding.
ACCEPTED_RISKS: Mapping[str, str] = {
    f"{_IAM5}[Action::s3:GetObject*]": "Bucket.grant_read: each way to read an object, below the statement's prefix.",
    f"{_IAM5}[Action::s3:GetBucket*]": "Bucket.grant_read: the settings of one bucket, not what is in it.",
    f"{_IAM5}[Action::s3:List*]": "Bucket.grant_read: SageMaker lists a prefix to find the files of a channel.",
    f"{_IAM5}[Action::s3:Abort*]": "Bucket.grant_put: ending an upload that it began itself.",
    f"{_IAM5}[Action::kms:GenerateDataKey*]": "Bucket.grant_put: with the environment's own key only.",
    f"{_IAM5}[Action::kms:ReEncrypt*]": "Bucket.grant_put: with the environment's own key only.",
    f"{_IAM5}[Resource::{{data bucket}}/{{model}}/input/*]": "The input files of one model, whatever they are called.",
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/*]": "The outputs of one model: each run has a folder of its own.",
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/*/{{step}}/*]": (
        "What one step left, in every run: the endpoint reads models, the pipeline itself models and scores."
    ),
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/captured/*]": (
        "What one endpoint was asked and answered: SageMaker names the objects by variant and hour. Written only."
    ),
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/requests/*]": "Callers name the requests to one endpoint.",
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/answers/*]": "SageMaker names an endpoint's answers. Written only.",
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/failures/*]": "The same, of what could not be answered.",
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/archives/*]": "The archives of one multi-model endpoint. Read only.",
    f"{_IAM5}[Resource::arn:{{partition}}:s3:::{{assets bucket}}/*]": (
        "The local cloud's build contexts: registered versions name older ones, whose hashes this synth cannot know."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:logs:{{place}}:log-group:/aws/sagemaker/{{jobs}}:*]": (
        "SageMaker names the log streams. The group is shared by the account's jobs; that cannot be configured."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:logs:{{place}}:log-group:/aws/sagemaker/{{hosting}}/{{endpoint}}:*]": (
        "The streams of one endpoint's log group, and of its inference component's: SageMaker names them."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:sagemaker:{{place}}:{{kind}}-job/pipelines-*]": (
        "Pipelines names its jobs itself, and so; jobs that people start have other names."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:sagemaker:{{place}}:model-package/{{group}}/*]": (
        "The versions of one model: the registry numbers them."
    ),
    f"{_IAM5}[Resource::*] at {{stack}}/Pipeline/JobRole": (
        "ecr:GetAuthorizationToken, cloudwatch:PutMetricData (limited by namespace) and, in a network, ec2:Describe*"
        " take no resource."
    ),
    f"{_IAM5}[Resource::*] at {{stack}}/EndpointRole": (
        "ecr:GetAuthorizationToken, cloudwatch:PutMetricData (limited by namespace) and, in a network, ec2:Describe*"
        " take no resource."
    ),
    f"{_IAM5}[Resource::*] at {{stack}}/Probe": "cloudwatch:PutMetricData takes no resource; limited by namespace.",
    f"{_IAM5}[Resource::arn:{{partition}}:sagemaker:{{place}}:endpoint-config/*]": (
        "Only to look: the gate and the probe see what an endpoint serves, and CloudFormation names its configurations."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:sagemaker:{{place}}:model/*]": (
        "Only to look: which version a configuration's model is of; CloudFormation names the models."
    ),
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/requests/golden-records/*]": (
        "What the gate itself asked an asynchronous endpoint, to find the answers at its next look."
    ),
    f"{_IAM5}[Resource::<{{function}}.Arn>:*] at {{stack}}/Gate/Provider": (
        "CDK's provider framework may call any version of the gate's own functions, of which there is one."
    ),
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
    " at {stack}/Gate/Provider": "CDK's provider framework; the policy permits writing logs and nothing else.",
    "AwsSolutions-SF1 at {stack}/Gate/Provider": (
        "The framework's state machine only waits; what the gate found is in the log of its functions."
    ),
    "AwsSolutions-SF2 at {stack}/Gate/Provider": "The framework's state machine only waits; there is nothing to trace.",
    f"{_IAM5}[Resource::arn:{{partition}}:application-autoscaling:{{place}}:scalable-target/*]": (
        "Application Auto Scaling numbers its targets; limited to SageMaker's, and to counts of instances."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:cloudwatch:{{place}}:alarm:TargetTracking-endpoint/{{endpoint}}/variant/{{name}}-*]": (
        "The alarms that Application Auto Scaling makes for one variant, and names."
    ),
    f"{_IAM5}[Resource::<{{function}}.Arn>:*] at {{stack}}/Endpoint/Scaling/Handover/Provider": (
        "CDK's provider framework may call any version of the handover's own function, of which there is one."
    ),
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
    " at {stack}/Endpoint/Scaling/Handover/Provider": (
        "CDK's provider framework; the policy permits writing logs and nothing else."
    ),
    f"{_IAM5}[Resource::<{{function}}.Arn>:*] at {{stack}}/RepositoryPolicy/Provider": (
        "CDK's provider framework may call any version of the one function that changes the repository's policy."
    ),
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
    " at {stack}/RepositoryPolicy/Provider": (
        "CDK's provider framework; the policy permits writing logs and nothing else."
    ),
    "AwsSolutions-SQS3 at {stack}/VersionPin/Missed": "This is where others' missed events go; its own end is somebody's eye.",
    f"{_IAM5}[Resource::arn:{{partition}}:s3:::*/{{model}}/*/{{step}}/*]": (
        "Another account's models and golden records, wherever it keeps them; limited to that account, whose bucket agrees."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:kms:{{place}}:key/*]": (
        "The key of another account's artefacts, through S3 alone; that account's key policy agrees."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:ec2:{{place}}:network-interface/*]": (
        "EC2 names the network interfaces; creating and deleting is limited to the environment's subnets."
    ),
}


@dataclass(frozen=True)
class Finding:
    """One rule, broken by one construct: cdk-nag's name of the rule, the construct's path, cdk-nag's words."""

    rule: str
    path: str
    description: str

    def is_accepted_by(self, accepted: str) -> bool:
        """Whether a key of `ACCEPTED_RISKS` covers this finding, where it stands."""
        rule, _, path = accepted.partition(" at ")
        below = f"{path}/" if path else ""
        return bool(_matcher(rule).fullmatch(self.rule)) and bool(_matcher(below).match(f"{self.path}/"))


def findings(scope: IConstruct) -> list[Finding]:
    """Everything that cdk-nag's AwsSolutions rules find, accepted or not, in the order of the rules."""
    report = AwsSolutionsChecks().validate_scope(scope)
    return [
        Finding(violation.rule_name, resource.construct_path or "", violation.description)
        for violation in report.violations
        for resource in violation.violating_resources
    ]


def not_accepted(found: Iterable[Finding], accepted: Iterable[str] = ACCEPTED_RISKS) -> list[Finding]:
    """The findings that nobody has looked at, or that nobody wants."""
    accepted = list(accepted)
    return [finding for finding in found if not any(finding.is_accepted_by(risk) for risk in accepted)]


def not_needed(found: Iterable[Finding], accepted: Iterable[str] = ACCEPTED_RISKS) -> list[str]:
    """The acceptances that accept nothing: the risk is gone, or the pattern is wrong."""
    found = list(found)
    return [risk for risk in accepted if not any(finding.is_accepted_by(risk) for finding in found)]


def add_guardrails(app: cdk.App) -> None:
    """Fails the synth on what breaks a rule of cdk-nag's AwsSolutions and is not an accepted risk.

    CDK's own validation of the templates is on besides, by default; `validateAgainstDefaultRules` in cdk.json
    makes errors of its warnings.
    """
    cdk.Validations.of(app).add_plugins(Guardrails(app))


@jsii.implements(cdk.IPolicyValidationPlugin)
class Guardrails:
    """cdk-nag with our accepted risks.

    A plugin of our own around the pack, since an acknowledgment in CDK's sense must name a finding to the letter,
    and cdk-nag puts the account, the model and generated names of CloudFormation exports into it.
    """

    def __init__(self, app: cdk.App) -> None:
        self._app = app

    @property
    def name(self) -> str:
        return "AwsSolutions"

    @property
    def version(self) -> str | None:
        return None

    @property
    def rule_ids(self) -> list[str] | None:
        return None

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        open_findings = not_accepted(findings(self._app))
        return cdk.PolicyValidationPluginReport(
            success=not open_findings,
            violations=[
                cdk.PolicyViolation(
                    rule_name=finding.rule,
                    description=f"{finding.description} Change it, or accept the risk with a reason in"
                    " constructs/sagestack/guardrails.py.",
                    severity="error",
                    violating_resources=[
                        cdk.PolicyViolatingResource(construct_path=finding.path, locations=["Properties"])
                    ],
                )
                for finding in open_findings
            ],
        )


def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]*\\\}", "[A-Za-z0-9:-]+", re.escape(pattern)))
