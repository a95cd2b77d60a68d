"""Rows under conditions, on models whose conditional distributions are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest, norm, truncnorm

from sk_hvae._fit.conditional import Condition, Conditioner
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae.nn import (
    Architecture,
    Categorical,
    DataSummary,
    DiscretizedLogistic,
    Gaussian,
    PerColumn,
    Poisson,
    build_hierarchy,
)
from sk_hvae.nn.likelihoods.refusal import ColumnError
from sk_hvae.nn.noise import GeneratorNoise

SIGMA = 0.5


def seeded(seed):
    return GeneratorNoise(torch.Generator().manual_seed(seed))


def draw(module, conditions, n=3000, seed=0, dtype=torch.float64, draw_z_1=None, **kwargs):
    draw_z_1 = draw_z_1 or module.sample_z_1
    with torch.inference_mode():
        conditioner = Conditioner(module, draw_z_1, conditions, dtype, seeded(seed))
        return conditioner.sample(n, **kwargs).numpy()


@pytest.fixture(scope="module")
def gaussian():
    """Return a linear model of four columns and two layers, and mean and covariance of its rows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=generator).double() * torch.tensor([1.0, 2.0, 5.0, 0.1])
    likelihood = Gaussian(sigma=SIGMA, scaling="columns").adapt(DataSummary.of([x + 10]))
    module = build_hierarchy(Architecture((3, 2), (4,)), likelihood).eval()
    down, out = module.layers[0].prior_net.linear, module.decoder.linear
    with torch.no_grad():
        for parameter in [*down.parameters(), out.bias]:
            parameter.zero_()
        down.weight[:3] = torch.randn(3, 2, generator=generator)
        out.weight.copy_(0.4 * torch.randn(4, 3, generator=generator))
    scale = likelihood.scale.numpy()[:, None]
    to_z_1 = down.weight[:3].detach().double().numpy()
    to_x = scale * out.weight.detach().double().numpy()
    of_z_1 = to_z_1 @ to_z_1.T + np.eye(3)
    covariance = to_x @ of_z_1 @ to_x.T + SIGMA**2 * np.eye(4)
    return module, likelihood.location.numpy(), covariance


def given_one(mean, covariance, column, value):
    """Mean and standard deviation of all columns given one of them."""
    slope = covariance[column] / covariance[column, column]
    variance = np.diag(covariance) - slope * covariance[column]
    return mean + slope * (value - mean[column]), np.sqrt(variance.clip(0))


def test_a_given_number_leaves_the_gaussian_that_algebra_says(gaussian):
    module, mean, covariance = gaussian
    value = mean[1] + 0.7
    rows = draw(module, [Condition(1, (value,))])
    assert (rows[:, 1] == value).all()
    means, stds = given_one(mean, covariance, 1, value)
    for column in (0, 2, 3):
        assert kstest(rows[:, column], norm(means[column], stds[column]).cdf).pvalue > 0.01


def test_a_range_leaves_a_truncated_gaussian_and_what_goes_with_it(gaussian):
    module, mean, covariance = gaussian
    stds = np.sqrt(np.diag(covariance))
    low, high = mean[0] + 0.5 * stds[0], mean[0] + 1.5 * stds[0]
    rows = draw(module, [Condition(0, None, low, high)])
    assert kstest(rows[:, 0], truncnorm(0.5, 1.5, mean[0], stds[0]).cdf).pvalue > 0.01
    # Given column 0 every other column is Gaussian, with a mean that follows the cell.
    means, rest = given_one(mean, covariance, 0, rows[:, :1])
    for column in (1, 2, 3):
        standardised = (rows[:, column] - means[:, column]) / rest[column]
        assert kstest(standardised, norm.cdf).pvalue > 0.01


def test_values_of_a_number_share_the_rows_by_their_density(gaussian):
    module, mean, covariance = gaussian
    std = math.sqrt(covariance[2, 2])
    values = (mean[2], mean[2] + 1.2 * std)
    rows = draw(module, [Condition(2, values)])
    counts = [(rows[:, 2] == value).sum() for value in values]
    density = norm(mean[2], std).pdf(values)
    assert chisquare(counts, len(rows) * density / density.sum()).pvalue > 0.01


@pytest.fixture(scope="module")
def categorical():
    """Return a model of three columns of categories and a state, and the table of its rows."""
    generator = torch.Generator().manual_seed(1)
    x = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.tensor([4, 7, 9]))
    likelihood = Categorical().adapt(DataSummary.of([x]))
    architecture = Architecture((3,), (4,), top_layer="mixture")
    module = build_hierarchy(architecture, likelihood).eval()
    with torch.no_grad():
        module.layers[0].prior_logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        module.decoder.linear.weight.copy_(2 * torch.randn(8, 3, generator=generator))
        module.decoder.linear.bias.zero_()
        logits = module.decoder(torch.eye(3)).double()
    of_state = torch.tensor([0.0, 1.0, -1.0]).double().softmax(0)
    parts = [part.softmax(1) for part in logits.split([2, 3, 3], 1)]
    joint = torch.einsum("c,ci,cj,ck->cijk", of_state, *parts).numpy()
    return module, joint


def assert_follows(rows, table):
    """Compare rows with a table of probabilities of their columns, which does not add up to 1."""
    codes = [(0, 1), (0, 1, 2), (4, 7, 9)]
    counts = np.array([(rows == cell).all(1).sum() for cell in itertools.product(*codes)])
    expected = len(rows) * table.ravel() / table.sum()
    assert (counts[expected == 0] == 0).all()
    assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 0.01


def test_categories_follow_the_table_given_some_of_them(categorical):
    module, joint = categorical
    table = joint.sum(0).copy()
    table[:, 1] = 0
    table[:, :, 0] = 0
    # A range of codes is the list of the categories in it.
    assert_follows(draw(module, [Condition(1, (0, 2)), Condition(2, None, 6.5)]), table)


