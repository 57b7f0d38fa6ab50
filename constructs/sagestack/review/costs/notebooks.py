"""What a notebook instance costs: all month, between its hours, or as long as somebody works in it where it stops by itself."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from sagestack.review.assembly import Resource
from sagestack.review.costs.hours import hours_between
from sagestack.review.costs.site import HOURS_PER_MONTH, Kind, Site, amount
from sagestack.review.results import CostLine

AUTO_STOP_TAG = "sagestack:auto-stop"
"""A notebook with this tag stops by itself, however that is done."""
DEFAULT_VOLUME_GB = 5.0
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateNotebookInstance.html"""
_STOPS = re.compile(r"auto[-_ ]?stop|stop[-_ ]?notebook[-_ ]?instance|StopNotebookInstance", re.IGNORECASE)


def notebook(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Lines of `AWS::SageMaker::NotebookInstance`."""
    instance_type = site.reading.text(resource.properties.get("InstanceType"))
    if instance_type is None or "${" in instance_type:
        yield site.unknown(resource, "notebook", "idle", "only the deployment knows its instance type")
        return
    hours, kind, why = _hours(site, resource)
    if hours:
        yield site.line(
            resource,
            f"notebook, {instance_type}",
            kind,
            f"sagemaker.notebook.{instance_type}",
            quantity=hours,
            how=f"{{price}} x {amount(hours)} h, {why}",
        )
    volume = site.reading.number(resource.properties.get("VolumeSizeInGB"))
    size = DEFAULT_VOLUME_GB if volume is None else volume
    yield site.line(
        resource,
        "storage volume of the notebook",
        "idle",
        "sagemaker.notebook.storage",
        quantity=size,
        how=f"{amount(size)} GB x {{price}}, also while it is stopped",
    )


def _hours(site: Site, resource: Resource) -> tuple[float, Kind, str]:
    """How long it runs in a month, whether that depends on the load, and why."""
    start, stop = (_scheduled(site, resource, direction) for direction in ("start", "stop"))
    between = hours_between(start, stop) if start and stop else None
    if _stops_by_itself(site, resource):
        if between is not None and between < site.load.notebook_hours:
            return between, "load", "as long as its hours let it, since it stops by itself before the load says"
        return site.load.notebook_hours, "load", "as long as the load says, since it stops by itself"
    if between is not None:
        return between, "idle", f"from {start} to {stop}, whether somebody works in it or not"
    if stop:
        return site.load.notebook_hours, "load", f"as long as the load says, since {stop} stops it"
    return float(HOURS_PER_MONTH), "idle", "nothing stops it"


def _scheduled(site: Site, resource: Resource, direction: str) -> str | None:
    """When EventBridge Scheduler starts or stops it; None where nothing does."""
    own = site.reading.text(resource.properties.get("NotebookInstanceName"))
    names = {f"${{{resource.logical_id}}}", f"${{{resource.logical_id}.NotebookInstanceName}}", own} - {None}
    for schedule in site.of_type("AWS::Scheduler::Schedule"):
        target = site.reading.text(site.reading.get(schedule, "Target", "Arn")) or ""
        request = site.reading.document(site.reading.get(schedule, "Target", "Input")) or {}
        is_on = site.reading.text(schedule.properties.get("State", "ENABLED")) == "ENABLED"
        if (
            is_on
            and target.endswith(f":aws-sdk:sagemaker:{direction}NotebookInstance")
            and request.get("NotebookInstanceName") in names
        ):
            return site.reading.text(schedule.properties.get("ScheduleExpression"))
    return None


def _stops_by_itself(site: Site, resource: Resource) -> bool:
    tags = site.reading.items(resource.properties.get("Tags", [])) or []
    for tag in tags:
        if isinstance(tag, Mapping) and tag.get("Key") == AUTO_STOP_TAG:
            return str(tag.get("Value")).lower() not in ("false", "off", "0", "never")
    name = resource.properties.get("LifecycleConfigName")
    for config in site.of_type("AWS::SageMaker::NotebookInstanceLifecycleConfig"):
        own = site.reading.text(config.properties.get("NotebookInstanceLifecycleConfigName"))
        names = {f"${{{config.logical_id}}}", f"${{{config.logical_id}.NotebookInstanceLifecycleConfigName}}", own}
        if site.reading.text(name) in names - {None}:
            return any(_STOPS.search(script) for script in _scripts(site, config))
    return False


def _scripts(site: Site, config: Resource) -> Iterator[str]:
    for hook in ("OnStart", "OnCreate"):
        for each in site.reading.items(config.properties.get(hook, [])) or []:
            content = str(each.get("Content", "")) if isinstance(each, Mapping) else ""
            yield content
            try:
                yield base64.b64decode(content, validate=True).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                continue
