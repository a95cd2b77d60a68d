"""Chunks of rows are all rows in order, as large as the rows before can pay for."""

from itertools import pairwise

import numpy as np
import pytest

from sk_hvae._codec.segments import SEGMENT_ROWS, Balance, groups_of, spans_of

BALANCES = [Balance(178, 27), Balance(700, 2800), Balance(0, 0), Balance(0, 5), Balance(95, 166)]
each = pytest.mark.parametrize("balance", BALANCES, ids=str)


@each
@pytest.mark.parametrize("n_rows", [1, 2, 33, 597, 1024])
@pytest.mark.parametrize("most", [1, 64])
def test_chunks_are_all_rows_in_order(balance, n_rows, most):
    spans, lanes = zip(*balance.chunks(n_rows, most), strict=True)
    assert [row for span in spans for row in range(span.start, span.stop)] == [*range(n_rows)]
    assert max(span.stop - span.start for span in spans) <= most
    assert all(n & (n - 1) == 0 for n in lanes)
    assert all(before <= after for before, after in pairwise(lanes))


@each
def test_chunks_borrow_no_more_than_there_is(balance):
    for span, n_lanes in balance.chunks(SEGMENT_ROWS, 64):
        n_rows, there = span.stop - span.start, span.start * balance.left
        # A lane keeps the lower 32 bits of its state.
        assert n_rows == 1 or n_rows * balance.borrowed + 32 * n_lanes <= there


@each
def test_lanes_cost_little(balance):
    *_, (_, n_lanes) = balance.chunks(SEGMENT_ROWS, 64)
    # Joining a lane takes log2(32 ln 2) = 4.5 bits more than its state holds.
    assert n_lanes == 1 or 4.5 * n_lanes < 0.0025 * SEGMENT_ROWS * balance.left


@pytest.mark.parametrize("n_rows", [0, 1, 1024, 1025, 1100, 40_000])
def test_groups_have_all_rows(n_rows):
    groups = [*groups_of(spans_of(n_rows))]
    rows = [np.arange(span.start, span.stop) for group in groups for span in group]
    np.testing.assert_array_equal(np.concatenate([[], *rows]), np.arange(n_rows))
    assert len(rows) == np.ceil(n_rows / SEGMENT_ROWS)
    assert max(map(len, rows), default=0) <= SEGMENT_ROWS
    assert n_rows == 0 or min(map(len, rows)) > 0.9 * min(n_rows, SEGMENT_ROWS / 2)
    for group in groups:
        assert len({span.stop - span.start for span in group}) == 1
