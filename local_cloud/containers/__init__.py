"""How the local cloud runs containers: in a real engine where one answers, else as processes of the same image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_cloud.containers.engine import ContainerEngine

STARTED_WITH = dict(os.environ)
"""The environment this program was started with. The server later removes what would mislead the cloud's own clients
(certificates, AWS settings); a build of an image still needs the machine's certificates, proxies and package index."""


RUNNER = "SAGESTACK_RUNNER"
"""The variable that chooses: `docker`, `process`, or `auto` (the default). A machine whose engine answers but cannot pull
the base images of its containers, behind a firewall say, runs its jobs as processes by `process`."""


def choose_engine(state_dir: Path) -> ContainerEngine:
    """The container engine of this machine if one answers within 2 seconds, else processes that stand for containers.

    Args:
        state_dir: the folder of the local cloud's state; images that are kept, and records of what runs, go below it.

    Raises:
        ContainerError: SAGESTACK_RUNNER asks for an engine that does not answer, or for what is not there.
    """
    # Imported here: docker and dockerfile-parse exist only in the local cloud's own environment, and reading a
    # Dockerfile (tested in the project's) must not need the first.
    from local_cloud.containers.docker_engine import DockerEngine, connect
    from local_cloud.containers.engine import ContainerError
    from local_cloud.containers.process_engine import ProcessEngine

    wanted = STARTED_WITH.get(RUNNER, "auto")
    if wanted not in ("auto", "docker", "process"):
        raise ContainerError(f"{RUNNER} must be auto, docker or process, got {wanted!r}")
    client = None if wanted == "process" else connect()
    if client is not None:
        return DockerEngine(client, state_dir)
    if wanted == "docker":
        raise ContainerError(
            f"{RUNNER}=docker, but no container engine answers (DOCKER_HOST={STARTED_WITH.get('DOCKER_HOST', 'not set')})"
        )
    return ProcessEngine(state_dir)
