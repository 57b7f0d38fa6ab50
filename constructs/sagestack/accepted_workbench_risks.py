"""The accepted risks of the workbench's stack: a part of `accepted_risks`, which says how they are written."""

from __future__ import annotations

from collections.abc import Mapping

_IAM5 = "AwsSolutions-IAM5"
_SAGEMAKER = "arn:{partition}:sagemaker:{place}"
_NOTEBOOK = "{stack}/NotebookRole-{name}"
_STUDIO = "{stack}/Studio{role}"
_LOG_GROUP = "arn:{partition}:logs:{place}:log-group:/aws/sagemaker"
_PERSONA = "{stack}/Personas/{persona}"
_CLEAN_DELETE = "{stack}/Studio/CleanDelete"
_PROVIDERS = ("{stack}/Maintenance/Provider", f"{_CLEAN_DELETE}/Provider")
_BASIC = "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"

# Of cdk-nag's AwsSolutions, which the synth enforces.
ACCEPTED_WORKBENCH_RISKS: Mapping[str, str] = {
    # What a notebook may do, on an instance and in Studio alike.
    f"{_IAM5}[Resource::{{artifact bucket}}/notebooks/{{name}}/*]": (
        "The files of one notebook, or of one person in Studio: whoever works there names them."
    ),
    f"{_IAM5}[Resource::{{artifact bucket}}/notebooks/{{name}}/shared/*]": (
        "Only with notebook_output_sharing: what people of a Studio domain share with each other. Nobody deletes there."
    ),
    **{
        key: reason
        for role in (_NOTEBOOK, _STUDIO)
        for key, reason in {
            f"{_IAM5}[Resource::{{data bucket}}/*] at {role}": (
                "To explore the data of all models is what a notebook is for. Read only."
            ),
            f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/{{exchanged}}/*] at {role}": (
                "What the endpoint of a granted model was asked and answered: SageMaker and callers name the objects. A notebook"
                " writes requests, and reads."
            ),
            f"{_IAM5}[Resource::*] at {role}": (
                "ecr:GetAuthorizationToken, cloudwatch:PutMetricData (limited by namespace), what Studio lists and, for an"
                " instance's network interface, ec2:Describe* take no resource."
            ),
            f"{_IAM5}[Resource::{_SAGEMAKER}:{{kind}}/{{environment}}-*] at {role}": (
                "Only with grants.jobs: jobs, models and endpoints that begin with the notebook's own name, made by itself."
            ),
            f"{_IAM5}[Resource::{_SAGEMAKER}:pipeline/{{pipeline}}/execution/*] at {role}": (
                "The runs of a pipeline that environments/*.yaml grants by its model: Pipelines numbers them."
            ),
            f"{_IAM5}[Resource::arn:{{partition}}:ssm:{{place}}:parameter/{{product}}/{{environment}}/*] at {role}": (
                "Where things of the environment are: names, and no secrets. Read only."
            ),
        }.items()
    },
    **{
        f"{_IAM5}[Resource::{_LOG_GROUP}/Endpoints/{{endpoint}}-*{streams}] at {role}": (
            "Only with grants.jobs: the logs of endpoints that begin with the notebook's own name. They write, people read."
        )
        for role in (_NOTEBOOK, _STUDIO)
        for streams in ("", ":*")
    },
    **{
        f"{_IAM5}[Resource::{_LOG_GROUP}/{streams}] at {role}": (
            "Only with grants.jobs: what jobs and endpoints that begin with the notebook's own name wrote. Read only."
        )
        for role in (_NOTEBOOK, _STUDIO)
        for streams in ("{jobs}:log-stream:{notebook}-*", "Endpoints/{notebook}-*:log-stream:*")
    },
    f"{_IAM5}[Resource::{_LOG_GROUP}/NotebookInstances:log-stream:{{notebook}}/*] at {_NOTEBOOK}": (
        "What the instance itself prints: SageMaker names its streams, all of which begin with its name. To write."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:s3:::{{bucket}}/*] at {_NOTEBOOK}": (
        "Whole buckets that environments/*.yaml grants one notebook by name (read_buckets, write_buckets)."
    ),
    # What Studio itself asks of a person's role.
    **{
        f"{_IAM5}[Resource::{_SAGEMAKER}:{kind}/*] at {_STUDIO}": (
            "To see what is in Studio, and to tag a space or an app as it is made: the role is there before the domain has an id."
        )
        for kind in ("app", "domain", "space", "user-profile")
    },
    f"{_IAM5}[Resource::{_SAGEMAKER}:{{kind}}/<sagemaker:DomainId>/*] at {_STUDIO}": (
        "Spaces and apps of the session's own domain, which people name; limited to those of the session's profile and to shared"
        " ones."
    ),
    f"{_IAM5}[Resource::*] at {{stack}}/Studio/Image-{{image}}/Role": "ecr:GetAuthorizationToken takes no resource.",
    # People.
    f"{_IAM5}[Resource::*] at {_PERSONA}": (
        "Lists, alarms and metrics take no resource: to see what there is and how it does. In the environment's region."
    ),
    f"{_IAM5}[Resource::{_SAGEMAKER}:{{kind}}/{{environment}}-*] at {_PERSONA}": (
        "What has the environment's name. To look; and by the tag of its owner to start, stop and open a notebook. The operator"
        " starts and stops what runs, and opens nothing."
    ),
    f"{_IAM5}[Resource::{_SAGEMAKER}:pipeline/{{environment}}-*/execution/*] at {_PERSONA}": (
        "The runs of the environment's pipelines, to look at: Pipelines numbers them."
    ),
    f"{_IAM5}[Resource::{_SAGEMAKER}:pipeline/{{pipeline}}/execution/*] at {_PERSONA}": (
        "The runs of the environment's pipelines, to repeat and to stop: Pipelines numbers them."
    ),
    f"{_IAM5}[Resource::{{artifact bucket}}/{{model}}/*/{{step}}/evaluation/evaluation.json] at {_PERSONA}": (
        "What the versions of a model scored, in every run: nobody can approve a version without. Not the records beside it."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:cloudformation:{{place}}:stack/{{environment}}-*/*] at {_PERSONA}": (
        "The environment's stacks, which CloudFormation numbers. Looked at only."
    ),
    f"{_IAM5}[Resource::arn:{{partition}}:ssm:{{place}}:parameter/{{product}}/{{environment}}/*] at {_PERSONA}": (
        "Where things of the environment are: names, and no secrets. Read only."
    ),
    f"{_IAM5}[Resource::{_LOG_GROUP}/{{jobs}}:*] at {_PERSONA}": (
        "The logs of the account's jobs, which share a group; that cannot be configured. Read only."
    ),
    f"{_IAM5}[Resource::{_LOG_GROUP}/NotebookInstances:log-stream:{{notebook}}/*] at {_PERSONA}": (
        "What lifecycle configs and Jupyter wrote on one instance, for its owner; on one that is nobody's, for all."
    ),
    f"{_IAM5}[Resource::{_LOG_GROUP}/NotebookInstances:log-stream:{{environment}}-*/*] at {{stack}}/Personas/Operator": (
        "The same of the environment's instances, for those who are asked why one does not start. Read only."
    ),
    **{
        f"{_IAM5}[Resource::{_LOG_GROUP}/Endpoints/{{environment}}-*{streams}] at {_PERSONA}": (
            "What the environment's endpoints log, for those who run them. Read only."
        )
        for streams in ("", ":*")
    },
    # Who looks what idles, who stops it, who restarts it.
    f"{_IAM5}[Resource::*] at {{stack}}/IdleReport": (
        "cloudwatch:GetMetricData and lists of SageMaker take no resource. It looks, and changes nothing."
    ),
    f"{_IAM5}[Resource::{_SAGEMAKER}:notebook-instance/{{environment}}-*] at {{stack}}/IdleReport": (
        "Tags of instances with the environment's name: what somebody made by hand under it costs as much. Read only."
    ),
    f"{_IAM5}[Resource::*] at {{stack}}/Budget/Stop": "sagemaker:ListApps takes no resource; the function asks for one domain.",
    f"{_IAM5}[Resource::{_SAGEMAKER}:notebook-instance-lifecycle-config/{{environment}}-*] at {{stack}}/Maintenance": (
        "The environment's own lifecycle configs, to see which one an instance has. Read only."
    ),
    # The environment's one Studio domain, which SageMaker numbers when it makes it.
    f"{_IAM5}[Resource::{_SAGEMAKER}:{{kind}}/<{{domain}}.DomainId>/*]": (
        "What is in the environment's own Studio domain: the idle report looks, the budget and operators end apps, people open"
        " the profiles that are tagged as theirs, and when the domain is deleted all that people made in it is."
    ),
    f"{_IAM5}[Resource::*] at {_CLEAN_DELETE}/DeleteRole": (
        "To find what a domain left: network interfaces, security groups and SageMaker's lists take no resource. It looks."
    ),
    f"{_IAM5}[Resource::{_SAGEMAKER}:domain/*] at {_CLEAN_DELETE}/DeleteRole": (
        "To see whether the domain is gone, when its id is no resource of the stack any more. Read only."
    ),
    f"{_IAM5}[Resource::{_SAGEMAKER}:studio-lifecycle-config/*] at {_CLEAN_DELETE}/DeleteRole": (
        "To find those that an update could not delete; limited to them by a tag with the stack's id."
    ),
    **{
        f"{_IAM5}[Resource::arn:{{partition}}:{service}:{{place}}:{kind}/*] at {_CLEAN_DELETE}": (
            "SageMaker and AWS name what they make for a domain. Marked while the domain is there, by SageMaker's own tag with"
            " its ARN; deleted by that mark alone."
        )
        for service, kind in (
            ("ec2", "network-interface"),
            ("ec2", "security-group"),
            ("elasticfilesystem", "file-system"),
        )
    },
    **{
        f"{rule} at {provider}": reason
        for provider in _PROVIDERS
        for rule, reason in (
            (
                f"{_IAM5}[Resource::<{{function}}.Arn>:*]",
                "CDK's provider framework may call any version of the construct's own functions, of which there is one each.",
            ),
            (_BASIC, "CDK's provider framework; the policy permits writing logs and nothing else."),
            (
                "AwsSolutions-SF1",
                "The framework's state machine only waits; what was done is in the log of the functions.",
            ),
            ("AwsSolutions-SF2", "The framework's state machine only waits; there is nothing to trace."),
        )
    },
}

