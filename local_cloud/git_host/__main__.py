"""`python -m local_cloud.git_host --repository platform.git --name team/platform`: serve until a signal ends it.

`sagestack git-host` starts this.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from local_cloud.git_host.pulls import InUse, Unreadable
from local_cloud.git_host.server import GitHost

TOKEN_VARIABLE = "SAGESTACK_GIT_TOKEN"  # noqa: S105 - the name of a variable


def main() -> int:
    """Read the arguments and serve; 1 with a message if it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m local_cloud.git_host", description="GitHub's API on a bare repository."
    )
    parser.add_argument("--repository", type=Path, required=True, help="a bare git repository")
    parser.add_argument("--name", required=True, metavar="OWNER/NAME", help="what it is called in addresses")
    parser.add_argument("--branch", default="main", help="the default branch")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 for any that is free")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    path: Path = arguments.repository.resolve()
    try:
        host = GitHost(
            path,
            path.with_name(f"{path.name}.host"),
            name=arguments.name,
            branch=arguments.branch,
            port=arguments.port,
            token=os.environ.get(TOKEN_VARIABLE, "").strip(),
        )
    except InUse:
        print(f"Another git host serves {path}. Stop it first.", file=sys.stderr)
        return 1
    except Unreadable as error:
        print(f"What is kept of pull requests cannot be read: {error}. Move it away to begin anew.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Port {arguments.port} on 127.0.0.1 cannot be used: {error.strerror}.", file=sys.stderr)
        return 1
    with host:
        # In a thread: it waits for the loop of the main one to end.
        stop = threading.Thread(target=host.shutdown, daemon=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _start_once(stop))
        print(
            f"{arguments.name} is served at {host.url} (user sagestack, with the token as password).\n"
            "For sagestack promote --after and sagestack comment, in another terminal:\n"
            f"  export SAGESTACK_GIT_API_URL={host.url} SAGESTACK_GIT_TOKEN={host.token}\n"
            "For git:\n"
            f"  git remote add local http://sagestack:{host.token}@127.0.0.1:{host.server_address[1]}/{arguments.name}.git",
            flush=True,
        )
        host.serve_forever(poll_interval=0.1)
    return 0


def _start_once(thread: threading.Thread) -> None:
    if thread.ident is None:
        thread.start()


if __name__ == "__main__":
    sys.exit(main())
