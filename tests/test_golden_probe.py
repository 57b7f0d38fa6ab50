"""The probe during an update: which answers it takes for wrong, how it paces, when it ends, what it costs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from functions.deployment_gate import handler, judgement
from functions.deployment_gate.golden_records import GoldenRecords, parse
from functions.deployment_gate.probe import Clients, Pace, Probe
from tests.gate_fakes import ENDPOINT, Cloud, Context, error, golden, version


def records(answers: dict[str, str]) -> GoldenRecords:
    return parse(golden(answers), "here")


# --- Which answers can be of neither version


def wrong(deployed: dict[str, str] | None, pending: dict[str, str] | None, answers: list[str]) -> list[bool]:
    (asked,) = judgement.questions(records(deployed) if deployed else None, records(pending) if pending else None)
    return [asked.is_wrong(answer.encode()) for answer in answers]


def test_where_both_versions_recorded_an_answer_any_other_is_wrong() -> None:
    assert wrong({"x": "1"}, {"x": "2"}, ["1", "2", "1", "3", "1"]) == [False, False, False, True, False]


def test_one_unknown_answer_is_the_other_versions_and_a_second_one_is_nobodys() -> None:
    assert wrong(None, {"x": "2"}, ["7", "2", "7", "7.00001"]) == [False, False, False, False]
    assert wrong(None, {"x": "2"}, ["7", "7", "3", "7", "3"]) == [False, False, True, False, True]


def test_a_wrong_version_shows_whichever_answer_came_first() -> None:
    assert any(wrong(None, {"x": "2"}, ["3", "7"]))


def test_an_update_of_the_size_alone_has_one_right_answer() -> None:
    assert wrong({"x": "1"}, {"x": "1"}, ["1", "2"]) == [False, True]


def test_a_model_that_answers_differently_every_time_is_wrong_and_does_not_fill_the_memory() -> None:
    (asked,) = judgement.questions(None, records({"x": "2"}))
    assert sum(asked.is_wrong(str(number).encode()) for number in range(10, 1000)) == 989
    assert len(asked.unknown) == judgement.MOST_UNKNOWN


def test_what_was_learned_goes_on_to_the_next_call() -> None:
    first = judgement.questions(None, records({"x": "2", "y": "3"}))
    first[0].is_wrong(b"\xff7")
    first[1].is_dropped = True
    second = judgement.questions(None, records({"x": "2", "y": "3"}))
    judgement.remember(second, json.loads(json.dumps(judgement.remembered(first))))
    assert second == first


# --- An update


class Update:
    """An update from version 3 to version 4, seen by a probe whose clock the test moves."""

    def __init__(self, answer: Callable[[float, dict[str, Any]], str | Exception], seconds: float = 120) -> None:
        self.now = 0.0
        self.cloud = Cloud()
        self.cloud.register(4, {"5,6": "50", "7,8": "70"})
        self.cloud.config("config-4", {"AllTraffic": [version(4)]})
        self.begin()
        self.seconds = seconds
        self.cloud.answer = lambda request: answer(self.now, request)
        self.again: list[dict[str, Any]] = []

    def begin(self) -> None:
        self.cloud.endpoint |= {
            "EndpointStatus": "Updating",
            "PendingDeploymentSummary": {"EndpointConfigName": "config-4"},
        }

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)
        if self.now >= self.seconds:
            self.cloud.endpoint["EndpointStatus"] = "InService"

    def watch(self, per_second: float = 2, factor: float = 1, until: float = 900, **more: Any) -> str:
        probe = Probe(
            Clients(self.cloud, self.cloud, self.cloud, self.cloud, self.again.append),
            ENDPOINT,
            Pace(per_second, factor),
            until,
            clock=lambda: self.now,
            sleep=self.sleep,
            **more,
        )
        return probe.watch()

    def total(self, metric: str) -> float:
        return sum(published[metric] for published in self.cloud.published)


OLD = {b"1,2": "0.5", b"3,4": "-7", b"5,6": "1", b"7,8": "2"}
NEW = {b"1,2": "10", b"3,4": "11", b"5,6": "50", b"7,8": "70"}


def canary(new: dict[bytes, str], share: float = 0.1) -> Callable[[float, dict[str, Any]], str]:
    """The old version alone for 30 seconds, then the new one for its share of the requests."""
    chance = random.Random(0)

    def answer(now: float, request: dict[str, Any]) -> str:
        return (new if now > 30 and chance.random() < share else OLD)[request["Body"]]

    return answer


def test_a_good_version_rings_at_no_share_of_the_traffic() -> None:
    for share in (0.1, 0.5, 1.0):
        update = Update(canary(NEW, share))
        assert update.watch() == "the update is over"
        assert update.total("GoldenRecordsWrong") == 0
        assert update.total("GoldenRecordsFailed") == 0
        assert update.total("GoldenRecordsAsked") == pytest.approx(240, abs=15), "two a second"


def test_a_version_that_answers_wrongly_rings_within_a_minute_of_a_tenth_of_the_traffic() -> None:
    for broken in ({**NEW, b"5,6": "51"}, {**NEW, b"7,8": "0", b"5,6": "0"}):
        update = Update(canary(broken), seconds=90)
        update.watch()
        assert update.total("GoldenRecordsWrong") > 0
        first = next(n for n, published in enumerate(update.cloud.published) if published["GoldenRecordsWrong"])
        assert first * 10 <= 30 + 60


def test_both_versions_are_asked_and_each_request_is_marked() -> None:
    update = Update(canary(NEW), seconds=10)
    update.watch()
    assert {request["Body"] for request in update.cloud.sent} == set(OLD)
    assert {request["InferenceId"] for request in update.cloud.sent} == {"sagestack-golden-record"}
    assert {request["TargetVariant"] for request in update.cloud.sent} == {"AllTraffic"}


def test_a_version_that_refuses_what_only_the_other_knows_is_not_wrong() -> None:
    def answer(now: float, request: dict[str, Any]) -> str | Exception:
        if request["Body"] in (b"5,6", b"7,8") and (now < 30 or int(now * 2) % 5):
            return error("ModelError", "expected 12 columns", OriginalStatusCode=400)
        return NEW[request["Body"]] if request["Body"] in (b"5,6", b"7,8") else OLD[request["Body"]]

    update = Update(answer)
    update.watch()
    assert update.total("GoldenRecordsWrong") == 0


def test_what_the_old_version_breaks_at_is_not_sent_again() -> None:
    def answer(now: float, request: dict[str, Any]) -> str | Exception:
        if request["Body"] == b"5,6":
            return error("ModelError", "oh", OriginalStatusCode=500)
        return OLD[request["Body"]]

    update = Update(answer)
    update.watch()
    assert [request["Body"] for request in update.cloud.sent].count(b"5,6") == 1
    assert update.total("GoldenRecordsFailed") == 1
    assert update.total("GoldenRecordsWrong") == 0


def test_a_version_that_breaks_at_its_own_records_rings() -> None:
    def answer(now: float, request: dict[str, Any]) -> str | Exception:
        if now > 30 and int(now * 2) % 9 == 0:
            return error("ModelError", "oh", OriginalStatusCode=500)
        return OLD[request["Body"]]

    update = Update(answer)
    update.watch()
    assert update.total("GoldenRecordsWrong") > 0


@pytest.mark.parametrize("trouble", [error("ThrottlingException"), error("ServiceUnavailable")])
def test_trouble_on_the_way_is_counted_and_is_no_answer(trouble: Exception) -> None:
    update = Update(lambda now, request: trouble, seconds=20)
    update.watch()
    assert update.total("GoldenRecordsFailed") == update.total("GoldenRecordsAsked") > 0
    assert update.total("GoldenRecordsWrong") == 0


def test_a_roll_back_is_watched_to_its_end() -> None:
    update = Update(canary(NEW), seconds=60)
    update.cloud.endpoint["EndpointStatus"] = "RollingBack"
    assert update.watch() == "the update is over"
    assert update.now >= 60


def test_another_size_alone_is_left_at_once() -> None:
    update = Update(canary(NEW), seconds=1000)
    del update.cloud.endpoint["PendingDeploymentSummary"]
    assert update.watch() == "nothing to ask"
    assert 60 <= update.now < 65, "as long as it may take until the configuration is told"
    assert not update.cloud.sent
    assert not update.cloud.published


def test_an_update_that_is_over_asks_nothing() -> None:
    update = Update(canary(NEW))
    update.cloud.endpoint["EndpointStatus"] = "InService"
    assert update.watch() == "nothing to ask"


def test_versions_without_golden_records_are_not_asked() -> None:
    update = Update(canary(NEW))
    update.cloud.packages.clear()
    assert update.watch() == "nothing to ask"


def test_a_long_update_is_watched_by_several_calls_in_a_row() -> None:
    update = Update(canary(NEW), seconds=2000)
    assert update.watch(until=900) == "the next call goes on"
    assert 830 < update.now < 845, "long enough before Lambda ends the call"
    (memory,) = update.again
    assert [len(each["unknown"]) for each in memory["AllTraffic"]] == [1, 1, 1, 1], "what the other version answers"
    assert update.watch(until=1800, memory=json.loads(json.dumps(memory))) == "the next call goes on"
    assert update.watch(until=2700, memory=update.again[-1]) == "the update is over"
    assert update.total("GoldenRecordsWrong") == 0


def test_several_variants_are_asked_in_turn() -> None:
    update = Update(lambda now, request: OLD[request["Body"]], seconds=10)
    update.cloud.deploy("config-3", {"AllTraffic": [version(3)], "B": [version(3)]})
    update.cloud.config("config-4", {"AllTraffic": [version(4)], "B": [version(3)], "New": [version(4)]})
    update.begin()
    update.watch()
    asked = [request["TargetVariant"] for request in update.cloud.sent]
    assert set(asked) == {"AllTraffic", "B"}
    assert abs(asked.count("B") - asked.count("AllTraffic")) <= 1


def test_the_local_clock_makes_it_faster_and_never_more_than_twenty_a_second() -> None:
    assert Pace.from_environment({}) == Pace(2, 1)
    assert Pace.from_environment({"REQUESTS_PER_SECOND": "0.5"}) == Pace(0.5, 1)
    factor = {"SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR": "30"}
    assert Pace.from_environment(factor) == Pace(20, 30)
    assert Pace.from_environment({**factor, "REQUESTS_PER_SECOND": "0.1"}) == Pace(3, 30)


def test_the_function_takes_eventbridges_event_and_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    update = Update(canary(NEW))
    update.cloud.endpoint["EndpointStatus"] = "InService"
    clients = Clients(update.cloud, update.cloud, update.cloud, update.cloud, update.again.append)
    event = {"detail-type": "SageMaker Endpoint State Change", "detail": {"EndpointName": ENDPOINT}}
    assert handler.watch(event, Context(), clients) == {"outcome": "nothing to ask"}
    assert json.loads(capsys.readouterr().out)["endpoint"] == ENDPOINT
