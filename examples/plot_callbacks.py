"""
Callbacks: TensorBoard, scores by epoch, early stopping
=======================================================

Training is skorch's loop, and ``callbacks`` takes skorch's callbacks. What they find there is not
quite what a supervised net has: rates are lists, rows have no labels, and the objective changes
while the targets come down. We log a fit to TensorBoard, score a classifier after every epoch,
see where early stopping stops too early, and draw all of it from TensorBoard's file.
"""

import tempfile

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from skorch.callbacks import EarlyStopping, EpochScoring, TensorBoard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from sk_hvae import HierarchicalVAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
folder = tempfile.mkdtemp()

# %%
# TensorBoard
# -----------
# A row of skorch's history has "train_distortion" and, as lists, "train_rates", "target_rates" and
# "betas"; ``early_stopping=True`` adds "valid_distortion" and "valid_rates". skorch's callback
# writes the numbers of the last row and passes over lists, so that they need three lines.


class LayersOnBoard(TensorBoard):
    """Write rates, targets and betas layer by layer, and then the rest."""

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        for name in ("train_rates", "target_rates", "betas"):
            for layer, value in enumerate(row[name], start=1):
                self.writer.add_scalar(f"{name}/z_{layer}", value, row["epoch"])
        super().on_epoch_end(net, **kwargs)


# %%
# Scores by epoch
# ---------------
# The net has no labels, and ``EpochScoring`` needs a function that brings them, and
# ``use_caching=False``. ``net.module_.encode`` gives the posterior means. The other callbacks, in
# the order of the list, find the score in the history; so does ``history_``, after the fit. The
# rows that are scored chose nothing, unless you stop by this score.


def latents(net, X):
    with torch.no_grad():
        return torch.cat(net.module_.encode(torch.as_tensor(X)), dim=1)


def accuracy(net, rows, y=None):
    classifier = LogisticRegression(max_iter=1000).fit(latents(net, X_train), y_train)
    return classifier.score(latents(net, X_test), y_test)


hvae = HierarchicalVAETransformer(
    max_epochs=60,
    early_stopping=True,
    callbacks=[
        EpochScoring(accuracy, lower_is_better=False, use_caching=False),
        LayersOnBoard(SummaryWriter(folder)),
    ],
    random_state=0,
)
hvae.fit(X_train)
print(f"{hvae.n_iter_} epochs, rates {hvae.rates_.round(2)}")
print("history_:", ", ".join(hvae.history_))

# %%
# ``tensorboard --logdir`` shows the logs in a browser. We read the same file.
log = EventAccumulator(folder).Reload()
print("logged:", ", ".join(log.Tags()["scalars"]))

# %%
# Early stopping
# --------------
# Distortion alone is not what training lowers. While the targets come down, in the first 30% of the
# steps, and whenever the betas take bits away, it rises though nothing is wrong, and skorch's
# ``EarlyStopping`` takes that for the end. The built-in one, ``early_stopping=True``, waits until
# the targets are down, watches distortion and rates together, and puts the betas back with the
# weights. Here it found no reason to stop. skorch's stopped while the targets were still high, so
# that the rates miss them, and a warning says so.
hasty = HierarchicalVAETransformer(
    max_epochs=60,
    early_stopping=True,
    callbacks=[EarlyStopping(monitor="valid_distortion", patience=5)],
    random_state=0,
)
hasty.fit(X_train)
for name, model in {"skorch's": hasty, "built-in": hvae}.items():
    distortion = model.distortion(X_test)
    error = distortion.std() / len(X_test) ** 0.5
    print(
        f"{name} early stopping: {model.n_iter_} epochs, "
        f"distortion of test rows {distortion.mean():.1f} bits, standard error {error:.1f}"
    )

# %%
# The same rows are in both, so that their difference is known better than either.
difference = hasty.distortion(X_test) - hvae.distortion(X_test)
error = difference.std() / len(X_test) ** 0.5
print(f"stopping too early costs {difference.mean():.1f} bits per row, standard error {error:.1f}")

# %%
# From the logs: rates follow their targets, the betas move until the last epochs and then stay.
# The accuracy was there from the first epoch, as training starts at PCA, and its ups and downs are
# smaller than its standard error, 0.01: a reason not to stop by it, nor to choose an epoch.


def draw(ax, tag, **style):
    events = log.Scalars(tag)
    ax.plot([event.step for event in events], [event.value for event in events], **style)


figure, axes = plt.subplots(2, 2, figsize=(10, 6.5), layout="constrained", sharex=True)
(rates, distortions), (betas, scores) = axes
for layer, colour in [("z_1", "C0"), ("z_2", "C1")]:
    draw(rates, f"train_rates/{layer}", color=colour, label=layer)
    draw(rates, f"target_rates/{layer}", color=colour, linestyle="--", linewidth=1)
    draw(betas, f"betas/{layer}", color=colour, label=layer)
rates.set(title="rates, and targets (dashed)", ylabel="bits per sample")
draw(distortions, "Loss/train_distortion", color="0.4", label="training rows")
draw(distortions, "Loss/valid_distortion", color="C2", label="held-out rows")
distortions.axvline(hasty.n_iter_, color="C3", linestyle=":", label="skorch would stop here")
distortions.set(title="distortion", ylabel="bits per sample")
betas.set(title="betas", xlabel="epoch")
draw(scores, "accuracy", color="C4")
scores.set(title="accuracy of a classifier on test rows", xlabel="epoch", ylim=(0.9, 1))
for ax in (rates, distortions, betas):
    ax.legend()
plt.show()

# %%
# What to know
# ------------
# - A search copies its estimator, callbacks included, and a ``SummaryWriter`` cannot be copied:
#   open it in the callback's ``on_train_begin``.
# - ``EpochScoring`` with a name such as "accuracy", and ``BatchScoring``, ask for labels that are
#   not there.
# - ``Checkpoint`` writes weights, with ``monitor=None`` or a function of the net; "valid_loss_best"
#   is not recorded. Its ``load_best`` would bring weights back without their betas: use
#   ``early_stopping=True``. To keep fitted estimators, use ``save``.
# - The learning rate has its own schedule, over which an ``LRScheduler`` has no power.
