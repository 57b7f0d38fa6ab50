"""Images that run as processes: the same files, packages and program, and nothing left of them afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local_cloud.containers.engine import MAX_LINE_BYTES, Container, ContainerError, ContainerSpec, Image, Lines
from local_cloud.containers.leftovers import start_time
from local_cloud.containers.process_engine import ProcessEngine
from tests.waiting import wait_for

TELL = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(),
                  "executable": sys.executable, "path": sys.path}))
"""


class Bench:
    """An engine, and what a test does with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.engine = ProcessEngine(self.state)
        self.ml = folder / "ml"
        self.ml.mkdir()
        self.lines: list[str] = []

    def prepare(self, dockerfile: str, files: Mapping[str, str | bytes] | None = None) -> Image:
        archive = self.folder / "context.zip"
        with zipfile.ZipFile(archive, "w") as opened:
            for name, content in {"Dockerfile": f"FROM python:3.11\n{dockerfile}\n", **(files or {})}.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o755 if name.startswith("bin/") else 0o644) << 16
                opened.writestr(entry, content)
        return self.engine.prepare("s3://bucket/key.zip", lambda path: copy(archive, path), self.lines.append)

    def start(self, image: Image, *arguments: str, **options: Any) -> tuple[Container, list[str]]:
        printed: list[str] = []
        spec = ContainerSpec("test", image, self.ml, arguments, on_line=printed.append, **options)
        return self.engine.start(spec), printed

    def run(self, image: Image, *arguments: str, **options: Any) -> list[str]:
        container, printed = self.start(image, *arguments, **options)
        assert container.wait(120) == 0, printed
        return printed

    def told(self, image: Image, *arguments: str, **options: Any) -> dict[str, Any]:
        return dict(json.loads(self.run(image, *arguments, **options)[-1]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.engine.close()


def copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def alive(pid: int) -> bool:
    return start_time(pid) is not None


def test_paths_of_the_image_lead_to_where_they_are_here(bench: Bench) -> None:
    image = bench.prepare(
        "WORKDIR /opt/program\nCOPY tell.py app/ ./\nENV DATA=/opt/ml/input:/opt/program/data.csv OTHER=/etc/x URL=s3:///opt/ml\n"
        'ENTRYPOINT ["python", "/opt/program/tell.py"]\nCMD ["train"]',
        {"tell.py": TELL, "app/data.csv": "1"},
    )
    root = Path(image.reference) / "root"
    told = bench.told(image)
    assert told["arguments"] == ["train"]
    assert told["folder"] == str(root / "opt/program")
    environment = told["environment"]
    assert environment["DATA"] == f"{bench.ml}/input:{root}/opt/program/data.csv"
    assert (environment["OTHER"], environment["URL"]) == ("/etc/x", "s3:///opt/ml")
    assert environment["SAGEMAKER_BASE_DIR"] == str(bench.ml)
    arguments = bench.told(image, "/opt/ml/model", "--data=/opt/program/data.csv", "/tmp/x", "/opt/mlx")["arguments"]
    assert arguments == [f"{bench.ml}/model", f"--data={root}/opt/program/data.csv", "/tmp/x", "/opt/mlx"]


def test_nothing_of_this_program_gets_into_a_container(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "PYTHONPATH", "VIRTUAL_ENV", "SECRET"):
        monkeypatch.setenv(name, "of the laptop")
    told = bench.told(
        bench.prepare('COPY t.py /t.py\nENTRYPOINT ["python3", "/t.py"]', {"t.py": TELL}), environment={"A": "b"}
    )
    assert "of the laptop" not in told["environment"].values()
    assert told["environment"]["A"] == "b"
    assert str(Path(sys.executable).parent) not in told["environment"]["PATH"]
    assert not any(".venv" in path for path in told["path"])


def test_a_program_is_found_as_a_container_finds_it(bench: Bench) -> None:
    image = bench.prepare(
        "ENV PATH=/opt/program:$PATH\nCOPY bin/train /opt/program/train\nWORKDIR /opt/program",
        {"bin/train": f"#!/usr/bin/env python\n{TELL}"},
    )
    assert bench.told(image, "train", "x")["arguments"] == ["x"]
    assert bench.told(image, "y", entrypoint=["./train"])["arguments"] == ["y"]
    executable = bench.told(image, "train")["executable"]
    assert executable.startswith(str(bench.state / "images/environment-"))
    with pytest.raises(ContainerError, match="no program serve in its PATH"):
        bench.start(image, "serve")
    with pytest.raises(ContainerError, match="cannot start"):
        bench.start(image, entrypoint=["/opt/program/nothing"])


def test_files_below_opt_ml_that_the_image_brought_are_its_own(bench: Bench) -> None:
    image = bench.prepare('COPY t.py /opt/ml/code/\nENTRYPOINT ["python", "/opt/ml/code/t.py"]', {"t.py": TELL})
    assert bench.told(image, "/opt/ml/code/t.py", "/opt/ml/model")["arguments"] == [
        f"{image.reference}/root/opt/ml/code/t.py",
        f"{bench.ml}/model",
    ]


def test_requirements_are_installed_once_for_the_same_packages(bench: Bench) -> None:
    dockerfile = 'WORKDIR /p\nCOPY r.txt .\nRUN pip install -r r.txt\nCOPY p.py .\nENTRYPOINT ["python", "p.py"]'
    program = "import six; print(six.__version__)"
    first = bench.prepare(dockerfile, {"r.txt": "six==1.17.0\n", "p.py": program})
    assert bench.run(first) == ["1.17.0"]
    assert any("six==1.17.0" in line for line in bench.lines)
    bench.lines.clear()
    second = bench.prepare(dockerfile, {"r.txt": "six==1.17.0\n", "p.py": f"{program}  # changed"})
    assert second.reference != first.reference
    assert not [line for line in bench.lines if "six" in line], "nothing was installed again"
    assert bench.run(second) == ["1.17.0"]
    assert len(list((bench.state / "images").glob("environment-*/"))) == 1
    bench.prepare(dockerfile, {"r.txt": "six==1.16.0\n", "p.py": program})
    assert len(list((bench.state / "images").glob("environment-*/"))) == 2


def test_a_build_that_fails_says_why_and_leaves_nothing_half_done(bench: Bench) -> None:
    dockerfile = "COPY r.txt /r.txt\nRUN pip install -r /r.txt"
    for _ in range(2):
        with pytest.raises(ContainerError, match=r"Dockerfile line 3: `pip install -r /r.txt` failed") as caught:
            bench.prepare(dockerfile, {"r.txt": "no-such-package-anywhere==1.0\n"})
        assert "no-such-package-anywhere" in str(caught.value).splitlines()[-1] or len(str(caught.value)) > 100


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("COPY nothing.py /x", "COPY nothing.py: no such file in the build context"),
        ("COPY *.txt /x/", r"COPY \*.txt: no such file"),
        ("COPY ../outside /x", "leads out of the build context|no such file"),
        ("RUN pip install -r /r.txt", "no COPY above it brings /r.txt"),
    ],
)
def test_files_that_are_missing(bench: Bench, dockerfile: str, words: str) -> None:
    with pytest.raises(ContainerError, match=words):
        bench.prepare(dockerfile)


def test_an_image_that_is_no_build_context(bench: Bench) -> None:
    with pytest.raises(ContainerError, match="is in a registry"):
        bench.engine.prepare("python:3.11", lambda path: None, print)
    with pytest.raises(ContainerError, match="is not a zip file"):
        bench.engine.prepare("s3://b/k", lambda path: copy(Path(__file__), path), print)


def test_copying_follows_docker(bench: Bench) -> None:
    image = bench.prepare(
        "WORKDIR /w\nCOPY a.txt b.txt\nCOPY d /e\nCOPY d /w/\nCOPY *.md /docs/\nCOPY a.txt /e",
        {"a.txt": "a", "d/x.txt": "x", "d/deep/y.txt": "y", "1.md": "1", "2.md": "2"},
    )
    root = Path(image.reference) / "root"
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert files == sorted(
        ["docs/1.md", "docs/2.md", "e/a.txt", "e/deep/y.txt", "e/x.txt", "w/b.txt", "w/deep/y.txt", "w/x.txt"]
    )


def test_the_log_says_where_the_process_differs_from_the_image(bench: Bench) -> None:
    bench.prepare("RUN apt-get install -y libgomp1")
    assert bench.lines[-1].endswith("Dockerfile line 2: apt-get install -y libgomp1")
    image = bench.prepare('COPY t.py /t.py\nENTRYPOINT ["python", "/t.py"]', {"t.py": TELL})
    assert "Network isolation is not enforced" in bench.run(image, network=False)[0]


def code(bench: Bench, text: str) -> Image:
    return bench.prepare('COPY p.py /p.py\nENTRYPOINT ["python", "/p.py"]', {"p.py": text})


def test_lines_arrive_as_they_are_printed(bench: Bench) -> None:
    container, printed = bench.start(code(bench, "import time; print('now'); time.sleep(600)"))
    wait_for(lambda: printed == ["now"])
    container.stop(5)


def test_a_stop_reaches_the_program_first_and_everything_in_the_end(bench: Bench) -> None:
    image = code(
        bench,
        "import signal, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(5)))\n"
        "print(child.pid)\nwhile True: time.sleep(0.1)",
    )
    container, printed = bench.start(image)
    wait_for(lambda: bool(printed))
    container.stop(120)
    assert container.wait() == 5
    assert printed[1] == "saved"
    # It was killed before the stop returned; the kernel takes a moment to be done with it.
    wait_for(lambda: not alive(int(printed[0])))
    container.stop(10)


def test_who_does_not_end_is_killed(bench: Bench) -> None:
    image = code(
        bench, "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x'); time.sleep(600)"
    )
    container, printed = bench.start(image)
    wait_for(lambda: bool(printed))
    started = time.monotonic()
    container.stop(0.2)
    assert container.wait() == 128 + signal.SIGKILL
    assert time.monotonic() - started < 100, "its own end would take 600"


def test_many_who_need_one_image_build_it_once(bench: Bench) -> None:
    results: list[Image] = []
    dockerfile = "RUN pip install six==1.17.0"
    archive = bench.folder / "one.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("Dockerfile", f"FROM python:3.11\n{dockerfile}\n")

    def prepare() -> None:
        image = bench.engine.prepare("s3://b/k.zip", lambda path: copy(archive, path), bench.lines.append)
        results.append(image)

    threads = [threading.Thread(target=prepare) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({result.reference for result in results}) == 1
    assert len(results) == 5
    assert len([line for line in bench.lines if line.startswith("Building")]) == 1


def test_a_container_that_cannot_start_leaves_no_files(bench: Bench) -> None:
    image = bench.prepare('ENTRYPOINT ["no-such-program"]')
    with pytest.raises(ContainerError, match="no-such-program"):
        bench.start(image)
    assert not list((bench.state / "containers").glob("*/home-*"))


def test_an_image_whose_environment_was_removed_is_built_anew(bench: Bench) -> None:
    image = code(bench, "print('built')")
    shutil.rmtree(next((bench.state / "images").glob("environment-*/")))
    assert bench.run(code(bench, "print('built')")) == ["built"]
    assert Path(image.reference).is_dir()


KILLED = """
import sys, time
from pathlib import Path
from local_cloud.containers.engine import ContainerSpec, Image
from local_cloud.containers.process_engine import ProcessEngine
engine = ProcessEngine(Path(sys.argv[1]))
container = engine.start(ContainerSpec("x", Image("x", sys.argv[2]), Path(sys.argv[3]), on_line=print))
print(container.pid, engine._watcher.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("with_watcher", [True, False])
def test_a_killed_cloud_leaves_no_process_behind(bench: Bench, with_watcher: bool) -> None:
    image = code(bench, "import time; time.sleep(600)")
    root = Path(__file__).parent.parent
    cloud = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(bench.folder / "other"), image.reference, str(bench.ml)],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert cloud.stdout is not None
    container, watcher = map(int, cloud.stdout.readline().split())
    assert alive(container)
    if not with_watcher:
        os.kill(watcher, signal.SIGKILL)
    cloud.kill()
    cloud.wait()
    cloud.stdout.close()
    if not with_watcher:
        assert alive(container)
        ProcessEngine(bench.folder / "other").close()
    wait_for(lambda: not alive(container))
    wait_for(lambda: not list((bench.folder / "other/containers").iterdir()))


def test_closing_ends_everything(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    container, _ = bench.start(code(bench, "import time; time.sleep(600)"))
    bench.engine.close()
    assert container.wait(0) is not None
    with pytest.raises(ContainerError, match="stopping"):
        bench.start(Image("x", next(str(p) for p in (bench.state / "images").glob("context-*/"))))
    assert list((bench.state / "containers").iterdir()) == []


def test_lines_are_cut_and_mended() -> None:
    lines: list[str] = []
    cutter = Lines(lines.append)
    for data in (b"one\ntw", b"o\r\n\n", b"\xff\xfe bad\n", b"x" * (MAX_LINE_BYTES + 5), b"\nlast"):
        cutter.feed(data)
    cutter.end()
    assert lines[:4] == ["one", "two", "", "\ufffd\ufffd bad"]
    assert [len(line) for line in lines[4:]] == [MAX_LINE_BYTES, 5, 4]
