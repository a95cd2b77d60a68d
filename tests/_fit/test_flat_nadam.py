import copy
import io
import pickle
from collections import defaultdict

import pytest
import torch
from torch import nn

from sk_hvae._fit.flat_nadam import FlatNAdam


def mixed_net():
    """Layers of several kinds: images last in memory by channels, a frozen one, one in double."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2))
    net = net.to(memory_format=torch.channels_last)
    net[2].weight.requires_grad_(False)
    net.extra = nn.Parameter(torch.ones(3, dtype=torch.float64))
    return net


def loss_of(net, x):
    return net(x).square().sum() + net.extra.sum() ** 2


def train(net, optimizer, n_steps=5):
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss_of(net, x).backward()
        optimizer.step()


def groups_of(net):
    return [
        {"params": list(net[:3].parameters())},
        {"params": [*net[3].parameters(), net.extra], "weight_decay": 0.0},
    ]


def take_nadam_step(parameter, moments, step, *, lr, weight_decay):
    """Move a parameter as the papers say, in float64: AdamW, of which a tenth is the gradient."""
    value, gradient = parameter.detach().double(), parameter.grad.double()
    moments[0] = 0.9 * moments[0] + 0.1 * gradient
    moments[1] = 0.999 * moments[1] + 0.001 * gradient.square()
    first = (0.9 * moments[0] + 0.1 * gradient) / (1 - 0.9 ** (2 * step))
    direction = first / ((moments[1] / (1 - 0.999**step)).sqrt() + 1e-8)
    parameter.data.copy_(value - lr * weight_decay * value - lr * direction)


class TestSteps:
    def test_are_those_of_the_formula(self):
        net, other = mixed_net(), mixed_net()
        flat = FlatNAdam(groups_of(net), lr=0.1, weight_decay=0.3)
        flat.gather()
        train(net, flat)
        flat.release()

        class Formula:
            def __init__(self):
                self.moments = defaultdict(lambda: [0.0, 0.0])
                self.n_steps = 0

            def zero_grad(self):
                other.zero_grad()

            def step(self):
                self.n_steps += 1
                for group in groups_of(other):
                    decay = group.get("weight_decay", 0.3)
                    for p in group["params"]:
                        if p.requires_grad:
                            kept = self.moments[p]
                            take_nadam_step(p, kept, self.n_steps, lr=0.1, weight_decay=decay)

        train(other, Formula())
        for (name, ours), theirs in zip(net.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=name, rtol=1e-5, atol=1e-6)
            assert ours.stride() == theirs.stride()

    def test_are_skipped_and_shortened_as_the_guard_says(self):
        def moved(gradient, grad_scale=None, found_inf=None):
            weight = nn.Parameter(torch.ones(2))
            optimizer = FlatNAdam([{"params": [weight]}], lr=0.1, weight_decay=0.0)
            optimizer.gather()
            for value in (1.0, gradient):
                weight.grad.copy_(torch.tensor([value, 1.0]))
                optimizer.step()
                optimizer.grad_scale, optimizer.found_inf = grad_scale, found_inf
            return weight.detach().clone()

        skipped = moved(torch.nan, found_inf=torch.ones(()))
        torch.testing.assert_close(skipped, torch.full((2,), 0.9))
        shortened = moved(8.0, torch.tensor(8.0), torch.zeros(()))
        torch.testing.assert_close(shortened[0], moved(1.0)[0])

    def test_gradients_are_pieces_of_the_flat_ones(self):
        net = mixed_net()
        optimizer = FlatNAdam(groups_of(net), lr=0.1)
        optimizer.gather()
        loss_of(net, torch.ones(1, 2, 3, 3)).backward()
        parts = [p.grad.square().sum() for p in net.parameters() if p.requires_grad]
        flat = [p.grad.square().sum() for p in optimizer.flat_parameters]
        torch.testing.assert_close(sum(map(float, flat)), sum(map(float, parts)))
        optimizer.zero_grad()
        assert not any(p.grad.any() for p in net.parameters() if p.requires_grad)

    def test_what_was_set_before_gathering_is_kept(self):
        net = mixed_net()
        optimizer = FlatNAdam(groups_of(net), lr=0.1)
        with torch.no_grad():
            net[3].bias.fill_(7.0)
        optimizer.gather()
        assert (net[3].bias == 7.0).all()


class TestReleased:
    @pytest.fixture
    def net(self):
        net = mixed_net()
        optimizer = FlatNAdam(groups_of(net), lr=0.1)
        optimizer.gather()
        train(net, optimizer, 1)
        optimizer.release()
        return net

    def test_parameters_have_memory_of_their_own_and_no_gradients(self, net):
        places = {p.untyped_storage().data_ptr() for p in net.parameters()}
        assert len(places) == len(list(net.parameters()))
        assert all(p.grad is None for p in net.parameters())

    def test_a_pickle_is_as_large_as_that_of_a_copy(self, net):
        assert len(pickle.dumps(net)) == len(pickle.dumps(copy.deepcopy(net)))


def test_goes_on_from_a_state():
    def trained(n_steps, state=None):
        net = mixed_net()
        optimizer = FlatNAdam(groups_of(net), lr=0.1)
        if state is not None:
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
        optimizer.gather()
        train(net, optimizer, n_steps)
        file = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        return torch.load(file)

    whole, resumed = trained(6), trained(3, trained(3))
    for name, value in whole["net"].items():
        assert torch.equal(value, resumed["net"][name]), name
