"""Where our evaluation of alarms is hooked into MiniStack's CloudWatch.

Beside `ministack_seams` the one module that knows MiniStack; the same test holds every name of it that is used here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ministack.services import cloudwatch, eventbridge
from ministack.services.cloudformation import provisioners

from local_cloud.cloudwatch import alarms, windows
from local_cloud.cloudwatch.alarms import BadAlarm, Evaluator, Placed
from local_cloud.cloudwatch.retention import compacted
from local_cloud.cloudwatch.windows import Point, Windows
from local_cloud.ministack_scope import in_scope
from local_cloud.sagemaker.service import Sagemaker

COMPACT_EVERY_S = 5.0
_EVALUATOR = "alarms"
_NOT_OF_MATH = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit")
"""What an alarm on an expression does not have: its metrics have their own."""


class MiniStackMetrics:
    """Published metrics, read where MiniStack keeps them."""

    def newest_first(
        self, account: str, region: str, namespace: str, metric: str, dimensions: Mapping[str, str], since: float
    ) -> list[Point]:
        """See windows.Source."""
        key = (account, region, (namespace, metric, cloudwatch._dims_key(dict(dimensions))))
        found = []
        for point in reversed(cloudwatch._metrics._data.get(key, ())):
            if point["Timestamp"] < since:
                break
            count, total, low, high = cloudwatch._point_stats(point)
            if count:
                found.append(Point(point["Timestamp"], count, total, low, high))
        return found


class MiniStackAlarms:
    """The alarms, where MiniStack keeps them."""

    def metric_alarms(self) -> list[Placed]:
        """See alarms.Alarms."""
        return [
            Placed(account, region, definition)
            for (account, region, _), definition in list(cloudwatch._alarms._data.items())
        ]

    def set_state(self, alarm: Placed, state: str, why: str) -> None:
        """See alarms.Alarms."""
        name = alarm.definition["AlarmName"]

        def change() -> None:
            found = cloudwatch._alarms.get(name)
            if found is None:
                return
            old = found["StateValue"]
            found.update(StateValue=state, StateReason=why, StateUpdatedTimestamp=int(time.time()))
            found.pop("StateReasonData", None)
            cloudwatch._record_history(name, old, state, why)
            cloudwatch._dispatch_alarm_actions(found, old, state, why)
            cloudwatch._evaluate_parent_alarms(found)
            eventbridge._put_events({"Entries": [_event(found, old)]}, allow_aws_source=True)

        in_scope(alarm.account, alarm.region, change)


def install() -> None:
    """Put our evaluation in the place of MiniStack's, and let alarms have metric math."""
    # It looks at one metric whatever its dimensions are, and only when somebody publishes.
    cloudwatch._evaluate_alarm = lambda _alarm: None
    cloudwatch._evaluate_all_alarms = lambda: None
    original_put = cloudwatch._put_metric_alarm

    def put_metric_alarm(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        queries = data.get("Metrics") if is_cbor or is_json else _queries(params)
        try:
            alarms.check({**_asked(params, data, is_cbor or is_json), "Metrics": queries})
        except BadAlarm as error:
            return cloudwatch._error("ValidationError", str(error), 400, use_json=is_json, use_cbor=is_cbor)
        answer = original_put(params, data, is_cbor, is_json)
        name = data.get("AlarmName") if is_cbor or is_json else cloudwatch._p(params, "AlarmName")
        if queries and name in cloudwatch._alarms:
            _make_math(cloudwatch._alarms[name], queries)
        return answer

    cloudwatch._put_metric_alarm = put_metric_alarm
    original_record = provisioners._cw_metric_alarm_record

    def metric_alarm_record(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        queries = [_typed(query) for query in properties.get("Metrics") or []]
        try:
            alarms.check({**properties, "Metrics": queries})
        except BadAlarm as error:
            raise ValueError(str(error)) from error
        if not queries:
            return dict(original_record(name, properties))
        plain = {key: value for key, value in properties.items() if key != "Metrics"}
        alarm = dict(original_record(name, {**plain, "MetricName": "-", "Namespace": "-"}))
        return _make_math(alarm, queries)

    provisioners._cw_metric_alarm_record = metric_alarm_record
    cloudwatch._evict_old_metrics = _compact


def start(sagemaker: Sagemaker) -> None:
    """Evaluate alarms from now on."""
    reading = Windows(MiniStackMetrics(), sagemaker.clock)
    windows.use(reading)
    evaluator = sagemaker.background[_EVALUATOR] = Evaluator(MiniStackAlarms(), reading, sagemaker.clock)
    evaluator.start()


def stop(sagemaker: Sagemaker) -> None:
    """Change the state of no alarm any more."""
    evaluator: Evaluator | None = sagemaker.background.pop(_EVALUATOR, None)
    if evaluator:
        evaluator.stop()


def _make_math(alarm: dict[str, Any], queries: list[dict[str, Any]]) -> dict[str, Any]:
    for member in _NOT_OF_MATH:
        alarm.pop(member, None)
    alarm["Metrics"] = queries
    return alarm


def _asked(params: dict[str, Any], data: dict[str, Any], is_document: bool) -> dict[str, Any]:
    members = ("ComparisonOperator", "Statistic", "ExtendedStatistic")
    return {name: data.get(name) if is_document else cloudwatch._p(params, name) or None for name in members}


def _queries(params: dict[str, Any]) -> list[dict[str, Any]]:
    """The Metrics of a request in the query protocol: `Metrics.member.1.MetricStat.Metric.Dimensions.member.1.Name`."""
    found: dict[str, Any] = {}
    for key in params:
        path = key.split(".")
        if path[0] != "Metrics":
            continue
        at = found
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = cloudwatch._p(params, key)

    def listed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if set(value) == {"member"}:
            return [listed(value["member"][index]) for index in sorted(value["member"], key=int)]
        return {name: listed(item) for name, item in value.items()}

    return [_typed(query) for query in listed(found.get("Metrics", {"member": {}}))]


def _typed(query: Mapping[str, Any]) -> dict[str, Any]:
    """A metric data query with numbers and booleans where a template or a form has text."""
    typed = dict(query)
    if isinstance(typed.get("ReturnData"), str):
        typed["ReturnData"] = typed["ReturnData"].lower() == "true"
    if typed.get("Period") is not None:
        typed["Period"] = int(typed["Period"])
    if statistic := typed.get("MetricStat"):
        typed["MetricStat"] = {**statistic, "Period": int(statistic["Period"])}
    return typed


def _event(alarm: Mapping[str, Any], old: str) -> dict[str, Any]:
    """`CloudWatch Alarm State Change`, as the user guide of CloudWatch shows it: "Alarm events and EventBridge"."""
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": {
            "value": alarm["StateValue"],
            "reason": alarm["StateReason"],
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(alarm["StateUpdatedTimestamp"])),
        },
        "previousState": {"value": old},
        "configuration": {"description": alarm.get("AlarmDescription", ""), "metrics": alarm.get("Metrics") or []},
    }
    return {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Detail": json.dumps(detail),
        "Resources": [alarm["AlarmArn"]],
    }


_compacted_at = [0.0]


def _compact() -> None:
    """Keep metrics few. MiniStack calls this with each request, on its event loop, which is where points are added."""
    if time.monotonic() < _compacted_at[0] + COMPACT_EVERY_S:
        return
    _compacted_at[0] = time.monotonic()
    now = time.time()
    for key, points in list(cloudwatch._metrics._data.items()):
        # In place, and of what was there: another thread may be adding one.
        length = len(points)
        kept = compacted(points[:length], now, now - cloudwatch.TWO_WEEKS_SECONDS)
        if kept is not None:
            points[:length] = kept
        if not points:
            del cloudwatch._metrics._data[key]
