"""What runs each time that an app of Studio starts, as a resource of the stack."""

from __future__ import annotations

import base64
import hashlib

from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.settings.workbench.studio import StudioLifecycleConfig as StudioLifecycleConfigSettings
from sagestack.workbench.studio.app_script import app_script

_API_NAMES = {"jupyter-lab": "JupyterLab", "code-editor": "CodeEditor"}
MAX_CONTENT_LENGTH = 16384
"""Characters, in base64: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateStudioLifecycleConfig.html"""


class StudioLifecycleConfig(Construct):
    """A lifecycle config of Studio.

    SageMaker cannot change one. Its name ends in a hash of the script, so that another script is another config: CloudFormation
    makes the new one, points the domain to it, and deletes the old one.

    Attributes:
        app: what it is for.
        is_default: whether it runs where nobody chose another.
        lifecycle_config_arn: of the config.
        script: what runs.
    """

    def __init__(
        self, scope: Construct, id: str, *, name: str, physical_prefix: str, config: StudioLifecycleConfigSettings
    ) -> None:
        """Makes the config.

        Args:
            name: as people call it.
            physical_prefix: what its name in the account begins with.
            config: what it does.

        Raises:
            ValueError: the script is not there, too long, or nothing that bash would run as it is.
        """
        super().__init__(scope, id)
        self.app, self.is_default = config.app, config.default
        where = f"workbench.studio.lifecycle_configs.{name}"
        self.script = app_script(config) if config.script is None else _read(config.script, where)
        content = base64.b64encode(self.script.encode()).decode()
        if len(content) > MAX_CONTENT_LENGTH:
            raise ValueError(
                f"{where}: its script has {len(content)} characters in base64, and SageMaker takes {MAX_CONTENT_LENGTH}:"
                " put the long part into a file that the script fetches from S3, or into a custom image"
            )
        digest = hashlib.sha256(f"{config.app}\n{content}".encode()).hexdigest()[:8]
        resource = sagemaker.CfnStudioLifecycleConfig(
            self,
            "Resource",
            studio_lifecycle_config_name=f"{physical_prefix}{name}-{digest}",
            studio_lifecycle_config_app_type=_API_NAMES[config.app],
            studio_lifecycle_config_content=content,
        )
        self.lifecycle_config_arn = resource.attr_studio_lifecycle_config_arn


def _read(path: str, where: str) -> str:
    file = settings.PROJECT_ROOT / path
    if not file.is_file():
        raise ValueError(f"{where}.script: there is no file {path} (looked in {settings.PROJECT_ROOT})")
    text = file.read_bytes()
    if b"\r" in text:
        raise ValueError(f"{where}.script: {path} has Windows line ends (CRLF); bash stops at them: save it with LF")
    if not text.startswith(b"#!"):
        raise ValueError(f"{where}.script: {path} must begin with #!/bin/bash: SageMaker starts it as a program")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}.script: {path} is no UTF-8 text ({error})") from error