_NIST = "NIST.800.53.R5"
_BY_CLOUDFORMATION = (
    "{stack}/Maintenance/Begin",
    "{stack}/Maintenance/Look",
    "{stack}/Maintenance/Provider",
    _CLEAN_DELETE,
)

# Of cdk-nag's NIST 800-53 r5, which the review shows and the synth does not enforce.
ACCEPTED_WORKBENCH_NIST_RISKS: Mapping[str, str] = {
    **{
        f"{_NIST}-{rule} at {place}": reason
        for place in _BY_CLOUDFORMATION
        for rule, reason in (
            ("LambdaConcurrency", "CloudFormation and its waiter call it, once at a time per deployment."),
            (
                "LambdaDLQ",
                "Called synchronously by CDK's provider framework, whose waiter repeats; what fails, fails the deployment.",
            ),
        )
    },
    f"{_NIST}-LambdaConcurrency at {{stack}}/Maintenance/Restart": "A schedule calls it every five minutes of a window, once.",
    f"{_NIST}-LambdaConcurrency at {{stack}}/IdleReport": "A schedule calls it, once a day.",
    f"{_NIST}-LambdaConcurrency at {{stack}}/Budget/Stop": "AWS Budgets calls it a few times a day at most.",
    f"{_NIST}-LambdaDLQ at {{stack}}/Maintenance/Restart": (
        "The next look is five minutes later, and sees what this one missed; nobody is helped by an old event."
    ),
    f"{_NIST}-LambdaDLQ at {{stack}}/IdleReport": (
        "What failed three times is mailed to those who would get the report (a destination on failure, which the rule does not"
        " know)."
    ),
    f"{_NIST}-LambdaDLQ at {{stack}}/Budget/Stop": (
        "What failed three times is mailed to the people of the budget (a destination on failure, which the rule does not know)."
    ),
    f"{_NIST}-CloudWatchLogGroupEncrypted at {{stack}}/Network/FlowLogs": (
        "CloudWatch Logs encrypts with a key of its own. The records are addresses, ports and counts of bytes, and no content."
    ),
    f"{_NIST}-VPCDefaultSecurityGroupClosed at {{stack}}/Network": (
        "EC2 makes it with the network, and CloudFormation cannot change it. Nothing is in it: everything in the network names"
        " its own security group."
    ),
    f"{_NIST}-VPCNoUnrestrictedRouteToIGW at {{stack}}/Network/PublicRoute": (
        "Only with network.nat: the way out of a subnet in which there is the NAT gateway, and nothing else."
    ),
}
