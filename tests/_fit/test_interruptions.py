"""Ctrl-C and divergence leave an estimator that can be used."""

import contextlib
import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sk_hvae import HVAEClusterer
from sk_hvae.exceptions import TrainingDivergedError, TrainingInterruptedWarning
from sk_hvae.nn import HierarchicalVAE

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

STEPS_PER_EPOCH = math.ceil(150 / 32)


@pytest.fixture
def on_step(monkeypatch):
    """Return a function that makes every training step from the k-th on do something else."""

    def install(k, action):
        forward, count = HierarchicalVAE.forward, 0

        def replaced(self, *args, **kwargs):
            nonlocal count
            output = forward(self, *args, **kwargs)
            count += torch.is_grad_enabled()
            return action(output) if torch.is_grad_enabled() and count >= k else output

        monkeypatch.setattr(HierarchicalVAE, "forward", replaced)

    return install


def press_ctrl_c(output):
    raise KeyboardInterrupt


def lose_distortion(output):
    return output._replace(distortion=output.distortion * math.nan)


def lose_rate_of_z_2(output):
    return output._replace(rates=output.rates * torch.tensor([1.0, math.nan]))


def assert_usable(model, X):
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(5)).all()
    assert all(p.isfinite().all() for p in model.module_.parameters())


# Ctrl-C.


def test_ctrl_c_before_a_clusterer_has_clusters_stops_the_fit(on_step, iris):
    on_step(3, press_ctrl_c)
    clusterer = HVAEClusterer(2, hidden_layer_sizes=(8,), max_epochs=10)
    with pytest.raises(KeyboardInterrupt):
        clusterer.fit(iris)
    assert not hasattr(clusterer, "labels_")


@pytest.mark.parametrize("step", [1, 3, STEPS_PER_EPOCH + 1, 3 * STEPS_PER_EPOCH + 2])
def test_ctrl_c_leaves_a_fitted_estimator(small, iris, on_step, step):
    on_step(step, press_ctrl_c)
    with pytest.warns(TrainingInterruptedWarning, match="interrupted after .* of 50 epochs"):
        model = small(max_epochs=50).fit(iris)
    assert not model.converged_
    assert_usable(model, iris)
    np.testing.assert_allclose(model.rates(iris).mean(0), model.rates_, rtol=1e-6)
    assert np.isfinite(model.betas_).all()


def test_ctrl_c_keeps_the_history_of_full_epochs(small, iris, on_step):
    on_step(3 * STEPS_PER_EPOCH + 2, press_ctrl_c)
    with pytest.warns(TrainingInterruptedWarning, match="after 3 of 50 epochs"):
        model = small(max_epochs=50).fit(iris)
    assert model.n_iter_ == 3
    assert model.history_["train_rates"].shape == (3, 2)
    assert model.history_["train_distortion"].shape == (3,)


def test_training_goes_on_after_ctrl_c(small, iris, on_step, monkeypatch):
    on_step(7, press_ctrl_c)
    model = small(max_epochs=60, warm_start=True, n_components=3)
    with pytest.warns(TrainingInterruptedWarning):
        model.fit(iris)
    monkeypatch.undo()
    assert model.fit(iris).converged_


class StopAfter(Callback):
    def __init__(self, method, n):
        self.n_calls, self.n = 0, n
        setattr(self, method, self._count)

    def _count(self, net, **kwargs):
        self.n_calls += 1
        if self.n_calls == self.n:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["on_epoch_begin", "on_batch_begin", "on_batch_end"])
def test_a_callback_may_stop_within_an_epoch(small, iris, method):
    n = 4 if method == "on_epoch_begin" else 3 * STEPS_PER_EPOCH + 2
    model = small(max_epochs=50, callbacks=[StopAfter(method, n)]).fit(iris)
    assert_usable(model, iris)
    assert model.n_iter_ == 3
    assert model.history_["train_rates"].shape == (3, 2)


