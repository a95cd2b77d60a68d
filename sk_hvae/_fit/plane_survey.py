"""Measure many models that have one encoder, such as all points of a rate plane."""

import math
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from sk_hvae._data.devices import module_device
from sk_hvae._data.rows import to_device
from sk_hvae._data.threads import FixedThreads
from sk_hvae.nn.noise import ReplayedNoise
from sk_hvae.nn.units import LN2

# Parts of this many rows stay in the cache between encoder and decoder, so that a pass takes half
# of the time that it takes in one part.
_ROWS_PER_PART = 1000


class PlaneMeasurement(NamedTuple):
    """Means over rows: distortion and rates (n_layers,) in bits, and the squared error.

    The error is that of the mean of the data given sampled latents, per cell that holds a
    number: one that is not missing, nor the code of a category. nan if it was not asked for, or
    if there are no such cells.
    """

    distortion: float
    rates: np.ndarray
    squared_error: float


class PlaneSurvey:
    """Rows that are prepared for passes of many models with the same encoder.

    The rows are encoded once, and the noise that is derived from them is kept, so that a pass
    is as cheap as can be. In parts that stay in the cache, a pass takes half of the time.

    Parameters
    ----------
    module : HierarchicalVAE
        One of the models, in evaluation mode.
    rows : Tensor of shape (n, n_features)
        Raw data, on any device.
    n_draws : int, default=1
        Number of draws of the latents.
    autocast : torch.dtype or None, default=None
        Lower precision for matrix products.
    with_error : bool, default=False
        Whether to measure the squared error.
    weights : Tensor of shape (n,), float64, default=None
        How many rows each row stands for, where there is no error to measure; None is one.

    Attributes
    ----------
    data_range : float
        Largest less smallest number of the cells that the error is of; nan without any.
    """

    def __init__(self, module, rows, n_draws=1, autocast=None, with_error=False, weights=None):
        self._device = module_device(module)
        self._autocast = autocast
        self._with_error = with_error
        weights = torch.ones(len(rows), dtype=torch.float64) if weights is None else weights
        self._n_rows = float(weights.sum())
        holds_numbers = torch.ones(rows.shape[1], device="cpu")
        holds_numbers[module.likelihood.nominal_categories[:, 0].long()] = 0.0
        self._holds_numbers = holds_numbers.to(self._device)
        self._n_cells, self.data_range = 0, math.nan
        if with_error:
            self._look_at(rows, holds_numbers > 0)
        self._parts = []
        with self._inference():
            parts = zip(rows.split(_ROWS_PER_PART), weights.split(_ROWS_PER_PART), strict=True)
            for part, of_part in parts:
                x = to_device(part, self._device)
                of_rows = module.row_noise(x)
                noises = [ReplayedNoise(of_rows.draw(n)) for n in range(n_draws)]
                weight = of_part.to(self._device, torch.float32)
                self._parts.append((x, module.activations(x), noises, weight))

    def _look_at(self, rows, columns):
        """Find number and range of the cells of some columns that are not missing."""
        low, high = math.inf, -math.inf
        for part in rows.split(_ROWS_PER_PART):
            cells = part[:, columns.to(part.device)].double()
            cells = cells[~cells.isnan()]
            if len(cells):
                low, high = min(low, float(cells.min())), max(high, float(cells.max()))
            self._n_cells += len(cells)
        if self._n_cells:
            self.data_range = high - low

    def measure(self, module):
        """Pass the rows through a model; returns a `PlaneMeasurement`."""
        sums = []
        with self._inference():
            for x, activations, noises, weight in self._parts:
                draws = [self._draw(module, x, activations, noise) for noise in noises]
                sums.append((weight[:, None] * torch.stack(draws).mean(0)).sum(0))
        error, *nats = torch.stack(sums).double().sum(0).tolist()
        distortion, *rates = (total / self._n_rows / LN2 for total in nats)
        error = error / self._n_cells if self._n_cells else math.nan
        return PlaneMeasurement(distortion, np.array(rates), error)

    def _draw(self, module, x, activations, noise):
        """Return the squared error, distortion and rates of rows, (b, 2 + n_layers)."""
        inferred, parameters = module.infer_and_decode(activations, noise.rewind())
        x = inferred.align(x)
        distortion = inferred.expect(module.distortion(x, parameters))
        error = torch.full_like(distortion, torch.nan)
        if self._with_error:
            mean = module.at_exposure(module.mean(parameters), x)
            misses = mean - x.to(torch.promote_types(mean.dtype, x.dtype))
            misses = misses * self._holds_numbers
            if module.missing is not None:
                misses = misses.nan_to_num_(0.0)
            error = inferred.expect(torch.linalg.vector_norm(misses, dim=1).square())
        return torch.cat((torch.stack((error, distortion), 1), inferred.rates()), 1)

    @contextmanager
    def _inference(self):
        lower = torch.autocast(
            self._device.type, self._autocast, enabled=self._autocast is not None
        )
        with FixedThreads(), torch.inference_mode(), lower:
            yield
