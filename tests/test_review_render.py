"""How a review looks: the page, the comment, the document and the terminal say the same, and no value breaks out of them."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from rich.console import Console
from sagestack.cli.output import Output
from sagestack.review.render import diffs, escaping, groups, values, words
from sagestack.review.render.document import to_json
from sagestack.review.render.drawings import drawn
from sagestack.review.render.html import to_html
from sagestack.review.render.markdown import LIMIT, MARKER, to_markdown
from sagestack.review.render.terminal import summary
from sagestack.review.results import (
    Action,
    CostEstimate,
    EnvironmentReview,
    PropertyChange,
    Review,
    RuleFinding,
    Severity,
)

from tests import review_reports
from tests.review_reports import HOSTILE, HOSTILE_SVG

SAMPLES: dict[str, Callable[[], Review]] = {
    "rich": review_reports.rich,
    "empty": review_reports.empty,
    "harmless": review_reports.harmless,
    "monster": review_reports.monster,
    "hostile": review_reports.hostile,
}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    # The monster's page is looked at in a browser: here its size alone would be tested.
    return {name: to_html(sample()) for name, sample in SAMPLES.items() if name != "monster"}


@pytest.fixture(scope="module")
def comments() -> dict[str, str]:
    return {name: to_markdown(sample()) for name, sample in SAMPLES.items()}


class Outline(HTMLParser):
    """Tags, attributes and text of a page, as a browser's parser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


# --- The page -------------------------------------------------------------------------------------------------