def test_a_given_state_and_conditions_go_together(categorical):
    module, joint = categorical
    table = joint[2].copy()
    table[0] = 0

    def draw_z_1(n_draws, noise):
        return module.sample_z_1(n_draws, noise, torch.tensor([0.0, 0.0, 1.0]).expand(n_draws, -1))

    assert_follows(draw(module, [Condition(0, (1,))], draw_z_1=draw_z_1), table)


def test_an_open_range_of_counts_is_that_of_the_poisson_mixture():
    x = torch.tensor([[0.0, 1.0], [9.0, 3.0]])
    module = build_hierarchy(Architecture((1,), (4,)), Poisson().adapt(DataSummary.of([x]))).eval()
    with torch.no_grad():
        for parameter in module.decoder.linear.parameters():
            parameter.zero_()
    rows = draw(module, [Condition(0, None, -math.inf, 2), Condition(1, (3,))])
    assert set(np.unique(rows[:, 0])) == {0, 1, 2}
    assert (rows[:, 1] == 3).all()


def test_cells_meet_their_conditions_in_the_precision_of_the_data(gaussian):
    module, mean, _ = gaussian
    low, high = mean[0] + 0.1, mean[0] + 0.3
    conditions = [Condition(0, None, low, high), Condition(1, (mean[1],))]
    for averaged in (False, True):
        rows = draw(module, conditions, 500, dtype=torch.float32, mean=averaged)
        assert rows.dtype == np.float32
        assert (rows[:, 0].astype(float) >= low).all()
        assert (rows[:, 0].astype(float) <= high).all()
        assert (rows[:, 1] == np.float32(mean[1])).all()


def test_a_mean_has_less_spread_than_a_draw_where_nothing_is_given(gaussian):
    module, mean, _ = gaussian
    conditions = [Condition(1, (mean[1],))]
    spread = [draw(module, conditions, mean=averaged)[:, 3].var() for averaged in (True, False)]
    assert spread[1] - spread[0] == pytest.approx(SIGMA**2, rel=0.2)


def test_a_column_that_was_constant_has_its_constant():
    x = torch.tensor([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]])
    module = build_hierarchy(Architecture((1,), (4,)), Gaussian().adapt(DataSummary.of([x]))).eval()
    free = draw(module, [Condition(0, (1.0,))])
    given = draw(module, [Condition(0, (1.0,)), Condition(1, (7.0,))])
    np.testing.assert_array_equal(given[:, 1], free[:, 1])
    with pytest.raises(ColumnError, match="7"):
        draw(module, [Condition(1, (8.0,))])


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([Condition(0, (5,))], "column 0 of X.*5, but the rows of fit have values from 0 to 1"),
        ([Condition(2, (8,))], "column 2 of X.*4, 7, 9"),
        ([Condition(2, None, 5, 6)], "column 2 of X.*none"),
        ([Condition(1, ())], "column 1 of X.*none"),
        ([Condition(1, (math.nan,))], "column 1 of X.*missing"),
        ([Condition(1, None, 2, 1)], "column 1 of X.*empty"),
        ([Condition(1, (1,)), Condition(1, (2,))], "column 1 of X.*several"),
    ],
)
def test_what_no_value_can_meet_is_refused(categorical, conditions, message):
    with pytest.raises(ColumnError, match=message):
        draw(categorical[0], conditions)


def test_a_range_beside_the_training_data_is_refused(gaussian):
    with pytest.raises(ColumnError, match=r"column 3 of X.*1000000"):
        draw(gaussian[0], [Condition(3, None, 1e6)])


def test_what_is_between_levels_is_refused_in_the_column_that_has_them():
    x = torch.tensor([[0.0, 0.5], [0.5, 0.1], [1.0, 0.8]], dtype=torch.float64)
    mixed = PerColumn([(Gaussian(), [1]), (DiscretizedLogistic(5, maximum=1.0), [0])])
    module = build_hierarchy(Architecture((1,), (4,)), mixed.adapt(DataSummary.of([x]))).eval()
    assert (draw(module, [Condition(1, (0.3,))], 10)[:, 1] == 0.3).all()
    assert set(draw(module, [Condition(0, None, 0.2, 0.6)], 50)[:, 0]) <= {0.25, 0.5}
    for condition in (Condition(0, (0.3,)), Condition(0, None, 0.3, 0.4)):
        with pytest.raises(ColumnError, match="column 0 of X"):
            draw(module, [condition])


def test_conditions_that_are_too_rare_say_how_rare(gaussian, monkeypatch):
    monkeypatch.setattr("sk_hvae._fit.conditional._MOST_DRAWS", 20_000)
    module, mean, covariance = gaussian
    low = mean[0] + 2 * math.sqrt(covariance[0, 0])
    probability = norm(mean[0], math.sqrt(covariance[0, 0])).sf(low)
    with pytest.raises(ValueError, match="too rare for 10,000 rows") as caught:
        draw(module, [Condition(0, None, low)], 10_000)
    told = float(str(caught.value).split("a probability of about ")[1].split(". ")[0])
    assert told == pytest.approx(probability, rel=0.3)


def test_a_fitted_model_draws_the_same_rows_by_the_same_seed(fitted, multi):
    for estimator in (fitted, multi):
        model = fitted_of(estimator)
        model = model.at((1.0, 2.0)) if hasattr(model, "at") else model
        conditions = [Condition(0, None, 5.0, 6.0)]
        once, again, other = (
            model.sample_given(20, model.noise(seed), conditions) for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(once, again)
        assert not np.array_equal(once, other)
        assert once.dtype == model.data_dtype
