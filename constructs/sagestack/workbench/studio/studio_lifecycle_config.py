"""What runs each time that an app of Studio starts, as a resource of the stack."""

from __future__ import annotations

import hashlib
import json

import aws_cdk as cdk
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from functions.studio_cleanup.names import MARK
from sagestack import settings
from sagestack.settings.errors import suggestion
from sagestack.settings.workbench.studio import StudioLifecycleConfig as StudioLifecycleConfigSettings
from sagestack.workbench.lifecycle.checks import problems_of_bash, problems_of_text
from sagestack.workbench.studio.app_script import Examples, app_script

_API_NAMES = {"jupyter-lab": "JupyterLab", "code-editor": "CodeEditor"}


class StudioLifecycleConfig(Construct):
    """A lifecycle config of Studio.

    SageMaker cannot change one. Its name ends in a hash of the script, so that another script is another config: CloudFormation
    makes the new one, points the domain to it, and deletes the old one.

    Attributes:
        app: what it is for.
        is_default: whether it runs where nobody chose another.
        is_always: whether it runs in each app, before the one that was chosen.
        lifecycle_config_arn: of the config.
        script: what runs.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        physical_prefix: str,
        config: StudioLifecycleConfigSettings,
        examples: Examples | None = None,
    ) -> None:
        """Makes the config.

        Args:
            name: as people call it.
            physical_prefix: what its name in the account begins with.
            config: what it does.
            examples: the example notebooks, where it copies them.

        Raises:
            ValueError: the script is not there, longer than SageMaker takes (16384 characters in base64), or nothing that bash
                would run as it is.
        """
        super().__init__(scope, id)
        self.app, self.is_default, self.is_always = config.app, config.default, config.always
        where = f"workbench.studio.lifecycle_configs.{name}"
        self.script = app_script(config, examples) if config.script is None else _own_script(config.script, where)
        if problems := problems_of_text(self.script):
            raise ValueError("\n".join(f"{where}: its script {problem}" for problem in problems))
        resolved = json.dumps(cdk.Stack.of(self).resolve(self.script), sort_keys=True)
        digest = hashlib.sha256(f"{config.app}\n{resolved}".encode()).hexdigest()[:8]
        resource = sagemaker.CfnStudioLifecycleConfig(
            self,
            "Resource",
            studio_lifecycle_config_name=f"{physical_prefix}{name}-{digest}",
            studio_lifecycle_config_app_type=_API_NAMES[config.app],
            # Encoded by CloudFormation, so that people who review the template can read it.
            studio_lifecycle_config_content=cdk.Fn.base64(self.script),
        )
        # This tag alone: CloudFormation cannot change tags of a config, and a second one of the same name is refused. By it,
        # what an update could not delete because an app still ran with it is found when the domain is removed.
        resource.add_property_override("Tags", [{"Key": MARK, "Value": cdk.Aws.STACK_ID}])
        self.lifecycle_config_arn = resource.attr_studio_lifecycle_config_arn


def _own_script(path: str, where: str) -> str:
    """A script of the user's own, refused for what would keep apps from starting; matters of style are the user's."""
    file = settings.PROJECT_ROOT / path
    if not file.is_file():
        near = [str(each.relative_to(settings.PROJECT_ROOT)) for each in sorted(file.parent.glob("*.sh"))]
        raise ValueError(f"{where}.script: there is no file {path}{suggestion(path, near)}")
    try:
        # As bytes: Python would take CRLF for LF.
        text = file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}.script: {path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if problems := problems_of_text(text) or problems_of_bash(text, severity="warning"):
        raise ValueError("\n".join(f"{where}.script: {path}: {problem}" for problem in problems))
    return text
