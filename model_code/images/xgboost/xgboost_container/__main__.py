"""The one program of the image: `python -m xgboost_container [train|serve|preprocess|evaluate]`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence

from .contract import STOPPED, Paths, UserError, run_step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code.

    `train` is the default because not every tool that follows the contract names it: the local mode of
    SageMaker's SDK 3 starts the container with no argument.
    """
    parser = argparse.ArgumentParser(prog="xgboost_container", description=__doc__)
    steps = parser.add_subparsers(dest="step", metavar="train|serve|preprocess|evaluate")
    steps.add_parser("train", help="fit the model (the default)")
    steps.add_parser("serve", help="answer /ping and /invocations until SIGTERM")
    steps.add_parser("evaluate", help="score the held-out rows (the model's own, where it has one)")
    steps.add_parser("preprocess", help="check the data and split it: the model's own")
    chosen = parser.parse_args(arguments)
    paths = Paths.from_environment()

    # In a container this is process 1, whose SIGTERM goes unheard unless it has a handler. Each step sets its
    # own, but the imports before that take a moment.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))

    # Each step imports what it needs and no more: preprocess starts without XGBoost.
    if chosen.step == "serve":
        # Read when the libraries are loaded. Each process scores on one thread, so a pool of them would idle.
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(variable, "1")
        from .serving.serve import serve

        return serve(paths)
    if chosen.step == "preprocess":
        return run_step(lambda paths: _own_step("preprocess")(paths), paths, paths.processing_message)
    if chosen.step == "evaluate":
        if importlib.util.find_spec("model.evaluate"):
            return run_step(lambda paths: _own_step("evaluate")(paths), paths, paths.processing_message)
        from .evaluation.evaluate import evaluate

        return run_step(evaluate, paths, paths.processing_message)
    from .training.train import train

    return run_step(train, paths, paths.training_failure)


def _own_step(name: str) -> Callable[[Paths], None]:
    """The function `NAME` in the module `model.NAME`, which the model's folder brings.

    Raises:
        UserError: the image holds no model, or the model has no such step.
    """
    try:
        module = importlib.import_module(f"model.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("model", f"model.{name}"):
            raise
        raise UserError(
            f"this image has no step {name}: it is a model's own, and no model/{name}.py was built into it"
        ) from None
    step = getattr(module, name, None)
    if not callable(step):
        raise UserError(f"model/{name}.py has no function {name}(paths)")
    return step  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
