"""What hidden cells teach, against regressions by brute force."""

import numpy as np
import pytest
import torch
from every_kind import BY_COLUMN, make, rows_for
from sklearn.linear_model import Ridge

from sk_hvae import MultiRateHVAETransformer
from sk_hvae._data.rows import as_rows
from sk_hvae._files.saved_arrays import check_arrays, from_arrays, to_arrays
from sk_hvae._fit import refinement
from sk_hvae._fit.refinement import fit_refinement, refine
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")
N_ROWS, N_COLUMNS = 320, 4


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def x():
    x = torch.randn(N_ROWS, N_COLUMNS, generator=generator()).double()
    x[:, 3] = 2 * x[:, 0].exp() - x[:, 1] + 0.1 * x[:, 3]
    x[:, 0] = x[:, 0].exp()
    return 10 + 5 * x


def module_for(x, n_factors=0, missing=True):
    likelihood = Gaussian(scaling="columns").adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture((2,), (4,), missing=missing), likelihood).eval()
    if missing:
        module.missing.loadings[:, :n_factors] = 1
    return module


def learn(x, expected, n_factors=0):
    """Learn from a model that expects the same of rows whatever is hidden."""
    module = module_for(x, n_factors)
    weights = fit_refinement(module, x, len(x), lambda _: expected, generator())
    return weights, module.likelihood


def test_a_column_is_regressed_on_the_others(x):
    expected = x.clone()
    expected[:, 3] = 7
    weights, likelihood = learn(x, expected)
    others = np.column_stack((np.ones(N_ROWS), x[:, :3]))
    truth = others @ np.linalg.lstsq(others, x[:, 3].numpy(), rcond=None)[0]
    truth = truth.clip(x[:, 3].numpy().min(), x[:, 3].numpy().max())
    refined = refine(expected, weights, likelihood)
    np.testing.assert_allclose(refined[:, 3], truth, atol=0.2)
    np.testing.assert_allclose(refined[:, :3], x[:, :3], atol=1e-3)


def test_what_tells_nothing_becomes_the_mean():
    x, noise = 10 + 5 * torch.randn(2, N_ROWS, N_COLUMNS, generator=generator()).double()
    weights, likelihood = learn(x, noise, n_factors=4)
    refined = refine(noise, weights, likelihood)
    assert (refined - x.mean(0)).std() < 0.1 * noise.std()


def test_more_factors_draw_closer_to_the_mean(x):
    expected = x + 5 * torch.randn(x.shape, generator=generator().manual_seed(1)).double()
    spreads = [
        (refine(expected, *learn(x, expected, n_factors)) - x.mean(0)).square().mean()
        for n_factors in (0, 2, 4)
    ]
    assert spreads[0] > spreads[1] > spreads[2] > 0


def test_refined_numbers_are_within_their_range(x):
    weights, likelihood = learn(x, x + 1)
    refined = refine(x * torch.tensor([1e6, 1, -1e6, 1]), weights, likelihood)
    assert (refined >= x.amin(0)).all()
    assert (refined <= x.amax(0)).all()


def test_generalised_cross_validation_chooses_the_strength():
    features = torch.randn(60, 5, generator=generator()).double() * torch.arange(1, 6)
    target = features[:, 0] + 3 * torch.randn(60, generator=generator().manual_seed(1)).double()
    standard = ((features - features.mean(0)) / features.std(0)).numpy()
    found = []
    for strength in refinement._STRENGTHS[:-1]:
        model = Ridge(strength * 60).fit(standard, target)
        hat = standard @ np.linalg.solve(
            standard.T @ standard + strength * 60 * np.eye(5), standard.T
        )
        predicted = model.predict(standard)
        cost = np.square(predicted - target.numpy()).sum() / (1 - (1 + np.trace(hat)) / 60) ** 2
        found.append((cost, predicted))
    best = min(found, key=lambda pair: pair[0])[1]
    intercept, slopes = refinement._ridge(features, target)
    np.testing.assert_allclose(intercept + features @ slopes, best, rtol=1e-6)


def test_the_share_kept_is_adjusted_r2_over_plain_r2():
    n, p, unexplained = 50, 4, 0.7
    adjusted = 1 - unexplained * (n + p) / n
    assert refinement._share_kept(unexplained, p / n) == pytest.approx(adjusted / 0.3)
    assert refinement._share_kept(1.2, p / n) == refinement._share_kept(0.99, p / n) == 0


@pytest.mark.parametrize("case", ["no missing cells", "diverged", "too many", "constant"])
def test_without_anything_to_learn_from_there_is_none(x, case, monkeypatch):
    expected = x * torch.nan if case == "diverged" else x
    rows = torch.ones_like(x) if case == "constant" else x
    if case == "too many":
        monkeypatch.setattr(refinement, "_MOST_NUMBERS", N_COLUMNS - 1)
    module = module_for(rows, missing=case != "no missing cells")
    assert fit_refinement(module, rows, N_ROWS, lambda _: expected, generator()) is None


def test_few_cells_change_nothing(x):
    few = x[:32].clone()
    few[10:, 2] = torch.nan
    weights, _ = learn(few, few.nan_to_num(0.0) + 1)
    assert not weights[:, 2].any()
    assert weights[:, 3].any()


def test_fitted_models_know_it_where_they_can():
    X = rows_for({"missing": "mask"})
    single = make(missing="mask", likelihood=BY_COLUMN).fit(X)
    model = single.__hvae_model__()
    nominal = model.likelihood.nominal_categories[:, 0].unique().long()
    assert model.refinement.any()
    assert not model.refinement[:, nominal].any()
    again = make(missing="mask", likelihood=BY_COLUMN).fit(X).__hvae_model__()
    np.testing.assert_array_equal(model.refinement, again.refinement)
    assert single.partial_fit(X).__hvae_model__().refinement is None
    plane = make(missing="mask", kind=MultiRateHVAETransformer, rate_range=(0.5, 4)).fit(X)
    assert plane.__hvae_model__().refinement is None
    assert make().fit(rows_for({})).__hvae_model__().refinement is None


def test_files_hold_it_and_may_lack_it():
    X = rows_for({"missing": "mask"})
    model = make(missing="mask").fit(X).__hvae_model__()
    arrays = {name: np.asarray(value) for name, value in to_arrays(model).items()}
    check_arrays(type(model), arrays, model.n_components, model.n_features)
    np.testing.assert_array_equal(from_arrays(arrays)["refinement"], model.refinement)
    for wrong in (arrays["_refinement"][1:], arrays["_refinement"] * np.nan):
        with pytest.raises(ValueError, match="_refinement is wrong"):
            check_arrays(
                type(model), arrays | {"_refinement": wrong}, model.n_components, model.n_features
            )
    del arrays["_refinement"]
    check_arrays(type(model), arrays, model.n_components, model.n_features)
    assert "refinement" not in from_arrays(arrays)
    assert np.isfinite(model.impute(as_rows(X))).all()
