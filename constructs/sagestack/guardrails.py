"""What must hold for everything that is deployed, or the synth fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
import jsii
from cdk_nag import AwsSolutionsChecks, NagPack

from constructs import IConstruct
from sagestack.accepted_risks import ACCEPTED_BY_TOOL, ACCEPTED_RISKS, accepts
from sagestack.review.assembly import read_assembly
from sagestack.review.results import Severity
from sagestack.review.rule_tools import AWS_SOLUTIONS, OWN
from sagestack.review.rules.found import Checked
from sagestack.review.rules.own import broken_in

__all__ = ["ACCEPTED_RISKS", "Finding", "Guardrails", "add_guardrails", "findings", "not_accepted", "not_needed"]

ALL_ACCEPTED_RISKS = ACCEPTED_BY_TOOL[AWS_SOLUTIONS]
"""Of the environments and of the delivery pipeline."""


@dataclass(frozen=True)
class Finding:
    """One rule, broken by one construct: cdk-nag's name of the rule, the construct's path, cdk-nag's words.

    Attributes:
        stage: the path of the delivery pipeline's stage that the construct is in; empty outside of it.
    """

    rule: str
    path: str
    description: str
    stage: str = ""

    def is_accepted_by(self, accepted: str) -> bool:
        """Whether a key of an acceptance covers this finding, in a stage as it would in the environment's own synth."""
        return accepts(accepted, self.rule, self.path.removeprefix(f"{self.stage}/") if self.stage else self.path)


def findings(scope: IConstruct, pack: type[NagPack] = AwsSolutionsChecks) -> list[Finding]:
    """Everything that a pack of cdk-nag's finds, accepted or not, in the order of the rules."""
    report = pack().validate_scope(scope)
    stages = [each.node.path for each in scope.node.find_all() if cdk.Stage.is_stage(each) and each.node.path]
    return [
        Finding(
            violation.rule_name, path, violation.description, next((s for s in stages if path.startswith(f"{s}/")), "")
        )
        for violation in report.violations
        for resource in violation.violating_resources
        for path in [resource.construct_path or ""]
    ]


def not_accepted(found: Iterable[Finding], accepted: Iterable[str] = ALL_ACCEPTED_RISKS) -> list[Finding]:
    """The findings that nobody has looked at, or that nobody wants."""
    accepted = list(accepted)
    return [finding for finding in found if not any(finding.is_accepted_by(risk) for risk in accepted)]


def not_needed(found: Iterable[Finding], accepted: Iterable[str] = ACCEPTED_RISKS) -> list[str]:
    """The acceptances that accept nothing: the risk is gone, or the pattern is wrong."""
    found = list(found)
    return [risk for risk in accepted if not any(finding.is_accepted_by(risk) for finding in found)]


def dangerous(outdir: Path) -> list[Finding]:
    """What a synthesized app breaks of our own rules that are a matter of danger, and nobody accepted."""
    assembly = read_assembly(outdir, "")
    checked = Checked(assembly, {name: tuple(broken_in(stack, assembly)) for name, stack in assembly.stacks.items()})
    found = [
        Finding(each.rule, checked.path(stack, each), each.message)
        for stack, of_stack in checked.found.items()
        for each in of_stack
        if each.severity is Severity.DANGER
    ]
    return not_accepted(found, ACCEPTED_BY_TOOL[OWN])


def add_guardrails(app: cdk.App) -> None:
    """Fails the synth on what breaks a rule of cdk-nag's AwsSolutions, or a dangerous one of ours, and is no accepted risk.

    CDK's own validation of the templates is on besides, by default; `validateAgainstDefaultRules` in cdk.json
    makes errors of its warnings.
    """
    cdk.Validations.of(app).add_plugins(Guardrails(app), OwnRules())


class _Plugin:
    """What both plugins tell CDK of themselves, and how they report."""

    title: str

    @property
    def name(self) -> str:
        return self.title

    @property
    def version(self) -> str | None:
        return None

    @property
    def rule_ids(self) -> list[str] | None:
        return None

    def report(self, open_findings: list[Finding]) -> cdk.PolicyValidationPluginReport:
        return cdk.PolicyValidationPluginReport(
            success=not open_findings,
            violations=[
                cdk.PolicyViolation(
                    rule_name=finding.rule,
                    description=f"{finding.description} Change it, or accept the risk with a reason in"
                    " constructs/sagestack/accepted_risks.py.",
                    severity="error",
                    violating_resources=[
                        cdk.PolicyViolatingResource(construct_path=finding.path, locations=["Properties"])
                    ],
                )
                for finding in open_findings
            ],
        )


@jsii.implements(cdk.IPolicyValidationPlugin)
class Guardrails(_Plugin):
    """cdk-nag with our accepted risks.

    A plugin of our own around the pack, since an acknowledgment in CDK's sense must name a finding to the letter,
    and cdk-nag puts the account, the model and generated names of CloudFormation exports into it.
    """

    title = "AwsSolutions"

    def __init__(self, app: cdk.App) -> None:
        self._app = app

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        return self.report(not_accepted(findings(self._app)))


@jsii.implements(cdk.IPolicyValidationPlugin)
class OwnRules(_Plugin):
    """Our own rules, on the templates as they lie in the assembly: a few milliseconds."""

    title = "Sagestack"

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        outdirs = {Path(path).parent for path in context.template_paths}
        return self.report([finding for outdir in sorted(outdirs) for finding in dangerous(outdir)])
