"""What it means to run a notebook instance here, whether a container is the instance or a JupyterLab process stands for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Hook = Literal["OnCreate", "OnStart"]
"""The two scripts of a lifecycle configuration, by their names in the API."""


class RuntimeRefused(Exception):
    """The instance, or one of its scripts, cannot run on this machine; the message is the instance's FailureReason."""


@dataclass(frozen=True)
class CodeRepository:
    """A git repository that an instance shows in JupyterLab.

    Attributes:
        url: of the repository; it holds no credentials.
        branch: to check out; None for the repository's own default.
        username: from the repository's secret; None where the repository is public.
        password: from the repository's secret: a password, or a token of the git host.
    """

    url: str
    branch: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def _nowhere(stream: str, line: str) -> None:
    """Where nobody reads what an instance prints."""


@dataclass(frozen=True)
class InstanceSpec:
    """A notebook instance to start.

    Attributes:
        name: NotebookInstanceName.
        arn: NotebookInstanceArn; with the name it is in the instance's /opt/ml/metadata/resource-metadata.json.
        volume: folder on this machine that is /home/ec2-user/SageMaker inside; it is made if it is not there, and persists
            over stops. Delete it by `NotebookRuntime.remove_volume`: what root wrote there is not this machine's user's.
        environment: how the instance reaches this cloud, and as whom: `Platform.client_environment(region)` and
            `Credentials.environment()`. The region, AWS_ENDPOINT_URL and AWS_CA_BUNDLE reach everything that runs there.
            The keys become the AWS configuration of root and of ec2-user (`~/.aws/credentials`) rather than variables: so
            they reach kernels, terminals, `sudo -u ec2-user -i` and cron alike, and no list of variables shows them. Sessions
            of this cloud do not expire: the keys must stay valid until `stop` has returned; nothing renews them.
        root_access: whether ec2-user may become root by sudo; lifecycle scripts always run as root.
        platform: PlatformIdentifier, told in /etc/sagestack-platform; both runtimes have one system, whatever it says.
        direct_internet: False is told in the log: neither runtime can cut an instance off the internet and leave it this cloud.
        on_line: called with each line that something of the instance prints, from threads of the runtime. The stream is what
            follows the instance's name in CloudWatch Logs: `LifecycleConfigOnCreate`, `LifecycleConfigOnStart`,
            `jupyter.log`; and, which AWS has not, `build` for the build of the image, and `git` for clones.
    """

    name: str
    arn: str
    volume: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    root_access: bool = True
    platform: str | None = None
    direct_internet: bool = True
    on_line: Callable[[str, str], None] = _nowhere


class Instance(Protocol):
    """A notebook instance that was started: a system that runs, and JupyterLab in it once `start_jupyter` was called."""

    def run_hook(self, hook: Hook, script: str, timeout_s: float) -> int | None:
        """Run a lifecycle script as root, from `/`, with AWS's PATH and no other variable; its lines go to `on_line` at once.

        Returns when the script's own process has ended. What it left in the background runs on, as on AWS, and what that
        prints still reaches `on_line`.

        Args:
            hook: which of the two; names the log stream.
            script: as in the lifecycle configuration (decoded), byte for byte: CRLF breaks it, as on AWS.
            timeout_s: how long it may take; then the script's process is killed, and what it left in the background is not.

        Returns:
            The exit code, or None: it took too long.

        Raises:
            RuntimeRefused: there is no system that a script could change (process runtime), or the instance has ended.
        """

    def clone(self, repository: CodeRepository, folder: str) -> str | None:
        """Clone a repository into a folder of the volume as ec2-user; a folder that is there and not empty is left alone.

        Args:
            repository: with its credentials, which reach git by an askpass program and are written nowhere.
            folder: relative to the volume.

        Returns:
            None, or what git said; after 60 seconds that it took too long.
        """

    def start_jupyter(self, default_folder: str | None) -> str:
        """Start JupyterLab; returns when it answers, with its base URL (`http://127.0.0.1:PORT/`).

        Args:
            default_folder: relative to the volume: what the presigned URL opens in; None for the volume itself.

        Raises:
            RuntimeRefused: it does not come up; the message ends with its last lines.
        """

    def authorize(self, token: str, expires_at: float, session_seconds: float) -> str:
        """A URL that opens JupyterLab once. It ends in `?authToken=TOKEN`; used, too old or unknown it is answered by 403.

        Args:
            token: the caller's secret; unguessable.
            expires_at: until when it can be used, in seconds since 1970: AWS's presigned URLs last 5 minutes.
            session_seconds: how long the browser's session lasts from then on (SessionExpirationDurationInSeconds).

        Raises:
            RuntimeRefused: JupyterLab does not run.
        """

    def is_running(self) -> bool:
        """Whether it answers for itself: its system until JupyterLab is started, from then on JupyterLab.

        JupyterLab that ends is started again, as a service of an instance is on AWS; it has ended once it does so thrice in
        a minute.
        """

    def stop(self, grace_s: float) -> None:
        """SIGTERM to JupyterLab, SIGKILL after `grace_s` seconds, and the system's end; the volume stays. Harmless twice."""


class NotebookRuntime(Protocol):
    """Where notebook instances really run."""

    @property
    def kind(self) -> str:
        """`docker` or `process`."""

    def start(self, spec: InstanceSpec) -> Instance:
        """Start the system of an instance; JupyterLab only with `Instance.start_jupyter`, after the lifecycle scripts.

        May take minutes where the image is built first; its lines go to `spec.on_line("build", ...)`.

        Raises:
            RuntimeRefused: it cannot run here; the message says what to do.
        """

    def remove_volume(self, volume: Path) -> None:
        """Delete the folder of a volume with all that is in it, whoever wrote it; harmless if it is not there."""

    def close(self) -> None:
        """Stop every instance that runs, quickly, and start no more."""
