"""Samples of a whole model."""

import numpy as np
from numpy.typing import NDArray

from sk_hvae._estimators.inference import LatentsMixin
from sk_hvae._estimators.model import as_in_fit, model_of
from sk_hvae._estimators.parameters import check_count
from sk_hvae._estimators.typing import RandomState


class SamplesMixin(LatentsMixin):
    """The method ``sample`` of estimators that have no clusters to sample from."""

    def sample(
        self, n_samples: int = 1, *, mean: bool = False, random_state: RandomState = None
    ) -> NDArray[np.floating]:
        """Draw data from the model: latents from the top down, then the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        mean : bool, default=False
            Whether to return the mean of the data given the sampled latents, without the noise of
            the likelihood. Pictures of samples usually show this mean.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the estimator's ``random_state``. If that is an int,
            every call draws the same samples.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            On the scale of the data. float64 if the rows of ``fit`` were float64 or integers of
            more than 16 bits, and float32 otherwise, which then holds all of their digits.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is less than 1, or ``random_state`` is no seed.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sk_hvae import HierarchicalVAETransformer
        >>> X = load_iris().data
        >>> hvae = HierarchicalVAETransformer((1, 3), max_epochs=200, random_state=0).fit(X)
        >>> hvae.sample(3, random_state=1).shape
        (3, 4)
        """
        model = model_of(self)
        check_count("n_samples", n_samples)
        noise = model.noise(self._seed(random_state))
        return as_in_fit(self, model.sample(n_samples, noise, mean=mean))
