"""Fitted attributes: all read from the one value that a fit comes to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_hvae._estimators.column_table import column_table
from sk_hvae._estimators.model import frame_attribute, model_of
from sk_hvae._sklearn.fitted_state import fitted_of, schema_of
from sk_hvae.nn.hierarchy import HierarchicalVAE
from sk_hvae.nn.likelihoods import Likelihood


class FittedAttributes:
    """What all estimators know after a fit; those of several rates at the current ones."""

    @property
    def module_(self) -> HierarchicalVAE:
        """Torch module."""
        return model_of(self).module

    @property
    def likelihood_(self) -> Likelihood:
        """The fitted likelihood; those of a list are its ``likelihoods``."""
        return model_of(self).likelihood

    @property
    def rates_(self) -> NDArray[np.float64]:
        """Rates in bits per sample, (n_layers,)."""
        return model_of(self).rates

    @property
    def betas_(self) -> NDArray[np.float64]:
        """Multipliers, (n_layers,)."""
        return model_of(self).betas

    @property
    def distortion_(self) -> float:
        """Distortion in bits per sample."""
        return model_of(self).distortion

    @property
    def lower_bound_(self) -> float:
        """Lower bound on the mean ln p(x), nats."""
        return model_of(self).lower_bound

    @property
    def converged_(self) -> bool:
        """Whether the rates are on target, and training was not cut short."""
        return model_of(self).converged

    @property
    def n_layers_(self) -> int:
        """Number of layers."""
        return fitted_of(self).n_layers

    @property
    def n_components_(self) -> tuple[int, ...]:
        """Units of each layer, z_1 first."""
        return fitted_of(self).n_components

    @property
    def n_iter_(self) -> int:
        """Number of epochs."""
        return fitted_of(self).epochs.n_iter

    @property
    def history_(self) -> dict[str, NDArray[Any]]:
        """What the epochs recorded."""
        return fitted_of(self).epochs.history

    @property
    def columns_(self) -> Any:
        """What the columns of the frame of ``fit`` were taken for, a frame of the same library."""
        with frame_attribute(self, "columns_"):
            import narwhals.stable.v2 as nw

            schema = schema_of(self)
            table = column_table(schema, fitted_of(self).likelihood)
            return nw.from_dict(table, backend=schema.library).to_native()

    @property
    def device_(self) -> str:
        """Device that the model was trained on."""
        return fitted_of(self).device