def test_the_page_says_the_verdict_first_and_the_most_dangerous_change_before_the_others(pages: dict[str, str]) -> None:
    text = Outline(pages["rich"]).text
    order = ["A human should look at this", "replacement-with-data", "Dangerous", "Worth a question", "Routine"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


def test_the_page_names_everything_that_a_reviewer_needs(pages: dict[str, str]) -> None:
    text = Outline(pages["rich"]).text
    for said in (
        "stacks/foundation.py:48",
        "data lost",
        "Without a roll-back alarm, a bad model takes all of the traffic and stays.",
        "new wildcard",
        "Everybody may read every object of the bucket",
        "no price is known for",
        "Prices of 2026-11-01, from the AWS price list API.",
        "has no resource; the condition limits it",
        "Files that are not committed are part of the working tree.",
        "Two changes of one endpoint are deployed one after the other.",
        "data-loss",
    ):
        assert said in text, said


def test_a_review_without_changes_says_so_plainly_and_shows_no_filters(pages: dict[str, str]) -> None:
    page = pages["empty"]
    assert "Nothing changes" in page
    assert "both sides synthesize to the same resources" in page
    assert 'id="filters"' not in page


def test_the_page_loads_nothing_and_its_policy_names_its_own_style_and_script_only(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        outline = Outline(page)
        loads = [
            (tag, attribute, value)
            for tag, attribute, value in outline.attributes
            if attribute in ("src", "srcset", "data", "action", "background", "poster")
            or (attribute == "href" and tag == "link" and not str(value).startswith("data:"))
            or attribute.startswith("on")
            or attribute == "style"
        ]
        assert not loads, name
        policy = next(
            value
            for tag, attribute, value in outline.attributes
            if tag == "meta" and str(value).startswith("default-src")
        )
        assert policy is not None
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert outline.tags.count("script") == 1
        assert outline.tags.count("style") == 1


def test_hostile_values_stay_text_on_the_page(pages: dict[str, str]) -> None:
    page = pages["hostile"]
    outline = Outline(page)
    assert {"img", "iframe", "foreignobject", "animate", "image"}.isdisjoint(outline.tags)
    assert "<script>alert(1)</script> | " in outline.text
    links = [str(value) for tag, attribute, value in outline.attributes if tag == "a" and attribute == "href"]
    assert all(link.startswith("#") for link in links), links
    assert "{{ 7*7 }}" in outline.text


def test_characters_that_hide_are_written_out(pages: dict[str, str], comments: dict[str, str]) -> None:
    for text in (pages["hostile"], comments["hostile"]):
        assert not re.search("[\u202a-\u202e\x00\x1b]", text)
    assert "&lt;U+202E&gt;evil" in pages["hostile"]


def test_the_same_change_in_several_environments_is_on_the_page_once(pages: dict[str, str]) -> None:
    assert Outline(pages["rich"]).text.count("The bucket empties itself") == 1
    assert "all 3 environments" in pages["rich"]


def test_headings_go_down_one_level_at_a_time(pages: dict[str, str]) -> None:
    for page in pages.values():
        levels = [int(tag[1]) for tag in Outline(page).tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_ids_on_the_page_are_unique_with_several_drawings() -> None:
    review = review_reports.rich()
    environment = dataclasses.replace(
        review.environments[0],
        pictures=tuple(dataclasses.replace(review.environments[0].pictures[0], title=title) for title in "ab"),
    )
    outline = Outline(to_html(dataclasses.replace(review, environments=(environment,))))
    ids = [value for _, attribute, value in outline.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))


def test_the_page_is_the_same_for_the_same_review(pages: dict[str, str]) -> None:
    assert to_html(review_reports.rich()) == pages["rich"]


def test_an_installed_package_carries_the_templates_and_the_schema() -> None:
    folder = resources.files("sagestack.review.render")
    for name in ("page.html.j2", "parts.html.j2", "page.css", "page.js"):
        assert folder.joinpath("templates", name).is_file()
    assert folder.joinpath("review.schema.json").is_file()


# --- Drawings ---------------------------------------------------------------------------------------------------


def test_a_drawing_keeps_what_it_draws_and_loses_what_acts() -> None:
    drawing = drawn(HOSTILE_SVG, "p-")
    assert drawing is not None
    assert "kept" in drawing
    for bad in (
        "<script",
        "onload",
        "onclick",
        'javascript:alert(1)"',
        "evil.example",
        "<style",
        "style=",
        "foreignObject",
        "href",
    ):
        assert bad not in drawing.replace("&lt;", ""), bad


def test_a_drawing_takes_the_colours_of_the_page() -> None:
    assert 'fill="var(--paper, #fff)"' in str(drawn(review_reports.SVG, "p-"))


@pytest.mark.parametrize(
    "svg",
    [None, "", "no drawing", "<svg", "<html><svg/></html", '<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>&a;</svg>'],
    ids=["none", "empty", "text", "broken", "not-closed", "entities"],
)  # fmt: skip
def test_what_is_no_drawing_is_left_out(svg: str | None) -> None:
    assert drawn(svg, "p-") is None


# --- Groups -----------------------------------------------------------------------------------------------------


def test_environments_that_differ_in_more_than_their_names_are_kept_apart() -> None:
    review = review_reports.rich()
    prod = review.environments[2]
    other = dataclasses.replace(prod.changes[1], properties=(PropertyChange("InstanceType", "a", "b", "yes"),))
    changed = dataclasses.replace(prod, changes=(other,))
    gathered = groups.changes(dataclasses.replace(review, environments=(*review.environments[:2], changed)))
    assert [group.environments for group in gathered if group.first.resource.path == "Endpoint/Config"] == [
        ("dev", "staging"),
        ("prod",),
    ]


def test_a_name_of_an_environment_within_another_word_is_left_alone() -> None:
    one, other = (review_reports.resource(name, "x", "AWS::S3::Bucket", "B") for name in ("dev", "prod"))
    review = Review(
        review_reports.BASE,
        review_reports.HEAD,
        tuple(
            EnvironmentReview(
                r.environment,
                review_reports.ACCOUNTS[r.environment],
                "eu-west-1",
                (
                    review_reports.changed(
                        r, Action.UPDATED, Severity.NOTICE, PropertyChange("Tag", "old", f"{r.environment}eloper")
                    ),
                ),
            )
            for r in (one, other)
        ),
        "",
        "",
    )
    assert len(groups.changes(review)) == 2


def test_a_condition_says_once_what_is_met_alike_in_several_environments() -> None:
    review = review_reports.rich()
    said = [f"{name}: Data of sagestack-{name}-x is lost" for name in ("dev", "prod")]
    assert groups.sentences(review, [*said, "dev: Only here", "Without an environment: so"]) == [
        "dev and prod: Data of sagestack-dev-x is lost",
        "dev: Only here",
        "Without an environment: so",
    ]


def test_two_equal_findings_of_one_environment_stay_two() -> None:
    finding = RuleFinding("cfn-lint", "W1", "sagestack-dev-x", None, Severity.WARNING, "Twice.")
    environment = EnvironmentReview("dev", "1", "r", findings=(finding, finding))
    review = Review(review_reports.BASE, review_reports.HEAD, (environment,), "", "")
    assert len(groups.findings(review, words.is_open)) == 2


# --- Values and differences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"Ref": "Key"}, "${Key}"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "${Bucket.Arn}"),
        ({"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3"]]}, "arn:${AWS::Partition}:s3"),
        ({"Fn::Sub": "a-${B}"}, "a-${B}"),
        ({"Fn::If": ["C", 1, 2]}, '{"Fn::If": ["C", 1, 2]}'),
        (True, "true"),
        ("", ""),
    ],
    ids=["ref", "getatt", "join", "sub", "if", "boolean", "empty"],
)
def test_references_read_as_text(value: Any, text: str) -> None:
    assert values.as_text(value) == text


