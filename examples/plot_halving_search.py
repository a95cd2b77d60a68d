"""
Halving a grid by epochs
========================

GridSearchCV trains every candidate to the end, also those that are worse from the start.
scikit-learn's HalvingGridSearchCV first trains all of them for a few epochs. Then it trains the
better third for three times as many epochs, and so on, until few candidates are left. We count how
much training this needs, compare it with the full grid and with `RateSearchCV`, and see whether
they choose the same candidate.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, RateSearchCV, rate_grid
from sk_hvae.exceptions import RateTargetWarning

warnings.simplefilter("ignore", RateTargetWarning)  # a few epochs are too few for the targets

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=900, stratify=y, random_state=0
)

# %%
# Ten candidates
# --------------
# z_1 has two bits, z_2 has between 0.5 and 8 bits, and the networks have one of two widths. A
# classifier reads z_2. A callback counts the rows that are trained on. It counts in an attribute of
# its class, because searches copy their callbacks.


class Count(Callback):
    """Count rows, once for each time that they are trained on."""

    n_rows = 0

    def on_batch_end(self, net, batch, training, **kwargs):
        Count.n_rows += len(batch) * training


hvae = HierarchicalVAETransformer(
    n_components=8,
    output_layers="top",
    batch_size=512,
    max_epochs=36,
    callbacks=[Count()],
    random_state=0,
)
pipeline = Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])
bits, widths = [0.5, 1, 2, 4, 8], [16, 64]
grid = {"hvae__layer_rates": rate_grid(2, bits), "hvae__hidden_layer_sizes": widths}

# %%
# Three searches
# --------------
# The resource of the halving is ``max_epochs`` of a step of the pipeline. Its default "auto" is not
# a number, so we state the smallest and the largest number of epochs. A fit of few epochs is a
# complete fit: targets, betas and learning rate go through the same schedule, only faster.
searches = {
    "GridSearchCV": GridSearchCV(pipeline, grid, cv=2),
    "HalvingGridSearchCV": HalvingGridSearchCV(
        pipeline,
        grid,
        resource="hvae__max_epochs",
        min_resources=4,
        max_resources=36,
        factor=3,
        cv=2,
        random_state=0,
    ),
    "RateSearchCV": RateSearchCV(pipeline, grid, cv=2),
}
passes, seconds = {}, {}
for name, search in searches.items():
    Count.n_rows, start = 0, time.perf_counter()
    search.fit(X_train, y_train)
    passes[name], seconds[name] = Count.n_rows / len(X_train), time.perf_counter() - start

# %%
# All three searches choose eight bits for z_2. Which width they choose is chance, because the
# scores of the two widths differ by less than their errors. The test rows were not used for the
# choice.
for name, search in searches.items():
    chosen = {key.removeprefix("hvae__"): value for key, value in search.best_params_.items()}
    print(name, chosen)
    accuracy = search.score(X_test, y_test)
    error = np.sqrt(accuracy * (1 - accuracy) / len(y_test))
    print(f"  accuracy on test rows {accuracy:.3f}, standard error {error:.3f}")

# %%
# When to halve
# -------------
# In the left picture, halving keeps the better third each time. A cross is the last score of a
# candidate that halving dropped, and a ring is the score of the same candidate in the full grid.
# Training starts at PCA, so that the rates can be compared after only four epochs. Differences that
# appear later in training, such as those between widths or learning rates, may need more
# ``min_resources``.
#
# The pictures on the right show that halving makes half as many passes over the rows as the grid,
# and saves less of the time, because every candidate also has to start and to be scored.
# `RateSearchCV` fits these candidates one by one, as the grid does, because a multi-rate model
# costs more than five fits that are so short. For fifty rates it would train one such model for
# each width and split, while the other searches would take ten times as long. So use `RateSearchCV`
# for many rates, and halving for few rates and many other parameters.
figure = plt.figure(figsize=(10, 4.2), layout="constrained")
panels = figure.subplot_mosaic([["scores", "passes"], ["scores", "seconds"]], width_ratios=[1.5, 1])
left = panels["scores"]
full, halving = (searches[n].cv_results_ for n in ("GridSearchCV", "HalvingGridSearchCV"))
colours = dict(zip(bits, plt.cm.viridis(np.linspace(0, 0.95, len(bits))), strict=True))
for params, score in zip(full["params"], full["mean_test_score"], strict=True):
    rungs = [
        (tried["hvae__max_epochs"], mean)
        for tried, mean in zip(halving["params"], halving["mean_test_score"], strict=True)
        if params.items() <= tried.items()
    ]
    colour = colours[params["hvae__layer_rates"][1]]
    left.plot(*zip(*rungs, strict=True), color=colour)
    left.plot(*rungs[-1], "o" if rungs[-1][0] == 36 else "x", color=colour, markersize=8)
    left.plot(*zip(rungs[-1], (80, score), strict=True), color=colour, linestyle=":", linewidth=1)
    left.plot(80, score, "o", color=colour, markerfacecolor="none", markersize=8)
for top, colour in colours.items():
    left.plot([], [], color=colour, label=f"{top:g}")
figure.legend(title="bits of z_2", ncols=5, loc="outside lower left")
left.set_xscale("log")
left.set_xticks([4, 12, 36, 80], ["4", "12", "36", "36,\nfull grid"])
left.minorticks_off()
left.set(xlabel="epochs of a fit", ylabel="cross-validated accuracy")
left.set_title("Halving keeps the better third")
for measure, values, title in [
    ("passes", passes, "Passes over the training rows"),
    ("seconds", seconds, "Seconds"),
]:
    bars = panels[measure].barh([*values], [*values.values()], color="0.75")
    panels[measure].bar_label(bars, fmt="%.3g", padding=3)
    panels[measure].set(title=title, xlim=(0, 1.15 * max(values.values())))
    panels[measure].invert_yaxis()
plt.show()
