"""A person's way in a real browser: the presigned URL opens JupyterLab, and an example notebook runs there to its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.housing_runs import DATA
from tests.local_cloud_fixtures import ROOT, LocalCloud
from tests.test_review_page import ARGUMENTS, CHROMIUM
from tests.waiting import wait_for
from tests.workbench_stacks import NAMES, WorkbenchStacks

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

INSTANCE = NAMES.notebook_instance("explore")
WORKBENCH: dict[str, Any] = {
    "network": {"cidr": "10.42.0.0/22", "availability_zones": 1},
    "notebooks": {"explore": {"instance_type": "ml.t3.medium", "grants": {"models": ["housing"], "jobs": True}}},
}
SLOW_MS = 90_000
"""JupyterLab's first page is megabytes of JavaScript, a kernel imports pandas, and the machine may be busy."""


@pytest.fixture
def examples(own_cloud: LocalCloud, tmp_path: Path) -> Path:
    """The folder with the example notebooks on an instance beside the deployed housing model, which has its data."""
    stacks = WorkbenchStacks(own_cloud, tmp_path, models=("housing",))
    assert stacks.deploy(WORKBENCH) == ["CREATE_COMPLETE"] * 3
    bucket = own_cloud.client("ssm").get_parameter(Name=NAMES.data_bucket_parameter)["Parameter"]["Value"]
    own_cloud.client("s3").upload_file(str(DATA), bucket, f"{NAMES.model('housing').input_prefix}{DATA.name}")
    # What the lifecycle config's `examples` does, whose scripts a process cannot run.
    folder = own_cloud.state_dir / "notebooks" / INSTANCE / "volume" / "examples"
    shutil.copytree(ROOT / "notebooks/examples", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def page() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        # High enough for a whole notebook: JupyterLab draws the cells that can be seen.
        context = browser.new_context(viewport={"width": 1400, "height": 6000})
        context.set_default_timeout(SLOW_MS)
        yield context.new_page()
        browser.close()


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_an_example_notebook_runs_to_its_end(own_cloud: LocalCloud, examples: Path, page: Page) -> None:
    notebook = examples / "explore-the-data.ipynb"
    executed = [f"[{number}]:" for number, _ in enumerate(code_cells(notebook), start=1)]
    assert not any(cell["outputs"] for cell in code_cells(notebook))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws", "http", 1)))

    sagemaker = own_cloud.client("sagemaker")
    url = sagemaker.create_presigned_notebook_instance_url(NotebookInstanceName=INSTANCE)["AuthorizedUrl"]
    page.goto(url)
    page.get_by_text(examples.name, exact=True).first.dblclick()
    page.get_by_text(notebook.name).first.dblclick()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    prompts, outputs = page.locator(".jp-CodeCell .jp-InputPrompt"), page.locator(".jp-OutputArea-output")
    failures = page.locator(
        ",".join(f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr"))
    )

    def has_ended() -> bool:
        """Each cell has its number then: one that works has a star, and one after a failure has none."""
        assert not failures.count(), failures.all_inner_texts()
        return bool(prompts.all_inner_texts() == executed)

    wait_for(has_ended, 90, "not all cells were executed")
    # A moment after the number, each output is drawn.
    for text in (
        "the model housing in the environment local, seen from the notebook explore",
        "housing.csv: 506 rows, 13 columns",
    ):
        outputs.filter(has_text=text).first.wait_for()
    wait_for(lambda: outputs.locator("img").count() == 2, what="not two plots")

    def saved() -> list[dict[str, Any]]:
        """The cells with what they showed; none while the file is written, which is not whole then."""
        try:
            cells = code_cells(notebook)
        except ValueError:
            return []
        return cells if all(cell["outputs"] for cell in cells) else []

    page.keyboard.press("Control+s")
    kinds = {output["output_type"] for cell in wait_for(saved, 90, "it was not saved") for output in cell["outputs"]}
    assert kinds <= {"display_data", "execute_result", "stream"}
    # Nothing is asked of anybody but the instance, the kernel's connection included.
    base = url.partition("?")[0]
    assert any("/channels" in each for each in asked)
    assert [each for each in asked if not each.startswith((base, "data:", "blob:"))] == []
