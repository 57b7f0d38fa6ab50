"""cdk-nag's packs and CDK's own validation, over templates instead of constructs; runs in a process of its own.

The only module of the review that imports the CDK: `python -m sagestack.review.rules.cdk_checks REQUEST ANSWER`, both
files of JSON. Starting it costs seconds, whatever the number of templates.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk.cloudformation_include import CfnInclude
from cdk_nag import AwsSolutionsChecks, NagPack, NIST80053R5Checks

from constructs import IConstruct
from sagestack.review.results import Severity
from sagestack.review.rule_tools import AWS_SOLUTIONS, CLOUDFORMATION, NIST
from sagestack.review.rules.found import NOT_CHECKED, Found

_PACKS: Mapping[str, tuple[type[NagPack], str]] = {
    AWS_SOLUTIONS: (AwsSolutionsChecks, "https://github.com/cdklabs/cdk-nag/blob/main/RULES.md#awssolutions"),
    NIST: (NIST80053R5Checks, "https://github.com/cdklabs/cdk-nag/blob/main/RULES.md#nist-800-53-rev-5"),
}

# Whoever breaks one of these has opened something to the world, in so many words. (Not S3BucketPublicReadProhibited: it is
# broken by a bucket that says nothing, which S3 has closed by default since 2023.) The rest is for somebody to decide.
_OPENS = frozenset(
    {
        "AwsSolutions-EC23",
        "AwsSolutions-S2",
        "NIST.800.53.R5-DMSReplicationNotPublic",
        "NIST.800.53.R5-EC2RestrictedCommonPorts",
        "NIST.800.53.R5-EC2RestrictedSSH",
        "NIST.800.53.R5-LambdaFunctionPublicAccessProhibited",
        "NIST.800.53.R5-RDSInstancePublicAccess",
        "NIST.800.53.R5-RedshiftClusterPublicAccess",
        "NIST.800.53.R5-S3BucketLevelPublicAccessProhibited",
    }
)

_UNDECIDED = "Rule threw an error"
"""How cdk-nag begins where a rule met a reference that it cannot see through."""

_READ_BY_RULES = ("AWSTemplateFormatVersion", "Parameters", "Mappings", "Conditions", "Resources")
"""What the rules look at. Each further section is another thing that `CfnInclude` may not know."""


@dataclass(frozen=True)
class Template:
    """A template to check: its file, and where it will be deployed; empty where that is open."""

    file: Path
    account: str
    region: str


def check(templates: Sequence[Template]) -> list[list[Found]]:
    """What cdk-nag and CDK's validation find in each of the templates."""
    return [[*nagged, *valid] for nagged, valid in zip(nag(templates), validate(templates), strict=True)]


def nag(templates: Sequence[Template]) -> list[list[Found]]:
    """What the packs of cdk-nag find in each of the templates."""
    app = cdk.App(analytics_reporting=False)
    found: list[list[Found]] = [[] for _ in templates]
    for index, template in enumerate(templates):
        try:
            _include(app, f"T{index}", template)
        except Exception as error:
            # jsii raises all kinds. Half an included template would be half a check.
            app.node.try_remove_child(f"T{index}")
            found[index] += [_not_checked(tool, error) for tool in _PACKS]
    for tool in _PACKS:
        for index, finding in _nag(app, tool):
            found[index].append(finding)
    return found


def validate(templates: Sequence[Template]) -> list[list[Found]]:
    """What CDK's own validation of templates, as each synth has it, finds in each of them."""
    app = cdk.App(analytics_reporting=False)
    plugin = cdk.CloudFormationValidatePlugin()
    found = []
    for template in templates:
        try:
            report = plugin.validate(_Synth(app, template))
        except Exception as error:
            found.append([_not_checked(CLOUDFORMATION, error)])
            continue
        found.append(
            [
                Found(
                    CLOUDFORMATION,
                    violation.rule_name,
                    resource.resource_logical_id,
                    Severity.WARNING if violation.severity == "error" else Severity.NOTICE,
                    f"{violation.description} {violation.fix or ''}".strip(),
                )
                for violation in report.violations
                for resource in violation.violating_resources
            ]
        )
    return found


def _not_checked(tool: str, error: Exception) -> Found:
    reason = str(error).strip().partition("\n")[0]
    return Found(tool, NOT_CHECKED, None, Severity.NOTICE, f"This tool cannot read the template: {reason}")


def _include(app: cdk.App, id: str, template: Template) -> None:
    written = json.loads(template.file.read_text(encoding="utf-8"))
    reduced = {section: written[section] for section in _READ_BY_RULES if section in written}
    file = template.file.with_suffix(".included.json")
    file.write_text(json.dumps(_with_imports(reduced)), encoding="utf-8")
    stack = cdk.Stack(
        app,
        id,
        synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
        env=cdk.Environment(account=template.account or None, region=template.region or None),
    )
    CfnInclude(stack, "Template", template_file=str(file))


def _with_imports(value: Any) -> Any:
    """Reads an output of another stack as an import: `CfnInclude` knows no `Fn::GetStackOutput`, and for rules they are alike."""
    match value:
        case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": output}}:
            return {"Fn::ImportValue": f"{stack}:{output}"}
        case dict():
            return {key: _with_imports(each) for key, each in value.items()}
        case list():
            return [_with_imports(each) for each in value]
    return value


def _nag(app: cdk.App, tool: str) -> list[tuple[int, Found]]:
    pack, link = _PACKS[tool]
    return [
        (index, Found(tool, violation.rule_name, logical_id, _severity(violation), violation.description, link))
        for violation in pack().validate_scope(app).violations
        for resource in violation.violating_resources
        for index, logical_id in [_place(resource.construct_path or "")]
    ]


def _place(path: str) -> tuple[int, str]:
    """`T3/Template/Bucket` is the bucket of the fourth template."""
    stack, _, logical_id = path.split("/", 2)
    return int(stack.removeprefix("T")), logical_id


def _severity(violation: cdk.PolicyViolation) -> Severity:
    if violation.description.startswith(_UNDECIDED):
        return Severity.NOTICE
    if violation.rule_name in _OPENS:
        return Severity.DANGER
    return Severity.WARNING if violation.severity == "error" else Severity.NOTICE


@jsii.implements(cdk.IPolicyValidationContext)
class _Synth:
    """What CDK tells a validation plugin during a synth, told of a template that lies there already."""

    def __init__(self, app: cdk.App, template: Template) -> None:
        self._app = app
        self._template = template

    @property
    def template_paths(self) -> list[str]:
        return [str(self._template.file)]

    @property
    def stack_templates(self) -> list[cdk.PolicyValidationStack]:
        file = str(self._template.file)
        return [
            cdk.PolicyValidationStack(
                stack_construct_path=file,
                template_path=file,
                account_id=self._template.account or None,
                region=self._template.region or None,
            )
        ]

    @property
    def account_id(self) -> str | None:
        return None

    @property
    def region(self) -> str | None:
        return None

    @property
    def app_construct(self) -> IConstruct:
        return self._app


def main(request: Path, answer: Path) -> None:
    templates = [
        Template(Path(each["file"]), each["account"], each["region"])
        for each in json.loads(request.read_text(encoding="utf-8"))
    ]
    found = [[each.to_json() for each in of_one] for of_one in check(templates)]
    answer.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
