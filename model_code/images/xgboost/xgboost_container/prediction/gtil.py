"""Treelite's tree inference for few rows: the only place that calls its C library.

treelite's Python function spends as long around the library as the library needs for a row (37 us against 16 us for 200
trees of depth 6), because it makes and destroys a configuration object at each call, and a request for one row
has 95 us for everything. The C API is the documented one (`treelite/c_api.h` and `treelite/gtil.h`); whoever loads a
model here compares it with XGBoost before it is used.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import without_scipy  # noqa: F401  (before treelite)

import treelite  # isort: skip
import treelite.gtil  # isort: skip
from treelite.libpath import find_lib_path  # isort: skip


class Unsupported(Exception):
    """Treelite cannot take this model; XGBoost scores it alone."""


class Trees:
    """The trees of one booster, as treelite holds them. Threads may score at the same time."""

    def __init__(self, content: bytes, *, is_json: bool, base_margin: NDArray[np.float32] | None) -> None:
        """Load the same bytes that XGBoost loaded.

        Args:
            content: the model, as UBJSON or JSON.
            is_json: which of the two.
            base_margin: the raw score before the first tree, one per output, where treelite's own is not
                what XGBoost computes; else None.

        Raises:
            Unsupported: treelite has no such model (linear boosters, objectives of its own).
        """
        load = treelite.frontend.from_xgboost_json if is_json else treelite.frontend.from_xgboost_ubjson
        try:
            self._model = load(content, allow_unknown_field=True)
            shape = treelite.gtil.predict(
                self._model, np.zeros((1, self._model.num_feature), np.float32), nthread=1, pred_margin=True
            ).shape
        except treelite.TreeliteError as error:
            raise Unsupported(str(error).splitlines()[0]) from None
        if self._model.input_type != "float32" or self._model.output_type != "float32":
            raise Unsupported(f"computes in {self._model.input_type} and {self._model.output_type}, not in float32")
        self.num_features: int = self._model.num_feature
        self.num_trees: int = self._model.num_tree
        self.num_outputs: int = int(np.prod(shape[1:]))
        _begin_with_base(self._model, self.num_outputs, base_margin)
        # Kept, because each is an attribute look-up or a call on the way of every request.
        self._handle = self._model.handle
        self._predict = _library().TreeliteGTILPredict

    def scores(self, rows: NDArray[np.float32], *, margin: bool) -> NDArray[np.float32]:
        """Scores of shape (rows, outputs). `rows` is C-contiguous, float32 and `num_features` wide: the caller's word."""
        count = len(rows)
        out = np.empty((count, self.num_outputs), np.float32)
        failed = self._predict(
            self._handle, rows.ctypes.data, b"float32", count, out.ctypes.data, _configuration(margin)
        )
        if failed:
            raise RuntimeError(f"treelite: {_library().TreeliteGetLastError().decode(errors='replace')}")
        return out

    def thresholds(self, at_most: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Features and the values they are split at, from some of the trees: where scores change."""
        count = self._model.num_tree
        features, values = [], []
        for tree in range(0, count, max(1, -(-count // at_most))):
            accessor = self._model.get_tree_accessor(tree)
            inner = accessor.get_field("cleft") != -1
            features.append(accessor.get_field("split_index")[inner].astype(np.int32))
            values.append(accessor.get_field("threshold")[inner].astype(np.float32))
        return np.concatenate(features), np.concatenate(values)


def _begin_with_base(model: Any, outputs: int, base_margin: NDArray[np.float32] | None) -> None:
    """Have the sum begin with the base score, as XGBoost's does: float32 sums depend on their order.

    Treelite adds it after the last tree. For 600 trees around a base score of 1000 the two differ by more than 1e-6
    of the score. So it goes into the leaves of each output's first tree: 0 + (base + leaf) is what XGBoost computes
    first.
    """
    header = model.get_header_accessor()
    base = header.get_field("base_scores").astype(np.float32)
    if base_margin is not None:
        base = base_margin
    if base.shape != (outputs,):
        raise Unsupported(f"has {base.shape} base scores for {outputs} outputs")
    if not base.any():
        return
    targets, classes = header.get_field("target_id").copy(), header.get_field("class_id").copy()
    width = max(1, int(header.get_field("num_class").max()))
    waiting = set(range(outputs))
    for index in range(model.num_tree):
        tree = model.get_tree_accessor(index)
        vectors = tree.get_field("leaf_vector").copy()
        if len(vectors):  # a leaf of several outputs: one tree holds them all
            # set_field copies while it frees the old array: never hand it a view of that array.
            tree.set_field("leaf_vector", (vectors.reshape(-1, outputs) + base).astype(np.float32).ravel())
            waiting.clear()
        else:
            output = max(0, int(targets[index])) * width + max(0, int(classes[index]))
            if output in waiting:
                tree.set_field("leaf_value", tree.get_field("leaf_value") + base[output])
                waiting.discard(output)
        if not waiting:
            header.set_field("base_scores", np.zeros(outputs, np.float64))
            return
    raise Unsupported("has outputs without a tree")


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(find_lib_path()[0]))  # a handle of our own, of the library that treelite has loaded
    library.TreeliteGetLastError.restype = ctypes.c_char_p
    library.TreeliteGTILParseConfig.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    pointer, size = ctypes.c_void_p, ctypes.c_uint64
    library.TreeliteGTILPredict.argtypes = [pointer, pointer, ctypes.c_char_p, size, pointer, pointer]
    library.TreeliteGTILPredict.restype = ctypes.c_int
    return library


@functools.cache
def _configuration(margin: bool) -> ctypes.c_void_p:
    """One of two for the life of the process. Read only by the library, so threads share it."""
    configuration = ctypes.c_void_p()
    text = b'{"predict_type": "%s", "nthread": 1}' % (b"raw" if margin else b"default")
    if _library().TreeliteGTILParseConfig(text, ctypes.byref(configuration)):
        raise RuntimeError(f"treelite: {_library().TreeliteGetLastError().decode(errors='replace')}")
    return configuration
