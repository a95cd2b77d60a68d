"""Cells that were prepared once are scored as raw data are, whatever the likelihood."""

import pytest
import torch

from sk_hvae.nn import Architecture, DataSummary, build_hierarchy
from sk_hvae.nn.cells import Cells
from sk_hvae.nn.likelihoods import Bernoulli, Categorical, Gaussian, PerColumn


def table(n_rows=40):
    """Two columns of numbers, one of whole numbers, one of codes, one of flags, one constant."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_rows, 6, generator=generator, dtype=torch.float64)
    x[:, 2] = (2 * x[:, 2]).round()
    x[:, 3] = (3 * torch.rand(n_rows, generator=generator)).floor()
    x[:, 4] = (x[:, 4] > 0).double()
    x[:, 5] = 7.0
    return x


def model_of(x, top_layer="gaussian", missing=True):
    likelihood = PerColumn(
        [
            (Gaussian(scaling="quantile"), [0, 2]),
            (Gaussian(), [1, 5]),
            (Categorical(), 3),
            (Bernoulli(), 4),
        ]
    )
    likelihood.adapt(DataSummary.of([x]))
    architecture = Architecture((3, 2), (4,), top_layer=top_layer, missing=missing)
    return build_hierarchy(architecture, likelihood)


def normal_noise():
    generator = torch.Generator().manual_seed(1)
    return lambda like: torch.randn(like.shape, generator=generator)


@pytest.fixture
def x():
    x = table()
    x[::7, 0] = torch.nan
    x[::5, 3] = torch.nan
    return x


@pytest.mark.parametrize("top_layer", ["gaussian", "categorical"])
def test_a_pass_is_the_same_with_prepared_cells(x, top_layer):
    model = model_of(x, top_layer)
    expected = model(x, normal_noise())
    found = model(x, normal_noise(), cells=model.cells(x))
    assert torch.equal(found.distortion, expected.distortion)


def test_cells_of_some_rows_are_those_that_are_prepared_of_these_rows(x):
    model, rows = model_of(x), torch.tensor([8, 0, 35])
    some, few = model.cells(x).index_select(0, rows), model.cells(x[rows])
    assert all(map(torch.equal, some.tensors(), few.tensors()))


def test_joined_cells_are_those_of_all_rows(x):
    model = model_of(x)
    joined = Cells.joined([model.cells(part) for part in x.split(15)])
    pairs = zip(joined.tensors(), model.cells(x).tensors(), strict=True)
    assert all(torch.equal(some, whole) for some, whole in pairs)
    assert len(joined.prepared) == len(model.cells(x).prepared)


def test_missing_cells_and_constant_columns_are_ignored(x):
    expected = x.isnan()
    expected[:, 5] = True
    assert torch.equal(model_of(x).cells(x).ignored, expected)


def test_nothing_is_ignored_where_all_cells_count():
    x = table()[:, :5]
    x = torch.cat((x, x[:, :1] + 1), 1)
    assert model_of(x, missing=False).cells(x).ignored is None
