"""What a rate-conditioned model reaches, and what to condition it on to hit a target."""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import least_squares

# Nodes of an axis that a cubic spline needs.
_CUBIC_FROM = 4
# Corrections of the condition until all rates are within a thousandth of their targets; where rates
# hardly follow the condition, least squares take over.
_CORRECTIONS, _CLOSE = 20, 1e-3
# Smallest number whose logarithm is taken, and distance that least squares need from the limits.
_TINY = 1e-6


class PlanePoint(NamedTuple):
    """What is known of a model at one point of the rate plane.

    Attributes
    ----------
    condition : ndarray of shape (n_layers,)
        Rates to condition the model on, bits.
    rates : ndarray of shape (n_layers,)
        Rates that come out, bits.
    distortion : float
        Bits.
    betas : ndarray of shape (n_layers,)
        Multipliers.
    scales : ndarray of shape (n_units of all layers,)
        The scales of all units, see `Latent`, layers side by side.
    """

    condition: np.ndarray
    rates: np.ndarray
    distortion: float
    betas: np.ndarray
    scales: np.ndarray


class Calibration:
    """Measurements on a grid of conditions, and interpolation between them.

    The logarithms of rates, betas and scales are interpolated by cubic splines in the
    logarithms of the conditions, or linearly where an axis has fewer than four nodes.

    Parameters
    ----------
    low, high : ndarray of shape (n_layers,)
        Logarithms of the smallest and the largest condition of every layer, bits.
    table : ndarray of shape (n_nodes, n_values)
        What was measured at the nodes of the grid, see `of`. They are evenly spaced in the
        logarithm of the conditions, equally many for every layer, the last layer's running
        fastest.
    """

    def __init__(self, low, high, table):
        if not np.isfinite([low, high]).all() or not (low < high).all():
            raise ValueError(f"the ends of the grid are {low} and {high}")
        self.arrays = {"low": low, "high": high, "table": table}
        self._low, self._high = low, high
        n_per_axis = round(len(table) ** (1 / len(low)))
        axes = [np.linspace(*ends, n_per_axis) for ends in zip(low, high, strict=True)]
        self._table = RegularGridInterpolator(
            axes,
            table.reshape(*[n_per_axis] * len(axes), -1),
            method="cubic" if n_per_axis >= _CUBIC_FROM and np.isfinite(table).all() else "linear",
        )

    @classmethod
    def of(cls, points):
        """Calibrate by the `PlanePoint` of every node of a grid, in the order of its nodes."""
        rows = [np.r_[_log(p.rates), p.distortion, _log(p.betas), _log(p.scales)] for p in points]
        return cls(np.log(points[0].condition), np.log(points[-1].condition), np.array(rows))

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self._low)

    def find(self, layer_rates):
        """Find the condition whose rates come closest to the targets.

        Parameters
        ----------
        layer_rates : sequence of float
            Targets in bits, z_1 first.

        Returns
        -------
        PlanePoint
        """
        targets = np.log(layer_rates)
        condition = targets.clip(self._low, self._high)
        for _ in range(_CORRECTIONS):
            error = targets - self._log_rates(condition)
            if not np.abs(error).max() > _CLOSE:
                break
            condition = (condition + error).clip(self._low, self._high)
        else:
            condition = least_squares(
                lambda c: self._log_rates(c) - targets,
                condition.clip(self._low + _TINY, self._high - _TINY),
                bounds=(self._low, self._high),
            ).x
        return self._at(condition)

    def _log_rates(self, condition):
        return self._table(condition)[0, : self.n_layers]

    def _at(self, condition):
        n, values = self.n_layers, self._table(condition)[0]
        return PlanePoint(
            condition=np.exp(condition),
            rates=np.exp(values[:n]),
            distortion=float(values[n]),
            betas=np.exp(values[n + 1 : 2 * n + 1]),
            scales=np.exp(values[2 * n + 1 :]),
        )


def _log(values):
    return np.log(np.maximum(values, _TINY))
