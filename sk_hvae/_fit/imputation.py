"""Fill in the missing cells of rows."""

import numpy as np
import torch

from sk_hvae._data.rows import ResidentRows, to_device
from sk_hvae._fit.measurement import map_rows
from sk_hvae._fit.refinement import FilledRows, fit_refinement, refine
from sk_hvae.nn.latents.gaussian import GaussianLatent

# How much of its correction the factor analysis gets. It was fitted to the data, of which the
# decoder explains a part already, and so makes too much of a difference. Half of it is good where
# columns nearly determine each other, and harmless where they do not; without any,
# examples/benchmarks/imputation.py measures what ``reconstruct`` does.
_SHARE_OF_CORRECTION = 0.5


def learn_to_impute(module, x, n_rows, generator):
    """Learn from training rows what `impute` needs besides the module, see `fit_refinement`."""
    return fit_refinement(module, x, n_rows, lambda x: _expect(module, x), generator)


def impute(module, rows, data_dtype, refinement=None):
    """Fill in the missing cells of rows: numbers by their mean, and categories by the likeliest.

    The decoder says what it expects of a row, given the posterior mean of z_1. Latents of few
    bits leave much of what columns have in common unsaid, so that the cells that are there differ
    from what is expected of them. The factor analysis that fills in rows for the encoder, see
    ``sk_hvae.nn.missing``, says what these differences mean for the missing cells, and these are
    corrected on the scale of the link. What cells that were hidden have taught then corrects
    numbers and probabilities of categories, see ``sk_hvae._fit.refinement``. At last numbers are
    rounded to values that their column can have, see `Likelihood.rounded`.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode, on its device.
    rows : Rows
        Checked; NaN where a cell is missing.
    data_dtype : str
        Name of the data's dtype.
    refinement : ndarray of shape (1 + n_inputs, n_predicted), default=None
        See `learn_to_impute`; None leaves cells as the decoder expects them.

    Returns
    -------
    ndarray of shape (n, n_features)
        In the data's dtype, or in float64 if the rows need it. Cells that are not missing are
        those of the rows, bit by bit, and a row's result depends on no other row.
    """
    out = np.empty(rows.shape, np.promote_types(data_dtype, rows.float_dtype))

    filled_rows = FilledRows(module.likelihood)

    def fill(x):
        expected = _expect(module, x)
        cells = expected[:, : x.shape[1]]
        if refinement is not None:
            cells = refine(filled_rows, x, module.link(x), expected, refinement)
        return module.likelihood.rounded(to_device(cells, x.device))

    first = 0
    for chunk in rows.chunks():
        part = out[first : first + len(chunk)]
        first += len(chunk)
        given = chunk.cpu()
        part[:] = given.numpy()
        missing = np.isnan(part)
        some = missing.any(1)
        if some.any():
            incomplete = ResidentRows(given[torch.from_numpy(some)])
            found = np.empty((len(incomplete), part.shape[1]), part.dtype)
            map_rows(module, incomplete, fill, part.shape[1], found)
            part[missing] = found[missing[some]]
    return out


def _expect(module, x):
    """Return what is expected of rows (b, n_features) with missing cells, as one tensor.

    First comes what is expected of every cell, then the probability of every category, and then
    what is expected of the link.
    """
    z_1, lowest = module.encode(x)[0], module.layers[0]
    likelihood = module.likelihood
    if not isinstance(lowest, GaussianLatent):
        cells = module.at_exposure(module.decode(z_1), x)
        column, code = to_device(likelihood.nominal_categories, x.device).T
        return torch.cat((cells, cells[:, column.long()] == code, module.link(cells)), 1)
    parameters = module.decoder(z_1 * lowest.scale)
    difference = module.link(x) - likelihood.expected_link(parameters)
    missing = module.missing
    correction = missing.fill(difference + missing.mean) - missing.mean
    location = parameters[:, : correction.shape[1]]
    corrected = location + _SHARE_OF_CORRECTION * correction * difference.isnan()
    corrected = torch.cat((corrected, parameters[:, correction.shape[1] :]), 1)
    cells = module.at_exposure(module.mean(corrected), x)
    shares, links = likelihood.probabilities(corrected), likelihood.expected_link(corrected)
    return torch.cat((cells, shares, links), 1)
