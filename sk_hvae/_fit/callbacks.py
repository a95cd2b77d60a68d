"""Callbacks for skorch: early stopping, epochs told to the estimator, and progress."""

from typing import Any

from skorch.callbacks import Callback, EarlyStopping

from sk_hvae._fit.checkpoint import Checkpointed
from sk_hvae._fit.progress import open_bar
from sk_hvae.nn.units import LN2


class EarlyStoppingPastRamp(Checkpointed, EarlyStopping):
    """Stop when the objective of the held-out rows no longer improves, after the ramp.

    The objective is D + sum_l beta_l (R_l - target_l). Its betas are those at the end of the ramp,
    because with moving betas the epochs could not be compared. At the end, the betas of the best
    epoch come back together with its weights.
    """

    CHECKPOINTED = ("misses_", "dynamic_threshold_", "best_epoch_", "best_model_weights_")

    def on_epoch_end(self, net, **kwargs):
        if not net.control.is_ramping:
            super().on_epoch_end(net, **kwargs)

    def on_train_end(self, net, **kwargs):
        super().on_train_end(net, **kwargs)
        if self.best_epoch_:
            betas = net.history[self.best_epoch_ - 1, "betas"]
            net.control.betas = net.control.betas.new_tensor(betas)


class EpochHook(Callback):
    """Call a function of the estimator after each epoch, and stop if it returns True."""

    def __init__(self, on_epoch):
        self.on_epoch = on_epoch

    def on_epoch_end(self, net, **kwargs):
        if self.on_epoch(net):
            raise KeyboardInterrupt


class ProgressLine(Callback):
    """Show epoch, distortion, and rates beside their targets: on stderr, in notebooks as a bar."""

    def __init__(self):
        self._bar: Any = None

    def on_epoch_begin(self, net, **kwargs):
        if self._bar is None:
            self._bar = _open_bar(len(net.history) - 1, net.max_epochs if net.n_steps else None)

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        targets = [target / LN2 for target in net.control.targets.tolist()]
        layers = (
            f"z{i}: {rate:.2f}" + (f"/{target:g}" if target else "")
            for i, (rate, target) in enumerate(
                zip(row["train_rates"], targets, strict=True), start=1
            )
        )
        distortion = f"distortion {row['train_distortion']:.2f}"
        self._bar.set_postfix_str(f"{distortion}, rates {', '.join(layers)} bits", refresh=False)
        self._bar.update()

    def close(self):
        """End the line, however training ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _open_bar(n_done, n_epochs):
    """Return a bar for epochs to come, or passes if it is not known how many they are."""
    counted = "pass {n_fmt} " if n_epochs is None else "epoch {n_fmt}/{total_fmt} |{bar}| "
    times = "{elapsed}" if n_epochs is None else "{elapsed}<{remaining}"
    return open_bar(n_done, n_epochs, f"{counted}[{times}]{{postfix}}")
