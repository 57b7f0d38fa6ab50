"""Asks an endpoint golden records while it is updated, and counts the answers that are of neither version.

It costs nothing while nothing is updated. During an update it is one function that runs and a few requests a second, at
most as many as `requests_per_second` says, all with an InferenceId by which monitoring can leave them out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from botocore import exceptions

from . import live, versions
from .asking import Target, ask
from .golden_records import GoldenRecords
from .judgement import Asked, questions, remember, remembered
from .names import ASKED, FAILED, NAMESPACE, WRONG

PUBLISH_S = 10.0
"""Of the cloud's seconds: several times within an alarm's period of a minute."""
STATUS_S = 5.0
"""How often it looks whether the update goes on, and so how long it runs on after its end at most."""
PATIENCE_S = 60.0
"""How long after the event an update is waited for whose configuration is not yet told."""
MOST_REQUESTS_PER_SECOND = 20.0
MOST_TOLD = 3
"""Wrong answers that the log quotes between two publications; the metric counts all."""
_HANDOVER_S = 60.0
"""What is kept of a call's time to start the next one: longer than any request."""


@dataclass(frozen=True)
class Pace:
    """How fast to ask.

    Attributes:
        requests_per_second: of real seconds.
        factor: how many times faster than on AWS waits pass; 1 on AWS.
    """

    requests_per_second: float
    factor: float = 1.0

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Pace:
        """REQUESTS_PER_SECOND, and the local cloud's clock factor where there is one: alarms' periods are shorter then."""
        factor = float(variables.get("SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR") or 1)
        per_second = float(variables.get("REQUESTS_PER_SECOND") or 2)
        return cls(min(per_second * factor, max(per_second, MOST_REQUESTS_PER_SECOND)), factor)


@dataclass(frozen=True)
class Clients:
    """What the probe talks to, as boto3 clients, and the function that starts its next call."""

    sagemaker: Any
    runtime: Any
    s3: Any
    cloudwatch: Any
    again: Callable[[dict[str, Any]], None]


@dataclass
class Counts:
    """What was seen since the last publication."""

    asked: int = 0
    wrong: int = 0
    failed: int = 0


@dataclass
class Probe:
    """One call's part of the watch over one update.

    Attributes:
        until: the time of `clock` at which the next call takes over.
        memory: what earlier calls learned, by variant.
    """

    clients: Clients
    endpoint: str
    pace: Pace
    until: float
    memory: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    counts: Counts = field(default_factory=Counts)

    def watch(self) -> str:
        """Ask until the update is over, or until the next call must take over; says which."""
        asked = self._questions()
        if not asked:
            return "nothing to ask"
        turns = self._turns(asked)
        next_look = next_report = self.clock()
        while True:
            now = self.clock()
            if now >= next_report:
                self._publish()
                next_report = now + PUBLISH_S / self.pace.factor
            if now >= next_look:
                if (
                    self.clients.sagemaker.describe_endpoint(EndpointName=self.endpoint)["EndpointStatus"]
                    not in live.CHANGING
                ):
                    self._publish()
                    return "the update is over"
                next_look = now + STATUS_S / self.pace.factor
            if now >= self.until - _HANDOVER_S:
                self._publish()
                self.clients.again({name: remembered(each) for name, each in asked.items()})
                return "the next call goes on"
            turn = next(turns, None)
            if turn is None:
                self._publish()
                return "no question is left"
            self._ask(*turn)
            self.sleep(max(0.0, now + 1 / self.pace.requests_per_second - self.clock()))

    def _turns(self, asked: dict[str, list[Asked]]) -> Iterator[tuple[str, Asked]]:
        """Variant after variant, question after question, until all are dropped."""
        for turn in count():
            left = {name: [each for each in these if not each.is_dropped] for name, these in asked.items()}
            if not any(left.values()):
                return
            for name, these in left.items():
                if these:
                    yield name, these[turn % len(these)]

    def _ask(self, variant: str, asked: Asked) -> None:
        self.counts.asked += 1
        try:
            got = ask(self.clients.runtime, Target(self.endpoint, variant, {"TargetVariant": variant}), asked.record)
        except exceptions.ClientError as error:
            response: Mapping[str, Any] = error.response
            status = response.get("OriginalStatusCode", 0)
            if response["Error"].get("Code") != "ModelError" or not status:
                self.counts.failed += 1
                return
            # A version may refuse what only the other one knows: then that is its answer, and always the same.
            got = f"status {status}".encode()
            if status >= 500:
                self.counts.failed += 1
                # It counts among the callers' failures, for which the update is rolled back: not because of us.
                asked.is_dropped = not asked.is_wrong(got)
                if asked.is_dropped:
                    return
        except (exceptions.ConnectionError, exceptions.HTTPClientError):
            self.counts.failed += 1
            return
        if asked.is_wrong(got):
            self.counts.wrong += 1
            if self.counts.wrong > MOST_TOLD:
                return
            _tell(
                "wrong",
                self.endpoint,
                variant=variant,
                request=asked.record.body.decode(errors="replace")[:200],
                got=got.decode(errors="replace")[:200],
                recorded=[answer.decode(errors="replace")[:200] for answer, _ in asked.recorded],
            )

    def _questions(self) -> dict[str, list[Asked]]:
        """What to ask each variant; none where there is no update of the configuration, or nothing is recorded."""
        given_up = self.clock() + PATIENCE_S / self.pace.factor
        while True:
            described = self.clients.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            if described["EndpointStatus"] not in live.CHANGING:
                return {}
            pending = described.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
            if pending:
                break
            if self.clock() >= given_up:  # another size or weight: no version changes
                return {}
            self.sleep(1 / self.pace.factor)
        deployed, coming = self._golden(described["EndpointConfigName"]), self._golden(pending)
        # A variant that only one of the two has is not there all the time.
        found = {name: questions(deployed[name], coming[name]) for name in deployed.keys() & coming.keys()}
        for name, asked in found.items():
            if name in self.memory and len(self.memory[name]) == len(asked):
                remember(asked, self.memory[name])
        _tell(
            "starts",
            self.endpoint,
            questions={name: len(asked) for name, asked in found.items()},
            configuration=pending,
        )
        return {name: asked for name, asked in found.items() if asked}

    def _golden(self, config_name: str) -> dict[str, GoldenRecords | None]:
        """The golden records of each production variant's model, where it has some and is one version."""
        config = self.clients.sagemaker.describe_endpoint_config(EndpointConfigName=config_name)
        found: dict[str, GoldenRecords | None] = {}
        for variant in config["ProductionVariants"]:
            if not variant.get("ModelName"):
                continue
            packages = live.model_packages(self.clients.sagemaker, variant["ModelName"])
            found[variant["VariantName"]] = self._read(packages[0]) if len(packages) == 1 else None
        return found

    def _read(self, arn: str) -> GoldenRecords | None:
        try:
            return versions.read(self.clients.s3, versions.find(self.clients.sagemaker, arn))
        except versions.Refused as error:
            _tell("unknown", self.endpoint, reason=str(error))
            return None

    def _publish(self) -> None:
        counts, self.counts = self.counts, Counts()
        if not counts.asked:
            return
        self.clients.cloudwatch.put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": "EndpointName", "Value": self.endpoint}],
                    "Value": value,
                    "Unit": "Count",
                }
                for name, value in ((WRONG, counts.wrong), (FAILED, counts.failed), (ASKED, counts.asked))
            ],
        )


def _tell(what: str, endpoint: str, **more: Any) -> None:
    print(json.dumps({"outcome": what, "endpoint": endpoint, **more}), flush=True)
