"""
One parameter at a time
=======================

This is how the pictures of :doc:`/user_guide/parameters` are made. That page says what they show.
Handwritten digits are fitted again and again, each time with another value of one parameter. What
we look at stays the same: four digits that the model has not seen, decoded from all latents and
from z_2 alone, and four that it drew.
"""

import warnings
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.exceptions import RateTargetWarning
from sk_hvae.nn import Gaussian

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
shown = [np.flatnonzero(y_test == digit)[0] for digit in (2, 4, 5, 8)]

# 30 passes take about a second; what is not changed has its default.
common = {"layer_rates": (8, 8), "max_epochs": 30, "random_state": 0}


@cache
def look_at(**changes):
    """Fit a model; returns its rates, its figures on new rows, and strips of images by name."""
    unit = 16 if changes.get("likelihood") == "bernoulli" else 1  # what stands for 1
    train, new = X_train / unit, X_test / unit
    with warnings.catch_warnings():  # the rates are written beside the pictures
        warnings.simplefilter("ignore", RateTargetWarning)
        hvae = HierarchicalVAETransformer(**(common | changes)).fit(train)
    everything, top = hvae.reconstruct(new), hvae.reconstruct(new, layer=2)
    left_over = [np.square(new - decoded).sum() for decoded in (everything, top)]
    explained = 1 - np.array(left_over) / np.square(new - new.mean(axis=0)).sum()
    neighbours = KNeighborsClassifier(5).fit(hvae.transform(train), y_train)
    strips = {
        "from all latents": everything[shown],
        "from z_2 alone": top[shown],
        "drawn, as means": hvae.sample(4, mean=True, random_state=1),
        "drawn": hvae.sample(4, random_state=1),
    }
    strips = {name: strip_of(unit * images) for name, images in strips.items()}
    return hvae.rates_, (*explained, neighbours.score(hvae.transform(new), y_test)), strips


def strip_of(images):
    """Put images, (n, 64), side by side, each with a margin."""
    return np.hstack(np.pad(images.reshape(-1, 8, 8), [(0, 0), (1, 1), (1, 1)]))


def compare(parameter, settings, strips=("from all latents", "from z_2 alone", "drawn, as means")):
    """Draw a line of digits and figures for each setting: a name, and what it changes."""
    found = {name: look_at(**changes) for name, changes in settings.items()}
    n = len(found)
    figure, axes = plt.subplots(
        *(1, len(strips) + 1),
        figsize=(8, 0.66 * n + 1.7),
        width_ratios=[4] * len(strips) + [4.5],
        sharey=True,
        layout="constrained",
    )
    digits = strip_of(X_test[shown])
    for ax, strip in zip(axes, strips, strict=False):
        first = np.zeros_like(digits) if strip.startswith("drawn") else digits
        picture = np.vstack([first, *(images[strip] for _, _, images in found.values())])
        ax.imshow(picture, cmap="gray_r", vmin=0, vmax=16, extent=(0, 4, n, -1), aspect="auto")
        ax.set(xticks=[], title=strip)
    rates = [f"{name}\n{r[0]:.1f} + {r[1]:.1f} bits" for name, (r, _, _) in found.items()]
    axes[0].set_yticks(np.arange(-0.5, n), ["digits", *rates])
    figures = np.array([figures for _, figures, _ in found.values()])
    marks = {
        "variance explained": ("o", "C0", 9),
        "by z_2 alone": ("s", "C1", 5),
        "5 neighbours know the digit": ("d", "black", 7),
    }
    for (label, (shape, colour, size)), values in zip(marks.items(), figures.T, strict=True):
        axes[-1].plot(values, np.arange(n) + 0.5, shape, color=colour, ms=size, label=label)
    axes[-1].set(xlim=(0, 1.04), xticks=np.linspace(0, 1, 6), title="of new rows")
    axes[-1].grid(alpha=0.4)
    for ax in axes:
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, handletextpad=0.1)
    figure.suptitle(parameter, fontfamily="monospace")


# %%
# Bits in total
# -------------
totals = (0.5, 2, 8, 32)
rates = {f"({b}, {b})": {} if b == 8 else {"layer_rates": (b, b)} for b in totals}
compare("layer_rates", rates)

# %%
# Bits of each layer
# ------------------
splits = [(15, 1), (12, 4), (8, 8), (4, 12), (1, 15)]
compare("layer_rates", {f"{s}": {} if s == (8, 8) else {"layer_rates": s} for s in splits})

# %%
# Units
# -----
units = (1, 2, 4, 16, 64)
compare("n_components", {f"{n}": {} if n == 16 else {"n_components": n} for n in units})

# %%
# Likelihoods
# -----------
likelihoods = {
    '"gaussian"': {},
    'sigma="per_feature"': {"likelihood": Gaussian(sigma="per_feature")},
    'scaling="quantile"': {"likelihood": Gaussian(scaling="quantile")},
    '"bernoulli", X / 16': {"likelihood": "bernoulli"},
    '"poisson"': {"likelihood": "poisson"},
}
compare("likelihood", likelihoods, ("from all latents", "drawn, as means", "drawn"))

# %%
# Passes over the data
# --------------------
passes = (1, 10, 30, 100)
compare("max_epochs", {f"{n}": {} if n == 30 else {"max_epochs": n} for n in passes})

# %%
# Rows in a step
# --------------
compare("batch_size", {f"{n}": {} if n == 256 else {"batch_size": n} for n in (64, 256, 1024)})

# %%
# Widths of the networks
# ----------------------
widths = [(8,), (64,), (256, 256), (512, 512)]
compare(
    "hidden_layer_sizes",
    {f"{w}": {} if w == (256, 256) else {"hidden_layer_sizes": w} for w in widths},
)
plt.show()
