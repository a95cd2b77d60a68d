"""Progress is shown epoch by epoch, and its line ends however training does."""

import itertools
import pickle
import re

import pytest
import tqdm
from skorch.callbacks import Callback

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
