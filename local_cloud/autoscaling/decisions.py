"""Which capacity the policies of a scalable target ask for together.

Out, if one asks for it, and to the largest that is asked for; in, only if every target tracking policy that may scale in
asks for it, and again to the largest ("Considerations" of target tracking scaling policies; PutScalingPolicy in the API
reference).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from local_cloud.autoscaling import alarms, policies, steps, tracking
from local_cloud.autoscaling.alarms import Alarm
from local_cloud.autoscaling.policies import CONFIGURATION, STEP, TRACKING
from local_cloud.autoscaling.service import AutoScaling
from local_cloud.cloudwatch.alarm_definition import period_of
from local_cloud.cloudwatch.alarm_rules import LOOK_BACK
from local_cloud.sagemaker.store import Document


@dataclass(frozen=True)
class Wish:
    """What one policy asks for.

    Attributes:
        policy: its document.
        alarm: the name of the alarm that triggered it.
        capacity: what it asks for, without regard to the target's bounds.
    """

    policy: Document
    alarm: str
    capacity: int

    @property
    def cause(self) -> str:
        """The cause of a scaling activity, in AWS's words."""
        return f"monitor alarm {self.alarm} in state ALARM triggered policy {self.policy['PolicyName']}"


@dataclass(frozen=True)
class State:
    """What a decision is made from.

    Attributes:
        account: whose target.
        region: where.
        capacity: what the target has.
        last_out: when its last scale-out ended (POSIX seconds), and from which capacity.
        last_in: when its last scale-in ended.
        since: when the capacity changed last; older data say nothing about what there is now.
    """

    account: str
    region: str
    capacity: int
    last_out: tuple[float, int] | None = None
    last_in: float | None = None
    since: float | None = None


def decide(
    service: AutoScaling, target: Document, state: State, with_alarms: Sequence[tuple[Document, Sequence[Alarm]]]
) -> Wish | None:
    """The wish that is followed; None if the capacity stays.

    Args:
        service: reads metrics.
        target: its SuspendedState counts.
        state: what is now.
        with_alarms: the target's policies, each with the alarms that name it.
    """
    outs: list[Wish] = []
    ins: list[Wish] = []
    tracked_ins: list[Wish] = []
    tracking_agrees = True
    for policy, named in with_alarms:
        triggering = alarms.triggering(named, policy["PolicyARN"])
        if policy["PolicyType"] == STEP:
            for alarm in triggering:
                wish = _step_wish(service, state, policy, alarm)
                if wish is not None:
                    (outs if wish.capacity > state.capacity else ins).append(wish)
            continue
        out, into = _tracking_wishes(service, state, policy, triggering)
        outs += [out] if out else []
        tracked_ins += [into] if into else []
        if into is None and not policy[CONFIGURATION[TRACKING]].get("DisableScaleIn"):
            tracking_agrees = False
    suspended = target["SuspendedState"]
    if outs:
        return None if suspended["DynamicScalingOutSuspended"] else max(outs, key=_capacity)
    # What a step scaling policy asks for is not held back by target tracking.
    ins += tracked_ins if tracking_agrees else []
    if not ins or suspended["DynamicScalingInSuspended"]:
        return None
    return max(ins, key=_capacity)


def _tracking_wishes(
    service: AutoScaling, state: State, policy: Document, triggering: Sequence[Alarm]
) -> tuple[Wish | None, Wish | None]:
    configuration = policy[CONFIGURATION[TRACKING]]
    target = float(configuration["TargetValue"])
    out = into = None
    for alarm in triggering:
        periods = int(alarm["EvaluationPeriods"])
        values = alarms.values(service, state.account, state.region, alarm, state.since, periods)
        if "-AlarmHigh-" in alarm["AlarmName"]:
            wanted = tracking.scaled_out(_base(service, state, policy), values, target)
            if wanted > state.capacity:
                out = Wish(policy, alarm["AlarmName"], wanted)
        elif not configuration.get("DisableScaleIn") and not _cools_in(service, state, policy):
            wanted = tracking.scaled_in(state.capacity, values, target)
            if values and wanted <= state.capacity:
                into = Wish(policy, alarm["AlarmName"], wanted)
    return out, into


def _step_wish(service: AutoScaling, state: State, policy: Document, alarm: Alarm) -> Wish | None:
    configuration = policy[CONFIGURATION[STEP]]
    threshold = float(alarm["Threshold"])
    # As far back as the alarm itself looks: the point that set it off may be a little older than one period.
    periods = int(alarm["EvaluationPeriods"]) + LOOK_BACK
    values = alarms.values(service, state.account, state.region, alarm, state.since, periods)
    if values:
        breach = values[-1] - threshold
    elif alarm.get("TreatMissingData") == "breaching" and not _is_too_early(service, state, alarm):
        # Missing data have set it off, by nothing that could be measured.
        breach = 0.0
    else:
        # It only has not noticed yet that there is nothing more to be seen.
        return None
    step = steps.step_for(configuration["StepAdjustments"], breach, alarm["ComparisonOperator"])
    if step is None:
        return None
    wanted = steps.adjusted(configuration, step, _base(service, state, policy))
    if wanted > state.capacity:
        return Wish(policy, alarm["AlarmName"], wanted)
    wanted = steps.adjusted(configuration, step, state.capacity)
    if wanted < state.capacity and not _cools_in(service, state, policy):
        return Wish(policy, alarm["AlarmName"], wanted)
    return None


def _is_too_early(service: AutoScaling, state: State, alarm: Alarm) -> bool:
    """Whether no whole period has passed since the capacity changed."""
    return state.since is not None and service.clock.since(state.since) < period_of(alarm)


def _base(service: AutoScaling, state: State, policy: Document) -> int:
    """From what a scale-out counts: while the last one cools down, what that one added counts as part of the next."""
    if state.last_out is None:
        return state.capacity
    ended, before = state.last_out
    cools = service.clock.since(ended) < policies.cooldown_of(policy, out=True)
    return min(before, state.capacity) if cools else state.capacity


def _cools_in(service: AutoScaling, state: State, policy: Document) -> bool:
    return state.last_in is not None and service.clock.since(state.last_in) < policies.cooldown_of(policy, out=False)


def _capacity(wish: Wish) -> int:
    return wish.capacity
