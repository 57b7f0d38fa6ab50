"""The risks that were looked at and accepted, each with its reason: one place, which a reviewer sees in every diff.

Read by the guardrails of the synth and by the review, which runs without the CDK.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from sagestack.accepted_workbench_risks import ACCEPTED_WORKBENCH_NIST_RISKS, ACCEPTED_WORKBENCH_RISKS
from sagestack.review.rule_tools import AWS_SOLUTIONS, CFN_LINT, CLOUDFORMATION, NIST, OWN

_IAM5 = "AwsSolutions-IAM5"

# A rule that may be broken, and why. A word in braces stands for letters, digits, colons and hyphens, as names of
# accounts and models come; {data bucket} and {artifact bucket} for the foundation's alone. "at" narrows it to the
# constructs below a path: a new wildcard elsewhere is a finding. These are of cdk-nag's AwsSolutions, which the synth
# enforces.
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

_CDK_PIPELINES = "CDK Pipelines writes the policy, and leaves no choice."
_STEPS = "{stack}/Pipeline/Resource"

# Of the delivery pipeline's own stack, most of it written by CDK Pipelines. What is in its stages is judged as above.
ACCEPTED_DELIVERY_RISKS: Mapping[str, str] = {
    f"{_IAM5}[Action::s3:DeleteObject*] at {_STEPS}/Pipeline": (
        f"{_CDK_PIPELINES} Sources and synthesized templates of the pipeline's own bucket, whose objects are versioned."
    ),
    f"{_IAM5}[Resource::{{artifact bucket}}/*] at {_STEPS}": (
        f"{_CDK_PIPELINES} CodePipeline names what it keeps in the pipeline's own bucket, which holds nothing but sources,"
        " templates and reviews. Steps read; the pipeline, its source and its synth write."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:logs:{{place}}:log-group:/aws/codebuild/<{{project}}>:*] at {_STEPS}": (
        "CDK's project may write the log that it would have by default, too, and CodeBuild names the streams."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:codebuild:{{place}}:report-group/<{{project}}>-*] at {_STEPS}": (
        f"{_CDK_PIPELINES} The test reports of one project, of which our build specifications make none."
    ),
    f"{_IAM5}[Resource::arn:*:iam::{{account}}:role/*] at {_STEPS}/UpdatePipeline/SelfMutation": (
        f"{_CDK_PIPELINES} Limited by their tag to the roles of `cdk bootstrap` that publish and deploy, in the pipeline's own"
        " account: it updates itself."
    ),
    f"{_IAM5}[Resource::*] at {_STEPS}/UpdatePipeline/SelfMutation": (
        f"{_CDK_PIPELINES} cloudformation:DescribeStacks and s3:ListBucket, by which the CDK CLI looks for its toolkit."
    ),
    **{
        f"{rule} at {_STEPS}/Assets/{role}": f"{_CDK_PIPELINES} {why}"
        for role in ("DockerRole", "FileRole")
        for rule, why in (
            (
                f"{_IAM5}[Resource::*]",
                "It may start and stop builds of the pipeline's account. Give the pipeline an account of its own, and there are"
                " only the pipeline's; what those may do is in their own roles.",
            ),
            (
                f"{_IAM5}[Resource::arn:{{partition}}:logs:{{place}}:log-group:/aws/codebuild/*]",
                "One role for all projects that publish, so for the logs of all projects: to write, not to read.",
            ),
            (
                f"{_IAM5}[Resource::arn:{{partition}}:codebuild:{{place}}:report-group/*]",
                "The test reports of projects, of which our build specifications make none.",
            ),
        )
    },
    f"{_IAM5}[Resource::arn:{{partition}}:logs:{{place}}:log-group:/aws/codebuild/<{{project}}>:*] at {{stack}}/Drift/Project": (
        "CDK's project may write the log that it would have by default, too, and CodeBuild names the streams."
    ),
}

_NIST = "NIST.800.53.R5"

# Of cdk-nag's NIST 800-53 r5, which the review shows and the synth does not enforce.
ACCEPTED_NIST_RISKS: Mapping[str, str] = {
    f"{_NIST}-IAMNoInlinePolicy": (
        "CDK writes what a role may into a policy of that role alone. A managed one could be attached to others, and"
        " would outlive the role. What the policies allow is a matter of AwsSolutions-IAM5 and of the review's permissions."
    ),
    f"{_NIST}-LambdaInsideVPC": (
        "The functions call AWS's own APIs, the git host's at most, and nothing in a network. In a VPC each would need NAT or"
        " an interface endpoint per service, and would reach nothing more, and nothing less."
    ),
    f"{_NIST}-LambdaConcurrency at {{stack}}/Gate": "CloudFormation and its waiter call it, once at a time per deployment.",
    f"{_NIST}-LambdaConcurrency at {{stack}}/Probe": "An update of the endpoint calls it, and one is under way at a time.",
    f"{_NIST}-LambdaConcurrency at {{stack}}/FrontDoor": (
        "The API's own throttling (requests_per_second, burst) is the limit. Reserved executions would be taken from all"
        " other functions of the account, around the clock."
    ),
    f"{_NIST}-LambdaConcurrency at {{stack}}/Endpoint/Scaling/Handover": "CloudFormation calls it, once per deployment.",
    f"{_NIST}-LambdaConcurrency at {{stack}}/RepositoryPolicy": "CloudFormation calls it, once per deployment.",
    f"{_NIST}-LambdaDLQ at {{stack}}/Gate": (
        "Called synchronously by CDK's provider framework, whose waiter repeats; what fails, fails the deployment."
    ),
    f"{_NIST}-LambdaDLQ at {{stack}}/Probe": (
        "An event that it missed is of no use later: the update is over, and the gate asks the same records after it."
    ),
    f"{_NIST}-LambdaDLQ at {{stack}}/FrontDoor": "Called synchronously by the API: whoever asked is told that it failed.",
    f"{_NIST}-LambdaDLQ at {{stack}}/Endpoint/Scaling/Handover": (
        "Called synchronously by CDK's provider framework; what fails, fails the deployment."
    ),
    f"{_NIST}-LambdaDLQ at {{stack}}/RepositoryPolicy": (
        "Called synchronously by CDK's provider framework; what fails, fails the deployment."
    ),
    f"{_NIST}-LambdaDLQ at {{stack}}/VersionPin": (
        "Its rule keeps what could not be delivered (Missed), after a day of trying; approving again repeats the rest."
    ),
    f"{_NIST}-CloudWatchAlarmAction at {{stack}}/Probe/Alarm": (
        "SageMaker itself watches it during an update and rolls back (AutoRollbackConfiguration); at other times nobody asks"
        " golden records. That every alarm has an action or rolls back is asked by SAGESTACK-AlarmAction."
    ),
    f"{_NIST}-CloudWatchLogGroupEncrypted": (
        "CloudWatch Logs encrypts with a key of its own. The functions log outcomes, counts and addresses, never what callers"
        " asked; the environment's key would have to let in the log service, and a deleted key would take the logs along."
    ),
    f"{_NIST}-S3BucketReplicationEnabled": (
        "An environment is one region, rebuilt from git elsewhere; its objects are versioned. A copy in another region costs"
        " as much again, and where data may lie is for its owner to say."
    ),
    f"{_NIST}-S3BucketVersioningEnabled at {{stack}}/AccessLogs": (
        "S3 writes each log object once, under a new name, and nobody else may write."
    ),
    f"{_NIST}-S3DefaultEncryptionKMS at {{stack}}/AccessLogs": (
        "S3 delivers access logs to buckets with SSE-S3 alone:"
        " https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html"
    ),
    f"{_NIST}-SageMakerEndpointConfigurationKMSKeyConfigured at {{stack}}/Endpoint/Config": (
        "Found where no volume takes a key: serverless, or instances with NVMe disks, encrypted by their hardware."
        " SAGESTACK-EndpointVolumeKey asks for the key everywhere else."
    ),
}

# Of our own rules, whose dangerous ones the synth enforces.
ACCEPTED_OWN_RISKS: Mapping[str, str] = {
    f"SAGESTACK-PermissionsBoundary at {{stack}}/{role}": (
        "An administrator makes it together with the boundary itself (`sagestack bootstrap`), and no deployment can change it."
        " The boundary is for the roles that deployments make."
    )
    for role in ("GitHubRole", "GitHubDriftRole")
}

ACCEPTED_BY_TOOL: Mapping[str, Mapping[str, str]] = {
    AWS_SOLUTIONS: {**ACCEPTED_RISKS, **ACCEPTED_DELIVERY_RISKS, **ACCEPTED_WORKBENCH_RISKS},
    NIST: {**ACCEPTED_NIST_RISKS, **ACCEPTED_WORKBENCH_NIST_RISKS},
    CFN_LINT: {},
    CLOUDFORMATION: {},
    OWN: ACCEPTED_OWN_RISKS,
}
"""By who finds them."""


def accepts(accepted: str, rule: str, path: str) -> bool:
    """Whether a key of an acceptance covers a rule that is broken at a construct's path, the stack included."""
    accepted_rule, _, below = accepted.partition(" at ")
    return bool(_matcher(accepted_rule).fullmatch(rule)) and bool(
        _matcher(f"{below}/" if below else "").match(f"{path}/")
    )


