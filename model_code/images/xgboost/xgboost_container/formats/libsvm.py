"""Rows of `label index:value index:value ...`, fast, and with the row and the token of what is wrong.

The dialect is the one that XGBoost's text loader reads in SageMaker's container: `label` or `label:weight`, an
optional `qid:group`, then pairs; indices count from 0 (dmlc's `indexing_mode` is 0 unless asked otherwise, so that a
file that counts from 1 has an empty column 0, in training and in serving alike); `#` begins a comment.
Where that loader guesses, this one refuses: it reads a label `abc` as 0 and a value `inf` as 1, skips a value that is a
word, and keeps both values of an index that comes twice. A value `nan`, which it reads as 0, is missing here.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import libsvm_exact, libsvm_fast
from .sparse import Sparse, concatenate

# A piece and all that is made of it fit a core's cache; the time per row is small beside it.
_PIECE_BYTES = 1 << 18


def parse(text: bytes, *, first_row: int = 1, needs_label: bool = True) -> Sparse:
    """The rows of a text.

    A row is a line that holds more than a comment. Spaces and tabs in any number separate, lines end with LF or CRLF,
    indices of a row may come in any order. `nan` is a value that is missing.

    Args:
        text: whole lines; the last one may lack its line end.
        first_row: the number of the first row, for messages.
        needs_label: each row begins with a label, as in training. Otherwise it may: a first token without a colon
            is a label, and one with a colon is a feature (so that there is no `label:weight`), as in SageMaker's server.

    Returns:
        Rows with `labels` (when all rows have one), `weights` and `qids` where given.

    Raises:
        FormatError: `row 3, token 2: ...`.
    """
    if first_row == 1:
        text = text.removeprefix(b"\xef\xbb\xbf")  # what some editors put before UTF-8
    blocks = []
    for piece in _pieces(text):
        block = libsvm_fast.parse(piece, needs_label)
        if block is None:
            block = libsvm_exact.parse(piece, first_row, needs_label)
        first_row += len(block)
        blocks.append(block)
    first_row -= sum(map(len, blocks))
    if not needs_label and any(block.labels is None for block in blocks if len(block)):
        blocks = [_without_labels(block) for block in blocks]
    return concatenate(blocks, first_row=first_row)


def _pieces(text: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + _PIECE_BYTES) + 1 or len(text)
        yield text[start:end]
        start = end


def _without_labels(block: Sparse) -> Sparse:
    return Sparse(block.indptr, block.indices, block.values, block.width, qids=block.qids)
