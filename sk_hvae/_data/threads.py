"""The number of threads on which torch works, the same in all fits and transforms of a process."""

from contextlib import ContextDecorator
from numbers import Integral
from threading import Thread

import torch

_number: int | None = None


def set_num_threads(n_threads: int) -> None:
    """Set the number of threads that fits and transforms of this process use from now on.

    With another number of threads, torch adds numbers in another order, so that results differ in
    their last digits. Other libraries, such as numba, change torch's number of threads without
    being asked. Every fit and transform therefore uses a fixed number, and restores torch's
    afterwards. If you do not set it here, it is the number that torch had when the first fit or
    transform began, which ``OMP_NUM_THREADS`` or ``torch.set_num_threads`` determine.

    Parameters
    ----------
    n_threads : int
        At least 1. More threads than free cores make fits slower, not faster.

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
