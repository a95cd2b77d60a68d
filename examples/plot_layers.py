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
# changes the betas so that the rates follow the targets, and keeps the betas constant at the end.
hvae = HierarchicalVAETransformer((16, 10), random_state=0).fit(X_train)
RateHistoryDisplay.from_estimator(hvae).plot()

# %%
# What z_2 contains without z_1
# -----------------------------
# The second row of the picture decodes z_1, which contains all bits. The rows below it keep only
# the 10 bits of z_2, and draw z_1 twice from its prior given z_2. Mostly the digit stays the same,
# but the strokes change.
ReconstructionDisplay.from_estimator(hvae, X_test, image_shape=(8, 8)).plot()

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
# deviations below the mean to two above it. z_1 takes its prior mean. On the right are new digits.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
TraversalDisplay.from_estimator(hvae, X_train, layer=2, image_shape=(8, 8)).plot(ax=left)
left.set_title("units of z_2, changed one at a time")
SampleDisplay.from_estimator(hvae, n_samples=40, image_shape=(8, 8)).plot(ax=right)
right.set_title("new digits")

# %%
# A table
# -------
# Without an image shape, the display shows how much of the variance of each column is explained.
# Here the one bit of z_2 describes what the columns have most in common, and z_1 adds the rest.
wine = load_wine(as_frame=True).data
hvae = HierarchicalVAETransformer((8, 1), random_state=0).fit(wine)
display = ReconstructionDisplay.from_estimator(hvae, wine).plot()
display.figure_.set_size_inches(8, 4.5)
plt.show()
