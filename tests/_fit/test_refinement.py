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
from sk_hvae._fit.refinement import FilledRows, fit_refinement, refine
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy
from sk_hvae.nn.likelihoods import Categorical, PerColumn

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


@pytest.fixture(scope="module")
def mixed():
    """Return a number, a category of three, and one of two, each of which tells the others."""
    code = torch.randint(3, (N_ROWS,), generator=generator()).double()
    number = 3.0 + code + 0.1 * torch.randn(N_ROWS, generator=generator()).double()
    return torch.stack((number, 5 * code, (code == 2).double()), 1)


def module_for(x, n_factors=0, missing=True, likelihood=None):
    likelihood = (likelihood or Gaussian(scaling="columns")).adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture((2,), (4,), missing=missing), likelihood).eval()
    if missing:
        module.missing.loadings[:, :n_factors] = 1
    return module


def mixed_likelihood():
    return PerColumn([(Gaussian(scaling="columns"), 0), (Categorical(), [1, 2])])


def learn(x, expected, n_factors=0, likelihood=None):
    """Learn from a model that expects the same of rows whatever is hidden.

    Returns the refinement of rows that are missing as a whole, of which the model expects this.
    """
    module = module_for(x, n_factors, likelihood=likelihood)
    rows = FilledRows(module.likelihood)
    linked = module.link(expected)
    column, code = module.likelihood.nominal_categories.T
    hits = expected[:, column.long()] == code
    whole = torch.cat((expected, hits, linked), 1).double()
    weights = fit_refinement(module, x, len(x), lambda _: whole, generator())
    gone = torch.full_like(expected, torch.nan)
    return weights, refine(rows, gone, torch.full_like(linked, torch.nan), whole, weights)


def test_a_column_is_regressed_on_the_others(x):
    expected = x.clone()
    expected[:, 3] = 20
    _, refined = learn(x, expected)
    others = np.column_stack((np.ones(N_ROWS), x[:, :3]))
    truth = others @ np.linalg.lstsq(others, x[:, 3].numpy(), rcond=None)[0]
    truth = truth.clip(x[:, 3].numpy().min(), x[:, 3].numpy().max())
    assert np.std(refined[:, 3].numpy() - truth) < 0.05 * truth.std()
    np.testing.assert_allclose(refined[:, :3], x[:, :3], atol=0.02)


def test_a_category_is_told_by_the_others(mixed):
    expected = mixed.clone()
    expected[:, 2] = 0.0
    _, refined = learn(mixed, expected, likelihood=mixed_likelihood())
    assert (refined[:, 2] == mixed[:, 2]).all()
    expected = mixed.clone()
    expected[:, 0] = 4.0
    _, refined = learn(mixed, expected, likelihood=mixed_likelihood())
    np.testing.assert_allclose(refined[:, 0], mixed[:, 0], atol=0.5)
    assert (refined[:, 1:] == mixed[:, 1:]).all()


def test_a_category_that_nothing_tells_is_the_most_frequent():
    frequent = torch.rand(N_ROWS, 2, generator=generator()).double() < 0.8
    expected = torch.rand(N_ROWS, 2, generator=generator().manual_seed(1)).double() < 0.5
    _, refined = learn(frequent.double(), expected.double(), 4, Categorical())
    assert (refined == 1).all()


def test_what_tells_nothing_becomes_the_mean():
    x, noise = 10 + 5 * torch.randn(2, N_ROWS, N_COLUMNS, generator=generator()).double()
    _, refined = learn(x, noise, n_factors=4)
    assert (refined - x.mean(0)).std() < 0.1 * noise.std()


def test_more_factors_draw_closer_to_the_mean(x):
    expected = x + 5 * torch.randn(x.shape, generator=generator().manual_seed(1)).double()
    spreads = [
        (learn(x, expected, n_factors)[1] - x.mean(0)).square().mean() for n_factors in (0, 2, 4)
    ]
    assert spreads[0] > spreads[1] > spreads[2] > 0


def test_refined_numbers_are_within_their_range(x):
    _, refined = learn(x, x * torch.tensor([1e6, 1, -1e6, 1]))
    assert (refined >= x.amin(0)).all()
    assert (refined <= x.amax(0)).all()


