"""The program that decodes Parquet for another process: reads requests from its input, writes matrices to its output.

A request is a line of JSON, and the file's content where it has no path. An answer is eight bytes of length and as
much JSON, followed by a matrix where it has rows.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from pathlib import Path
from typing import IO, Any

from .errors import FormatError

LENGTH_BYTES = 8

_MOST_MEMORY = 4 << 30
"""Address space. Decoding needs some pages at a time, of at most 2 GB by the format; more is a bomb."""


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each request until there are no more."""
    while line := requests.readline():
        request = json.loads(line)
        content = requests.read(request["size"]) if request["path"] is None else None
        try:
            _decode(request, content, answers)
        except FormatError as error:
            _say(answers, {"error": str(error)})
        except OSError as error:
            _say(answers, {"os_error": [error.errno or 0, error.strerror or str(error)]})
        except MemoryError:
            _say(answers, {"error": "the Parquet file needs too much memory to be decoded"})
        answers.flush()


def _decode(request: dict[str, Any], content: bytes | None, answers: IO[bytes]) -> None:
    from . import parquet_decode

    source = request["path"] if content is None else content
    names = parquet_decode.column_names(source)
    _say(answers, {"names": names})
    if not request["names_only"]:
        for block in parquet_decode.blocks(source, names, request["first_row"], request["max_cells"]):
            _say(answers, {"rows": len(block)})
            answers.write(block.data.cast("B"))
            answers.flush()
    _say(answers, {"end": True})


def _say(answers: IO[bytes], message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    answers.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)


def main() -> None:
    """Serve whoever started this, and end with it: when its end of the pipe closes."""
    # A stop is for the process that asks; it closes the pipe when it is done.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        # Where memory runs out all the same, this process goes, and not the server.
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
