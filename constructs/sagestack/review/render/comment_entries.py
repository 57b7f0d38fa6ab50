"""What the comment says of each thing: a line, and the details below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sagestack.review.render import bills, diffs, words
from sagestack.review.render.escaping import code, fenced, plain, sentence
from sagestack.review.render.groups import Group
from sagestack.review.results import (
    Action,
    PermissionChange,
    PermissionFlag,
    Picture,
    PropertyChange,
    ResourceChange,
    Review,
    RuleFinding,
    Severity,
)

DOTS = {Severity.DANGER: "\U0001f534", Severity.WARNING: "\U0001f7e0", Severity.NOTICE: "⚪"}
_PROPERTIES_AT_MOST = 12
_UNKNOWN_AT_MOST = 5
_VALUE_LIMIT = 300


@dataclass(frozen=True)
class Entry:
    """One thing to say: in a line, and in full where there is room. Without a line it comes only in full.

    What is full is made when it is asked for: to compare what nobody has room for would take seconds.
    """

    line: str
    full: Callable[[], str] | None = None


def _in(names: Sequence[str]) -> str:
    return f"_in {plain(words.listed(names), 200)}_"


def change_entry(group: Group[ResourceChange]) -> Entry:
    change = group.first
    badges = [f"**{words.DATA_WORDS[change.data]}**"] if change.data in words.DATA_WORDS else []
    badges += ["**interruption**"] if change.interruption else []
    name = f"**{change.action}** {plain(words.type_name(change.resource.type), 80)} {code(change.resource.path, 160)}"
    reason = f": {sentence(change.reasons[0], 300)}" if change.reasons else ""
    line = f"- {' · '.join([name, *badges])} {_in(group.environments)}{reason}"
    return Entry(line, lambda: f"{line}\n{_details(change)}")


def _details(change: ResourceChange) -> str:
    """What is folded below a change, within its item of the list."""
    details = [f"- {sentence(reason)}" for reason in change.reasons[1:6]]
    if change.interruption:
        details.insert(0, f"- **Interruption:** {sentence(change.interruption)}")
    if change.renamed_from and change.renamed_from not in " ".join(change.reasons):
        details.append(f"- Its logical id was {code(change.renamed_from, 160)}.")
    source = f", {code(change.resource.source, 160)}" if change.resource.source else ""
    details.append(f"- {code(change.resource.stack, 160)}{source}")
    parts = ["\n".join(details)]
    if change.properties and change.action is not Action.CREATED:
        parts.append(_diff(change.properties))
    body = "\n\n".join(["<details><summary>Details</summary>", *parts, "</details>"])
    return "\n".join(f"  {one}" if one else "" for one in body.split("\n"))


def _diff(changes: Sequence[PropertyChange]) -> str:
    lines = []
    for change in changes[:_PROPERTIES_AT_MOST]:
        diff = diffs.compared(change)
        note = {"yes": "  (replaces the resource)", "may": "  (may replace the resource)", "no": ""}[diff.replaces]
        lines.append(f"@@ {words.cut(words.visible(' '.join(diff.path.split())), 160)}{note} @@")
        if diff.lines:
            shown = [line for line in diff.lines if line.sign in "+-"]
            lines += [f"{line.sign} {words.cut(line.text, _VALUE_LIMIT)}" for line in shown[:20]]
            lines += [f"  ... {len(shown) - 20} more lines"] if len(shown) > 20 else []
            continue
        for sign, pieces in (("-", diff.before), ("+", diff.after)):
            if pieces is not None:
                lines.append(f"{sign} {words.cut(''.join(piece.text for piece in pieces), _VALUE_LIMIT)}")
    if len(changes) > _PROPERTIES_AT_MOST:
        lines.append(f"  ... {len(changes) - _PROPERTIES_AT_MOST} more properties")
    return fenced("\n".join(lines), "diff")


def permission_entry(group: Group[PermissionChange]) -> Entry:
    permission = group.first
    flags = [f"**{words.FLAG_WORDS[flag]}**" for flag in PermissionFlag if flag in permission.flags]
    levels = [plain(level, 40) for level in permission.access_levels[:6]]
    about = f" ({' · '.join([*flags, *levels])})" if flags or levels else ""
    dot = f"{DOTS[permission.severity]} " if permission.direction == "wider" else ""
    line = f"- {dot}{sentence(permission.sentence, 400)}{about} {_in(group.environments)}"
    return Entry(line)


def finding_entry(group: Group[RuleFinding]) -> Entry:
    finding = group.first
    where = f" {code(finding.resource.path, 160)}" if finding.resource else f" {code(finding.stack, 160)}"
    dot = "" if finding.state == "fixed" else f"{DOTS[finding.severity]} "
    line = f"- {dot}{code(finding.rule, 120)}{where}: {sentence(finding.message, 300)} {_in(group.environments)}"
    return Entry(line)


def cost_entries(review: Review) -> list[Entry]:
    entries = []
    for environment in review.environments:
        bill = bills.bill(environment)
        if not bill.changed:
            continue
        name = plain(environment.environment, 80)
        percent = words.percent_change(bill.before, bill.after)
        change = words.money_change(bill.change) + (f", {percent}" if percent else "")
        line = (
            f"- **{name}:** {plain(words.money(bill.before))} → {plain(words.money(bill.after))} a month ({plain(change)}); "
            f"idle {plain(words.money(environment.cost_after.idle))}, "
            f"under load {plain(words.money(environment.cost_after.load))}"
        )
        if bill.unknown:
            # Two steps of one pipeline are one name here; the page has each line.
            paths = list(dict.fromkeys(one.resource.path for one in bill.unknown))
            unknown = ", ".join(code(path, 100) for path in paths[:_UNKNOWN_AT_MOST])
            line += f"; no price is known for {unknown}{' and others' if len(paths) > _UNKNOWN_AT_MOST else ''}"
        rows = [
            f"  - {plain(one.line.what, 120)} ({code(one.resource.path, 120)}): {plain(words.money_change(one.change))}"
            for one in bill.changed[:10]
            if not one.is_unknown
        ]
        entries.append(Entry(line, partial("\n".join, [line, *rows])))
    if entries:
        loads = bills.loads(review)
        entries += [
            Entry(
                f"- Under load means{f' in {plain(words.listed(names), 200)}' if loads[1:] else ''}: {plain(load, 600)}"
            )
            for load, names in loads
        ]
    return entries


def drawing_entry(group: Group[Picture]) -> Entry:
    title = f"**{plain(group.first.title, 120)}** {_in(group.environments)}"
    return Entry("", lambda: f"{title}\n\n{fenced(words.visible(group.first.mermaid), 'mermaid')}")
