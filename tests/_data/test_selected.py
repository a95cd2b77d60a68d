"""Selected rows are those of an array that was indexed, wherever the rows are."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from sk_hvae._data.rows import ArrayRows, DatasetRows, ResidentRows
from sk_hvae._data.selected import SelectedRows

TABLE = torch.arange(40.0).view(20, 2)
INDEX = torch.tensor([7, 3, 19, 0, 4, 11])
KINDS = {
    "resident": lambda: ResidentRows(TABLE),
    "in a file": lambda: ArrayRows(TABLE.numpy()),
    "dataset": lambda: DatasetRows(TensorDataset(TABLE)),
}


@pytest.fixture(params=KINDS)
def rows(request):
    return SelectedRows(KINDS[request.param](), INDEX)


def test_all_ways_to_read_them(rows):
    expected = TABLE[INDEX]
    assert (len(rows), rows.shape) == (6, (6, 2))
    np.testing.assert_array_equal(rows.take(torch.tensor([5, 0, 0])), expected[[5, 0, 0]])
    np.testing.assert_array_equal(rows.every(4), expected[::4])
    np.testing.assert_array_equal(torch.cat([*rows.chunks()]), expected)
    first, second = rows.batches([torch.tensor([2, 1]), torch.tensor([0])])
    np.testing.assert_array_equal(first, expected[[2, 1]])
    np.testing.assert_array_equal(second, expected[[0]])


def test_on_a_device(rows):
    there = rows.on(torch.device("cpu"))
    np.testing.assert_array_equal(there.every(1), TABLE[INDEX])


def test_the_hash_is_that_of_a_copy(rows):
    copied = ResidentRows(TABLE[INDEX])
    if rows.are_fixed:
        assert rows.digest() == copied.digest()
        assert rows.fingerprint() == copied.fingerprint()
    else:
        assert (rows.digest(), rows.fingerprint()) == ("unknown", None)
