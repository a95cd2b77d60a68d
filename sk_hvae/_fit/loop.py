"""The training loop: skorch's, with batches cut from rows by index and no host sync."""

import copy
import itertools
import json
import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.history import History
from skorch.utils import TeeGenerator

from sk_hvae._fit.callbacks import ProgressLine
from sk_hvae._fit.checkpoint import Checkpointed
from sk_hvae._fit.errors import divergence
from sk_hvae._fit.optimise import guard_for, lr_factor
from sk_hvae._fit.parameter_groups import set_rate
from sk_hvae._fit.pass_sums import PassSums
from sk_hvae.exceptions import TrainingDivergedError
from sk_hvae.nn.guided import unguided
from sk_hvae.nn.once_constant_columns import take_in
from sk_hvae.nn.units import LN2

# Finite weights are kept so often. To look waits for the device, and copies the weights; a fit that
# diverges loses that many steps at most.
_STEPS_PER_SNAPSHOT = 50


class StoppedNet(NamedTuple):
    """What an `HVAENet` has come to; further training does not change it."""

    module_: torch.nn.Module
    control: Any
    history: History
    autocast: torch.dtype | None
    interrupted_: bool = False


class HVAENet(Checkpointed, NeuralNet, ABC):
    """skorch's loop over a built hierarchical VAE, by one process or several.

    It has a training and a validation step of its own, which pass noise and betas, and an epoch of
    its own, because skorch's reads every loss back to the host.

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
    checkpoint : Checkpoint or None
        Where to keep the state, and where to go on from.
    **kwargs
        As in `skorch.NeuralNet`.
    """

    CHECKPOINTED = ("n_steps_done_", "betas_after_ramp_", "_n_broken_batches", "_last_means")

    def __init__(
        self, module, *, control, noise, autocast=None, n_steps=None, checkpoint=None, **kwargs
    ):
        self.control = control
        self.noise = noise
        self.autocast = autocast
        self.n_steps = n_steps
        self.checkpoint = checkpoint
        super().__init__(module, **kwargs)

    @property
    @abstractmethod
    def model(self):
        """The module, without what other processes need to have around it."""

    @property
    @abstractmethod
    def torch_optimizer(self):
        """The optimiser itself, likewise."""

    @abstractmethod
    def train_step_single(self, batch, **fit_params):
        """Take a step on a batch by `_step`; skorch's mixin for several processes has another."""

    @abstractmethod
    def _backward(self, loss):
        """Compute the gradients."""

    @abstractmethod
    def _of_all(self, output):
        """Return the output of the whole batch, of which this process may have a part."""

    @abstractmethod
    def _total(self, tensor):
        """Return the sum of a tensor over all processes."""

    @property
    def _default_callbacks(self):
        return []

    def initialize_criterion(self):
        self.criterion_ = self.criterion
        return self

    def initialize_history(self):
        super().initialize_history()
        self.guard_ = guard_for(self.torch_optimizer.flat_parameters)
        self.n_steps_done_ = 0
        self.interrupted_ = False
        self.betas_after_ramp_ = None
        self._n_broken_batches = 0
        self._last_means = [math.nan] * (1 + len(self.control.betas))
        self._unfinished = None
        self._take_snapshot()

    def _step(self, batch):
        lr = self.lr * lr_factor(self.n_steps_done_, self.n_steps)
        set_rate(self.torch_optimizer, lr)
        with torch.autocast(batch.device.type, self.autocast, enabled=self.autocast is not None):
            output = self.module_(batch.x, self.noise, **batch.beside)
        terms = self.criterion_(output)
        self._backward(terms.loss)
        self.guard_.inspect(self.torch_optimizer)
        self.control.observe(self._of_all(output))
        self.n_steps_done_ += 1
        return {"loss": terms.loss, "y_pred": terms}

    def validation_step(self, batch, **fit_params):
        with torch.no_grad():
            output = self.model(batch.x, self.model.row_noise(batch.x), **batch.beside)
            terms = self.criterion_(output)
        return {"loss": terms.loss, "y_pred": terms}

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        if self.module_.training != training:  # to set it anew takes as long as small products do
            self._set_training(training)
        sums = PassSums(len(self.control.betas), self.control.betas.device)
        for batch in self._begin(iterator, sums) if training else iterator:
            if training:
                self._keep(sums)
            self._tell("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            sums.add(step["y_pred"], len(batch))
            self._tell("on_batch_end", batch=batch, training=training, **step)
        means, broken = sums.read(self._total if training else lambda tensor: tensor)
        if training:
            self._n_broken_batches = 0 if means else self._n_broken_batches + len(iterator)
            self._guard(broken)
        self._last_means = means or self._last_means
        self._record(prefix, *self._last_means)

    @torch.enable_grad()
    def train_step(self, batch, **fit_params):
        """Do what skorch does, without a closure that no optimiser of ours calls twice."""
        self.optimizer_.zero_grad()
        step = self.train_step_single(batch, **fit_params)
        if self.callbacks_:
            parameters = TeeGenerator(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
        self.optimizer_.step()
        return step

    def _tell(self, event, **details):
        """Notify of what happens with each batch, if there is anyone to notify."""
        if self.callbacks_:
            self.notify(event, **details)

    def _begin(self, iterator, sums):
        """Begin a pass over the training rows, or the rest of one that was cut short."""
        kept, self._unfinished = self._unfinished, None
        if self.checkpoint is None:
            return iterator.begin()
        generator = iterator.generator
        if kept is None:
            self._before_pass = generator.get_state()
            return iterator.begin()
        self._before_pass = kept["before"]
        sums.load_state_dict(kept["sums"])
        generator.set_state(kept["before"])
        batches = iterator.begin(sums.n_batches)
        generator.set_state(kept["now"])
        return batches

    def _keep(self, sums):
        """Write a checkpoint if one is due."""
        if self.checkpoint is None or not self.n_steps_done_:
            return
        if not self.checkpoint.is_due(between_passes=sums.n_batches == 0):
            return
        rows = [{**row, "batches": []} for row in self.history[:-1]]
        state = {name: part.state_dict() for name, part in self._moving_parts().items()}
        state["history"] = json.dumps(rows, default=float)
        state["pass"] = {
            "before": self._before_pass,
            "now": self.noise.generator.get_state(),
            "sums": sums.state_dict(),
        }
        self.checkpoint.write(state)

    def _resume(self, epochs):
        """Go on from a checkpoint, if there is one; returns the number of passes to come."""
        if self.checkpoint is None or self.checkpoint.training is None:
            return epochs
        state, self.checkpoint.training = self.checkpoint.training, None
        for name, part in self._moving_parts().items():
            part.load_state_dict(state[name])
        self.history_ = History(json.loads(state["history"]))
        self._unfinished = state["pass"]
        self._take_snapshot()
        return self.max_epochs - len(self.history)

    def _moving_parts(self):
        """Return what has a state of its own, by name."""
        parts = {
            "module": self.model,
            "optimizer": self.torch_optimizer,
            "control": self.control,
            "guard": self.guard_,
            "net": self,
        }
        ours = [callback for _, callback in self.callbacks_ if isinstance(callback, Checkpointed)]
        return parts | {type(callback).__name__: callback for callback in ours}

    def _record(self, prefix, distortion, *rates):
        betas, targets = self.control.betas.tolist(), self.control.targets.tolist()
        if self.betas_after_ramp_ is None and not self.control.is_ramping:
            self.betas_after_ramp_ = betas
        pairs = zip(self.betas_after_ramp_ or betas, rates, targets, strict=True)
        loss = distortion + sum(beta * (rate - target) for beta, rate, target in pairs)
        self.history.record(prefix + "_loss", loss)
        self.history.record(prefix + "_distortion", distortion / LN2)
        self.history.record(prefix + "_rates", [rate / LN2 for rate in rates])
        if prefix == "train":
            self.history.record("betas", betas)
            if self.control.current_targets is not None:
                nats = self.control.current_targets.tolist()
                self.history.record("target_rates", [rate / LN2 for rate in nats])

    def _guard(self, broken):
        if self._n_broken_batches > 1 or self.guard_.is_exhausted():
            self.restore_snapshot()
            distortion, *rates = broken
            raise TrainingDivergedError(divergence(len(self.history), distortion, rates))
        if self.n_steps_done_ - self._snapshot_step >= _STEPS_PER_SNAPSHOT:
            self._guard_weights()
            self._take_snapshot()

    def _guard_weights(self):
        if not self.weights_are_finite():
            self.restore_snapshot()
            raise TrainingDivergedError(divergence(len(self.history), 0.0, []))

    def weights_are_finite(self):
        """Tell whether training can be trusted so far."""
        norms = [p.detach().norm() for p in self.module_.parameters()]
        return bool(torch.stack(norms).isfinite().all())

    def take_in(self, summary, some):
        """Let the model take in columns that are constant no more."""
        if take_in(unguided(self.model), summary, some):
            self._take_snapshot()

    def _take_snapshot(self):
        self._snapshot_step = self.n_steps_done_
        self._snapshot = [tensor.detach().clone() for tensor in self._state()]

    def _state(self):
        return itertools.chain(self.module_.parameters(), self.module_.buffers())

    def stopped(self):
        """Return a `StoppedNet`, with a copy of the module."""
        module = copy.deepcopy(self.model)
        return StoppedNet(module, self.control, self.history, self.autocast)

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
        self.torch_optimizer.gather()
        try:
            super().fit_loop(X, y, self._resume(epochs), **kwargs)
            self._guard_weights()
        except _StopRequest:
            pass
        except KeyboardInterrupt:
            self.interrupted_ = True
        finally:
            self.torch_optimizer.release()
            for _, callback in self.callbacks_:
                if isinstance(callback, ProgressLine):
                    callback.close()
        return self


class LocalNet(HVAENet):
    """An `HVAENet` that this process trains alone."""

    @property
    def model(self):
        return self.module_

    @property
    def torch_optimizer(self):
        return self.optimizer_

    def train_step_single(self, batch, **fit_params):
        return self._step(batch)

    def _backward(self, loss):
        loss.backward()

    def _of_all(self, output):
        return output

    def _total(self, tensor):
        return tensor


class _StopRequest(Exception):  # noqa: N818
    """A callback ended training; skorch's callbacks do so by a KeyboardInterrupt."""
