"""scikit-learn's own checks, on all kinds of estimators."""

import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from torch import nn

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.nn import Gaussian, Networks

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]


def small(**params):
    return HierarchicalVAETransformer(
        n_components=2, hidden_layer_sizes=(8,), max_epochs=2, batch_size=32, **params
    )


class Encoder(nn.Sequential):
    def __init__(self, n_inputs):
        super().__init__(nn.Linear(n_inputs, 8), nn.Tanh())


class Decoder(nn.Sequential):
    def __init__(self, n_units, n_outputs):
        super().__init__(nn.Linear(n_units, 8), nn.Tanh(), nn.Linear(8, n_outputs))


ESTIMATORS = {
    "two layers": small(layer_rates=(1, 2)),
    "betas, ladder": small(layer_rates=None, betas=(0.5, 2.0), inference="ladder"),
    "one layer, own networks, sigma per feature": small(
        layer_rates=3,
        network=Networks(Encoder, Decoder),
        likelihood=Gaussian(sigma="per_feature"),
    ),
    "categorical top, missing": small(
        layer_rates=(2, 0.5), top_layer="categorical", missing="mask"
    ),
    "multi-rate": MultiRateHVAETransformer(
        (0.5, 2), layer_rates=1, n_components=2, hidden_layer_sizes=(8,), max_epochs=2
    ),
    "clusterer": HVAEClusterer(n_init=3, n_components=2, hidden_layer_sizes=(8,), max_epochs=2),
}

# scikit-learn runs these on its own estimators only.
UNLISTED = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


def failures_of_the_checks(estimator):
    """Return checks that cannot pass, and why."""
    if not isinstance(estimator, HVAEClusterer):
        return {}
    reason = "the check reads the tags of a classifier from whatever has predict_proba"
    return dict.fromkeys(["check_estimator_sparse_array", "check_estimator_sparse_matrix"], reason)


@parametrize_with_checks(list(ESTIMATORS.values()), expected_failed_checks=failures_of_the_checks)
def test_listed_check(estimator, check):
    check(estimator)


# These checks fit on a frame and transform an array, or the reverse; scikit-learn warns.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names:UserWarning")
@pytest.mark.parametrize("variant", ESTIMATORS)
@pytest.mark.parametrize("check", UNLISTED)
def test_unlisted_check(check, variant):
    estimator = clone(ESTIMATORS[variant])
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@pytest.mark.parametrize("variant", ESTIMATORS)
def test_no_check_is_lost(variant):
    assert len(list(estimator_checks_generator(ESTIMATORS[variant]))) >= 45
