"""
Callbacks: TensorBoard, scores by epoch, early stopping
=======================================================

Models are trained by skorch, and ``callbacks`` takes skorch's callbacks. There are some differences
from a supervised net: rates are lists, rows have no labels, and the objective changes while the
targets come down. We log a fit to TensorBoard, score a classifier after every epoch, show when
early stopping stops too early, and draw everything from TensorBoard's file.
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
# "betas". ``early_stopping=True`` adds "valid_distortion" and "valid_rates". skorch's callback
# writes the numbers of the last row and ignores lists, so we write these ourselves.


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
# The net has no labels. ``EpochScoring`` therefore needs a function that knows them, and
# ``use_caching=False``. ``net.module_.encode`` gives the posterior means. Callbacks that come later
# in the list find the score in the history, and after the fit it is in ``history_``. The scored
# rows have no influence on the model, unless you use this score to stop the training.


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
# ``tensorboard --logdir`` shows the logs in a browser. Here we read the same file by a program.
log = EventAccumulator(folder).Reload()
print("logged:", ", ".join(log.Tags()["scalars"]))

# %%
# Early stopping
# --------------
# Training does not minimise the distortion alone. The distortion may rise, although all is well,
# while the targets come down in the first 30% of the steps, and whenever the betas reduce a rate.
# skorch's ``EarlyStopping`` then stops. The built-in one, ``early_stopping=True``, waits until the
# targets are down, watches distortion and rates together, and restores the betas together with the
# weights. Here it found no reason to stop. skorch's stopped soon after the targets had come down,
# when most of the training was still to come.
hasty = HierarchicalVAETransformer(
    max_epochs=60,
    early_stopping=True,
    callbacks=[EarlyStopping(monitor="valid_distortion", patience=3)],
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
# Both distortions are of the same rows, so that the difference has a smaller standard error.
difference = hasty.distortion(X_test) - hvae.distortion(X_test)
error = difference.std() / len(X_test) ** 0.5
print(f"stopping too early costs {difference.mean():.1f} bits per row, standard error {error:.1f}")

# %%
# The logs show that the rates follow their targets, and that the betas change until the last epochs
# and then stay constant. The accuracy is high from the first epoch, because training starts at PCA.
# It changes by hardly more than its standard error, 0.01, so it should be used neither to stop the
# training nor to choose an epoch.


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
distortions.axvline(hasty.n_iter_, color="C3", linestyle=":", label="skorch stops here")
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
# - A search copies its estimator with the callbacks, but a ``SummaryWriter`` cannot be copied. In a
#   search, open it in the callback's ``on_train_begin``.
# - ``EpochScoring`` with a name such as "accuracy" and ``BatchScoring`` do not work, because they
#   need labels.
# - ``Checkpoint`` can write weights, with ``monitor=None`` or a function of the net, because
#   "valid_loss_best" is not recorded. Do not use its ``load_best``, which restores weights without
#   their betas, but ``early_stopping=True``. To save fitted estimators, use ``save``.
# - The learning rate has its own schedule, and an ``LRScheduler`` has no effect.
