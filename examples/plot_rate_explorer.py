"""
A rate explorer in the browser
==============================

How many bits do we need, and in which layer? One multi-rate model knows the answer for all rates,
but a colleague who decides with us may have no Python. ``explore`` makes one HTML file of the
model: a map of the rates, and at each place of it the metrics, reconstructions, samples and
latents. The pages below are such files; try them.
"""

# sphinx_gallery_thumbnail_path = "images/rate_explorer.png"  # noqa: ERA001
from palmerpenguins import load_penguins
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_hvae import MultiRateHVAETransformer

# %%
# Images
# ------
# We train on one half of the digits and explore the other half. With ``image_shape``, rows are
# shown as images. Labels give the points of the latents their colours, and a metric: the accuracy
# of a classifier by nearest neighbours. We train for fewer epochs than the default, so that the
# page runs quickly.
X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, stratify=y, test_size=0.5, random_state=0)
multi = MultiRateHVAETransformer(max_epochs=100, hidden_layer_sizes=128, random_state=0)
multi.fit(X_train)

# %%
# Point at a place of the map to look at it, and click to stay there. The keyboard does the same:
# choose the map by the Tab key, and press the arrow keys. At 1 bit in each layer, digits are
# blurred, because the model hardly knows which ones they are. Along a dashed line, the total rate
# stays the same, and with it the quality of the reconstructions, nearly. But what z2 knows by
# itself, in the third row of pictures, changes: it is what its own bits allow.
multi.explore(X_test, y_test, image_shape=(8, 8))

# %%
# Tables
# ------
# Rows of a table are shown as a table. There are holes in this one, and text. The bound on
# accuracies says how often any classifier of *sampled* latents could be right about the species:
# with half a bit, for about three in four rows.
X = load_penguins()
species = X.pop("species")
penguins = MultiRateHVAETransformer(
    (0.5, 16), layer_rates=4, hidden_layer_sizes=64, max_epochs=100, random_state=0
).fit(X)
explorer = penguins.explore(X, species)
explorer

# %%
# To send it to someone, write it to a file: ``explorer.to_html("penguins.html")``. The file
# contains the rows that it shows. The numbers are a `RateMap`:
explorer.rate_map.to_frame().round(2)
