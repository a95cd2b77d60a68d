import math

import numpy as np
import pytest
import torch

from sk_hvae.nn.likelihoods import (
    Bernoulli,
    Categorical,
    DataSummary,
    DiscretizedLogisticMixture,
    Gaussian,
    NegativeBinomial,
    PerColumn,
    Poisson,
    resolve,
)

# Columns of the data: counts, categories, numbers, levels, numbers, levels, binary.
PARTS = [
    (DiscretizedLogisticMixture(2, 16), [5, 3]),
    ("gaussian", (4, 2)),
    ("categorical", 1),
    (NegativeBinomial("shared"), np.array([0])),
    ("bernoulli", np.int64(6)),
]
N_LINKED = (2, 2, 3, 1, 1)
N_OUTPUTS = (2 + 2 * 6, 2, 3, 1, 1)
ORDER = [5, 3, 4, 2, 1, 0, 6]


def rows(n_rows=30, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [
            rng.poisson(3, n_rows),
            rng.integers(3, size=n_rows),
            rng.normal(5, 2, n_rows),
            rng.integers(16, size=n_rows),
            rng.normal(-100, 50, n_rows),
            rng.integers(16, size=n_rows),
            rng.integers(2, size=n_rows),
        ]
    )
    x[0, :] = [9, 2, 4, 15, -3, 15, 1]
    return torch.tensor(x)


def by_hand(x):
    """Parts adapted to their own columns, with these columns and their parameters."""
    kinds = [
        DiscretizedLogisticMixture(2, 16),
        Gaussian(),
        Categorical(),
        NegativeBinomial("shared"),
        Bernoulli(),
    ]
    columns = torch.tensor(ORDER).split([2, 2, 1, 1, 1])
    parts = [kind.adapt(DataSummary.of([x[:, c]])) for kind, c in zip(kinds, columns, strict=True)]
    return list(zip(parts, columns, strict=True))


def parameters_of_parts(parameters):
    locations = parameters[:, : sum(N_LINKED)].split(N_LINKED, 1)
    extras = parameters[:, sum(N_LINKED) :]
    return [torch.cat((locations[0], extras), 1), *locations[1:]]


@pytest.fixture
def likelihood():
    return PerColumn(PARTS).adapt(DataSummary.of([rows()]))


@pytest.fixture
def parameters():
    generator = torch.Generator().manual_seed(1)
    return 0.5 * torch.randn(30, sum(N_OUTPUTS), generator=generator)


