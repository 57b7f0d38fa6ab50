"""The review in a terminal: what a person has to know before the next command, in about thirty lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagestack.review.render import bills, groups, words
from sagestack.review.results import EnvironmentReview, Review, Severity

if TYPE_CHECKING:
    from sagestack.cli.output import Output

_STYLES = {Severity.DANGER: "red", Severity.WARNING: "yellow", Severity.NOTICE: None}
_LINES = 26
_MET_AT_MOST = 3
_COUNTS_AT_MOST = 6
_LINE_LIMIT = 160
"""Characters of a line; a narrower terminal wraps it."""
_LOAD_LIMIT = 480
_NOTE_LIMIT = 320
_NOTES_AT_MOST = 2


def summary(review: Review, output: Output) -> None:
    """Says the verdict, why, each environment in a line, and the worst of what changes, with what to do next.

    Colours only repeat what the words say; Rich leaves them out where the output is no terminal or NO_COLOR is set.
    """
    tone = "bold red" if review.needs_a_human else "bold green"
    output.say(f"{words.verdict(review)}.", style=tone)
    output.say(_line(f"{words.side_name(review.head)} against {words.side_name(review.base)}"), style="dim")
    if warning := words.dirty_warning(review):
        output.say(_line(warning), style="yellow")
    used = 3
    for met in review.met[:_MET_AT_MOST]:
        places = groups.sentences(review, met.where)
        first = _bare(places[0]) if places else ""
        output.say(_line(f"  {met.condition}: {first}{_others(len(places))}"), style="red")
        used += 1
    if len(review.met) > _MET_AT_MOST:
        output.say(_line(f"  also met: {', '.join(met.condition for met in review.met[_MET_AT_MOST:])}"), style="red")
        used += 1
    if words.changes_nothing(review):
        output.say(words.explanation(review))
        return
    for environment in review.environments[:_COUNTS_AT_MOST]:
        output.say(_line(_environment(environment)))
        used += 1
    if len(review.environments) > _COUNTS_AT_MOST:
        output.say(f"  and {words.plural(len(review.environments) - _COUNTS_AT_MOST, 'environment')} more")
        used += 1
    used += _loads(review, output)
    # Of what is about one environment only that which stops its deployment; the page has the rest.
    notes = [(name, note) for name, note in words.notes(review) if name is None or words.fails(note)][:_NOTES_AT_MOST]
    _worst(review, output, _LINES - used - len(notes) - 3)
    for name, note in notes:
        text = f"Note: {f'{name}: ' if name else ''}{_bare(note)}"
        output.say(_line(text, _NOTE_LIMIT), style="yellow" if words.fails(note) else "dim")
    output.say(_next(review))


def _worst(review: Review, output: Output, room: int) -> None:
    changes = [
        (one.first.severity, f"{_names(one.environments)}: {words.headline(one.first)}{_because(one.first.reasons)}")
        for one in groups.changes(review)
    ]
    permissions = [
        (one.first.severity, f"{_names(one.environments)}: {_bare(one.first.sentence)}")
        for one in groups.permissions(review, "wider")
    ]
    findings = [
        (one.first.severity, f"{_names(one.environments)}: {one.first.rule}: {_bare(one.first.message)}")
        for one in groups.findings(review, words.is_open)
    ]
    order = list(Severity)
    said = sorted([*changes, *permissions, *findings], key=lambda one: order.index(one[0]))
    said = [one for one in said if one[0] != Severity.NOTICE] or said[:3]
    for severity, text in said[: max(room, 3)]:
        output.say(_line(f"  {words.SEVERITY_WORDS[severity]} in {text}"), style=_STYLES[severity])
    if len(said) > max(room, 3):
        output.say(f"  and {words.plural(len(said) - max(room, 3), 'more thing')} to look at")


def _environment(environment: EnvironmentReview) -> str:
    count, bill = words.counts(environment), bills.bill(environment)
    numbers = (
        (count.deleted, "deleted"),
        (count.replaced, "replaced"),
        (count.may_be_replaced, "may be replaced"),
        (count.updated, "updated"),
        (count.created, "created"),
    )
    parts = [f"{number} {word}" for number, word in numbers if number]
    parts += [words.plural(count.wider, "wider permission")] if count.wider else []
    parts += [words.plural(count.new_findings, "new finding")] if count.new_findings else []
    parts += [f"{words.money_change(bill.change)} a month"] if abs(bill.change) >= 0.005 else []
    parts += [words.plural(len(bill.newly_unknown), "unknown price")] if bill.newly_unknown else []
    state = " (new)" if environment.is_new else " (gone from the repository)" if environment.is_gone else ""
    return f"  {environment.environment}{state}: {', '.join(parts) or 'nothing changes'}"


def _loads(review: Review, output: Output) -> int:
    """Says what costs are computed for, where a cost changes; that it is in the environments' files, where they differ."""
    dearer = [one for one in review.environments if abs(one.cost_after.total - one.cost_before.total) >= 0.005]
    loads = bills.loads(review)
    if not dearer or not loads:
        return 0
    if len(loads) > 1:
        output.say("  Costs are at the load that each environment's file states.", style="dim")
    else:
        output.say(_line(f"  Costs are at this load: {loads[0][0]}", _LOAD_LIMIT), style="dim")
    return 1


def _next(review: Review) -> str:
    if review.needs_a_human:
        return "Next: open the page, and merge only when everything above is meant."
    return "Next: nothing that was asked about is met; the page has the details."


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _others(count: int) -> str:
    return f" (and {count - 1:,} more)" if count > 1 else ""


def _because(reasons: tuple[str, ...]) -> str:
    return f": {_bare(reasons[0])}" if reasons else ""


def _bare(text: str) -> str:
    """Without the marks of code, which a terminal does not show."""
    return "".join(part.text for part in words.spoken(text))


def _line(text: str, limit: int = _LINE_LIMIT) -> str:
    text = words.visible(text)
    return words.cut(f"{text[: len(text) - len(text.lstrip())]}{' '.join(text.split())}", limit)
