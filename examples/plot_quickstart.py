"""
Ask for bits, get bits
======================

We ask a hierarchical VAE with two layers of latents for 8 bits about a digit in the top layer z_2,
and for 2 more bits in z_1. We measure how many bits the layers really carry, also for digits that
the model has not seen, classify the digits by their latents, and look at what each layer says
about a digit.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from sk_hvae import HierarchicalVAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

targets = (2, 8)
pipeline = Pipeline(
    [
        ("hvae", HierarchicalVAETransformer(layer_rates=targets, random_state=0)),
        ("clf", LogisticRegression(max_iter=1000)),
    ]
).fit(X_train, y_train)

# %%
# What the layers carry
# ---------------------
hvae = pipeline["hvae"]
test_rates = hvae.rates(X_test).mean(axis=0)
print("layer  target  training rows  test rows   (bits per sample)")
for layer, target in enumerate(targets, start=1):
    print(
        f"z_{layer}    {target:6.2f}  {hvae.rates_[layer - 1]:13.2f}  {test_rates[layer - 1]:9.2f}"
    )
print(f"accuracy of the pipeline on test rows: {pipeline.score(X_test, y_test):.3f}")

# %%
# What each layer says
# --------------------
# ``reconstruct`` decodes z_1, which contains all 10 bits: 8 that it takes over from z_2, and 2 of
# its own. With ``output_layers="top"``, ``transform`` returns z_2 alone, and decoding it shows what
# z_2 says. All of these are posterior means. The bits limit only samples, ``latents(X,
# sample=True)``.
images = X_test[[np.flatnonzero(y_test == digit)[0] for digit in range(10)]]
from_z1 = hvae.reconstruct(images)
hvae.set_params(output_layers="top")
from_z2 = hvae.inverse_transform(hvae.transform(images))

# %%
# What bits buy
# -------------
# The 2 bits that z_1 adds to the 8 of z_2 change little. To ask for fewer bits or for more changes
# a lot: two are not enough to tell ten digits apart, and 40 show how a digit was written.
few = HierarchicalVAETransformer(layer_rates=(1, 1), random_state=0).fit(X_train)
many = HierarchicalVAETransformer(layer_rates=(32, 8), random_state=0).fit(X_train)
lines = {
    "digit": images,
    "2 bits": few.reconstruct(images),
    "8 bits (z_2)": from_z2,
    "10 bits": from_z1,
    "40 bits": many.reconstruct(images),
}
figure, axes = plt.subplots(5, 10, figsize=(6.4, 3.4), layout="constrained")
for line, (label, pictures) in zip(axes, lines.items(), strict=True):
    for ax, picture in zip(line, pictures, strict=True):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    line[0].set_ylabel(label, rotation=0, ha="right", va="center")
figure.suptitle("New digits, by the bits that are kept of them")
plt.show()
