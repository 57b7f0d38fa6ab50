"""What the local cloud understands of a Dockerfile where no container engine answers, and what it refuses by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_cloud.containers.dockerfile import BASE_PATH, Compile, Copy, Install, Recipe, read
from local_cloud.containers.engine import ContainerError

BASE = "FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm\n"
XGBOOST = Path(__file__).parent.parent / "model_code/images/xgboost/Dockerfile"


def after_base(*lines: str) -> Recipe:
    return read(BASE + "\n".join(lines) + "\n")


def installs(recipe: Recipe) -> list[Install]:
    return [step for step in recipe.steps if isinstance(step, Install)]


def test_the_dockerfile_of_our_own_image_needs_nothing_that_a_process_cannot_do() -> None:
    recipe = read(XGBOOST.read_text())
    # These make the image smaller, and nothing else.
    assert {command.split()[2] for command in recipe.not_executed} == {"apt-get", "find"}
    assert recipe.python == "3.11"
    assert recipe.workdir == "/opt/program"
    assert (recipe.entrypoint, recipe.command) == (("python", "-m", "xgboost_container"), ("train",))
    assert [type(step) for step in recipe.steps] == [Copy, Install, Copy, Copy, Compile]
    (install,) = installs(recipe)
    assert install.files == (
        ("--requirement", "/opt/program/requirements.txt"),
        ("--requirement", "/opt/program/requirements-model.txt"),
    )
    assert install.arguments == ("--no-deps", "--require-hashes")


@pytest.mark.parametrize(
    ("base", "version"),
    [("python:3.12", "3.12"), ("python:3.10.4-slim", "3.10"), ("python", None), ("python:latest@sha256:12", None)],
)
def test_the_version_of_python_is_read_from_the_tag(base: str, version: str | None) -> None:
    assert read(f"FROM {base}\n").python == version


def test_arguments_fill_in_the_base_and_end_there() -> None:
    recipe = read(
        "ARG VERSION=3.11\nFROM --platform=linux/amd64 python:${VERSION}-slim AS base\nENV SEEN=${VERSION:-no}\n"
    )
    assert recipe.base == "python:3.11-slim"
    assert recipe.environment["SEEN"] == "no"


def test_variables() -> None:
    recipe = after_base(
        "ARG FOLDER=/srv",
        "ENV A=1 B=\"two words\" C='$A' D=a\\ b",
        "ENV LEGACY the rest  of it",
        "ENV PATH=/opt/program:$PATH E=${A}${NOTHING:-none}${A:+set} F=\\$A",
        "WORKDIR $FOLDER/app",
    )
    assert recipe.environment == {
        "A": "1",
        "B": "two words",
        "C": "$A",
        "D": "a b",
        "LEGACY": "the rest  of it",
        "PATH": f"/opt/program:{BASE_PATH}",
        "E": "1noneset",
        "F": "$A",
    }
    assert recipe.workdir == "/srv/app"


def test_folders_and_destinations_are_absolute() -> None:
    recipe = after_base(
        "WORKDIR /opt",
        "WORKDIR program",
        "COPY --chown=1:1 a.py b.py ./",
        'COPY ["a b.py", "c.py"]',
        "COPY src /src",
        "ADD data.csv .",
        "COPY . .",
        "COPY x.py ../y.py",
    )
    assert recipe.folders == ("/opt", "/opt/program")
    assert [(step.sources, step.destination) for step in recipe.steps if isinstance(step, Copy)] == [
        (("a.py", "b.py"), "/opt/program/"),
        (("a b.py",), "/opt/program/c.py"),
        (("src",), "/src"),
        (("data.csv",), "/opt/program/"),
        ((".",), "/opt/program/"),
        (("x.py",), "/opt/y.py"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "RUN pip install --no-cache-dir numpy==2.0 'scipy>=1' -r requirements.txt",
        "RUN pip3 install numpy==2.0 'scipy>=1' --requirement=requirements.txt",
        "RUN python3 -m pip install -q numpy==2.0 'scipy>=1' -r requirements.txt --root-user-action=ignore",
        "RUN uv pip install --system numpy==2.0 'scipy>=1' -r requirements.txt",
        "RUN set -eux; mkdir -p /x && pip install numpy==$VERSION 'scipy>=1' -r requirements.txt && rm -rf /x",
        'RUN ["pip", "install", "numpy==2.0", "scipy>=1", "-r", "requirements.txt"]',
        "RUN --mount=type=cache,target=/root/.cache pip install numpy==2.0 'scipy>=1' \\\n    -r requirements.txt",
        "RUN cd /opt/program && PIP_NO_CACHE_DIR=1 pip install numpy==2.0 'scipy>=1' -r requirements.txt",
    ],
)
def test_pip_install_is_honoured_in_any_way_to_write_it(line: str) -> None:
    recipe = after_base("ARG VERSION=2.0", "WORKDIR /opt/program", line)
    (install,) = installs(recipe)
    assert install.arguments == ("numpy==2.0", "scipy>=1")
    assert install.files == (("--requirement", "/opt/program/requirements.txt"),)
    assert recipe.not_executed == ()


def test_options_that_change_what_is_installed_are_passed_on() -> None:
    (install,) = installs(after_base("RUN pip install --no-deps -i https://x/simple --pre -c c.txt -U a"))
    assert install.arguments == ("--no-deps", "--index-url", "https://x/simple", "--pre", "-U", "a")
    assert install.files == (("--constraint", "/c.txt"),)


def test_what_is_not_executed_is_listed_with_its_line() -> None:
    recipe = after_base(
        "RUN useradd model && chown model /opt && rm -rf /var/lib/apt/lists/*",
        "RUN apt-get update && apt-get install -y libgomp1",
        "RUN curl -s https://x | sh",
    )
    assert recipe.not_executed == ("line 3: apt-get install -y libgomp1", "line 4: curl -s https://x | sh")


def test_arguments_follow_the_entry_point_as_docker_has_it() -> None:
    assert (after_base().entrypoint, after_base().command) == ((), ("python3",))
    # An entry point drops the base image's own command.
    assert after_base('ENTRYPOINT ["a"]').command == ()
    assert after_base('ENTRYPOINT ["a"]', 'CMD ["b", "c"]').command == ("b", "c")


def test_what_means_nothing_to_a_process_is_passed_over() -> None:
    after_base("USER 1", "EXPOSE 8080", "LABEL a=b", "HEALTHCHECK CMD true", "VOLUME /x", "STOPSIGNAL SIGTERM")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["FROM python:3.11"], "a second FROM (a build of several stages)"),
        (["COPY --from=build /a /b"], "COPY --from=build"),
        (["ADD https://x/y.tar.gz /y"], "ADD of https://x/y.tar.gz"),
        (["ADD model.tar.gz /opt/ml"], "ADD of model.tar.gz"),
        (["ENTRYPOINT python serve.py"], "the shell form of ENTRYPOINT"),
        (["CMD train"], "the shell form of CMD"),
        (["COPY <<EOF /a"], "a here-document in COPY"),
        (["ONBUILD RUN true"], "the instruction ONBUILD"),
        (["COPY a b /c"], "COPY of several sources to /c, which must end with a slash"),
        (["COPY a"], "COPY without a source and a destination"),
        (["RUN pip install ."], "the installation of ."),
        (["RUN pip install git+https://x/y"], "the installation of git+https://x/y"),
        (["RUN pip install a --target /x"], "the option --target of pip"),
        (["RUN pip install a==$UNKNOWN"], "the value of a==$UNKNOWN is not known"),
        (["RUN pip install a > /dev/null"], "in a pipe, a redirection or a group"),
        (["RUN if true; then pip install a; fi"], "a pip install inside another command"),
        (["RUN pip install -r"], "-r has no value"),
        (["RUN echo 'a"], "a RUN that cannot be read"),
    ],
)
def test_what_no_process_can_do_is_refused_with_its_line(lines: list[str], words: str) -> None:
    with pytest.raises(ContainerError) as caught:
        after_base("ENV A=1", *lines)
    assert str(caught.value).startswith("Dockerfile line 3: ")
    assert words in str(caught.value)
    assert "Start Docker" in str(caught.value)


@pytest.mark.parametrize("base", ["ubuntu:22.04", "nvcr.io/nvidia/pytorch:24.01", "scratch"])
def test_a_base_that_is_no_python_is_refused(base: str) -> None:
    with pytest.raises(ContainerError, match="the base must be a Python"):
        read(f"FROM {base}\n")


@pytest.mark.parametrize("text", ["", "# nothing\n", "ARG A=1\n"])
def test_a_dockerfile_without_a_base(text: str) -> None:
    with pytest.raises(ContainerError, match="no FROM"):
        read(text)
