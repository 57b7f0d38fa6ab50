"""The comment of a pull request: the same review, as much of it as fits, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sagestack.review.render import bills, groups, words
from sagestack.review.render import comment_entries as entries
from sagestack.review.render.comment_entries import Entry
from sagestack.review.render.escaping import code, plain, sentence
from sagestack.review.results import Review, Severity

MARKER = "<!-- sagestack-review -->"
"""The comment's first line, by which the next run finds it and replaces it; nobody sees it on the page."""
MARKER_WITHOUT_HTML = "[//]: # (sagestack-review)"
"""The same where HTML would be shown as text: the definition of a link that nothing uses."""
MARKERS = (MARKER, MARKER_WITHOUT_HTML)
LIMIT = 65_000
"""Below this many characters stays every comment. GitHub takes 65,536, Bitbucket not many more, GitLab a million."""
_SIGNS = {"human": "\U0001f6d1", "fine": "✅", "nothing": "\U0001f7f0"}
_MERMAID_LIMIT = 5_000
"""Above it GitLab (and Gitea) ask before they draw, and nobody can read it in a comment."""
_WHERE_AT_MOST = 5
_ENVIRONMENTS_AT_MOST = 40
_CONDITIONS_AT_MOST = 15
"""More cannot be asked about."""
_LEAST_DETAIL = 120
"""Characters that any detail takes."""


def shows_html(host: str) -> bool:
    """Whether a host of `delivery.yaml` shows HTML in comments; Bitbucket's Markdown takes none, and shows it as text."""
    return host != "bitbucket"


@dataclass(frozen=True)
class _Section:
    """Things of a kind, which are left out from the end when there is no room."""

    title: str
    entries: Sequence[Entry]
    is_folded: bool = False
    more: str = "more on the page"


def to_markdown(review: Review, *, limit: int = LIMIT, folding: bool = True) -> str:
    """A comment of fewer than `limit` characters, in the Markdown of GitHub and GitLab.

    Everything is named in a line first, the worst first; what room is left goes to the details, again the worst first. What does
    not fit is counted, and is on the page.

    Args:
        review: what to tell.
        limit: characters, counted as the hosts' databases and JavaScript do (UTF-16).
        folding: whether the host shows HTML's `<details>`. Bitbucket escapes all HTML: without it there are no folds, no
            details and no drawing, and the marker is a link reference that nobody sees.
    """
    head, sections, foot = _head(review, folding), _sections(review, folding), _foot(review)
    # The frames come first: with them, a reader knows of everything that is left out.
    room = limit - 1 - _size("\n\n".join([head, *(_framed(section, [], folding) for section in sections), foot]))
    room -= sum(_size(_left_out(section, 1_000_000_000)) + 4 for section in sections)
    parts = [head]
    for section, said in zip(sections, _chosen(sections, room, folding), strict=True):
        if said or any(entry.line for entry in section.entries):
            parts.append(_framed(section, said, folding))
    return "\n\n".join([*parts, foot]) + "\n"


def _chosen(sections: Sequence[_Section], room: int, folding: bool) -> list[list[str]]:
    """What of each section is said: lines as long as there is room, then details in their place as long as there is room."""
    said: list[dict[int, str]] = [{} for _ in sections]
    for section, texts in zip(sections, said, strict=True):
        for place, entry in enumerate(section.entries):
            size = _size(entry.line) + 2
            if entry.line and size > room:
                break
            if entry.line:
                texts[place] = entry.line
                room -= size
    for section, texts in zip(sections, said, strict=True):
        for place, entry in enumerate(section.entries):
            is_waiting = place in texts or not entry.line
            if not folding or entry.full is None or not is_waiting or room < _LEAST_DETAIL:
                continue
            full = entry.full()
            size = _size(full) + 2 - (_size(texts[place]) + 2 if place in texts else 0)
            if size <= room:
                texts[place] = full
                room -= size
    return [[texts[place] for place in sorted(texts)] for texts in said]


