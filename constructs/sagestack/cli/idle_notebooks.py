"""Asks what the scheduled idle report asks, now."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagestack.cli.errors import CliError
from sagestack.cli.hosted_repository import make_functions_importable

if TYPE_CHECKING:
    from sagestack.cli.session import Session


@dataclass(frozen=True)
class Found:
    """What runs, and what of it is worth a look."""

    text: str
    running: list[dict[str, Any]]
    not_seen: list[str]
    is_something: bool


def look(session: Session, hours: float | None) -> Found:
    """Everything that runs in the environment's workbench.

    Args:
        session: of the environment.
        hours: from when on something unused is named; None: as the environment's idle report.

    Raises:
        CliError: the environment has no workbench.
    """
    make_functions_importable()
    from functions.idle_report.looking import Workbench, look
    from functions.idle_report.report import Prices, reasons, report
    from sagestack.review.prices import load_prices
    from sagestack.settings.workbench import IdleReport
    from sagestack.workbench.running_notebooks import prices_of, stopped_by

    declared, names = session.environment.workbench, session.names
    if declared is None:
        raise CliError(
            f"Environment {session.environment.name!r} has no workbench.",
            hint="docs/how-to/work-in-a-notebook.md shows how to declare one.",
            code="not-found",
        )
    idle_hours = hours
    if idle_hours is None:
        idle_hours = (declared.idle_report or IdleReport(emails=["nobody@example.org"])).idle_hours
    now = datetime.datetime.now(datetime.UTC)
    studio = declared.studio
    seen = look(
        session.sagemaker,
        session.cloudwatch,
        Workbench(
            environment=names.environment,
            region=session.environment.region,
            notebook_prefix=names.notebook_instance(""),
            notebooks={name: stopped_by(each, declared.lifecycle_configs) for name, each in declared.notebooks.items()},
            studio_domain_id=_domain_id(session) if studio else None,
            studio_stopped_by=studio.stopped_by if studio else (),
        ),
        now,
    )
    known = prices_of(
        load_prices(), session.environment.region, declared.notebooks, studio.all_instance_types if studio else ()
    )
    prices = Prices(**known)
    idle_after = datetime.timedelta(hours=idle_hours)
    mail = report(
        seen.running,
        environment=names.environment,
        now=now,
        idle_after=idle_after,
        prices=prices,
        not_seen=seen.not_seen,
        says_nothing_idles=True,
        most=None,
    )
    assert mail is not None
    running = [
        {
            "kind": each.kind,
            "name": each.name,
            "instance_type": each.instance_type,
            "owner": each.owner,
            "since": each.since,
            "last_used": each.last_used,
            "stopped_by": list(each.stopped_by),
            "usd_per_hour": prices.of(each),
            "reasons": reasons(each, now, idle_after),
        }
        for each in seen.running
    ]
    return Found(mail.text, running, seen.not_seen, bool(seen.not_seen) or any(each["reasons"] for each in running))


def _domain_id(session: Session) -> str | None:
    """The Studio domain of the environment, which has its name; None while it is not deployed."""
    wanted = session.names.stack_prefix.rstrip("-")
    pages = session.sagemaker.get_paginator("list_domains").paginate()
    return next((each["DomainId"] for page in pages for each in page["Domains"] if each["DomainName"] == wanted), None)
