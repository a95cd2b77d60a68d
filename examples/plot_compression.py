"""
Rows in few bits
================

``compress`` writes rows to a file that is as long as the model says, and ``decompress`` gives back
exactly what there was, or a picture of it in very few bits. We compress handwritten digits that the
model has not seen, compare the file with those of general compressors, look at the digits that take
the fewest and the most bits, and see what 10, 40 and 100 bits show of a digit.
"""

import bz2
import io
import lzma
import zlib

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
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
bars = ax.barh([*lengths], [*lengths.values()], color=["C0"] * 2 + ["0.6"] * 3)
ax.bar_label(bars, fmt="%.0f", padding=3)
ax.invert_yaxis()
ax.set(xlabel="bits a digit", xlim=(0, 1.1 * max(lengths.values())))
ax.set_title("Length of a file of digits, and what the model expects")
plt.show()

# %%
# Which digits take how many bits
# -------------------------------
# ``code_length`` tells it without a file. Digits of a common shape are short, odd ones are long.
bits = hvae.code_length(X_test)
order = bits.argsort()
figure, axes = plt.subplots(2, 8, figsize=(8, 3), layout="constrained")
figure.suptitle("Digits that take the fewest bits, and the most")
for ax, row in zip(axes.flat, [*order[:8], *order[-8:]], strict=True):
    ax.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{bits[row]:.0f} bits", fontsize=9)
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# Ten bits for a picture
# ----------------------
# With ``mode="lossy"`` a file takes as many bits a row as the rates of the model state, and the
# rows come back as the decoder sees them. We compare models of 10, 40 and 100 bits with principal
# components that are rounded so far that they take as many, and with JPEG. JPEG gets all test
# digits in one sheet, so that its header hardly counts, and its worst quality.


def pca_with_loss(bits):
    """Return test digits from rounded principal components that take about so many bits each."""
    pca = PCA().fit(X_train)
    for step in np.geomspace(30, 0.5, 100):
        known, new = (np.rint(pca.transform(rows) / step) for rows in (X_train, X_test))
        # A table of frequencies for each component, by which its numbers are coded.
        tables = [np.unique(column, return_counts=True) for column in known.T]
        cost = sum(
            -np.log2(np.interp(column, values, counts, 1, 1) / len(known)).mean()
            for column, (values, counts) in zip(new.T, tables, strict=True)
        )
        if cost > bits:
            break
    return pca.inverse_transform(new * step)


def jpeg():
    """Return test digits from one sheet of JPEG, and its bits for each."""
    sheet, file = np.hstack(X_test.reshape(-1, 8, 8)) * 15, io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=1, optimize=True)
    parts = np.hsplit(np.asarray(Image.open(file)) / 15, len(X_test))
    return np.reshape(parts, X_test.shape), 8 * len(file.getvalue()) / len(X_test)


shown = {"original": X_test}
for rates in ((2, 8), (8, 32), (20, 80)):
    model = HierarchicalVAETransformer(rates, n_components=64, random_state=0).fit(X_train)
    data = model.compress(X_test, mode="lossy")
    shown[f"{8 * len(data) / len(X_test):.0f} bits"] = model.decompress(data)
    shown[f"PCA, {sum(rates)} bits"] = pca_with_loss(sum(rates))
by_jpeg, jpeg_bits = jpeg()
shown[f"JPEG, {jpeg_bits:.0f} bits"] = by_jpeg

figure, axes = plt.subplots(len(shown), 10, figsize=(8, 7), layout="constrained")
figure.suptitle("What 10, 40 and 100 bits show of a digit, and what PCA and JPEG make of them")
for row, (name, digits) in zip(axes, shown.items(), strict=True):
    error = np.square(digits - X_test.astype(float)).mean()
    row[0].set_ylabel(f"{name}\nerror {error:.1f}", rotation=0, ha="right", va="center", fontsize=9)
    for ax, digit in zip(row, digits, strict=False):
        ax.imshow(digit.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
plt.show()
