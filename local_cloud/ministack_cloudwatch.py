"""Where our evaluation of alarms is hooked into MiniStack's CloudWatch.

Beside `ministack_seams` the one module that knows MiniStack; the same test holds every name of it that is used here.
"""

from __future__ import annotations

import bisect
import copy
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region, new_uuid
from ministack.services import cloudwatch, eventbridge, sns
from ministack.services.cloudformation import provisioners

from local_cloud.cloudwatch import alarm_notifications, windows
from local_cloud.cloudwatch.alarm_definition import BadAlarm, definition_of
from local_cloud.cloudwatch.alarm_rules import stamp
from local_cloud.cloudwatch.alarms import Evaluator, Placed
from local_cloud.cloudwatch.retention import compacted
from local_cloud.cloudwatch.windows import Point, Windows
from local_cloud.ministack_scope import in_scope
from local_cloud.platform import Platform
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

COMPACT_EVERY_S = 5.0
SAVED_METRICS_ARE_OLD_AFTER_S = 10.0
"""How much of the latest metrics a kill may lose: what is saved is read on the event loop, and metrics are most of it."""
MAX_HISTORY = 2000
"""Entries of the alarm history of one region; the oldest go."""
SAVED = ("alarms", "composite_alarms", "composite_triggers", "alarm_history", "dashboards", "resource_tags")
"""What MiniStack saves of CloudWatch beside metrics."""
_EVALUATOR, _EVENTS = "alarms", "alarm-events"
_NOT_OF_MATH = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit")
"""What an alarm on an expression does not have: its metrics have their own."""
_CHECKED = (
    *_NOT_OF_MATH,
    "ComparisonOperator",
    "Threshold",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "ThresholdMetricId",
)
_KEPT = ("StateReasonData", "StateTransitionedTimestamp")
"""What a change of an alarm keeps beside the state."""
_SCALING_POLICY = ":scalingPolicy:"

_when = itemgetter("Timestamp")


