"""The training loop: skorch's, with batches cut from a resident tensor and no host sync."""

import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split

from sk_hvae._batches import RowBatches
from sk_hvae._gradients import GradientGuard
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.nn.noise import GeneratorNoise

_LN2 = math.log(2)
_WARM_UP = 0.05
_DECAY_FROM = 0.5
_OPEN_ENDED_WARM_UP = 100
_STEPS_PER_SNAPSHOT = 50
_NOT_DECAYED = (
    "*linear.*",
    "*.bias",
    "*.gain",
    "*likelihood.*",
    "*prior_logits",
    "features.*",
    "coefficients",
    "scales.*",
)


@dataclass(frozen=True)
class TrainingSettings:
    """What the user chose about training, resolved.

    Attributes
    ----------
    max_epochs, batch_size : int
        As in the estimators.
    n_steps : int or None
        Number of optimiser steps to come; None keeps the learning rate up, for a caller that
        decides from pass to pass.
    lr : float
        Peak learning rate.
    weight_decay : float
        Pull of the networks' weights, but not of the linear paths, towards zero.
    device : torch.device
        Where module and rows are.
    autocast : torch.dtype or None
        Lower precision for matrix products; None for none.
    patience : int
        Epochs without improvement before training stops early, if there are validation rows.
    callbacks : list
        skorch callbacks of the user.
    on_epoch : callable or None
        Called after each epoch with its number; training stops if it returns True.
    verbose : int
        1 shows a progress line.
    """

    max_epochs: int
    batch_size: int
    n_steps: int | None
    lr: float
    weight_decay: float
    device: torch.device
    autocast: torch.dtype | None = None
    patience: int = 10
    callbacks: list = field(default_factory=list)
    on_epoch: Callable[[int], bool] | None = None
    verbose: int = 0


def lr_factor(step, n_steps):
    """Return the learning rate of a step as a share of its peak.

    Linear warm-up over the first 5% of the steps, constant until half, cosine to zero: the
    rates have to be still when the betas settle. Without an end (``n_steps=None``) only the
    warm-up, over 100 steps.
    """
    if n_steps is None:
        return min(1.0, (step + 1) / _OPEN_ENDED_WARM_UP)
    warm_up = min(1.0, (step + 1) / (_WARM_UP * n_steps))
    decay = max(0.0, (step / n_steps - _DECAY_FROM) / (1 - _DECAY_FROM))
    return warm_up * 0.5 * (1 + math.cos(math.pi * decay))


