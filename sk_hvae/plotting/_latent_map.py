"""A map of rows: a point for each row, with rows of similar latents near each other."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.utils import check_consistent_length, column_or_1d

from sk_hvae._clustering.layout import layout
from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import check_new_rows, model_of
from sk_hvae._estimators.parameters import check_count, resolve_output_layers
from sk_hvae._estimators.typing import Labels, MatrixLike
from sk_hvae.metrics._checks import check_fitted_model
from sk_hvae.plotting._colours import scatter_by
from sk_hvae.plotting._display import Display
from sk_hvae.plotting._figures import axes

# The median of an odd number of places is near most of them, where a mean would be between two
# groups. More than 3 blur groups of few rows.
_NEAREST = 3


class MapDisplay(Display):
    """Draw rows as points in two dimensions, so that rows of similar latents are near each other.

    If the latents have two columns, they are the map. If they have more, the map shows which rows
    are neighbours in them: its objective is that of t-SNE [1]_, with equal weights for all
    neighbours, and it starts at the principal components of the latents. Distances between groups
    of rows, and the sizes of groups, then mean little. Labels have no influence on the places.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, 2)
        Places of the rows.
    latents : ndarray of shape (n_samples, n_columns)
        Latents of the rows.
    estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
        Infers the latents of new rows.
    labels : ndarray of shape (n_samples,), default=None
        What gives the rows their colours: labels or numbers. None draws all rows alike.
    name : str, default=None
        What the labels are; title of the legend or name of the colour bar.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the picture.
    figure_ : matplotlib.figure.Figure
        The figure.

    References
    ----------
    .. [1] van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_hvae import HierarchicalVAETransformer
    >>> from sk_hvae.plotting import MapDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
    >>> display = MapDisplay.from_estimator(hvae, X, y).plot()
    >>> display.embedding.shape
    (150, 2)
    >>> display.place(X[:5]).shape
    (5, 2)
    """

    def __init__(
        self,
        *,
        embedding: NDArray[np.float64],
        latents: NDArray[np.float32],
        estimator: LatentsMixin,
        labels: NDArray[Any] | None = None,
        name: str | None = None,
    ) -> None:
        self.embedding = embedding
        self.latents = latents
        self.estimator = estimator
        self.labels = labels
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: LatentsMixin,
        X: MatrixLike,
        y: Labels | str | int | None = None,
        *,
        n_neighbors: int = 15,
    ) -> Self:
        """Make a map of rows.

        Nothing is random: the same latents give the same map.

        Parameters
        ----------
        estimator : HierarchicalVAETransformer, MultiRateHVAETransformer or HVAEClusterer
            Fitted. The map is of the layers in its ``output_layers``.
        X : array-like of shape (n_samples, n_features)
            Rows, whether the estimator was fitted to them or not. Most of the time is that of
            finding neighbours and grows with the square of their number: seconds for 20,000.
        y : array-like of shape (n_samples,), str or int, default=None
            What gives the rows their colours: labels, numbers or dates, or the name or number of a
            column of X. Numbers that are not whole, and numbers and dates of more than 18 different
            values, get a colour bar, everything else gets a legend. None draws all rows alike.
        n_neighbors : int, default=15
            Number of neighbours that attract each row. With more of them, the map shows large
            groups rather than small ones. It has no influence if the latents have two columns.

        Returns
        -------
        MapDisplay
            Not drawn yet.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of this library.
        ValueError
            If X does not suit the estimator, if y has not one value for each row or is no column
            of X, or if ``n_neighbors`` is less than 1.
        """
        check_fitted_model(estimator)
        check_count("n_neighbors", n_neighbors)
        latents = _latents(estimator, X)
        labels, name = (None, None) if y is None else _labels(X, y)
        return cls(
            embedding=_own_map(latents) if _is_map(latents) else layout(latents, n_neighbors),
            latents=latents,
            estimator=estimator,
            labels=labels,
            name=name,
        )

    def place(self, X: MatrixLike) -> NDArray[np.float64]:
        """Place new rows on the map, which stays as it is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Two columns of latents are themselves the places. Else a row gets the median place of
            the 3 rows of the map whose latents are nearest to its own.

        Raises
        ------
        ValueError
            If X does not suit the estimator.
        """
        latents = _latents(self.estimator, X)
        if _is_map(latents):
            return _own_map(latents)
        nearest = range(1, 1 + min(_NEAREST, len(self.latents)))
        _, numbers = KDTree(self.latents).query(latents, list(nearest))
        return np.median(self.embedding[numbers], axis=1)

    def _draw(self, ax):
        ax = axes(ax)
        scatter_by(ax, self.embedding, self.labels, self.name)
        self._name_axes(ax)
        return ax

    def _name_axes(self, ax):
        """Name the axes if they are units, and else remove their ticks, which mean nothing."""
        ax.set_aspect("equal", "datalim")
        if _is_map(self.latents):
            names = [*self.estimator.get_feature_names_out(), ""]
            ax.set(xlabel=names[0], ylabel=names[1])
        else:
            ax.set(xticks=[], yticks=[])


def _latents(estimator, X):
    """Return the latents of rows as ``transform`` does, but always as an array."""
    model = model_of(estimator)
    layers = resolve_output_layers(estimator.output_layers, model.n_layers)
    return model.encode(check_new_rows(estimator, X), layers)


def _is_map(latents):
    """Tell whether latents have few enough columns to be coordinates themselves."""
    return latents.shape[1] <= 2


def _own_map(latents):
    """Return latents of one or two columns as coordinates (n, 2)."""
    return np.pad(latents.astype(float), ((0, 0), (0, 2 - latents.shape[1])))


def _labels(X, y):
    """Return what gives rows their colours, (n,), and its name."""
    name = getattr(y, "name", None)
    if isinstance(y, str | int | np.integer):
        name = y if isinstance(y, str) else f"column {y}"
        y = _column(X, y)
    labels = column_or_1d(np.asarray(y))
    check_consistent_length(X, labels)
    return labels, None if name is None else str(name)


def _column(X, key):
    """Return a column of X by its name or number."""
    try:
        return X[key] if isinstance(key, str) else np.asarray(X)[:, key]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"y={key!r} is no column of X.") from error
