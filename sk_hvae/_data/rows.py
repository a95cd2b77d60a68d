"""Rows of X wherever they are: in memory, in a file, sparse, or made by a torch Dataset."""

import copy
import hashlib
import warnings
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import final

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset

from sk_hvae._data.memmap import MappedPages, memory_map
from sk_hvae.nn.even_rows import EVEN_ROWS

# Rows are read and measured in parts of this many numbers, 8 MB of float32: larger parts take more
# memory at a time, smaller ones more calls.
_CHUNK_ELEMENTS = 2**21
# Rows of a file are read in the order in which they are stored, within windows of this many
# numbers. The next window is read while one is used, so that two are in memory.
_WINDOW_ELEMENTS = 2**21
# Files and sparse matrices of up to this many numbers, 64 MB of float32, are read into memory as a
# whole, where batches are quicker to cut.
_READ_AT_ONCE_ELEMENTS = 2**24
# Rows that take up to this share of a GPU's free memory go there as a whole; the rest is for the
# model, its gradients and the batches. gpu.py in examples/benchmarks times rows on either side.
_SHARE_OF_GPU = 0.5
# Enough rows to tell data sets apart, and few enough that reading them from a file costs little.
_DIGESTED_ROWS = 1000
_CPU = torch.device("cpu")
# The dtypes whose values float32 holds exactly.
_HELD_BY_FLOAT32 = {
    *(torch.float32, torch.float16, torch.bfloat16),
    *(torch.uint8, torch.int8, torch.int16, torch.bool),
}
# The dtypes of NumPy that X may keep, because torch has them and the model can compute with them.
TORCH_DTYPES = [np.float64, np.float32, np.float16, np.uint8, np.int8, np.int16, np.bool_]