class HVAENet(NeuralNet):
    """skorch's loop over a built hierarchical VAE.

    Overrides the single training and validation step, to pass noise and betas, and the
    epoch, because skorch reads every loss back to the host.

    Parameters
    ----------
    module : HierarchicalVAE
        On its device, started.
    control : RateController or FixedMultipliers
        Gives the betas.
    noise : callable
        Source of the latents' noise in training.
    autocast : torch.dtype or None
        Lower precision for matrix products.
    n_steps : int or None
        Number of optimiser steps to come; None if there is no end.
    **kwargs
        As in `skorch.NeuralNet`.
    """

    def __init__(self, module, *, control, noise, autocast=None, n_steps=None, **kwargs):
        self.control = control
        self.noise = noise
        self.autocast = autocast
        self.n_steps = n_steps
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self):
        return []

    def initialize_criterion(self):
        self.criterion_ = self.criterion
        return self

    def initialize_history(self):
        super().initialize_history()
        self.guard_ = GradientGuard(self.module_.parameters())
        self.n_steps_done_ = 0
        self.interrupted_ = False
        self.prices_ = None
        self._n_lost = 0
        self._last_means = [math.nan] * (1 + len(self.control.betas))
        self._take_snapshot()

    def train_step_single(self, batch, **fit_params):
        peak = self.lr * lr_factor(self.n_steps_done_, self.n_steps)
        for group in self.optimizer_.param_groups:
            group["lr"] = peak
        with torch.autocast(batch.device.type, self.autocast, enabled=self.autocast is not None):
            output = self.module_(batch, self.noise)
        terms = self.criterion_(output)
        terms.loss.backward()
        self.guard_.inspect(self.optimizer_)
        self.control.observe(output)
        self.n_steps_done_ += 1
        return {"loss": terms.loss, "y_pred": terms}

    def validation_step(self, batch, **fit_params):
        with torch.no_grad():
            output = self.module_(batch, self.module_.row_noise(batch))
            terms = self.criterion_(output)
        return {"loss": terms.loss, "y_pred": terms}

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        self._set_training(training)
        sums = torch.zeros(2 + len(self.control.betas), device=self.control.betas.device)
        broken = torch.zeros_like(sums)
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            terms = step["y_pred"]
            row = torch.cat((torch.ones_like(sums[:1]), terms.distortion.view(1), terms.rates))
            row = row.detach() * len(batch)
            finite = row.isfinite().all()
            sums = torch.where(finite, sums + row, sums)
            broken = torch.where(finite, broken, row)
            self.notify("on_batch_end", batch=batch, training=training, **step)
        n_rows, *means = torch.cat((sums[:1], sums[1:] / sums[0])).tolist()
        if training:
            self._n_lost = 0 if n_rows else self._n_lost + len(iterator)
            self._guard(broken.tolist()[1:])
        if n_rows:
            self._last_means = means
        self._record(prefix, *self._last_means)

    def _record(self, prefix, distortion, *rates):
        betas, targets = self.control.betas.tolist(), self.control.targets.tolist()
        if self.prices_ is None and not self.control.is_ramping:
            self.prices_ = betas
        pairs = zip(self.prices_ or betas, rates, targets, strict=True)
        loss = distortion + sum(beta * (rate - target) for beta, rate, target in pairs)
        self.history.record(prefix + "_loss", loss)
        self.history.record(prefix + "_distortion", distortion / _LN2)
        self.history.record(prefix + "_rates", [rate / _LN2 for rate in rates])
        if prefix == "train":
            self.history.record("betas", betas)
            if self.control.current_targets is not None:
                nats = self.control.current_targets.tolist()
                self.history.record("target_rates", [rate / _LN2 for rate in nats])

    def _guard(self, broken):
        if self._n_lost > 1 or self.guard_.is_exhausted():
            self.restore_snapshot()
            distortion, *rates = broken
            raise TrainingDivergedError(divergence(len(self.history), distortion, rates))
        if self.n_steps_done_ - self._snapshot_step >= _STEPS_PER_SNAPSHOT:
            self._guard_weights()
            self._take_snapshot()

    def _guard_weights(self):
        if not self._weights_are_finite():
            self.restore_snapshot()
            raise TrainingDivergedError(divergence(len(self.history), 0.0, []))

    def _weights_are_finite(self):
        norms = [p.detach().norm() for p in self.module_.parameters()]
        return bool(torch.stack(norms).isfinite().all())

    def _take_snapshot(self):
        self._snapshot_step = self.n_steps_done_
        self._snapshot = [tensor.detach().clone() for tensor in self._state()]

    def _state(self):
        return itertools.chain(self.module_.parameters(), self.module_.buffers())

    @torch.no_grad()
    def restore_snapshot(self):
        """Go back to the last weights that were known to be finite."""
        for tensor, kept in zip(self._state(), self._snapshot, strict=True):
            tensor.copy_(kept)

    def notify(self, method_name, **cb_kwargs):
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:
            if method_name in ("on_train_begin", "on_train_end"):
                raise
            raise _StopRequest from stop

    def fit_loop(self, X, y=None, epochs=None, **kwargs):
        try:
            super().fit_loop(X, y, epochs, **kwargs)
            self._guard_weights()
        except _StopRequest:
            pass
        except KeyboardInterrupt:
            self.interrupted_ = True
        return self


class _StopRequest(Exception):  # noqa: N818
    """A callback ended training; skorch's callbacks do so by a KeyboardInterrupt."""


