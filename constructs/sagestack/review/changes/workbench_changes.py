"""What people who work in notebooks and in Studio notice of a change, and what no longer stops or tells them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.intrinsics import as_text, references
from sagestack.review.results import Action, Severity

RESIDUE = "Custom::SagestackStudioResidue"
"""Our own resource beside a domain: it refuses a replacement, and deletes what SageMaker leaves."""
_ROLLOUT = "Custom::SagestackNotebookRollout"
_STEPS = re.compile(r"^# In the (?:fore|back)ground: (.*)$", re.MULTILINE)
"""How our lifecycle scripts begin: the names of their steps."""


def _notebook(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateNotebookInstance.html"""
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, "Whoever works in the notebook loses it while they work.")
    elif draft.is_replaced:
        draft.interrupt(Severity.DANGER, "Whoever works in the notebook is thrown out, and finds an empty one.")
    elif any(change.path.partition("[")[0] != "Tags" for change in draft.properties):
        draft.interrupt(
            Severity.WARNING,
            "The notebook instance is stopped for the update and started again: kernels and terminals end, files stay.",
        )
        _other_config(draft, context)


def _other_config(draft: Draft, context: Context) -> None:
    """Says where an instance gets another lifecycle config, or none, and no longer stops by itself for that."""
    if draft.before is None or draft.after is None or not draft.changed("LifecycleConfigName"):
        return
    if _stops(draft.before, context.before) and not _stops(draft.after, context.after):
        who = as_text(draft.after.properties.get("NotebookInstanceName", draft.after.path))
        _stops_no_more(draft, who)


def _stops(notebook: Resource, assembly: Assembly) -> bool:
    beside = assembly.stacks[notebook.stack].resources
    configs = (beside.get(each.logical_id or "") for each in references(notebook.properties.get("LifecycleConfigName")))
    return any(config is not None and "auto-stop" in _steps(config) for config in configs)


def _stops_no_more(draft: Draft, who: str) -> None:
    draft.say(
        Severity.WARNING,
        f"{who} no longer stops by itself when nobody works there, and is paid for until somebody does.",
    )


def _lifecycle_config(draft: Draft, context: Context) -> None:
    if draft.before is None or draft.after is None:
        return
    stopped = "auto-stop" in _steps(draft.before) and "auto-stop" not in _steps(draft.after)
    users = sorted(_users(draft.after, context.after))
    if stopped:
        _stops_no_more(draft, ", ".join(users) or "what uses it")
    if users and draft.action is Action.UPDATED:
        window = any(each.type == _ROLLOUT for each in context.after.stacks[draft.after.stack].resources.values())
        how = (
            "the maintenance window restarts what runs, which ends kernels"
            if window
            else "what runs goes on with the old"
        )
        draft.say(Severity.NOTICE, f"It reaches {', '.join(users)} at the next start; {how}.")


def _steps(config: Resource) -> set[str]:
    text = "\n".join(as_text(config.properties.get(hook, "")) for hook in ("OnCreate", "OnStart"))
    return {name.strip() for found in _STEPS.findall(text.replace("\\n", "\n")) for name in found.split(",")}


def _users(config: Resource, assembly: Assembly) -> list[str]:
    """The instances with a lifecycle config, as people call them in the account."""
    return [
        as_text(each.properties.get("NotebookInstanceName", each.path))
        for each in assembly.stacks[config.stack].resources.values()
        if each.type == "AWS::SageMaker::NotebookInstance"
        and any(
            reference.logical_id == config.logical_id
            for reference in references(each.properties.get("LifecycleConfigName"))
        )
    ]


def _domain(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, "Nobody can open Studio any more; what runs there ends.")
    elif draft.is_replaced and draft.after is not None:
        draft.interrupt(Severity.DANGER, "People find an empty Studio: their spaces were in the old domain.")
        if any(each.type == RESIDUE for each in context.after.stacks[draft.after.stack].resources.values()):
            draft.fail(
                "the stack's own resource beside the domain refuses what would replace it, before"
                " anything is touched. Save what people have, deploy with `studio: null`, then put it back.",
            )
    elif draft.properties:
        _domain_network(draft)
        draft.say(Severity.NOTICE, "What its apps start with changes with their next start; those that run go on.")


def _domain_network(draft: Draft) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateDomain.html"""
    access = draft.changed("AppNetworkAccessType")
    if access is not None or any(
        change.path.startswith("SubnetIds") and change.before is not None for change in draft.properties
    ):
        draft.say(Severity.WARNING, "The update is refused while an app of the domain runs: stop all of them first.")
    if access is not None and access.before == "VpcOnly":
        draft.say(Severity.WARNING, "Its apps reach the internet past your network, whatever that lets through.")


def _profile(draft: Draft, context: Context) -> None:
    who = as_text(draft.resource.properties.get("UserProfileName", draft.resource.path))
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, f"{who} can no longer open Studio; what {who} has running there ends.")
    elif draft.is_replaced:
        draft.interrupt(Severity.DANGER, f"{who} is thrown out of Studio, and finds nothing of what was there.")


def _space(draft: Draft, context: Context) -> None:
    name = as_text(draft.resource.properties.get("SpaceName", draft.resource.path))
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, f"What runs in space {name} ends, whoever works in it.")
    elif draft.is_replaced:
        draft.interrupt(Severity.DANGER, f"What runs in space {name} ends; the new one is empty.")


def _schedule(draft: Draft, context: Context) -> None:
    target = as_text((draft.resource.properties.get("Target") or {}).get("Arn", ""))
    off = (change := draft.changed("State")) and change.after == "DISABLED"
    if draft.action is not Action.DELETED and not off:
        return
    if target.endswith(":stopNotebookInstance"):
        what = "nothing stops the notebook at its hours any more; auto-stop, where it has that, is all that does"
    elif target.endswith(":startNotebookInstance"):
        what = "nothing starts the notebook at its hours any more"
    else:
        what = "what it started is started no more"
    draft.say(Severity.WARNING, f"{what[0].upper()}{what[1:]}.")


def _budget(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.say(
            Severity.WARNING, "Nobody is warned any more of what is spent, and nothing is stopped when it is too much."
        )
    elif draft.action is Action.UPDATED and (change := draft.changed("Budget.BudgetLimit.Amount")):
        draft.say(Severity.NOTICE, f"Its limit goes from {as_text(change.before)} to {as_text(change.after)} USD.")


def _flow_log(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.say(Severity.WARNING, "Who connects to what is recorded no more.")


def _way_out(draft: Draft, context: Context) -> None:
    if draft.action in (Action.DELETED, Action.REPLACED):
        gone = draft.action is Action.DELETED
        draft.interrupt(
            Severity.DANGER if gone else Severity.WARNING,
            "What is behind it reaches the internet no more: repositories, packages; a notebook that clones from there does not"
            " start."
            if gone
            else "What is behind it cannot reach the internet while it is gone.",
        )


WORKBENCH: Mapping[str, Callable[[Draft, Context], None]] = {
    "AWS::Budgets::Budget": _budget,
    "AWS::EC2::FlowLog": _flow_log,
    "AWS::EC2::NatGateway": _way_out,
    "AWS::SageMaker::Domain": _domain,
    "AWS::SageMaker::NotebookInstance": _notebook,
    "AWS::SageMaker::NotebookInstanceLifecycleConfig": _lifecycle_config,
    "AWS::SageMaker::Space": _space,
    "AWS::SageMaker::UserProfile": _profile,
    "AWS::Scheduler::Schedule": _schedule,
}
"""By type of resource."""
