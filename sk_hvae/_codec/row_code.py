"""What a code for rows offers: it pushes them to stacks, and pops them again."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np


class Costs(NamedTuple):
    """What rows cost.

    Attributes
    ----------
    bits : float64 array of shape (n,)
        Bits of each row: what was pushed less what was popped.
    borrowed : float64 array of shape (n,)
        Bits that were popped for the latents of each row.
    """

    bits: np.ndarray
    borrowed: np.ndarray


class RowCode(ABC):
    """Pushes and pops rows of numbers.

    Attributes
    ----------
    n_columns : int
        Numbers of a row.
    n_numbers : int
        About how many numbers a row takes in memory while it is coded.
    """

    n_columns: int
    n_numbers: int

    @abstractmethod
    def push(self, stacks, x) -> Costs:
        """Push rows (n, n_columns), float64: those of the first stack first, as many for each."""

    @abstractmethod
    def pop(self, stacks, n_rows):
        """Pop ``n_rows`` rows, float64: the inverse of `push`."""
