"""Rates and betas over the epochs of training."""

from typing import Any, Self

from numpy.typing import NDArray

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.plotting._colours import layer_colour
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, plain_ticks, split

# The axis of betas spans at least a factor of 10: on a narrower one, a beta that moves by a tenth
# looks as if it diverged.
_LEAST_SPAN = 10


class RateHistoryDisplay(Display):
    """Draw the rates of the layers, their targets, and the betas over training.

    The upper panel has the rates by epoch. Dotted lines are the targets, which come down to their
    final values over the first 30% of the training. The lower panel has the betas, the multipliers
    that hold the rates at the targets. A step in them, at 95% of the training, is where the
    controller stops and the betas are held at their recent means.

    Parameters
    ----------
    rates : ndarray of shape (n_epochs, n_layers)
        Rates on training rows, bits per sample, z_1 first.
    betas : ndarray of shape (n_epochs, n_layers)
        Multipliers of the rates.
    targets : ndarray of shape (n_epochs, n_layers), default=None
        Targets in bits per sample; None if there were no targets.

    Attributes
    ----------
    ax_ : ndarray of Axes of shape (2,)
        The panel of the rates and that of the betas.
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

    def __init__(
        self, *, rates: NDArray[Any], betas: NDArray[Any], targets: NDArray[Any] | None = None
    ) -> None:
        self.rates = rates
        self.betas = betas
        self.targets = targets

    @classmethod
    def from_estimator(cls, estimator: LatentsMixin) -> Self:
        """Take the history of a fitted estimator.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted. The history of a multi-rate model, and of what its ``at`` returns, consists of
            means over the rate plane, and has no targets.

        Returns
        -------
        RateHistoryDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of this library.
        """
        check_fitted_model(estimator)
        history = estimator.history_
        return cls(
            rates=history["train_rates"],
            betas=history["betas"],
            targets=history.get("target_rates"),
        )

    def _draw(self, ax):
        panels = split(axes(ax), 2, 1)[:, 0]
        from matplotlib.ticker import LogLocator  # `axes` says what to install if it is missing

        above, below = panels
        epochs = range(1, len(self.rates) + 1)
        for index in range(self.rates.shape[1]):
            name, colour = f"$z_{index + 1}$", layer_colour(index + 1)
            above.plot(epochs, self.rates[:, index], color=colour, label=name)
            below.plot(epochs, self.betas[:, index], color=colour, label=name)
            if self.targets is not None:
                target = self.targets[:, index]
                label = f"target {target[-1]:g}"
                above.plot(epochs, target, ":", color=colour, label=label)
        above.set(ylabel="rate (bits)", ylim=(0, None))
        above.legend(ncols=self.rates.shape[1], fontsize="small")
        below.set(xlabel="epoch", ylabel="beta", yscale="log")
        below.set_ylim(_wide_enough(*below.get_ylim()))
        below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        below.minorticks_off()
        plain_ticks(below.yaxis)
        return panels


def _wide_enough(low, high):
    """Widen limits of a logarithmic axis, to both sides alike, to the least span."""
    missing = max(1.0, _LEAST_SPAN * low / high) ** 0.5
    return low / missing, high * missing
