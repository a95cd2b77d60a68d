"""
The rate plane in one fit
=========================

How many bits do we need, and in which layer? One multi-rate model of digits answers this for all
pairs of rates. We draw how the rates affect reconstructions and a classifier. Then `RateSearchCV`
chooses the rates, and the layers that the classifier reads, by cross-validation. With 16 pairs of
rates, two choices of layers and three splits, it needs the time of only a few fits.
"""

import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from sk_hvae import (
    HierarchicalVAETransformer,
    MultiRateHVAETransformer,
    RateSearchCV,
    rate_grid,
    rate_map,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# One fit, all rates
# ------------------
# ``at`` returns the model at any rates. The measured rates are close to these, also on new rows. We
# train for fewer epochs than the default, so that the page runs quickly.
start = time.perf_counter()
multi = MultiRateHVAETransformer(rate_range=(0.5, 32), max_epochs=200, random_state=0)
multi.fit(X_train)
print(f"one fit: {time.perf_counter() - start:.0f} s")
print("asked for        measured on test rows (bits per sample)")
for rates in [(1, 4), (2, 8), (8, 2), (16, 16)]:
    print(f"{rates!s:16} {multi.at(rates).rates(X_test).mean(axis=0).round(2)}")

# %%
# How the rates affect two tasks
# ------------------------------
# Reconstructions depend on the total rate, which is constant along the dashed lines. A classifier
# by nearest neighbours in all latents is best from about eight bits on, in either layer. More bits
# do not improve it.
axis = [0.5, 1, 2, 4, 8, 16, 32]
surface = rate_map(
    multi,
    X_train,
    y_train,
    layer_rates=rate_grid(axis, axis),
    metrics=["psnr", "accuracy:knn"],
)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, metric in zip(axes, surface.metrics, strict=True):
    surface.plot(metric, ax=ax)
figure.suptitle("Digits over the rate plane, from one fit")

# %%
# Choose the rates
# ----------------
# The search has the interface and the results of GridSearchCV. At the end it fits a model of its
# own for the best rates.
pipeline = Pipeline(
    [
        ("hvae", HierarchicalVAETransformer(random_state=0)),
        ("clf", LogisticRegression(max_iter=1000)),
    ]
)
grid = {
    "hvae__layer_rates": rate_grid([1, 4, 8, 16], [1, 4, 8, 16]),
    "hvae__output_layers": ["all", "top"],
}
start = time.perf_counter()
search = RateSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
print(f"{len(search.cv_results_['params'])} candidates: {time.perf_counter() - start:.0f} s")
print("best:", search.best_params_)
print(f"accuracy in cross-validation {search.best_score_:.3f}")
print(f"accuracy on test rows {search.score(X_test, y_test):.3f}")
plt.show()
