"""Cells cost what their likelihood says, and come back exactly."""

import math

import numpy as np
import pytest
import torch

from sk_hvae._codec.cells import Precision
from sk_hvae._codec.constants import ConstantCells
from sk_hvae._codec.missing_cells import ExactFilling
from sk_hvae._codec.networks import as_numbers
from sk_hvae._codec.rows import RowCoder, completed
from sk_hvae._codec.stacks import Stacks
from sk_hvae.nn import (
    Bernoulli,
    Categorical,
    DataSummary,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    NegativeBinomial,
    Poisson,
)
from sk_hvae.nn.likelihoods import PerColumn
from sk_hvae.nn.likelihoods.refusal import ColumnError
from sk_hvae.nn.missing import MissingCells

RNG = np.random.default_rng(0)
COUNTS = RNG.negative_binomial(1.0, 0.2, (300, 4)).astype(float)
LARGE = RNG.poisson(RNG.gamma(2.0, 800.0, (300, 4))).astype(float)
CODES = np.minimum(RNG.geometric(0.2, (300, 4)), 25).astype(float) * 3 - 7
PRICES = np.round(RNG.lognormal(2, 1, (300, 4)), 2)
LEVELS = RNG.integers(0, 17, (300, 12)).astype(float)
BINARY = (RNG.random((300, 4)) < 0.3).astype(float)

CASES = {
    "bernoulli": (Bernoulli(), BINARY),
    "bernoulli, other values": (Bernoulli(-3, 7), 10 * BINARY - 3),
    "poisson": (Poisson(), COUNTS),
    "poisson, large": (Poisson(), RNG.poisson(1600, (300, 4)).astype(float)),
    "negative binomial": (NegativeBinomial(), COUNTS),
    "negative binomial, large": (NegativeBinomial("shared"), LARGE),
    "categorical": (Categorical(), CODES),
    "rare categories": (Categorical(max_categories=5), CODES),
    "quantile scale": (Gaussian("per_feature", "quantile"), PRICES),
    "linear scale": (Gaussian("per_feature"), PRICES),
    "levels": (DiscretizedLogistic(17), LEVELS),
    "mixture of levels": (DiscretizedLogisticMixture(2, 17), LEVELS),
    "mixture, three channels": (DiscretizedLogisticMixture(3, 17), LEVELS),
    "by column": (
        PerColumn(
            [("poisson", [3, 0]), (Gaussian("per_feature", "quantile"), [1]), ("bernoulli", 2)]
        ),
        np.column_stack((COUNTS[:, 0], PRICES[:, 0], BINARY[:, 0], COUNTS[:, 1])),
    ),
}


def adapted(name):
    likelihood, x = CASES[name]
    x = torch.tensor(x)
    n_channels = 3 if "three" in name else 1
    likelihood = likelihood.adapt(DataSummary.of([x], n_channels))
    torch.manual_seed(0)
    # Large counts tell their mean to a few percent.
    parameters = torch.randn(len(x), likelihood.n_outputs) * (0.03 if "large" in name else 1)
    likelihood.fit_scale(x, parameters)
    return likelihood, x, parameters


def coder_of(likelihood, name):
    n_features = len(likelihood.summary.mean)
    return RowCoder(likelihood, np.full(n_features, 0.01 if name == "linear scale" else np.nan))


def round_trip(coder, x, parameters):
    """Push rows, pop them again; returns bits and rows."""
    precision = Precision(np.zeros(x.shape[1], bool))
    stacks = Stacks.new(2)
    stacks.set_lanes(4)
    bits = coder.push(stacks, x, parameters, precision)
    found = coder.pop(stacks, parameters, ~np.isnan(x), precision)
    stacks.undo_lanes(1)
    assert stacks.is_new
    return bits, found


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_rows_cost_what_the_likelihood_says(name):
    likelihood, x, parameters = adapted(name)
    log_prob = likelihood.log_prob(x, parameters)
    if name == "linear scale" or "quantile" in name:
        log_prob = log_prob + math.log(0.01)
    if name == "by column":
        log_prob[:, 1] += math.log(0.01)
    bits, found = round_trip(coder_of(likelihood, name), x.numpy(), as_numbers(parameters))
    np.testing.assert_array_equal(found, x)
    # What is less probable than 2**-20 a cell costs less, by the floors of the frequencies.
    expected = as_numbers(-log_prob.clamp(min=-13).sum(1)) / math.log(2)
    likely = as_numbers((log_prob > -12).all(1)) > 0
    assert likely.mean() > 0.3
    np.testing.assert_allclose(bits[likely], expected[likely], rtol=0.02, atol=0.15)
    assert bits[likely].mean() == pytest.approx(expected[likely].mean(), rel=5e-3)


