import numpy as np
import pytest
import torch

from sk_hvae._data.rows import ResidentRows
from sk_hvae._fit.principal_components import (
    choose_rows,
    cluster_centres,
    n_pca_rows,
    principal_components,
)


def random_rows(n_rows=60, n_features=5, seed=0):
    """Rows with a falling spectrum and a mean off zero."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, n_features)) / np.arange(1, n_features + 1)
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    return torch.tensor(rows @ rotation + 0.3, dtype=torch.float32)


def numpy_components(rows):
    """Directions and variances, largest first, by a singular value decomposition."""
    centred = rows.double().numpy() - rows.double().numpy().mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    return directions, singular**2 / (len(rows) - 1)


class TestChooseRows:
    def test_rows_are_different_and_in_order(self):
        rows = torch.arange(100.0)[:, None]
        chosen = choose_rows(ResidentRows(rows), 30, torch.Generator().manual_seed(0))[:, 0]
        assert len(chosen) == 30
        assert (chosen.diff() > 0).all()

    def test_the_generator_decides_which(self):
        rows = torch.arange(100.0)[:, None]
        a, b, c = (
            choose_rows(ResidentRows(rows), 30, torch.Generator().manual_seed(s)) for s in (0, 0, 1)
        )
        assert torch.equal(a, b)
        assert not torch.equal(a, c)

    def test_every_row_is_as_likely(self):
        rows, generator = torch.arange(10)[:, None], torch.Generator().manual_seed(0)
        draws = torch.cat([choose_rows(ResidentRows(rows), 3, generator) for _ in range(1000)])
        counts = draws.flatten().bincount(minlength=10)
        # Each count is binomial with p = 0.3: standard deviation 14.5.
        assert ((counts - 300).abs() < 5 * 14.5).all()

    @pytest.mark.parametrize("n", [10, 11])
    def test_few_rows_are_all_taken(self, n):
        rows = random_rows(10)
        assert torch.equal(choose_rows(ResidentRows(rows), n, torch.Generator()), rows)


class TestPrincipalComponents:
    @pytest.mark.parametrize(
        ("n_rows", "n_features"), [(60, 5), (2000, 30), (600, 550), (6, 20)], ids=str
    )
    def test_components_are_those_of_a_singular_value_decomposition(self, n_rows, n_features):
        rows = random_rows(n_rows, n_features)
        directions, variances = numpy_components(rows)
        result = principal_components(rows, 4, random_state=0)
        np.testing.assert_allclose(result.variances, variances[:4], rtol=1e-3)
        cosines = (result.directions.double().numpy() * directions[:4]).sum(1)
        np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-3)
        np.testing.assert_allclose(result.mean, rows.mean(0), atol=1e-4)

    def test_directions_are_orthonormal(self):
        directions = principal_components(random_rows(), 5, random_state=0).directions
        torch.testing.assert_close(directions @ directions.T, torch.eye(5), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("n_rows", "seed"), [(30, 0), (500, 0), (500, 1), (500, 2)])
    def test_data_of_lower_rank_have_as_many_components_as_their_rank(self, n_rows, seed):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(n_rows, 2, generator=generator) @ torch.randn(2, 6, generator=generator)
        rows = (rows - rows.mean(0)) / rows.std(0)
        assert len(principal_components(rows, 6, random_state=0).variances) == 2

    def test_fewer_rows_than_columns_have_one_component_less_than_rows(self):
        assert len(principal_components(random_rows(6, 20), 16, random_state=0).variances) == 5

    @pytest.mark.parametrize("n_rows", [2, 60])
    def test_constant_data_have_no_components(self, n_rows):
        rows = torch.full((n_rows, 3), 0.1)
        result = principal_components(rows, 2, random_state=0)
        assert result.directions.shape == (0, 3)
        assert result.variances.shape == (0,)
        torch.testing.assert_close(result.mean, rows[0])

    def test_two_rows_have_the_component_between_them(self):
        rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        result = principal_components(rows, 2, random_state=0)
        torch.testing.assert_close(result.directions.abs(), torch.tensor([[0.6, 0.8]]))
        torch.testing.assert_close(result.variances, torch.tensor([12.5]))

    def test_the_seed_decides_the_result(self):
        rows = random_rows(600, 550)
        a, b = (principal_components(rows, 4, random_state=0) for _ in range(2))
        assert torch.equal(a.directions, b.directions)

    def test_enough_rows_are_used_for_wide_data_and_many_components(self):
        assert n_pca_rows(1000, 16) == 8000
        assert n_pca_rows(10**6, 100) == 400


class TestClusterCentres:
    def test_rows_that_differ_by_rounding_have_fewer_centres(self):
        which = np.random.default_rng(0).random((51, 1)) < 0.5
        rows = torch.from_numpy(np.repeat(which, 19, axis=1)).float()
        rows = (rows - rows.mean(0)) / rows.std()
        components = principal_components(rows, 3, random_state=0)
        centres = cluster_centres(rows, components, 4, random_state=0)
        scores = (rows - components.mean) @ components.directions.T
        distances = (scores[:, None] - centres).norm(dim=2)
        assert centres.shape == (4, 1)
        torch.testing.assert_close(distances.amin(1), torch.zeros(51), atol=1e-4, rtol=0)

    def test_data_without_components_have_centres_without_columns(self):
        rows = torch.full((10, 3), 0.1)
        components = principal_components(rows, 3, random_state=0)
        assert cluster_centres(rows, components, 4, random_state=0).shape == (4, 0)
