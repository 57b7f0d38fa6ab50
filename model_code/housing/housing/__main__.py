"""The one program of the image: `python -m housing [train|serve|preprocess|evaluate]`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from .contract import STOPPED, Paths, run_step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code.

    `train` is the default because not every tool that follows the contract names it: the local mode of
    SageMaker's SDK 3 starts the container with no argument.
    """
    parser = argparse.ArgumentParser(prog="housing", description=__doc__)
    steps = parser.add_subparsers(dest="step", metavar="train|serve|preprocess|evaluate")
    steps.add_parser("train", help="fit the model (the default)")
    steps.add_parser("serve", help="answer /ping and /invocations until SIGTERM")
    steps.add_parser("evaluate", help="score the held-out rows")
    preprocess_parser = steps.add_parser("preprocess", help="check the data and split it")
    preprocess_parser.add_argument("--seed", type=int, default=0, help="of the split (default 0)")
    chosen = parser.parse_args(arguments)
    paths = Paths.from_environment()

    # In a container this is process 1, whose SIGTERM goes unheard unless it has a handler. Each step sets its
    # own, but the imports before that take a moment.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))

    # Each step imports what it needs and no more: preprocess starts without XGBoost.
    if chosen.step == "serve":
        from .serve import serve

        return serve(paths)
    if chosen.step == "preprocess":
        from .preprocess import preprocess

        return run_step(lambda where: preprocess(where, chosen.seed), paths, paths.processing_message)
    if chosen.step == "evaluate":
        from .evaluate import evaluate

        return run_step(evaluate, paths, paths.processing_message)
    from .train import train

    return run_step(train, paths, paths.training_failure)


if __name__ == "__main__":
    sys.exit(main())
