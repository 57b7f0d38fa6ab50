"""What is worth a mail of all that runs, and the mail: plain functions, for the scheduled report and for the command line.

Standard library only.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BY_THE_CLOCK = "hours, "
"""What `stopped_by` begins with where a schedule stops something, used or not."""
MOST = 200
"""How many a mail names. SNS takes 256 KB, of which this is half: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""


@dataclass(frozen=True)
class Running:
    """One thing that runs and costs by the hour.

    Attributes:
        kind: `notebook` or `Studio application`.
        name: as people call it.
        instance_type: whose price is asked; None where it is not known.
        since: when it began to run.
        last_used: when somebody, or a program, last did something there; None where nothing tells.
        owner: whose it is; None where nobody is named.
        stopped_by: what will stop it, in words (`auto-stop after 60 min`); empty where nothing does.
        is_kept: whether it is tagged to be left running.
        is_managed: whether the environment's file names it.
        stop_command: that stops it, without taking anything away.
    """

    kind: str
    name: str
    instance_type: str | None
    since: datetime.datetime
    last_used: datetime.datetime | None
    owner: str | None
    stopped_by: tuple[str, ...]
    is_kept: bool
    is_managed: bool
    stop_command: str


@dataclass(frozen=True)
class Prices:
    """What an hour of an instance type costs in one region.

    Attributes:
        usd_per_hour: by kind and instance type: `notebook ml.t3.medium`. What is not in it is said to be unknown.
        source: where they are from, and of when.
    """

    usd_per_hour: Mapping[str, float]
    source: str

    def of(self, running: Running) -> float | None:
        return self.usd_per_hour.get(f"{running.kind} {running.instance_type}")


@dataclass(frozen=True)
class Report:
    """A mail: its subject, and its text."""

    subject: str
    text: str


def reasons(running: Running, now: datetime.datetime, idle_after: datetime.timedelta) -> list[str]:
    """Why something is named; none where it is used, or has just been started, and something will stop it."""
    found = []
    age = now - running.since
    if running.last_used is not None and now - max(running.last_used, running.since) >= idle_after:
        found.append(
            f"not used for {span(now - running.last_used)}"
            if running.last_used > running.since
            else "not used since it was started"
        )
    if running.last_used is None and age >= idle_after:
        found.append("nothing tells whether it is used")
    if not running.stopped_by and not running.is_kept:
        found.append("nothing stops it")
    elif age >= datetime.timedelta(hours=24) + idle_after and _should_have_been_stopped(running, now, idle_after):
        found.append("it runs for more than a day although something should stop it")
    if not running.is_managed:
        found.append("no settings file names it: it was made by hand")
    return found


def _should_have_been_stopped(running: Running, now: datetime.datetime, idle_after: datetime.timedelta) -> bool:
    """Hours stop whatever happens there; what looks whether somebody works rightly leaves a training of two days alone."""
    if any(each.startswith(BY_THE_CLOCK) for each in running.stopped_by):
        return True
    is_used = running.last_used is not None and now - running.last_used < idle_after
    return bool(running.stopped_by) and not is_used


