"""A lifecycle config that the stack owns, made of typed options."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack.build_context import LEFT_BEHIND
from sagestack.settings import PROJECT_ROOT, EnvironmentNames
from sagestack.settings.workbench import LifecycleOptions
from sagestack.workbench.lifecycle.composer import Script, compose
from sagestack.workbench.lifecycle.context import GrantContext, LifecycleContext
from sagestack.workbench.lifecycle.environment_variables import like_secrets
from sagestack.workbench.lifecycle.options import environment_of, grant_all, steps_of
from sagestack.workbench.lifecycle.out_of_reach import out_of_reach
from sagestack.workbench.lifecycle.steps import Hook

HOOKS: tuple[Hook, Hook] = ("create", "start")
EXAMPLES = PROJECT_ROOT / "notebooks" / "examples"


@dataclass(frozen=True)
class Scripts:
    """What SageMaker runs: None where a hook has nothing to do."""

    on_create: Script | None
    on_start: Script | None


class LifecycleConfig(Construct):
    """What is done to notebook instances when they are made and each time that they start.

    The scripts are made at synth of vendored parts; no code of others is fetched when an instance starts. A step that fails never
    fails the instance, but for a script that says `required`.

    A change is made in place, while instances that use it run on as they are. It reaches each of them at its next start: stop
    and start it (the maintenance window does), for nothing else runs the scripts again. What runs at creation reaches new
    instances alone. The name cannot change in place: a new name is a new config, and SageMaker gives an instance another config
    only while it is stopped.
    https://docs.aws.amazon.com/sagemaker/latest/dg/notebook-lifecycle-config.html

    Attributes:
        lifecycle_config_name: what instances refer to it by.
        scripts: what SageMaker runs.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        options: LifecycleOptions,
        names: EnvironmentNames,
        region: str,
        artifacts: s3.IBucket,
        encryption_key: kms.IKey | None = None,
        notebooks: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the config.

        Args:
            name: as `environments/*.yaml` has it; the environment's name is put before it.
            options: what it does.
            names: of the environment.
            region: that it is deployed to; not a token, for what is not everywhere is refused.
            artifacts: the environment's bucket of artefacts, for backups.
            encryption_key: of that bucket, where it does not know it.
            notebooks: the notebooks that use it, for what is said about changes.
            variables: what else steps find in their environment; names begin with `SAGESTACK_`.

        Raises:
            ValueError: options or scripts do not go together, or a script is refused; with a line for each problem.
        """
        super().__init__(scope, id)
        self._name, self._options, self._names = name, options, names
        self._artifacts, self._key = artifacts, encryption_key
        self._assets: list[s3_assets.Asset] = []
        context = LifecycleContext(
            names=names,
            region=region,
            artifact_bucket=artifacts.bucket_name,
            examples_url=self._examples() if options.examples else None,
            variables=variables or {},
        )
        steps, environment = steps_of(options, context), environment_of(options, context)
        on_create, on_start = (
            compose(
                name,
                hook,
                steps,
                exported=context.exported,
                environment=environment,
                publish=functools.partial(self._publish, hook),
            )
            if any(step.hook == hook for step in steps) or (hook == "start" and environment)
            else None
            for hook in HOOKS
        )
        self.scripts = Scripts(on_create, on_start)
        resource = sagemaker.CfnNotebookInstanceLifecycleConfig(
            self,
            "Resource",
            notebook_instance_lifecycle_config_name=names.notebook_instance(name),
            on_create=_hook(self.scripts.on_create),
            on_start=_hook(self.scripts.on_start),
        )
        self.lifecycle_config_name = resource.attr_notebook_instance_lifecycle_config_name
        self._say(notebooks)

    @property
    def content_hash(self) -> str:
        """What changes when the scripts do: who depends on it is asked again by CloudFormation."""
        texts = [script and [script.text, script.steps_text] for script in vars(self.scripts).values()]
        resolved = json.dumps(cdk.Stack.of(self).resolve(texts), sort_keys=True)
        return hashlib.sha256(resolved.encode()).hexdigest()[:16]

    @property
    def out_of_reach(self) -> list[str]:
        """The options that fail in a network without internet."""
        return out_of_reach(self._options)

    def grant(self, role: iam.IRole, *, notebook: str | None = None) -> None:
        """Gives the role of an instance what the options need, and the right to fetch what does not fit into a script.

        Args:
            role: of the instance.
            notebook: the short name of the instance, whose own prefix backups go to.

        Raises:
            ValueError: there are backups, and nobody said of which notebook.
        """
        if notebook is None and self._options.backup is not None:
            raise ValueError(f"lifecycle config {self._name} has backups: say the notebook's name to grant()")
        for asset in self._assets:
            # CDK's own grant is of all that all apps of the account publish.
            role.add_to_principal_policy(
                iam.PolicyStatement(
                    actions=["s3:GetObject"], resources=[asset.bucket.arn_for_objects(asset.s3_object_key)]
                )
            )
        context = GrantContext(self._names, notebook or "", self._artifacts, self._key)
        grant_all(self._options, role, context)

    def _publish(self, hook: Hook, text: str) -> str:
        """Where SageMaker's limit leaves no room, the steps are a file of the stack's own."""
        stage = cdk.Stage.of(self)
        assert stage is not None
        folder = Path(stage.outdir) / "lifecycle"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self._name}-{hook}.sh"
        file.write_text(text, encoding="utf-8", newline="\n")
        asset = s3_assets.Asset(self, f"{hook.capitalize()}Steps", path=str(file))
        self._assets.append(asset)
        return asset.s3_object_url

    def _examples(self) -> str:
        asset = s3_assets.Asset(self, "Examples", path=str(EXAMPLES), exclude=[*LEFT_BEHIND, ".ipynb_checkpoints"])
        self._assets.append(asset)
        return asset.s3_object_url

    def _say(self, notebooks: Sequence[str]) -> None:
        annotations = cdk.Annotations.of(self)
        if notebooks:
            annotations.add_info_v2(
                "sagestack:lifecycleConfigChange",
                f"A change of lifecycle config {self._name} reaches {', '.join(sorted(notebooks))} at the next start:"
                " stop and start what runs, or set workbench.maintenance.",
            )
        if secret := like_secrets(self._options.environment_variables):
            annotations.add_warning_v2(
                "sagestack:secretInTemplate",
                f"environment_variables of lifecycle config {self._name}: {', '.join(secret)} may be secret, and everybody"
                " who may read the template sees the value. Put it into Secrets Manager, and its ARN here.",
            )


def _hook(
    script: Script | None,
) -> list[sagemaker.CfnNotebookInstanceLifecycleConfig.NotebookInstanceLifecycleHookProperty] | None:
    if script is None:
        return None
    # Encoded by CloudFormation, so that people who review the template can read it.
    content = cdk.Fn.base64(script.text)
    return [sagemaker.CfnNotebookInstanceLifecycleConfig.NotebookInstanceLifecycleHookProperty(content=content)]
