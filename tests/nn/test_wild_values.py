"""A few wild values do not spoil the scale of a column, its means or its samples."""

import math

import pytest
import torch

from sk_hvae.nn.likelihoods import DataSummary, Gaussian, PerColumn
from sk_hvae.nn.likelihoods.wild import tame_ends


def column(n=200, seed=0):
    return 40 + 10 * torch.randn(n, generator=torch.Generator().manual_seed(seed)).double()


def adapted(x):
    return Gaussian(sigma=1.0, scaling="quantile").adapt(DataSummary.of([x[:, None]]))


WILD = {
    "one, above": [1e12],
    "one, below": [-1e12],
    "both sides": [1e12, -1e9],
    "several": [1e12, 1e7, 5e6, 4e6, 2e6],
    "not so far": [3e3],
}


@pytest.mark.parametrize("wild", WILD.values(), ids=WILD)
def test_the_ends_of_the_others_are_found(wild):
    x = column()
    low, high = tame_ends(torch.cat((x, torch.tensor(wild).double())))
    assert (low, high) == (x.min(), x.max())


TAME = {
    "normal": column(),
    "skewed": column().sub(40).div(5).exp(),
    "very skewed": column().sub(40).div(4).exp(),
    "a rare flag": torch.arange(200).eq(7).double(),
    "sparse": torch.where(torch.arange(200) < 3, column() * 1e6, 0.0),
    "too many to be mistakes": torch.where(torch.arange(200) < 25, 1e9, column()),
    "constant": torch.ones(50).double(),
    "one value": torch.ones(1).double(),
    "two values": torch.tensor([1.0, 1e9]).double(),
}


@pytest.mark.parametrize("x", TAME.values(), ids=TAME)
def test_other_columns_have_no_wild_values(x):
    assert tame_ends(x) == (x.min(), x.max())


@pytest.mark.parametrize("wild", WILD.values(), ids=WILD)
@pytest.mark.parametrize("rounded", [True, False])
def test_means_and_samples_are_as_without_them(wild, rounded):
    x = column().round() if rounded else column()
    without, likelihood = adapted(x), adapted(torch.cat((x, torch.tensor(wild).double())))
    parameters = torch.linspace(-3, 3, 50)[:, None]
    difference = likelihood.mean(parameters) - without.mean(parameters)
    assert difference.abs().max() < 4  # beside a standard deviation of 10
    noise = torch.Generator().manual_seed(0)
    drawn = likelihood.sample(
        parameters.expand(-1, 1).repeat(40, 1),
        lambda like: torch.randn(like.shape, generator=noise),
    )
    assert drawn.min() >= x.min()
    assert drawn.max() <= x.max()
    if rounded:
        assert torch.equal(drawn, drawn.round())


def test_wild_values_keep_their_density():
    x = torch.cat((column(), torch.tensor([1e6]).double()))
    likelihood = adapted(x)
    log_prob = likelihood.log_prob(x[:, None], torch.zeros(len(x), 1))
    assert log_prob.isfinite().all()
    # About a 200th of the mass lies between the others and the wild value.
    assert log_prob[-1].item() == pytest.approx(math.log(1 / 200 / 1e6), abs=1.5)


def test_limits_are_those_of_each_column():
    x = torch.stack((torch.cat((column()[:-1], torch.tensor([1e9]).double())), column()), 1)
    both = PerColumn([(Gaussian(scaling="quantile"), [1, 0])]).adapt(DataSummary.of([x]))
    low, high = both.limits
    assert torch.equal(low, x.min(0).values)
    assert torch.equal(high, torch.stack((x[:-1, 0].max(), x[:, 1].max())))
    plain = Gaussian().adapt(DataSummary.of([x]))
    assert torch.equal(plain.limits[1], x.max(0).values)
