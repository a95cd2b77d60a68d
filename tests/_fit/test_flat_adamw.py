import copy
import io
import pickle

import pytest
import torch
from torch import nn

from sk_hvae._fit.flat_adamw import FlatAdamW


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


class TestSteps:
    def test_are_those_of_torch(self):
        net, other = mixed_net(), mixed_net()
        options = {"lr": 0.1, "weight_decay": 0.3}
        flat = FlatAdamW(groups_of(net), **options)
        flat.gather()
        train(net, flat)
        flat.release()
        train(other, torch.optim.AdamW(groups_of(other), **options))
        for (name, ours), theirs in zip(net.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=name)
            assert ours.stride() == theirs.stride()

    def test_gradients_are_pieces_of_the_flat_ones(self):
        net = mixed_net()
        optimizer = FlatAdamW(groups_of(net), lr=0.1)
        optimizer.gather()
        loss_of(net, torch.ones(1, 2, 3, 3)).backward()
        parts = [p.grad.square().sum() for p in net.parameters() if p.requires_grad]
        flat = [p.grad.square().sum() for p in optimizer.flat_parameters]
        torch.testing.assert_close(sum(map(float, flat)), sum(map(float, parts)))
        optimizer.zero_grad()
        assert not any(p.grad.any() for p in net.parameters() if p.requires_grad)

    def test_what_was_set_before_gathering_is_kept(self):
        net = mixed_net()
        optimizer = FlatAdamW(groups_of(net), lr=0.1)
        with torch.no_grad():
            net[3].bias.fill_(7.0)
        optimizer.gather()
        assert (net[3].bias == 7.0).all()


class TestReleased:
    @pytest.fixture
    def net(self):
        net = mixed_net()
        optimizer = FlatAdamW(groups_of(net), lr=0.1)
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
        optimizer = FlatAdamW(groups_of(net), lr=0.1)
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