@pytest.mark.parametrize("n", [1, 4])
def test_a_callback_may_stop_between_epochs(small, iris, n):
    model = small(max_epochs=50, callbacks=[StopAfter("on_epoch_end", n)]).fit(iris)
    assert_usable(model, iris)
    assert model.n_iter_ == n
    assert model.history_["train_rates"].shape == (n, 2)


@pytest.mark.parametrize("method", ["on_train_begin", "on_train_end"])
def test_ctrl_c_before_and_after_training_is_passed_on(small, iris, method):
    with pytest.raises(KeyboardInterrupt):
        small(callbacks=[StopAfter(method, 1)]).fit(iris)


# Divergence.


@pytest.mark.parametrize(
    ("action", "what"),
    [(lose_distortion, "non-finite distortion"), (lose_rate_of_z_2, "non-finite rate of z_2")],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_divergence_names_epoch_and_cause(small, iris, on_step, action, what, method):
    on_step(3 * STEPS_PER_EPOCH + 1, action)
    model = small(max_epochs=10)
    said = rf"diverged in epoch 4: {what}\..*Lower lr.*max\|X\| is 7.9, lr is 0.003"
    if method == "partial_fit":
        model.partial_fit(iris).partial_fit(iris).partial_fit(iris)
    with pytest.raises(TrainingDivergedError, match=said):
        getattr(model, method)(iris)
    assert_usable(model, iris)


@pytest.mark.parametrize("lr", [1e3, 1e6, 1e30])
@pytest.mark.parametrize("max_epochs", [1, 30])
@pytest.mark.parametrize("batch_size", [32, 256])
def test_huge_lr_diverges_or_stays_finite(small, iris, lr, max_epochs, batch_size):
    model = small(lr=lr, max_epochs=max_epochs, batch_size=batch_size)
    with contextlib.suppress(TrainingDivergedError):
        model.fit(iris)
        assert np.isfinite(model.rates_).all()
        assert np.isfinite(model.distortion_)
    assert np.isfinite(model.transform(iris)).all()
    assert np.isfinite(model.score_samples(iris)).all()


def test_large_lr_on_few_rows(small, iris):
    # Whatever is added to the loss, a step of 0.1 must not blow up the weights of ten rows.
    model = small(lr=0.1, max_epochs=50).fit(iris[::15])
    assert_usable(model, iris)
    assert max(float(p.detach().abs().max()) for p in model.module_.parameters()) < 100


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "bool"])
def test_divergence_on_any_dtype(small, iris, on_step, dtype):
    on_step(1, lose_distortion)
    with pytest.raises(TrainingDivergedError, match=r"max\|X\| is (1|7)"):
        small().fit(iris.astype(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("fit_first", [False, True])
def test_training_goes_on_after_divergence(small, iris, on_step, monkeypatch, method, fit_first):
    model = small(warm_start=True, n_components=3, max_epochs=60)
    if fit_first:
        model.fit(iris)
    on_step(1, lose_distortion)
    with pytest.raises(TrainingDivergedError):
        getattr(model, method)(iris)
    monkeypatch.undo()
    for _ in range(1 if method == "fit" else 100):
        getattr(model, method)(iris)
    np.testing.assert_allclose(model.rates_, (1, 2), atol=0.3)
    assert_usable(model, iris)


def test_fitted_attributes_describe_the_weights_after_divergence(small, iris, on_step):
    model = small(warm_start=True, max_epochs=40).fit(iris)
    on_step(2, lose_distortion)
    with pytest.raises(TrainingDivergedError):
        model.fit(iris)
    np.testing.assert_allclose(model.rates(iris).mean(0), model.rates_, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_grid_search_survives_a_diverging_candidate(small, iris):
    search = GridSearchCV(
        small(max_epochs=20, batch_size=8), {"lr": [1e-3, 1e9]}, cv=2, error_score=np.nan
    )
    with pytest.warns(FitFailedWarning, match=r"2 fits failed(?s:.*)TrainingDivergedError"):
        search.fit(iris[::2])
    assert search.best_params_ == {"lr": 1e-3}
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
