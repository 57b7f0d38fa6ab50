"""What watching costs: alarms by the metric, logs by the GB, dashboards by the month. https://aws.amazon.com/cloudwatch/pricing/"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import Site, amount
from sagestack.review.results import CostLine

DAYS_PER_MONTH = 365 / 12
_NEVER_DELETED_MONTHS = 12


def alarm(site: Site, resource: Resource) -> Iterator[CostLine]:
    """An alarm is paid by the metrics that it looks at; metric math looks at several."""
    metrics = site.reading.items(resource.properties.get("Metrics", []))
    if metrics is None:
        yield site.unknown(resource, "alarm", "idle", "only the deployment knows its metrics")
        return
    expressions = [str(each.get("Expression", "")) for each in metrics if isinstance(each, Mapping)]
    stats = [each["MetricStat"] for each in metrics if isinstance(each, Mapping) and "MetricStat" in each]
    if any(each.lstrip().upper().startswith("SELECT") for each in expressions):
        yield site.unknown(
            resource, "alarm on a Metrics Insights query", "idle", "it is paid by the metrics that the query finds"
        )
        return
    count = len(stats) if metrics else 1
    bands = sum("ANOMALY_DETECTION_BAND" in each for each in expressions)
    # An alarm on a band looks at the metric and at both of its edges.
    count += 2 * bands
    yield from _custom_metrics(site, resource)
    period = min((_number(each.get("Period")) for each in stats), default=_number(resource.properties.get("Period")))
    key, word = ("alarm_high_resolution", "high-resolution alarm") if period < 60 else ("alarm", "alarm")
    yield site.line(
        resource,
        f"{word} on {count} metrics" if count != 1 else f"{word} on 1 metric",
        "idle",
        f"cloudwatch.{key}",
        quantity=count,
        how=f"{count} x {{price}}",
    )


def _custom_metrics(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Metrics that are not AWS's own, at the first alarm of the stack that looks at them."""
    new = _watched(site, resource)
    for other in site.of_type("AWS::CloudWatch::Alarm"):
        if other is resource:
            break
        new -= _watched(site, other)
    if count := len(new):
        yield site.line(
            resource,
            f"{count} custom metrics that it watches" if count != 1 else "the custom metric that it watches",
            "load",
            "cloudwatch.metric",
            quantity=count,
            how=f"{count} x {{price}}, for a month in which every hour has a value",
        )


def _watched(site: Site, alarm: Resource) -> set[str]:
    """The metrics of an alarm whose namespace is not one of AWS's."""
    stats = [
        each.get("MetricStat", {}).get("Metric") for each in site.reading.items(alarm.properties.get("Metrics")) or []
    ]
    own = {key: site.reading.value(alarm.properties.get(key)) for key in ("Namespace", "MetricName", "Dimensions")}
    metrics = [each for each in [*stats, own] if isinstance(each, Mapping) and each.get("Namespace")]
    return {
        repr((each["Namespace"], each.get("MetricName"), each.get("Dimensions")))
        for each in metrics
        if not str(each["Namespace"]).lower().lstrip("/").startswith("aws/")
    }


def composite_alarm(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Its price is in no table that ships; a refreshed one may have it."""
    yield site.line(
        resource, "composite alarm", "idle", "cloudwatch.alarm_composite", quantity=1, how="{price} a month"
    )


def scaling_policy(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Target tracking makes two alarms of its own, one for each direction.

    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
    """
    if site.reading.text(resource.properties.get("PolicyType")) == "TargetTrackingScaling":
        yield site.line(
            resource,
            "2 alarms that target tracking makes",
            "idle",
            "cloudwatch.alarm",
            quantity=2,
            how="2 x {price}",
        )


def dashboard(site: Site, resource: Resource) -> Iterator[CostLine]:
    """The first three of an account are free, which no template knows: each is counted."""
    yield site.line(
        resource,
        "dashboard",
        "idle",
        "cloudwatch.dashboard",
        quantity=1,
        how="{price} a month; an account's first three are free",
    )


def metric_filter(site: Site, resource: Resource) -> Iterator[CostLine]:
    """A metric made from a log is a custom metric."""
    transformations = site.reading.items(resource.properties.get("MetricTransformations", [])) or [{}]
    count = len(transformations)
    yield site.line(
        resource,
        f"{count} custom metrics" if count != 1 else "1 custom metric",
        "load",
        "cloudwatch.metric",
        quantity=count,
        how=f"{count} x {{price}}, for a month in which every hour has a value",
    )


def log_group(site: Site, resource: Resource) -> Iterator[CostLine]:
    """What is written, and what is kept of it once the retention is full."""
    gb = site.load.log_gb
    if not gb:
        return
    if site.reading.text(resource.properties.get("LogGroupClass", "STANDARD")) != "STANDARD":
        yield site.unknown(resource, "logs", "load", "the price of its class is not known here")
        return
    days = site.reading.number(resource.properties.get("RetentionInDays"))
    months = days / DAYS_PER_MONTH if days else float(_NEVER_DELETED_MONTHS)
    kept = f"of {amount(days)} days" if days else "of a year, for it is never deleted"
    yield site.sum(
        resource,
        "log, written and kept",
        "load",
        ("logs.written", gb, f"{amount(gb)} GB x {{price}}"),
        ("logs.stored", gb * months, f"{amount(gb * months)} GB {kept} x {{price}}, though AWS bills it compressed"),
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 60.0
