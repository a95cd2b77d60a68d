"""Rows are measured by means over draws, and over the states of a categorical layer."""

import numpy as np
import pytest
import torch

from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.measurement import map_rows, measure
from sk_hvae.nn import Architecture, Bernoulli, DataSummary, build_hierarchy
from sk_hvae.nn.units import LN2

N_STATES = 3


@pytest.fixture
def x():
    return torch.rand(50, 6, generator=torch.Generator().manual_seed(0)).round()


def model_of(x, logits):
    """Build a model of three layers with random weights, whose states have about these logits."""
    torch.manual_seed(0)
    architecture = Architecture((4, 3, N_STATES), (5,), top_layer="categorical")
    module = build_hierarchy(architecture, Bernoulli().adapt(DataSummary.of([x])))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
        module.layers[-1].logits_net.linear.bias.copy_(torch.tensor(logits))
    return module.eval()


def by_state(module, x, draw):
    """Return distortion and rates below the top for every state, (b, n_states, n_layers), bits."""
    inferred, parameters = module.infer_and_decode(
        module.activations(x), module.row_noise(x).draw(draw)
    )
    terms = [module.distortion(inferred.align(x), parameters)]
    terms += [posterior.kl() for posterior in inferred.posteriors[:-1]]
    return torch.stack(terms, 1).unflatten(0, (len(x), -1)) / LN2


@torch.no_grad()
def expected_of(module, x):
    q = module.layers[-1].posterior(module.activations(x), None)
    draws = torch.stack([by_state(module, x, draw) for draw in range(4)])
    is_rare = (q.mean < 0.01)[:, :, None]
    values = torch.where(is_rare, draws[0], draws.mean(0))
    below = (values * q.mean[:, :, None]).sum(1)
    return q.mean, torch.cat((below, q.kl()[:, None] / LN2), 1).double().numpy()


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0], [8.0, 0.0, -1.0]], ids=["few", "most"])
def test_states_are_drawn_four_times_or_once_if_they_are_unlikely(x, logits):
    module = model_of(x, logits)
    probabilities, expected = expected_of(module, x)
    assert bool((probabilities < 0.01).any())
    found = measure(module, ResidentRows(x))
    np.testing.assert_allclose(found.distortion, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found.rates, expected[:, 1:], rtol=1e-4, atol=1e-5)


def test_a_row_is_measured_alike_in_any_company(x):
    module = model_of(x, [3.0, 0.0, -1.0])
    whole, part = measure(module, ResidentRows(x)), measure(module, ResidentRows(x[7:12]))
    np.testing.assert_allclose(part.distortion, whole.distortion[7:12], rtol=1e-5)
    np.testing.assert_allclose(part.rates, whole.rates[7:12], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("top_layer", "most"), [("gaussian", 2**10), ("categorical", 2**10)])
def test_narrow_rows_are_mapped_in_parts_whose_activations_take_little_memory(x, top_layer, most):
    architecture = Architecture((4, 4), (5,), top_layer=top_layer)
    module = build_hierarchy(architecture, Bernoulli().adapt(DataSummary.of([x])))
    numbers, sizes = torch.arange(70_000.0)[:, None], []

    def doubled(part):
        sizes.append(len(part))
        return 2 * part

    np.testing.assert_array_equal(map_rows(module, ResidentRows(numbers), doubled, 1), 2 * numbers)
    assert max(sizes) == most
