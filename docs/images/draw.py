"""Draw the pictures of the README and the front page again: ``python docs/images/draw.py``.

They are figures of the gallery's examples, and a map of digits.
"""

import runpy
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.plotting import MapDisplay
from sk_hvae.plotting._colours import COLOURS

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
# Picture: example, number of its figure from 1, dots per inch. All are about as wide as a page.
PICTURES = {
    "quickstart": ("plot_quickstart", 1, 110),
    "table": ("plot_table", 1, 90),
    "rate_plane": ("plot_rate_search", 1, 90),
    "accuracy_bound": ("plot_accuracy_bound", 1, 90),
    "clusters": ("plot_clustering", 1, 80),
}


def draw_example(name):
    """Save a figure of an example."""
    example, number, dpi = PICTURES[name]
    runpy.run_path(str(EXAMPLES / f"{example}.py"))
    plt.figure(number).savefig(HERE / f"{name}.png", dpi=dpi)


def draw_map():
    """Save the map of the page on pictures of data."""
    X, y = load_digits(return_X_y=True)
    hvae = HierarchicalVAETransformer(16, random_state=0).fit(X)
    MapDisplay.from_estimator(hvae, X, y).plot().figure_.savefig(HERE / "map.png", dpi=100)


def main():
    """Draw those that are named, or all."""
    plt.rcParams["axes.prop_cycle"] = mpl.cycler(color=COLOURS)
    for name in sys.argv[1:] or [*PICTURES, "map"]:
        plt.close("all")
        draw_map() if name == "map" else draw_example(name)


if __name__ == "__main__":
    main()
