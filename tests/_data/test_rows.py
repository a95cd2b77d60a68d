"""Rows in memory, in files, sparse and from Datasets: the same numbers, in the same order."""

import itertools

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils.data import Dataset, TensorDataset

from sk_hvae._data.batches import shuffled
from sk_hvae._data.rows import (
    ArrayRows,
    DatasetRows,
    ResidentRows,
    SparseRows,
    as_rows,
    as_tensor,
)

SHAPE = (60, 4)


@pytest.fixture
def table():
    return np.random.default_rng(0).integers(-9, 9, SHAPE).astype(np.float64)


@pytest.fixture
def small_windows(monkeypatch):
    """Let windows and chunks hold a few rows of four columns, so that small data are streamed."""
    monkeypatch.setattr("sk_hvae._data.rows._WINDOW_ELEMENTS", 4 * 16)
    monkeypatch.setattr("sk_hvae._data.rows._READ_AT_ONCE_ELEMENTS", 4 * 16)
    monkeypatch.setattr("sk_hvae._data.rows._CHUNK_ELEMENTS", 4 * 7)


def memmap(path, array, mode="r"):
    mapped = np.memmap(path, array.dtype, "w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(path, array.dtype, mode, shape=array.shape)


class Images(Dataset):
    """Items of one channel, two by two, with a label."""

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def __getitem__(self, i):
        return self.table[i].reshape(1, 2, 2), i


class Fetched(Images):
    """Items that are fetched many at once."""

    def __getitem__(self, i):
        raise AssertionError("one by one")

    def __getitems__(self, numbers):
        return [torch.from_numpy(self.table[i]) for i in numbers]


KINDS = {
    "array": lambda table, path: ArrayRows(table),
    "file": lambda table, path: ArrayRows(memmap(path, table)),
    "file of float16": lambda table, path: ArrayRows(memmap(path, table.astype(np.float16))),
    "file of int32": lambda table, path: ArrayRows(memmap(path, table.astype(np.int32))),
    "file of another byte order": lambda table, path: ArrayRows(memmap(path, table.astype(">f8"))),
    "part of a file": lambda table, path: ArrayRows(memmap(path, np.repeat(table, 2, 0))[::2]),
    "columns of a file": lambda table, path: ArrayRows(memmap(path, np.tile(table, 2))[:, :4]),
    "CSR matrix": lambda table, path: SparseRows(sparse.csr_matrix(table)),
    "CSR array": lambda table, path: SparseRows(sparse.csr_array(table)),
    "TensorDataset": lambda table, path: DatasetRows(TensorDataset(torch.from_numpy(table))),
    "Dataset of images": lambda table, path: DatasetRows(Images(table)),
    "Dataset with __getitems__": lambda table, path: DatasetRows(Fetched(table)),
    "memory": lambda table, path: ResidentRows(torch.from_numpy(table)),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Dataset with __getitems__"])
class TestEveryKind:
    def test_rows_come_in_the_order_asked_for(self, table, tmp_path, kind):
        rows = KINDS[kind](table, tmp_path / "X")
        index = torch.tensor([7, 3, 3, 59, 0])
        np.testing.assert_array_equal(rows.take(index), table[index])
        assert rows.shape == SHAPE
        assert len(rows) == 60

    def test_chunks_are_all_rows_in_order(self, table, tmp_path, kind, small_windows):
        chunks = list(KINDS[kind](table, tmp_path / "X").chunks())
        assert [len(chunk) for chunk in chunks] == [7] * 8 + [4]
        np.testing.assert_array_equal(torch.cat(chunks), table)

    def test_every_third_row(self, table, tmp_path, kind):
        np.testing.assert_array_equal(KINDS[kind](table, tmp_path / "X").every(3), table[::3])

    @pytest.mark.parametrize("n_parts", [1, 4, 30])
    def test_batches_are_as_asked_for(self, table, tmp_path, kind, small_windows, n_parts):
        parts = torch.randperm(60, generator=torch.Generator().manual_seed(0)).tensor_split(n_parts)
        batches = list(KINDS[kind](table, tmp_path / "X").batches(parts))
        for batch, part in zip(batches, parts, strict=True):
            np.testing.assert_array_equal(batch, table[part])

    def test_checks_see_every_row_and_may_refuse(self, table, tmp_path, kind, small_windows):
        seen = []
        rows = KINDS[kind](table, tmp_path / "X")
        rows.check(lambda part: seen.append(part.clone()))
        for _ in rows.chunks():
            pass
        np.testing.assert_array_equal(torch.cat(seen)[:60].sort(0).values, np.sort(table, 0))

        def refuse(part):
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):  # noqa: PT012
            rows.check(refuse)
            list(rows.chunks())


def test_items_are_fetched_at_once_where_the_dataset_can(table):
    rows = object.__new__(DatasetRows)
    super(DatasetRows, rows).__init__(SHAPE)
    rows._dataset = Fetched(table)
    np.testing.assert_array_equal(rows.take(torch.tensor([5, 2])), table[[5, 2]])


class TestStreaming:
    def test_one_window_is_read_ahead(self, table, small_windows):
        read = []

        class Spy(SparseRows):
            def _read(self, index):
                read.append(len(index))
                return super()._read(index)

        batches = Spy(sparse.csr_array(table)).batches(torch.arange(60).split(8))
        assert read == []
        next(batches)
        list(itertools.islice(batches, 1))
        assert read in ([16], [16, 16])
        assert len(list(batches)) == 6
        assert read == [16, 16, 16, 12]

    def test_a_batch_larger_than_a_window_is_one(self, table, small_windows):
        (batch,) = ArrayRows(table).batches([torch.arange(60)])
        np.testing.assert_array_equal(batch, table)

    def test_what_breaks_in_reading_is_raised(self, table, small_windows):
        class Broken(Images):
            def __getitem__(self, i):
                if i == 40:
                    raise OSError("disk")
                return super().__getitem__(i)

        batches = DatasetRows(Broken(table)).batches(torch.arange(60).split(8))
        with pytest.raises(OSError, match="disk"):
            list(batches)

    def test_items_of_different_sizes_are_refused(self):
        dataset = [torch.zeros(2), torch.zeros(3)]
        with pytest.raises(ValueError, match="the first has 2 numbers, another 3"):
            DatasetRows(dataset).take(torch.tensor([0, 1]))


class TestAsRows:
    def test_large_files_and_sparse_matrices_are_streamed(self, table, tmp_path, small_windows):
        assert isinstance(as_rows(memmap(tmp_path / "X", table)), ArrayRows)
        assert isinstance(as_rows(sparse.csr_array(table)), SparseRows)
        assert isinstance(as_rows(table), ResidentRows)

    def test_small_ones_are_read_at_once_but_datasets_never(self, table, tmp_path):
        assert isinstance(as_rows(memmap(tmp_path / "X", table)), ResidentRows)
        assert isinstance(as_rows(sparse.csr_array(table)), ResidentRows)
        assert isinstance(as_rows(Images(table)), DatasetRows)


class TestShuffled:
    def order(self, n_rows, n_features=1, seed=0):
        return shuffled(n_rows, n_features, torch.Generator().manual_seed(seed))

    def test_small_data_are_permuted_as_by_torch(self):
        expected = torch.randperm(1000, generator=torch.Generator().manual_seed(3))
        assert torch.equal(self.order(1000, seed=3), expected)

    @pytest.mark.parametrize("n_rows", [1000, 1001, 129])
    @pytest.mark.parametrize("n_features", [1, 3, 40])
    def test_large_data_are_permuted_too(self, monkeypatch, n_rows, n_features):
        monkeypatch.setattr("sk_hvae._data.batches._SHUFFLED_ELEMENTS", 128)
        monkeypatch.setattr("sk_hvae._data.batches._BLOCK_ELEMENTS", 8)
        order = self.order(n_rows, n_features)
        assert torch.equal(order.sort().values, torch.arange(n_rows))
        assert not torch.equal(order, self.order(n_rows, n_features, seed=1))

    def test_a_window_holds_whole_blocks_from_everywhere(self, monkeypatch):
        monkeypatch.setattr("sk_hvae._data.batches._SHUFFLED_ELEMENTS", 400)
        monkeypatch.setattr("sk_hvae._data.batches._BLOCK_ELEMENTS", 10)
        windows = self.order(4000).split(400)
        for window in windows:
            blocks, counts = (window // 10).unique(return_counts=True)
            assert (counts == 10).all()
            # The mean of 40 of the numbers 0 to 399 has a standard deviation of 17.4.
            assert abs(blocks.float().mean() - 199.5) < 5 * 17.4
            # Within the window, blocks are mixed: neighbours seldom belong together.
            assert ((window // 10).diff() == 0).float().mean() < 0.2


class TestAsTensor:
    @pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "int16", "bool"])
    def test_memory_is_shared(self, dtype):
        X = np.ones((3, 2), dtype)
        tensor = as_tensor(X)
        X[1, 1] = 0
        assert tensor[1, 1] == 0
        assert str(tensor.dtype) == f"torch.{dtype}"

    def test_read_only_arrays_are_taken_without_a_warning(self):
        X = np.arange(6.0).reshape(3, 2)
        X.flags.writeable = False
        assert as_tensor(X).data_ptr() == X.ctypes.data


class TestChunks:
    @pytest.mark.parametrize(("n_rows", "n_features"), [(10, 3), (5, 2**20), (3000, 1500)])
    def test_chunks_are_views_of_at_most_2_to_21_numbers_in_order(self, n_rows, n_features):
        rows = torch.zeros(1).expand(n_rows, n_features)
        sizes = [len(chunk) for chunk in ResidentRows(rows).chunks()]
        assert sum(sizes) == n_rows
        assert max(sizes) * n_features <= 2**21
        assert len(sizes) == -(-n_rows // (2**21 // n_features))

    def test_chunks_share_memory(self):
        rows = torch.zeros(4, 2)
        ResidentRows(rows).chunks()[0][3, 1] = 1
        assert rows[3, 1] == 1

    def test_rows_wider_than_a_chunk_come_one_by_one(self):
        rows = torch.zeros(1).expand(3, 2**21 + 1)
        assert [len(chunk) for chunk in ResidentRows(rows).chunks()] == [1, 1, 1]