def test_a_short_change_marks_the_words_that_differ() -> None:
    diff = diffs.compared(PropertyChange("InstanceType", "ml.m5.large", "ml.m5.xlarge", "yes"))
    assert diff.before is not None
    assert diff.after is not None
    assert [piece.text for piece in diff.before if piece.is_changed] == ["large"]
    assert [piece.text for piece in diff.after if piece.is_changed] == ["xlarge"]


def test_a_document_in_a_text_is_compared_by_lines() -> None:
    before, after = ({"Steps": [{"Name": "train", "Arguments": {"eta": eta, "rounds": 100}}]} for eta in (0.3, 0.1))
    diff = diffs.compared(PropertyChange("Definition", json.dumps(before), json.dumps(after)))
    assert [line.text.strip() for line in diff.lines if line.sign in "+-"] == ['"eta": 0.3,', '"eta": 0.1,']


@pytest.mark.parametrize("size", [5_000, 200_000])
def test_long_values_are_compared_by_their_ends(size: int) -> None:
    diff = diffs.compared(PropertyChange("Long", "x " * size, "x " * size + "y"))
    assert diff.after is not None
    assert diff.after[-1] == diffs.Piece("y", True)
    assert diff.is_long


def test_what_was_not_there_is_told_from_what_is_empty() -> None:
    assert diffs.compared(PropertyChange("A", None, "")).before is None
    assert diffs.compared(PropertyChange("A", "", "b")).before == (diffs.Piece("", True),)


# --- The comment ------------------------------------------------------------------------------------------------


def test_every_comment_fits(comments: dict[str, str]) -> None:
    for name, comment in comments.items():
        assert len(comment.encode("utf-16-le")) // 2 < LIMIT, name
    assert len(comments["monster"]) > LIMIT * 0.9, "it uses the room that it has"


@pytest.mark.parametrize("limit", [4_000, 9_000, 20_000])
def test_a_comment_fits_into_less(limit: int) -> None:
    assert len(to_markdown(review_reports.rich(), limit=limit).encode("utf-16-le")) // 2 < limit


def test_a_comment_says_how_much_it_leaves_out_and_leaves_out_routine_first(comments: dict[str, str]) -> None:
    monster = comments["monster"]
    dangers = len([g for g in groups.changes(review_reports.monster()) if g.first.severity == Severity.DANGER])
    worst = monster[monster.index("Dangerous") : monster.index("Worth a question")]
    assert worst.count("\n- **") == dangers
    assert re.search(r"_[\d,]+ more on the page\._", monster)


def test_a_comment_can_be_found_and_replaced(comments: dict[str, str]) -> None:
    assert all(comment.startswith(f"{MARKER}\n") for comment in comments.values())


def test_a_comment_has_the_drawing_of_what_changes_where_it_is_small(comments: dict[str, str]) -> None:
    assert "```mermaid\nflowchart LR" in comments["rich"]
    assert "```mermaid" not in comments["monster"]


def test_folds_of_a_comment_are_closed(comments: dict[str, str]) -> None:
    for comment in comments.values():
        outside = re.sub(r"^\s*(`{3,})\w*\n.*?^\s*\1$", "", comment, flags=re.MULTILINE | re.DOTALL)
        outside = re.sub(r"(`+)[^`]?.*?\1", "", outside)
        assert outside.count("<details>") == outside.count("</details>")