class TestParts:
    def test_sizes_and_columns_of_the_link(self, likelihood):
        assert likelihood.n_linked == sum(N_LINKED)
        assert likelihood.n_outputs == sum(N_OUTPUTS)
        assert likelihood.column_of_link.tolist() == [5, 3, 4, 2, 1, 1, 1, 0, 6]

    def test_link_is_that_of_the_parts_in_turn(self, likelihood):
        x = rows()
        expected = torch.cat([part.link(x[:, columns]) for part, columns in by_hand(x)], 1)
        torch.testing.assert_close(likelihood.link(x), expected)
        x[3:9, [0, 1, 5]] = math.nan
        missing = x.isnan()[:, likelihood.column_of_link]
        assert torch.equal(likelihood.link(x).isnan(), missing)
        likelihood.check(x)

    def test_log_prob_mean_and_samples_are_those_of_the_parts(self, likelihood, parameters):
        x = rows()
        found = {
            "log_prob": likelihood.log_prob(x, parameters),
            "mean": likelihood.mean(parameters),
            "sample": likelihood.sample(parameters, torch.zeros_like),
        }
        for (part, columns), own in zip(by_hand(x), parameters_of_parts(parameters), strict=True):
            expected = {
                "log_prob": part.log_prob(x[:, columns], own),
                "mean": part.mean(own),
                "sample": part.sample(own, torch.zeros_like),
            }
            for name, result in found.items():
                assert result.shape == x.shape
                # The Gaussian part has columns in double, and all columns are one tensor.
                assert result.dtype == (torch.float32 if name == "log_prob" else torch.float64)
                torch.testing.assert_close(result[:, columns], expected[name], check_dtype=False)

    def test_draws_are_data(self, likelihood, parameters):
        torch.manual_seed(0)
        likelihood.check(likelihood.sample(parameters, torch.randn_like).detach())

    def test_fit_scale_fits_all_parts(self, likelihood, parameters):
        x = rows()
        likelihood.fit_scale(x, parameters)
        parts = by_hand(x)
        for (part, columns), own in zip(parts, parameters_of_parts(parameters), strict=True):
            part.fit_scale(x[:, columns], own)
        for fitted, (part, _) in zip(likelihood.likelihoods, parts, strict=True):
            assert type(fitted) is type(part)
            for name, value in part.state_dict().items():
                torch.testing.assert_close(fitted.state_dict()[name], value)

    def test_all_parts_are_trained(self, likelihood, parameters):
        likelihood.log_prob(rows(), parameters).sum().backward()
        grads = {name: p.grad for name, p in likelihood.named_parameters()}
        assert set(grads) == {
            "likelihoods.0.log_scale",
            "likelihoods.1.log_sigma",
            "likelihoods.3.log_r",
        }
        assert all(grad is not None and (grad != 0).all() for grad in grads.values())

    def test_it_fits_each_batch_if_a_part_does(self):
        x = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
        for sigma, expected in (("optimal", True), ("learned", False)):
            likelihood = PerColumn([(Gaussian(sigma), 0), ("poisson", 1)])
            assert likelihood.adapt(DataSummary.of([x])).fits_each_batch is expected

    def test_parts_may_have_parts(self):
        x = rows()[:, :3]
        nested = PerColumn([("gaussian", 2), ([("categorical", 1), ("poisson", 0)], [0, 1])])
        flat = PerColumn([("gaussian", 2), ("poisson", 0), ("categorical", 1)])
        results = []
        for likelihood in (nested, flat):
            likelihood.adapt(DataSummary.of([x]))
            results.append(likelihood.log_prob(x, torch.zeros(len(x), likelihood.n_outputs)))
        torch.testing.assert_close(*results)
        assert nested.column_of_link.tolist() == [2, 1, 1, 1, 0]

    def test_weights_can_be_saved_and_loaded(self, likelihood, parameters):
        x = rows()
        likelihood.fit_scale(x, parameters)
        again = resolve(likelihood).adapt(likelihood.summary)
        again.load_state_dict(likelihood.state_dict())
        assert torch.equal(again.log_prob(x, parameters), likelihood.log_prob(x, parameters))


class TestArguments:
    def test_the_users_objects_are_left_alone(self):
        parts = [(Poisson(), [1]), (Gaussian(), [0])]
        likelihood = PerColumn(parts).adapt(DataSummary.of([torch.ones(2, 2)]))
        assert likelihood.parts is parts
        assert not any(hasattr(part, "summary") for part, _ in parts)
        assert all(part.state_dict() == {} for part, _ in parts)
        assert likelihood.config == {"parts": parts}
        assert resolve(likelihood).config == {"parts": parts}

    def test_its_repr_is_complete_before_and_after_it_sees_data(self):
        likelihood = PerColumn([(NegativeBinomial("shared"), [1]), ("gaussian", 0)])
        expected = (
            "PerColumn(parts=[(NegativeBinomial(dispersion='shared', exposure=None), [1]), "
            "('gaussian', [0])])"
        )
        assert repr(likelihood) == expected
        assert repr(likelihood.adapt(DataSummary.of([torch.ones(2, 2)]))) == expected

    def test_resolve_makes_it_of_a_list(self):
        parts = [("gaussian", 0), ("poisson", [1, 2])]
        assert resolve(parts).parts is parts

    @pytest.mark.parametrize(
        ("columns", "match"),
        [
            (([0], [2]), r"needs one likelihood; columns \[1\] have none\. X has 3 columns"),
            (([0, 1], [1, 2]), r"columns \[1\] have several"),
            (([0, 1, 1], [2]), r"columns \[1\] have several"),
            (([0, 1], [2, 3, -1]), r"columns \[-1, 3\] have one but are not in X"),
            (([0, 1, 2, 7], 2), r"columns \[2\] have several; columns \[7\] have one but are not"),
            (([0, 1, 2], []), r"must be an int or a sequence of int that is not empty; got \[\]"),
            (([0, 1], "2"), r"must be an int or a sequence of int that is not empty; got '2'"),
            (
                ([0, 1], [2.0]),
                r"must be an int or a sequence of int that is not empty; got \[2.0\]",
            ),
        ],
    )
    def test_every_column_needs_one_likelihood(self, columns, match):
        parts = list(zip(["gaussian", "poisson"], columns, strict=True))
        with pytest.raises(ValueError, match=match):
            PerColumn(parts).adapt(DataSummary.of([torch.ones(2, 3)]))

    def test_errors_name_the_columns(self):
        parts = [("gaussian", [0]), ("poisson", [2, 1])]
        x = torch.tensor([[0.5, 3.0, 4.0]])
        likelihood = PerColumn(parts).adapt(DataSummary.of([x]))
        x[0, 2] = -1
        match = r"column 2 of X: likelihood='poisson' needs data of at least 0; found"
        with pytest.raises(ValueError, match=match):
            likelihood.check(x)
        with pytest.raises(ValueError, match=match):
            PerColumn(parts).adapt(DataSummary.of([x]))


