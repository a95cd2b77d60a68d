"""
Bits that a classifier needs
============================

A layer of R bits cannot tell a classifier more than R bits about anything: Fano's inequality
turns the rate into the largest accuracy that any classifier of sampled latents can reach. We ask
how many bits ten digits take, measure classifiers at many rates of one multi-rate model, see how
close they come, and have rates recommended.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_hvae import MultiRateHVAETransformer, rate_grid, rate_map, recommend_rates
from sk_hvae.metrics import downstream_scores, information_needed, rate_bounds
from sk_hvae.plotting import AccuracyBoundDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Before any training
# -------------------
# No classifier of a sampled layer is right more often than its bits allow, whatever the model.
accuracies = np.array([0.5, 0.8, 0.9, 0.95, 0.99])
bits = information_needed(accuracies, np.bincount(y) / len(y))
for accuracy, least in zip(accuracies, bits, strict=True):
    print(f"an accuracy of {accuracy:.2f} takes at least {least:.2f} bits")

# %%
# What classifiers reach
# ----------------------
# One fit covers all rates. On the left the top layer by itself, on the right z_1, which hears
# the 2 bits of z_2 too. A classifier of samples stays under the bound. Posterior means, which
# ``transform`` returns, are functions of x: the rate does not bind them, and they do better. So
# transform for accuracy, and sample where the number of bits must hold.
multi = MultiRateHVAETransformer((0.5, 32), layer_rates=(2, 2), max_epochs=200, random_state=0)
multi.fit(X_train)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, layer in zip(axes, (2, 1), strict=True):
    display = AccuracyBoundDisplay.from_estimator(multi, X_test, y_test, layer=layer)
    display.plot(ax=ax)
    ax.set_xlim(0, 12)

# %%
# Layer by layer at one point of the plane: what its rates allow, and what four classifiers make
# of samples.
single = multi.at((2, 2))
print("bound for z_1 and z_2:", rate_bounds(single, X_test, y_test).accuracy.round(2))
print(downstream_scores(single, X_test, y_test, sample=True).to_frame().round(2))

# %%
# Which rates, then?
# ------------------
# The map of accuracies is noisy; ``recommend_rates`` smooths it, and takes the fewest bits that
# are as good as the best, as far as these rows can tell.
axis = [0.5, 1, 2, 4, 8, 16, 32]
surface = rate_map(
    multi, X_train, y_train, layer_rates=rate_grid(axis, axis), metrics=["accuracy:knn", "psnr"]
)
for task in ("classification", "reconstruction"):
    print(fill(str(recommend_rates(surface, task)), width=90), end="\n\n")
display = recommend_rates(surface, "classification").plot()
display.ax_.set_title("rings: as good as the best; star: with the fewest bits")
plt.show()
