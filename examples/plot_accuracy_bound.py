"""
Bits that a classifier needs
============================

If the rate of the top layer is R bits, samples of it cannot tell a classifier more than R bits
about anything. From this follows the largest accuracy that any classifier of the samples can
reach. We compute how many bits a classifier of ten digits needs, measure the accuracies of
classifiers at many rates of one multi-rate model, compare them with the bound, and let the library
recommend rates.
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
# The bound needs no model. It holds for every classifier of sampled latents.
accuracies = np.array([0.5, 0.8, 0.9, 0.95, 0.99])
bits = information_needed(accuracies, np.bincount(y) / len(y))
for accuracy, least in zip(accuracies, bits, strict=True):
    print(f"an accuracy of {accuracy:.2f} needs at least {least:.2f} bits")

# %%
# What classifiers reach
# ----------------------
# One fit covers all rates. On the left, classifiers read the top layer. On the right, they read
# z_1, which also contains the 2 bits of z_2. The accuracy of classifiers of samples is below the
# bound. Posterior means, which ``transform`` returns, are functions of x. The rate does not limit
# them, and classifiers of means are more accurate. So use ``transform`` if you want accuracy, and
# samples if the number of bits must be limited.
multi = MultiRateHVAETransformer((0.5, 32), layer_rates=(2, 2), max_epochs=200, random_state=0)
multi.fit(X_train)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, layer in zip(axes, (2, 1), strict=True):
    display = AccuracyBoundDisplay.from_estimator(multi, X_test, y_test, layer=layer)
    display.plot(ax=ax)
    ax.set(xlim=(0, 12), title=f"Classifiers of z_{layer}")
figure.suptitle("Accuracies of digits, and what the bits allow")

# %%
# At one point of the rate plane, we print the bound for each layer, and the accuracies of four
# classifiers of samples.
single = multi.at((2, 2))
print("bound for z_1 and z_2:", rate_bounds(single, X_test, y_test).accuracy.round(2))
print(downstream_scores(single, X_test, y_test, sample=True).to_frame().round(2))

# %%
# Which rates, then?
# ------------------
# The map of accuracies is noisy. ``recommend_rates`` smooths it, and chooses the point with the
# fewest bits among those that are as good as the best one up to the noise.
axis = [0.5, 1, 2, 4, 8, 16, 32]
surface = rate_map(
    multi, X_train, y_train, layer_rates=rate_grid(axis, axis), metrics=["accuracy:knn", "psnr"]
)
for task in ("classification", "reconstruction"):
    print(fill(str(recommend_rates(surface, task)), width=90), end="\n\n")
display = recommend_rates(surface, "classification").plot()
display.figure_.suptitle("The fewest bits among those that are as good as the best")
plt.show()
