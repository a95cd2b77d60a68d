"""Progress is shown in all long calls, if it is asked for, and its line ends however they do."""

import itertools
import pickle
import re

import joblib
import numpy as np
import pytest
import tqdm
from sklearn.utils.parallel import delayed
from skorch.callbacks import Callback

from sk_hvae import HVAEClusterer, MultiRateHVAETransformer, rate_grid, rate_map
from sk_hvae._fit.progress import counting_bar, rows_bar
from sk_hvae._sklearn.parallel import run_parallel
from sk_hvae.exceptions import TrainingInterruptedWarning
from sk_hvae.nn import HierarchicalVAE

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")


class RaiseAfter(Callback):
    """Raise at the end of an epoch."""

    def __init__(self, epoch, error):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


def last_line(capsys):
    """Return what stands on the last line of stderr at the end."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    return err.rstrip("\n").splitlines()[-1].rpartition("\r")[2]


def test_a_fit_says_how_many_epochs_there_are(small, iris, capsys):
    small(verbose=1, max_epochs=4).fit(iris)
    line = last_line(capsys)
    assert line.startswith("epoch 4/4 |")
    number = r"\d+\.\d\d"
    assert re.search(rf"distortion -?{number}, rates z1: {number}/1, z2: {number}/2 bits$", line)


def test_fixed_betas_have_no_targets(small, iris, capsys):
    small(verbose=1, max_epochs=2, layer_rates=None, betas=(1, 1)).fit(iris)
    assert re.search(r"rates z1: \d+\.\d\d, z2: \d+\.\d\d bits$", last_line(capsys))


def test_partial_fit_counts_passes(small, iris, capsys):
    model = small(verbose=1)
    for number in (1, 2):
        model.partial_fit(iris)
        assert last_line(capsys).startswith(f"pass {number} [")
    assert pickle.loads(pickle.dumps(model)).n_iter_ == 2  # noqa: S301


def test_a_fit_that_goes_on_counts_from_where_it_was(small, iris, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("sk_hvae._fit.checkpoint._SHARE_OF_TIME", float("inf"))
    params = {"max_epochs": 4, "checkpoint": tmp_path}
    with pytest.raises(ZeroDivisionError):
        small(callbacks=[RaiseAfter(3, ZeroDivisionError)], **params).fit(iris)
    small(verbose=1, **params).fit(iris)
    lines = re.split(r"[\r\n]+", capsys.readouterr().err.strip())
    assert lines[0].startswith("epoch 2/4 |")
    assert lines[-1].startswith("epoch 4/4 |")


def test_the_line_ends_at_an_interruption(small, iris, capsys, monkeypatch):
    forward, n_steps = HierarchicalVAE.forward, itertools.count()

    def press_keys(*args, **kwargs):
        if next(n_steps) == 12:  # of 5 an epoch
            raise KeyboardInterrupt
        return forward(*args, **kwargs)

    monkeypatch.setattr(HierarchicalVAE, "forward", press_keys)
    with pytest.warns(TrainingInterruptedWarning):
        small(verbose=1, max_epochs=9).fit(iris)
    assert last_line(capsys).startswith("epoch 2/9 |")
    assert not tqdm.tqdm._instances


def test_the_line_ends_where_a_callback_stops(small, iris, capsys):
    small(verbose=1, max_epochs=9, callbacks=[RaiseAfter(3, KeyboardInterrupt)]).fit(iris)
    assert last_line(capsys).startswith("epoch 2/9 |")
    assert not tqdm.tqdm._instances


def test_the_line_ends_at_an_error(small, iris, capsys):
    model = small(verbose=1, max_epochs=9, callbacks=[RaiseAfter(3, ZeroDivisionError)])
    with pytest.raises(ZeroDivisionError):
        model.fit(iris)
    assert last_line(capsys).startswith("epoch 2/9 |")
    assert not tqdm.tqdm._instances


@pytest.fixture
def at_once(monkeypatch):
    """Short calls show their bars as well."""
    monkeypatch.setattr("sk_hvae._fit.progress.PATIENCE", 0.0)


def names_shown(capsys):
    """Return what was counted, line by line on stderr, without what only repeats the one before."""
    out, err = capsys.readouterr()
    assert out == ""
    counted = [re.split(r"[|\[]", line)[0].strip() for line in re.split(r"[\r\n]", err)]
    return [
        last for last, after in itertools.pairwise([*filter(None, counted), ""]) if last != after
    ]


METHODS = (
    *("transform", "latents", "reconstruct", "impute"),
    *("rates", "distortion", "score_samples", "typicality"),
)


@pytest.mark.parametrize("method", METHODS)
def test_methods_show_rows_only_if_asked_to(fitted, iris, capsys, at_once, monkeypatch, method):
    expected = getattr(fitted, method)(iris)
    assert names_shown(capsys) == []
    monkeypatch.setattr(fitted, "verbose", 1)
    assert all(map(np.array_equal, getattr(fitted, method)(iris), expected))
    assert names_shown(capsys)[-1] == f"{method} 150/150 rows"
    assert not tqdm.tqdm._instances


def test_short_calls_show_nothing(fitted, iris, capsys, monkeypatch):
    monkeypatch.setattr("sk_hvae._fit.progress.PATIENCE", float("inf"))
    monkeypatch.setattr(fitted, "verbose", 1)
    fitted.transform(iris)
    fitted.typicality(iris)
    assert names_shown(capsys) == []


def test_the_bar_of_a_method_ends_at_an_error(fitted, iris, capsys, at_once, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitted, "verbose", 1)
    monkeypatch.setattr("sk_hvae._fit.measurement.to_device", fail)
    with pytest.raises(KeyboardInterrupt):
        fitted.transform(iris)
    assert last_line(capsys).startswith("transform 0/150 rows |")
    assert not tqdm.tqdm._instances


def test_rows_are_counted_chunk_by_chunk(capsys, at_once):
    with rows_bar("read", 3, True) as on_rows:
        for n_done, n_rows in enumerate([1, 2, 1, 2]):
            on_rows(n_rows)
            (bar,) = tqdm.tqdm._instances
            assert bar.n == [1, 3, 1, 3][n_done]
    assert last_line(capsys).startswith("read 3/3 rows |")


def test_copies_in_other_processes_show_nothing(capsys):
    with counting_bar("map", 9, "points") as on_point:
        copy = pickle.loads(pickle.dumps(on_point))  # noqa: S301
        copy(5)
        copy.reach(7)
        on_point.reach(4)
        on_point()
        on_point.reach(2)
    assert last_line(capsys).startswith("map 5/9 points |")


def test_of_bars_within_bars_the_outermost_remains(capsys):
    with counting_bar("map", 1, "points") as on_point:
        with counting_bar("fit", 1, "epochs") as on_epoch:
            on_epoch()
        on_point()
    shown = capsys.readouterr().err
    assert "fit 0/1 epochs" in shown
    assert shown.rstrip("\n").rpartition("\r")[2].startswith("map 1/1 points |")
    assert re.search(r"\r +\x1b", shown), "the inner line is wiped out"


def test_the_steps_of_a_clusterer_are_shown(iris, capsys):
    params = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
    quiet = HVAEClusterer(2, n_init=3, **params).fit(iris)
    assert names_shown(capsys) == []
    model = HVAEClusterer(2, n_init=3, verbose=1, **params).fit(iris)
    names = [re.sub("[0-2]/", "", name) for name in names_shown(capsys)]
    assert [*dict.fromkeys(names)] == [
        "epoch 2",
        "graph of 149 rows",
        "spectrum of the graph",
        "2 clusters 3 starts",
        "2 clusters 3/3 starts",
    ]
    assert names[-1] == "epoch 2"
    assert (model.labels_ == quiet.labels_).all()


@pytest.mark.usefixtures("coarse_plane", "at_once")
def test_all_parts_of_a_multi_rate_fit_are_shown(iris, capsys):
    params = {"n_components": 2, "hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
    quiet = MultiRateHVAETransformer((0.5, 2), layer_rates=1, **params).fit(iris)
    assert names_shown(capsys) == []
    model = MultiRateHVAETransformer((0.5, 2), layer_rates=1, verbose=1, **params).fit(iris)
    n_nodes = len(model.calibration_.arrays["table"])
    ends = ["read 150/150 rows", "epoch 2/2", f"survey {n_nodes}/{n_nodes} nodes"]
    shown = names_shown(capsys)
    assert [line for line in shown if line in ends] == ends
    assert {line.split()[0] for line in shown} == {"read", "epoch", "survey"}
    assert np.array_equal(model.rates_, quiet.rates_)


@pytest.mark.parametrize("metrics", ["psnr", "accuracy:knn"])
def test_points_of_a_map_are_shown(multi, iris, capsys, metrics):
    y = np.repeat(range(3), 50)
    how = {"layer_rates": rate_grid([0.5, 1], [1, 2]), "metrics": metrics}
    quiet = rate_map(multi, iris, y, **how)
    assert names_shown(capsys) == []
    surface = rate_map(multi, iris, y, verbose=1, **how)
    assert names_shown(capsys)[-1] == "rate map 4/4 points"
    with joblib.parallel_config("threading"):
        rate_map(multi, iris, y, verbose=1, n_jobs=2, **how)
    assert names_shown(capsys)[-1] == "rate map 4/4 points"
    assert np.array_equal(surface.values(metrics), quiet.values(metrics))


def test_fits_of_a_map_are_shown(small, iris, capsys):
    rate_map(small(), iris, layer_rates=[(1, 2), (2, 1)], verbose=1)
    assert names_shown(capsys)[-1] == "rate map 2/2 points"


def test_an_explorer_shows_places(multi, iris, capsys, monkeypatch):
    multi.explore(iris, layer_rates=[(1, 1), (2, 1)])
    assert names_shown(capsys) == []
    monkeypatch.setattr(multi, "verbose", 1)
    multi.explore(iris, layer_rates=[(1, 1), (2, 1)])
    shown = names_shown(capsys)
    assert {"rate map 2/2 points", "decode 2/2 places"} <= set(shown)


def test_results_come_in_order_from_any_backend():
    for backend in ("loky", "threading", "multiprocessing"):
        seen = []
        with joblib.parallel_config(backend):
            found = run_parallel([delayed(abs)(n) for n in (-1, 2, -3)], seen.append)
        assert found == seen == [1, 2, 3]
