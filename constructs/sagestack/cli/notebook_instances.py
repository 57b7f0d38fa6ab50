"""Looks at an environment's notebook instances, starts and stops them, and opens them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagestack.cli.errors import CliError
from sagestack.cli.hosted_repository import make_functions_importable

if TYPE_CHECKING:
    from sagestack.cli.session import Session

MOVING = ("Pending", "Stopping", "Updating", "Deleting")
WAIT_TIMEOUT_S = 1800
"""An instance takes AWS two to ten minutes to start, its lifecycle config included."""
LOG_GROUP = "/aws/sagemaker/NotebookInstances"


@dataclass(frozen=True)
class Instance:
    """A notebook instance as it is now; `status` is "not deployed" where there is none yet."""

    name: str
    instance_name: str
    status: str
    instance_type: str
    owner: str | None
    failure_reason: str | None = None
    changed: datetime.datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "instance_name": self.instance_name,
            "status": self.status,
            "instance_type": self.instance_type,
            "owner": self.owner,
            "failure_reason": self.failure_reason,
            "changed": self.changed,
        }


def names(session: Session) -> list[str]:
    """The notebooks that the environment's file has."""
    workbench = session.environment.workbench
    return sorted(workbench.notebooks) if workbench else []


def choose(session: Session, wanted: str | None) -> str:
    """The notebook that was asked for, or the only one.

    Raises:
        CliError: there is none of that name, or several and nobody said which.
    """
    from sagestack.settings.errors import suggestion

    known = names(session)
    where = f"environments/{session.environment.name}.yaml"
    if not known:
        raise CliError(
            f"Environment {session.environment.name!r} has no notebooks.",
            hint=f"Declare one below workbench.notebooks in {where}: docs/how-to/work-in-a-notebook.md shows how.",
            code="not-found",
        )
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None:
        raise CliError(f"Say which notebook: {where} has {', '.join(known)}.", code="usage")
    if wanted not in known:
        raise CliError(
            f"There is no notebook {wanted!r} in {where}{suggestion(wanted, known)} (it has: {', '.join(known)}).",
            code="not-found",
        )
    return wanted


def look(session: Session, name: str) -> Instance:
    """The instance as it is now."""
    workbench = session.environment.workbench
    assert workbench is not None
    declared = workbench.notebooks[name]
    instance_name = session.names.notebook_instance(name)
    try:
        found = session.sagemaker.describe_notebook_instance(NotebookInstanceName=instance_name)
    except session.sagemaker.exceptions.ClientError as error:
        # SageMaker has no error of its own for what is not there.
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        return Instance(name, instance_name, "not deployed", declared.instance_type, declared.owner)
    return Instance(
        name,
        instance_name,
        found["NotebookInstanceStatus"],
        found["InstanceType"],
        declared.owner,
        found.get("FailureReason"),
        found.get("LastModifiedTime"),
    )


def start(session: Session, name: str, say: Callable[[str], None]) -> Instance:
    """Starts what is stopped, and waits until the instance is in service.

    Raises:
        CliError: it failed, or is being deleted; it took too long.
    """
    instance = deployed(session, name)
    if instance.status in ("Stopping", "Updating"):
        say(f"{instance.instance_name} is {instance.status}; waiting for that first")
        instance = _settled(session, name)
    if instance.status in ("Stopped", "Failed"):
        say(f"Starting {instance.instance_name}")
        _ask(session, "start_notebook_instance", name)
    if instance.status != "InService":
        instance = _settled(session, name)
    if instance.status != "InService":
        raise CliError(
            f"{instance.instance_name} is {instance.status}: {instance.failure_reason or 'no reason was given'}",
            hint=f"What its lifecycle config wrote: sagestack notebook logs {name} --env {session.environment.name}",
            code="run-failed",
        )
    return instance


