"""Which cells of a row are missing together: learned at fit, for rows that are drawn."""

from typing import NamedTuple

import numpy as np

# Enough for the combinations that occur repeatedly. Where cells are missing at random, nearly every
# row has a combination of its own, and some stand for all.
_MOST_PATTERNS = 1000


class MissingPatterns(NamedTuple):
    """The most frequent combinations of missing cells.

    Attributes
    ----------
    columns : tuple of tuple of int
        Numbers of the columns that are missing together; of complete rows none.
    counts : tuple of int
        Number of rows of each combination.
    """

    columns: tuple[tuple[int, ...], ...] = ()
    counts: tuple[int, ...] = ()

    @classmethod
    def among(cls, missing):
        """Count the combinations of a table of truth values (n, n_features)."""
        if not missing.any():
            return cls()
        bits, counts = np.unique(np.packbits(missing, axis=1), axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_MOST_PATTERNS]
        patterns = np.unpackbits(bits[order], axis=1, count=missing.shape[1])
        columns = tuple(tuple(np.flatnonzero(pattern).tolist()) for pattern in patterns)
        return cls(columns, tuple(counts[order].tolist()))

    @classmethod
    def from_plain(cls, plain, n_features):
        """Make patterns of tuples; raises ValueError if they are none of so many columns."""
        columns, counts = plain
        numbers = [*counts, *(number for pattern in columns for number in pattern)]
        right = len(columns) == len(counts) and {*map(type, numbers)} <= {int}
        if not right or not all(0 <= n < n_features for pattern in columns for n in pattern):
            raise ValueError(f"there are no such patterns of {n_features} columns")
        if min(counts, default=1) < 1:
            raise ValueError("there are patterns of no rows")
        return cls(tuple(map(tuple, columns)), tuple(counts))

    def draw(self, shape, seed):
        """Draw a table of truth values of some shape; rows are as frequent as they were."""
        missing = np.zeros(shape, bool)
        if self.counts:
            share = np.array(self.counts) / sum(self.counts)
            random = np.random.default_rng(seed)
            for row, number in enumerate(random.choice(len(share), size=shape[0], p=share)):
                missing[row, list(self.columns[number])] = True
        return missing
