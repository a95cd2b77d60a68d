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
# Pictures by example: number of the figure from 1, dots per inch. All are about as wide as a page.
PICTURES = {
    "plot_quickstart": {"quickstart": (1, 110)},
    "plot_table": {"table": (1, 90)},
    "plot_rate_search": {"rate_plane": (1, 90)},
    "plot_accuracy_bound": {"accuracy_bound": (1, 90)},
    "plot_clustering": {"clusters": (1, 80)},
    "plot_parameters": {
        "parameters_total": (1, 90),
        "parameters_split": (2, 90),
        "parameters_units": (3, 90),
        "parameters_likelihood": (4, 90),
        "parameters_passes": (5, 90),
        "parameters_batches": (6, 90),
        "parameters_widths": (7, 90),
    },
}


def draw_example(example, figures):
    """Run an example, and save some of its figures."""
    runpy.run_path(str(EXAMPLES / f"{example}.py"))
    for name, (number, dpi) in figures.items():
        plt.figure(number).savefig(HERE / f"{name}.png", dpi=dpi)


def draw_map():
    """Save the map of the page on pictures of data."""
    X, y = load_digits(return_X_y=True)
    hvae = HierarchicalVAETransformer(16, random_state=0).fit(X)
    MapDisplay.from_estimator(hvae, X, y).plot().figure_.savefig(HERE / "map.png", dpi=100)


def main():
    """Draw those that are named, or all."""
    plt.rcParams["axes.prop_cycle"] = mpl.cycler(color=COLOURS)
    every = {name for figures in PICTURES.values() for name in figures} | {"map"}
    wanted = set(sys.argv[1:]) or every
    if unknown := wanted - every:
        sys.exit(f"no such pictures: {sorted(unknown)}; there are {sorted(every)}")
    for example, figures in PICTURES.items():
        if chosen := {name: figure for name, figure in figures.items() if name in wanted}:
            plt.close("all")
            draw_example(example, chosen)
    if "map" in wanted:
        draw_map()


if __name__ == "__main__":
    main()
