"""The layers of a fitted estimator, with rates beside targets, as a table that people read."""

import numpy as np

from sk_hvae._estimators.parameters import check_layer_values
from sk_hvae._fit.plane import Plane
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae._sklearn.notebooks import NumberText, as_html

# Layers that a notebook shows: no model needs more, but networks of one's own may have them.
_MOST_LAYERS = 20


def layers_html(estimator):
    """Write the layers of a fitted estimator as HTML: units, targets and rates.

    Parameters
    ----------
    estimator : estimator
        Fitted. Several rates are those of its ``layer_rates``; no model is made for them.

    Returns
    -------
    str
        Empty if ``layer_rates`` was set to what the model cannot have.
    """
    fitted = fitted_of(estimator)
    asked = _asked_for(getattr(estimator, "layer_rates", None), fitted.n_layers)
    if isinstance(fitted, Plane) and asked is None:
        return ""
    targets, rates = _targets_and_rates(fitted, asked)
    n_units, are_known = fitted.n_components, targets is not None
    table = {
        "layer": [f"z_{number}" for number in range(1, fitted.n_layers + 1)],
        "units": [NumberText(n) for n in n_units],
        "names in transform": _names(n_units),
        "target": [*map(_bits, targets)] if are_known else ["none"] * fitted.n_layers,
        "rate": [*map(_bits, rates)],
    }
    total_units = NumberText(sum(n_units))
    if fitted.architecture.has_categorical_top:
        table["units"][-1], total_units = NumberText(f"{n_units[-1]} states"), NumberText()
    total = _bits(sum(targets)) if are_known else "none"
    return as_html(
        f"{fitted.n_layers} layers, rates and targets in bits per sample",
        table,
        most_lines=_MOST_LAYERS,
        more="rates_",
        foot=["total", total_units, "", total, _bits(sum(rates))],
    )


def _targets_and_rates(fitted, asked):
    """Return targets, or None if there were none, and measured rates in bits."""
    if isinstance(fitted, Plane):
        return asked, fitted.calibration.find(asked).rates
    # Parameters may have been set after the fit, and the clusterer finds targets by itself.
    recorded = fitted.epochs.history.get("target_rates", ())
    if not len(recorded):
        return asked, fitted.rates
    return None if np.isnan(recorded[-1]).any() else recorded[-1], fitted.rates


def _asked_for(layer_rates, n_layers):
    """Return target rates as a tuple, or None if a model of so many layers cannot have them."""
    try:
        rates = check_layer_values("layer_rates", layer_rates, "bits per sample")
    except ValueError:
        return None
    return rates if len(rates) == n_layers else None


def _names(n_units):
    """Return the names of the units of each layer."""
    return [
        f"z{number}_0" + (f" to z{number}_{n - 1}" if n > 1 else "")
        for number, n in enumerate(n_units, start=1)
    ]


def _bits(rate):
    """Write bits with two digits behind the point, or three in all where they are few."""
    return NumberText(f"{rate:.2f}" if rate >= 1 else f"{rate:.3g}")