def _size(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _framed(section: _Section, said: Sequence[str], folding: bool) -> str:
    missing = len([entry for entry in section.entries if entry.line]) - len(said) if section.entries else 0
    body = [*said, *([_left_out(section, missing)] if missing > 0 else [])]
    if section.is_folded and folding:
        return "\n\n".join([f"<details><summary>{section.title}</summary>", *body, "</details>"])
    return "\n\n".join([f"### {section.title}", *body])


def _left_out(section: _Section, missing: int) -> str:
    return f"_{missing:,} {section.more}._"


def _head(review: Review, folding: bool) -> str:
    sign = "human" if review.needs_a_human else "nothing" if words.changes_nothing(review) else "fine"
    lines = [
        MARKER if folding else MARKER_WITHOUT_HTML,
        "",
        f"## {_SIGNS[sign]} {words.verdict(review)}",
        "",
        plain(words.explanation(review)),
        "",
        f"{code(words.side_name(review.head), 120)} against {code(words.side_name(review.base), 120)}",
    ]
    if warning := words.dirty_warning(review):
        lines += ["", f"⚠️ {plain(warning, 300)}"]
    for met in review.met[:_CONDITIONS_AT_MOST]:
        places = groups.sentences(review, met.where)
        more = len(places) - _WHERE_AT_MOST
        lines += ["", f"- **{code(met.condition, 80)}**"]
        lines += [f"  - {sentence(one, 200)}" for one in places[:_WHERE_AT_MOST]]
        lines += [f"  - and {more:,} more"] if more > 0 else []
    if review.environments and not words.changes_nothing(review):
        lines += ["", *_table(review)]
    notes = words.notes(review)
    for name, note in notes[:_WHERE_AT_MOST]:
        lines += ["", f"> {f'**{plain(name, 80)}:** ' if name else ''}{sentence(note, 400)}"]
    if len(notes) > _WHERE_AT_MOST:
        lines += ["", f"> {len(notes) - _WHERE_AT_MOST:,} more notes are on the page."]
    return "\n".join(lines)


def _table(review: Review) -> list[str]:
    rows = [
        "| Environment | Deleted | Replaced | Maybe replaced | Updated | Created | Wider permissions | New findings "
        "| Cost a month |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for environment in review.environments[:_ENVIRONMENTS_AT_MOST]:
        count, bill = words.counts(environment), bills.bill(environment)
        cells = [
            f"**{plain(environment.environment, 80)}**"
            + (" (new)" if environment.is_new else " (gone)" if environment.is_gone else ""),
            *(f"**{number}**" if number else "0" for number in (count.deleted, count.replaced, count.may_be_replaced)),
            *(str(number) for number in (count.updated, count.created)),
            *(f"**{number}**" if number else "0" for number in (count.wider, count.new_findings)),
            f"{plain(words.money(bill.after))} ({plain(words.money_change(bill.change))}{_unknown(bill)})",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    missing = len(review.environments) - _ENVIRONMENTS_AT_MOST
    return [*rows, "", f"{missing} more environments are on the page."] if missing > 0 else rows


def _unknown(bill: bills.Bill) -> str:
    return f", {words.plural(len(bill.newly_unknown), 'unknown price')}" if bill.newly_unknown else ""


def _sections(review: Review, folding: bool) -> list[_Section]:
    if words.changes_nothing(review):
        return []
    changes = groups.changes(review)
    wider, narrower = groups.permissions(review, "wider"), groups.permissions(review, "narrower")
    new = groups.findings(review, words.is_open)
    fixed = groups.findings(review, lambda finding: finding.state == "fixed")
    sections = []
    for severity in (Severity.DANGER, Severity.WARNING):
        those = [entries.change_entry(group) for group in changes if group.first.severity == severity]
        sections.append(_Section(f"{entries.DOTS[severity]} {words.SEVERITY_TITLES[severity]} ({len(those)})", those))
    grave = [one for one in wider if one.first.severity != Severity.NOTICE]
    harmless = [one for one in wider if one.first.severity == Severity.NOTICE]
    sections.append(
        _Section(
            f"\U0001f513 Allowed now that was not ({len(grave)})", [entries.permission_entry(one) for one in grave]
        )
    )
    sections.append(_Section("\U0001f4b5 Cost", entries.cost_entries(review)))
    sections.append(
        _Section(f"\U0001f4cf Rules newly broken ({len(new)})", [entries.finding_entry(one) for one in new])
    )
    if folding:
        drawings = [
            entries.drawing_entry(one)
            for one in groups.pictures(review)
            if 0 < len(one.first.mermaid) <= _MERMAID_LIMIT
        ]
        sections.append(_Section("Pictures", drawings, is_folded=True))
    routine = [entries.change_entry(group) for group in changes if group.first.severity == Severity.NOTICE]
    sections.append(_Section(f"Routine changes ({len(routine)})", routine, is_folded=True))
    sections.append(
        _Section(
            f"Routine permissions ({len(harmless)})",
            [entries.permission_entry(one) for one in harmless],
            is_folded=True,
        )
    )
    sections.append(
        _Section(
            f"No longer allowed ({len(narrower)})", [entries.permission_entry(one) for one in narrower], is_folded=True
        )
    )
    sections.append(
        _Section(f"Rules broken no more ({len(fixed)})", [entries.finding_entry(one) for one in fixed], is_folded=True)
    )
    return [section for section in sections if section.entries]


def _foot(review: Review) -> str:
    where = f"Prices of {plain(review.price_date, 40)}, from {plain(review.price_source, 200)}."
    return f"_Every value, drawing and accepted risk is on the page, review.html. {where}_"
