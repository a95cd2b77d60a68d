"""
The rate plane in one fit
=========================

How many bits, and in which layer? One multi-rate model of digits answers for every pair of
rates at once. We draw what the rates do to reconstructions and to a classifier, then let
`RateSearchCV` choose the rates, and the layers that the classifier sees, by cross-validation:
16 pairs of rates, two choices of layers and three splits for the price of a few fits.
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
# ``at`` gives the model at any rates. They come out as asked for, also on new rows. Fewer
# epochs than the default's keep this page quick.
start = time.perf_counter()
multi = MultiRateHVAETransformer(rate_range=(0.5, 32), max_epochs=200, random_state=0)
multi.fit(X_train)
print(f"one fit: {time.perf_counter() - start:.0f} s")
print("asked for        measured on test rows (bits per sample)")
for rates in [(1, 4), (2, 8), (8, 2), (16, 16)]:
    print(f"{rates!s:16} {multi.at(rates).rates(X_test).mean(axis=0).round(2)}")

# %%
# What the rates are good for
# ---------------------------
# Reconstructions follow the total rate, along the dashed lines. Nearest neighbours in all the
# latents tell the digits apart from about eight bits on, in either layer; more add nothing.
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
# The search has GridSearchCV's interface and results. Its last fit is one for the best rates.
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
