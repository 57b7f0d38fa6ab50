"""A small project in a real git repository, and the project's own git host in front of it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_cloud.git_host.server import GitHost

NAME, TOKEN = "team/platform", "the-token"


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints in a folder; nobody's own settings count."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Somebody", f"GIT_{role}_EMAIL": "somebody@example.com"}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bare(folder: Path, files: dict[str, str]) -> Path:
    """A bare repository with one commit on `main`."""
    work, path = folder / "first", folder / "platform.git"
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    work.mkdir(exist_ok=True)
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "The project")
    git(folder, "clone", "--quiet", "--bare", str(work), str(path))
    return path


@contextmanager
def hosted(repository: Path, port: int = 0, certificate: tuple[Path, Path] | None = None) -> Iterator[GitHost]:
    """The repository on the local git host, in a thread; over TLS with the files of a certificate and its key."""
    state = repository.with_name(f"{repository.name}.host")
    with GitHost(repository, state, name=NAME, branch="main", port=port, token=TOKEN) as host:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # Each handshake in the thread of its request.
            host.socket = context.wrap_socket(host.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            host.shutdown()
            thread.join()


def ask(
    host: GitHost, method: str, path: str, body: Any = None, token: str | None = TOKEN, accept: str = "*/*"
) -> tuple[int, Any]:
    """The status and the answer of one request; `path` below the repository, or from the root with a slash."""
    address = host.url + (path if path.startswith("/") else f"/repos/{NAME}/{path}".rstrip("/"))
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text, status = answer.read().decode(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read().decode(), error.code
    try:
        return status, json.loads(text) if text else None
    except ValueError:
        return status, text
