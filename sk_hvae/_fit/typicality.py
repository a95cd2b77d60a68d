"""How typical rows are, by the noise that a model would need to draw them."""

import numpy as np
import torch

from sk_hvae._fit.copula import Factors, NoiseLimits
from sk_hvae._fit.measurement import map_rows, measure
from sk_hvae.nn.units import LN2

# Draws of the latents, and of the noise between its limits, over which the noise is averaged. Four
# find odd rows nearly as well, by .005 of AUC on tables.
_N_DRAWS = 16


def typicality(module, rows, correlations):
    """Measure how typical rows are: ln of the density of their noise, relative to its peak.

    A row is drawn from latents and from normal noise. Odd rows need noise that is far out, or that
    does not go together as that of other rows does. The density of the data would depend on
    units, on the widths of bins, and on how much is left to chance in a column; the noise of all
    columns has one scale. What a row tells of its noise is taken in the mean.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode.
    rows : Rows
        Raw data, on any device.
    correlations : ndarray of shape (n, n) or None
        See `noise_correlations`; None for noise without correlations.

    Returns
    -------
    ndarray of shape (n,), float64
        Minus half the squared Mahalanobis length of the noise, less the rates of all layers, in
        nats. Missing cells do not count. Columns that are drawn in another way count by their
        expected log-probability.
    """
    columns = module.likelihood.copula_columns
    if not len(columns):
        return measure(module, rows).lower_bound
    known = np.eye(len(columns)) if correlations is None else correlations
    factors = Factors.of(torch.from_numpy(known))
    others = np.setdiff1d(np.arange(rows.shape[1]), columns)

    def of_cells(x):
        of_rows, noise, log_probs = module.row_noise(x), 0.0, 0.0
        for number in range(_N_DRAWS):
            row_noise = of_rows.draw(number)
            parameters = module.decoder(module.encode(x, row_noise)[0] * module.layers[0].scale)
            cells = module.cell_log_probs(x, parameters).cpu().double()
            log_probs = log_probs + cells[:, others].sum(1) / _N_DRAWS
            noise = noise + _noise(module, x, parameters, row_noise) / _N_DRAWS
        varying = x if module.constants is None else module.constants.hide(x)
        is_there = ~varying.isnan().cpu()[:, columns]
        return (log_probs - factors.squared_length(noise, is_there) / 2)[:, None]

    found = map_rows(module, rows, of_cells, 1, np.empty((len(rows), 1)))[:, 0]
    return found - LN2 * measure(module, rows).rates.sum(1)


def _noise(module, x, parameters, row_noise):
    """Draw noise by which rows x (b, n_features) would come out: (b, n), float64, on the CPU."""
    limits = NoiseLimits.of(module, x, parameters)
    return limits.start(lambda like: row_noise(like.to(parameters)).cpu())
