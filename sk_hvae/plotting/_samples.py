"""Samples of a model, beside the data."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_hvae._latents import LatentsMixin
from sk_hvae._typing import ImageShape, Rows
from sk_hvae._validation import check_count
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, image_shape_of, mosaic

_PER_ROW = 10


class SampleDisplay(Display):
    """Draw samples of a model.

    Of images, pictures of the mean of the data given sampled latents. Of tables, samples over
    the data in the plane of the data's first two principal components of standardised columns,
    or histograms of a single column.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples.
    X : ndarray of shape (n_rows, n_features), default=None
        Data to compare with; needed for tables.
    image_shape : tuple of int (channels, height, width) or (height, width), default=None
        Shape of images; None for tables.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.plotting import SampleDisplay
    >>> X = load_iris().data
    >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
    >>> display = SampleDisplay.from_estimator(hvae, X, n_samples=50).plot()
    >>> display.ax_.get_xlabel()
    'first principal component'
    """

    def __init__(
        self,
        *,
        samples: NDArray[Any],
        X: NDArray[Any] | None = None,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.samples = samples
        self.X: Any = X
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: Rows | None = None,
        *,
        n_samples: int = 50,
        image_shape: ImageShape | None = None,
    ) -> Self:
        """Sample a fitted estimator.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted.
        X : array-like of shape (n_rows, n_features), default=None
            Data to compare with; needed for tables.
        n_samples : int, default=50
            Number of samples.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width); None takes that of the estimator.

        Returns
        -------
        SampleDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of this library.
        ValueError
            If there is neither an image shape nor data, or they do not suit the model.
        """
        check_fitted_model(estimator)
        image_shape = image_shape_of(estimator, image_shape)
        if X is None and image_shape is None:
            raise ValueError(
                "samples of a table are drawn over data: pass X; or pass image_shape for images."
            )
        check_count("n_samples", n_samples, 2)
        X = None if X is None else estimator._check_new(X).every(1).double().numpy()
        samples = estimator.sample(n_samples, mean=image_shape is not None)
        return cls(samples=samples, X=X, image_shape=image_shape)

    def _draw(self, ax):
        if self.image_shape is None:
            ax = axes(ax)
            self._compare(ax)
        else:
            n_rows = -(-len(self.samples) // _PER_ROW)
            missing = n_rows * _PER_ROW - len(self.samples)
            padded = np.pad(self.samples, ((0, missing), (0, 0)), constant_values=np.nan)
            ax = mosaic(padded.reshape(n_rows, _PER_ROW, -1), self.image_shape, ax)
            ax.set_yticks([])
        return ax

    def _compare(self, ax):
        """Draw samples over the data."""
        if self.X.shape[1] == 1:
            both = [self.X[:, 0], self.samples[:, 0]]
            ax.hist(both, bins="auto", density=True, label=["data", "samples"])
            ax.set(xlabel="value", ylabel="density")
        else:
            self._scatter(ax)
        ax.legend()

    def _scatter(self, ax):
        from sklearn.decomposition import PCA

        mean, std = np.nanmean(self.X, axis=0), np.nanstd(self.X, axis=0)
        scaled = [(rows - mean) / np.where(std > 0, std, 1) for rows in (self.X, self.samples)]
        pca = PCA(2).fit(np.nan_to_num(scaled[0]))
        for rows, label in zip(scaled, ("data", "samples"), strict=True):
            first, second = pca.transform(np.nan_to_num(rows)).T
            ax.scatter(first, second, s=12, alpha=0.6, label=label)
        ax.set(xlabel="first principal component", ylabel="second principal component")
