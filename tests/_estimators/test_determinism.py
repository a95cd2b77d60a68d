"""The same seed gives the same numbers; no row depends on another; global state stays."""

import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sk_hvae.nn import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning")

VARIANTS = {
    "plain": {},
    "ladder": {"inference": "ladder"},
    "early stopping": {"early_stopping": True},
    "betas": {"layer_rates": None, "betas": (0.5, 2.0)},
    "per feature": {"likelihood": Gaussian(sigma="per_feature")},
    "bfloat16": {"precision": "bfloat16"},
}
MEASURES = ["transform", "reconstruct", "rates", "distortion", "score_samples", "typicality"]


def assert_same(model, other, X):
    np.testing.assert_array_equal(model.transform(X), other.transform(X))
    np.testing.assert_array_equal(model.rates_, other.rates_)
    np.testing.assert_array_equal(model.betas_, other.betas_)
    np.testing.assert_array_equal(model.sample(5), other.sample(5))
    for name in model.history_:
        np.testing.assert_array_equal(model.history_[name], other.history_[name])


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_seed_same_model(small, iris, variant):
    params = VARIANTS[variant]
    assert_same(small(**params).fit(iris), small(**params).fit(iris), iris)


# The rows of iris are sorted by species, so the first are not like the others.
@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ScaleWarning")
def test_same_seed_same_model_by_partial_fit(small, iris):
    first, second = small(), small()
    for batch in np.array_split(iris, 3):
        first.partial_fit(batch)
        second.partial_fit(batch)
    assert_same(first, second, iris)


def test_random_state_instances_count_like_their_seed(small, iris):
    model = small(random_state=np.random.RandomState(3)).fit(iris)
    same = small(random_state=3).fit(iris)
    np.testing.assert_array_equal(model.transform(iris), same.transform(iris))


@pytest.mark.slow
def test_same_model_in_a_worker_process(small, iris, processes):
    with ProcessPoolExecutor(1, mp_context=processes) as pool:
        model = pool.submit(small().fit, iris).result()
    assert_same(small().fit(iris), model, iris)


def test_same_model_in_threads(small, iris):
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda seed: small(random_state=seed).fit(iris), [0, 1, 0, 1]))
    for seed, model in zip([0, 1, 0, 1], models, strict=True):
        assert_same(small(random_state=seed).fit(iris), model, iris)


@pytest.mark.parametrize("other", [1, None])
def test_different_seeds_differ(small, iris, other):
    model, different = small().fit(iris), small(random_state=other).fit(iris)
    assert not np.array_equal(model.transform(iris), different.transform(iris))
    assert not np.array_equal(model.sample(5), different.sample(5))


def global_states():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return (
        random.getstate(),
        numpy_state["key"].tobytes(),
        numpy_state["pos"],
        torch.get_rng_state().numpy().tobytes(),
    )


def test_global_random_states_are_left_alone(small, iris, tmp_path):
    before = global_states()
    model = small().fit(iris)
    model.partial_fit(iris)
    model.transform(iris)
    model.latents(iris, sample=True)
    model.sample(10)
    model.score(iris)
    model.save(tmp_path / "model")
    type(model).load(tmp_path / "model")
    assert global_states() == before


def test_global_settings_are_left_alone(small, iris):
    def settings():
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
            np.geterr(),
        )

    before = settings()
    small(precision="bfloat16").fit(iris).sample(3)
    assert settings() == before


def test_fit_inside_a_block_without_gradients(small, iris):
    with torch.no_grad():
        model = small().fit(iris)
    assert_same(small().fit(iris), model, iris)


@pytest.mark.parametrize("method", MEASURES)
def test_repeated_use_gives_the_same_bits(fitted, iris, method):
    use = getattr(fitted, method)
    np.testing.assert_array_equal(use(iris), use(iris))


@pytest.mark.parametrize("method", MEASURES)
@pytest.mark.parametrize("variant", ["plain", "ladder"])
def test_rows_do_not_depend_on_each_other(small, iris, method, variant):
    model = small(**VARIANTS[variant]).fit(iris)
    use = getattr(model, method)
    together = use(iris)
    order = np.random.default_rng(0).permutation(150)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(use(iris[order]), together[order], **tolerance)
    np.testing.assert_allclose(use(iris[10:31]), together[10:31], **tolerance)
    alone = np.concatenate([use(row[None]) for row in iris[:20]])
    np.testing.assert_allclose(alone, together[:20], **tolerance)


def test_chunks_of_wide_data_do_not_show(small, monkeypatch):
    X = np.random.default_rng(0).normal(size=(100, 20))
    model = small().fit(X)
    whole, rates = model.transform(X), model.rates(X)
    monkeypatch.setattr("sk_hvae._data.rows._CHUNK_ELEMENTS", 7 * 20)
    np.testing.assert_allclose(model.transform(X), whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.rates(X), rates, rtol=1e-5, atol=1e-5)


def test_use_does_not_change_the_estimator(small, iris):
    model = small().fit(iris)
    before = {name: value.clone() for name, value in model.module_.state_dict().items()}
    attributes = set(vars(model))
    for method in MEASURES:
        getattr(model, method)(iris)
    model.sample(3)
    assert set(vars(model)) == attributes
    assert all(torch.equal(before[k], v) for k, v in model.module_.state_dict().items())
    assert not model.module_.training


def test_fit_does_not_change_parameters(small, iris):
    rates, sizes = np.array([1.0, 2.0]), [2, 3]
    model = small(layer_rates=rates, n_components=sizes, random_state=np.random.RandomState(0))
    before = model.get_params()
    model.fit(iris)
    assert all(value is before[name] for name, value in model.get_params().items())
    assert rates.tolist() == [1.0, 2.0]
    assert sizes == [2, 3]
