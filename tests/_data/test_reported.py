"""Rows that tell how many of them are done are the same rows."""

import numpy as np
import pytest
import torch

from sk_hvae._data.reported import ReportedRows
from sk_hvae._data.rows import ArrayRows, ResidentRows

X = np.arange(40.0).reshape(10, 4)


@pytest.fixture(autouse=True)
def three_rows_a_chunk(monkeypatch):
    monkeypatch.setattr("sk_hvae._data.rows._CHUNK_ELEMENTS", 12)


@pytest.mark.parametrize("rows", [ArrayRows(X), ResidentRows(torch.from_numpy(X))])
def test_a_chunk_is_told_of_when_it_is_done(rows):
    told = []
    reported = ReportedRows(rows, told.append).on(torch.device("cpu"))
    for number, chunk in enumerate(reported.chunks()):
        assert told == [3] * number
        assert torch.equal(chunk, torch.from_numpy(X[3 * number :][:3]))
    assert told == [3, 3, 3, 1]


def test_they_are_the_same_rows():
    rows, told = ArrayRows(X), []
    reported = ReportedRows(rows, told.append)
    index = torch.tensor([3, 1])
    assert torch.equal(reported.take(index), rows.take(index))
    assert torch.equal(reported.every(4), rows.every(4))
    assert all(map(torch.equal, reported.batches([index]), rows.batches([index])))
    assert reported.fingerprint() == rows.fingerprint()
    assert (reported.shape, reported.dtype) == (rows.shape, rows.dtype)
    seen = []
    reported.check(lambda part: seen.append(len(part)))
    rows.take(index)
    assert seen
