"""An update with a DeploymentConfig: the new fleet in steps, the alarms watched, and everything back if they go off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from local_cloud.platform import Caller
from local_cloud.sagemaker.deployments import alarm_watch, rolling, traffic_shifting
from local_cloud.sagemaker.deployments.alarm_watch import AlarmWatch
from local_cloud.sagemaker.deployments.deployment_policy import Policy, Rolling
from local_cloud.sagemaker.deployments.deployment_run import CREATING, DELETING, RollBack, Run
from local_cloud.sagemaker.hosting import endpoint_status
from local_cloud.sagemaker.hosting.fleet import Fleet, Interrupted
from local_cloud.sagemaker.hosting.hosting import Hosting
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.provisioning import DeploymentFailed, bring_up
from local_cloud.sagemaker.hosting.router import Router
from local_cloud.sagemaker.hosting.server import NotHealthy
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How an update ended.

    Attributes:
        status: of the endpoint.
        reason: why it was rolled back; None if it was not.
        retired: the fleets that get no traffic any more, to be ended.
    """

    status: str
    reason: str | None
    retired: tuple[Fleet, ...] = ()


def update(
    hosting: Hosting,
    caller: Caller,
    name: str,
    pending: Document,
    policy: Policy,
    router: Router,
    end: Callable[[Sequence[Instance]], None],
) -> Outcome:
    """Bring the new fleet up and move the traffic to it by the policy; or put everything back.

    Args:
        hosting: what serves.
        caller: whose endpoint it is.
        name: the endpoint's.
        pending: the plan.
        policy: from the plan's DeploymentConfig.
        router: has the traffic on the fleet that is replaced.
        end: lets instances finish what they have begun, and ends them.

    Raises:
        Interrupted: the local cloud stops; the next start begins the update again, from its first stage.
    """
    before = router.shares
    router.replaced = tuple(router.fleets)
    role_arn = pending["Variants"][0]["ExecutionRoleArn"]
    green: Fleet | None = None
    replacement: rolling.Replacement | None = None
    counts = {variant["VariantName"]: variant["DesiredInstanceCount"] for variant in pending["Variants"]}
    try:
        with alarm_watch.watching(hosting.service.platform, caller.region, role_arn, policy.alarms) as watch:
            run = _run(hosting, caller, name, pending, policy, watch)
            # One that is in ALARM now says nothing about the new version, and would hide what that does.
            run.check()
            if isinstance(policy, Rolling):
                green = bring_up(hosting, caller, name, pending, start=False)
                ((_, count),) = counts.items()
                replacement = rolling.Replacement(run, policy, router, green, count, end)
                replacement.forward()
            else:
                run.enter(CREATING, lambda count: f"Launching {count} instance(s).", counts, dict.fromkeys(counts, 0))
                green = bring_up(hosting, caller, name, pending)
                # The servers that start are no wait, but an alarm that went off meanwhile counts.
                run.check()
                traffic_shifting.shift(run, policy, router, green, counts)
            old = {
                name: sum(len(fleet.variants[name].instances) for fleet in router.replaced if name in fleet.variants)
                for name in counts
            }
            run.enter(DELETING, lambda count: f"Terminating {count} instance(s) of the old fleet.", old, counts)
        router.send_to((green, 1.0))
        return Outcome("InService", None, tuple(fleet for fleet, _ in before))
    except DeploymentFailed as error:
        # No request has reached the new fleet, and it is gone again.
        return Outcome("InService", str(error))
    except Interrupted:
        raise
    except Exception as error:
        if hosting.stopping.is_set():
            # Whatever fails while the local cloud ends says nothing about the update.
            raise Interrupted from error
        reason = str(error)
        if not isinstance(error, RollBack | alarm_watch.Refused):
            logger.exception("The update of endpoint %s failed", name)
            reason = f"The update was rolled back: the local cloud failed: {type(error).__name__}: {error}"
        if pending.get("Restarts"):
            reason = f"{reason} {endpoint_status.AGAIN}"
        logger.warning("Endpoint %s rolls back: %s", name, reason)
        endpoint_status.finish(hosting, caller, name, "RollingBack", reason)
        try:
            if replacement:
                replacement.back()
            else:
                router.send_to(*before)
        except NotHealthy as failed:
            mixed = (
                f"{reason} The roll-back failed, too, so that both versions answer: {failed} Update the endpoint again."
            )
            return Outcome("UpdateRollbackFailed", mixed)
        return Outcome("InService", reason, (green,) if green else ())
    finally:
        router.replaced = ()


def _run(hosting: Hosting, caller: Caller, name: str, pending: Document, policy: Policy, watch: AlarmWatch) -> Run:
    return Run(
        clock=hosting.service.clock,
        stopping=hosting.stopping,
        watch=watch,
        tell=lambda stage, waited_s: endpoint_status.enter_stage(hosting, caller, name, stage, waited_s),
        timeout_s=policy.timeout_s,
        started=pending["StartTime"],
        waited_s=pending.get("WaitedS", 0.0),
    )
