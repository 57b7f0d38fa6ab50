"""LibSVM thousands of rows at a time, without a look at any token by itself.

The bytes that are no digits are the skeleton of the text: what separates the numbers, and what in them is more than a
digit. It says which number is a label, an index or a value. The numbers themselves are read as those of a JSON array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import json_numbers, libsvm_exact
from .sparse import MAX_INDEX, Repeated, Sparse, empty, in_order

_SPACE, _LINE_END, _COLON, _MINUS = (ord(character) for character in " \n:-")
_TO_COMMAS = bytes.maketrans(b" :\n", b",,,")
_TO_SPACES = bytes.maketrans(b":\n", b"  ")
# The bytes beside digits that a number may have in JSON; and those of what else a number may be: nan, inf, Infinity.
_IN_NUMBERS = np.zeros(256, np.bool_)
_IN_NUMBERS[list(b" \n:.-+eE")] = True
_IN_WORDS = _IN_NUMBERS.copy()
_IN_WORDS[list(b"nanNANinfinityINFINITY")] = True


def parse(text: bytes, needs_label: bool) -> Sparse | None:
    """The rows, or None for all that is wrong and for a little that is right but rare."""
    text = _tidy(text)
    if not text:
        return empty()
    groups = text.count(b" qid:")
    if groups:
        text = text.replace(b" qid:", b" -1:")
    content = np.frombuffer(text, np.uint8)
    skeleton = content[(content - 48) > 9]
    present = np.bincount(skeleton, minlength=256) > 0
    if (present & ~_IN_WORDS).any():
        return None

    separator = (skeleton == _SPACE) | (skeleton == _COLON) | (skeleton == _LINE_END)
    separators = skeleton[separator]  # what follows each number
    numbers = _numbers(text, words=bool((present & ~_IN_NUMBERS).any()), plus=bool(present[ord("+")]))
    if numbers is None or len(numbers) != len(separators):
        return None

    row_ends = np.flatnonzero(separators == _LINE_END)
    row_starts = np.empty_like(row_ends)
    row_starts[0] = 0
    row_starts[1:] = row_ends[:-1] + 1
    is_index = separators == _COLON
    is_value = np.zeros_like(is_index)
    is_value[1:] = is_index[:-1]
    well_formed = is_index ^ is_value
    begins_with_colon = is_index[row_starts]
    well_formed[row_starts[~begins_with_colon]] = True
    if not well_formed.all():
        return None

    labels = weights = qids = None
    if needs_label:
        labels = numbers[row_starts]
        if begins_with_colon.any():
            if not begins_with_colon.all():
                return None
            weights = numbers[row_starts + 1]
            is_index[row_starts] = False
            is_value[row_starts + 1] = False
    elif not begins_with_colon.any():
        labels = numbers[row_starts]

    # An index is digits alone: between its colon and the separator before it the skeleton has nothing.
    colons = np.flatnonzero(skeleton == _COLON)
    odd = ~separator[colons - 1]
    odd[colons == 0] = False
    if weights is not None:
        first = np.zeros(len(separators), np.bool_)
        first[row_starts] = True
        odd[first[separators == _COLON]] = False
    if np.count_nonzero(odd) != groups:
        return None

    found = numbers[is_index]
    values = numbers[is_value]
    indptr = np.zeros(len(row_ends) + 1, np.int64)
    indptr[1:] = np.cumsum(is_index)[row_ends]
    if groups:
        first_pairs = indptr[:-1]
        if groups != len(row_ends) or (np.diff(indptr) == 0).any() or (found[first_pairs] != -1).any():
            return None
        qids = values[first_pairs].astype(np.int64)
        if (values[first_pairs] != qids).any() or qids.min() < 0 or qids.max() > libsvm_exact.MAX_QID:
            return None
        others = np.ones(len(found), np.bool_)
        others[first_pairs] = False
        found, values = found[others], values[others]
        indptr = indptr - np.arange(len(indptr))
    if len(found) and (found.min() < 0 or found.max() > MAX_INDEX):
        return None
    return _block(indptr, found.astype(np.int32), values, labels, weights, qids)


def _tidy(text: bytes) -> bytes:
    """The rows with one space between tokens and one line end after each."""
    if not text.endswith(b"\n"):
        text += b"\n"
    if b" \n" in text:
        text = text.replace(b" \n", b"\n")  # many writers end each line so
    content = np.frombuffer(text, np.uint8)
    white = (content == _SPACE) | (content == _LINE_END)
    if white[0] or (white[1:] & white[:-1]).any() or b"\t" in text or b"\r" in text or b"#" in text:
        lines = (b" ".join(line.partition(b"#")[0].split()) for line in text.split(b"\n"))
        text = b"".join([line + b"\n" for line in lines if line])
    return text


def _numbers(text: bytes, *, words: bool, plus: bool) -> NDArray[np.float64] | None:
    """All numbers of a tidy text, in order, or None where there is something else."""
    if plus:  # `+1 3:1` is common, and not JSON
        if b"++" in text or b"+-" in text:
            return None
        text = text.removeprefix(b"+").replace(b"\n+", b"\n").replace(b" +", b" ").replace(b":+", b":")
    if not words:
        found = json_numbers.floats(b"[" + text[:-1].translate(_TO_COMMAS) + b"]")
        if found is not None:
            return found
    # `.5`, `1.` and `01` are numbers, but not in JSON.
    try:
        return np.array([float(token) for token in text.translate(_TO_SPACES).split()], np.float64)
    except ValueError:
        return None


def _block(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    labels: NDArray[np.float64] | None,
    weights: NDArray[np.float64] | None,
    qids: NDArray[np.int64] | None,
) -> Sparse | None:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
        narrow_labels = None if labels is None else labels.astype(np.float32)
        narrow_weights = None if weights is None else weights.astype(np.float32)
    for array in (narrow, narrow_labels, narrow_weights):
        if array is not None and np.isinf(array).any():
            return None
    if narrow_weights is not None and not (narrow_weights >= 0).all():
        return None
    try:
        indices, narrow = in_order(indptr, indices, narrow)
    except Repeated:
        return None
    width = int(indices.max()) + 1 if len(indices) else 0
    return Sparse(indptr, indices, narrow, width, narrow_labels, narrow_weights, qids)
