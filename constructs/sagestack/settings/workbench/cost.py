"""What keeps notebooks from costing more than they should: a report of what idles, and a budget that stops."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit, suggestion
from sagestack.settings.workbench.notebook import Schedule, TimeZone


def _email(address: str) -> str:
    # What AWS Budgets and SNS take, narrowed to what people have: a line break in it would be refused at deployment.
    if not re.fullmatch(r"[A-Za-z0-9._%+'-]+@([A-Za-z0-9](-*[A-Za-z0-9])*\.)+[A-Za-z]{2,}", address) or ".." in address:
        raise ValueError(f"{address!r} is no address of a mailbox (allowed: like ada@example.org)")
    return address


def _different(emails: list[str]) -> list[str]:
    lower = [email.lower() for email in emails]
    if twice := [email for place, email in enumerate(emails) if email.lower() in lower[:place]]:
        raise ValueError(f"{twice[0]!r} is there twice (allowed: each address once)")
    return emails


def _counts(counted: str) -> str:
    if counted not in ("workbench", "sagemaker") and not re.fullmatch(r"tag:.{1,128}", counted):
        raise ValueError(f"{counted!r} is nothing that can be counted (allowed: workbench, sagemaker, tag:KEY)")
    return counted


def _rising(percents: list[int]) -> list[int]:
    if percents != sorted(set(percents)):
        raise ValueError(f"{percents} must rise, each once (allowed: like [50, 80])")
    return percents


Email = Annotated[str, AfterValidator(_email), Allowed("like ada@example.org")]
Emails = Annotated[
    list[Email],
    # https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_NotificationWithSubscribers.html
    Field(min_length=1, max_length=10),
    AfterValidator(_different),
    Allowed("1 to 10 addresses, each of which confirms a subscription once"),
]
Percent = Annotated[int, Field(ge=1, le=1000), Allowed("a whole number of percent, 1 to 1000")]


class IdleReport(Settings):
    """A mail, on a schedule, that names what runs and is not used, and what nothing would ever stop."""

    schedule: Schedule = "cron(0 7 ? * MON-FRI *)"
    """Before people come: what was left running overnight is named while somebody can still do something about the day."""
    time_zone: TimeZone = "UTC"
    emails: Emails
    idle_hours: Annotated[int, Field(ge=1, le=168), Allowed("a whole number of hours, 1 to 168")] = 4
    """From when on something that nobody uses is named. Auto-stop is for minutes; this is for what has none."""
    says_when_nothing_idles: Annotated[bool, Allowed("true or false")] = False
    """Whether a mail comes all the same. Off: mails that say nothing are read by nobody, and then neither are the others."""


class Budget(Settings):
    """What the workbench may cost in a month; told before it is spent, and stopped when it is."""

    monthly_usd: Annotated[float, Field(ge=1, le=1e9), Allowed("US dollars a month, 1 or more")]
    emails: Emails
    counts: Annotated[
        str, AfterValidator(_counts), Allowed("workbench, sagemaker, or tag:KEY of the environment's tags")
    ] = "workbench"
    """Whose cost: of what carries the tag `sagestack:workbench`, as all of the workbench's stack does; of SageMaker in the
    whole account, which needs no tag; or of what carries one of the environment's own tags."""
    warn_at_percent: Annotated[
        list[Percent],
        Field(max_length=5),
        AfterValidator(_rising),
        Allowed("up to 5 percents that rise, like [50, 80]"),
    ] = [50, 80]
    forecast_at_percent: Annotated[Percent | None, Allowed("a whole number of percent, 1 to 1000, or null")] = 100
    """Warns when the month will end above it, as AWS reckons from five weeks of use on; null: no such warning."""
    stop_at_percent: Annotated[
        Percent | None, Allowed("a whole number of percent, 1 to 1000, or null: nothing is stopped")
    ] = 100
    stops_studio: Annotated[bool, Allowed("true or false")] = True
    """Whether running Studio applications are ended, too. What is in their spaces stays."""
    keeps_stopped: Annotated[bool, Allowed("true or false")] = True
    """Whether what was stopped is not started again, by schedules and by people, until the month ends or an operator lifts it.

    Otherwise the next morning's start schedule would go on spending.
    """

    @property
    def marks(self) -> bool:
        """Whether what it stopped is marked, so that nothing starts it."""
        return self.stop_at_percent is not None and self.keeps_stopped

    @model_validator(mode="after")
    def _warnings_come_first(self) -> Budget:
        stop = self.stop_at_percent
        late = [] if stop is None else [percent for percent in self.warn_at_percent if percent >= stop]
        if late:
            place = self.warn_at_percent.index(late[0])
            raise Misfit(
                (
                    ("warn_at_percent", place),
                    f"{late[0]} would warn when everything has been stopped already at {stop} (stop_at_percent); warn below it",
                )
            )
        if stop is None and not self.warn_at_percent and self.forecast_at_percent is None:
            raise ValueError(
                "neither warns nor stops; say warn_at_percent, forecast_at_percent or stop_at_percent, or leave the budget out"
            )
        return self


def check_counted(budget: Budget, tags: Mapping[str, str]) -> None:
    """Looks that cost is counted by a tag that is there.

    Args:
        budget: of the environment's workbench.
        tags: the environment's own.

    Raises:
        Misfit: it is counted by a tag that the environment does not have; at the key of the whole environment.
    """
    key = budget.counts.removeprefix("tag:")
    if budget.counts.startswith("tag:") and key not in tags:
        allowed = ", ".join([*(f"tag:{each}" for each in tags), "workbench", "sagemaker"])
        raise Misfit(
            (
                ("workbench", "budget", "counts"),
                f"{budget.counts!r} is no tag of the environment (allowed: {allowed}){suggestion(key, tags)}",
            )
        )
