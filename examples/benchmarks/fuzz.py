"""Does every small fit end as it should, whatever the data and the parameters?

Cases are random: shapes, dtypes, containers, scales, likelihoods, rates, networks, training
parameters, sequences of calls, and now and then a wrong value. Each must end in one of three
ways: "fitted", with finite results of the right shapes, deterministic, independent of the other
rows, on target or with a RateTargetWarning, and no other warning; "refused", by a ValueError
or TypeError that names what is wrong and that the case allows for; or "diverged", with a
TrainingDivergedError and the last finite weights. Anything else is a bug: other errors, refusals of
what is right, wrong values that are taken, more than 60 s, and memory, threads or open files
that are not given back.

    python examples/benchmarks/fuzz.py [--fits 10000] [--seed 0] [--jobs 2] [--out FOLDER]
    python examples/benchmarks/fuzz.py --case 123

A run that was stopped goes on where it was, given the same folder.
"""

import argparse
import contextlib
import faulthandler
import gc
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from fuzz_cases import make_case, n_rows, take
from scipy.stats import theilslopes

from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae.exceptions import (
    CategoryWarning,
    ClusterWarning,
    OutlierWarning,
    RateTargetWarning,
    ScaleWarning,
    TrainingDivergedError,
)

_SECONDS, _HARD_SECONDS = 60, 120
_MOST_GROWTH, _MOST_SLOPE = 200e6, 2e6
_WARM_UP, _FEWEST_FOR_SLOPE = 20, 200
# How scikit-learn names data without saying X.
_OF_DATA = r"\bX\b|array|sample|feature|column|could not convert|[Ss]parse|NaN|infinity"

# Of the rows, which are meant to be odd, and of the training, which is short.
_EXPECTED = (CategoryWarning, ClusterWarning, OutlierWarning, RateTargetWarning, ScaleWarning)


class Bug(AssertionError):  # noqa: N818
    """A case that did not end as it should."""


class Verdict(NamedTuple):
    """How a case ended: "fitted", "refused", "diverged" or "BUG", and why."""

    ending: str
    reason: str = ""


def demand(condition, said):
    """Raise `Bug` unless a condition holds."""
    if not condition:
        raise Bug(said)


def demand_finite(what, values, shape=None, dtype=None):
    """Raise `Bug` unless values are finite, and of a shape and dtype if these are given."""
    values = np.asarray(values)
    demand(values.dtype != object, f"{what} is of dtype object")
    demand(np.isfinite(values).all(), f"{what} is not finite")
    demand(shape is None or values.shape == shape, f"{what} has shape {values.shape}, not {shape}")
    demand(dtype is None or values.dtype == dtype, f"{what} has dtype {values.dtype}")


# One case


def judge(case):
    """Fit a case and look at what came out; returns a `Verdict`."""
    before = fingerprint(case)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for call in case.calls:
                train(case, call, caught)
            demand(case.must is None, f"a wrong {case.must} was taken")
            examine(case)
            demand_no_warnings(caught)
        demand(fingerprint(case) == before, "X or a global generator was changed")
    except TrainingDivergedError as error:
        demand_named(error)
        if "the clusterer is as it was before" not in str(error):
            demand_finite("transform after divergence", quietly(case.estimator.transform, case.X))
        return Verdict("diverged", first_line(error))
    except (ValueError, TypeError) as error:
        return refusal(case, error)
    return Verdict("fitted")


def train(case, call, caught):
    """Make one training call; judges its warnings."""
    estimator = case.estimator.set_params(**call.params)
    getattr(estimator, call.method)(call.X)
    off_target = [w for w in caught if issubclass(w.category, RateTargetWarning)]
    asked = estimator.get_params()["layer_rates"]
    if asked is None:
        demand(case.kind == "cluster" or estimator.converged_, "fixed betas did not converge")
        demand(not off_target, "RateTargetWarning without targets")
    else:
        targets = np.ravel(asked).astype(float)
        errors = np.abs(estimator.rates_ - targets)
        on_target = bool((errors <= np.maximum(0.05 * targets, 0.1)).all())
        said = f"{estimator.rates_} of {targets}, converged_ is {estimator.converged_}"
        demand(estimator.converged_ == on_target, said)
        if case.kind == "multi":
            off_target = off_target[:1]  # rates_ may have been asked for several times
        expected = 0 if on_target or call.method == "partial_fit" else 1
        demand(len(off_target) == expected, f"{len(off_target)} RateTargetWarnings, {said}")
    if case.kind == "cluster":
        few = (
            estimator.n_clusters != "auto" and len(estimator.cluster_sizes_) < estimator.n_clusters
        )
        n_warned = sum(issubclass(w.category, ClusterWarning) for w in caught)
        expected = few + (estimator.stability_ < 0.5)
        demand(n_warned == expected, f"{n_warned} ClusterWarnings, not {expected}")
    caught[:] = [w for w in caught if not issubclass(w.category, _EXPECTED)]


