"""The pages of memory-mapped files: asked for before they are read, given back after."""

import mmap

import numpy as np

# The system is asked for whole pieces of this size: larger ones save calls, smaller ones do not
# read what is not needed.
_ASKED_BYTES = 2**18
# The pages that a process holds are counted in regions of 2 MB, which is the size of a huge page.
# 64 of them bound the memory to 128 MB; more would save calls that give pages back.
_REGION_BYTES, _REGIONS_AT_ONCE = 2**21, 64


class MappedPages:
    """The pages of the file that an array of rows is mapped to.

    An array in memory has no such pages, and then all methods do nothing. The same holds on
    systems without ``madvise``.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_features)
        A np.memmap, a view of one, or any other array.
    """

    def __init__(self, array):
        mapping = _outermost(memory_map(array))
        is_advised = mapping is not None and isinstance(mapping.base, mmap.mmap)
        self._map = mapping.base if is_advised and hasattr(mmap, "MADV_DONTNEED") else None
        if self._map is None:
            return
        # A private mapping may hold changes, which would be lost.
        self._is_forgetful = mapping.mode != "c"
        first = array.__array_interface__["data"][0]
        first -= np.frombuffer(self._map, np.uint8).__array_interface__["data"][0]
        self._step, across = array.strides[0], array.strides[1] * (array.shape[1] - 1)
        self._low = first + min(0, across)
        self._high = first + max(0, across) + array.itemsize

    def ask_for(self, index):
        """Have the system read rows, by their sorted numbers, into its cache in the background."""
        if self._map is None:
            return
        places = np.sort(index.numpy() * self._step)
        first = (self._low + places) // _ASKED_BYTES
        last = (self._high + places - 1) // _ASKED_BYTES
        apart = np.flatnonzero(first[1:] > last[:-1] + 1)
        for begin, end in zip(first[np.r_[0, apart + 1]], last[np.r_[apart, -1]], strict=True):
            start = int(begin) * _ASKED_BYTES
            length = min(int(end + 1) * _ASKED_BYTES, len(self._map)) - start
            self._map.madvise(mmap.MADV_WILLNEED, start, length)

    def pieces(self, index):
        """Split sorted row numbers into pieces whose pages take at most 128 MB of memory."""
        if self._map is None:
            return (index,)
        regions = (self._low + index * self._step) // _REGION_BYTES
        number = (regions.diff(prepend=regions[:1]) != 0).cumsum(0) // _REGIONS_AT_ONCE
        return index.split(number.bincount().tolist())

    def forget(self):
        """Give all pages back, so that what was read or written does not fill the memory.

        They stay in the system's cache, and what was written to them goes to the file.
        """
        if self._map is not None and self._is_forgetful:
            self._map.madvise(mmap.MADV_DONTNEED)


def memory_map(array):
    """Return the np.memmap that an array is, or is a view of; None if it is in memory."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return array
        array = array.base
    return None


def _outermost(mapping):
    """Return the np.memmap that a np.memmap is a view of, or itself if it is none."""
    while isinstance(mapping, np.memmap) and isinstance(mapping.base, np.memmap):
        mapping = mapping.base
    return mapping
