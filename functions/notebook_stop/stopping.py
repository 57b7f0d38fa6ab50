"""Stops notebook instances and ends Studio applications, each for itself: what one refuses keeps none of the others running."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .tags import KEEP_TAG, SPENT_TAG

_STOPPED = ("Stopped", "Stopping", "Deleting", "Failed")
_SYSTEM_APPS = ("JupyterServer",)
"""On an instance that AWS does not charge for: https://docs.aws.amazon.com/sagemaker/latest/dg/notebooks.html"""


@dataclass
class Outcome:
    """What became of everything that could run.

    Attributes:
        stopped: what was running and is told to stop.
        kept: what is left running because of its tag.
        not_stopped: what still runs, and why: try again.
        moving: the names of notebook instances among them that are starting or changing.
    """

    stopped: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    not_stopped: dict[str, str] = field(default_factory=dict)
    moving: list[str] = field(default_factory=list)

    def forget_moving(self) -> list[str]:
        """The names of those that were moving, which are to be looked at again."""
        names, self.moving = self.moving, []
        for name in names:
            del self.not_stopped[_called(name)]
        return names


def stop_notebooks(sagemaker: Any, names: Iterable[str], outcome: Outcome) -> None:
    """Stops the notebook instances with these names. Nothing is deleted; one that does not run stays as it is."""
    for name in names:
        what = _called(name)
        try:
            described = sagemaker.describe_notebook_instance(NotebookInstanceName=name)
            status = described["NotebookInstanceStatus"]
            if status in _STOPPED:
                continue
            if is_kept(sagemaker, described["NotebookInstanceArn"]):
                outcome.kept.append(what)
            elif status == "InService":
                sagemaker.stop_notebook_instance(NotebookInstanceName=name)
                outcome.stopped.append(what)
            else:
                # Only what is InService can be stopped; what starts or changes is, soon.
                # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopNotebookInstance.html
                outcome.not_stopped[what] = f"it is {status}, and only an instance in service can be stopped"
                outcome.moving.append(name)
        except (ClientError, BotoCoreError) as error:
            if not _is_gone(error):
                outcome.not_stopped[what] = str(error)


def _called(name: str) -> str:
    return f"notebook instance {name}"


def end_apps(sagemaker: Any, domain_id: str, outcome: Outcome) -> None:
    """Ends the running applications of a Studio domain. Their spaces, and what is in them, stay."""
    try:
        apps = [app for app in _apps(sagemaker, domain_id) if app["AppType"] not in _SYSTEM_APPS]
    except (ClientError, BotoCoreError) as error:
        outcome.not_stopped[f"applications of the Studio domain {domain_id}"] = str(error)
        return
    for app in apps:
        place = {key: app[key] for key in ("SpaceName", "UserProfileName") if app.get(key)}
        what = f"Studio application {app['AppType']} of {next(iter(place.values()), 'nobody')}"
        try:
            if is_kept(sagemaker, _space_arn(sagemaker, domain_id, app)):
                outcome.kept.append(what)
            elif app["Status"] == "InService":
                sagemaker.delete_app(DomainId=domain_id, AppType=app["AppType"], AppName=app["AppName"], **place)
                outcome.stopped.append(what)
            else:
                outcome.not_stopped[what] = "it is starting"
        except (ClientError, BotoCoreError) as error:
            if not _is_gone(error):
                outcome.not_stopped[what] = str(error)


def mark_spent(sagemaker: Any, arns: Iterable[str], month: str | None) -> dict[str, str]:
    """Puts the tag that keeps instances from being started on each of them, or takes it away.

    Args:
        sagemaker: the client.
        arns: of notebook instances.
        month: that is spent; None where none is.

    Returns:
        Of each instance where it could not be done, why.
    """
    failed = {}
    for arn in arns:
        try:
            if month is None:
                sagemaker.delete_tags(ResourceArn=arn, TagKeys=[SPENT_TAG])
            elif not is_kept(sagemaker, arn):
                sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": SPENT_TAG, "Value": month}])
        except (ClientError, BotoCoreError) as error:
            name = arn.rsplit("/", 1)[-1]
            if not _is_gone(error) and not _is_deleted(sagemaker, error, name):
                failed[name] = str(error)
    return failed


def _is_deleted(sagemaker: Any, error: ClientError | BotoCoreError, name: str) -> bool:
    """Whether a tag was refused because there is no such instance: of that the operations for tags say a ValidationException
    alone, as of much else, and DescribeNotebookInstance has a word of its own."""
    if not isinstance(error, ClientError) or error.response["Error"].get("Code") != "ValidationException":
        return False
    try:
        sagemaker.describe_notebook_instance(NotebookInstanceName=name)
    except (ClientError, BotoCoreError) as other:
        return _is_gone(other)
    return False


def is_kept(sagemaker: Any, arn: str | None) -> bool:
    """Whether its owner, or an operator, said that it must run."""
    return arn is not None and _tags(sagemaker, arn).get(KEEP_TAG, "").lower() == "true"


def _tags(sagemaker: Any, arn: str) -> dict[str, str]:
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _apps(sagemaker: Any, domain_id: str) -> Iterator[Mapping[str, Any]]:
    for page in sagemaker.get_paginator("list_apps").paginate(DomainIdEquals=domain_id):
        yield from (app for app in page["Apps"] if app["Status"] in ("InService", "Pending"))


def _space_arn(sagemaker: Any, domain_id: str, app: Mapping[str, Any]) -> str | None:
    """Of the space that an application runs in: an application's own tags end with it."""
    if not app.get("SpaceName"):
        return None
    return str(sagemaker.describe_space(DomainId=domain_id, SpaceName=app["SpaceName"])["SpaceArn"])


def _is_gone(error: ClientError | BotoCoreError) -> bool:
    """Whether there is nothing to stop any more: it was deleted, or somebody was quicker."""
    if not isinstance(error, ClientError):
        return False
    code, message = (str(error.response["Error"].get(key, "")) for key in ("Code", "Message"))
    if code in ("ResourceNotFound", "ResourceNotFoundException"):
        return True
    # "Status (Stopped) not in ([InService])", and DescribeNotebookInstance's "RecordNotFound".
    return code == "ValidationException" and (
        "RecordNotFound" in message or any(f"Status ({status})" in message for status in _STOPPED)
    )
