"""Where notebook instances really run: in containers like an instance's system, or as JupyterLab alone without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_cloud.notebook_runtime.runtime import NotebookRuntime


def choose_runtime(engine_kind: str, state_dir: Path) -> NotebookRuntime:
    """The runtime of notebook instances that goes with the engine of jobs (SAGESTACK_RUNNER chooses both).

    Args:
        engine_kind: `docker` or `process`, of the container engine that was chosen.
        state_dir: the folder of the local cloud's state.
    """
    from local_cloud.notebook_runtime.process_runtime import ProcessRuntime

    if engine_kind == "docker":
        # Imported here: docker exists only in the local cloud's own environment.
        from local_cloud.containers.docker_engine import connect
        from local_cloud.notebook_runtime.docker_runtime import DockerRuntime

        client = connect()
        if client is not None:
            return DockerRuntime(client, state_dir)
    return ProcessRuntime(state_dir)
