"""Whatever draws at random takes a seed, as scikit-learn's ``KernelDensity.sample`` does."""

import copy

import numpy as np
import pytest
import sklearn
from scipy.stats import ks_2samp

from sk_hvae import HVAEClusterer


@pytest.fixture(scope="module")
def clusterer(iris):
    small = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    return HVAEClusterer(2, **small).fit(iris)


@pytest.fixture(params=["fitted", "multi", "clusterer"])
def model(request):
    return request.getfixturevalue(request.param)


def resampled_layer(model, X, **seed):
    return model.reconstruct(X[:20], "top", resample=True, **seed)


DRAWS = {
    "sample": lambda model, X, **seed: model.sample(20, **seed),
    "sample, mean": lambda model, X, **seed: model.sample(20, mean=True, **seed),
    "latents": lambda model, X, **seed: np.hstack(model.latents(X[:20], sample=True, **seed)),
    "reconstruct": resampled_layer,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
class TestEveryDraw:
    def test_a_seed_says_all(self, draw, model, iris):
        first = draw(model, iris, random_state=3)
        np.testing.assert_array_equal(first, draw(model, iris, random_state=3))
        np.testing.assert_array_equal(first, draw(model, iris, random_state=np.int64(3)))
        assert (first != draw(model, iris, random_state=4)).any()

    def test_it_stands_for_the_estimators_own(self, draw, model, iris):
        twin = copy.copy(model).set_params(random_state=3)
        np.testing.assert_array_equal(draw(model, iris, random_state=3), draw(twin, iris))
        np.testing.assert_array_equal(draw(twin, iris, random_state=None), draw(twin, iris))
        assert twin.random_state == 3
        assert model.random_state == 0

    def test_a_random_state_goes_on(self, draw, model, iris):
        random, same = np.random.RandomState(3), np.random.RandomState(3)
        first, second = (draw(model, iris, random_state=random) for _ in range(2))
        assert (first != second).any()
        np.testing.assert_array_equal(first, draw(model, iris, random_state=same))
        np.testing.assert_array_equal(second, draw(model, iris, random_state=same))

    @pytest.mark.parametrize("seed", [-1, 2**32, "one", 0.5, np.random.default_rng(0)])
    def test_other_seeds_are_refused(self, draw, seed, model, iris):
        with pytest.raises(ValueError, match="random_state must be None, an int from 0"):
            draw(model, iris, random_state=seed)


def test_a_seed_does_not_change_what_is_not_drawn(model, iris):
    for z, same in zip(model.latents(iris, random_state=1), model.latents(iris), strict=True):
        np.testing.assert_array_equal(z, same)
    plain = model.reconstruct(iris, 2)
    np.testing.assert_array_equal(model.reconstruct(iris, 2, random_state=1), plain)


def test_a_cluster_takes_a_seed_too(clusterer):
    first = clusterer.sample(9, 1, random_state=3)
    np.testing.assert_array_equal(first, clusterer.sample(9, cluster=1, random_state=3))
    assert (first != clusterer.sample(9, 1, random_state=4)).any()


def test_rows_are_distributed_alike_for_all_seeds(fitted):
    many = fitted.sample(2000)
    draws = [fitted.sample(2000, random_state=seed) for seed in range(1, 4)]
    for draw in draws:
        assert min(ks_2samp(many[:, j], draw[:, j]).pvalue for j in range(4)) > 1e-3
    # Different seeds are independent: their rows do not go together.
    assert abs(np.corrcoef(draws[0][:, 0], draws[1][:, 0])[0, 1]) < 0.1


def test_positions_stay(fitted, clusterer, iris):
    assert fitted.sample(2).shape == (2, 4)
    assert fitted.latents(iris[:3], True)[0].shape == (3, 3)
    assert fitted.reconstruct(iris[:3], 2, True).shape == (3, 4)
    assert clusterer.sample(2, 0).shape == (2, 4)
    for refused in (lambda: fitted.sample(2, True), lambda: fitted.latents(iris, True, 0)):
        with pytest.raises(TypeError, match="positional argument"):
            refused()


def test_metadata_routing_knows_nothing_of_it(model):
    with sklearn.config_context(enable_metadata_routing=True):
        assert "random_state" not in repr(model.get_metadata_routing())
    assert not hasattr(model, "set_transform_request")