def report(
    everything: Sequence[Running],
    *,
    environment: str,
    now: datetime.datetime,
    idle_after: datetime.timedelta,
    prices: Prices,
    not_seen: Sequence[str] = (),
    says_nothing_idles: bool = False,
    most: int | None = MOST,
) -> Report | None:
    """The mail about all that runs; None where nothing is worth one.

    Args:
        everything: that runs.
        environment: its name.
        now: the time of the report.
        idle_after: how long something is unused until it is named.
        prices: of the region.
        not_seen: what could not be looked at, and why: never left out, for silence means that all is well.
        says_nothing_idles: whether to say so where nothing is.
        most: how many are named one by one, the dearest first; None for all.
    """
    named = [(each, why) for each in everything if (why := reasons(each, now, idle_after))]
    # What costs most first; what has no known price before that, since it may be worse.
    named.sort(key=lambda entry: (-_cost(entry[0], now, prices, unknown=float("inf")), entry[0].name))
    if not named and not not_seen and not says_nothing_idles:
        return None
    total = _count(len(everything), "running notebook", "running notebooks")
    idle = f"{len(named)} of {total} to look at" if named else "nothing idles"
    lines = [f"What runs in the workbench of {environment}, {now:%A, %d %B %Y, %H:%M} UTC", ""]
    if named:
        lines += [_sum(named, everything, now, prices), ""]
    else:
        lines += [f"{total}, and none of them idles." if everything else "Nothing runs.", ""]
    for each, why in named[:most]:
        lines += [*_entry(each, why, now, prices, environment), ""]
    if more := named[len(named[:most]) :]:
        cost = sum(_cost(each, now, prices, unknown=0) for each, _ in more)
        lines += [
            f"And {len(more)} more, which have cost ${cost:.2f} since they were started. All of them:",
            f"  sagestack notebook idle --env {environment}",
            "",
        ]
    if not_seen:
        lines += ["Could not be looked at:", *(f"  - {each}" for each in not_seen[:most])]
        lines += [f"  - and {len(not_seen) - most} more"] if most is not None and len(not_seen) > most else []
        lines.append("")
    lines.append(f"Prices: {prices.source}. Volumes, data and taxes come on top.")
    subject = (
        f"Sagestack: {idle} in {environment}" if named or not not_seen else f"Sagestack: {environment} not looked at"
    )
    return Report(subject[:100], "\n".join(lines) + "\n")


def _entry(running: Running, why: Sequence[str], now: datetime.datetime, prices: Prices, environment: str) -> list[str]:
    owner = f"owner {running.owner}" if running.owner else "no owner"
    lines = [f"{running.kind} {running.name} ({running.instance_type or 'instance type not known'}, {owner})"]
    lines.append(f"  runs for {span(now - running.since)}: {'; '.join(why)}")
    price = prices.of(running)
    if price is None:
        lines.append("  what it costs is not known: the price table has no such instance")
    else:
        lines.append(
            f"  costs ${price:.2f} an hour, ${_cost(running, now, prices, unknown=0):.2f} since it was started"
        )
    if running.stopped_by:
        lines.append(f"  will be stopped by: {', '.join(running.stopped_by)}")
    elif running.is_kept:
        lines.append("  is left running by its tag sagestack:keep")
    elif running.is_managed and running.kind == "notebook":
        lines.append(
            f"  so that something does: auto_stop in its lifecycle config, or hours, in environments/{environment}.yaml"
        )
    lines.append(f"  stop it: {running.stop_command}")
    return lines


def _sum(
    named: Sequence[tuple[Running, Sequence[str]]],
    everything: Sequence[Running],
    now: datetime.datetime,
    prices: Prices,
) -> str:
    total = sum(_cost(each, now, prices, unknown=0) for each, _ in named)
    unknown = sum(1 for each, _ in named if prices.of(each) is None)
    text = f"{len(named)} of {_count(len(everything), 'running notebook', 'running notebooks')} to look at."
    text += f" Since they were started they have cost ${total:.2f}"
    return text + (f", not counting {unknown} of unknown price." if unknown else ".")


def _cost(running: Running, now: datetime.datetime, prices: Prices, *, unknown: float) -> float:
    price = prices.of(running)
    return unknown if price is None else price * max(0.0, (now - running.since).total_seconds()) / 3600


def span(time: datetime.timedelta) -> str:
    """A length of time for people: `3 days 2 hours`, `40 minutes`."""
    minutes = max(0, int(time.total_seconds() // 60))
    days, hours = minutes // 1440, minutes % 1440 // 60
    if days:
        return _count(days, "day", "days") + (f" {_count(hours, 'hour', 'hours')}" if hours else "")
    return _count(hours, "hour", "hours") if hours else _count(minutes, "minute", "minutes")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