def accepted_by(tool: str, rule: str, path: str) -> str | None:
    """The acceptance that covers it, the narrowest where several do: its reason says the most. None where there is none."""
    covering = [accepted for accepted in ACCEPTED_BY_TOOL[tool] if accepts(accepted, rule, path)]
    return max(covering, key=lambda accepted: len(_WORD.sub("", accepted)), default=None)


_WORD = re.compile(r"\{([^}]*)\}")

# A bucket of the foundation's, as another stack imports it, and as its own stack refers to it.
_BUCKET = r"(?:[a-z0-9-]+:ExportsOutputFnGetAtt{0}[0-9A-F]{{8}}Arn[0-9A-F]{{8}}|<{0}[0-9A-F]{{8}}\.Arn>)"
_WORDS = {"data bucket": _BUCKET.format("Data"), "artifact bucket": _BUCKET.format("Artifacts")}
_ANY_WORD = "[A-Za-z0-9:-]+"


@functools.cache
def _matcher(pattern: str) -> re.Pattern[str]:
    # What stands between the words, and the words: a split at a group yields them in turn.
    parts = _WORD.split(pattern)
    return re.compile(
        "".join(_WORDS.get(part, _ANY_WORD) if index % 2 else re.escape(part) for index, part in enumerate(parts))
    )
