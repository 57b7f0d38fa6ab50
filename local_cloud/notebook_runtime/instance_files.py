"""What a notebook instance finds in its files: who it is, and its role's credentials where every AWS client looks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from local_cloud.notebook_runtime.runtime import InstanceSpec

METADATA = PurePosixPath("/opt/ml/metadata/resource-metadata.json")
"""Where an instance reads its own name and ARN (SageMaker developer guide, "Get Notebook Instance Metadata")."""
KEYS = {
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
}
"""The variables that hold keys, and what the file of credentials calls them."""
SETTINGS = {"AWS_DEFAULT_REGION": "region", "AWS_ENDPOINT_URL": "endpoint_url", "AWS_CA_BUNDLE": "ca_bundle"}
"""The variables that say how to reach the cloud, and what the file of settings calls them."""
KERNELS = {"python3": "Python 3 (ipykernel)", "conda_python3": "conda_python3"}
"""Names as notebooks have them, and as people see them: JupyterLab's own, and that of the conda environment python3 on AWS."""
SUDO = "ec2-user ALL=(ALL) NOPASSWD:ALL\n"
PRIVATE, READABLE = 0o600, 0o644


@dataclass(frozen=True)
class InstanceFile:
    """A file that is written when the instance starts.

    Attributes:
        path: absolute, inside the instance.
        mode: its rights.
        is_users: whether it is ec2-user's rather than root's.
        text: what is in it.
    """

    path: str
    mode: int
    is_users: bool
    text: str

    def entry(self) -> list[object]:
        """As the supervisor takes it."""
        return [self.path, self.mode, self.is_users, self.text]


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that everything on the instance gets: what a variable holds, `ps` and every log of variables show."""
    return {
        **{name: value for name, value in environment.items() if name not in KEYS},
        # There is no metadata service: without this, a client without credentials waits for one.
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def aws_files(environment: Mapping[str, str], home: PurePath, *, is_users: bool) -> list[InstanceFile]:
    """The AWS configuration of one user: what the AWS CLI and every SDK read in a terminal, under sudo and in cron."""
    settings = [f"{setting} = {environment[name]}" for name, setting in SETTINGS.items() if name in environment]
    keys = [f"{setting} = {environment[name]}" for name, setting in KEYS.items() if name in environment]
    folder = home / ".aws"
    return [
        InstanceFile(str(folder / "config"), PRIVATE, is_users, _section(settings)),
        InstanceFile(str(folder / "credentials"), PRIVATE, is_users, _section(keys)),
    ]


def metadata(spec: InstanceSpec, path: PurePath = METADATA) -> InstanceFile:
    """The file in which an instance reads who it is."""
    text = json.dumps({"ResourceArn": spec.arn, "ResourceName": spec.name})
    return InstanceFile(str(path), READABLE, False, text)


def kernels(python: PurePath, data: PurePath) -> list[InstanceFile]:
    """The kernel under each of its names, so that a notebook saved on AWS opens with it here.

    Args:
        python: runs it.
        data: the user's folder of Jupyter's data.
    """
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return [
        InstanceFile(
            str(data / "kernels" / name / "kernel.json"),
            READABLE,
            True,
            json.dumps({"argv": argv, "display_name": shown, "language": "python", "metadata": {"debugger": True}}),
        )
        for name, shown in KERNELS.items()
    ]


def system_files(spec: InstanceSpec, environment: Mapping[str, str]) -> list[InstanceFile]:
    """What a whole system has: metadata, both users' AWS configuration, variables for logins, sudo and cron, root access.

    Args:
        spec: the instance.
        environment: as the instance sees it (paths and addresses of the inside).
    """
    variables = "".join(f'{name}="{value}"\n' for name, value in sorted(without_keys(environment).items()))
    exports = "".join(f"export {line}\n" for line in variables.splitlines())
    return [
        metadata(spec),
        InstanceFile("/etc/sagestack-platform", READABLE, False, f"{spec.platform or 'none was asked for'}\n"),
        InstanceFile("/etc/environment", READABLE, False, variables),
        InstanceFile("/etc/profile.d/sagestack-local-cloud.sh", READABLE, False, exports),
        *aws_files(environment, PurePosixPath("/root"), is_users=False),
        *aws_files(environment, PurePosixPath("/home/ec2-user"), is_users=True),
        *([InstanceFile("/etc/sudoers.d/ec2-user", 0o440, False, SUDO)] if spec.root_access else []),
    ]


def _section(lines: list[str]) -> str:
    return "\n".join(["[default]", *lines]) + "\n"
