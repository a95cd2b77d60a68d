"""What the page of the rate explorer shows of a map of rates: dicts, lists, text and numbers."""

import numpy as np

from sk_hvae._explorer.page import write_page


def map_page(surface, about, metrics, bounds=None, rows=None):
    """Write the page of a map.

    Parameters
    ----------
    surface : RateMap
        The map.
    about : str
        What was measured, in a sentence or two.
    metrics : list of dict
        Of each metric, see `metric_content`.
    bounds : ndarray of shape (n_points, n_layers), default=None
        The most that classifiers of samples of each layer can reach at every place; None if there
        are no classes.
    rows : dict, default=None
        What the page shows of rows; None shows none.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        If no metric is finite anywhere, or the page would have more than 5 MB.
    """
    if all(metric["chosen"] is None for metric in metrics):
        names = [metric["name"] for metric in metrics]
        raise ValueError(f"no metric of the map is finite at any place; it has {names}.")
    content = {
        "targets": surface.layer_rates.tolist(),
        "rates": surface.rates.tolist(),
        "metrics": metrics,
        "bounds": None if bounds is None else bounds.tolist(),
        "rows": rows,
    }
    return write_page("Rate explorer", about, content)


def metric_content(surface, name, chosen=None, reason=None):
    """Return what the page shows of a metric.

    Parameters
    ----------
    surface : RateMap
        The map.
    name : str
        Name of the metric.
    chosen : int, default=None
        Number of the place to go to. None takes the best one, if any value is finite.
    reason : str, default=None
        Why to go there. None says that it is the best one.
    """
    values = surface.values(name)
    if chosen is None and np.isfinite(values).any():
        chosen = surface.best(name)
        rates = ", ".join(f"{rate:.3g}" for rate in surface.layer_rates[chosen])
        extreme = "lowest" if name == "distortion" else "highest"
        reason = (
            f"Of {np.isfinite(values).sum()} places, ({rates}) bits have the {extreme} "
            f"{surface.label(name)}: {values[chosen]:.4g}."
        )
    return {
        "name": name,
        "label": surface.label(name),
        "values": values.tolist(),
        "chosen": chosen,
        "reason": reason,
    }