def examine(case):
    """Use a fitted estimator in every way."""
    estimator, X = case.estimator, case.X
    n = n_rows(X)
    n_layers, d = estimator.n_layers_, estimator.n_features_in_
    with ignored_targets(case):
        demand_finite("rates_", estimator.rates_, (n_layers,))
        demand_finite("betas_", estimator.betas_, (n_layers,))
        demand_finite("distortion_", estimator.distortion_, ())
        demand_finite("lower_bound_", estimator.lower_bound_, ())
        demand((estimator.betas_ > 0).all(), "betas_ are not positive")
        for name, values in estimator.history_.items():
            demand_finite(f"history_[{name!r}]", values)
            demand(len(values) == estimator.n_iter_, f"history_[{name!r}] has {len(values)} rows")
        names = estimator.get_feature_names_out()
        Z = estimator.transform(X)
        Z = Z.to_numpy() if hasattr(Z, "to_numpy") else Z
        demand_finite("transform", Z, (n, len(names)), np.float32)
        demand((estimator.transform(X) == Z).all(), "transform is not deterministic")
        check_rows_alone(estimator, X, Z)
        units = estimator.n_components_
        for sample in (False, True):
            for z, k in zip(estimator.latents(X, sample=sample), units, strict=True):
                demand_finite(f"latents(sample={sample})", z, (n, k), np.float32)
        demand_finite(
            "inverse_transform",
            estimator.inverse_transform(Z),
            (n, d),
            fitted_of(estimator).data_dtype,
        )
        demand_finite(
            "reconstruct", estimator.reconstruct(X), (n, d), fitted_of(estimator).data_dtype
        )
        resampled = estimator.reconstruct(X, layer="top", resample=True)
        demand_finite("reconstruct(resample)", resampled, (n, d), fitted_of(estimator).data_dtype)
        demand_finite("sample", estimator.sample(3), (3, d), fitted_of(estimator).data_dtype)
        demand_finite(
            "sample(mean)", estimator.sample(2, mean=True), (2, d), fitted_of(estimator).data_dtype
        )
        rates, distortion = estimator.rates(X), estimator.distortion(X)
        demand_finite("rates", rates, (n, n_layers), np.float64)
        demand((rates > -1e-3).all(), f"a rate is {rates.min():.3g}")
        demand_finite("distortion", distortion, (n,), np.float64)
        scores = estimator.score_samples(X)
        demand_finite("score_samples", scores, (n,))
        bits = -np.log(2) * (distortion + rates.sum(1))
        demand(np.allclose(scores, bits, rtol=1e-6), "score_samples is not that of the bits")
        demand_finite("score", estimator.score(X), ())
        if case.kind != "multi":
            demand(np.allclose(rates.mean(0), estimator.rates_, rtol=1e-3, atol=1e-3), "rates_")
            same = np.isclose(distortion.mean(), estimator.distortion_, rtol=1e-3, atol=1e-2)
            demand(same, "distortion_ is not that of X")
        check_copies(case, Z)
        check_far_rows(case)
        if case.kind == "cluster":
            examine_clusters(estimator, X, n, d)
        if case.kind == "multi":
            examine_plane(estimator, X, n)


