"""By what likelihood rows are told apart in the search for clusters."""

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits

from sk_hvae._fit.clusters import likelihood_for_search
from sk_hvae.nn import Bernoulli, DataSummary, Gaussian, Poisson

DIGITS = torch.tensor(load_digits().data[:200])


def chosen(likelihood, x):
    summary = DataSummary.of([x])
    return likelihood_for_search(likelihood.adapt(summary), summary)


@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_images_from_black_to_white_get_a_bernoulli_of_their_ends(offset):
    x = DIGITS / 4 + offset
    x[0, 3] = torch.nan
    found = chosen(Gaussian(), x)
    assert isinstance(found, Bernoulli)
    assert (found.low, found.high) == (offset, offset + 4)


def test_noisy_images_have_no_ends():
    torch.manual_seed(0)
    x = DIGITS + torch.randn_like(DIGITS)
    assert chosen(Gaussian(), x).config == Gaussian().config


def test_one_bright_image_makes_no_end():
    x = DIGITS.clone()
    x[0] *= 2
    assert isinstance(chosen(Gaussian(), x), Gaussian)


@pytest.mark.parametrize("likelihood", [Gaussian(scaling="columns"), Poisson()])
def test_what_else_was_asked_for_stays(likelihood):
    found = chosen(likelihood, DIGITS)
    assert found is not likelihood
    assert found.config == likelihood.config


def test_tables_keep_their_likelihood():
    x = torch.tensor(load_breast_cancer().data)
    assert isinstance(chosen(Gaussian(), x), Gaussian)


def test_one_value_has_no_two_ends():
    assert isinstance(chosen(Gaussian(scaling="shared"), torch.ones(9, 64)), Gaussian)
