"""
Ask for bits, get bits
======================

A hierarchical VAE with two layers of latents is asked to say 8 bits about a digit in its top
layer z_2 and 2 bits more in z_1. We check what the layers really carry, on digits that the
model has not seen, classify with the latents, and look at what each layer knows.
"""

from pathlib import Path

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
# What each layer knows
# ---------------------
# The second row decodes what z_2 says, 8 bits; the third adds the 2 bits of z_1.
# ``inverse_transform`` of a lower set of columns than all takes the layer it is given and
# fills the layers below with their prior means.
rows = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(10)])
top = hvae.latents(X_test[rows])[1]
hvae.set_params(output_layers="top")
pictures = [X_test[rows], hvae.inverse_transform(top), hvae.reconstruct(X_test[rows])]
labels = ["digit", "from z_2", "from z_1"]

figure, axes = plt.subplots(3, 10, figsize=(8, 2.7), layout="constrained")
for line, label, images in zip(axes, labels, pictures, strict=True):
    for ax, image in zip(line, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(label)
figure.suptitle("What 8 bits say of a digit, and what 2 more bits add")
if plt.get_backend().lower() == "agg":
    Path("quickstart.png").unlink(missing_ok=True)
plt.show()
