"""Fill in the missing cells of rows."""

import numpy as np

from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.measurement import map_rows


def impute(module, rows, data_dtype):
    """Fill in the missing cells of rows with what the decoder makes of the posterior mean of z_1.

    Numbers get their mean given z_1, and categories the most probable one.

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
        # The rows are kept as they were read, because a device may not have their dtype.
        chunk = chunk.cpu()
        part = out[first : first + len(chunk)]
        map_rows(module, ResidentRows(chunk), _decode_means(module), rows.shape[1], part)
        given = chunk.numpy()
        np.copyto(part, given, where=~np.isnan(given))
        first += len(chunk)
    return out


def _decode_means(module):
    return lambda x: module.decode(module.encode(x)[0])