def test_hostile_values_stay_text_in_a_comment(comments: dict[str, str]) -> None:
    outside = re.sub(r"^\s*(`{3,})\w*\n.*?^\s*\1$", "", comments["hostile"], flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"(?<!`)(`+)(?!`)(?:.*?[^`])\1(?!`)", "", outside)
    tags = set(re.findall(r"(?<!\\)<(/?\w+|!--)", outside))
    assert tags <= {"details", "/details", "summary", "/summary", "!--"}, tags
    assert "@everyone" not in outside
    assert not re.search(r"(?<!\\)\[link\]\(", outside)
    table = [line for line in outside.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_without_folds_a_comment_has_no_html() -> None:
    for sample in (review_reports.rich, review_reports.monster):
        comment = to_markdown(sample(), folding=False)
        assert "<" not in re.sub(r"`[^`]*`", "", comment)
        assert comment.startswith("[//]: # (sagestack-review)\n")


@pytest.mark.parametrize("text", ["a`b", "``", "`", "a``b`c", "plain"], ids=["one", "two", "alone", "mixed", "none"])
def test_a_code_span_holds_any_backticks(text: str) -> None:
    span = escaping.code(text)
    fence = re.match("`+", span)
    assert fence is not None
    assert span.endswith(fence[0])
    assert fence[0] not in re.findall("`+", text)


@pytest.mark.parametrize("text", ["- item", "1. item", "# title", "= line", "+ item"])
def test_a_sentence_does_not_begin_a_list_or_a_heading(text: str) -> None:
    assert "\\" in escaping.plain(text)[:2]


# --- The document -----------------------------------------------------------------------------------------------


def _strict(schema: Any) -> Any:
    """The schema that knows every key: readers may get more keys, but not from us without a word."""
    if isinstance(schema, dict):
        closed = {key: _strict(value) for key, value in schema.items()}
        return closed | {"additionalProperties": False} if schema.get("type") == "object" else closed
    return [_strict(one) for one in schema] if isinstance(schema, list) else schema


def test_the_document_is_as_its_schema_says() -> None:
    schema = json.loads(resources.files("sagestack.review.render").joinpath("review.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(_strict(schema))
    for sample in (review_reports.rich, review_reports.empty, review_reports.hostile):
        validator.validate(json.loads(json.dumps(to_json(sample()))))


def test_the_document_is_the_same_for_the_same_review() -> None:
    assert json.dumps(to_json(review_reports.rich())) == json.dumps(to_json(review_reports.rich()))


def test_the_document_keeps_raw_values() -> None:
    change = to_json(review_reports.hostile())["environments"][0]["changes"][0]
    assert change["properties"][0]["before"] == HOSTILE


# --- The terminal -----------------------------------------------------------------------------------------------


def shown(review: Review, width: int = 100, *, is_terminal: bool = False) -> str:
    output = Output()
    screen = io.StringIO()
    output.console = Console(file=screen, width=width, force_terminal=is_terminal, highlight=False, emoji=False)
    summary(review, output)
    return screen.getvalue()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_summary_is_short_and_ends_with_what_to_do(name: str) -> None:
    lines = shown(SAMPLES[name](), width=170).splitlines()
    assert len(lines) <= 30
    assert lines[-1].startswith("Next: ") or name == "empty"


def test_the_summary_says_the_worst_first() -> None:
    text = shown(review_reports.rich())
    places = [
        text.index(word)
        for word in ("A human should", "replacement-with-data", "prod: 1 deleted", "S3 Bucket Data replaced", "warning")
    ]
    assert places == sorted(places)


def test_a_narrow_terminal_and_one_without_colours_show_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    narrow = shown(review_reports.rich(), width=40, is_terminal=True)
    assert max(len(line) for line in re.sub("\x1b\\[[0-9;]*m", "", narrow).splitlines()) <= 40
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", narrow)
    assert "replacement-with-data" in narrow


FAILING = "The deployment of sagestack-prod-foundation fails: it takes back an export."


def with_a_failing_deployment() -> Review:
    review = review_reports.rich()
    first, *others = review.environments
    noted = dataclasses.replace(first, notes=(*first.notes, FAILING))
    return dataclasses.replace(review, notes=("One thing.", "Another.", "A third."), environments=(noted, *others))


@pytest.mark.parametrize("told", [to_markdown, lambda review: shown(review, width=400)], ids=["comment", "terminal"])
def test_a_deployment_that_fails_is_noted_before_everything_else(told: Callable[[Review], str]) -> None:
    text = told(with_a_failing_deployment())
    assert 0 < text.index("it takes back an export") < text.index("One thing.")


def test_a_page_folds_no_failing_deployment_away() -> None:
    review = review_reports.rich()
    first, *others = review.environments
    noted = dataclasses.replace(first, notes=("One.", "Two.", "Three.", "Four.", FAILING))
    page = to_html(dataclasses.replace(review, environments=(noted, *others)))
    (callout,) = re.findall(r'<p class="callout (\w+)"><span>[^\n]*it takes back an export', page)
    assert callout == "warning"
    assert page.index("it takes back an export") < page.index("One.") < page.index(f"2 more about {first.environment}")


def test_a_price_that_got_lost_stands_beside_what_seems_to_be_saved() -> None:
    review = review_reports.rich()
    first, *others = review.environments
    line = dataclasses.replace(first.cost_before.lines[0], what="2 x ml.new.large", usd_per_month=None)
    cheaper = dataclasses.replace(first, cost_after=CostEstimate((line,)))
    changed = dataclasses.replace(review, environments=(cheaper, *others))
    assert "1 unknown price" in to_markdown(changed)
    assert "1 unknown price" in to_html(changed)


def test_a_value_cannot_speak_to_the_terminal() -> None:
    assert "\x1b" not in shown(review_reports.hostile())
    assert "<U+202E>evil" in shown(review_reports.hostile(), width=400)


def test_every_format_gives_the_same_verdict(pages: dict[str, str], comments: dict[str, str]) -> None:
    for name in ("rich", "empty", "harmless"):
        review = SAMPLES[name]()
        verdict = words.verdict(review)
        assert verdict in pages[name]
        assert verdict in comments[name]
        assert verdict in shown(review)
        assert to_json(review)["verdict"]["sentence"] == verdict
