"""Rows on which a plane is measured: those that carry the most bits, and some of the others."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.measurement import map_rows
from sk_hvae._fit.start import START_ROWS, some_rows

# Of the rows to measure on. A few rows far out may carry a tenth of all bits: a sample without them
# would say that rates are on target which are not.
_HEAVY_SHARE = 0.25
# Numbers of the rows to choose among, 64 MB of float32. Files of rows may be much larger.
_MOST_NUMBERS = 2**24


class SurveyRows(NamedTuple):
    """Rows that stand for all.

    Attributes
    ----------
    rows : Tensor of shape (m, n_features)
        On the device of all.
    weights : Tensor of shape (m,), float64
        How many of the rows that were looked at each stands for.
    """

    rows: Tensor
    weights: Tensor

    @classmethod
    def of(cls, rows, modules):
        """Choose among rows by what they carry in some models with one encoder.

        Parameters
        ----------
        rows : Rows
            All rows.
        modules : sequence of HierarchicalVAE
            In evaluation mode; they differ in their rates.

        Returns
        -------
        SurveyRows
            All rows if they are no more than 2,048. Otherwise the 512 of them that carry the
            largest share of the bits of any layer of any model, and about 1,536 of the others, at
            even distances. Of rows with more than 2**24 numbers, a part at even distances is
            looked at.
        """
        if len(rows) <= START_ROWS:
            return cls(some_rows(rows), torch.ones(len(rows), dtype=torch.float64))
        n_most = max(START_ROWS, _MOST_NUMBERS // rows.shape[1])
        x = rows.every(math.ceil(len(rows) / n_most))

        def bits(part):
            activations = modules[0].activations(part)
            inferred = [module.infer(activations, enumerate_states=False) for module in modules]
            return torch.cat([layers.rates() for layers in inferred], 1)

        width = sum(len(module.layers) for module in modules)
        found = map_rows(modules[0], ResidentRows(x), bits, width)
        shares = found / np.maximum(found.mean(0, dtype=float), np.finfo(np.float32).tiny)
        n_heavy = int(_HEAVY_SHARE * START_ROWS)
        heavy = np.sort(np.argsort(shares.max(1), kind="stable")[-n_heavy:])
        others = np.setdiff1d(np.arange(len(x)), heavy)
        some = others[:: math.ceil(len(others) / (START_ROWS - n_heavy))]
        weights = np.repeat([1.0, len(others) / len(some)], [n_heavy, len(some)])
        chosen = torch.from_numpy(np.concatenate((heavy, some))).to(x.device)
        return cls(x[chosen], torch.from_numpy(weights))