class TestCategories:
    """Of columns 4, 1 and 0, in this order, which hold 3, 2 and 4 categories."""

    PARTS = (
        ("poisson", 2),
        ([("categorical", [1]), ("gaussian", [0])], [3, 4]),
        ("categorical", [1, 0]),
    )
    SIZES = (3, 2, 4)

    def adapted(self):
        rows = torch.tensor(
            [
                [3.0, 1.0, 5.0, 1.5, 2.0],
                [0.0, 0.0, 1.0, 0.5, 0.0],
                [1.0, 0.0, 1.0, 0.5, 1.0],
                [2.0, 0.0, 1.0, 0.5, 0.0],
            ]
        )
        return PerColumn(list(self.PARTS)).adapt(DataSummary.of([rows]))

    def test_they_belong_to_columns_of_the_data(self):
        expected = [[4, 0], [4, 1], [4, 2], [1, 0], [1, 1], [0, 0], [0, 1], [0, 2], [0, 3]]
        assert self.adapted().nominal_categories.tolist() == expected

    def test_probabilities_and_draws(self):
        likelihood = self.adapted()
        generator = torch.Generator().manual_seed(0)
        parameters = torch.randn(1, likelihood.n_outputs, generator=generator).expand(20_000, -1)
        found = likelihood.probabilities(parameters)
        assert found.shape == (20_000, 9)
        parts = found[0].split(self.SIZES)
        torch.testing.assert_close(torch.stack([part.sum() for part in parts]), torch.ones(3))
        draws = likelihood.sample(parameters, lambda x: torch.randn(x.shape, generator=generator))
        for probability, (column, code) in zip(
            found[0], likelihood.nominal_categories.tolist(), strict=True
        ):
            frequency = (draws[:, int(column)] == code).float().mean()
            torch.testing.assert_close(frequency, probability, atol=0.02, rtol=0)

    def test_mixtures_average_numbers_alone(self):
        likelihood = self.adapted()
        parameters = torch.randn(
            3, likelihood.n_outputs, generator=torch.Generator().manual_seed(1)
        )
        weights = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
        found = likelihood.mixed_mean(weights, parameters)
        means = weights.double() @ likelihood.mean(parameters)
        torch.testing.assert_close(found[:, [2, 3]], means[:, [2, 3]])
        mixed = (weights @ likelihood.probabilities(parameters)).split(self.SIZES, 1)
        for column, probabilities in zip((4, 1, 0), mixed, strict=True):
            torch.testing.assert_close(found[:, column], probabilities.argmax(1).double())

    @pytest.mark.parametrize("kind", ["gaussian", "poisson", "bernoulli", "negative_binomial"])
    def test_numbers_have_none(self, kind):
        likelihood = resolve(kind).adapt(DataSummary.of([torch.tensor([[0.0, 1.0], [1.0, 0.0]])]))
        parameters = torch.randn(4, likelihood.n_outputs)
        assert likelihood.nominal_categories.shape == (0, 2)
        assert likelihood.probabilities(parameters).shape == (4, 0)
        torch.testing.assert_close(
            likelihood.mixed_mean(torch.full((1, 4), 0.25), parameters)[0],
            likelihood.mean(parameters).mean(0),
        )
