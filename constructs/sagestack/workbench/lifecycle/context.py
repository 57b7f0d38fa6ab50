"""What options of a lifecycle config know of where they are deployed, and what their scripts find on the instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from sagestack.settings.names import EnvironmentNames


@dataclass(frozen=True)
class LifecycleContext:
    """What the scripts of a lifecycle config are made from, besides the options; the same for all of its instances.

    What a step's bash finds, always (the runner exports it; which instance it is on is known only there):

    - `SAGESTACK_NOTEBOOK`: the short name of the notebook, as `environments/*.yaml` has it (`SAGESTACK_INSTANCE` is its
      name in SageMaker, `SAGESTACK_INSTANCE_ARN` its ARN; empty where the machine is no notebook instance);
    - `SAGESTACK_ENVIRONMENT`, `AWS_REGION`, `AWS_DEFAULT_REGION`, and all of `variables`;
    - `SAGESTACK_VOLUME` (`/home/ec2-user/SageMaker`, which survives a stop), `SAGESTACK_HOME` (`.sagestack` on it),
      `SAGESTACK_PROGRAMS` (where `Step.files` are), `SAGESTACK_USER` (`ec2-user`) and `SAGESTACK_USER_HOME`;
    - `SAGESTACK_CONDA` (`/home/ec2-user/anaconda3`), `SAGESTACK_PYTHON` (a Python 3.8 or later, with boto3 where there is
      one with it; empty where there is none);
    - `SAGESTACK_RUN`: a folder that is empty after each start of the instance. A step that needs JupyterLab restarted says
      `touch "$SAGESTACK_RUN/restart-jupyter"` (as root): the runner does it once, and never under somebody's kernels;
    - all environment variables that the config sets (`environment_variables`, `proxy`, `fips`).

    Attributes:
        names: of the environment.
        region: where it is deployed.
        artifact_bucket: the name of the environment's bucket of artefacts; may be a CDK token. On the instance:
            `SAGESTACK_ARTIFACT_BUCKET`.
        examples_url: `s3://...` of the archive of example notebooks, or None where the config copies none; may be a token.
            On the instance: `SAGESTACK_EXAMPLES_URL`.
        variables: what else all steps find in their environment; values may be tokens. Names begin with `SAGESTACK_`.
    """

    names: EnvironmentNames
    region: str
    artifact_bucket: str
    examples_url: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def exported(self) -> dict[str, str]:
        """What the script begins with: what is known at synth, or, for tokens, at deployment."""
        known = {
            "SAGESTACK_ENVIRONMENT": self.names.environment,
            "SAGESTACK_INSTANCE_PREFIX": self.names.notebook_instance(""),
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "SAGESTACK_ARTIFACT_BUCKET": self.artifact_bucket,
        }
        if self.examples_url is not None:
            known["SAGESTACK_EXAMPLES_URL"] = self.examples_url
        return {**known, **self.variables}


@dataclass(frozen=True)
class GrantContext:
    """What the rights of an instance's role are made from. It may already stop itself, read and write below
    its own prefix in the bucket of artefacts, and read the environment's parameters (`NotebookRole`).

    Attributes:
        names: of the environment.
        notebook: the short name of the notebook whose role it is: rights are for its own name and prefix.
        artifacts: the environment's bucket of artefacts.
        key: the environment's key, which that bucket is encrypted with; None where the bucket knows it.
    """

    names: EnvironmentNames
    notebook: str
    artifacts: s3.IBucket
    key: kms.IKey | None = None
