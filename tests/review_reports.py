"""Reviews as the renderers get them: a rich one, an empty one, a monster, and a hostile one."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.results import (
    Action,
    CostEstimate,
    CostLine,
    EnvironmentReview,
    Met,
    PermissionChange,
    PermissionFlag,
    Picture,
    PropertyChange,
    ResourceChange,
    Review,
    RuleFinding,
    Severity,
    Side,
)

ACCOUNTS = {"local": "000000000000", "dev": "111111111111", "staging": "222222222222", "prod": "333333333333"}
REGION = "eu-west-1"
BASE = Side("origin/main", "4f0c2d91b7e6a35f8c1d20e9a7b6543210fedcba")
HEAD = Side("the working tree", "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d00c0ffee")
PRICE_DATE = "2026-11-01"
PRICE_SOURCE = "the AWS price list API"
_TEXT = 'text-anchor="middle" font-family="sans-serif"'
_BOX = 'fill="var(--paper, #fff)" width="130" height="50" rx="6"'
SVG = f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<svg width="480pt" height="150pt" viewBox="0 0 480 150" xmlns="http://www.w3.org/2000/svg">
<g id="graph0" class="graph"><g id="node1" class="node">
<rect {_BOX} stroke="var(--deleted, #cf222e)" stroke-width="2" x="10" y="50"/>
<text {_TEXT} x="75" y="72" font-size="13" fill="var(--ink, #1c2127)">foundation</text>
<text {_TEXT} x="75" y="89" font-size="11" fill="var(--deleted, #cf222e)">1 replaced</text></g>
<g id="node2" class="node"><rect {_BOX} stroke="var(--line, #b8c0c8)" x="180" y="10"/>
<text {_TEXT} x="245" y="40" font-size="13" fill="var(--ink, #1c2127)">housing-training</text></g>
<g id="node3" class="node"><rect {_BOX} stroke="var(--updated, #9a6700)" stroke-width="2" x="340" y="50"/>
<text {_TEXT} x="405" y="72" font-size="13" fill="var(--ink, #1c2127)">housing-serving</text>
<text {_TEXT} x="405" y="89" font-size="11" fill="var(--updated, #9a6700)">3 updated</text></g>
<path fill="none" stroke="var(--line, #b8c0c8)" d="M140,68 C155,60 165,50 180,42"/>
<path fill="none" stroke="var(--line, #b8c0c8)" d="M310,42 C322,50 330,58 340,66"/>
<path fill="none" stroke="var(--line, #b8c0c8)" d="M140,82 C200,112 280,112 340,82"/></g></svg>"""
MERMAID = """flowchart LR
  foundation["foundation: 1 replaced"]:::replaced
  training["housing-training"]
  serving["housing-serving: 3 updated"]:::updated
  foundation --> training --> serving
  foundation --> serving
  classDef replaced stroke:#a8231a
  classDef updated stroke:#7a4a00"""


def resource(
    environment: str, stack: str, type_: str, path: str, source: str | None = None, **properties: Any
) -> Resource:
    """A resource of `sagestack-ENV-STACK`."""
    return Resource(
        environment=environment,
        stack=f"sagestack-{environment}-{stack}",
        logical_id=f"{path.replace('/', '')}7A2F91C3",
        type=type_,
        path=path,
        definition={"Type": type_, "Properties": properties},
        source=source,
    )


def changed(
    resource_: Resource, action: Action, severity: Severity = Severity.NOTICE, *properties: PropertyChange, **more: Any
) -> ResourceChange:
    """A change with the sides that the action has."""
    return ResourceChange(
        before=None if action is Action.CREATED else resource_,
        after=None if action is Action.DELETED else resource_,
        action=action,
        severity=severity,
        properties=properties,
        **more,
    )


