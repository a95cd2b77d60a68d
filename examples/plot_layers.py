"""
What each layer knows
=====================

A hierarchical VAE generates from the top down: z_2 settles what the layers below may add. We
keep what z_2 knows of some digits and draw z_1 anew, move single units of z_2, draw whole new
digits, and look at the same for the columns of a table. First a look at the training.
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
# How the rates get where they should be
# --------------------------------------
# Targets start higher, and come down over the first 30% of the training; the controller moves the
# betas so that the rates follow, and holds them at the end.
hvae = HierarchicalVAETransformer((16, 10), random_state=0).fit(X_train)
RateHistoryDisplay.from_estimator(hvae).plot()

# %%
# What remains when z_1 is forgotten
# ----------------------------------
# The second row decodes z_1, which has all the bits. Below it only the 10 bits of z_2 are kept,
# and z_1 is drawn from its prior given z_2, twice: which digit it is mostly stays, its strokes
# do not.
ReconstructionDisplay.from_estimator(hvae, X_test, image_shape=(8, 8)).plot()

# %%
# How much of the digit's name is in each layer, in bits? Out of log2(10) = 3.3, between an
# estimate that is biased downwards and one that is biased upwards.
about_y = mutual_information(hvae, X_test, y_test, random_state=0)
for layer in (1, 2):
    low, high = about_y.lower[layer - 1], about_y.upper[layer - 1]
    print(f"a sample of z_{layer} tells {low:.2f} to {high:.2f} bits about the digit")

# %%
# Single units
# ------------
# The units of z_2 that vary most, each moved by two standard deviations to either side of the
# mean; z_1 takes its prior mean.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
TraversalDisplay.from_estimator(hvae, X_train, layer=2, image_shape=(8, 8)).plot(ax=left)
left.set_title("units of z_2, moved")
SampleDisplay.from_estimator(hvae, n_samples=40, image_shape=(8, 8)).plot(ax=right)
right.set_title("new digits")

# %%
# Of a table
# ----------
# Without an image shape, the display says how much of each column's variance is explained.
# Here one bit of z_2 is about what the columns have most in common; z_1 adds the rest.
wine = load_wine(as_frame=True).data
hvae = HierarchicalVAETransformer((8, 1), random_state=0).fit(wine)
display = ReconstructionDisplay.from_estimator(hvae, wine).plot()
display.figure_.set_size_inches(8, 4.5)
plt.show()
