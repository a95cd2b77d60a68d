"""Samples of a model, beside the data."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import check_like, check_new_rows, model_of
from sk_hvae._estimators.parameters import check_count, draw_seed
from sk_hvae._estimators.typing import ImageShape, MatrixLike
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.plotting._colours import COLOURS
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes, column_names, image_shape_of, moments, mosaic
from sk_hvae.plotting._nominal import (
    categories_of,
    category_names,
    holds_numbers,
    indicators,
    labels_in_schema,
    no_categories,
)

_PER_ROW, _MOST_CATEGORIES = 10, 30  # images in a row, and names that fit below an axis
_BOTH, _COLOURS = ("data", "samples"), COLOURS[:2]


class SampleDisplay(Display):
    """Draw samples of a model.

    For images, there are pictures of the mean of the data given sampled latents.

    For tables, samples and data are drawn in the plane of the data's first two principal
    components. For this, columns of numbers are standardised. A column of categories becomes a
    column of zeros and ones for each category, divided by the square root of its frequency, as in
    factor analysis of mixed data [1]_. A table of a single column of numbers gives histograms. If
    all columns hold categories, bars show how frequent each is among samples and data, or the 30
    that are most frequent in the data.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples.
    X : ndarray of shape (n_rows, n_features), default=None
        Data to compare with, which tables need.
    image_shape : tuple of int (channels, height, width) or (height, width), default=None
        Shape of images; None for tables.
    feature_names : sequence of str, default=None
        Names of the columns of tables.
    categories : ndarray of shape (n_categories, 2), default=None
        Column number and code of every category, of columns whose codes are names; None if all
        columns hold numbers.
    labels : sequence of str, default=None
        What the code of every category stands for; None takes the codes themselves.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the picture.
    figure_ : matplotlib.figure.Figure
        The figure.

    References
    ----------
    .. [1] Pages, "Analyse factorielle de donnees mixtes", Revue de Statistique Appliquee 52,
       2004.

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
        feature_names: Sequence[str] | None = None,
        categories: NDArray[Any] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.samples = samples
        self.X: Any = X
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.categories = no_categories() if categories is None else categories
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: MatrixLike | None = None,
        *,
        like: MatrixLike | None = None,
        n_samples: int = 50,
        image_shape: ImageShape | None = None,
    ) -> Self:
        """Sample a fitted estimator.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted.
        X : array-like of shape (n_rows, n_features), default=None
            Data to compare with, which tables need.
        like : array-like of shape (n_rows, n_features), default=None
            Rows that the samples are to be like, as in ``sample``; None draws from the prior.
        n_samples : int, default=50
            Number of samples.
        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width). None uses that of the estimator.

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
            If there is neither an image shape nor data, or if they do not suit the model.
        """
        check_fitted_model(estimator)
        image_shape = image_shape_of(estimator, image_shape)
        if X is None and image_shape is None:
            raise ValueError(
                "samples of a table are drawn over data: pass X; or pass image_shape for images."
            )
        check_count("n_samples", n_samples, 2)
        model, data = model_of(estimator), None
        seed = draw_seed(estimator.random_state)
        noise = model.noise(seed)
        draw_z_1 = None
        if like is not None:
            draw_z_1 = model.aggregate_posterior(check_like(estimator, like), noise, seed)
        if X is not None:
            data = check_new_rows(estimator, X).every(1).to(torch.float64, copy=True).numpy()
        return cls(
            samples=model.sample(n_samples, noise, draw_z_1, mean=image_shape is not None),
            X=data,
            image_shape=image_shape,
            feature_names=getattr(estimator, "feature_names_in_", None),
            categories=categories_of(estimator),
            labels=labels_in_schema(estimator),
        )

    def _draw(self, ax):
        if self.image_shape is None:
            ax = axes(ax)
            self._compare(ax)
        else:
            n_rows = -(-len(self.samples) // _PER_ROW)
            missing = n_rows * _PER_ROW - len(self.samples)
            padded = np.pad(self.samples, ((0, missing), (0, 0)), constant_values=np.nan)
            limits = None if self.X is None else (np.nanmin(self.X), np.nanmax(self.X))
            ax = mosaic(padded.reshape(n_rows, _PER_ROW, -1), self.image_shape, ax, limits)
            ax.set_yticks([])
        return ax

    def _compare(self, ax):
        """Draw samples of a table over the data."""
        n_columns = self.X.shape[1]
        if not holds_numbers(self.categories, n_columns).any():
            self._frequencies(ax)
        elif n_columns == 1:
            both = [self.X[:, 0], self.samples[:, 0]]
            ax.hist(
                [rows[~np.isnan(rows)] for rows in both],
                bins="auto",
                density=True,
                color=_COLOURS,
                label=_BOTH,
            )
            (name,) = column_names(self.feature_names, 1)
            ax.set(xlabel=name, ylabel="density")
        else:
            self._scatter(ax)
        ax.legend()

    def _frequencies(self, ax):
        """Draw the frequency of each category in the data and the samples, as pairs of bars."""
        shares = np.array(
            [moments(indicators(rows, self.categories))[0] for rows in (self.X, self.samples)]
        )
        most = np.sort(np.argsort(-shares[0], kind="stable")[:_MOST_CATEGORIES])
        n_columns = self.X.shape[1]
        names = category_names(self.categories, self.feature_names, n_columns, self.labels)
        both = zip((-0.2, 0.2), shares[:, most], _COLOURS, _BOTH, strict=True)
        for shift, share, colour, label in both:
            ax.bar(np.arange(len(most)) + shift, share, 0.4, color=colour, label=label)
        ax.set_xticks(range(len(most)), [names[number] for number in most], rotation=90)
        ax.set(ylabel="frequency")
        if len(most) < len(names):
            ax.set(xlabel=f"the data's {len(most)} most frequent of {len(names)} categories")

    def _scatter(self, ax):
        from sklearn.decomposition import PCA

        coded = [self._coded(rows) for rows in (self.X, self.samples)]
        pca = PCA(2).fit(coded[0])
        for rows, colour, label in zip(coded, _COLOURS, _BOTH, strict=True):
            first, second = pca.transform(rows).T
            ax.scatter(first, second, s=12, alpha=0.6, color=colour, label=label)
        ax.set(xlabel="first principal component", ylabel="second principal component")

    def _coded(self, rows):
        """Standardise numbers and code categories, by the means and frequencies of the data."""
        numbers = holds_numbers(self.categories, self.X.shape[1])
        mean, std = (part[numbers] for part in moments(self.X))
        scaled = (rows[:, numbers] - mean) / np.where(std > 0, std, 1)
        frequency, _ = moments(indicators(self.X, self.categories))
        weight = np.where(frequency > 0, frequency, 1) ** -0.5
        coded = (indicators(rows, self.categories) - frequency) * weight
        return np.nan_to_num(np.hstack((scaled, coded)))