def _policy(*actions: str, environment: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Action": list(actions),
                "Effect": "Allow",
                "Resource": [
                    {"Fn::GetAtt": ["ArtifactsBucket3F1A", "Arn"]},
                    {"Fn::Join": ["", [{"Fn::GetAtt": ["ArtifactsBucket3F1A", "Arn"]}, "/models/*"]]},
                ],
                "Condition": {"StringEquals": {"aws:ResourceAccount": ACCOUNTS[environment]}},
            }
        ],
    }


def _changes(environment: str) -> tuple[ResourceChange, ...]:
    data = resource(environment, "foundation", "AWS::S3::Bucket", "Data", "stacks/foundation.py:48")
    key = resource(environment, "foundation", "AWS::KMS::Key", "Key", "stacks/foundation.py:31")
    endpoint = resource(
        environment, "housing-serving", "AWS::SageMaker::Endpoint", "Endpoint", "constructs/sagestack/endpoint.py:112"
    )
    config = resource(
        environment,
        "housing-serving",
        "AWS::SageMaker::EndpointConfig",
        "Endpoint/Config",
        "constructs/sagestack/endpoint_config.py:64",
    )
    role = resource(environment, "housing-serving", "AWS::IAM::Policy", "Role/DefaultPolicy", "stacks/serving.py:39")
    alarm = resource(
        environment,
        "housing-serving",
        "AWS::CloudWatch::Alarm",
        "Alarms/Errors",
        "constructs/sagestack/rollback_alarms.py:52",
    )
    notebook = resource(
        environment, "workbench", "AWS::SageMaker::NotebookInstance", "Notebook", "stacks/workbench.py:22"
    )
    pipeline = resource(
        environment,
        "housing-training",
        "AWS::SageMaker::Pipeline",
        "Pipeline",
        "constructs/sagestack/training_pipeline.py:88",
    )
    topic = resource(
        environment, "housing-serving", "AWS::SNS::Topic", "Alarms/Topic", "stacks/serving.py:71",
        KmsMasterKeyId={"Fn::GetAtt": ["Key961B", "Arn"]}, DisplayName="Alarms of housing",
    )  # fmt: skip
    before = {"Steps": [{"Name": "train", "Type": "Training", "Arguments": {"HyperParameters": {"eta": "0.3"}}}]}
    after = {"Steps": [{"Name": "train", "Type": "Training", "Arguments": {"HyperParameters": {"eta": "0.1"}}}]}
    changes = [
        changed(
            data,
            Action.REPLACED,
            Severity.DANGER,
            data="lost",
            renamed_from="TrainingData1B2C3D4E",
            reasons=(
                "Its construct was renamed from `TrainingData` to `Data`: CloudFormation makes a new one and deletes this one.",
                "The bucket empties itself when it is deleted (`autoDeleteObjects`), so nothing keeps the records.",
                "Keep the old construct id, or move the resource with `cdk refactor` first.",
            ),
        ),
        changed(
            config,
            Action.REPLACED,
            Severity.NOTICE,
            PropertyChange("ProductionVariants[0].InstanceType", "ml.m5.large", "ml.m5.xlarge", "yes"),
            PropertyChange("ProductionVariants[0].InitialInstanceCount", 1, 2, "yes"),
            reasons=("A configuration of an endpoint cannot change; the endpoint moves to the new one.",),
        ),
        changed(
            role,
            Action.UPDATED,
            Severity.WARNING,
            PropertyChange(
                "PolicyDocument",
                _policy("s3:GetObject", environment=environment),
                _policy("s3:DeleteObject", "s3:GetObject", "s3:PutObject", environment=environment),
            ),
            reasons=("What it allows widens: see the permissions.",),
        ),
        changed(
            pipeline,
            Action.UPDATED,
            Severity.NOTICE,
            PropertyChange("PipelineDefinition.PipelineDefinitionBody", json.dumps(before), json.dumps(after)),
            reasons=("The next execution trains with another definition; running ones keep theirs.",),
        ),
        changed(topic, Action.CREATED),
    ]
    if environment == "prod":
        changes += [
            changed(
                endpoint,
                Action.UPDATED,
                Severity.WARNING,
                PropertyChange("DeploymentConfig.AutoRollbackConfiguration", {"Alarms": [{"AlarmName": "errors"}]}, None),
                interruption="Without a roll-back alarm, a bad model takes all of the traffic and stays.",
                reasons=("It loses its roll-back alarm, so SageMaker keeps a version that fails.",),
            ),
            changed(
                alarm, Action.DELETED, Severity.WARNING,
                reasons=("Nobody hears any more that the endpoint answers with errors.",),
            ),
            changed(
                key, Action.UPDATED, Severity.NOTICE,
                PropertyChange("EnableKeyRotation", None, True),
            ),
        ]  # fmt: skip
    if environment == "dev":
        changes.append(
            changed(
                notebook,
                Action.MAY_BE_REPLACED,
                Severity.WARNING,
                PropertyChange("VolumeSizeInGB", 50, 20, "may"),
                interruption="The notebook stops while its volume changes.",
                reasons=("A volume cannot shrink: SageMaker refuses, or a new instance starts empty.",),
                data="refused",
            )
        )
    return tuple(changes)


