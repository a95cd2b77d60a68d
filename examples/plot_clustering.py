"""
Clusters as the top layer
=========================

The top layer of a hierarchy can be the number of a cluster. With ten clusters it says at most
log2(10) = 3.3 bits about an image. We cluster handwritten digits without their labels, look at what
is in the clusters and how they are related, and reduce the bits to see which clusters merge. Only
at the end do we compare the clusters with the labels.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from scipy.cluster.hierarchy import dendrogram
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.model_selection import train_test_split

from sk_hvae import HVAEClusterer
from sk_hvae.exceptions import ClusterWarning

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)

# %%
# Ten clusters
# ------------
# ``stability_`` says how well the 50 starts of the clustering agree. It is 1 if all of them find
# the same clusters. We train for few epochs, so that the page runs quickly.
settings = {"likelihood": "bernoulli", "max_epochs": 60, "random_state": 0}
clusterer = HVAEClusterer(n_clusters=10, **settings).fit(X_train)
print("rows per cluster:", clusterer.cluster_sizes_)
print(f"bits that the clusters carry: {clusterer.rates_[-1]:.2f}")
print(f"stability: {clusterer.stability_:.2f}")
print("clusters of the first new rows:", clusterer.predict(X_test[:10]))

# %%
# What is in a cluster
# --------------------
# A centre is the decoded cluster, with z_1 at its mean. For a sample, z_1 is drawn as well. With
# ``mean=True`` we see what the decoder expects of it; without, each pixel would be drawn to be
# black or white. Each cluster has a ``random_state`` of its own, because calls with the same one
# have the same noise.
leaves = dendrogram(clusterer.cluster_tree_, no_plot=True)["leaves"]
centers = clusterer.cluster_centers_[leaves]
middles, names = 10 * np.arange(10) + 5, [f"cluster {c}" for c in leaves]


def show(ax, rows):
    """Show images, (n_rows, n_columns, 64), side by side, each 10 by 10 with its frame."""
    images = np.reshape(rows, (*np.shape(rows)[:2], 8, 8))
    images = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    picture = np.concatenate(np.concatenate(images, axis=1), axis=1)
    ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1, extent=(0, picture.shape[1], len(picture), 0))
    ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


panels = {
    "centre": centers[:, None],
    "training rows": [X_train[clusterer.labels_ == c][:6] for c in leaves],
    "samples": [clusterer.sample(6, cluster=c, mean=True, random_state=c) for c in leaves],
}
figure, axes = plt.subplots(1, 3, figsize=(8, 5.9), width_ratios=(1, 6, 6), layout="constrained")
for ax, (title, rows) in zip(axes, panels.items(), strict=True):
    show(ax, rows)
    ax.set_title(title)
axes[0].set_yticks(middles, names)
figure.get_layout_engine().set(wspace=0.06)
figure.suptitle("What is in the clusters")

# %%
# How the clusters are related
# ----------------------------
# Two clusters are joined at a low height if they are hard to tell apart: random walks of four
# steps, from neighbour to neighbour, that start in them often end in the same clusters. They are
# joined near 1 if such walks hardly ever do.
figure, (ax, leaf_ax) = plt.subplots(
    2, 1, figsize=(8, 4.2), height_ratios=(3.5, 1), sharex=True, layout="constrained"
)
show(leaf_ax, [centers])
leaf_ax.set(aspect="auto", xlabel="cluster")
dendrogram(clusterer.cluster_tree_, ax=ax, no_labels=True, link_color_func=lambda _: "C0")
ax.set(ylabel="height", title="The tree of the clusters")
leaf_ax.set_xticks(middles, leaves)

# %%
# Fewer bits
# ----------
# If the top layer is to carry fewer bits, clusters are merged before the training, along the tree
# that they have at that time, as long as their entropy is large enough for these bits. We then get
# fewer clusters than ``n_clusters``, and a ClusterWarning says how many. Here this is what we want,
# so we catch the warning and print it.
models = {}
for bits in (1, 2, 2.6, 3.3):
    model = HVAEClusterer(n_clusters=10, layer_rates=(32, bits), **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClusterWarning)
        models[bits] = model.fit(X_train)
    for warning in caught:
        print(f"{bits} bits asked for: {str(warning.message).split('. ')[0]}")

# %%
# From left to right, the bits increase and clusters split. The height of a bar is its number of
# rows. With the fewest bits, 0, 4 and 6 have clusters of their own, and one cluster contains all
# other digits, so that its centre is a mixture. Next, 2 and 7 are separated from it, and then 5,
# and 3 and 9 together. Last come digits that are easily mistaken for each other: 3 is separated
# from 9, and 1 from 8.
rank = np.argsort(leaves)[clusterer.labels_]
figure, ax = plt.subplots(figsize=(8, 5.5), layout="constrained")
before = []
for column, model in enumerate(models.values()):
    members = [model.labels_ == c for c in range(len(model.cluster_sizes_))]
    bottom, blocks = 0.0, []
    for c in sorted(range(len(members)), key=lambda c: rank[members[c]].mean()):
        size = model.cluster_sizes_[c]
        ax.bar(column, size, width=0.25, bottom=bottom, color="C0")
        center = model.cluster_centers_[c].reshape(8, 8)
        picture = OffsetImage(center, zoom=2.3, cmap="gray_r", interpolation="nearest")
        ax.add_artist(AnnotationBbox(picture, (column, bottom + size / 2), pad=0.1))
        blocks.append([members[c], bottom])
        bottom += size + 300 / (len(members) - 1)
    ends = [block_bottom for _, block_bottom in blocks]
    for left, start in before:
        for i, (right, _) in enumerate(blocks):
            y0, shared = np.array([start, ends[i]]), (left & right).sum()
            x = [column - 0.875, column - 0.125]
            ax.fill_between(x, y0, y0 + shared, color="C0", alpha=0.25, linewidth=0)
            start, ends[i] = y0 + shared
    before = blocks
labels = [f"target {b}\ncarried {m.rates_[-1]:.2f}" for b, m in models.items()]
ax.set_xticks(range(len(models)), labels)
ax.set(xlabel="bits of the top layer", yticks=[], title="Clusters split as bits are added")
ax.set_ylim(len(X_train) + 300, 0)
ax.tick_params(length=0)
ax.spines[:].set_visible(False)

# %%
# A look at the labels
# --------------------
# Nothing above has used the labels. The adjusted Rand index is 1 if clusters and digits are the
# same. With ``n_clusters="auto"`` the number of clusters is chosen as well. Here it is 12, because
# three clusters are mostly different ways to write a 1.
auto = HVAEClusterer(n_clusters="auto", **settings).fit(X_train)
for name, model in {"10": clusterer, "auto": auto}.items():
    train = adjusted_rand_score(y_train, model.labels_)
    test = adjusted_rand_score(y_test, model.predict(X_test))
    print(f"n_clusters={name}: {len(model.cluster_sizes_)} clusters, ", end="")
    print(f"adjusted Rand index {train:.2f} on training rows, {test:.2f} on new rows")

table = contingency_matrix(clusterer.predict(X_test), y_test)[leaves]
figure, axes = plt.subplots(1, 2, figsize=(6, 5), width_ratios=(1, 10), layout="constrained")
show(axes[0], centers[:, None])
axes[0].set_yticks(middles, names)
axes[1].imshow(table, cmap="Blues")
for (row, digit), count in np.ndenumerate(table):
    color = "white" if count > 25 else "black"
    axes[1].text(digit, row, count or "", ha="center", va="center", color=color)
axes[1].set(xticks=range(10), yticks=[], xlabel="digit", title="New rows by cluster and digit")
plt.show()
