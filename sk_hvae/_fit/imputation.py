"""Fill in the missing cells of rows."""

import numpy as np
import torch

from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.measurement import map_rows
from sk_hvae.nn.latents.gaussian import GaussianLatent


def impute(module, rows, data_dtype):
    """Fill in the missing cells of rows: numbers by their mean, and categories by the likeliest.

    The decoder says what it expects of a row, given the posterior mean of z_1. Few bits in the
    latents leave much of what columns have in common to the data, so that the cells that are there
    differ from what is expected of them. The factor analysis that fills in rows for the encoder,
    see ``sk_hvae.nn.missing``, says what this difference means for the missing cells, and they are
    corrected by it on the scale of the link (regression of the residuals, as in kriging with a
    drift). Averages over many draws of the latents, with and without importance weights, and
    rows that are encoded again once they are filled in, come no nearer to the missing values on
    average: ``examples/benchmarks/imputation.py`` shows what they do.

    Parameters
    ----------
    module : HierarchicalVAE
        In evaluation mode, on its device.
    rows : Rows
        Checked; NaN where a cell is missing.
    data_dtype : str
        Name of the data's dtype.

    Returns
    -------
    ndarray of shape (n, n_features)
        In the data's dtype, or in float64 if the rows need it. Cells that are not missing are
        those of the rows, bit by bit, and a row's result depends on no other row.
    """
    out = np.empty(rows.shape, np.promote_types(data_dtype, rows.float_dtype))
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
            map_rows(module, incomplete, lambda x: _expect(module, x), part.shape[1], found)
            part[missing] = found[missing[some]]
    return out


def _expect(module, x):
    """Return what is expected of every cell of rows (b, n_features) with missing cells."""
    z_1, lowest = module.encode(x)[0], module.layers[0]
    if not isinstance(lowest, GaussianLatent):
        return module.at_exposure(module.decode(z_1), x)
    parameters = module.decoder(z_1 * lowest.scale)
    difference = module.link(x) - module.likelihood.expected_link(parameters)
    missing = module.missing
    correction = missing.fill(difference + missing.mean) - missing.mean
    location = parameters[:, : correction.shape[1]]
    corrected = torch.where(difference.isnan(), location + correction, location)
    corrected = torch.cat((corrected, parameters[:, correction.shape[1] :]), 1)
    return module.at_exposure(module.mean(corrected), x)
