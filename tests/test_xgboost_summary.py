"""The summary of columns: what numpy says of them, in one pass, whatever the blocks and the hosts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from xgboost_container.training.input import summary as summary_module
from xgboost_container.training.input.summary import Summary

FLOATS = st.one_of(
    st.just(np.float32(np.nan)),
    st.floats(-1e6, 1e6, width=32),
    st.floats(width=32, allow_infinity=False),
)
TABLES = st.tuples(st.integers(1, 30), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=FLOATS)
)


def assert_is_of(summary: Summary, table: NDArray[np.float32]) -> None:
    exact = table.astype(np.float64)
    assert summary.rows == len(table)
    for column, values in enumerate(exact.T):
        present = values[~np.isnan(values)]
        assert summary.count[column] == len(present)
        assert summary.missing[column] == len(values) - len(present)
        if len(present):
            scale = np.abs(present).max() or 1.0
            assert summary.lowest[column] == present.min()
            assert summary.highest[column] == present.max()
            np.testing.assert_allclose(summary.mean[column] / scale, present.mean() / scale, atol=1e-12)
            np.testing.assert_allclose(summary.standard_deviation[column] / scale, present.std() / scale, atol=1e-7)
        else:
            assert (summary.lowest[column], summary.highest[column]) == (np.inf, -np.inf)
            assert np.isnan(summary.standard_deviation[column])


@given(table=TABLES, cut=st.integers(0, 30))
def test_it_says_what_numpy_says_in_one_piece_or_in_two(table: NDArray[np.float32], cut: int) -> None:
    assert_is_of(Summary.of(table), table)
    assert_is_of(Summary.of(table[:cut]).merge(Summary.of(table[cut:])), table)


@given(table=TABLES)
def test_sparse_rows_are_described_as_dense_ones(table: NDArray[np.float32]) -> None:
    present = ~np.isnan(table)
    indices = np.nonzero(present)[1].astype(np.int32)
    sparse = Summary.of_sparse(indices, table[present], rows=len(table), width=table.shape[1])
    assert_is_of(sparse, table)


@given(table=TABLES)
def test_it_survives_being_sent(table: NDArray[np.float32]) -> None:
    assert_is_of(Summary.from_array(Summary.of(table).as_array()), table)


def test_nothing_cancels_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    # The naive sum of squares of these has no digit left of the variance.
    table = (16_000_000 + np.random.default_rng(0).integers(0, 3, (100_000, 2))).astype(np.float32)
    monkeypatch.setattr(summary_module, "_VALUES_AT_ONCE", 1000)
    np.testing.assert_allclose(Summary.of(table).standard_deviation, table.std(axis=0, dtype=np.float64), rtol=1e-10)


def test_a_constant_column_has_no_spread_at_all() -> None:
    assert Summary.of(np.full((70_000, 1), 0.1, np.float32)).standard_deviation[0] == 0


def test_a_sparse_table_may_widen_and_an_empty_one_says_nothing() -> None:
    narrow = Summary.of(np.ones((2, 1), np.float32))
    wide = Summary.of(np.ones((3, 2), np.float32))
    both = narrow.merge(wide)
    assert both.count.tolist() == [5, 3]
    assert both.missing.tolist() == [0, 2]
    assert both.merge(Summary.nothing(2)).as_array().tolist() == both.as_array().tolist()
    assert Summary.nothing(2).merge(both).as_array().tolist() == both.as_array().tolist()
