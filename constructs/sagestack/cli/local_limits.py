"""Refuses before a deployment what the local cloud of this machine would refuse half a minute into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session


def refuse_scripts_without_engine(session: Session) -> None:
    """Makes sure that lifecycle scripts can run where a new notebook instance has any.

    They change an instance's system as root, so they need a container. What is deployed already is left alone: the rest
    of the environment can be deployed while no container engine answers.

    Raises:
        CliError: a notebook that is not deployed yet has a lifecycle config, and no container engine answers.
    """
    workbench = session.environment.workbench
    if session.cloud is None or session.cloud.runner != "process" or workbench is None:
        return
    with_scripts = [name for name, notebook in workbench.notebooks.items() if notebook.lifecycle_config is not None]
    if not with_scripts:
        return
    # botocore is not loaded for the environments that have none.
    from sagestack.cli.notebook_instances import look

    new = [name for name in with_scripts if look(session, name).status == "not deployed"]
    if new:
        where = f"environments/{session.environment.name}.yaml"
        raise CliError(
            f"No notebook instance with a lifecycle_config can start here ({where}: {', '.join(new)}): lifecycle scripts change"
            " a system as root, which takes a container, and jobs of this local cloud run as processes.",
            hint="Start Docker, then the local cloud again (make down, make up, without SAGESTACK_RUNNER=process);"
            f" or say lifecycle_config: null in {where}.",
            code="refused",
        )
