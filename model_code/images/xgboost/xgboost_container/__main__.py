"""The one program of the image: `python -m xgboost_container [train|serve|preprocess|evaluate]`."""

from __future__ import annotations

import argparse
import importlib
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
    steps.add_parser("evaluate", help="score the held-out rows")
    steps.add_parser("preprocess", help="run the model's own preprocess, from the package that MODEL_PACKAGE names")
    chosen = parser.parse_args(arguments)
    paths = Paths.from_environment()

    # In a container this is process 1, whose SIGTERM goes unheard unless it has a handler. Each step sets its
    # own, but the imports before that take a moment.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))

    # Each step imports what it needs and no more: preprocess starts without XGBoost.
    if chosen.step == "serve":
        from .serving.serve import serve

        return serve(paths)
    if chosen.step == "preprocess":
        return run_step(lambda paths: _own_step("preprocess")(paths), paths, paths.processing_message)
    if chosen.step == "evaluate":
        from .evaluation.evaluate import evaluate

        return run_step(evaluate, paths, paths.processing_message)
    from .training.train import train

    return run_step(train, paths, paths.training_failure)


def _own_step(name: str) -> Callable[[Paths], None]:
    """The function `NAME` in the module `NAME` of the model's own package.

    Raises:
        UserError: the image holds no model, or the model has no such step.
    """
    package = os.environ.get("MODEL_PACKAGE")
    if not package:
        raise UserError(
            f"this image has no step {name}: it was built without a model's folder, and MODEL_PACKAGE names no package"
        )
    try:
        module = importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        if error.name not in (package, f"{package}.{name}"):
            raise
        raise UserError(
            f"MODEL_PACKAGE is {package!r}, and there is no module {package}.{name} in this image"
        ) from None
    step = getattr(module, name, None)
    if not callable(step):
        raise UserError(f"{package}.{name} has no function {name}(paths)")
    return step  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
