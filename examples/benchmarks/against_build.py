"""How long does a fit take, as a share of what it took at another commit?

Each case is run by the library of another checkout and by this one, in turn and each time in a
fresh process. Most cases first fit once for few epochs, which leaves imports and first calls out,
and are then timed. ``cpu`` and ``wall`` are medians of the ratios of neighbouring runs, with their
range in brackets: 1 is as long as before. ``memory`` is what the process has at most, likewise.

Of a model, ``bound`` is the lower bound in nats, as a mean over the seeds of the runs, before and
after, and ``loss`` the mean of distortion and weighed rates in nats, both by the multipliers of the
model before. Figures of other scripts are compared by before_and_after.py.

    git worktree add OLD_CHECKOUT COMMIT
    python examples/benchmarks/against_build.py OLD_CHECKOUT [CASE ...] [--repeats 7]
        [--threads 1 2]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LN2 = 0.6931471805599453


def mixed_table(n_rows=4500, n_columns=34):
    """Make a table as people have them: skewed numbers, flags, codes, and holes in some columns.

    Returns a frame, and the numbers of its columns by likelihood.
    """
    import numpy as np
    import pandas as pd
    from sklearn.datasets import make_classification

    rows, _ = make_classification(n_rows, n_columns, n_informative=12, random_state=0)
    frame = pd.DataFrame(rows, columns=[f"x{i}" for i in range(n_columns)])
    numbers, flags, codes = range(18), range(18, 24), range(24, n_columns)
    for i in numbers:
        frame.isetitem(i, (100 * np.exp(rows[:, i] / 2)).round(i % 3))
    for i in flags:
        frame.isetitem(i, (rows[:, i] > 0).astype(float))
    for i in codes:
        frame.isetitem(i, pd.qcut(rows[:, i], i - 20, labels=False).astype(float))
    for i in numbers[::6]:
        frame.iloc[i::20, i] = np.nan
    return frame, {"gaussian": numbers, "bernoulli": flags, "categorical": codes}


def mixed_array():
    return mixed_table()[0].to_numpy()


def mixed_frame():
    """Return the table with text and truth values, as builds take it that read frames."""
    frame, parts = mixed_table()
    for name in frame.columns[list(parts["bernoulli"])]:
        frame[name] = frame[name] > 0
    for name in frame.columns[list(parts["categorical"])]:
        frame[name] = frame[name].map("level {:.0f}".format)
    return frame


def mixed(seed, warm_up):
    _, parts = mixed_table(100)
    likelihood = [(name, list(columns)) for name, columns in parts.items()]
    return plain(mixed_array, likelihood=likelihood, missing="mask")(seed, warm_up)


def fashion():
    from fashion_mnist import load_fashion_mnist

    return load_fashion_mnist(20_000)[0] / 255


def of_sklearn(name):
    def load():
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")().data

    return load


def plain(load, **params):
    """Fit a transformer with its defaults."""

    def fit(seed, warm_up):
        from sk_hvae import HierarchicalVAETransformer

        epochs = {"max_epochs": 2} if warm_up else {}
        return HierarchicalVAETransformer(random_state=seed, **params, **epochs).fit(load())

    return fit


def multirate(seed, warm_up):
    from sk_hvae import MultiRateHVAETransformer

    epochs = {"max_epochs": 2} if warm_up else {}
    return MultiRateHVAETransformer(random_state=seed, **epochs).fit(of_sklearn("digits")())


def search(seed, warm_up):
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    from sk_hvae import HierarchicalVAETransformer, RateSearchCV

    rates = (2, 4) if warm_up else (1, 2, 4, 8)
    grid = [(one, other) for one in rates for other in rates]
    hvae = HierarchicalVAETransformer(random_state=seed, **({"max_epochs": 2} if warm_up else {}))
    model = Pipeline([("hvae", hvae), ("clf", LogisticRegression(max_iter=1000))])
    RateSearchCV(model, {"hvae__layer_rates": grid}, cv=3).fit(*load_wine(return_X_y=True))


def clusterer(seed, warm_up):
    from sk_hvae import HVAEClusterer

    epochs = {"max_epochs": 2} if warm_up else {}
    HVAEClusterer(10, random_state=seed, **epochs).fit(of_sklearn("digits")())


def checks(seed, warm_up):
    from sklearn.utils.estimator_checks import check_estimator

    from sk_hvae import HierarchicalVAETransformer

    if not warm_up:
        check_estimator(HierarchicalVAETransformer(random_state=seed), on_skip=None)


def first_fit(seed, warm_up):
    """Fit a small table in a process that has not fitted before."""
    import sk_hvae  # noqa: F401

    return None if warm_up else plain(of_sklearn("wine"))(seed, warm_up)


def importing(seed, warm_up):
    if not warm_up:
        import sk_hvae  # noqa: F401


CASES = {
    "digits": plain(of_sklearn("digits")),
    "wine": plain(of_sklearn("wine")),
    "breast_cancer": plain(of_sklearn("breast_cancer")),
    "mixed": mixed,
    "frame": plain(mixed_frame),
    "fashion_float32": plain(fashion, precision="float32"),
    "fashion_bfloat16": plain(fashion, precision="bfloat16"),
    "multirate": multirate,
    "search": search,
    "clusterer": clusterer,
    "check_estimator": checks,
    "first_fit": first_fit,
    "import": importing,
}


def measure(case, seed):
    """Run a case in this process, and print what it took as JSON."""
    warnings.simplefilter("ignore")
    CASES[case](seed, True)
    cpu, wall = time.process_time(), time.perf_counter()
    fitted = CASES[case](seed, False)
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if hasattr(fitted, "betas_"):
        rates, distortion = [float(rate) for rate in fitted.rates_], float(fitted.distortion_)
        found |= {"distortion": distortion, "rates": rates, "bound": float(fitted.lower_bound_)}
        found["betas"] = [float(beta) for beta in fitted.betas_]
    print(json.dumps(found))


def run(checkout, case, seed, n_threads):
    """Run a case in a fresh process, with the library of a checkout."""
    # An installation has bytecode.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, str(checkout), case, "--measure", str(seed)],
        env=environment | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare(old, case, n_repeats, n_threads):
    """Run a case by both in turn, and print the ratios."""
    pairs = []
    for seed in range(n_repeats):
        order = (old, ROOT) if seed % 2 else (ROOT, old)
        found = {checkout: run(checkout, case, seed, n_threads) for checkout in order}
        pairs.append((found[old], found[ROOT]))
    line = f"{case}, {n_threads} thread{'s' * (n_threads > 1)}:"
    for name in ("cpu", "wall", "memory"):
        ratios = sorted(after[name] / before[name] for before, after in pairs)
        line += f" {name} {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    if "bound" in pairs[0][0]:
        figures = [
            (before["bound"], after["bound"], loss(before, before), loss(after, before))
            for before, after in pairs
        ]
        means = map(statistics.mean, zip(*figures, strict=True))
        line += " bound {:.2f} to {:.2f}, loss {:.2f} to {:.2f}".format(*means)
    print(line, flush=True)


def loss(found, before):
    """Return D + sum of beta R in nats, by the multipliers of the model before."""
    weighed = sum(beta * rate for beta, rate in zip(before["betas"], found["rates"], strict=True))
    return LN2 * (found["distortion"] + weighed)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout with the library to compare with")
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; by default all")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", type=int, metavar="SEED", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    if options.measure is not None:
        measure(options.cases[0], options.measure)
    else:
        for threads in options.threads:
            for case in options.cases or CASES:
                compare(options.old.resolve(strict=True), case, options.repeats, threads)