def _permissions(environment: str) -> tuple[PermissionChange, ...]:
    role = resource(environment, "housing-serving", "AWS::IAM::Role", "Role", "stacks/serving.py:39")
    bucket = resource(environment, "foundation", "AWS::S3::Bucket", "Artifacts", "stacks/foundation.py:60")
    key = resource(environment, "foundation", "AWS::KMS::Key", "Key", "stacks/foundation.py:31")
    permissions = [
        PermissionChange(
            "wider", "resource", bucket, "*", ("s3:GetObject",), ("Read",), ("${Artifacts.Arn}/*",), (), Severity.DANGER,
            "Everybody may read every object of the bucket `Artifacts`.",
            frozenset({PermissionFlag.PUBLIC, PermissionFlag.NEW_WILDCARD}),
        ),
        PermissionChange(
            "wider", "identity", role, "Role", ("s3:DeleteObject", "s3:PutObject"), ("Write",),
            ("${Artifacts.Arn}/models/*",), (f"aws:ResourceAccount = {ACCOUNTS[environment]}",), Severity.WARNING,
            "`Role` may delete and write objects below `models/` of `Artifacts`.",
        ),
        PermissionChange(
            "narrower", "key", key, f"account {ACCOUNTS[environment]}", ("kms:ScheduleKeyDeletion",), ("Write",), ("*",), (),
            Severity.NOTICE, "Nobody in the account may schedule the deletion of `Key` any more.",
        ),
    ]  # fmt: skip
    return tuple(permissions if environment == "prod" else permissions[1:])


def _estimate(environment: str, *, is_after: bool) -> CostEstimate:
    endpoint = resource(environment, "housing-serving", "AWS::SageMaker::EndpointConfig", "Endpoint/Config")
    nat = resource(environment, "network", "AWS::EC2::NatGateway", "Nat")
    logs = resource(environment, "housing-serving", "AWS::Logs::LogGroup", "Logs")
    workspace = resource(environment, "workbench", "AWS::Grafana::Workspace", "Dashboards")
    count, kind, price = (2, "ml.m5.xlarge", 0.257) if is_after else (1, "ml.m5.large", 0.128)
    lines = [
        CostLine(
            endpoint, f"{count} x {kind}, real-time", "idle", count * price * 730, f"{count} x ${price} an hour x 730 h"
        ),
        CostLine(nat, "1 NAT gateway", "idle", 35.04, "$0.048 an hour x 730 h"),
        CostLine(nat, "40 GB through the gateway", "load", 1.92, "40 GB x $0.048"),
        CostLine(logs, "5 GB of logs", "load", 2.85, "5 GB x $0.57"),
    ]
    if is_after and environment == "prod":
        lines.append(CostLine(workspace, "1 workspace", "idle", None, "the price table has no `AmazonGrafana`"))
    return CostEstimate(tuple(lines))


