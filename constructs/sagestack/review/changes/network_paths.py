"""Which ways into and out of a network change: routes, endpoints of AWS's services, subnets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.property_values import is_on
from sagestack.review.intrinsics import as_text, references
from sagestack.review.results import Action, Severity

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


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
        (as_text(draft.resource.properties[name]) for name in _DESTINATIONS if name in draft.resource.properties),
        "somewhere",
    )
    if draft.action is Action.DELETED:
        if not _goes_with_subnets(draft.resource, context):
            draft.interrupt(
                Severity.DANGER if destination in _EVERYWHERE else Severity.WARNING,
                f"What is in its subnets has no way to {destination} any more.",
            )
        return
    if draft.after is not None and _becomes_open(draft.before, draft.after, context):
        if draft.action is not Action.CREATED:
            draft.interrupt(
                Severity.WARNING, f"What is in its subnets has no way to {destination} without a public address."
            )
        draft.say(
            Severity.DANGER,
            f"Its subnets become public: {destination} is reached by an internet gateway, and what has a public address there"
            " can be reached from the internet, as far as its security groups let it.",
        )


def _goes_with_subnets(route: Resource, context: Context) -> bool:
    """Whether its table is deleted, and each subnet of it is too or gets another table."""
    tables = {each.logical_id for each in references(route.properties.get("RouteTableId"))}
    if not any(_is_deleted(route.stack, each, context) for each in tables):
        return False
    before, after = (_subnets(side, route.stack) for side in (context.before, context.after))
    return all(
        _is_deleted(route.stack, subnet, context) or subnet in {each for each, _ in after}
        for subnet, table in before
        if table in tables
    )


def _is_deleted(stack: str, logical_id: str | None, context: Context) -> bool:
    draft = context.drafts.get(f"{stack}/{logical_id} (deleted)")
    return draft is not None and draft.action is Action.DELETED


def _subnets(side: Assembly, stack: str) -> set[tuple[str | None, str | None]]:
    """The subnets and tables of a stack that belong together, by their logical ids."""
    return {
        (subnet.logical_id, table.logical_id)
        for each in (side.stacks[stack].resources.values() if stack in side.stacks else ())
        if each.type == "AWS::EC2::SubnetRouteTableAssociation"
        for subnet in references(each.properties.get("SubnetId"))
        for table in references(each.properties.get("RouteTableId"))
    }


def _becomes_open(old: Resource | None, new: Resource, context: Context) -> bool:
    """Whether a table that was there leads to an internet gateway where it did not: a new table has no subnets yet."""
    if not _is_open(new.properties, context, new.stack):
        return False
    table = new.properties.get("RouteTableId")
    if old is not None and old.properties.get("RouteTableId") == table:
        return not _is_open(old.properties, context, old.stack)
    was_there = isinstance(table, str) or any(context.old(new.stack, each.logical_id) for each in references(table))
    before = context.before.stacks.get(new.stack)
    return was_there and not any(
        each.type == new.type
        and all(each.properties.get(name) == new.properties.get(name) for name in ("RouteTableId", *_DESTINATIONS))
        and _is_open(each.properties, context, each.stack)
        for each in (before.resources.values() if before is not None else ())
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
