"""Looks for everything in the workbench of an environment that runs, and when each was last used."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .report import Running
from .tags import ENVIRONMENT_TAG, KEEP_TAG, OWNER_TAG

METRICS = "Sagestack/Notebooks"
BUSY_METRICS = ("CPUUtilization", "GPUUtilization")
BUSY_PERCENT = 10.0
"""Of all processors together. A Jupyter server that nobody uses needs one or two, a kernel that computes fills one of them."""
LOOK_BACK = datetime.timedelta(days=14)
PERIOD_S = 300
_SYSTEM_APPS = ("JupyterServer",)
"""On an instance that AWS does not charge for: https://docs.aws.amazon.com/sagemaker/latest/dg/notebooks.html"""


@dataclass(frozen=True)
class Workbench:
    """What is known of the workbench before it is looked at.

    Attributes:
        environment: its name.
        region: where it is, for the commands that people are told.
        notebook_prefix: what the names of its notebook instances begin with.
        notebooks: of those that its settings name, what stops each; by the name without the prefix.
        studio_domain_id: None where there is none.
        studio_stopped_by: what stops idle Studio applications.
    """

    environment: str
    region: str
    notebook_prefix: str
    notebooks: Mapping[str, Sequence[str]]
    studio_domain_id: str | None = None
    studio_stopped_by: Sequence[str] = ()


@dataclass
class Seen:
    """What runs, and what could not be looked at."""

    running: list[Running] = field(default_factory=list)
    not_seen: list[str] = field(default_factory=list)


def look(sagemaker: Any, cloudwatch: Any, workbench: Workbench, now: datetime.datetime) -> Seen:
    """Everything that runs. What one service refuses hides nothing of the others: it is said."""
    seen = Seen()
    for what, found in (
        ("notebook instances", _notebooks(sagemaker, cloudwatch, workbench, now, seen)),
        ("Studio applications", _apps(sagemaker, workbench, seen)),
    ):
        try:
            seen.running.extend(found)
        except (ClientError, BotoCoreError) as error:
            seen.not_seen.append(f"{what}: {error}")
    return seen


def _notebooks(
    sagemaker: Any, cloudwatch: Any, workbench: Workbench, now: datetime.datetime, seen: Seen
) -> Iterator[Running]:
    pages = sagemaker.get_paginator("list_notebook_instances").paginate(
        NameContains=workbench.notebook_prefix, StatusEquals="InService"
    )
    instances = [each for page in pages for each in page["NotebookInstances"]]
    for instance in instances:
        full_name = instance["NotebookInstanceName"]
        if not full_name.startswith(workbench.notebook_prefix):
            continue  # the API looks for it anywhere in the name
        name = full_name.removeprefix(workbench.notebook_prefix)
        tags, last_used = {}, None
        try:
            tags = _tags(sagemaker, instance["NotebookInstanceArn"])
            if tags.get(ENVIRONMENT_TAG, workbench.environment) != workbench.environment:
                continue  # of an environment whose name begins with this one's
            last_used = _last_busy(cloudwatch, full_name, now)
        except (ClientError, BotoCoreError) as error:
            seen.not_seen.append(f"whose notebook {name} is, and when it was used: {error}")
        yield Running(
            kind="notebook",
            name=name,
            instance_type=instance.get("InstanceType"),
            # The status is what changes it: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_NotebookInstanceSummary.html
            since=instance["LastModifiedTime"],
            last_used=last_used,
            owner=tags.get(OWNER_TAG),
            stopped_by=tuple(workbench.notebooks.get(name, ())),
            is_kept=_is_kept(tags),
            is_managed=name in workbench.notebooks,
            stop_command=f"aws sagemaker stop-notebook-instance --notebook-instance-name {full_name} --region {workbench.region}",
        )


def _last_busy(cloudwatch: Any, instance: str, now: datetime.datetime) -> datetime.datetime | None:
    """When its processors last worked; None where it publishes no metrics."""
    queries = [
        {
            "Id": f"m{place}",
            "MetricStat": {
                "Metric": {
                    "Namespace": METRICS,
                    "MetricName": metric,
                    "Dimensions": [{"Name": "NotebookInstanceName", "Value": instance}],
                },
                "Period": PERIOD_S,
                "Stat": "Average",
            },
        }
        for place, metric in enumerate(BUSY_METRICS)
    ]
    start = now - LOOK_BACK
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=start, EndTime=now, ScanBy="TimestampDescending"
    )
    points: list[tuple[datetime.datetime, float]] = [
        (time, value)
        for page in pages
        for result in page["MetricDataResults"]
        for time, value in zip(result["Timestamps"], result["Values"], strict=True)
    ]
    if not points:
        return None
    # Metrics, and nothing busy in them: unused for as long as they go back.
    busy = [time + datetime.timedelta(seconds=PERIOD_S) for time, value in points if value >= BUSY_PERCENT]
    return min(max(busy), now) if busy else min(time for time, _ in points)


def _apps(sagemaker: Any, workbench: Workbench, seen: Seen) -> Iterator[Running]:
    if workbench.studio_domain_id is None:
        return
    domain = workbench.studio_domain_id
    pages = sagemaker.get_paginator("list_apps").paginate(DomainIdEquals=domain)
    apps: Iterable[Mapping[str, Any]] = [app for page in pages for app in page["Apps"]]
    for app in apps:
        if app["Status"] != "InService" or app["AppType"] in _SYSTEM_APPS:
            continue
        place = {key: app[key] for key in ("SpaceName", "UserProfileName") if app.get(key)}
        where = next(iter(place.values()), "?")
        request = {"DomainId": domain, "AppType": app["AppType"], "AppName": app["AppName"]}
        described: Mapping[str, Any] = {}
        owner, tags = app.get("UserProfileName"), {}
        try:
            described = sagemaker.describe_app(**request, **place)
            if "SpaceName" in place:
                space = sagemaker.describe_space(DomainId=domain, SpaceName=place["SpaceName"])
                owner = space.get("OwnershipSettings", {}).get("OwnerUserProfileName", owner)
                tags = _tags(sagemaker, space["SpaceArn"])
        except (ClientError, BotoCoreError) as error:
            seen.not_seen.append(f"whose application {app['AppType']} of {where} is, and when it was used: {error}")
        options = " ".join(
            f"--{flag} {value}"
            for flag, value in (
                ("domain-id", domain),
                ("app-type", app["AppType"]),
                ("app-name", app["AppName"]),
                *((f"{'space' if key == 'SpaceName' else 'user-profile'}-name", value) for key, value in place.items()),
            )
        )
        yield Running(
            kind="Studio application",
            name=f"{app['AppType']} of {where}",
            instance_type=described.get("ResourceSpec", app.get("ResourceSpec", {})).get("InstanceType"),
            since=app["CreationTime"],
            last_used=described.get("LastUserActivityTimestamp"),
            owner=owner,
            stopped_by=tuple(workbench.studio_stopped_by),
            is_kept=_is_kept(tags),
            is_managed=True,
            stop_command=f"aws sagemaker delete-app {options} --region {workbench.region}",
        )


def _tags(sagemaker: Any, arn: str) -> dict[str, str]:
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _is_kept(tags: Mapping[str, str]) -> bool:
    return tags.get(KEEP_TAG, "").lower() == "true"
