"""The number of threads on which torch works, the same in all fits and transforms of a process."""

from contextlib import ContextDecorator
from numbers import Integral
from threading import Thread

import torch

_number: int | None = None


def set_num_threads(n_threads: int) -> None:
    """Set the number of threads on which fits and transforms of this process work from now on.

    Sums are taken in another order on another number of threads, so that results differ in their
    last digits; and other libraries change torch's number in passing, as numba does. So it is
    fixed for the length of each fit and transform, and given back afterwards. Unless it is set
    here, it is the number that torch had when the first of them began, as ``OMP_NUM_THREADS`` or
    ``torch.set_num_threads`` made it.

    Parameters
    ----------
    n_threads : int
        At least 1. More than the cores that are free are slower, not quicker.

    Raises
    ------
    ValueError
        If ``n_threads`` is not a whole number of at least 1.

    Examples
    --------
    >>> import sk_hvae
    >>> sk_hvae.set_num_threads(1)
    """
    global _number
    if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads < 1:
        raise ValueError(f"n_threads must be a whole number of at least 1; got {n_threads!r}.")
    _number = int(n_threads)


class FixedThreads(ContextDecorator):
    """Let torch work on the fixed number of threads, and then on as many as it had before."""

    def _recreate_cm(self):
        # Each call of a decorated method has its own number to give back, also where the method
        # calls itself or runs in several threads.
        return FixedThreads()

    def __enter__(self):
        global _number
        self._before = torch.get_num_threads()
        if _number is None:
            _number = min(self._before, _number_of_new_threads())
        _set(_number)
        return self

    def __exit__(self, *error):
        _set(self._before)


def _number_of_new_threads():
    """Return the number of threads that torch has in a new thread.

    Other libraries may have changed it by way of OpenMP, for the thread that they run in only.
    """
    found: list[int] = []
    thread = Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def _set(number):
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)
