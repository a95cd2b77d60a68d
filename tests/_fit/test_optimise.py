"""One wild batch does not spoil training; many end it, with weights that can be used."""

import itertools
import math

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_hvae._fit.optimise import DeviceGuard, HostGuard
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.nn import HierarchicalVAE

short_fit = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

CLIP_AT, SKIP_AT, BUDGET = 5.0, 50.0, 20


class Descent:
    """Plain gradient descent with step size 1, guarded; every step starts at 0, to be exact."""

    def __init__(self, guard, sizes=(1,)):
        self.weights = [torch.nn.Parameter(torch.zeros(n)) for n in sizes]
        self.optimizer = torch.optim.SGD(self.weights, lr=1.0, fused=True)
        self.guard = guard(self.weights)

    def move(self, *gradients):
        """Step along gradients, one for each weight; returns by how much the weights went down."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.detach().zero_()
            weight.grad = None if gradient is None else torch.as_tensor(gradient).float().view(-1)
        self.guard.inspect(self.optimizer)
        self.optimizer.step()
        return [-w.detach() for w in self.weights]

    def along(self, gradient):
        """Step along one number."""
        return self.move([gradient])[0].item()


@pytest.fixture(params=[HostGuard, DeviceGuard])
def kind(request):
    return request.param


@pytest.fixture
def descent(kind):
    return Descent(kind)


@pytest.mark.parametrize("gradient", [1e-20, 1.0, 1e20])
def test_the_first_gradient_is_taken_whatever_its_size(descent, gradient):
    assert descent.along(gradient) == pytest.approx(gradient)


def test_gradients_below_the_limit_are_taken_as_they_are(descent):
    for gradient in (1.0, 4.9, -0.1, 0.0, 3.0):
        assert descent.along(gradient) == pytest.approx(gradient)


@pytest.mark.parametrize("gradient", [5.5, 20.0, 49.0, -49.0])
def test_a_long_gradient_is_shortened_to_five_times_the_typical_norm(descent, gradient):
    descent.along(1.0)
    assert descent.along(gradient) == pytest.approx(math.copysign(CLIP_AT, gradient))


def test_the_norm_is_that_of_all_weights_together_and_keeps_its_direction(kind):
    descent = Descent(kind, (2, 1))
    descent.move([3.0, 0.0], [4.0])  # norm 5
    first, second = descent.move([30.0, 40.0], [0.0])  # norm 50, of 25 allowed
    torch.testing.assert_close(first, torch.tensor([15.0, 20.0]))
    assert second == 0


def test_the_typical_norm_is_a_moving_mean_of_the_clipped_norms(descent):
    typical = 1.0
    descent.along(1.0)
    for gradient in (2.0, 0.5, 20.0, 3.0):
        typical = 0.95 * typical + 0.05 * min(gradient, CLIP_AT * typical)
        descent.along(gradient)
    assert descent.along(40.0) == pytest.approx(CLIP_AT * typical, rel=1e-5)


@pytest.mark.parametrize("gradient", [51.0, -1e30, math.inf, -math.inf, math.nan])
def test_a_wild_gradient_is_skipped_and_does_not_move_the_typical_norm(descent, gradient):
    descent.along(1.0)
    assert descent.along(gradient) == 0
    assert descent.along(1.5) == pytest.approx(1.5)
    assert descent.along(40.0) == pytest.approx(CLIP_AT * (0.95 + 0.05 * 1.5), rel=1e-5)


def test_a_wild_gradient_of_one_weight_stops_the_others_too(kind):
    descent = Descent(kind, (1, 1))
    descent.move([1.0], [1.0])
    assert descent.move([1.0], [math.nan]) == [0, 0]


@pytest.mark.parametrize("gradient", [math.nan, math.inf])
def test_a_first_gradient_that_is_not_finite_is_skipped(descent, gradient):
    assert descent.along(gradient) == 0
    assert descent.along(7.0) == pytest.approx(7.0)


def test_weights_without_a_gradient_are_left_out(kind):
    descent = Descent(kind, (1, 1))
    descent.move([1.0], None)
    assert descent.move([20.0], None) == [pytest.approx(CLIP_AT), 0]


def test_gradients_that_stay_long_are_taken_once_the_budget_is_spent(descent):
    descent.along(1.0)
    moves = [descent.along(1000.0) for _ in range(BUDGET + 200)]
    assert moves[:BUDGET] == [0] * BUDGET
    assert moves[BUDGET] == pytest.approx(CLIP_AT)
    # The limit grows with what is taken, until it is no limit any more.
    assert all(later >= before for before, later in itertools.pairwise(moves))
    assert moves[-1] == pytest.approx(1000.0)
    assert not descent.guard.is_exhausted()


def test_gradients_that_are_not_finite_are_never_taken(descent):
    descent.along(1.0)
    for _ in range(5 * BUDGET):
        assert descent.along(math.nan) == 0
        assert descent.along(1e30) == 0 or descent.guard._n_skipped > BUDGET
    assert math.isfinite(descent.weights[0].item())


@pytest.mark.parametrize(("n", "exhausted"), [(0, False), (BUDGET, False), (BUDGET + 1, True)])
def test_more_broken_gradients_than_the_budget_exhaust_it(descent, n, exhausted):
    for _ in range(n):
        descent.along(1.0)
        descent.along(math.nan)
    assert descent.guard.is_exhausted() is exhausted


def test_the_decision_is_made_on_the_device(monkeypatch):
    def refuse(self, *args):
        raise AssertionError("a number was read back")

    descent = Descent(DeviceGuard, (2, 1))
    for reader in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, reader, refuse)
    for gradient in ([1.0, 1.0], [100.0, 1.0], [math.nan, 0.0], [1e9, 0.0]):
        descent.move(gradient, [1.0])


# In fit.


class Poison(Callback):
    """Put a value into gradients of the steps with given numbers, counted from 1."""

    def __init__(self, steps, value=math.nan):
        self.steps, self.value = set(steps), value

    def on_train_begin(self, net, **kwargs):
        self.n, self.hit = 0, 0
        self.hook = net.module_.decoder.linear.weight.register_hook(self.spoil)

    def spoil(self, gradient):
        self.n += 1
        if self.n not in self.steps:
            return gradient
        self.hit += 1
        return torch.full_like(gradient, self.value)

    def on_train_end(self, net, **kwargs):
        self.hook.remove()


def fitted_with(small, X, poison, **params):
    model = small(n_components=3, max_epochs=60, batch_size=50, callbacks=[poison], **params)
    return model.fit(X)


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e20])
@pytest.mark.parametrize("step", [1, 2, 90, 180], ids=lambda step: f"step {step}")
def test_fit_survives_one_poisoned_batch(small, iris, step, value):
    poison = Poison([step], value)
    model = fitted_with(small, iris, poison)
    assert poison.hit == 1
    assert model.converged_
    assert np.isfinite(model.transform(iris)).all()


@pytest.mark.slow
def test_a_skipped_batch_leaves_the_weights_alone(small, iris):
    weights = []

    class Keep(Callback):
        def on_batch_end(self, net, **kwargs):
            weights.append([p.detach().clone() for p in net.module_.parameters()])

    poison = Poison([90])
    callbacks = [poison, Keep()]
    small(n_components=3, max_epochs=60, batch_size=50, callbacks=callbacks).fit(iris)
    same = [all(map(torch.equal, *pair)) for pair in itertools.pairwise(weights)]
    # From the 89th to the 90th step; a learning rate of almost 0 moves nothing at the end.
    assert same.index(True) == 88
    assert not any(same[89:-2])


@short_fit
def test_fit_survives_as_many_broken_batches_as_the_budget(small, iris):
    poison = Poison(range(2, 2 + 2 * BUDGET, 2))
    model = fitted_with(small, iris, poison)
    assert poison.hit == BUDGET
    assert np.isfinite(model.transform(iris)).all()


def test_fit_ends_when_the_budget_is_exhausted(small, iris):
    poison = Poison(range(30, 200))
    model = small(n_components=3, max_epochs=60, batch_size=50, callbacks=[poison])
    with pytest.raises(TrainingDivergedError, match=r"diverged in epoch 1[5-8]: .*Lower lr"):
        model.fit(iris)
    assert not model.converged_
    assert all(p.isfinite().all() for p in model.module_.parameters())
    assert np.isfinite(model.transform(iris)).all()
    assert np.isfinite(model.score(iris))


@short_fit
@pytest.mark.parametrize("batch_size", [50, 150], ids=["3 batches a pass", "1 batch a pass"])
def test_one_batch_of_data_with_an_infinite_loss_is_survived(small, iris, monkeypatch, batch_size):
    forward, n_steps = HierarchicalVAE.forward, 0

    def overflow_once(self, *args, **kwargs):
        nonlocal n_steps
        output = forward(self, *args, **kwargs)
        n_steps += torch.is_grad_enabled()
        broken = torch.is_grad_enabled() and n_steps == 40
        return output._replace(distortion=output.distortion * math.inf) if broken else output

    monkeypatch.setattr(HierarchicalVAE, "forward", overflow_once)
    model = small(n_components=3, max_epochs=60, batch_size=batch_size).fit(iris)
    assert n_steps > 40
    assert np.isfinite(model.history_["train_distortion"]).all()
    assert np.isfinite(model.history_["train_rates"]).all()
    assert np.isfinite(model.transform(iris)).all()