class EarlyStoppingPastRamp(EarlyStopping):
    """Stop when the objective of the held-out rows, at fixed prices, no longer improves.

    The objective is D + sum_l beta_l (R_l - target_l) with the betas at the end of the ramp:
    with moving betas it would not compare from epoch to epoch. The betas go back with the
    weights.
    """

    def on_epoch_end(self, net, **kwargs):
        if not net.control.is_ramping:
            super().on_epoch_end(net, **kwargs)

    def on_train_end(self, net, **kwargs):
        super().on_train_end(net, **kwargs)
        if self.best_epoch_:
            betas = net.history[self.best_epoch_ - 1, "betas"]
            net.control.betas = net.control.betas.new_tensor(betas)


class EpochHook(Callback):
    """Tell the estimator of each epoch, and stop if it says so."""

    def __init__(self, on_epoch):
        self.on_epoch = on_epoch

    def on_epoch_end(self, net, **kwargs):
        if self.on_epoch(len(net.history)):
            raise KeyboardInterrupt


class ProgressLine(Callback):
    """Show one line on stderr with epoch, distortion, and rates beside their targets."""

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        targets = [target / _LN2 for target in net.control.targets.tolist()]
        layers = (
            f"z{i}: {rate:.2f}" + (f"/{target:g}" if target else "")
            for i, (rate, target) in enumerate(
                zip(row["train_rates"], targets, strict=True), start=1
            )
        )
        epoch = len(net.history)
        bar = "#" * round(20 * min(1.0, epoch / net.max_epochs))
        progress = f"epoch {epoch}/{net.max_epochs} [{bar:<20}]" if net.n_steps else f"pass {epoch}"
        distortion = f"distortion {row['train_distortion']:.2f}"
        sys.stderr.write(f"\r{progress} {distortion}, rates {', '.join(layers)} bits   ")
        sys.stderr.flush()

    def on_train_end(self, net, **kwargs):
        sys.stderr.write("\n")


def build_net(module, control, settings, generator, validation=None):
    """Put module, batches, optimiser and callbacks together, ready for ``partial_fit``.

    Parameters
    ----------
    module : HierarchicalVAE
        On the device of the settings, started.
    control : RateController or FixedMultipliers
        Gives the betas.
    settings : TrainingSettings
        What the user chose.
    generator : torch.Generator
        On the same device; shuffles the rows and draws the noise.
    validation : Rows, default=None
        Rows to watch for early stopping.

    Returns
    -------
    HVAENet
        Initialised.
    """
    callbacks = list(settings.callbacks)
    if settings.on_epoch is not None:
        callbacks.append(EpochHook(settings.on_epoch))
    if settings.verbose:
        callbacks.append(ProgressLine())
    if validation is not None:
        callbacks.append(
            EarlyStoppingPastRamp(
                patience=settings.patience,
                threshold=0,
                threshold_mode="abs",
                load_best=True,
            )
        )
    net = HVAENet(
        module,
        control=control,
        noise=GeneratorNoise(generator),
        autocast=settings.autocast,
        n_steps=settings.n_steps,
        criterion=control.loss,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=settings.weight_decay,
        optimizer__param_groups=[(name, {"weight_decay": 0.0}) for name in _NOT_DECAYED],
        lr=settings.lr,
        max_epochs=settings.max_epochs,
        batch_size=settings.batch_size,
        iterator_train=RowBatches,
        iterator_train__generator=generator,
        iterator_valid=RowBatches,
        train_split=None if validation is None else predefined_split(validation),
        callbacks=callbacks,
        device=str(settings.device),
        verbose=0,
    )
    return net.initialize()


def divergence(epoch, distortion, rates):
    """Say what turned non-finite, and what to try."""
    broken = [f"rate of z_{i}" for i, rate in enumerate(rates, 1) if not math.isfinite(rate)]
    if not math.isfinite(distortion):
        broken.append("distortion")
    return (
        f"training diverged in epoch {epoch}: non-finite {', '.join(broken) or 'weights'}. The "
        "estimator keeps the last finite weights. Lower lr, or look for extreme values in X "
        "(a clipped or quantile-transformed X trains more easily)."
    )
