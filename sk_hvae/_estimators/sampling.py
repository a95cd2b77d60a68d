"""Samples of a whole model."""

from collections.abc import Mapping
from typing import Any

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.typing import MatrixLike, RandomState


class SamplesMixin(LatentsMixin):
    """The method ``sample`` of estimators that have no clusters to sample from."""

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Mapping[Any, Any] | None = None,
        like: MatrixLike | None = None,
        mean: bool = False,
        missing: bool = True,
        random_state: RandomState = None,
    ) -> Any:
        """Draw data from the model: latents from the top down, then the likelihood.

        The decoder says how each column is distributed given the latents. Columns of a table have
        more in common than so few bits tell. Those with ``Gaussian(scaling="quantile")`` or
        "categorical" are therefore drawn by noise that is correlated as in the rows of ``fit``, by
        a Gaussian copula, which leaves each column its distribution given the latents. Estimators
        of a `MultiRateHVAETransformer` have none.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        given : dict, default=None
            Conditions on columns: name or number of a column to the value that all rows are to
            have, to a list of values, or, for numbers and times, to a range as a tuple (low, high),
            whose ends belong to it and are None if they are open:
            ``{"region": "north", "age": (30, None)}``. Times may be text, such as "2024-03-01".
        like : frame or array-like of shape (n_rows, n_features), default=None
            Rows that the samples are to be like, for example those of ``fit``, or the rows of one
            kind: z_1 is drawn from a mixture of Gaussians that is fitted to z_1 of these rows [1]_.
            It takes some ten seconds for many rows. None draws z_1 from the model's prior, which
            also has latents that no row has, so that more samples look like no row.
        mean : bool, default=False
            Whether to return the mean of the data given the sampled latents, without the noise of
            the likelihood. Pictures of samples usually show this mean.
        missing : bool, default=True
            Whether cells of a frame are missing as often, and in the same combinations, as in the
            frame of ``fit``, whatever else is in their row. False draws all cells, and so does
            ``mean``.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the estimator's ``random_state``. If that is an int,
            every call draws the same samples.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A frame like that of ``fit``, if it was given one: with its names, dtypes and
            categories, and only with values that its columns can have. Else an array
            on the scale of the data. float64 if the rows of ``fit`` were float64 or integers of
            more than 16 bits, and float32 otherwise, which then holds all of their digits.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If ``given`` is no dict.
        ValueError
            If ``n_samples`` is less than 1, ``given`` asks for what a column cannot have, or for
            what the model hardly ever draws, ``like`` has other columns than in ``fit``, or
            ``random_state`` is no seed.

        References
        ----------
        .. [1] Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020, whose
           "ex-post density estimation" this is, with as many Gaussians as describe held-out rows
           best, in the directions in which rows differ by more than the posteriors' noise.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.sample(3, random_state=1).shape
        (3, 4)
        >>> versicolor = hvae.sample(100, like=X[50:100], mean=True, random_state=1)
        >>> bool(abs(versicolor.mean(axis=0) - X[50:100].mean(axis=0)).max() < 0.2)
        True
        """
        return self._draw(n_samples, given, random_state, like=like, mean=mean, missing=missing)