def stop(session: Session, name: str, say: Callable[[str], None]) -> Instance:
    """Stops what runs, and waits until it has stopped. Nothing to do is nothing done.

    Raises:
        CliError: it is not deployed; it failed while it was stopped; it took too long.
    """
    instance = deployed(session, name)
    if instance.status in ("Pending", "Updating"):
        say(f"{instance.instance_name} is {instance.status}; waiting for that first")
        instance = _settled(session, name)
    if instance.status == "InService":
        say(f"Stopping {instance.instance_name}")
        _ask(session, "stop_notebook_instance", name)
    before, instance = instance, _settled(session, name)
    if instance.status == "Stopped" or instance.status == before.status == "Failed":
        return instance
    raise CliError(
        f"{instance.instance_name} is {instance.status}: {instance.failure_reason or 'somebody may have started it meanwhile'}",
        hint=f"Look at it: sagestack notebook list --env {session.environment.name}",
        code="run-failed",
    )


def presigned_url(session: Session, instance: Instance, session_hours: int) -> str:
    """An address that opens JupyterLab once, within five minutes."""
    answer = session.sagemaker.create_presigned_notebook_instance_url(
        NotebookInstanceName=instance.instance_name, SessionExpirationDurationInSeconds=session_hours * 3600
    )
    return answer["AuthorizedUrl"]


def deployed(session: Session, name: str) -> Instance:
    """The instance as it is now.

    Raises:
        CliError: there is none yet.
    """
    instance = look(session, name)
    if instance.status == "not deployed":
        raise CliError(
            f"There is no notebook instance {instance.instance_name} yet.",
            hint=f"Deploy it: sagestack deploy --env {session.environment.name}",
            code="not-deployed",
        )
    return instance


def _ask(session: Session, operation: str, name: str) -> None:
    """Starts or stops it, unless somebody else was quicker: then it is on its way, or is what was wanted."""
    instance_name = session.names.notebook_instance(name)
    try:
        getattr(session.sagemaker, operation)(NotebookInstanceName=instance_name)
    except session.sagemaker.exceptions.ClientError as error:
        # "Status (Pending) not in ([Stopped, Failed]). Unable to transition to (Pending) ..."
        if "Unable to transition" in error.response["Error"]["Message"]:
            return
        is_denied_start = (
            operation == "start_notebook_instance" and error.response["Error"]["Code"] == "AccessDeniedException"
        )
        # Whoever may not stop it lacks a right: a spent budget keeps nobody from that.
        if is_denied_start and (month := _spent(session, name)):
            raise CliError(
                f"{instance_name} is not started: the budget of {month} is spent.",
                hint="It may be started again when the next month begins (UTC). An operator lifts it earlier:"
                " docs/how-to/keep-notebook-costs-down.md#the-budget",
                code="refused",
            ) from error
        raise


def _spent(session: Session, name: str) -> str | None:
    """The month whose budget stopped the instance; None where none did, or where that may not be looked at."""
    make_functions_importable()
    from functions.notebook_stop.tags import SPENT_TAG

    try:
        found = session.sagemaker.describe_notebook_instance(NotebookInstanceName=session.names.notebook_instance(name))
        tags = session.sagemaker.list_tags(ResourceArn=found["NotebookInstanceArn"])["Tags"]
    except session.sagemaker.exceptions.ClientError:
        return None
    return next((tag["Value"] for tag in tags if tag["Key"] == SPENT_TAG), None)


def _settled(session: Session, name: str) -> Instance:
    """The instance once nothing about it is under way.

    Raises:
        CliError: it was deleted meanwhile; it took too long.
    """
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while (instance := look(session, name)).status in MOVING:
        if time.monotonic() > deadline:
            raise CliError(
                f"{instance.instance_name} is still {instance.status} after {WAIT_TIMEOUT_S // 60} minutes.",
                hint=f"Look again later: sagestack notebook list --env {session.environment.name}",
                code="busy",
            )
        time.sleep(session.poll_seconds)
    if instance.status == "not deployed":
        raise CliError(f"{instance.instance_name} was deleted meanwhile.", code="not-found")
    return instance
