"""The page in a real browser: quiet, accessible, readable on a phone and on paper, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sagestack.review.render.html import to_html
from sagestack.settings import PROJECT_ROOT

from tests import review_reports

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = PROJECT_ROOT / "node_modules" / "axe-core" / "axe.min.js"
SAMPLES = ("rich", "empty", "harmless", "monster", "hostile")
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("pages")

    def file(sample: str) -> Path:
        path = folder / f"{sample}.html"
        if not path.exists():
            path.write_text(to_html(getattr(review_reports, sample)()), encoding="utf-8")
        return path

    return file


Open = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser, files: Callable[[str], Path]) -> Iterator[Open]:
    """Opens a sample, and afterwards insists that it asked for nothing and complained of nothing."""
    contexts, requests, complaints = [], [], []

    def open_(sample: str = "rich", *, width: int = 1200, **more: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        address = files(sample).as_uri()
        page.on("request", lambda request: None if request.url == address else requests.append(request.url))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [url for url in requests if not url.startswith("data:")] == []
    assert complaints == []


def overflow(page: Page) -> int:
    found: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_page_asks_for_nothing_and_complains_of_nothing(opened: Open, sample: str) -> None:
    page = opened(sample)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.title()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("sample", ["rich", "empty", "hostile"])
def test_axe_finds_nothing(opened: Open, sample: str, theme: str) -> None:
    page = opened(sample, color_scheme=theme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.click("#more-filters") if page.locator("#more-filters").count() else None
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [
        (one["id"], [node["target"] for node in one["nodes"]][:5], one["nodes"][0]["failureSummary"])
        for one in found["violations"]
    ] == []


@pytest.mark.parametrize("width", [320, 375, 768])
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_narrow_screen_never_scrolls_sideways(opened: Open, sample: str, width: int) -> None:
    page = opened(sample, width=width)
    if sample != "monster":
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.click("#more-filters") if page.locator("#more-filters").count() else None
    assert overflow(page) <= 0


def test_the_colours_follow_the_system_until_somebody_says_otherwise(opened: Open) -> None:
    page = opened(color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colour)
    assert dark != light
    page.click("#theme")
    assert page.evaluate(colour) == dark
    assert page.inner_text("#theme") == "Light"


def test_paper_shows_everything_in_dark_ink(opened: Open) -> None:
    from playwright.sync_api import expect

    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert not page.is_visible("#bar")
    # A drawing goes to the next sheet with its title, and nobody reads Mermaid on paper beside the drawing.
    assert page.evaluate("getComputedStyle(document.querySelector('.picture')).breakInside") == "avoid"
    assert not page.is_visible("text=As text (Mermaid)")
    page.emulate_media(media="screen")
    expect(page.locator("details:not([open])").first).to_be_attached()


def test_paper_shows_everything_without_javascript(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    page.emulate_media(media="print")
    # Of a fold that is closed on the screen.
    assert page.get_by_text("cloudwatch:PutMetricData").bounding_box()
    assert len(page.pdf()) > 20_000


def test_without_javascript_everything_is_there(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert not page.is_visible("#filters")
    assert not page.is_visible("#theme")
    assert page.is_visible("text=A human should look at this")
    card = page.locator("details.card", has_text="Endpoint/Config").first
    assert not card.get_by_text("ProductionVariants[0].InstanceType").is_visible()
    card.locator("summary").first.click()
    assert card.get_by_text("ProductionVariants[0].InstanceType").is_visible()


def test_the_keyboard_reaches_every_control_in_order(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        place = page.evaluate(
            """() => {
                const one = document.activeElement;
                if (one === document.body) return null;
                const style = getComputedStyle(one);
                return {id: one.id || one.tagName + one.textContent.slice(0, 40), outline: style.outlineStyle};
            }"""
        )
        if place is None:
            break
        assert place["outline"] != "none", place["id"]
        reached.add(place["id"])
    assert {"theme", "search", "more-filters", "open-all"} <= reached
    visible = page.evaluate(
        """[...document.querySelectorAll('summary, a[href], button, input, select, [tabindex="0"]')]
            .filter((one) => one.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true})
                && one.className !== 'skip').length"""
    )
    assert len(reached) >= visible * 0.9, (len(reached), visible)  # two may begin with the same words


def test_the_skip_link_leads_past_the_head(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_search_shows_what_matches_and_says_how_much(opened: Open) -> None:
    from playwright.sync_api import expect

    page = opened("monster")
    page.fill("#search", "Part17 ")
    expect(page.locator("#shown")).to_contain_text(" of ")
    shown = page.locator("[data-item]:visible")
    assert shown.count() > 0
    assert all("Part17" in text or "Role17" in text for text in shown.all_text_contents())
    page.fill("#search", "")
    expect(page.locator("#shown")).to_be_empty()


@pytest.mark.parametrize(
    ("filter_", "value", "attribute", "expected"),
    [
        ("#filter-environments", "dev", "environments", "dev"),
        ("#filter-severity", "danger", "severity", "danger"),
        ("#filter-stack", "sagestack-*-foundation", "stack", "sagestack-*-foundation"),
        ("#filter-type", "S3 Bucket", "type", "S3 Bucket"),
    ],
    ids=["environment", "severity", "stack", "type"],
)
def test_a_filter_leaves_only_what_it_names(
    opened: Open, filter_: str, value: str, attribute: str, expected: str
) -> None:
    from playwright.sync_api import expect

    page = opened()
    page.click("#more-filters")
    page.select_option(filter_, value)
    values = page.evaluate(
        f"[...document.querySelectorAll('[data-item]')].filter((one) => one.checkVisibility())"
        f".map((one) => one.dataset.{attribute})"
    )
    assert values
    assert all(expected in one for one in values)
    page.click("#reset")
    expect(page.locator("#shown")).to_be_empty()


def test_open_all_opens_all(opened: Open) -> None:
    page = opened()
    page.click("#open-all")
    assert page.evaluate("[...document.querySelectorAll('main details')].every((one) => one.open)")
    assert page.inner_text("#open-all") == "Close all"


def test_a_drawing_grows_and_fits(opened: Open) -> None:
    page = opened()
    width = "document.querySelector('.canvas svg').getBoundingClientRect().width"
    before = page.evaluate(width)
    page.click("text=Larger")
    assert page.evaluate(width) > before * 1.2
    page.click("text=Fit")
    assert page.evaluate(
        "document.querySelector('.canvas').scrollWidth <= document.querySelector('.canvas').clientWidth"
    )


def test_nothing_moves_for_who_does_not_want_it(opened: Open) -> None:
    page = opened(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_two_hundred_resources_are_there_at_once(opened: Open) -> None:
    page = opened("monster")
    took = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert took < 5_000
    assert page.locator("[data-item]").count() > 200
