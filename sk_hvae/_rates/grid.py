"""Candidates for searches over rates: grids, and a distribution to draw from."""

import itertools
from numbers import Integral
from typing import overload

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sk_hvae._estimators.parameters import check_layer_values
from sk_hvae._estimators.typing import LayerValues, RandomState


class RateDistribution:
    """A distribution of rates, for random searches.

    The rate of every layer is log-uniform: it is as likely to lie between 1 and 2 bits as between
    8 and 16. The rates of different layers are independent.

    Parameters
    ----------
    low : float or sequence of float, default=0.5
        Smallest rate in bits per sample: one number for all layers, or one for each, z_1 first.
        Half a bit is close to nothing.
    high : float or sequence of float, default=32
        Largest rate, likewise. 32 bits are plenty for a classifier of tables or small images. A
        layer whose ``low`` equals its ``high`` always has that rate.
    n_layers : int, default=2
        Number of layers.

    See Also
    --------
    rate_grid : All combinations of given rates.
    RateSearchCV : Grid search at one fit per split.

    Examples
    --------
    >>> from sklearn.model_selection import ParameterSampler
    >>> from sk_hvae import RateDistribution
    >>> rates = RateDistribution(1, [4, 16])
    >>> rates
    RateDistribution(low=1, high=[4, 16], n_layers=2)
    >>> for params in ParameterSampler({"hvae__layer_rates": rates}, 2, random_state=0):
    ...     print([round(rate, 1) for rate in params["hvae__layer_rates"]])
    [2.1, 7.3]
    [2.3, 4.5]
    """

    def __init__(self, low: LayerValues = 0.5, high: LayerValues = 32, n_layers: int = 2) -> None:
        self.low = low
        self.high = high
        self.n_layers = n_layers
        if not isinstance(n_layers, Integral) or n_layers < 1:
            raise ValueError(f"n_layers must be a positive int; got {n_layers!r}.")
        lows, highs = (self._per_layer(name) for name in ("low", "high"))
        if any(a > b for a, b in zip(lows, highs, strict=True)):
            raise ValueError(
                f"low must not exceed high in any layer; got low={low!r} and high={high!r}."
            )
        self._log_ends: NDArray[np.float64] = np.log([lows, highs])

    @overload
    def rvs(self, size: None = None, random_state: RandomState = None) -> tuple[float, ...]: ...

    @overload
    def rvs(self, size: int, random_state: RandomState = None) -> list[tuple[float, ...]]: ...

    def rvs(
        self, size: int | None = None, random_state: RandomState = None
    ) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Draw rates.

        Parameters
        ----------
        size : int, default=None
            How many to draw. None draws the rates of one candidate, without a list around them,
            as scikit-learn expects.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        tuple of float, or list of tuples of float
            The rates of a candidate: bits per sample of each layer, z_1 first.

        Examples
        --------
        >>> from sk_hvae import RateDistribution
        >>> len(RateDistribution().rvs(5, random_state=0))
        5
        """
        n_draws = 1 if size is None else size
        random = check_random_state(random_state)
        draws = np.exp(random.uniform(*self._log_ends, size=(n_draws, self.n_layers)))
        rates = [tuple(draw) for draw in draws.tolist()]
        return rates[0] if size is None else rates

    def __repr__(self) -> str:
        return f"RateDistribution(low={self.low!r}, high={self.high!r}, n_layers={self.n_layers!r})"

    def _per_layer(self, name):
        given = getattr(self, name)
        values = check_layer_values(name, given, "bits per sample")
        if np.ndim(given) == 0:
            return values * self.n_layers
        if len(values) != self.n_layers:
            raise ValueError(
                f"{name} has {len(values)} entries but n_layers is {self.n_layers}; give a number "
                "for all layers or one per layer, z_1 (nearest the data) first."
            )
        return values


def rate_grid(*layers: LayerValues) -> list[tuple[float, ...]]:
    """Combine rates of the single layers into a grid of ``layer_rates``.

    Parameters
    ----------
    *layers : float or sequence of float
        Rates to try in each layer, bits per sample: one number or one sequence of numbers per
        layer, z_1 first.

    Returns
    -------
    list of tuple of float
        All combinations. The rate of the last layer changes fastest.

    Raises
    ------
    ValueError
        If there is no layer, or if a layer has no rates, or rates that are not positive.

    See Also
    --------
    RateDistribution : Draw rates at random.
    RateSearchCV : Grid search at one fit per split.

    Examples
    --------
    >>> from sk_hvae import rate_grid
    >>> rate_grid([1, 4], [2, 8])
    [(1.0, 2.0), (1.0, 8.0), (4.0, 2.0), (4.0, 8.0)]

    All ways to split 8 bits in steps of 2:

    >>> [rates for rates in rate_grid([2, 4, 6], [2, 4, 6]) if sum(rates) == 8]
    [(2.0, 6.0), (4.0, 4.0), (6.0, 2.0)]
    """
    if not layers:
        raise ValueError(
            "rate_grid needs the rates of a layer at least: rate_grid([1, 4], [2, 8])."
        )
    for number, rates in enumerate(layers, start=1):
        if np.ndim(rates) > 1 or not np.size(rates):
            raise ValueError(
                f"the rates of z_{number} must be a number, or a sequence of one or more, such "
                f"as [1, 4, 16]; got {rates!r}."
            )
    return list(
        itertools.product(
            *(
                check_layer_values(f"the rates of z_{number}", rates, "bits per sample")
                for number, rates in enumerate(layers, start=1)
            )
        )
    )
