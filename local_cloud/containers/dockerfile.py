"""Reads a Dockerfile into what a process needs to stand for its image, and refuses by name what no process can do."""

from __future__ import annotations

import io
import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter

from local_cloud.containers.engine import ContainerError

BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH in the official Python images, which `ENV PATH=...:$PATH` adds to."""

_WITHOUT_EFFECT = {"LABEL", "EXPOSE", "USER", "HEALTHCHECK", "MAINTAINER", "VOLUME", "STOPSIGNAL", "SHELL"}
"""Instructions that change nothing for a process: it runs as whoever runs the local cloud, and has no ports of its own."""

_HARMLESS = {
    *("useradd", "groupadd", "usermod", "groupmod", "adduser", "addgroup", "deluser", "chown", "chgrp", "chmod"),
    *("mkdir", "rm", "true", ":", "set", "echo", "apt-get clean", "apt-get update", "update-ca-certificates"),
}
"""Commands of RUN whose absence a process does not notice (users, permissions, folders, cleaning); skipped quietly."""

_PIP_WITH_VALUE = {
    **dict.fromkeys(("-r", "--requirement"), "--requirement"),
    **dict.fromkeys(("-c", "--constraint"), "--constraint"),
    **dict.fromkeys(("-i", "--index-url"), "--index-url"),
    **dict.fromkeys(("-f", "--find-links"), "--find-links"),
    **{name: name for name in ("--extra-index-url", "--only-binary", "--no-binary")},
}
_PIP_FLAGS = {"--require-hashes", "--no-deps", "--pre", "-U", "--upgrade", "--no-index", "--no-build-isolation"}
_PIP_WITHOUT_EFFECT = {
    *("--no-cache-dir", "--no-cache", "-q", "-qq", "--quiet", "-v", "--verbose", "--disable-pip-version-check"),
    *("--no-input", "--no-compile", "--compile", "--prefer-binary", "--ignore-installed", "--force-reinstall"),
    *("--no-warn-script-location", "--break-system-packages", "--system", "--no-python-version-warning", "-I"),
}
_PIP_WITH_VALUE_WITHOUT_EFFECT = {
    *("--root-user-action", "--progress-bar", "--timeout", "--default-timeout", "--retries"),
    *("--trusted-host", "--cache-dir"),
}

_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-+])([^}]*))?\}|\$(\w+)")
_PIP = re.compile(r"^(?:/\S*/)?pip[\d.]*$")
_PYTHON = re.compile(r"^(?:/\S*/)?python[\d.]*$")


@dataclass(frozen=True)
class Copy:
    """A COPY of files of the build context.

    Attributes:
        line: where it stands, from 1.
        sources: paths or patterns in the context.
        destination: absolute path in the image; with a slash at its end it is a folder.
    """

    line: int
    sources: tuple[str, ...]
    destination: str


@dataclass(frozen=True)
class Install:
    """A `pip install`.

    Attributes:
        line: where it stands, from 1.
        text: the command as it was written.
        arguments: options and packages, in the form that uv understands.
        files: (option, absolute path in the image) of requirement and constraint files.
    """

    line: int
    text: str
    arguments: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Compile:
    """A `python -m compileall` in a folder of the image."""

    line: int
    folder: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """What a Dockerfile says, as far as a process can follow it.

    Attributes:
        base: the image that FROM names.
        python: the minor version of Python in the base image's tag, such as `3.11`; None if the tag names none.
        steps: what is copied, installed and compiled, in order.
        environment: ENV.
        workdir: the last WORKDIR.
        folders: every WORKDIR: they exist in the image even if nothing is copied there.
        entrypoint: ENTRYPOINT.
        command: CMD.
        not_executed: commands of RUN that a process does without, each with its line; for the log.
    """

    base: str
    python: str | None
    steps: tuple[Copy | Install | Compile, ...]
    environment: Mapping[str, str]
    workdir: str
    folders: tuple[str, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    not_executed: tuple[str, ...]


def labels(text: str) -> dict[str, str]:
    """What LABEL says in the last stage of a Dockerfile, whatever else stands there."""
    return dict(DockerfileParser(fileobj=io.BytesIO(text.encode())).labels)


def read(text: str) -> Recipe:
    """Read a Dockerfile.

    Raises:
        ContainerError: it has something that no process can stand for (several stages, a base that is not Python, shell
            forms, ADD of an address, ...), with its line and what to do.
    """
    return _Reader().read(text)


@dataclass
class _Reader:
    line: int = 0
    base: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    steps: list[Copy | Install | Compile] = field(default_factory=list)
    workdir: str = "/"
    folders: list[str] = field(default_factory=list)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("python3",)
    not_executed: list[str] = field(default_factory=list)

    def read(self, text: str) -> Recipe:
        for instruction in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure:
            self.line = instruction["startline"] + 1
            name, value = instruction["instruction"], instruction["value"]
            if name != "COMMENT":
                self._take(name, value)
        if self.base is None:
            raise ContainerError("Dockerfile: it has no FROM")
        python = re.search(r":(3\.\d+)", self.base)
        return Recipe(
            base=self.base,
            python=python[1] if python else None,
            steps=tuple(self.steps),
            environment=self.environment,
            workdir=self.workdir,
            folders=tuple(self.folders),
            entrypoint=self.entrypoint,
            command=self.command,
            not_executed=tuple(self.not_executed),
        )

    def _take(self, name: str, value: str) -> None:
        if self.base is None and name not in ("FROM", "ARG"):
            self._refuse(f"{name} stands before FROM")
        if "<<" in value and name in ("RUN", "COPY", "ADD"):
            self._refuse(f"a here-document in {name}")
        match name:
            case "FROM":
                self._from(value)
            case "ARG":
                self._arg(value)
            case "ENV":
                for key, item in self._pairs(value):
                    self.environment[key] = item
            case "WORKDIR":
                self.workdir = self._absolute(self._dequoted(value.strip()))
                self.folders.append(self.workdir)
            case "COPY" | "ADD":
                self._copy(name, value)
            case "RUN":
                self._run(value)
            case "ENTRYPOINT":
                self.entrypoint, self.command = self._exec_form(name, value), ()
            case "CMD":
                self.command = self._exec_form(name, value)
            case _ if name not in _WITHOUT_EFFECT:
                self._refuse(f"the instruction {name}")

    def _from(self, value: str) -> None:
        if self.base is not None:
            self._refuse("a second FROM (a build of several stages)")
        words = [word for word in self._words(value) if not word.startswith("--platform")]
        self.base = words[0]
        repository = re.sub(r"[:@][^/]*$", "", self.base)
        if "python" not in posixpath.basename(repository):
            self._refuse(
                f"the base image {self.base} (a process has this machine's Python, so the base must be a Python)"
            )
        # What ARG set before FROM counts for FROM alone.
        self.variables = {}

    def _arg(self, value: str) -> None:
        for word in WordSplitter(value).split(dequote=False):
            name, equals, default = word.partition("=")
            if equals:
                self.variables[name] = self._dequoted(default)

    def _pairs(self, value: str) -> Iterator[tuple[str, str]]:
        words = list(WordSplitter(value).split(dequote=False))
        if words and "=" not in words[0]:
            # The old form: ENV NAME the rest of the line
            name, _, rest = value.strip().partition(" ")
            yield name, self._dequoted(rest.strip())
            return
        for word in words:
            name, equals, item = word.partition("=")
            if not equals:
                self._refuse(f"ENV has `{word}` where NAME=value belongs")
            yield name, self._dequoted(item)

    def _copy(self, name: str, value: str) -> None:
        rest, flags = value.strip(), []
        while match := re.match(r"--\S+\s+", rest):
            flags.append(match[0].strip())
            rest = rest[match.end() :]
        for flag in flags:
            if not flag.startswith(("--chown", "--chmod", "--link")):
                self._refuse(f"{name} {flag}")
        words = (
            [self._substituted(word) for word in self._exec_form(name, rest)]
            if rest.startswith("[")
            else self._words(rest)
        )
        if len(words) < 2:
            self._refuse(f"{name} without a source and a destination")
        *sources, destination = words
        if name == "ADD":
            for source in sources:
                if re.match(r"^(https?|git|ssh)://|^git@", source) or re.search(r"\.(tar|tgz|tar\.\w+)$", source):
                    self._refuse(f"ADD of {source} (an address or an archive)")
        is_folder = destination.endswith("/") or destination in (".", "..") or destination.endswith("/.")
        if len(sources) > 1 and not is_folder:
            self._refuse(f"{name} of several sources to {destination}, which must end with a slash")
        absolute = self._absolute(destination)
        if is_folder and absolute != "/":
            absolute += "/"
        self.steps.append(Copy(self.line, tuple(sources), absolute))

    def _run(self, value: str) -> None:
        if value.lstrip().startswith("--mount"):
            value = re.sub(r"^\s*(--mount=\S+\s+)+", "", value)
        if value.lstrip().startswith("["):
            self._command(list(self._exec_form("RUN", value)), plain=True)
            return
        lexer = shlex.shlex(value, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        lexer.commenters = ""
        try:
            tokens = list(lexer)
        except ValueError as error:
            self._refuse(f"a RUN that cannot be read ({error})")
        words: list[str] = []
        plain, folder = True, self.workdir
        for token in [*tokens, ";"]:
            if token in ("&&", ";"):
                if words:
                    self._command(words, plain)
                words, plain = [], True
            elif token and set(token) <= set("();<>|&"):
                plain = False
                words.append(token)
            else:
                words.append(token)
        # A `cd` counts for its own RUN alone.
        self.workdir = folder

    def _command(self, words: list[str], plain: bool) -> None:
        """Take one command of a RUN; `plain` is False where it is part of a pipe, a redirection or a group."""
        text = shlex.join(words) if plain else " ".join(words)
        assigned = 0
        while assigned < len(words) and re.match(r"^\w+=", words[assigned]):
            assigned += 1
        program = words[assigned:]
        pip = _pip_arguments(program)
        if pip is not None:
            if not plain:
                self._refuse(f"`{text}` (a pip install in a pipe, a redirection or a group)")
            self._install(text, [self._substituted(word) for word in pip])
        elif "install" in program and any(_PIP.match(word) for word in program):
            # Left out silently, it would show as a missing module much later.
            self._refuse(f"`{text}` (a pip install inside another command)")
        elif plain and _is_compileall(program):
            arguments = tuple(self._substituted(word) for word in program[3:])
            self.steps.append(Compile(self.line, self.workdir, arguments))
        elif plain and program[:1] == ["cd"] and len(program) == 2:
            self.workdir = self._absolute(self._substituted(program[1]))
        elif program and (not plain or not ({program[0], " ".join(program[:2])} & _HARMLESS)):
            self.not_executed.append(f"line {self.line}: {text}")

    def _install(self, text: str, words: list[str]) -> None:
        arguments: list[str] = []
        files: list[tuple[str, str]] = []
        remaining = list(words)
        while remaining:
            word = remaining.pop(0)
            name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            if name in _PIP_WITHOUT_EFFECT:
                continue
            if name in _PIP_WITH_VALUE or name in _PIP_WITH_VALUE_WITHOUT_EFFECT:
                if not equals:
                    if not remaining:
                        self._refuse(f"`{text}`: {name} has no value")
                    value = remaining.pop(0)
                option = _PIP_WITH_VALUE.get(name)
                if option in ("--requirement", "--constraint"):
                    files.append((option, self._absolute(value)))
                elif option:
                    arguments += [option, value]
            elif name in _PIP_FLAGS:
                arguments.append(name)
            elif word.startswith("-"):
                self._refuse(f"`{text}`: the option {name} of pip")
            elif word.startswith((".", "/")) or "://" in word.partition("@")[2] or "://" in word:
                self._refuse(f"`{text}`: the installation of {word} (of a folder or an address)")
            elif "$" in word:
                self._refuse(f"`{text}`: the value of {word} is not known")
            else:
                arguments.append(word)
        self.steps.append(Install(self.line, text, tuple(arguments), tuple(files)))

    def _exec_form(self, name: str, value: str) -> tuple[str, ...]:
        try:
            words = json.loads(value)
        except ValueError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self._refuse(f'the shell form of {name} (write it as a JSON list: {name} ["python", "-m", "program"])')
        return tuple(words)

    def _words(self, value: str) -> list[str]:
        return [self._dequoted(word) for word in WordSplitter(value).split(dequote=False)]

    def _dequoted(self, word: str) -> str:
        if word.startswith("'") and word.endswith("'") and len(word) > 1:
            return word[1:-1]
        # An escaped dollar must not become a variable once its backslash is gone.
        escaped = word.replace("\\$", "\0")
        return self._substituted(WordSplitter(escaped).dequote()).replace("\0", "$")

    def _substituted(self, text: str) -> str:
        """`text` with the variables of ARG and ENV; one that is not known stays as it is written."""
        known = {**self.variables, **self.environment}

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[4]
            if match[2] == ":-":
                return known.get(name) or match[3]
            if match[2] == ":+":
                return match[3] if known.get(name) else ""
            return known.get(name, match[0])

        return _VARIABLE.sub(value, text)

    def _absolute(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(self.workdir, path))
        return "/" + joined.lstrip("/")

    def _refuse(self, what: str) -> NoReturn:
        raise ContainerError(
            f"Dockerfile line {self.line}: {what} needs a container engine, and none answers on this machine. "
            "Start Docker, or change the line."
        )


def _pip_arguments(words: list[str]) -> list[str] | None:
    """What follows `pip install`, in any of the ways to call it; None if the command is another."""
    if words[:3] == ["uv", "pip", "install"]:
        return words[3:]
    if len(words) >= 4 and _PYTHON.match(words[0]) and words[1:4] == ["-m", "pip", "install"]:
        return words[4:]
    if len(words) >= 2 and _PIP.match(words[0]) and words[1] == "install":
        return words[2:]
    return None


def _is_compileall(words: list[str]) -> bool:
    return len(words) >= 3 and bool(_PYTHON.match(words[0])) and words[1:3] == ["-m", "compileall"]
