"""Which weights are pulled towards zero, and how fast each learns."""

import pytest
import torch
from torch import nn

from sk_hvae._fit.parameter_groups import optimizer_for, set_rate
from sk_hvae.nn import (
    Architecture,
    ConditionedHierarchy,
    DataSummary,
    Gaussian,
    Networks,
    RateBox,
    build_hierarchy,
)

LR, DECAY = 0.1, 0.5


class Awkward(nn.Module):
    """A network of the user's own, whose layers have names that ours have too."""

    def __init__(self, n_inputs, n_outputs=5):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 6)
        self.features = nn.Linear(6, 6)
        self.likelihood = nn.Linear(6, n_outputs)
        self.gain = nn.Parameter(torch.ones(n_outputs))

    def forward(self, x):
        return self.gain * self.likelihood(self.features(self.linear(x).tanh()))


def build(network="mlp", top_layer="gaussian", sigma="per_feature"):
    torch.manual_seed(0)
    likelihood = Gaussian(sigma).adapt(DataSummary.of([torch.randn(20, 3)]))
    architecture = Architecture((2, 2), (4,), network=network, top_layer=top_layer)
    return build_hierarchy(architecture, likelihood)


def pulled(module):
    """Names of the parameters that one step with gradients of zero moves, and which way.

    The optimiser then multiplies what is decayed by 1 - lr * weight_decay, and leaves the rest.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand_like(parameter) + 1)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = optimizer_for(module, DECAY)([{"params": list(module.parameters())}], lr=LR)
    optimizer.gather()
    optimizer.step()
    found = set()
    for name, parameter in module.named_parameters():
        if not torch.equal(parameter, before[name]):
            torch.testing.assert_close(parameter.detach(), (1 - LR * DECAY) * before[name])
            found.add(name)
    return found


NETWORKS_OF_MLP = {
    "encoder.net.0.weight",
    "layers.0.prior_net.net.0.weight",
    "layers.0.prior_net.net.2.weight",
    "layers.0.posterior_net.net.0.weight",
    "layers.0.posterior_net.net.2.weight",
    "decoder.net.0.weight",
    "decoder.net.2.weight",
}


def test_the_weights_of_networks_are_pulled_and_nothing_else_is():
    # There is no hidden layer in the posterior of the top layer.
    assert pulled(build()) == NETWORKS_OF_MLP | {"layers.1.posterior_net.net.0.weight"}


def test_the_learned_prior_of_states_is_not_pulled():
    found = pulled(build(top_layer="mixture"))
    assert found == NETWORKS_OF_MLP | {"layers.1.logits_net.net.0.weight"}


def test_a_users_own_network_is_pulled_whatever_its_layers_are_called():
    found = pulled(build(Networks(Awkward, Awkward)))
    own = {"linear.weight", "features.weight", "likelihood.weight", "gain"}
    assert {f"encoder.net.{name}" for name in own} <= found
    assert {f"decoder.net.net.{name}" for name in own} <= found
    assert not {name for name in found if name.endswith("bias")}
    assert "decoder.net.gain" not in found


def test_what_modulates_layers_is_not_pulled():
    model = build()
    plain = pulled(model)
    found = pulled(ConditionedHierarchy(model, RateBox([0.1, 0.1], [2.0, 2.0])))
    assert found == {f"model.{name}" for name in plain}


@pytest.mark.parametrize("n_groups", [1, 3])
def test_every_parameter_is_trained_once_however_they_are_grouped(n_groups):
    module = build()
    parameters = list(module.parameters())
    groups = [{"params": parameters[i::n_groups]} for i in range(n_groups)]
    optimizer = optimizer_for(module, 0.0)(groups, lr=LR)
    before = [p.detach().clone() for p in parameters]
    optimizer.gather()
    for parameter in parameters:
        parameter.grad.fill_(3.0)
    optimizer.step()
    # The first step of Adam goes as far as the learning rate, however long the gradient is.
    for parameter, value in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter.detach(), value - LR)


class TestRateShares:
    @pytest.mark.parametrize(
        ("layer", "n_inputs"),
        [
            (nn.Linear(256, 3), 256),
            (nn.Linear(512, 3), 512),
            (nn.Conv2d(64, 3, 4), 1024),
            (nn.Conv2d(64, 8, 4, groups=8), 128),
            (nn.ConvTranspose2d(128, 3, 4, stride=2), 512),
        ],
    )
    def test_outputs_of_many_inputs_move_as_far_as_those_of_256(self, layer, n_inputs):
        before = layer.weight.detach().clone()
        optimizer = optimizer_for(layer, 0.0)([{"params": list(layer.parameters())}], lr=LR)
        optimizer.gather()
        for parameter in layer.parameters():
            parameter.grad.fill_(3.0)
        # The first step goes as far as the learning rate.
        set_rate(optimizer, 2 * LR)
        optimizer.step()
        moved = (before - layer.weight.detach()).mean()
        torch.testing.assert_close(moved, torch.tensor(2 * LR * min(1.0, 256 / n_inputs)))

    def test_weights_of_a_few_more_inputs_are_no_group_of_their_own(self):
        net = nn.Sequential(nn.Linear(272, 256, bias=False), nn.Linear(256, 3, bias=False))
        optimizer = optimizer_for(net, 0.0)([{"params": list(net.parameters())}], lr=LR)
        assert [group["rate_share"] for group in optimizer.param_groups] == [1.0]

    def test_weights_of_many_inputs_are_pulled_as_the_others(self):
        layer = nn.Linear(1024, 3)
        before = layer.weight.detach().clone()
        optimizer = optimizer_for(layer, DECAY)([{"params": list(layer.parameters())}], lr=LR)
        optimizer.gather()
        optimizer.step()
        torch.testing.assert_close(layer.weight.detach(), (1 - LR * DECAY) * before)
