"""
What a latent means
===================

A model of 442 patients with diabetes describes each of them by a few numbers. What do these numbers
mean? We move one of them from low to high, decode, and see which columns change. This is a *latent
traversal*. `TraversalDisplay` draws it, and ranks the columns in words.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.plotting import TraversalDisplay

table = load_diabetes(as_frame=True, scaled=False).data
table["sex"] = table["sex"].astype(int).astype(str)  # text is taken for categories
names = ["cholesterol", "LDL", "HDL", "cholesterol / HDL", "log triglycerides", "glucose"]
table = table.rename(columns=dict(zip(["s1", "s2", "s3", "s4", "s5", "s6"], names, strict=True)))
print(table.head().to_string())

# %%
# In words
# --------
# One layer of 8 bits is enough for the principal ways in which patients differ. The units that vary
# most come first. A strength is the share of the column's range that the unit moves: 1 if the
# column follows the unit exactly.
hvae = HierarchicalVAETransformer(8, random_state=0).fit(table)
display = TraversalDisplay.from_estimator(hvae, table, n_units=3)
print(display.describe(4))

# %%
# As a picture
# ------------
# Lines go from blue, where the unit is low, to red, where it is high. Numbers change by standard
# deviations of their column; categories change their probability.
display.plot().figure_.suptitle("What three units change, from low (blue) to high (red)")

# %%
# From one patient
# ----------------
# Above, units move from the mean of all latents. They can also start at a patient: what would be
# different in the first one, if the unit were?
print(table.iloc[0].to_string())
print(TraversalDisplay.from_estimator(hvae, table, row=0, n_units=2).describe(3))

# %%
# As numbers
# ----------
# ``changes`` lists the same for all columns, for tables and pictures of your own. Here is the
# strength of each of three units in each column; of the two sexes, only one needs a column.
changes = [change for change in display.changes() if change.category != "2"]
columns = table.columns.tolist()
strengths = np.zeros((len(display.units), len(columns)))
for change in changes:
    strengths[display.units.index(change.unit), columns.index(change.column)] = change.strength
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
colours = ax.imshow(strengths, vmin=0, vmax=1, cmap="Blues", aspect="auto")
ax.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
ax.set_yticks(range(len(display.units)), display.units)
figure.colorbar(colours, label="strength")
ax.set_title("How strongly each unit moves each column")
plt.show()