def test_inputs_are_the_cells_that_are_there_and_what_is_expected_of_the_others(mixed):
    module = module_for(mixed, likelihood=mixed_likelihood())
    rows, link = FilledRows(module.likelihood), module.link
    holey = mixed[:4].clone()
    holey[0, 0] = holey[1, 1] = torch.nan
    shares = torch.tensor([0.2, 0.3, 0.5, 0.6, 0.4]).double()
    expected = torch.cat((torch.tensor([4.0, 0.0, 1.0]), shares, torch.full((6,), 0.7))).double()
    inputs = rows.inputs(holey, link(holey), expected.expand(4, -1))
    mean, std = mixed[:, 0].mean(), mixed[:, 0].std(correction=0)
    number = torch.cat((torch.tensor([4.0]), mixed[1:4, 0]))
    np.testing.assert_allclose(inputs[:, 0], (number - mean) / std, rtol=1e-12)
    hits = (mixed[:4, 1, None] == torch.tensor([0.0, 5.0, 10.0])).double()
    hits[1] = shares[:3]
    np.testing.assert_array_equal(inputs[:, 1:4], hits)
    links = link(mixed[:4])[:, 0]
    links[0] = 0.7
    np.testing.assert_allclose(inputs[:, 6], links, rtol=1e-6)
    assert rows.columns.tolist() == [0, 1, 1, 1, 2, 2]
    assert rows.blocks[1] == rows.blocks[3] != rows.blocks[4]
    targets = rows.targets(holey)
    assert targets.isnan().nonzero().tolist() == [[0, 0], [1, 1], [1, 2], [1, 3]]


def test_columns_of_the_most_categories_are_left_out(mixed, monkeypatch):
    monkeypatch.setattr(refinement, "_MOST_INPUTS", 5)
    module = module_for(mixed, likelihood=mixed_likelihood())
    assert FilledRows(module.likelihood).columns.tolist() == [0, 2, 2]
    expected = mixed.clone()
    expected[:, 1] = 5.0
    _, refined = learn(mixed, expected, likelihood=mixed_likelihood())
    np.testing.assert_array_equal(refined[:, 1:], expected[:, 1:])


def test_generalised_cross_validation_chooses_the_strength():
    features = torch.randn(60, 5, generator=generator()).double() * torch.arange(1, 6)
    noise = torch.randn(60, 2, generator=generator().manual_seed(1)).double()
    target = features[:, :2] + 3 * noise
    blocks = torch.tensor([0, 1, 1, 2, 3])
    variances = features.var(0)
    variances[1:3] = variances[1:3].sum()
    standard = ((features - features.mean(0)) / variances.sqrt()).numpy()
    found = []
    for strength in refinement._STRENGTHS[:-1]:
        model = Ridge(strength * 60).fit(standard, target)
        hat = standard @ np.linalg.solve(
            standard.T @ standard + strength * 60 * np.eye(5), standard.T
        )
        predicted, freedom = model.predict(standard), 1 + np.trace(hat)
        cost = np.square(predicted - target.numpy()).sum() / (1 - freedom / 60) ** 2
        found.append((cost, predicted, freedom))
    _, best, freedom = min(found, key=lambda each: each[0])
    intercept, slopes, found_freedom = refinement._ridge(features, target, blocks)
    np.testing.assert_allclose(intercept + features @ slopes, best, rtol=1e-6)
    assert found_freedom == pytest.approx(freedom)


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
        monkeypatch.setattr(refinement, "_MOST_INPUTS", 2 * N_COLUMNS - 1)
    module = module_for(rows, missing=case != "no missing cells")
    whole = torch.cat((expected, expected), 1)
    assert fit_refinement(module, rows, N_ROWS, lambda _: whole, generator()) is None


def test_few_cells_change_nothing(x):
    few = x[:32].clone()
    few[10:, 2] = torch.nan
    expected = few.nan_to_num(12.0) + 1
    weights, refined = learn(few, expected)
    np.testing.assert_array_equal(weights[:, 2], np.eye(9)[:, 3])
    inside = expected[:, 2].clamp(few[:10, 2].min(), few[:10, 2].max())
    np.testing.assert_allclose(refined[:, 2], inside)
    assert weights[0, 3] != 0


def test_fitted_models_know_it_where_they_can():
    X = rows_for({"missing": "mask"})
    single = make(missing="mask", likelihood=BY_COLUMN).fit(X)
    model = single.__hvae_model__()
    assert model.refinement.any()
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
    check_arrays(type(model), arrays, model.n_components, model.likelihood)
    np.testing.assert_array_equal(from_arrays(arrays)["refinement"], model.refinement)
    for wrong in (arrays["_refinement"][1:], arrays["_refinement"] * np.nan):
        with pytest.raises(ValueError, match="_refinement is wrong"):
            check_arrays(
                type(model), arrays | {"_refinement": wrong}, model.n_components, model.likelihood
            )
    del arrays["_refinement"]
    check_arrays(type(model), arrays, model.n_components, model.likelihood)
    assert "refinement" not in from_arrays(arrays)
    assert np.isfinite(model.impute(as_rows(X))).all()
