"""`python -m local_cloud --state-dir .local-cloud --port 4566`: serve until a signal ends it. `sagestack up` starts this."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from local_cloud import clock
from local_cloud.containers.engine import ContainerError
from local_cloud.server import CannotStart, run


def main() -> int:
    """Read the arguments and serve; 1 with a message if it cannot start.

    Does not return after it served: the state is written, and threads that still wait for something are not waited for.
    """
    parser = argparse.ArgumentParser(prog="python -m local_cloud", description="SageMaker on top of MiniStack.")
    parser.add_argument("--state-dir", type=Path, default=Path(".local-cloud"), help="where everything is kept")
    parser.add_argument("--port", type=int, default=4566, help="the loopback port, HTTPS")
    parser.add_argument(
        "--clock-factor",
        metavar="N",
        help=f"how many times faster than on AWS bake times, alarm periods and cooldowns pass, {clock.MIN_FACTOR:g} to "
        f"{clock.MAX_FACTOR:g}; default: ${clock.VARIABLE}, else {clock.DEFAULT_FACTOR:g}",
    )
    arguments = parser.parse_args()
    try:
        chosen = clock.from_environment() if arguments.clock_factor is None else clock.parse(arguments.clock_factor)
    except ValueError as error:
        parser.error(str(error))
    # Ours at INFO; every library at WARNING: the log of a healthy day stays short enough to read.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("local_cloud").setLevel(logging.INFO)
    try:
        run(arguments.state_dir, arguments.port, chosen)
    except (CannotStart, ContainerError) as error:
        print(error, file=sys.stderr)
        return 1
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
