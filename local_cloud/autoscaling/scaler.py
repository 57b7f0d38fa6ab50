"""The loop that scales: looks at every scalable target a few times in each of the cloud's minutes, and acts on SageMaker.

What it has begun stands in the store with the target, so that a restarted local cloud knows what it waits for.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from local_cloud.autoscaling import activities, alarms, decisions, scalable, scheduled_actions
from local_cloud.autoscaling.alarms import Alarm
from local_cloud.autoscaling.decisions import State, Wish
from local_cloud.autoscaling.scalable import Capacity
from local_cloud.autoscaling.service import NAMESPACE, POLICY, TARGET, AutoScaling, acting, key_of, selected
from local_cloud.sagemaker.errors import ApiError
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 15
"""The cloud's seconds between two looks: four in an alarm's shortest usual period."""
MIN_PAUSE_S = 0.2
"""Real seconds at least between two looks: more often there is nothing new, metrics are published every quarter of one."""
STOP_TIMEOUT_S = 3.0


class Scaler:
    """Scales every scalable target, from a thread of its own."""

    def __init__(self, service: AutoScaling) -> None:
        self._service = service
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="auto scaling", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was under way is followed up after the next start."""
        self._stopping.set()
        self._service.changed.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def look(self) -> None:
        """Look at every target once."""
        named: dict[str, dict[str, list[Alarm]]] = {}
        for account, region, target in self._service.store.everywhere(TARGET):
            if self._stopping.is_set():
                return
            try:
                if region not in named:
                    named[region] = self._alarms(region)
                _Look(self._service, account, region, target).act(named[region])
            except Exception:
                logger.exception("%s could not be scaled", key_of(target))

    def _alarms(self, region: str) -> dict[str, list[Alarm]]:
        has_policies = any(where == region for _, where, _ in self._service.store.everywhere(POLICY))
        return alarms.naming_policies(self._service, region) if has_policies else {}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._service.changed.clear()
            started = time.monotonic()
            self.look()
            if not self._service.store.everywhere(TARGET):
                # Nothing can be due until somebody registers something.
                self._service.changed.wait()
                continue
            pause = max(MIN_PAUSE_S, self._service.clock.real(LOOK_EVERY_S))
            # Whatever a look takes, the most of the time is somebody else's.
            self._service.changed.wait(max(pause, time.monotonic() - started))


