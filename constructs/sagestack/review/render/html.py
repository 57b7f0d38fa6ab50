"""The page: one file that needs no network, reads well on a phone and on paper, and says the worst first."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata, resources
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup

from sagestack.review.render import bills, diffs, drawings, groups, values, words
from sagestack.review.render.groups import Group
from sagestack.review.results import Action, PermissionFlag, Picture, ResourceChange, Review, Severity

_OPEN_AT_MOST = 6
"""So many warnings are readable opened; more of them are a list to choose from."""
_PERMISSION_FLAGS = tuple(PermissionFlag)


def to_html(review: Review) -> str:
    """The review as one self-contained HTML page.

    Every value is escaped, control and direction characters are made visible, drawings are reduced to what only draws, and a
    content security policy in the page names its one style sheet and its one script by hash and forbids everything else,
    so that nothing in a template's values can load, run or send anything.
    """
    style, script = _asset("page.css"), _asset("page.js")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            review=review,
            style=Markup(style),  # noqa: S704  a file of this package
            script=Markup(script),  # noqa: S704
            policy=_policy(style, script),
            verdict=words.verdict(review),
            explanation=words.explanation(review),
            met=[(met, groups.sentences(review, met.where)) for met in review.met],
            tone=_tone(review),
            is_unchanged=words.changes_nothing(review),
            counts={environment.environment: words.counts(environment) for environment in review.environments},
            changes=_by_severity(review),
            wider=groups.permissions(review, "wider"),
            narrower=groups.permissions(review, "narrower"),
            bills=[bills.bill(environment) for environment in review.environments],
            loads=bills.loads(review),
            new=groups.findings(review, words.is_open),
            accepted=groups.findings(review, lambda finding: finding.accepted is not None and finding.state != "fixed"),
            old=groups.findings(review, lambda finding: finding.accepted is None and finding.state == "old"),
            fixed=groups.findings(review, lambda finding: finding.state == "fixed"),
            pictures=_drawn(groups.pictures(review)),
            version=metadata.version("sagestack"),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=_Package(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: words.visible(value) if type(value) is str else value,
    )
    environment.globals |= {
        "Action": Action,
        "Severity": Severity,
        "words": words,
        "open_at_most": _OPEN_AT_MOST,
        "by_stack": _by_stack,
        "stack_pattern": _stack_pattern,
    }
    environment.filters |= {
        "spoken": words.spoken,
        "type_name": words.type_name,
        "listed": words.listed,
        "money": words.money,
        "money_change": words.money_change,
        "compared": diffs.compared,
        "definition": values.as_text,
        "flags": lambda flags: [flag for flag in _PERMISSION_FLAGS if flag in flags],
        "slug": lambda text: str(text).replace(" ", "-"),
    }
    return environment


class _Package(BaseLoader):
    """Reads the templates of this package, also from an installed one."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Any]:
        try:
            return _asset(template), template, lambda: True
        except FileNotFoundError as error:
            raise TemplateNotFound(template) from error


@cache
def _asset(name: str) -> str:
    return resources.files("sagestack.review.render").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may do: its own style and script, known by their hashes, and its icon, which is in it."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _tone(review: Review) -> str:
    if review.needs_a_human:
        return "danger"
    return "calm" if words.changes_nothing(review) else "good"


def _by_severity(review: Review) -> list[tuple[Severity, list[Group[ResourceChange]]]]:
    changes = groups.changes(review)
    return [
        (severity, those)
        for severity in words.SEVERITIES
        if (those := [group for group in changes if group.first.severity == severity])
    ]


def _drawn(pictures: Sequence[Group[Picture]]) -> list[tuple[Group[Picture], Markup | None]]:
    return [
        (group, drawings.drawn(group.first.svg, f"picture-{number}-")) for number, group in enumerate(pictures, start=1)
    ]


def _by_stack(changes: Sequence[Group[ResourceChange]]) -> list[tuple[str, list[Group[ResourceChange]]]]:
    """Many changes, in heaps of a readable size."""
    heaps: dict[str, list[Group[ResourceChange]]] = {}
    for group in changes:
        heaps.setdefault(_stack_pattern(group), []).append(group)
    return list(heaps.items())


def _stack_pattern(group: Group[Any]) -> str:
    """One name for the stack that every environment has: `sagestack-*-serving`."""
    environment, _ = group.members[0]
    return group.stacks[0].replace(f"-{environment.environment}-", "-*-")