def _findings(environment: str) -> tuple[RuleFinding, ...]:
    stack = f"sagestack-{environment}-foundation"
    bucket = resource(environment, "foundation", "AWS::S3::Bucket", "Artifacts", "stacks/foundation.py:60")
    endpoint = resource(
        environment, "housing-serving", "AWS::SageMaker::Endpoint", "Endpoint", "constructs/sagestack/endpoint.py:112"
    )
    findings = [
        RuleFinding(
            "sagestack", "endpoint-rollback-alarm", f"sagestack-{environment}-housing-serving", endpoint, Severity.DANGER,
            "The endpoint has no alarm that rolls an update back.",
        ),
        RuleFinding(
            "cdk-nag AwsSolutions", "AwsSolutions-S1", stack, bucket, Severity.WARNING,
            "The S3 bucket has server access logs disabled.", "old",
            link="https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html",
        ),
        RuleFinding(
            "cdk-nag AwsSolutions", "AwsSolutions-IAM5[Resource::*]", stack, None, Severity.WARNING,
            "The IAM entity contains wildcard permissions.", "new",
            accepted="`cloudwatch:PutMetricData` has no resource; the condition limits it to our namespace.",
        ),
        RuleFinding(
            "cfn-lint", "W3045", stack, bucket, Severity.NOTICE, "Consider using `AWS::S3::BucketPolicy`.", "fixed",
            link="https://github.com/aws-cloudformation/cfn-lint/blob/main/docs/rules.md#W3045",
        ),
    ]  # fmt: skip
    return tuple(findings if environment == "prod" else findings[1:])


def rich() -> Review:
    """Everything that a review can say, in three environments."""
    return Review(
        base=BASE,
        head=Side(HEAD.label, HEAD.commit, is_dirty=True),
        environments=tuple(
            EnvironmentReview(
                environment=environment,
                account=ACCOUNTS[environment],
                region=REGION,
                changes=_changes(environment),
                permissions=_permissions(environment),
                cost_before=_estimate(environment, is_after=False),
                cost_after=_estimate(environment, is_after=True),
                findings=_findings(environment),
                pictures=(Picture("Stacks and what changes in them", SVG, MERMAID),),
                notes=("Two changes of one endpoint are deployed one after the other.",)
                if environment == "prod"
                else (),
            )
            for environment in ("dev", "staging", "prod")
        ),
        met=(
            Met(
                "replacement-with-data",
                tuple(
                    f"{name}: AWS::S3::Bucket Data in sagestack-{name}-foundation is replaced; its data are lost"
                    for name in ("dev", "staging", "prod")
                ),
            ),
            Met(
                "iam-widening",
                (
                    "prod: Everybody may read every object of the bucket `Artifacts`.",
                    "dev: `Role` may delete and write objects below `models/` of `Artifacts`.",
                    "staging: `Role` may delete and write objects below `models/` of `Artifacts`.",
                    "prod: `Role` may delete and write objects below `models/` of `Artifacts`.",
                ),
            ),
            Met("cost>10%", ("dev: from $133.25 to $415.03 a month (+211 %).",)),
        ),
        asked=("data-loss", "replacement-with-data", "iam-widening", "lost-boundary", "cost>10%"),
        price_date=PRICE_DATE,
        price_source=PRICE_SOURCE,
    )


def harmless() -> Review:
    """Something changes, and nobody needs to be asked."""
    topic = [resource(name, "housing-serving", "AWS::SNS::Topic", "Alarms/Topic") for name in ("dev", "prod")]
    return Review(
        base=BASE,
        head=HEAD,
        environments=tuple(
            EnvironmentReview(
                one.environment,
                ACCOUNTS[one.environment],
                REGION,
                changes=(
                    changed(
                        one, Action.UPDATED, Severity.NOTICE, PropertyChange("DisplayName", "Alarms", "Housing alarms")
                    ),
                ),
            )
            for one in topic
        ),
        asked=("replacement-with-data", "iam-widening", "cost>10%"),
        price_date=PRICE_DATE,
        price_source=PRICE_SOURCE,
    )


