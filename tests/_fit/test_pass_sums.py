import math

import pytest
import torch

from sk_hvae._fit.pass_sums import PassSums
from sk_hvae.nn.objective import LossTerms

CPU = torch.device("cpu")


def terms(distortion, *rates):
    return LossTerms(torch.zeros(()), torch.tensor(distortion), torch.tensor(rates))


def read(sums):
    return sums.read(lambda tensor: tensor)


def test_means_are_over_rows_and_not_over_batches():
    sums = PassSums(2, CPU)
    sums.add(terms(1.0, 2.0, 3.0), 30)
    sums.add(terms(5.0, 6.0, 7.0), 10)
    means, broken = read(sums)
    assert means == pytest.approx([2.0, 3.0, 4.0])
    assert broken == [0, 0, 0]


def test_a_batch_that_is_not_finite_is_left_out_and_shown():
    sums = PassSums(1, CPU)
    sums.add(terms(1.0, 2.0), 4)
    sums.add(terms(3.0, math.nan), 4)
    means, broken = read(sums)
    assert means == [1.0, 2.0]
    assert broken[0] == 12.0
    assert math.isnan(broken[1])


def test_there_are_no_means_if_all_batches_are_broken():
    sums = PassSums(1, CPU)
    sums.add(terms(math.inf, 1.0), 4)
    assert read(sums)[0] == []
