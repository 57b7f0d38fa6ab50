"""What people see: what there is and how it does, and the logs of what is theirs to mend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.policy_statements import Scope, allow

_KINDS = ("endpoint", "inference-component", "model-package-group", "model-package", "notebook-instance", "pipeline")
_JOB_GROUPS = ("ProcessingJobs", "TrainingJobs", "TransformJobs")
_NOTEBOOK_GROUP = "/aws/sagemaker/NotebookInstances"


class Looking(Scope):
    """Statements that change nothing."""

    def what_there_is(self) -> list[iam.PolicyStatement]:
        """What everybody sees. No data, no logs, no captured requests."""
        pattern, environment = self.names.stack_pattern, self.names.environment
        lists = ["Apps", "Domains", "Endpoints", "ModelPackageGroups", "NotebookInstances", "Pipelines"]
        lists += ["ProcessingJobs", "Spaces", "TrainingJobs", "TransformJobs", "UserProfiles"]
        return [
            # Lists take no resource.
            allow("cloudwatch", ["DescribeAlarms", "GetMetricData", "ListMetrics"], "*", self.here()),
            allow("sagemaker", [f"List{kind}" for kind in lists], "*", self.here()),
            allow(
                "sagemaker",
                [
                    *(f"Describe{kind}" for kind in ("Endpoint", "InferenceComponent", "NotebookInstance")),
                    *("DescribeModelPackageGroup", "DescribePipeline", "DescribePipelineExecution"),
                    *("DescribePipelineDefinitionForExecution", "ListPipelineExecutions", "ListPipelineExecutionSteps"),
                    "ListTags",
                ],
                [
                    *(self.arn("sagemaker", kind, pattern) for kind in _KINDS),
                    self.arn("sagemaker", "pipeline", f"{pattern}/execution/*"),
                ],
            ),
            allow("cloudformation", ["DescribeStacks"], self.arn("cloudformation", "stack", f"{pattern}/*")),
            allow(
                "ssm",
                ["GetParameter", "GetParameters", "GetParametersByPath"],
                [self.arn("ssm", "parameter", f"sagestack/{environment}{below}") for below in ("", "/*")],
            ),
        ]

    def studio(self, domain_id: str) -> list[iam.PolicyStatement]:
        """Who has which application of a Studio domain, and since when nobody used it."""
        return [
            allow(
                "sagemaker",
                ["DescribeApp", "DescribeSpace", "ListTags"],
                [self.arn("sagemaker", kind, f"{domain_id}/*") for kind in ("app", "space")],
            )
        ]

    def logs_of_jobs(self) -> list[iam.PolicyStatement]:
        """Of jobs and endpoints, and how a job does. The group of all jobs is the account's: SageMaker has one.

        What a pipeline starts is called `pipelines-...` in every environment.
        """
        jobs = ("processing-job", "training-job", "transform-job")
        groups = [*_JOB_GROUPS, f"Endpoints/{self.names.stack_pattern}"]
        return [
            allow(
                "logs",
                ["DescribeLogStreams", "FilterLogEvents", "GetLogEvents"],
                [self._log_group(f"/aws/sagemaker/{group}{streams}") for group in groups for streams in ("", ":*")],
            ),
            allow(
                "sagemaker",
                ["DescribeProcessingJob", "DescribeTrainingJob", "DescribeTransformJob"],
                [
                    self.arn("sagemaker", job, prefix)
                    for job in jobs
                    for prefix in (self.names.stack_pattern, "pipelines-*")
                ],
            ),
        ]

    def logs_of_notebooks(
        self, names: Iterable[str], conditions: Mapping[str, Mapping[str, str]] | None = None
    ) -> list[iam.PolicyStatement]:
        """What lifecycle configs and Jupyter wrote: why an instance did not start is only there.

        A stream is read by its name; which names there are is no secret. FilterLogEvents would read the whole group.

        Args:
            names: of the instances, or patterns of them.
            conditions: who reads them; everybody who has the statement, where there are none.
        """
        streams = [self._log_group(f"{_NOTEBOOK_GROUP}:log-stream:{name}/*") for name in names]
        return [allow("logs", ["GetLogEvents"], streams, conditions)] if streams else []

    def names_of_notebook_logs(self) -> list[iam.PolicyStatement]:
        """Which streams of notebooks there are."""
        groups = [self._log_group(f"{_NOTEBOOK_GROUP}{streams}") for streams in ("", ":*")]
        return [allow("logs", ["DescribeLogStreams"], groups)]

    def _log_group(self, name: str) -> str:
        return self.arn("logs", "log-group", name, cdk.ArnFormat.COLON_RESOURCE_NAME)