def empty() -> Review:
    """Only a comment was changed."""
    return Review(
        base=BASE,
        head=HEAD,
        environments=tuple(
            EnvironmentReview(
                name,
                ACCOUNTS[name],
                REGION,
                cost_before=_estimate("dev", is_after=False),
                cost_after=_estimate("dev", is_after=False),
            )
            for name in ("dev", "staging", "prod")
        ),
        asked=("replacement-with-data", "iam-widening", "cost>10%"),
        price_date=PRICE_DATE,
        price_source=PRICE_SOURCE,
    )


def monster(resources: int = 240) -> Review:
    """More than anybody wants to read: hundreds of resources with long texts, in three environments."""
    types = (
        "AWS::S3::Bucket",
        "AWS::IAM::Role",
        "AWS::SageMaker::Endpoint",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
    )
    severities = (Severity.DANGER, Severity.WARNING, *[Severity.NOTICE] * 6)
    actions = (Action.REPLACED, Action.UPDATED, Action.CREATED, Action.DELETED, Action.MAY_BE_REPLACED)

    def of(environment: str) -> EnvironmentReview:
        changes, permissions, findings, lines = [], [], [], []
        for number in range(resources):
            one = resource(
                environment,
                f"model-{number % 12:02}-serving",
                types[number % len(types)],
                f"Model{number:03}/AVeryLongConstructName/ThatSomebodyThoughtOf/Part{number}",
                f"stacks/serving_{number % 12}.py:{number + 1}",
            )
            action = actions[number % len(actions)]
            own = environment if number % 7 == 0 else ""
            properties = (
                PropertyChange(
                    "Description",
                    f"before {number} " + "lorem ipsum " * 40,
                    f"after {number} {own} " + "dolor sit " * 40,
                ),
                PropertyChange("Tags[0].Value", {"a": [number] * 30}, {"a": [number] * 29 + [0], "b": "c" * 80}),
            )
            changes.append(
                changed(
                    one, action, severities[number % len(severities)],
                    *(properties if action not in (Action.CREATED, Action.DELETED) else ()),
                    reasons=(f"Reason {number}: " + "because of something that takes long to say, " * 4,),
                    interruption="It is gone for a while." if number % 16 == 0 else None,
                )
            )  # fmt: skip
            permissions.append(
                PermissionChange(
                    "wider" if number % 3 else "narrower", "identity", one, f"Role{number}",
                    tuple(f"s3:Action{place}" for place in range(12)), ("Read", "Write"), (f"${{Bucket{number}.Arn}}/*",), (),
                    severities[number % len(severities)], f"`Role{number}` may do twelve things to `Bucket{number}`.",
                )
            )  # fmt: skip
            findings.append(
                RuleFinding(
                    "cdk-nag NIST.800.53.R5", f"NIST.800.53.R5-Rule{number % 40}", one.stack, one,
                    severities[number % len(severities)], "A control that is explained at length. " * 5,
                    ("new", "old", "old", "fixed")[number % 4], accepted="Looked at." if number % 8 == 1 else None,
                )
            )  # fmt: skip
            lines.append(CostLine(one, f"{number} GB", "idle", number / 10, "GB x $0.1"))
        return EnvironmentReview(
            environment,
            ACCOUNTS[environment],
            REGION,
            tuple(changes),
            tuple(permissions),
            CostEstimate(tuple(lines[:100])),
            CostEstimate(tuple(lines)),
            tuple(findings),
            (Picture("Stacks", SVG, MERMAID + "\n" + "\n".join(f"  n{n}[Part{n}]" for n in range(900))),),
            tuple(f"Note {number} about {environment}." for number in range(20)),
        )

    return Review(
        BASE,
        HEAD,
        tuple(of(name) for name in ("dev", "staging", "prod")),
        met=(Met("replacement-with-data", tuple(f"Model {number} is replaced." for number in range(400))),),
        asked=("replacement-with-data", "iam-widening", "cost>10%"),
        price_date=PRICE_DATE,
        price_source=PRICE_SOURCE,
    )