def check_rows_alone(estimator, X, Z):
    """Transform some rows by themselves, in another order."""
    index = np.arange(len(Z))[::-1][:: max(1, len(Z) // 3)]
    alone = np.asarray(estimator.transform(take(X, index)))
    error = np.abs(alone - Z[index]).max() / max(1.0, np.abs(Z[index]).max())
    demand(error < 1e-3, f"transform depends on other rows: {error:.2g} of the largest value")


def check_copies(case, Z):
    """Pickle, and save and load, every fourth case."""
    if case.number % 4:
        return
    estimator, X = case.estimator, case.X
    twin = pickle.loads(pickle.dumps(estimator))  # noqa: S301
    demand((np.asarray(twin.transform(X)) == Z).all(), "a pickled copy transforms differently")
    if type(estimator.network) is tuple:
        return
    with tempfile.TemporaryDirectory() as folder:
        estimator.save(Path(folder) / "model")
        twin = type(estimator).load(Path(folder) / "model")
    demand((np.asarray(twin.transform(X)) == Z).all(), "a loaded copy transforms differently")


def check_far_rows(case):
    """Put one huge value into a row: it must be refused, or give finite results."""
    if case.container != "array" or case.X.dtype != np.float64:
        return
    far = case.X[:2].copy()
    far[0, 0] = 10.0 ** (case.number % 309)
    try:
        demand_finite("transform of a huge value", case.estimator.transform(far))
        demand_finite("score_samples of a huge value", case.estimator.score_samples(far))
    except ValueError as error:
        demand("likelihood" in str(error), f"a huge value: {first_line(error)}")


def examine_clusters(estimator, X, n, d):
    """Look at what a clusterer adds."""
    k = len(estimator.cluster_sizes_)
    probabilities = estimator.predict_proba(X)
    demand_finite("predict_proba", probabilities, (n, k), np.float32)
    demand(np.allclose(probabilities.sum(1), 1, atol=1e-4), "probabilities do not sum to 1")
    demand((estimator.predict(X) == estimator.labels_).all(), "predict is not labels_")
    demand((np.bincount(estimator.labels_) == estimator.cluster_sizes_).all(), "cluster_sizes_")
    demand_finite("cluster_centers_", estimator.cluster_centers_, (k, d))
    demand_finite("cluster_tree_", estimator.cluster_tree_, (k - 1, 4))
    demand(-1 <= estimator.stability_ <= 1, f"stability_ is {estimator.stability_}")
    demand_finite(
        "sample(cluster)",
        estimator.sample(2, cluster=k - 1),
        (2, d),
        fitted_of(estimator).data_dtype,
    )


def examine_plane(estimator, X, n):
    """Go elsewhere on the rate plane, and train there."""
    rates = np.full(estimator.n_layers_, 1.5)
    demand_finite("at().transform", estimator.at(rates).transform(X))
    if not isinstance(X, torch.utils.data.Dataset):
        demand_finite("fine_tune", estimator.fine_tune(rates, X, max_epochs=1).rates_)


@contextlib.contextmanager
def ignored_targets(case):
    """Let a multi-rate model say again that it misses its rates."""
    with warnings.catch_warnings():
        if case.kind == "multi":
            warnings.simplefilter("ignore", RateTargetWarning)
        yield


def quietly(function, *args):
    """Call a function without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


def refusal(case, error):
    """Tell a refusal that names what is wrong from a bug."""
    names = case.may | ({case.must} - {None})
    module = innermost_module(error)
    where = f"{type(error).__name__} in {module}: {first_line(error)}"
    demand(names, f"a valid case was refused: {where}")
    message = str(error)
    named = any(name in message for name in names - {"X"})
    named |= "X" in names and re.search(_OF_DATA, message) is not None
    demand(named, f"the message does not name any of {sorted(names)}: {where}")
    known = ("sk_hvae", "sklearn", "numpy", "pandas")
    demand(module.split(".")[0] in known, f"not refused by us: {where}")
    return Verdict("refused", f"{', '.join(sorted(names))}: {first_line(error)}")


def demand_named(error):
    """Raise `Bug` unless a divergence says what to do."""
    demand("lr" in str(error) and "X" in str(error), f"no advice in: {error}")


def demand_no_warnings(caught):
    """Raise `Bug` if any unexplained warning was caught."""
    odd = [w for w in caught if not issubclass(w.category, _EXPECTED)]
    said = [f"{w.category.__name__}: {w.message} ({w.filename}:{w.lineno})" for w in odd]
    demand(not said, f"unexplained warnings: {said[:3]}")


def innermost_module(error):
    """Return the name of the module that raised an error."""
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    return frame.tb_frame.f_globals["__name__"]


def first_line(error):
    """Return the beginning of an error's message."""
    return (str(error).splitlines() or [""])[0][:200]


def fingerprint(case):
    """Condense what a fit must not change: X, and torch's and numpy's global generators."""
    state = torch.random.get_rng_state().numpy().tobytes()
    if case.estimator.random_state is not None:
        state += np.random.get_state()[1].tobytes()  # noqa: NPY002
    X = case.X
    if hasattr(X, "iloc"):
        X = X.to_numpy(dtype=object)  # a frame's pickle has caches
    return hash((state, pickle.dumps(X.tensors if hasattr(X, "tensors") else X)))


# Many cases


class Resources(NamedTuple):
    """What the process holds: bytes, threads and open files."""

    memory: int
    threads: int
    files: int

    @classmethod
    def now(cls):
        """Measure after a collection of garbage."""
        gc.collect()
        process = psutil.Process()
        return cls(process.memory_info().rss, process.num_threads(), len(process.open_files()))


def time_out(*_):
    """End a case that takes too long."""
    raise Bug(f"took over {_SECONDS} s")


def run_case(seed, number, before, detail=False):
    """Make and judge one case; returns what is to be known about it, and `Resources`."""
    np.random.seed(number)  # noqa: NPY002
    start = time.perf_counter()
    story, trace = {}, ""
    signal.signal(signal.SIGALRM, time_out)
    signal.alarm(_SECONDS)
    faulthandler.dump_traceback_later(_HARD_SECONDS, exit=True)
    try:
        case = make_case(seed, number)
        story = case.story | {"estimator": type(case.estimator).__name__}
        story["params"] = given_params(case.estimator)
        if detail:
            show(story)
        with case.cleanup, contextlib.redirect_stderr(io.StringIO()):
            verdict = judge(case)
        del case
    except Exception as error:
        reason = str(error) if isinstance(error, Bug) else f"{type(error).__name__}: {error}"
        verdict = Verdict("BUG", reason)
        trace = traceback.format_exc()
        del error
    signal.alarm(0)
    faulthandler.cancel_dump_traceback_later()
    seconds, after = time.perf_counter() - start, Resources.now()
    if after.threads > before.threads:
        time.sleep(0.2)  # faulthandler's own thread may be about to end
        after = Resources.now()
    if verdict.ending != "BUG":
        verdict = leak(before, after) or verdict
    if detail:
        print(verdict.ending, verdict.reason, f"{seconds:.2f} s", trace, sep="\n")
    row = {
        "case": number,
        "ending": verdict.ending,
        "reason": verdict.reason,
        "seconds": round(seconds, 3),
        "memory": after.memory,
        "trace": trace,
        "story": {name: str(value) for name, value in story.items()},
    }
    return row, after


def leak(before, after):
    """Return a `Verdict` if something was not given back."""
    if after.memory > before.memory + _MOST_GROWTH:
        return Verdict("BUG", f"memory grew by {(after.memory - before.memory) / 1e6:.0f} MB")
    if after.threads > before.threads:
        return Verdict("BUG", f"{after.threads - before.threads} more threads")
    if after.files > before.files:
        return Verdict("BUG", f"{after.files - before.files} more open files")
    return None


def given_params(estimator):
    """Return the parameters that differ from the defaults, as text."""
    default = type(estimator)().get_params(deep=False)
    params = estimator.get_params(deep=False)
    return {name: repr(v) for name, v in params.items() if repr(v) != repr(default[name])}


def show(story):
    """Print what a case is made of."""
    for name, value in story.items():
        print(f"{name}: {value}")


def work(args):
    """Run one worker's cases, one line each; a first line says which one has begun."""
    torch.set_num_threads(1)
    file = results_file(args.out, args.worker)
    done = {row["case"] for row in read(file)}
    with file.open("a") as out:
        resources = Resources.now()
        for number in range(_WARM_UP):
            _, resources = run_case(args.seed + 1, number, resources)
        gc.freeze()
        for number in range(args.worker, args.fits, args.jobs):
            if number in done:
                continue
            (args.out / f"begun_{args.worker}").write_text(str(number))
            row, resources = run_case(args.seed, number, resources)
            out.write(json.dumps(row) + "\n")
            out.flush()


def results_file(folder, worker):
    """Return where a worker writes."""
    return folder / f"results_{worker}.jsonl"


def read(file):
    """Read the results of a worker; a line that was cut off is left out."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def start_worker(args, worker):
    """Start a process for one worker's cases."""
    command = [sys.executable, __file__, "--worker", str(worker)]
    for name in ("fits", "seed", "jobs", "out"):
        command += [f"--{name}", str(getattr(args, name))]
    # torch keeps the kernels of the last 1,024 shapes of convolutions and bfloat16 products, up to
    # half a gigabyte; here every shape is new, and that would hide what the fits leave behind.
    caches = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0", "LRU_CACHE_CAPACITY": "1"}
    environment = os.environ | caches | {"OMP_NUM_THREADS": "1"}
    log = (args.out / f"stderr_{worker}.txt").open("a")
    with log:
        return subprocess.Popen(command, env=environment, stderr=log)


def run_all(args):
    """Run all cases on some processes; one that dies is a bug of its case, and is replaced."""
    args.out.mkdir(parents=True, exist_ok=True)
    workers = {k: start_worker(args, k) for k in range(args.jobs)}
    while workers:
        time.sleep(0.5)
        for k, process in list(workers.items()):
            if process.poll() is None:
                continue
            del workers[k]
            begun = args.out / f"begun_{k}"
            if process.returncode and not begun.exists():
                raise SystemExit(f"worker {k} did not start; see {args.out}/stderr_{k}.txt")
            if process.returncode:
                number, reason = int(begun.read_text()), f"the process ended: {process.returncode}"
                row = {"case": number, "ending": "BUG", "reason": reason, "seconds": 0.0}
                with results_file(args.out, k).open("a") as out:
                    out.write(
                        "\n" + json.dumps(row | {"memory": 0, "trace": "", "story": {}}) + "\n"
                    )
                workers[k] = start_worker(args, k)
    per_worker = [read(results_file(args.out, k)) for k in range(args.jobs)]
    return [[row for row in rows if row["case"] < args.fits] for rows in per_worker]


def report(per_worker):
    """Print a summary and every bug; returns whether there are any."""
    rows = sorted((row for rows in per_worker for row in rows), key=lambda row: row["case"])
    seconds = np.array([row["seconds"] for row in rows])
    kinds = sorted({row["story"].get("estimator", "?") for row in rows})
    endings = ("fitted", "refused", "diverged", "BUG")
    print(f"{'':28}" + "".join(f"{ending:>10}" for ending in endings))
    for kind in [*kinds, "all"]:
        count = Counter(
            row["ending"] for row in rows if kind in ("all", row["story"].get("estimator", "?"))
        )
        print(f"{kind:28}" + "".join(f"{count[ending]:>10}" for ending in endings))
    slowest = rows[int(seconds.argmax())]
    print(
        f"seconds per case: mean {seconds.mean():.3f}, median {np.median(seconds):.3f}, slowest "
        f"{seconds.max():.1f} (case {slowest['case']})"
    )
    growing = False
    for k, worker_rows in enumerate(per_worker):
        memory = np.array([row["memory"] for row in worker_rows if row["memory"]])
        if len(memory) < _FEWEST_FOR_SLOPE:
            continue
        settled = memory[len(memory) // 2 :]
        slope = 100 * theilslopes(settled[:: max(1, len(settled) // 500)]).slope
        slope /= max(1, len(settled) // 500)
        growing |= slope > _MOST_SLOPE
        print(
            f"memory of worker {k}: {memory[0] / 1e6:.0f} MB at first, {memory[-1] / 1e6:.0f} MB "
            f"at the end, {slope / 1e6:+.2f} MB per 100 cases over the second half"
        )
    bugs = [row for row in rows if row["ending"] == "BUG"]
    for row in bugs:
        print(f"BUG in case {row['case']}: {row['reason']}")
    return growing or bool(bugs)


def main():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "sk_hvae_fuzz")
    parser.add_argument("--case", type=int)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        work(args)
        return False
    if args.case is not None:
        torch.set_num_threads(1)
        row, _ = run_case(args.seed, args.case, Resources.now(), detail=True)
        return row["ending"] == "BUG"
    return report(run_all(args))


if __name__ == "__main__":
    sys.exit(main())
