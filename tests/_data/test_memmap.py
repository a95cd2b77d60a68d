"""Pages of memory-mapped files: which are asked for, and that they leave the process."""

import mmap

import numpy as np
import psutil
import pytest
import torch

from sk_hvae._data.memmap import MappedPages, memory_map

SHAPE = (60, 4)


@pytest.fixture
def table():
    return np.random.default_rng(0).integers(-9, 9, SHAPE).astype(np.float64)


def memmap(path, array, mode="r", offset=0):
    np.memmap(path, array.dtype, "w+", offset, array.shape)[:] = array
    return np.memmap(path, array.dtype, mode, offset, array.shape)


def resident():
    return psutil.Process().memory_info().rss


class Spy:
    """Stands for a mapping; notes the bytes that are asked for."""

    def __init__(self, mapping):
        self.mapping = mapping
        self.asked = np.zeros(len(mapping), bool)

    def __len__(self):
        return len(self.mapping)

    def madvise(self, advice, start, length):
        assert advice == mmap.MADV_WILLNEED
        assert not self.asked[start : start + length].any()
        self.mapping.madvise(advice, start, length)
        self.asked[start : start + length] = True


class TestAskFor:
    @pytest.mark.parametrize("offset", [0, 128, 5000])
    @pytest.mark.parametrize(
        "view",
        [
            lambda X: X,
            lambda X: X[17:],
            lambda X: X[::3],
            lambda X: X[::-1],
            lambda X: X[:, 100:300],
            lambda X: X[:, ::-2],
        ],
        ids=["all", "from a row", "every third", "reversed", "columns", "columns reversed"],
    )
    def test_it_covers_the_rows_and_little_else(self, tmp_path, monkeypatch, view, offset):
        page = mmap.PAGESIZE
        monkeypatch.setattr("sk_hvae._data.memmap._ASKED_BYTES", page)
        mapped = memmap(tmp_path / "X", np.zeros((60, 1000)), "r+", offset)
        rows = torch.tensor([1, 2, 9, 15])
        pages = MappedPages(view(mapped))
        pages._map = spy = Spy(pages._map)
        pages.ask_for(rows)
        view(mapped)[rows.numpy()] = 1  # what the file itself says of where rows are
        mapped.flush()
        content = np.fromfile(tmp_path / "X", np.uint8)[offset - offset % page :]
        used = np.flatnonzero(content) // page
        asked = np.flatnonzero(spy.asked) // page
        assert {*used} <= {*asked}
        assert len({*asked} - {*used}) <= 2 * len(rows)

    def test_arrays_in_memory_have_no_pages(self, table):
        pages, before = MappedPages(table), table.copy()
        pages.ask_for(torch.arange(5))
        pages.forget()
        np.testing.assert_array_equal(table, before)


class TestPieces:
    def test_they_are_all_rows_in_few_regions_each(self, tmp_path, monkeypatch):
        monkeypatch.setattr("sk_hvae._data.memmap._REGION_BYTES", 1000)
        monkeypatch.setattr("sk_hvae._data.memmap._REGIONS_AT_ONCE", 3)
        pages = MappedPages(memmap(tmp_path / "X", np.zeros((500, 10))))
        rows = torch.arange(0, 500, 7)
        pieces = pages.pieces(rows)
        assert torch.equal(torch.cat(pieces), rows)
        assert len(pieces) == 14  # 40 regions, three at once
        assert max(len((piece * 80 // 1000).unique()) for piece in pieces) == 3

    def test_arrays_in_memory_are_one(self, table):
        rows = torch.arange(5)
        (piece,) = MappedPages(table).pieces(rows)
        assert torch.equal(piece, rows)


class TestForget:
    def test_what_was_written_stays(self, table, tmp_path):
        mapped = memmap(tmp_path / "X", table, "r+")
        mapped[5] = 77
        MappedPages(mapped[2:]).forget()
        assert (mapped[5] == 77).all()
        assert (np.memmap(tmp_path / "X", table.dtype, "r", shape=SHAPE)[5] == 77).all()

    def test_private_changes_stay(self, table, tmp_path):
        mapped = memmap(tmp_path / "X", table, "c")
        mapped[5] = 77
        MappedPages(mapped[2:]).forget()
        assert (mapped[5] == 77).all()

    def test_pages_leave_the_process(self, tmp_path):
        mapped = memmap(tmp_path / "X", np.ones((2**22, 8), np.float32))  # 128 MiB
        before = resident()
        assert mapped.sum(dtype=np.float64) == 2**25
        grown = resident() - before
        MappedPages(mapped).forget()
        assert grown > 2**26
        assert resident() - before < grown - 2**26


def test_views_of_memmaps_are_known(table, tmp_path):
    mapped = memmap(tmp_path / "X", table)
    for view in (mapped, mapped[3:], np.asarray(mapped), np.asarray(mapped)[:, 1:]):
        assert isinstance(memory_map(view), np.memmap)
    assert memory_map(table) is None
    assert memory_map(mapped + 1) is None
