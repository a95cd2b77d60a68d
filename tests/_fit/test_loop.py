import math
import re

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_hvae._data.batches import RowBatches, TrainingRows, n_batches
from sk_hvae._data.rows import ResidentRows
from sk_hvae._data.selected import SelectedRows
from sk_hvae._fit.assemble import build_net
from sk_hvae._fit.control import FixedMultipliers, RateController
from sk_hvae._fit.optimise import lr_factor
from sk_hvae._fit.settings import TrainingSettings
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy

LN2 = math.log(2)


def curved_data(n_rows=240, seed=0):
    """A noisy circle in three dimensions."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(n_rows, generator=generator)
    x = torch.stack((angle.sin(), angle.cos(), angle.sin() * angle.cos()), 1)
    return x + 0.05 * torch.randn(n_rows, 3, generator=generator)


def small_net(x, *, sizes=(2, 2), control=None, validation=None, on_epoch=None, **settings):
    """A net around a model that has not been started: its rates and its output are 0."""
    torch.manual_seed(0)
    likelihood = Gaussian(scaling="columns").adapt(DataSummary.of([x]))
    model = build_hierarchy(Architecture(sizes, (8,)), likelihood)
    defaults = {"max_epochs": 3, "batch_size": 60, "n_steps": None, "lr": 1e-2, "weight_decay": 0.0}
    return build_net(
        model,
        control or FixedMultipliers(torch.ones(len(sizes))),
        TrainingSettings(device=torch.device("cpu"), **defaults | settings),
        torch.Generator().manual_seed(0),
        validation,
        on_epoch=on_epoch,
    )


def select(x, index=None):
    rows = ResidentRows(x)
    return TrainingRows(rows if index is None else SelectedRows(rows, index))


def in_order(batches):
    """The rows of a pass, in the order in which it takes them."""
    return torch.cat([batch.x for batch in batches])


def weights(net):
    return [p.detach().clone() for p in net.module_.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class AtEpoch(Callback):
    """Call a function at the begin or end of one epoch."""

    def __init__(self, number, function, moment="begin"):
        self.number, self.function, self.moment = number, function, moment

    def on_epoch_begin(self, net, **kwargs):
        if self.moment == "begin" and len(net.history) == self.number:
            self.function(net)

    def on_epoch_end(self, net, **kwargs):
        if self.moment == "end" and len(net.history) == self.number:
            self.function(net)


def interrupt(*args):
    raise KeyboardInterrupt


class TestRowBatches:
    @pytest.mark.parametrize("shuffled", [True, False])
    @pytest.mark.parametrize(("n_rows", "batch_size"), [(10, 3), (7, 7), (9, 4), (5, 100), (6, 1)])
    def test_a_pass_covers_every_row_once_in_even_batches(self, n_rows, batch_size, shuffled):
        generator = torch.Generator().manual_seed(0) if shuffled else None
        batches = RowBatches(select(torch.arange(n_rows)[:, None]), batch_size, generator)
        parts = [batch.x for batch in batches]
        assert sorted(torch.cat(parts).flatten().tolist()) == list(range(n_rows))
        sizes = [len(part) for part in parts]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        assert len(batches) == len(parts) == n_batches(n_rows, batch_size)

    @pytest.mark.parametrize("n_rows", [257, 513])
    def test_no_batch_has_a_single_row(self, n_rows):
        sizes = [len(part) for part in RowBatches(select(torch.zeros(n_rows, 1)), 256)]
        assert min(sizes) > 1

    def test_without_a_generator_rows_keep_their_order(self):
        rows = torch.arange(10)[:, None]
        assert torch.equal(in_order(RowBatches(select(rows), 3)), rows)

    def test_the_seed_decides_the_order_and_every_pass_has_another(self):
        rows = select(torch.arange(50)[:, None])

        def two_passes(seed):
            batches = RowBatches(rows, 8, torch.Generator().manual_seed(seed))
            return [in_order(batches) for _ in range(2)]

        first, second = two_passes(0)
        assert same((first, second), two_passes(0))
        assert not torch.equal(first, second)
        assert not torch.equal(first, two_passes(1)[0])

    def test_only_indexed_rows_are_used(self):
        rows = select(torch.arange(10)[:, None], torch.tensor([7, 2, 5]))
        batches = RowBatches(rows, 2, torch.Generator().manual_seed(0))
        assert len(rows) == 3
        assert rows[1] == 2
        assert sorted(in_order(batches).flatten().tolist()) == [2, 5, 7]


class TestLrFactor:
    def test_warm_up_is_linear_over_the_first_twentieth(self):
        factors = [lr_factor(step, 1000) for step in range(50)]
        np.testing.assert_allclose(factors, np.arange(1, 51) / 50)

    def test_the_peak_holds_until_half_of_the_steps(self):
        assert {lr_factor(step, 1000) for step in range(50, 501)} == {1.0}

    def test_the_second_half_is_half_a_cosine_to_zero(self):
        steps = np.arange(500, 1001)
        expected = 0.5 * (1 + np.cos(np.pi * (steps - 500) / 500))
        np.testing.assert_allclose([lr_factor(s, 1000) for s in steps], expected, atol=1e-12)

    def test_without_an_end_it_warms_up_and_stays(self):
        factors = [lr_factor(step, None) for step in (0, 29, 59, 60, 10**6)]
        assert factors == [1 / 60, 0.5, 1.0, 1.0, 1.0]

    @pytest.mark.parametrize("n_steps", [1, 2, 7])
    def test_few_steps_still_move(self, n_steps):
        assert 0 < max(lr_factor(step, n_steps) for step in range(n_steps)) <= 1

    def test_the_optimiser_gets_the_factor_times_the_peak(self):
        seen = []

        class LrOfEachBatch(Callback):
            def on_batch_end(self, net, **kwargs):
                seen.append(net.optimizer_.param_groups[0]["lr"])

        x = curved_data()
        net = small_net(x, lr=0.3, n_steps=12, callbacks=[LrOfEachBatch()])
        net.partial_fit(select(x))
        np.testing.assert_allclose(seen, [0.3 * lr_factor(step, 12) for step in range(12)])


class TestTraining:
    @pytest.mark.parametrize("autocast", [None, torch.bfloat16])
    def test_the_loss_falls_below_that_of_a_model_that_ignores_the_data(self, autocast):
        x = curved_data()
        control = FixedMultipliers(torch.tensor([0.1]))
        net = small_net(
            x, sizes=(2,), control=control, autocast=autocast, max_epochs=75, n_steps=300, lr=2e-2
        )
        net.partial_fit(select(x))
        losses = net.history[:, "train_loss"]
        # The entropy of independent Gaussian columns.
        ignoring = 0.5 * (2 * math.pi * math.e * x.var(0)).log().sum().item()
        assert losses[0] == pytest.approx(ignoring, abs=0.1)
        assert losses[-1] < ignoring - 1
        assert {p.dtype for p in net.module_.parameters()} == {torch.float32}

    def test_targets_are_reached(self):
        x = curved_data()
        targets = torch.tensor([1.0, 0.7])
        control = RateController(targets, torch.ones(2), 800)
        net = small_net(x, control=control, max_epochs=200, n_steps=800)
        net.partial_fit(select(x))
        rates = np.array(net.history[-10:, "train_rates"]).mean(0) * LN2
        np.testing.assert_allclose(rates, targets, rtol=0.1)

    def test_the_seed_decides_the_result(self):
        x = curved_data()
        nets = [small_net(x).partial_fit(select(x)) for _ in range(2)]
        assert same(*map(weights, nets))
        assert nets[0].history[:, "train_loss"] == nets[1].history[:, "train_loss"]

    def test_torch_s_global_generator_is_left_alone(self):
        x = curved_data()
        net = small_net(x)
        before = torch.get_rng_state()
        net.partial_fit(select(x))
        assert torch.equal(torch.get_rng_state(), before)

    def test_partial_fit_goes_on_where_it_stopped(self):
        x = curved_data()
        twice, once = small_net(x, max_epochs=2), small_net(x, max_epochs=4)
        twice.partial_fit(select(x)).partial_fit(select(x))
        once.partial_fit(select(x))
        assert same(weights(twice), weights(once))
        assert len(twice.history) == 4

    def test_weight_decay_pulls_on_the_networks(self):
        x = curved_data()
        nets = [
            small_net(x, max_epochs=1, batch_size=len(x), n_steps=1, lr=0.1, weight_decay=decay)
            for decay in (0.0, 0.5)
        ]
        start = {n: p.detach().clone() for n, p in nets[0].module_.named_parameters()}
        free, pulled = (dict(net.partial_fit(select(x)).module_.named_parameters()) for net in nets)
        # The weights of the perceptrons; each network is one of these beside a linear path.
        decayed = {
            "encoder.net.0.weight",
            "layers.0.prior_net.net.0.weight",
            "layers.0.prior_net.net.2.weight",
            "layers.0.posterior_net.net.0.weight",
            "layers.0.posterior_net.net.2.weight",
            "layers.1.posterior_net.net.0.weight",
            "decoder.net.0.weight",
            "decoder.net.2.weight",
        }
        assert decayed < set(start)
        for name, before in start.items():
            pull = -0.1 * 0.5 * before if name in decayed else 0.0
            torch.testing.assert_close(pulled[name], free[name] + pull, atol=1e-6, rtol=1e-5)


class TestHistory:
    def test_rates_and_distortion_are_means_over_rows_in_bits(self):
        x = curved_data(50)
        net = small_net(x, sizes=(2,), batch_size=20, lr=0.0, max_epochs=1)
        with torch.no_grad():
            for parameter in net.module_.layers.parameters():
                parameter.add_(torch.randn_like(parameter))
            # The decoder's output is 0 for all latents, and sigma is 1.
            (q,) = net.module_.infer(net.module_.activations(x)).posteriors
        expected = torch.distributions.Normal(x.mean(0), x.std(0, correction=0))
        distortion = -expected.log_prob(x).sum(1).mean().item()

        net.partial_fit(select(x))

        row = net.history[-1]
        assert row["train_rates"] == pytest.approx([q.kl().mean().item() / LN2], rel=1e-4)
        assert row["train_distortion"] == pytest.approx(distortion / LN2, rel=1e-4)
        loss = LN2 * (row["train_distortion"] + row["train_rates"][0])
        assert row["train_loss"] == pytest.approx(loss, rel=1e-4)

    def test_betas_are_recorded_after_each_epoch(self):
        x = curved_data()
        control = FixedMultipliers(torch.tensor([0.5, 2.0]))
        net = small_net(x, control=control)
        net.partial_fit(select(x))
        assert net.history[:, "betas"] == [[0.5, 2.0]] * 3

    def test_validation_rows_are_measured_but_not_trained_on(self):
        x = curved_data()
        valid = select(x, torch.arange(200, 240))
        nets = [small_net(x, validation=v, patience=100) for v in (None, valid)]
        for net in nets:
            net.partial_fit(select(x, torch.arange(200)))
        assert "valid_rates" not in nets[0].history[-1]
        assert len(nets[1].history[-1, "valid_rates"]) == 2
        losses = [net.history[:, "train_loss"] for net in nets]
        assert losses[0] == losses[1]

    def test_training_stops_when_validation_no_longer_improves(self):
        x = curved_data()
        net = small_net(x, validation=select(x), patience=3, lr=0.0, max_epochs=20)
        net.partial_fit(select(x))
        # The first epoch sets the mark; three more do not beat it.
        assert len(net.history) == 4
        assert net.interrupted_ is False


class TestDivergence:
    @staticmethod
    def break_layer(layer):
        def break_it(net):
            with torch.no_grad():
                net.module_.layers[layer].posterior_net.linear.bias[0] = math.nan

        return break_it

    def test_the_message_names_epoch_and_layers(self):
        x = curved_data()
        net = small_net(x, callbacks=[AtEpoch(2, self.break_layer(1))])
        found = r"diverged in epoch 2: non-finite rate of z_1, rate of z_2, distortion\."
        with pytest.raises(TrainingDivergedError, match=found):
            net.partial_fit(select(x))

    def test_a_layer_that_is_sound_is_not_named(self):
        x = curved_data()
        net = small_net(x, batch_size=len(x), callbacks=[AtEpoch(1, self.break_layer(0))])
        found = r"diverged in epoch 2: non-finite rate of z_1, distortion\."
        with pytest.raises(TrainingDivergedError, match=found):
            net.partial_fit(select(x))

    def test_the_last_finite_weights_come_back(self):
        x = curved_data()
        kept = []
        net = small_net(
            x,
            batch_size=4,  # 60 steps an epoch, more than there are between two checks
            callbacks=[
                AtEpoch(1, lambda net: kept.extend(weights(net)), "end"),
                AtEpoch(2, self.break_layer(0)),
            ],
        )
        with pytest.raises(TrainingDivergedError):
            net.partial_fit(select(x))
        assert same(weights(net), kept)

    def test_divergence_in_the_first_steps_goes_back_to_the_start(self):
        x = curved_data()
        net = small_net(x, lr=1e30)
        start = weights(net)
        # The first step, from finite gradients, breaks the weights.
        with pytest.raises(TrainingDivergedError, match="epoch 2"):
            net.partial_fit(select(x))
        assert same(weights(net), start)

    def test_weights_that_break_in_the_last_step_are_noticed(self):
        class BreakAfterLastStep(Callback):
            def on_batch_end(self, net, training=None, **kwargs):
                if net.n_steps_done_ == 4:
                    TestDivergence.break_layer(0)(net)

        x = curved_data()
        net = small_net(x, max_epochs=1, callbacks=[BreakAfterLastStep()])
        with pytest.raises(TrainingDivergedError, match="non-finite weights"):
            net.partial_fit(select(x))
        assert all(w.isfinite().all() for w in weights(net))


class TestStopping:
    def test_callbacks_of_the_user_are_called(self):
        calls = []

        class Count(Callback):
            def on_train_begin(self, net, **kwargs):
                calls.append("train")

            def on_batch_end(self, net, batch=None, training=None, **kwargs):
                calls.append(f"{len(batch)} rows")

            def on_epoch_end(self, net, **kwargs):
                calls.append("epoch")

        x = curved_data(100)
        small_net(x, max_epochs=2, batch_size=50, callbacks=[Count()]).partial_fit(select(x))
        assert calls == ["train", *["50 rows", "50 rows", "epoch"] * 2]

    @pytest.mark.parametrize("moment", ["begin", "end"])
    def test_a_callback_may_end_training(self, moment):
        x = curved_data()
        net = small_net(x, max_epochs=9, callbacks=[AtEpoch(2, interrupt, moment)])
        net.partial_fit(select(x))
        assert len(net.history) == 2
        assert net.interrupted_ is False

    def test_the_function_told_of_epochs_may_end_training(self):
        x = curved_data()
        numbers = []

        def note(net):
            numbers.append(len(net.history))
            return len(numbers) == 2

        net = small_net(x, max_epochs=9, on_epoch=note)
        net.partial_fit(select(x))
        assert numbers == [1, 2]
        assert net.interrupted_ is False

    def test_an_interrupt_from_the_keyboard_is_noted(self):
        x = curved_data()
        net = small_net(x, max_epochs=9)
        n_batches_seen = []

        def press_keys(module, inputs):
            n_batches_seen.append(1)
            if len(n_batches_seen) == 6:  # of 4 an epoch
                raise KeyboardInterrupt

        net.module_.register_forward_pre_hook(press_keys)
        net.partial_fit(select(x))
        assert net.interrupted_ is True
        assert net.n_steps_done_ == 5
        assert all(w.isfinite().all() for w in weights(net))

    def test_progress_shows_rates_beside_their_targets(self, capsys):
        x = curved_data()
        control = RateController(torch.tensor([LN2, 2 * LN2]), torch.ones(2), None)
        small_net(x, control=control, verbose=1, max_epochs=2).partial_fit(select(x))
        out, err = capsys.readouterr()
        assert out == ""
        assert "pass 2" in err
        assert re.search(r"z1: \d+\.\d\d/1, z2: \d+\.\d\d/2 bits", err)
