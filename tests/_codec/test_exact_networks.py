"""Exact networks against those of torch, and to the last bit in batches of any size."""

import numpy as np
import pytest
import torch

from sk_hvae._codec.networks import as_numbers, exact
from sk_hvae.nn import Architecture, Bernoulli, DataSummary, build_hierarchy

N_FEATURES = 2 * 7 * 9
IMAGES = {"network": "conv", "image_shape": (2, 7, 9)}


def model(**params):
    """A model with random weights everywhere, also where they start at zero."""
    torch.manual_seed(0)
    x = torch.rand(20, N_FEATURES).round()
    likelihood = Bernoulli().adapt(DataSummary.of([x]))
    module = build_hierarchy(Architecture((4, 3), (16, 8), **params), likelihood).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module


@pytest.fixture(scope="module", params=[{}, IMAGES, {"inference": "ladder"}], ids=str)
def module(request):
    return model(**request.param)


@torch.no_grad()
def test_networks_are_those_of_torch(module):
    x, z = torch.randn(10, N_FEATURES), torch.randn(10, 4)
    for found, expected in zip(
        exact(module.encoder)(as_numbers(x)), module.encoder(x), strict=True
    ):
        np.testing.assert_allclose(found, as_numbers(expected), atol=2e-3)
    found, expected = exact(module.decoder)(as_numbers(z)), module.decoder(z)
    np.testing.assert_allclose(found, as_numbers(expected), atol=2e-3)
    prior = module.layers[0].prior_net
    above = z[:, :3]
    np.testing.assert_allclose(exact(prior)(as_numbers(above)), as_numbers(prior(above)), atol=2e-3)


def test_a_row_is_the_same_in_every_batch(module):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(33, N_FEATURES)), rng.normal(size=(33, 4))
    for network, rows in ((exact(module.decoder), z), (lambda x: exact(module.encoder)(x)[1], x)):
        whole = network(rows)
        for size in (1, 2, 7, 32):
            parts = [network(rows[first : first + size]) for first in range(0, 33, size)]
            assert (np.concatenate(parts) == whole).all()


def test_wild_inputs_stay_exact(module):
    z = np.array([[1e30, -1e30, 5.0, 0.0], [0.0, 1e9, -3.0, 1e4]])
    network = exact(module.decoder)
    assert np.isfinite(network(z)).all()
    assert (network(z)[1] == network(z[1:])[0]).all()


def test_other_modules_are_refused():
    with pytest.raises(TypeError, match="GELU"):
        exact(torch.nn.Sequential(torch.nn.GELU()))
