"""
What each layer knows
=====================

A hierarchical VAE generates data from the top down: z_2 determines the main features, and z_1 adds
details. We keep z_2 of some digits and draw new values of z_1, change single units of z_2, draw new
digits, and do the same for the columns of a table. First we look at the training.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.metrics import mutual_information
from sk_hvae.plotting import (
    RateHistoryDisplay,
    ReconstructionDisplay,
    SampleDisplay,
    TraversalDisplay,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# How the rates reach their targets
# ---------------------------------
# The targets start higher, and come down during the first 30% of the training. The controller
# changes the betas so that the rates follow the targets. From 95% of the training on, it keeps the
# betas at their recent means, which is the small step at the end.
hvae = HierarchicalVAETransformer((16, 10), random_state=0).fit(X_train)
display = RateHistoryDisplay.from_estimator(hvae).plot()
display.figure_.suptitle("Rates follow their targets, and betas hold them there")

# %%
# What z_2 contains without z_1
# -----------------------------
# The second row of the picture decodes z_1, which contains all bits. The rows below it keep only
# the 10 bits of z_2, and draw z_1 twice from its prior given z_2. Mostly the digit stays the same,
# but the strokes change.
display = ReconstructionDisplay.from_estimator(hvae, X_test, image_shape=(8, 8)).plot()
display.ax_.set_title("New digits, decoded from all bits, and from z_2 with z_1 drawn anew")

# %%
# How many bits does each layer tell about which digit it is? At most they are log2(10) = 3.3 bits.
# The first estimate is too low on average, and the second one too high.
about_y = mutual_information(hvae, X_test, y_test, random_state=0)
for layer in (1, 2):
    low, high = about_y.lower[layer - 1], about_y.upper[layer - 1]
    print(f"a sample of z_{layer} tells {low:.2f} to {high:.2f} bits about the digit")

# %%
# Single units
# ------------
# On the left, we change the units of z_2 that vary most, one at a time, from two standard
# deviations below the mean to two above it. z_1 takes its prior mean. Ten bits are enough for only
# a few such units; the others change little. On the right are new digits. Most can be read, and
# some are between two digits, because the priors are Gaussian and leave no gaps.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.6), layout="constrained")
units = {"layer": 2, "n_units": 3, "image_shape": (8, 8)}
TraversalDisplay.from_estimator(hvae, X_train, **units).plot(ax=left)
left.set_title("units of z_2, changed one at a time")
SampleDisplay.from_estimator(hvae, X_train, n_samples=30, image_shape=(8, 8)).plot(ax=right)
right.set_title("new digits")

# %%
# A table
# -------
# Without an image shape, the display shows how much of the variance of each column is explained.
# Here the one bit of z_2 describes what the columns have most in common, and z_1 adds the rest.
wine = load_wine(as_frame=True).data
hvae = HierarchicalVAETransformer((8, 1), random_state=0).fit(wine)
display = ReconstructionDisplay.from_estimator(hvae, wine).plot()
display.figure_.set_size_inches(8, 5)
display.figure_.suptitle("Wines: what z_2 explains of each column, and z_1 with it")
plt.show()
