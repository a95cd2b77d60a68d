"""Missing cells, against the conditional means of models that algebra solves."""

import numpy as np
import pytest
import torch
from every_kind import BY_COLUMN, IMAGES, make, rows_for

from sk_hvae import HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._data.rows import as_rows
from sk_hvae._fit.imputation import impute
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

KINDS = {
    "numbers": {},
    "one layer": {"layer_rates": 2},
    "by column": {"likelihood": BY_COLUMN},
    "images": {"likelihood": "bernoulli", **IMAGES},
    "states": {"top_layer": "categorical"},
    "states only": {"layer_rates": 1, "top_layer": "categorical", "likelihood": BY_COLUMN},
    "multi-rate": {"kind": MultiRateHVAETransformer, "rate_range": (0.5, 4)},
    "clusters": {"kind": HVAEClusterer, "n_clusters": 3, "layer_rates": None},
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def kind(request):
    X = rows_for({"missing": "mask"})
    return make(missing="mask", **request.param).fit(X).__hvae_model__(), X


def test_cells_that_are_there_stay_and_the_others_are_filled(kind):
    model, X = kind
    filled, seen = model.impute(as_rows(X)), ~np.isnan(X)
    assert filled.dtype == X.dtype
    np.testing.assert_array_equal(filled[seen].view(np.int64), X[seen].view(np.int64))
    assert np.isfinite(filled).all()
    for column in model.likelihood.nominal_categories[:, 0].unique().long().tolist():
        assert set(filled[:, column]) <= {0, 1}


def test_a_row_is_filled_without_the_others(kind):
    model, X = kind
    filled = model.impute(as_rows(X))
    np.testing.assert_allclose(model.impute(as_rows(X[[9, 3]])), filled[[9, 3]], rtol=1e-5)
    np.testing.assert_array_equal(model.impute(as_rows(X[:3])), X[:3])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.bool_])
def test_complete_rows_of_any_dtype_come_back(fitted, iris, dtype):
    X = iris.astype(dtype)
    np.testing.assert_array_equal(fitted_of(fitted).impute(as_rows(X)), X)


@pytest.fixture
def blind():
    """Return a model whose decoder expects the same of all rows, on factors that are not fitted."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 5, generator=generator).double() * 3 + 20
    likelihood = Gaussian(scaling="columns").adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture((2,), (4,), missing=True), likelihood).eval()
    with torch.no_grad():
        module.decoder.linear.weight.zero_()
        module.decoder.linear.bias.copy_(torch.linspace(-1, 1, 5))
        module.missing.loadings.copy_(torch.randn(5, 5, generator=generator))
        module.missing.noise.copy_(torch.linspace(0.1, 0.5, 5))
        module.missing.mean.copy_(torch.randn(5, generator=generator))
    x[torch.rand(x.shape, generator=generator) < 0.4] = torch.nan
    return module, x.numpy()


def test_half_of_what_regression_makes_of_the_cells_that_are_there_is_added(blind):
    module, X = blind
    likelihood = module.likelihood
    expected = likelihood.mean(module.decoder.linear.bias.detach()[None]).numpy()[0]
    loadings = module.missing.loadings.double().numpy()
    covariance = loadings @ loadings.T + np.diag(module.missing.noise.numpy())
    scale = likelihood.scale.numpy()
    covariance *= scale * scale[:, None]
    filled = impute(module, as_rows(X), "float64")
    for row, found in zip(X, filled, strict=True):
        there, gone = ~np.isnan(row), np.isnan(row)
        beyond = np.linalg.solve(covariance[np.ix_(there, there)], (row - expected)[there])
        truth = expected[gone] + 0.5 * covariance[np.ix_(gone, there)] @ beyond
        np.testing.assert_allclose(found[gone], truth, rtol=1e-4)


def test_columns_that_repeat_another_one_come_back():
    rng = np.random.default_rng(0)
    number, code = rng.normal(50, 10, 400), rng.integers(0, 3, 400)
    X = np.column_stack((number, 2 * number, code, 2 - code, rng.normal(size=(400, 4))))
    truth, gone = X.copy(), np.zeros(X.shape, bool)
    gone[:100, 1], gone[100:200, 3] = True, True
    X[gone] = np.nan
    likelihood = [("gaussian", [0, 1, *range(4, 8)]), ("categorical", [2, 3])]
    hvae = make(missing="mask", likelihood=likelihood, max_epochs=60, n_components=4)
    filled = hvae.fit(X).__hvae_model__().impute(as_rows(X))
    assert np.sqrt(np.mean(np.square(filled - truth)[:100, 1])) < 0.3 * truth[:, 1].std()
    assert (filled[100:200, 3] == truth[100:200, 3]).mean() > 0.95
