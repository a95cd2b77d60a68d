"""Rates and multipliers over training."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_hvae.plotting._figures import axes, plain_ticks, split


class RateHistoryDisplay:
    """Draw the rates of the layers, against their targets, and the betas over training.

    Above the rates by epoch, with a dotted line at each target; below the multipliers that the
    controller chose to hold them there. Targets come down to their values over the first
    third of the training.

    Parameters
    ----------
    rates : ndarray of shape (n_epochs, n_layers)
        Rates on training rows, bits per sample, z_1 first.
    betas : ndarray of shape (n_epochs, n_layers)
        Multipliers.
    layer_rates : float or sequence of float, default=None
        Targets in bits per sample; None if the betas were fixed.

    Attributes
    ----------
    ax_ : ndarray of Axes of shape (2,)
        Rates, and betas.
    figure_ : matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.plotting import RateHistoryDisplay
    >>> X = load_iris().data
    >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
    >>> display = RateHistoryDisplay.from_estimator(hvae).plot()
    >>> display.ax_[0].get_ylabel()
    'rate (bits)'
    """

    def __init__(self, *, rates, betas, layer_rates=None):
        self.rates = rates
        self.betas = betas
        self.layer_rates = layer_rates

    @classmethod
    def from_estimator(cls, estimator):
        """Take the history of a fitted estimator.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted. The history of a multi-rate model is of means over the plane, and has no
            targets.

        Returns
        -------
        RateHistoryDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(estimator, "module_")
        history = estimator.history_
        is_of_plane = hasattr(estimator, "calibration_")
        targets = None if is_of_plane else estimator.layer_rates
        return cls(rates=history["train_rates"], betas=history["betas"], layer_rates=targets)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Two Axes take its place; None makes a figure.

        Returns
        -------
        RateHistoryDisplay
            With ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        panels = split(axes(ax), 2, 1, sharex=True)[:, 0]
        above, below = panels
        epochs = range(1, len(self.rates) + 1)
        for index in range(self.rates.shape[1]):
            name = f"$z_{index + 1}$"
            (line,) = above.plot(epochs, self.rates[:, index], label=name)
            below.plot(epochs, self.betas[:, index], color=line.get_color(), label=name)
            if self.layer_rates is not None:
                target = np.atleast_1d(self.layer_rates)[index]
                above.axhline(target, color=line.get_color(), ls=":", label=f"target {target:g}")
        above.set(ylabel="rate (bits)", ylim=(0, None))
        above.legend(ncols=self.rates.shape[1], fontsize="small")
        below.set(xlabel="epoch", ylabel="beta", yscale="log")
        plain_ticks(below.yaxis)
        self.ax_, self.figure_ = panels, above.figure
        return self
