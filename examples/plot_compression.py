"""
Rows in few bits
================

``compress`` writes rows to a file that is as long as the model says, and ``decompress`` gives back
exactly what there was. We compress handwritten digits that the model has not seen, compare the file
with those of general compressors, and look at the digits that take the fewest and the most bits.
"""

import bz2
import lzma
import zlib

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import DiscretizedLogistic

X = load_digits().data.astype(np.uint8)
X_train, X_test = train_test_split(X, random_state=0)

# %%
# A file as long as the lower bound
# ---------------------------------
# Pixels have 17 levels. The likelihood gives each of them a probability, and a row costs its
# distortion and its rates. The file is hardly longer.
hvae = HierarchicalVAETransformer(
    (4, 12), likelihood=DiscretizedLogistic(17), max_epochs=60, random_state=0
).fit(X_train)
data = hvae.compress(X_test)
print("all pixels are the same:", (hvae.decompress(data) == X_test).all())

expected = (hvae.distortion(X_test) + hvae.rates(X_test).sum(axis=1)).mean()
lengths = {
    "D + rates": expected,
    "compress": 8 * len(data) / len(X_test),
    **{
        pack.__name__: 8 * len(pack.compress(X_test.tobytes())) / len(X_test)
        for pack in (lzma, bz2, zlib)
    },
}
_, ax = plt.subplots(figsize=(6, 2.5), layout="constrained")
bars = ax.barh([*lengths], [*lengths.values()], color=["tab:blue"] * 2 + ["tab:gray"] * 3)
ax.bar_label(bars, fmt="%.0f", padding=3)
ax.invert_yaxis()
ax.set(xlabel="bits a digit", xlim=(0, 1.1 * max(lengths.values())))
plt.show()

# %%
# Which digits take how many bits
# -------------------------------
# ``code_length`` tells it without a file. Digits of a common shape are short, odd ones are long.
bits = hvae.code_length(X_test)
order = bits.argsort()
_, axes = plt.subplots(2, 8, figsize=(8, 2.6), layout="constrained")
for ax, row in zip(axes.flat, [*order[:8], *order[-8:]], strict=True):
    ax.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{bits[row]:.0f} bits", fontsize=9)
    ax.axis("off")
plt.show()
