"""Which ways into and out of a network change: routes, endpoints of AWS's services, subnets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.property_values import is_on
from sagestack.review.intrinsics import as_text, references
from sagestack.review.results import Action, Severity

_EVERYWHERE = ("0.0.0.0/0", "::/0")


def _vpc_endpoint(draft: Draft, context: Context) -> None:
    if draft.action in (Action.DELETED, Action.REPLACED):
        draft.interrupt(
            Severity.DANGER if draft.action is Action.DELETED else Severity.WARNING,
            "What reaches AWS through it (jobs, notebooks, endpoints without internet) cannot while it is gone.",
        )
    elif (change := draft.changed("PrivateDnsEnabled")) and is_on(change.before) and not is_on(change.after):
        # https://docs.aws.amazon.com/vpc/latest/privatelink/interface-endpoints.html
        draft.interrupt(
            Severity.DANGER,
            "The service's own name leads to the internet again: what has no other way there (jobs, notebooks, endpoints) cannot"
            " reach it, and what has one goes round the endpoint.",
        )


def _route(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html"""
    destination = next(
        (
            as_text(draft.resource.properties[name])
            for name in ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
            if name in draft.resource.properties
        ),
        "somewhere",
    )
    if draft.action is Action.DELETED:
        goes_with_subnets = any(
            (table := context.drafts.get(f"{draft.resource.stack}/{each.logical_id} (deleted)")) is not None
            and table.action is Action.DELETED
            for each in references(draft.resource.properties.get("RouteTableId"))
        )
        if not goes_with_subnets:
            draft.interrupt(
                Severity.DANGER if destination in _EVERYWHERE else Severity.WARNING,
                f"What is in its subnets has no way to {destination} any more.",
            )
        return
    if draft.before is None or draft.after is None or draft.action is not Action.UPDATED:
        return
    old, new = (_is_open(each.properties, context, each.stack) for each in (draft.before, draft.after))
    if new and not old:
        draft.interrupt(
            Severity.WARNING, f"What is in its subnets has no way to {destination} without a public address."
        )
        draft.say(
            Severity.DANGER,
            f"Its subnets become public: {destination} is reached by an internet gateway, and what has a public address there"
            " can be reached from the internet, as far as its security groups let it.",
        )


def _is_open(properties: Mapping[str, object], context: Context, stack: str) -> bool:
    """Whether a route leads to an internet gateway."""
    gateway = properties.get("GatewayId")
    if isinstance(gateway, str):
        return gateway.startswith("igw-")
    return any(
        found is not None and found.type == "AWS::EC2::InternetGateway"
        for each in references(gateway)
        for found in (context.new(stack, each.logical_id), context.old(stack, each.logical_id))
    )


def _subnet(draft: Draft, context: Context) -> None:
    change = draft.changed("MapPublicIpOnLaunch")
    if draft.action is Action.UPDATED and change is not None and is_on(change.after):
        draft.say(Severity.WARNING, "What starts in it gets a public address from now on.")


NETWORK: Mapping[str, Callable[[Draft, Context], None]] = {
    "AWS::EC2::Route": _route,
    "AWS::EC2::Subnet": _subnet,
    "AWS::EC2::VPCEndpoint": _vpc_endpoint,
}
"""By type of resource."""
