"""What all metrics of models check first."""

from sklearn.utils.validation import check_is_fitted

from sk_hvae._latents import LatentsMixin


def check_fitted_model(estimator):
    """Raise TypeError or NotFittedError unless this is a fitted estimator of the library."""
    if not isinstance(estimator, LatentsMixin):
        raise TypeError(
            "estimator must be a fitted hierarchical VAE of sk_hvae; got "
            f"{type(estimator).__name__}. Of a pipeline, pass the step."
        )
    check_is_fitted(estimator, "module_")
