"""What do clusters of a million rows cost, in time and in memory?

Rows are drawn from 20 Gaussians of unequal shares in 30 columns. Each number of rows is fitted in a
process of its own. Printed are CPU seconds of the fit, peak memory above what the imports and the
rows take, and the adjusted Rand index between clusters and Gaussians. Neighbours are found among at
most 70,000 of the rows, and the model learns from them which cluster the others belong to.

    OMP_NUM_THREADS=1 python examples/benchmarks/many_rows.py [--rows 70000 1000000]
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from sklearn.metrics import adjusted_rand_score

from sk_hvae import HVAEClusterer

N_CLUSTERS, N_COLUMNS = 20, 30


def draw(n_rows):
    """Return rows and the number of the Gaussian that each comes from."""
    random = np.random.default_rng(0)
    centers = 1.2 * random.normal(size=(N_CLUSTERS, N_COLUMNS))
    y = random.choice(N_CLUSTERS, n_rows, p=random.dirichlet(np.full(N_CLUSTERS, 3.0)))
    X = np.empty((n_rows, N_COLUMNS), np.float32)
    for block in np.array_split(np.arange(n_rows), -(-n_rows // 10_000)):
        X[block] = centers[y[block]] + random.normal(size=(len(block), N_COLUMNS))
    return X, y


def peak():
    """Return the largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(n_rows):
    """Fit so many rows in this process, and print what it took."""
    X, y = draw(n_rows)
    before, start = peak(), time.process_time()
    clusterer = HVAEClusterer(N_CLUSTERS, random_state=0).fit(X)
    seconds, above = time.process_time() - start, peak() - before
    score = adjusted_rand_score(y, clusterer.labels_)
    print(
        f"{n_rows:,} rows of {X.nbytes / 1e6:.0f} MB: {seconds:.0f} CPU seconds, "
        f"{above:.2f} GB above the rows, ARI {score:.3f}",
        flush=True,
    )


def main():
    """Measure each number of rows in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[70_000, 1_000_000])
    parser.add_argument("--here", action="store_true", help="measure in this process")
    arguments = parser.parse_args()
    for n_rows in arguments.rows:
        if arguments.here:
            measure(n_rows)
        else:
            subprocess.run([sys.executable, __file__, "--rows", str(n_rows), "--here"], check=True)


if __name__ == "__main__":
    main()