class Rows(ABC):
    """The rows of X, wherever they are: what training and measuring need to know of them.

    Parameters
    ----------
    shape : tuple of int
        Numbers of rows and of columns.
    device : torch.device
        Where batches of rows are put.
    dtype : torch.dtype
        The dtype of the rows before they go to a device, which may not have it.
    """

    are_fixed = True
    """Whether a row is the same each time that it is read."""

    def __init__(self, shape, device=_CPU, dtype=torch.float32):
        self.shape = tuple(shape)
        self.dtype = dtype
        self.device = device

    def __len__(self):
        return self.shape[0]

    @final
    @property
    def float_dtype(self):
        """Name of the smaller float dtype that holds the values, "float32" or "float64"."""
        return "float32" if self.dtype in _HELD_BY_FLOAT32 else "float64"

    @abstractmethod
    def on(self, device):
        """Return these rows on a device."""

    @abstractmethod
    def check(self, function):
        """Have a function check all rows, part by part; it raises an error if it must."""

    @abstractmethod
    def take(self, index):
        """Copy rows, in the order of a LongTensor of their numbers."""

    @abstractmethod
    def batches(self, parts):
        """Yield batches, given a sequence of LongTensors of row numbers."""

    @abstractmethod
    def chunks(self):
        """Yield all rows in order, in parts of at most 2**21 numbers, or of a single row."""

    @abstractmethod
    def every(self, step):
        """Return every ``step``-th row."""

    @final
    def digest(self):
        """Hash a thousand evenly spaced rows, by which data sets are told apart quickly.

        Rows that may be others each time they are read are "unknown".
        """
        if not self.are_fixed:
            return "unknown"
        some = self.every(-(-len(self) // _DIGESTED_ROWS)).cpu().contiguous()
        return hashlib.sha256(some.numpy().tobytes()).hexdigest()[:16]

    @final
    def fingerprint(self):
        """Hash all rows in order, so that any change is found.

        None stands for rows that may be others each time they are read.
        """
        if not self.are_fixed:
            return None
        hashed = hashlib.sha256(str(self.shape).encode())
        for chunk in self.chunks():
            hashed.update(chunk.cpu().contiguous().numpy())
        return hashed.hexdigest()


class ResidentRows(Rows):
    """Rows of a tensor on the device where they are used.

    Parameters
    ----------
    tensor : Tensor of shape (n_rows, n_features)
        Not copied.
    """

    def __init__(self, tensor):
        super().__init__(tensor.shape, tensor.device, tensor.dtype)
        self._tensor = tensor

    def on(self, device):
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self._tensor.nbytes > _SHARE_OF_GPU * free:
                return ArrayRows(self._tensor.numpy()).on(device)
        there = ResidentRows(to_device(self._tensor, device))
        there.dtype = self.dtype
        return there

    def check(self, function):
        for chunk in self.chunks():
            function(chunk)

    def take(self, index):
        return self._tensor.index_select(0, index.to(self.device))

    def batches(self, parts):
        return map(self.take, parts)

    def chunks(self):
        return self._tensor.split(chunk_rows(self.shape))

    def every(self, step):
        return self._tensor[::step]


class StreamedRows(Rows):
    """Rows that are read when they are needed.

    Consecutive batches form windows of up to 2**21 numbers, whose rows are read in the order in
    which they are stored. While one window is used, a thread reads the next. Rows are checked
    whenever they are read, because a Dataset may give other items each time.
    """

    _checks: tuple = ()

    def on(self, device):
        twin = copy.copy(self)
        twin.device = device
        return twin

    def check(self, function):
        self._checks = (*self._checks, function)

    @abstractmethod
    def _read(self, index):
        """Read rows by a sorted LongTensor of their numbers; returns a CPU tensor."""

    def take(self, index):
        return self._send(self._read_in_any_order(index))

    def batches(self, parts):
        # All numbers come to the CPU first: a copy from a GPU, made in the reader's thread, would
        # wait for all work that is queued there.
        parts = torch.cat(list(parts)).cpu().split([len(part) for part in parts])
        windows = _windows(parts, _rows_in(_WINDOW_ELEMENTS, self.shape))
        contents = self._read_each([torch.cat(window) for window in windows])
        for window, rows in zip(windows, contents, strict=True):
            for part in rows.split([len(part) for part in window]):
                yield self._send(part)

    def chunks(self):
        return self.batches(torch.arange(len(self)).split(chunk_rows(self.shape)))

    def every(self, step):
        return self.take(torch.arange(0, len(self), step))

    @abstractmethod
    def _read_each(self, indices):
        """Yield the rows of each LongTensor of numbers."""

    @final
    def _read_ahead(self, indices):
        """Yield the rows of each LongTensor of numbers, while a thread reads those of the next."""
        with ThreadPoolExecutor(1, "sk_hvae-reader") as reader:
            ahead = reader.submit(self._read_pinned, indices[0])
            for after in indices[1:]:
                rows = ahead.result()
                ahead = reader.submit(self._read_pinned, after)
                yield rows
            yield ahead.result()

    def _read_pinned(self, index):
        rows = self._read_in_any_order(index)
        return rows.pin_memory() if self.device.type == "cuda" else rows

    def _read_in_any_order(self, index):
        index, order = index.cpu().sort()
        rows = self._read(index)
        for check in self._checks:
            check(rows)
        if (order.diff() == 1).all():
            return rows
        ordered = torch.empty_like(rows)
        ordered[order] = rows
        return ordered

    def _send(self, rows):
        return to_device(rows, self.device, non_blocking=True)


class ArrayRows(StreamedRows):
    """Rows of an array, which may be in a file.

    If the model is on the CPU, no thread reads ahead, because it would take a core from the
    model. Instead the system is told which parts of the file come next, and reads them into its
    cache.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_features)
        Any real dtype. Rows of a dtype that torch does not have become float64.
    """

    def __init__(self, array):
        tensor = as_tensor(array) if array.dtype in TORCH_DTYPES else None
        super().__init__(array.shape, dtype=torch.float64 if tensor is None else tensor.dtype)
        self._array = array
        self._pages = MappedPages(array)
        self._tensor = tensor

    def _read_each(self, indices):
        if self.device.type != "cpu":
            yield from self._read_ahead(indices)
            return
        for index, after in zip_longest(indices, indices[1:]):
            if after is not None:
                self._pages.ask_for(after.sort().values)
            yield self._read_in_any_order(index)

    def _read(self, index):
        rows = torch.empty(len(index), self.shape[1], dtype=self.dtype)
        pieces = self._pages.pieces(index)
        for piece, place in zip(pieces, rows.split([len(p) for p in pieces]), strict=True):
            self._copy(piece, place)
            self._pages.forget()
        return rows

    def _copy(self, index, place):
        first, end = int(index[0]), int(index[-1]) + 1
        at_once = end - first == len(index)
        if self._tensor is None:
            rows = self._array[first:end] if at_once else self._array[index.numpy()]
            place.copy_(torch.from_numpy(rows.astype(np.float64)))
        elif at_once:
            place.copy_(self._tensor[first:end])
        else:
            torch.index_select(self._tensor, 0, index, out=place)


class SparseRows(StreamedRows):
    """Rows of a sparse matrix, made dense when they are needed.

    Parameters
    ----------
    matrix : CSR matrix or array of shape (n_rows, n_features)
        From scipy.
    """

    def __init__(self, matrix):
        super().__init__(matrix.shape, dtype=as_tensor(matrix.data[:0]).dtype)
        self._matrix = matrix

    def _read_each(self, indices):
        return self._read_ahead(indices)

    def _read(self, index):
        return torch.from_numpy(self._matrix[index.numpy()].toarray())


class DatasetRows(StreamedRows):
    """Items of a torch Dataset as rows.

    Parameters
    ----------
    dataset : Dataset
        It needs a length. An item is a tensor or array, which is flattened, or a tuple whose first
        member is one. Several items are fetched at once if the dataset has ``__getitems__``.
    """

    are_fixed = False

    def __init__(self, dataset):
        first = _flat(dataset[0]) if len(dataset) else torch.empty(0)
        super().__init__((len(dataset), first.numel()), dtype=first.dtype)
        self._dataset = dataset

    def _read_each(self, indices):
        return self._read_ahead(indices)

    def _read(self, index):
        numbers = index.tolist()
        if hasattr(self._dataset, "__getitems__"):
            items = self._dataset.__getitems__(numbers)
        else:
            items = [self._dataset[i] for i in numbers]
        rows = [_flat(item) for item in items]
        sizes = {row.numel() for row in rows} - {self.shape[1]}
        if sizes:
            raise ValueError(
                f"the items of the Dataset differ in size: the first has {self.shape[1]} numbers, "
                f"another {sizes.pop()}. A row of X is an item, flattened."
            )
        return torch.stack(rows) if rows else torch.empty(0, self.shape[1])


def as_rows(X):
    """Wrap checked data as rows on the CPU.

    Small files and small sparse matrices are read into memory. A Dataset never is, because its
    items may be drawn anew each time.

    Parameters
    ----------
    X : ndarray, CSR matrix or Dataset
        Nothing else comes here: it has been refused or converted before.

    Returns
    -------
    Rows
    """
    if isinstance(X, Dataset):
        return DatasetRows(X)
    if not sparse.issparse(X) and memory_map(X) is None:
        return ResidentRows(as_tensor(X))
    rows = SparseRows(X) if sparse.issparse(X) else ArrayRows(X)
    is_small = len(rows) <= _rows_in(_READ_AT_ONCE_ELEMENTS, rows.shape)
    return ResidentRows(rows.every(1)) if is_small else rows


def as_tensor(X):
    """Wrap an array as a CPU tensor without a copy, also if it is read-only.

    Only an array with a negative stride, such as a reversed row, has to be copied.
    """
    if min(X.strides) < 0:
        X = X.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(X)


def to_device(rows, device, non_blocking=False):
    """Move rows to a device; MPS has no float64, and gets float32."""
    if device.type == "mps" and rows.dtype == torch.float64:
        rows = rows.float()
    return rows.to(device, non_blocking=non_blocking)


def _rows_in(n_elements, shape):
    """Return how many rows hold so many numbers, at least one."""
    return max(1, n_elements // max(1, shape[1]))


def chunk_rows(shape):
    """Return the number of rows of a chunk, a multiple of `EVEN_ROWS` where there is room."""
    n_rows = _rows_in(_CHUNK_ELEMENTS, shape)
    return n_rows - n_rows % EVEN_ROWS if n_rows > EVEN_ROWS else n_rows


def _windows(parts, n_rows):
    """Group consecutive parts into windows of at most ``n_rows`` rows, or of a single part."""
    windows: list[list[torch.Tensor]] = []
    free = 0
    for part in parts:
        if len(part) > free or not windows:
            windows.append([])
            free = n_rows
        windows[-1].append(part)
        free -= len(part)
    return windows


def _flat(item):
    """Return an item of a Dataset as a flat tensor."""
    if isinstance(item, (tuple, list)):
        item = item[0]
    if isinstance(item, np.ma.MaskedArray):
        item = np.ma.filled(item.astype(float), np.nan)
    return torch.as_tensor(item).flatten()