class _Look:
    """One look at one target."""

    def __init__(self, service: AutoScaling, account: str, region: str, target: Document) -> None:
        self._service, self._account, self._region, self._target = service, account, region, target
        self._caller = acting(account, region)
        self._what = scalable.scalable(target["ResourceId"], target["ScalableDimension"])

    def act(self, named: dict[str, list[Alarm]]) -> None:
        """Follow up what was begun; else do what is due, and then what the policies ask for."""
        if not self._run_schedule():
            return
        capacity = self._read()
        if capacity is None:
            return
        if self._target.get("Running"):
            self._follow_up(capacity)
            return
        if not capacity.steady:
            # Whoever changes it now, nothing is scaled meanwhile; the next look is soon.
            return
        if not self._keep_bounds(capacity):
            self._follow_policies(capacity, named)

    def _read(self) -> Capacity | None:
        """What the resource has now; None once it is gone."""
        try:
            return self._what.read(self._service.sagemaker, self._caller)
        except ApiError:
            return None

    def _run_schedule(self) -> bool:
        """Set the bounds of the scheduled actions that are due; False where the target is registered no more."""
        # As one: who registers the target with other bounds meanwhile comes after, and is not undone with what was before.
        with self._service.store.transaction():
            now = self._service.store.get(TARGET, self._account, self._region, key_of(self._target))
            if now is None:
                return False
            self._target = now
            self._set_scheduled_bounds()
        return True

    def _set_scheduled_bounds(self) -> None:
        for name, bounds in scheduled_actions.take_due(
            self._service, self._account, self._region, self._target, time.time()
        ):
            if self._target["SuspendedState"]["ScheduledScalingSuspended"]:
                continue
            wanted = {"MinCapacity": self._target["MinCapacity"], "MaxCapacity": self._target["MaxCapacity"], **bounds}
            words = f"min capacity to {wanted['MinCapacity']} and max capacity to {wanted['MaxCapacity']}"
            fits = wanted["MinCapacity"] <= wanted["MaxCapacity"]
            if fits:
                self._remember(**wanted)
            activities.record(
                self._service,
                self._account,
                self._region,
                self._target,
                status="Successful" if fits else "Failed",
                Description=f"Setting {words}",
                Cause=f"scheduled action name {name} was triggered",
                StatusMessage=f"Successfully set {words}"
                if fits
                else f"Failed to set {words}. Reason: Maximum capacity cannot be less than minimum capacity.",
            )

    def _keep_bounds(self, capacity: Capacity) -> bool:
        """Bring a capacity that is outside of the bounds between them; whether that was necessary."""
        low, high = self._target["MinCapacity"], self._target["MaxCapacity"]
        if low <= capacity.desired <= high:
            return False
        if self._pauses(capacity):
            return True
        wanted = min(max(capacity.desired, low), high)
        bound = "minimum" if wanted == low and capacity.desired < low else "maximum"
        self._begin(capacity, wanted, f"{bound} capacity was set to {wanted}")
        return True

    def _follow_policies(self, capacity: Capacity, named: dict[str, list[Alarm]]) -> None:
        policies = selected(self._service.store.list(POLICY, self._account, self._region), self._target)
        with_alarms = [(policy, named.get(policy["PolicyARN"], [])) for policy in policies]
        out = self._target.get("ScaledOut")
        state = State(
            account=self._account,
            region=self._region,
            capacity=capacity.desired,
            last_out=(out["At"], out["From"]) if out else None,
            last_in=self._target.get("ScaledInAt"),
            since=self._target.get("ScaledAt"),
        )
        wish = decisions.decide(self._service, self._target, state, with_alarms)
        if wish is None:
            if self._target.get("NotScaled"):
                self._remember(NotScaled=None)
            return
        wanted = min(max(wish.capacity, self._target["MinCapacity"]), self._target["MaxCapacity"])
        if wanted == capacity.desired:
            self._tell_not_scaled(wish, capacity)
        else:
            self._begin(capacity, wanted, wish.cause)

    def _begin(self, capacity: Capacity, wanted: int, cause: str) -> None:
        words = f"{self._what.label} to {wanted}"
        try:
            self._what.set(self._service.sagemaker, self._caller, wanted)
        except ApiError as error:
            now = self._read()
            if now is None or not now.steady:
                # Somebody was faster; it is tried again.
                return
            activity = activities.begin(
                self._service, self._account, self._region, self._target, f"Setting {words}.", cause
            )
            self._ended(activity, "Failed", f"Failed to set {words}. Reason: {error.message}", ScaledAt=time.time())
            return
        activity = activities.begin(
            self._service, self._account, self._region, self._target, f"Setting {words}.", cause
        )
        self._remember(Running={"Activity": activity, "From": capacity.desired, "To": wanted}, NotScaled=None)

    def _follow_up(self, capacity: Capacity) -> None:
        """End the activity that was begun, once SageMaker has done or refused it."""
        running = self._target["Running"]
        words = f"{self._what.label} to {running['To']}"
        now = time.time()
        if capacity.status in ("Failed", "OutOfService"):
            reason = capacity.reason or f"{self._target['ResourceId']} is {capacity.status}."
            self._ended(running["Activity"], "Failed", f"Failed to set {words}. Reason: {reason}", ScaledAt=now)
        elif not capacity.steady:
            return
        elif capacity.desired == running["To"]:
            times: dict[str, Any] = {"ScaledAt": now}
            if running["To"] > running["From"]:
                # A scale-out ends the cooldown of a scale-in before it.
                times |= {"ScaledOut": {"At": now, "From": running["From"]}, "ScaledInAt": None}
            else:
                times |= {"ScaledInAt": now, "ScaledOut": None}
            message = f"Successfully set {words}. Change successfully fulfilled by {NAMESPACE}."
            self._ended(running["Activity"], "Successful", message, **times)
        elif capacity.desired == running["From"]:
            reason = capacity.reason or "SageMaker went back to what was there before."
            self._ended(running["Activity"], "Failed", f"Failed to set {words}. Reason: {reason}", ScaledAt=now)
        else:
            message = f"The {self._what.label} was updated to {capacity.desired} by somebody else."
            self._ended(running["Activity"], "Overridden", message, ScaledAt=now)

    def _tell_not_scaled(self, wish: Wish, capacity: Capacity) -> None:
        """Record once why an alarm leads to nothing."""
        if wish.capacity > capacity.desired:
            reason = {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": self._target["MaxCapacity"]}
        elif wish.capacity < capacity.desired:
            reason = {"Code": "AlreadyAtMinCapacity", "MinCapacity": self._target["MinCapacity"]}
        else:
            reason = {"Code": "AlreadyAtDesiredCapacity", "CurrentCapacity": capacity.desired}
        told = f"{wish.alarm} {reason['Code']}"
        if self._target.get("NotScaled") == told:
            return
        self._remember(NotScaled=told)
        activities.record(
            self._service,
            self._account,
            self._region,
            self._target,
            status="Failed",
            Description=activities.NOT_SCALED,
            Cause=wish.cause,
            NotScaledReasons=[reason],
        )

    def _pauses(self, capacity: Capacity) -> bool:
        """Whether the last change failed less than a minute ago: what SageMaker cannot do is not asked every second."""
        at = self._target.get("FailedAt")
        return at is not None and self._service.clock.since(at) < 60 and capacity.steady

    def _ended(self, activity: str, status: str, message: str, **members: Any) -> None:
        activities.end(self._service, self._account, self._region, activity, status, message)
        failed_at = time.time() if status == "Failed" else None
        self._remember(Running=None, FailedAt=failed_at, **members)

    def _remember(self, **members: Any) -> None:
        """Change the target here and in the store; what others changed in it meanwhile stays."""
        self._target.update(members)
        self._service.store.update(
            TARGET, self._account, self._region, key_of(self._target), lambda kept: kept.update(members)
        )
