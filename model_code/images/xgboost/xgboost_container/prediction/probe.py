"""A trial in a child process for a model that nobody vouches for: damage ends the child and not the server.

XGBoost does not survive damaged bytes. It aborts the process, reads outside of its arrays or asks for all the memory
there is, and no exception tells. A model with a fingerprint is compared with that; one that was trained elsewhere
has none, so it is loaded, checked and scored here first.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from ..contract import UserError
from .model_format import ModelFormat

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS_AT_LEAST = 30.0
_SECONDS_FOR_A_MB = 1.0
# What the interpreter and the libraries map before a model comes, by far; and what a model takes for each of its bytes
# when XGBoost, treelite and the check as JSON hold it at the same time (46 was measured).
_MEMORY_AT_LEAST = 512 * 1024**2
_MEMORY_FOR_A_BYTE = 100
_REFUSED = 3
"""The child's exit code when it says why itself, in the last line of its standard error."""


def probe(content: bytes, kind: ModelFormat, name: str, *, seconds: float | None = None) -> None:
    """Load and score a model in a child process.

    Args:
        content: the bytes; the caller loads these very bytes afterwards.
        kind: what `model_format.format_of` says.
        name: the file's name, for the message.
        seconds: at most; None is 30 plus one for each megabyte, many times what a model needs.

    Raises:
        UserError: the model cannot be loaded or scored; one line.
    """
    seconds = seconds or _SECONDS_AT_LEAST + _SECONDS_FOR_A_MB * len(content) / 1e6
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": "1",  # threads map address space that the limit counts
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        child = subprocess.run(
            [sys.executable, "-m", f"{__package__}.probe", kind],
            input=content,
            capture_output=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{name}: XGBoost was not done with loading it after {seconds:.0f} s; {_DAMAGED}") from None
    if child.returncode == 0:
        return
    said = child.stderr.decode(errors="replace").strip().splitlines()
    if child.returncode == _REFUSED and said:
        raise UserError(f"{name}: {said[-1]}")
    if child.returncode < 0:
        how = f"of {signal.Signals(-child.returncode).name}"
    else:
        how = f"with exit code {child.returncode}" + (f" ({said[-1][:200]})" if said else "")
    raise UserError(f"{name}: XGBoost ended {how} when it loaded or scored it; {_DAMAGED}")


_DAMAGED = "the file is damaged, or no model. Save it again with save_model('xgboost-model.ubj')"


def main() -> int:
    """In the child: a model on standard input, its format as the argument. Says why not in one line."""
    from .. import without_scipy  # noqa: F401
    from .predictor import Predictor, reason
    from .structure import Broken, check

    import orjson  # isort: skip  # noqa: F401  (mapped before the limit)
    import xgboost  # isort: skip

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file for a death that is expected
    content = sys.stdin.buffer.read()
    limit = _mapped() + _MEMORY_AT_LEAST + _MEMORY_FOR_A_BYTE * len(content)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(content))
        check(booster)
        del booster
        Predictor(content, is_json=sys.argv[1] == "json")
    except xgboost.core.XGBoostError as error:
        return _refuse(f"XGBoost cannot load it: {reason(error)}; {_DAMAGED}")
    except Broken as error:
        return _refuse(f"the model {error}; {_DAMAGED}")
    except MemoryError:
        return _refuse(f"asks for more than {limit / 1e6:.0f} MB when it is loaded; {_DAMAGED}")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return _refuse(f"does not have the parts of a model ({type(error).__name__}: {str(error)[:200]}); {_DAMAGED}")
    return 0


def _refuse(why: str) -> int:
    print(" ".join(why.split()), file=sys.stderr, flush=True)
    return _REFUSED


def _mapped() -> int:
    """Bytes of address space that this process has now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2 * 1024**3


if __name__ == "__main__":
    # Not sys.exit: a model that is half broken may break the clean-up of the libraries as well.
    code = main()
    sys.stderr.flush()
    os._exit(code)
