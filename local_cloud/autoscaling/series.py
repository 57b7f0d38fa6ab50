"""What the metric of an alarm was in its last periods, a single metric or an expression of several."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from local_cloud.autoscaling.service import AutoScaling
from local_cloud.cloudwatch import metric_math
from local_cloud.cloudwatch.alarms import period_of as period_of
from local_cloud.cloudwatch.metric_math import BadExpression, Series


def of_alarm(service: AutoScaling, account: str, region: str, alarm: Mapping[str, Any], periods: int) -> Series:
    """The values of an alarm's last periods, the oldest first; None where there were no data.

    Args:
        service: reads the metrics.
        account: whose alarm.
        region: where.
        alarm: from DescribeAlarms.
        periods: how many.

    Raises:
        BadExpression: an expression cannot be computed.
    """
    now, period_s = time.time(), period_of(alarm)

    def read(metric: Mapping[str, Any], statistic: str) -> Series:
        dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []}
        return service.values(
            account, region, metric["Namespace"], metric["MetricName"], dimensions, statistic, period_s, periods, now
        )

    queries: list[Mapping[str, Any]] = list(alarm.get("Metrics") or [])
    if not queries:
        return read(alarm, alarm.get("ExtendedStatistic") or alarm["Statistic"])
    known = {
        query["Id"]: read(query["MetricStat"]["Metric"], query["MetricStat"]["Stat"])
        for query in queries
        if query.get("MetricStat")
    }
    metrics = list(known)
    waiting = {query["Id"]: metric_math.parse(query["Expression"]) for query in queries if query.get("Expression")}
    while waiting:
        ready = {name: expression for name, expression in waiting.items() if expression.names <= known.keys()}
        if not ready:
            raise BadExpression(f"The expressions {', '.join(sorted(waiting))} name each other.")
        for name, expression in ready.items():
            known[name] = expression.over(known, metrics, period_s, periods)
            del waiting[name]
    return known[next(query["Id"] for query in queries if query.get("ReturnData", True))]