class Publications:
    """Counts what PutMetricData takes in: one call may bring several metrics that belong together."""

    def __init__(self) -> None:
        self._number = 0
        self._is_open = False

    def latest(self) -> int | None:
        """See windows.Windows.publication."""
        return None if self._is_open else self._number

    def install(self) -> None:
        """Count from now on."""
        original = cloudwatch._put_metric_data

        def put_metric_data(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
            self._is_open = True
            self._number += 1
            try:
                return original(params, data, is_cbor, is_json)
            finally:
                self._is_open = False

        cloudwatch._put_metric_data = put_metric_data


_publications = Publications()


class MiniStackMetrics:
    """Published metrics, read where MiniStack keeps them."""

    def newest_first(
        self, account: str, region: str, namespace: str, metric: str, dimensions: Mapping[str, str], since: float
    ) -> list[Point]:
        """See windows.Source."""
        key = (account, region, (namespace, metric, cloudwatch._dims_key(dict(dimensions))))
        found = []
        # A copy, which is made in one step: the event loop adds points and drops old ones meanwhile.
        for point in reversed(list(cloudwatch._metrics._data.get(key, ()))):
            if point["Timestamp"] < since:
                break
            if "_stat" in point:
                samples, total, low, high = cloudwatch._point_stats(point)
            else:
                # Thousands of these are read each second under load.
                low = high = point["Value"]
                samples = point.get("Count", 1.0)
                total = low * samples
            if samples:
                found.append(Point(point["Timestamp"], samples, total, low, high, point["Unit"]))
        return found


class MiniStackAlarms:
    """The alarms, where MiniStack keeps them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def metric_alarms(self) -> list[Placed]:
        """See alarms.Alarms."""
        return [
            Placed(account, region, definition)
            for (account, region, _), definition in list(cloudwatch._alarms._data.items())
        ]

    def set_state(self, alarm: Placed, state: str, why: str, data: Mapping[str, Any]) -> None:
        """See alarms.Alarms.

        By a request, as anybody would: it runs in the event loop among all others, and is saved like any change.
        """
        try:
            self._platform.client("cloudwatch", alarm.region).set_alarm_state(
                AlarmName=alarm.definition["AlarmName"],
                StateValue=state,
                StateReason=why,
                StateReasonData=json.dumps({**data, _OURS: True}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFound":
                raise
        except BotoCoreError:
            logger.info("The alarm %s keeps its state: the local cloud ends", alarm.definition["AlarmName"])


_OURS = "sagestackEvaluated"
"""Marks, on its way, a state that follows from an evaluation."""


def install(sagemaker: Callable[[], Sagemaker]) -> None:
    """Put our evaluation in the place of MiniStack's, and let alarms have metric math.

    Args:
        sagemaker: gives the service once it runs.
    """

    def evaluator() -> Evaluator | None:
        found: Evaluator | None = sagemaker().background.get(_EVALUATOR)
        return found

    def changed(_alarm: Mapping[str, Any] | None = None) -> None:
        if found := evaluator():
            found.changed()

    # It looks at one metric whatever its dimensions are, and only when somebody publishes.
    cloudwatch._evaluate_alarm = changed
    cloudwatch._evaluate_all_alarms = lambda: None
    cloudwatch._evict_old_metrics = _compact
    _keep_points_in_order()
    _publications.install()
    _save_little()
    _check_alarms()
    _tell_of_states(evaluator, lambda work: sagemaker().background[_EVENTS].put(work))


def start(sagemaker: Sagemaker) -> None:
    """Evaluate alarms from now on."""
    reading = Windows(MiniStackMetrics(), sagemaker.clock, _publications.latest)
    windows.use(reading)
    events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    sagemaker.background[_EVENTS] = events
    # A daemon: an event's target may be a function that runs for minutes, and the end of the process does not wait for it.
    threading.Thread(target=_send_forever, args=(events,), name="alarm events", daemon=True).start()
    evaluator = sagemaker.background[_EVALUATOR] = Evaluator(
        MiniStackAlarms(sagemaker.platform), reading, sagemaker.clock
    )
    evaluator.start()


def stop(sagemaker: Sagemaker) -> None:
    """Change the state of no alarm any more."""
    evaluator: Evaluator | None = sagemaker.background.pop(_EVALUATOR, None)
    if evaluator:
        evaluator.stop()
    _saved_metrics[:] = []


def _send_forever(events: queue.SimpleQueue[Callable[[], None]]) -> None:
    while True:
        try:
            events.get()()
        except Exception:
            logger.exception("An event of an alarm could not be sent")


def _keep_points_in_order() -> None:
    """Put what is published late where it belongs, so that looking back may end at the first point that is too old."""
    original = cloudwatch._store_datum

    def store_datum(namespace: str, name: str, dims: dict[str, str], *more: Any) -> None:
        points = cloudwatch._metric_bucket((namespace, name, cloudwatch._dims_key(dims)))
        before = len(points)
        original(namespace, name, dims, *more)
        if before and before < len(points) and _when(points[before]) < _when(points[before - 1]):
            late = [points.pop() for _ in range(len(points) - before)]
            for point in late:
                bisect.insort(points, point, key=_when)

    cloudwatch._store_datum = store_datum


_saved_metrics: list[tuple[float, Any]] = []
"""When metrics were last made small for saving, and what came of it."""


def _save_little() -> None:
    """Save metrics rarely, and counted by steps of some seconds: a load test's would hold up every request otherwise."""

    def get_state() -> dict[str, Any]:
        now = time.time()
        if not _saved_metrics or now > _saved_metrics[0][0] + SAVED_METRICS_ARE_OLD_AFTER_S:
            small = {
                key: compacted(points, now, now - cloudwatch.TWO_WEEKS_SECONDS, exact_s=0.0) or list(points)
                for key, points in cloudwatch._metrics._data.items()
            }
            _saved_metrics[:] = [(now, AccountRegionScopedDict.from_dict(small))]
        others = {name: copy.deepcopy(getattr(cloudwatch, f"_{name}")) for name in SAVED}
        return {"metrics": _saved_metrics[0][1], **others}

    cloudwatch.get_state = get_state


def _check_alarms() -> None:
    original_put = cloudwatch._put_metric_alarm

    def put_metric_alarm(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        is_document = is_cbor or is_json
        queries = data.get("Metrics") if is_document else _queries(params)
        asked = data if is_document else _asked(params)
        try:
            definition_of({**asked, "Metrics": queries})
        except BadAlarm as error:
            return cloudwatch._error("ValidationError", str(error), 400, use_json=is_json, use_cbor=is_cbor)
        before = dict(cloudwatch._alarms.get(asked["AlarmName"]) or {})
        answer = original_put(params, data, is_cbor, is_json)
        alarm = cloudwatch._alarms.get(asked["AlarmName"])
        if answer[0] == 200 and alarm is not None:
            _complete(alarm, asked, queries, before)
        return answer

    cloudwatch._put_metric_alarm = put_metric_alarm
    original_record = provisioners._cw_metric_alarm_record

    def metric_alarm_record(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        queries = [_typed(query) for query in properties.get("Metrics") or []]
        try:
            definition_of({**properties, "Metrics": queries})
        except BadAlarm as error:
            raise ValueError(str(error)) from error
        plain = {key: value for key, value in properties.items() if key != "Metrics"}
        if queries:
            plain |= {"MetricName": "-", "Namespace": "-"}
        before = dict(cloudwatch._alarms.get(name) or {})
        return _complete(dict(original_record(name, plain)), properties, queries, before)

    provisioners._cw_metric_alarm_record = metric_alarm_record


def _complete(
    alarm: dict[str, Any], asked: Mapping[str, Any], queries: list[dict[str, Any]] | None, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Give an alarm what MiniStack leaves out of it."""
    if queries:
        for member in _NOT_OF_MATH:
            alarm.pop(member, None)
        alarm["Metrics"] = queries
    if asked.get("EvaluateLowSampleCountPercentile"):
        alarm["EvaluateLowSampleCountPercentile"] = asked["EvaluateLowSampleCountPercentile"]
    if alarm.get("ExtendedStatistic"):
        alarm.pop("Statistic", None)
    alarm.update({member: before[member] for member in _KEPT if member in before})
    return alarm


def _tell_of_states(evaluator: Callable[[], Evaluator | None], send: Callable[[Callable[[], None]], None]) -> None:
    """Make each change of a state known as CloudWatch does: by its actions, an event, and in the history."""
    original_set, original_record = cloudwatch._set_alarm_state, cloudwatch._record_history
    original_dispatch = cloudwatch._dispatch_alarm_actions
    changing: list[Mapping[str, Any]] = []

    def set_alarm_state(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        name = data.get("AlarmName") if is_cbor or is_json else cloudwatch._p(params, "AlarmName")
        alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name)
        changing[:] = [dict(alarm)] if alarm else []
        evaluated = _evaluated(data) if is_cbor or is_json else False
        if alarm and not evaluated and not data.get("StateReasonData"):
            # What was evaluated before does not speak of this state.
            alarm.pop("StateReasonData", None)
        answer = original_set(params, data, is_cbor, is_json)
        if alarm and alarm["StateValue"] != changing[0]["StateValue"]:
            alarm["StateTransitionedTimestamp"] = alarm["StateUpdatedTimestamp"]
        found = evaluator()
        if found and alarm and not evaluated and name in cloudwatch._alarms:
            found.hold(Placed(get_account_id(), get_region(), alarm))
        return answer

    def record_history(
        name: str, old: str, new: str, reason: str, kind: str = "MetricAlarm", reason_data: Any = None
    ) -> None:
        alarm = cloudwatch._alarms.get(name)
        if reason_data is None and alarm and alarm.get("StateReasonData") and old != new:
            reason_data = _document(alarm["StateReasonData"])
        original_record(name, old, new, reason, kind, reason_data)
        entries = cloudwatch._history_entries()
        del entries[:-MAX_HISTORY]

    def dispatch(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
        at = time.time()
        previous = {"value": old}
        if changing and changing[0]["AlarmName"] == alarm["AlarmName"]:
            before = changing[0]
            previous["reason"] = before.get("StateReason", "")
            previous["timestamp"] = stamp(before["StateUpdatedTimestamp"])
            if before.get("StateReasonData"):
                previous["reasonData"] = before["StateReasonData"]
        entry = {
            "Source": "aws.cloudwatch",
            "DetailType": alarm_notifications.DETAIL_TYPE,
            "Detail": json.dumps(alarm_notifications.event(alarm, previous, at)),
            "Resources": [alarm["AlarmArn"]],
        }
        account, region = get_account_id(), get_region()
        send(
            lambda: in_scope(
                account, region, lambda: eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
            )
        )
        if "AlarmRule" in alarm:
            original_dispatch(alarm, old, new, reason)
        elif alarm.get("ActionsEnabled", True):
            for action in alarm.get(alarm_notifications.ACTIONS.get(new, "")) or []:
                _act(alarm, action, old, at)

    cloudwatch._set_alarm_state = set_alarm_state
    cloudwatch._record_history = record_history
    cloudwatch._dispatch_alarm_actions = dispatch


def _act(alarm: Mapping[str, Any], action: str, old: str, at: float) -> None:
    if action.startswith("arn:aws:sns:"):
        subject, message = alarm_notifications.topic_message(alarm, old, at)
        sns._fanout(action, new_uuid(), message, subject)
    elif _SCALING_POLICY not in action:
        # Application Auto Scaling looks at the alarms that name its policies itself.
        logger.warning("The alarm %s has the action %s, which the local cloud does not do", alarm["AlarmName"], action)
        _remember(alarm, f"Failed to execute action {action}: the local cloud does not have it")
        return
    _remember(alarm, f"Successfully executed action {action}")


def _remember(alarm: Mapping[str, Any], what: str) -> None:
    cloudwatch._history_entries().append(
        {
            "AlarmName": alarm["AlarmName"],
            "AlarmType": "MetricAlarm",
            "Timestamp": cloudwatch._ts_iso(time.time()),
            "HistoryItemType": "Action",
            "HistorySummary": what,
            "HistoryData": "{}",
        }
    )


def _evaluated(data: dict[str, Any]) -> bool:
    """Whether the state that is set follows from our evaluation; the mark of it is taken off."""
    reason_data = _document(data.get("StateReasonData"))
    if not isinstance(reason_data, dict) or not reason_data.pop(_OURS, False):
        return False
    data["StateReasonData"] = json.dumps(reason_data)
    return True


def _document(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def _asked(params: dict[str, Any]) -> dict[str, Any]:
    """What a request in the query protocol asks for, as far as it is checked."""
    return {name: cloudwatch._p(params, name) or None for name in ("AlarmName", *_CHECKED)}


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
