"""skorch callbacks of ours: early stopping, epochs told to the estimator, and progress."""

import math
import sys

from skorch.callbacks import Callback, EarlyStopping

from sk_hvae._fit.checkpoint import Checkpointed

_LN2 = math.log(2)


class EarlyStoppingPastRamp(Checkpointed, EarlyStopping):
    """Stop when the objective of the held-out rows, at fixed prices, no longer improves.

    The objective is D + sum_l beta_l (R_l - target_l) with the betas at the end of the ramp:
    with moving betas it would not compare from epoch to epoch. The betas go back with the
    weights.
    """

    _CHECKPOINTED = ("misses_", "dynamic_threshold_", "best_epoch_", "best_model_weights_")

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
        if self.on_epoch(net):
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
