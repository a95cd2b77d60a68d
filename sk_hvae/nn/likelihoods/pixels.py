"""Whether columns are pixels of images, by how neighbours on a grid go together."""

import torch
from torch import Tensor

# Side of the smallest images that are looked for, such as the digits of scikit-learn. Columns of
# tables fit a smaller grid more easily by chance.
_SHORTEST_SIDE = 8
# Correlation that neighbours have at least, and how many times that of columns half a side apart.
# Stricter numbers miss noisy images, laxer ones take tables whose columns go together for images.
_LEAST, _FALL = 0.2, 2.0
# A shared scale hides a column whose spread is under a quarter of the common one. That does no harm
# if the column has its smallest or largest value in three quarters of the rows, nor if no more
# than 2% of the columns are hidden.
_SMALL, _STILL, _FEW = 0.25, 0.75, 0.02
# Rows to look at: correlations are then known to 0.03.
_MOST_ROWS, _FEWEST_ROWS, _MOST_ELEMENTS = 1000, 16, 2**21


class EvenSample:
    """Rows at even distances of a stream, whatever its length and its parts.

    Parameters
    ----------
    most_rows, most_elements : int, default=1,000 and 2**21
        How many rows to keep and, beyond 16 rows, how many numbers.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.likelihoods.pixels import EvenSample
    >>> sample = EvenSample()
    >>> for part in torch.arange(5000.0)[:, None].split(700):
    ...     sample.add(part)
    >>> sample.rows[:3, 0], len(sample.rows)
    (tensor([ 0.,  8., 16.], dtype=torch.float64), 625)
    """

    rows: Tensor

    def __init__(self, most_rows=_MOST_ROWS, most_elements=_MOST_ELEMENTS):
        self._most_rows, self._most_elements = most_rows, most_elements
        self._n_seen, self._step = 0, 1

    def add(self, part):
        """Take what is due from the next rows of the stream (m, n_features)."""
        due = part[-self._n_seen % self._step :: self._step].double()
        self.rows = torch.cat((self.rows, due)) if self._n_seen else due
        self._n_seen += len(part)
        most = max(_FEWEST_ROWS, min(self._most_rows, self._most_elements // part.shape[1]))
        while len(self.rows) > most:
            self.rows = self.rows[::2]
            self._step *= 2


def look_like_pixels(rows):
    """Tell whether columns fill a grid on which neighbours go together, as pixels do.

    First, what all columns share is taken out, such as the brightness of a photograph. Then, on
    some grid of at least 8 by 8 columns, the mean correlation of neighbours has to be at least
    0.2 in both directions, at least twice that of columns half a side apart, and larger straight
    down than diagonally. In tables, groups of columns are correlated, or columns at fixed
    distances, or none, and correlations seldom decrease along two directions. They do in tables
    of several variables over time, whose columns however differ in their units. So columns of
    small spread may only be few, or have the same value in most rows, as a corner of an image
    that is seldom lit. Constants that are added to a column do not matter.

    Parameters
    ----------
    rows : Tensor of shape (m, n_features), float64
        Some rows; NaN marks a missing cell.

    Returns
    -------
    bool

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits, load_breast_cancer
    >>> from sk_hvae.nn.likelihoods.pixels import look_like_pixels
    >>> look_like_pixels(torch.tensor(load_digits().data))
    True
    >>> look_like_pixels(torch.tensor(load_breast_cancer().data))
    False
    """
    n_features = rows.shape[1]
    widths = [
        width
        for width in range(_SHORTEST_SIDE, n_features // _SHORTEST_SIDE + 1)
        if n_features % width == 0
    ]
    if not widths:
        return False
    if _hides_columns(rows):
        return False
    pixels = _standardise(rows)
    return any(_is_grid(pixels.unflatten(1, (-1, width))) for width in widths)


def _hides_columns(rows):
    """Tell whether a shared scale would hide columns that are of use in most of the rows."""
    low, high = rows.nan_to_num(torch.inf).amin(0), rows.nan_to_num(-torch.inf).amax(0)
    std = (rows - rows.nanmean(0)).square().nanmean(0).sqrt().masked_fill(low >= high, 0.0)
    if not (std > 0).any():
        return False
    is_small = (std > 0) & (std < _SMALL * std[std > 0].square().mean().sqrt())
    n_at_end = torch.maximum((rows == low).sum(0), (rows == high).sum(0))
    is_still = n_at_end >= _STILL * (~rows.isnan()).sum(0)
    return bool((is_small & ~is_still).double().mean() > _FEW)


def _standardise(rows):
    """Return columns of variance 1 less what they share; NaN in cells and columns without."""
    low, high = rows.nan_to_num(torch.inf).amin(0), rows.nan_to_num(-torch.inf).amax(0)
    standardised = _scaled((rows - rows.nanmean(0)).masked_fill(low >= high, torch.nan))
    return _scaled(standardised - standardised.nanmean(1, keepdim=True)).float()


def _scaled(centred):
    return centred / centred.square().nanmean(0).sqrt()


def _is_grid(pixels):
    """Tell whether correlations fall off along the rows and along the columns of a grid."""
    _, height, width = pixels.shape

    def correlation(down, across):
        first = pixels[:, : height - down, max(0, -across) : width - max(0, across)]
        second = pixels[:, down:, max(0, across) : width + min(0, across)]
        return float((first * second).nanmean(0).nanmean())

    beside, below = correlation(0, 1), correlation(1, 0)
    return (
        min(beside, below) >= _LEAST
        and beside >= _FALL * correlation(0, width // 2)
        and below >= _FALL * correlation(height // 2, 0)
        and below > max(correlation(1, 1), correlation(1, -1))
    )
