"""What an instance uses, in CloudWatch."""

from __future__ import annotations

from typing import cast

from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.settings.workbench.lifecycle import Metrics
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench.lifecycle.context import GrantContext, LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, program, script

NAMESPACE = "Sagestack/Notebooks"
"""Of the metrics CPUUtilization, MemoryUtilization, DiskUtilization (of /), VolumeUtilization, GPUUtilization and
GPUMemoryUtilization, all in percent, by NotebookInstanceName."""


def steps(option: Metrics, context: LifecycleContext) -> tuple[Step, ...]:
    """Begins to publish, and goes on until the instance stops; whether CloudWatch answers or not."""
    return (
        Step(
            "metrics",
            script("metrics.sh"),
            files={"every.sh": script("every.sh"), "publish_metrics.py": program("publish_metrics.py")},
            variables={"METRICS_INTERVAL": str(option.interval_in_seconds)},
        ),
    )


def grant(option: Metrics, role: iam.IRole, context: GrantContext) -> None:
    """Publishing in our namespace alone.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
    """
    statement = iam.PolicyStatement(
        actions=["cloudwatch:PutMetricData"],
        resources=["*"],
        conditions={"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
    )
    role.add_to_principal_policy(statement)
    acknowledge_wildcards(
        cast(Construct, role), [statement], "cloudwatch:PutMetricData takes no resource; limited by namespace."
    )