HOSTILE = (
    "<script>alert(1)</script> | `code` ``more`` ]]> --> </details> <img src=x onerror=alert(1)> {{ 7*7 }} @everyone "
    "#1 [link](javascript:alert(1)) \u202eevil\u202c \x1b[31mred \x00 مرحبا 🙈 &amp; \"quoted\" 'single' \\ "
    "$(rm -rf) ```\n## heading"
)
_IN_XML = html.escape(re.sub("[\x00\x1b]", "", HOSTILE))
HOSTILE_SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 10 10"
 onload="alert(1)"><script>alert(1)</script><style>* {{ background: url(https://evil.example/) }}</style>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="x" onerror="alert(1)"/></body></foreignObject>
<a xlink:href="javascript:alert(1)"><text x="1" y="5" onclick="alert(1)" style="fill:url(https://evil.example/)">kept</text></a>
<image href="https://evil.example/pixel.png"/><use href="https://evil.example/x.svg#y"/>
<rect width="5" height="5" fill="url(https://evil.example/#a)"/><animate attributeName="href" to="javascript:alert(1)"/>
<text>{_IN_XML}</text></svg>"""


def hostile() -> Review:
    """Every text is what somebody would write to break the page, the comment or the terminal."""
    one = Resource(
        "dev", HOSTILE, HOSTILE, HOSTILE, HOSTILE, {"Type": HOSTILE, "Properties": {HOSTILE: HOSTILE}}, HOSTILE
    )
    return Review(
        Side(HOSTILE, None),
        Side(HOSTILE, "0" * 40, is_dirty=True),
        (
            EnvironmentReview(
                "dev", HOSTILE, HOSTILE,
                (
                    changed(
                        one, Action.UPDATED, Severity.DANGER,
                        PropertyChange(HOSTILE, HOSTILE, HOSTILE + "!", "yes"),
                        PropertyChange("Long", "x" * 10_240, "x" * 5_000 + HOSTILE + "x" * 5_240),
                        PropertyChange("Nested", {HOSTILE: [HOSTILE]}, {HOSTILE: [HOSTILE, 1]}),
                        PropertyChange("Text", json.dumps({"a": HOSTILE * 3}), json.dumps({"b": HOSTILE * 3})),
                        reasons=(HOSTILE, HOSTILE), interruption=HOSTILE, renamed_from=HOSTILE, data="lost",
                    ),
                    changed(one, Action.CREATED, Severity.NOTICE),
                ),
                (
                    PermissionChange(
                        "wider", "trust", one, HOSTILE, (HOSTILE,), (HOSTILE,), (HOSTILE,), (HOSTILE,), Severity.DANGER, HOSTILE,
                        frozenset(PermissionFlag),
                    ),
                ),
                CostEstimate(),
                CostEstimate((CostLine(one, HOSTILE, "idle", None, HOSTILE), CostLine(one, HOSTILE, "load", 1.0, HOSTILE))),
                (
                    RuleFinding(HOSTILE, HOSTILE, HOSTILE, one, Severity.DANGER, HOSTILE, link="javascript:alert(1)"),
                    RuleFinding("cfn-lint", "E1", HOSTILE, None, Severity.WARNING, HOSTILE, "old", accepted=HOSTILE),
                ),
                (Picture(HOSTILE, HOSTILE_SVG, f"flowchart LR\n  a[\"{HOSTILE}\"]\n```\n<script>alert(1)</script>"),),
                (HOSTILE,),
            ),
        ),
        HOSTILE,
        HOSTILE,
        (Met(HOSTILE, (HOSTILE,)),),
        (HOSTILE,),
        (HOSTILE, "cost>10%"),
    )  # fmt: skip
