"""
Optuna, with pruning by epoch
=============================

How should six bits be split between two layers, how wide should the network be, and what should
its learning rate be? Optuna asks for one fit after the other and learns from the results. A
callback of skorch reports every epoch to it, without labels, and ends fits that are worse than
most others. The final score is the accuracy of a classifier. Afterwards we train the pruned fits
to the end, to see whether the pruning missed anything.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import optuna
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", RateTargetWarning)  # some of the candidates miss their targets

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=1000, stratify=y, random_state=0
)
X_fit, X_valid, y_fit, y_valid = train_test_split(
    X_train, y_train, train_size=600, stratify=y_train, random_state=0
)

# %%
# What the callback reports
# -------------------------
# ``early_stopping=True`` holds some of the rows out, and skorch's history has their distortion and
# rates after each epoch. Minus the sum of these is the lower bound in bits, which needs no labels.
# The bound can be compared between models with the same total rate, however it is split. A larger
# total always has a better bound, so that a pruner would end every fit with a small one. ``fit``
# passes on what a callback raises, and Optuna expects ``TrialPruned``.
N_BITS, MAX_EPOCHS = 6, 30


class Pruning(Callback):
    """Report the held-out bound of each epoch, and end the fit if it is behind."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        self.trial.report(-row["valid_distortion"] - sum(row["valid_rates"]), row["epoch"])
        if self.trial.should_prune():
            raise optuna.TrialPruned


def objective(trial):
    top = trial.suggest_float("bits of z_2", 0.5, N_BITS - 0.5)
    hvae = HierarchicalVAETransformer(
        (N_BITS - top, top),
        n_components=6,
        hidden_layer_sizes=trial.suggest_int("width", 16, 256, log=True),
        lr=trial.suggest_float("learning rate", 2e-4, 2e-2, log=True),
        max_epochs=MAX_EPOCHS,
        early_stopping=True,
        callbacks=[Pruning(trial)],
        random_state=0,
    )
    pipeline = make_pipeline(hvae, KNeighborsClassifier())
    return pipeline.fit(X_fit, y_fit).score(X_valid, y_valid)


# %%
# The study
# ---------
# While the targets come down, in the first 30% of a fit, it is too early to compare fits. Call
# ``fit`` yourself as above, and not through ``cross_val_score``, which copies callbacks: a copied
# trial reports to a copy of the study.
n_warmup = round(0.3 * MAX_EPOCHS)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=n_warmup),
)
study.optimize(objective, n_trials=14)
trials = study.trials
pruned = [trial.state == optuna.trial.TrialState.PRUNED for trial in trials]
n_epochs = sum(len(trial.intermediate_values) for trial in trials)
print(
    f"{sum(pruned)} of {len(trials)} fits pruned: {n_epochs} of {len(trials) * MAX_EPOCHS} epochs"
)
print(f"best accuracy: {study.best_value:.3f} of {len(y_valid)} held-out rows")
for name, value in study.best_params.items():
    print(f"  {name}: {value:.3g}")

# %%
# Was anything missed?
# --------------------
# Pruning is useful if the bound of an early epoch predicts the accuracy at the end. A
# ``FixedTrial`` has the parameters of a trial and is never pruned, so that we can train the pruned
# fits to the end. This is only a check. In a real search it would use up the epochs that pruning
# saves.
accuracies = np.array(
    [
        objective(optuna.trial.FixedTrial(trial.params)) if gone else trial.value
        for trial, gone in zip(trials, pruned, strict=True)
    ]
)
early = [trial.intermediate_values[n_warmup] for trial in trials]
agreement = spearmanr(early, accuracies).statistic
print(f"bound after {n_warmup} epochs and accuracy at the end: rank correlation {agreement:.2f}")
print("best accuracy of the finished:", accuracies[~np.array(pruned)].max().round(3))
print("best accuracy of the pruned:  ", accuracies[pruned].max().round(3))

# %%
# In the upper picture, pruned fits are grey and end at a cross. In the lower pictures, rings are
# the pruned fits after they were trained to the end. Accuracies in the band are less than one
# standard error below the best one. The early bound recognises slow learning rates and narrow
# networks. Which of the other fits are pruned is partly luck, but does no harm: none of the pruned
# fits comes into the band.
figure = plt.figure(figsize=(10, 7), layout="constrained")
panels = figure.subplot_mosaic([["epochs"] * 3, [*study.best_params]], height_ratios=[1.3, 1])
colour = plt.cm.ScalarMappable(plt.Normalize(accuracies.min(), accuracies.max()), "viridis")
for trial, gone, accuracy in zip(trials, pruned, accuracies, strict=True):
    epochs, bounds = zip(*trial.intermediate_values.items(), strict=True)
    style = {"color": "0.75", "zorder": 1} if gone else {"color": colour.to_rgba(accuracy)}
    panels["epochs"].plot(epochs, bounds, **style, linewidth=1.2 if gone else 2)
    panels["epochs"].plot(epochs[-1], bounds[-1], "x" if gone else "o", **style)
    for name, value in trial.params.items():
        face = "none" if gone else style["color"]
        panels[name].scatter(value, accuracy, s=45, facecolor=face, edgecolor=style["color"])
best = accuracies.max()
error = np.sqrt(best * (1 - best) / len(y_valid))
for name in study.best_params:
    panels[name].axhspan(best - error, best, color="0.92", zorder=0)
    panels[name].set(xlabel=name)
    if name != "bits of z_2":
        panels[name].set_xscale("log")
panels["width"].set_xticks([16, 32, 64, 128, 256], [16, 32, 64, 128, 256])
panels["width"].minorticks_off()
panels["bits of z_2"].set_ylabel("accuracy at the end")
panels["epochs"].axvline(n_warmup, color="0.5", linestyle=":")
panels["epochs"].set(xlabel="epoch", ylabel="lower bound of held-out rows, bits")
panels["epochs"].set_title("Fits that Optuna let finish (colour) and those that it ended (grey)")
figure.colorbar(colour, ax=panels["epochs"], label="accuracy at the end")

# %%
# Test rows
# ---------
# The test rows were not used for any choice. For comparison we fit a model with three bits in each
# layer and the default width and learning rate. The search found nothing better. Its best score was
# the largest of fourteen, on the same rows that were used to choose it, and so partly luck. A
# search is useful if rates or widths make a difference that is larger than the error of the scores,
# and if there are enough rows or splits to measure it.
found = study.best_params
settings = {
    "found": {
        "layer_rates": (N_BITS - found["bits of z_2"], found["bits of z_2"]),
        "hidden_layer_sizes": found["width"],
        "lr": found["learning rate"],
    },
    "defaults": {"layer_rates": (N_BITS / 2, N_BITS / 2)},
}
for name, params in settings.items():
    scores = []
    for seed in range(3):
        hvae = HierarchicalVAETransformer(
            n_components=6, max_epochs=MAX_EPOCHS, random_state=seed, **params
        )
        pipeline = make_pipeline(hvae, KNeighborsClassifier())
        scores.append(pipeline.fit(X_train, y_train).score(X_test, y_test))
    mean = np.mean(scores)
    error = np.sqrt(mean * (1 - mean) / len(y_test))
    print(f"{name:8} {mean:.3f}, standard error {error:.3f}, seeds {np.round(scores, 3)}")
plt.show()
