"""
Images, from loading to samples
===============================

With an ``image_shape``, the networks are convolutional. We take small grey images, then a photo in
colour: how they become rows, which network and which rates they get, what each layer knows of them,
new images, and images that the model draws.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_sample_image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.plotting import ReconstructionDisplay, SampleDisplay, TraversalDisplay

# %%
# Loading
# -------
# X has a row for each image, with all of its pixels: (channels, height, width), flattened. Grey
# images have one channel. Do not scale the pixels, because the model divides all of them by one
# number itself. We keep a quarter of the images, which the model does not see in training.
#
# These images come as an array. Files of one size become one by
# ``np.stack([plt.imread(path) for path in paths])``.
digits = load_digits()
print(digits.images.shape, digits.images.min(), "to", digits.images.max())
X = digits.images.reshape(len(digits.images), -1)
X_train, X_test, y_train, y_test = train_test_split(
    X, digits.target, stratify=digits.target, random_state=0
)

# %%
# Network and rates
# -----------------
# ``image_shape`` chooses ``network="conv"``: each step of it halves height and width, down to maps
# of about 4 by 4, and perceptrons of ``hidden_layer_sizes`` go from there to the latents. We ask
# for 12 bits in z_2 and for 8 more in z_1. How many are good depends on what the latents are for:
# :doc:`/user_guide/choosing_rates`. The likelihood of arrays is ``"gaussian"``. If each of the 256
# values of a pixel is to have a probability, take ``"discretized_logistic"``.
hvae = HierarchicalVAETransformer((8, 12), image_shape=(1, 8, 8), random_state=0).fit(X_train)
print(f"bits: {hvae.rates_.round(1)}, converged: {hvae.converged_}")

# %%
# Is it worth it? A perceptron at the same rates is the comparison, and the images that neither has
# seen are the judge. On images as small as these, convolutions gain little.
# ``examples/benchmarks/convolution.py`` measures what they gain on images of 28 by 28 pixels.
perceptron = HierarchicalVAETransformer((8, 12), random_state=0).fit(X_train)
for name, model in {"convolutions": hvae, "perceptron": perceptron}.items():
    bits = model.score(X_test) / np.log(2)
    wrong = np.sqrt(np.square(model.reconstruct(X_test) - X_test).mean())
    print(f"{name:13} lower bound {bits:.1f} bits, error of a pixel {wrong:.2f} of 16")

# %%
# What each layer knows
# ---------------------
# From top to bottom: new images, decoded from all 20 bits, and three times from the 12 bits of z_2,
# with z_1 drawn anew. What these three share is what z_2 knows: mostly which digit it is, and its
# shape at large. Strokes come from z_1.
display = ReconstructionDisplay.from_estimator(hvae, X_test, n_draws=3).plot()
display.ax_.set_title("From all bits, and from z_2 with z_1 drawn anew")

# %%
# Does z_2 know the digit? A classifier of real images reads what is decoded from it.
classifier = LogisticRegression(max_iter=1000).fit(X_train / 16, y_train)
redrawn = hvae.reconstruct(X_test, layer=2, resample=True, random_state=0)
for name, images in {"new images": X_test, "decoded from z_2": redrawn}.items():
    print(f"digits read correctly, {name}: {classifier.score(images / 16, y_test):.2f}")

# %%
# Single units
# ------------
# Each line changes one unit of z_2, from low to high, while z_1 takes its prior mean.
display = TraversalDisplay.from_estimator(hvae, X_train, layer=2, n_units=4).plot()
display.ax_.set_title("Units of z_2, changed one at a time")

# %%
# Samples
# -------
# For a sample, z_2 is drawn first, then z_1 given z_2, and the decoder tells what it expects of the
# pixels. Some can be read at once, and others are between two digits.
display = SampleDisplay.from_estimator(hvae, n_samples=40).plot()
display.ax_.set_title("Digits that the model drew from its prior")

# %%
# The prior also has latents that no image has. With ``like``, latents are drawn as the images of
# the training have them.
display = SampleDisplay.from_estimator(hvae, like=X_train, n_samples=40).plot()
display.ax_.set_title("Digits that it drew like those of the training")

# %%
# How good are they? We ask the classifier how sure it is, on average, of what it sees. It is less
# sure of samples than of images. Fewer bits make better samples from the prior, but worse
# reconstructions: the fewer bits tell the images apart, the less is left empty between them.
coarse = HierarchicalVAETransformer((2, 8), image_shape=(1, 8, 8), random_state=0).fit(X_train)
print(f"new images: {classifier.predict_proba(X_test / 16).max(axis=1).mean():.2f} sure")
for model in (hvae, coarse):
    for source, like in {"from the prior": None, "like images": X_train}.items():
        drawn = model.sample(1000, like=like, mean=True, random_state=0)
        sure = classifier.predict_proba(drawn / 16).max(axis=1).mean()
        print(f"samples {source} of a model of {model.layer_rates} bits: {sure:.2f} sure")

# %%
# A photo in colour
# -----------------
# Files and most libraries have the channels last: (height, width, channels). Rows of X have them
# first: ``np.moveaxis(images, -1, 1).reshape(len(images), -1)``. An `ImageShapeWarning` tells if an
# ``image_shape`` looks like the wrong order. We cut a photo into tiles of 8 by 8 pixels, so that
# each tile is a row of 3 x 8 x 8 numbers.
photo = load_sample_image("china.jpg")[:424]  # 53 x 80 tiles
print(photo.shape, photo.dtype)


def tiles_of(image):
    """Cut an image into rows of X."""
    height, width, channels = image.shape
    tiles = image.reshape(height // 8, 8, width // 8, 8, channels)
    return tiles.transpose(0, 2, 4, 1, 3).reshape(-1, channels * 8 * 8)


def image_of(tiles, shape):
    """Put the tiles of an image of this shape together again."""
    height, width, channels = shape
    tiles = tiles.reshape(height // 8, width // 8, channels, 8, 8)
    return tiles.transpose(0, 3, 1, 4, 2).reshape(shape).clip(0, 255).round().astype(np.uint8)


tiles = tiles_of(photo)
is_known = np.arange(len(tiles)) % 3 == 0
colour = HierarchicalVAETransformer(
    (24, 8), n_components=32, image_shape=(3, 8, 8), max_epochs=20, random_state=0
).fit(tiles[is_known])
for name, rows in {"tiles of training": tiles[is_known], "other tiles": tiles[~is_known]}.items():
    print(f"{name}: {colour.rates(rows).mean(axis=0).round(1)} bits")

# %%
# A tile has 3 x 8 x 8 bytes, which are 1,536 bits. z_2 keeps 8 of them, and with z_1 there are 32.
# The 8 bits are spent on what reduces the error most: whether it is light or dark, and where.
# Colours come with z_1.
figure, panels = plt.subplots(3, 1, figsize=(5.5, 11.4), layout="constrained")
pictures = {
    "the photo": photo,
    "from z_2, 8 bits a tile": image_of(colour.reconstruct(tiles, layer=2), photo.shape),
    "from all latents, 32 bits a tile": image_of(colour.reconstruct(tiles), photo.shape),
}
for ax, (title, picture) in zip(panels, pictures.items(), strict=True):
    ax.imshow(picture)
    ax.set(xticks=[], yticks=[], title=title)

# %%
# Images of another kind
# ----------------------
# A third of these tiles was seen in training, and the others are from the same photo. What does the
# model do with tiles of a flower? It takes more bits to say what it did not expect. Rates hold for
# rows that are like those of ``fit``, and high rates show which rows are not.
flower = tiles_of(load_sample_image("flower.jpg")[:424])
print(f"tiles of a flower: {colour.rates(flower).mean(axis=0).round(1)} bits")
plt.show()
