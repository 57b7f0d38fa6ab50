"""A person's way into a notebook instance, in a real browser: the presigned URL opens JupyterLab, and a cell computes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_cloud.notebook_runtime.process_runtime import ProcessInstance, ProcessRuntime
from tests.notebook_instances import Printed, instance_spec
from tests.test_review_page import ARGUMENTS, CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NOTEBOOK = """\
{"cells": [{"cell_type": "code", "id": "one", "execution_count": null, "metadata": {}, "outputs": [],
            "source": ["import boto3\\n", "print(6 * 7, boto3.Session().get_credentials().access_key)"]}],
 "metadata": {"kernelspec": {"display_name": "conda_python3", "language": "python", "name": "conda_python3"}},
 "nbformat": 4, "nbformat_minor": 5}
"""
FIRST_PAGE_MS = 90_000
"""JupyterLab's first page is megabytes of JavaScript, and the machine may be busy."""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessInstance]:
    folder = tmp_path_factory.mktemp("instance")
    runtime = ProcessRuntime(folder / "state")
    instance = runtime.start(instance_spec(folder, Printed()))
    repository = folder / "volume" / "analysis"
    repository.mkdir()
    (repository / "explore.ipynb").write_text(NOTEBOOK)
    instance.start_jupyter("analysis")
    yield instance
    runtime.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(FIRST_PAGE_MS)
    yield context
    context.close()


def presigned(instance: ProcessInstance) -> str:
    return instance.authorize(secrets.token_urlsafe(32), time.time() + 300, 1800)


def test_the_presigned_url_opens_jupyterlab_and_a_cell_computes(
    instance: ProcessInstance, context: BrowserContext, tmp_path: Path
) -> None:
    page = context.new_page()
    elsewhere: list[str] = []
    url = presigned(instance)
    base = url.partition("?")[0]
    page.on(
        "request",
        lambda request: None if request.url.startswith((base, "data:", "blob:")) else elsewhere.append(request.url),
    )
    page.goto(url)
    page.wait_for_selector("#jp-main-dock-panel")
    assert "authToken" not in page.url
    assert page.url.endswith("/lab/tree/analysis")
    page.get_by_text("explore.ipynb").first.dblclick()
    page.wait_for_selector(".jp-CodeCell .cm-content")
    # Only when the kernel answers: JupyterLab forgets a cell that is run before.
    page.get_by_text("conda_python3 | Idle").wait_for()
    page.click(".jp-CodeCell .cm-content")
    page.keyboard.press("Shift+Enter")
    output = page.wait_for_selector(".jp-OutputArea-output pre")
    assert output is not None
    assert output.inner_text().strip() == "42 ASIAEXAMPLE"
    # Nothing asks to subscribe to news, and nothing goes to the internet.
    assert page.locator(".jp-toast-message, .Toastify__toast").count() == 0
    assert elsewhere == []


def test_whoever_has_no_url_is_told_what_to_do(instance: ProcessInstance, context: BrowserContext) -> None:
    used = presigned(instance)
    assert context.request.get(used).status == 200
    stranger = context.browser.new_context() if context.browser else context
    page = stranger.new_page()
    answer = page.goto(used)
    assert answer is not None
    assert answer.status == 403
    assert page.locator("h1").inner_text() == "This notebook instance asks for a new URL"
    assert "sagestack notebook open" in page.locator("main").inner_text()
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    stranger.close()
