"""The number of threads is fixed for the length of fits and transforms, and given back."""

import threading

import numpy as np
import pytest
import torch

import sk_hvae
from sk_hvae import HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._data.threads import FixedThreads


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Forget the number of threads, and give back torch's afterwards."""
    before = torch.get_num_threads()
    monkeypatch.setattr("sk_hvae._data.threads._number", None)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch):
    """Note the number of threads of every matrix product of a model."""
    numbers = []
    linear = torch.nn.functional.linear

    def note(*args):
        numbers.append(torch.get_num_threads())
        return linear(*args)

    monkeypatch.setattr(torch.nn.functional, "linear", note)
    return numbers


def test_the_number_is_that_of_the_first_use(small, iris, seen):
    torch.set_num_threads(1)
    model = small().fit(iris)
    latents = model.transform(iris)
    torch.set_num_threads(3)  # as numba does
    for use in (
        model.transform,
        model.rates,
        model.score,
        model.reconstruct,
        model.partial_fit,
        lambda X: model.sample(5),
        lambda X: model.inverse_transform(latents),
        small().fit,
    ):
        use(iris)
        assert torch.get_num_threads() == 3
    assert set(seen) == {1}


def test_other_estimators_keep_to_it(iris, seen):
    torch.set_num_threads(1)
    tiny = {"hidden_layer_sizes": 4, "n_components": 2, "max_epochs": 2, "random_state": 0}
    with FixedThreads():
        torch.set_num_threads(1)
    torch.set_num_threads(2)
    clusterer = HVAEClusterer(2, n_init=1, **tiny).fit(iris)
    clusterer.predict(iris)
    clusterer.sample(3, cluster=0)
    multi = MultiRateHVAETransformer((0.5, 2), layer_rates=1, **tiny).fit(iris)
    sk_hvae.rate_map(multi, iris, layer_rates=[1])
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


def test_the_same_seed_gives_the_same_bits(small, iris):
    torch.set_num_threads(1)
    first = small().fit(iris).transform(iris)
    torch.set_num_threads(2)
    np.testing.assert_array_equal(small().fit(iris).transform(iris), first)


def test_the_number_can_be_set(small, iris, seen):
    torch.set_num_threads(1)
    sk_hvae.set_num_threads(2)
    small().fit(iris)
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1


def test_it_is_given_back_after_an_error(iris, small):
    torch.set_num_threads(1)
    sk_hvae.set_num_threads(2)
    with pytest.raises(ValueError, match="layer_rates"):
        small(layer_rates=(-1, 2)).fit(iris)
    with pytest.raises(ZeroDivisionError), FixedThreads():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 1


def test_threads_have_memories_of_their_own():
    torch.set_num_threads(2)
    sk_hvae.set_num_threads(1)
    after = []

    def use():
        torch.set_num_threads(3)
        with FixedThreads():
            assert torch.get_num_threads() == 1
        after.append(torch.get_num_threads())

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert after == [3]


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", True, None])
def test_only_whole_numbers_of_at_least_one(number):
    with pytest.raises(ValueError, match="n_threads must be a whole number of at least 1"):
        sk_hvae.set_num_threads(number)