@pytest.mark.parametrize("name", CASES)
def test_links_are_those_of_the_likelihood(name):
    likelihood, x, _ = adapted(name)
    x[1, 2] = math.nan
    found = coder_of(likelihood, name).link(x.numpy())
    np.testing.assert_allclose(found, as_numbers(likelihood.link(x)), atol=1e-5)


FAR = {
    "poisson": 10.0**12,
    "negative binomial": 10.0**9,
    "negative binomial, large": 10.0**12,
    "quantile scale": -31415.9265,
    "linear scale": 1e9,
    "levels": 0.0,
    "bernoulli": 1.0,
}


@pytest.mark.parametrize("odd", [12.05, math.nan])
def test_later_channels_do_not_depend_on_what_is_no_level(odd):
    likelihood, x, parameters = adapted("mixture, three channels")
    x[::2, :4] = odd
    x[::3, 4:8] = odd
    coder = coder_of(likelihood, "mixture, three channels")
    _, found = round_trip(coder, x.numpy(), as_numbers(parameters))
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize(("name", "far"), FAR.items())
def test_rows_far_from_the_training_data_come_back(name, far):
    likelihood, x, parameters = adapted(name)
    x[3], x[5, 1:] = far, math.nan
    wild = as_numbers(50 * parameters)
    _, found = round_trip(coder_of(likelihood, name), x.numpy(), wild)
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize(
    ("odd_value", "n_parts"), [(8, 0), (6, 0), (0, 1), (8.5, 1), (-1e5 - 1, 2), (np.pi, 4)]
)
def test_columns_that_were_constant_cost_nothing_unless_they_vary(odd_value, n_parts):
    x = np.column_stack((BINARY, np.full(300, 7.0)))
    likelihood = PerColumn([("bernoulli", range(4)), ("poisson", 4)])
    likelihood.adapt(DataSummary.of([torch.tensor(x)]))
    coder, parameters = RowCoder(likelihood, np.full(5, np.nan)), np.zeros((300, 5))
    bits, found = round_trip(coder, x, parameters)
    np.testing.assert_array_equal(found, x)
    odd = x.copy()
    odd[0, 4] = odd_value
    more, found = round_trip(coder, odd, parameters)
    np.testing.assert_array_equal(found, odd)
    np.testing.assert_allclose(more[1:], bits[1:])
    # One symbol for one more, one less, or others. After it, others have a count, and as many parts
    # of 16 bits of a float64.
    expected = -math.log2(ConstantCells.escape_share) + (2 + 16 * n_parts) * (n_parts > 0)
    assert more[0] - bits[0] == pytest.approx(expected, abs=1e-2)


def test_integers_need_no_resolution_where_there_is_no_grid():
    x = np.column_stack((LARGE[:, 0], PRICES[:, 0], BINARY[:, 0]))
    parts = [(Gaussian("per_feature"), [0]), (Gaussian("per_feature", "quantile"), [1])]
    likelihood = PerColumn([*parts, ("bernoulli", 2)]).adapt(DataSummary.of([torch.tensor(x)]))
    none = np.full(3, np.nan)
    np.testing.assert_array_equal(completed(none, likelihood, "u1"), [1, np.nan, np.nan])
    np.testing.assert_array_equal(completed(none, likelihood, "f8"), none)
    stated = np.array([5.0, 0.1, np.nan])
    np.testing.assert_array_equal(completed(stated, likelihood, "i4"), stated)


def test_numbers_without_a_grid_are_refused():
    likelihood = Gaussian().adapt(DataSummary.of([torch.randn(50, 3)]))
    with pytest.raises(ColumnError, match=r"column 0 of X.*resolution=0\.001"):
        RowCoder(likelihood, np.full(3, np.nan))


def test_counts_with_an_exposure_are_refused():
    likelihood = Poisson(exposure="total").adapt(DataSummary.of([torch.tensor(COUNTS)]))
    with pytest.raises(ColumnError, match="exposure"):
        RowCoder(likelihood, np.full(4, np.nan))


def test_missing_cells_are_filled_as_the_model_does():
    linked = torch.randn(200, 3) @ torch.randn(3, 6)
    linked[torch.rand(200, 6) < 0.3] = math.nan
    cells = MissingCells(torch.arange(6), torch.zeros(6))
    cells.fit(linked, torch.Generator().manual_seed(0))
    filling = ExactFilling(cells)
    found = filling.mark(as_numbers(linked))
    np.testing.assert_allclose(found, as_numbers(cells.mark(linked)), atol=5e-3)
    alone = np.concatenate([filling.mark(row[None]) for row in as_numbers(linked)])
    assert (alone == found).all()
