"""Layouts: the gradient is that of t-SNE's objective, and neighbours stay neighbours."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array
from sklearn.datasets import load_iris
from sklearn.manifold import trustworthiness

from sk_hvae._clustering import layout as layouts
from sk_hvae._clustering.layout import layout


def places(n, spread):
    return np.random.default_rng(0).normal(0, spread, (2, n))


def kernel(places):
    """1 / (1 + d^2) of all pairs but those of a point with itself."""
    squares = np.square(places[:, :, None] - places[:, None]).sum(0)
    return (1 - np.eye(places.shape[1])) / (1 + squares)


class TestGradient:
    def test_repulsion_is_that_of_all_pairs(self, monkeypatch):
        y = places(60, 5)
        weights = kernel(y)
        exact = (weights**2 * (y[:, :, None] - y[:, None])).sum(2) / weights.sum()
        errors = []
        for spacing in (0.5, 0.25, 0.125, 0.0625):
            monkeypatch.setattr(layouts, "_SPACING", spacing)
            errors.append(np.abs(layouts._push(y) - exact).max() / np.abs(exact).max())
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.01

    def test_both_parts_make_the_gradient_of_the_divergence(self, monkeypatch):
        monkeypatch.setattr(layouts, "_SPACING", 0.0625)
        y = places(12, 2)
        joint = np.random.default_rng(1).random((12, 12)) * (1 - np.eye(12))
        joint += joint.T
        joint /= joint.sum()

        def divergence(flat):
            q = kernel(flat.reshape(2, -1))
            some = joint > 0
            return (joint[some] * np.log(joint[some] / (q / q.sum())[some])).sum()

        expected = approx_fprime(y.ravel(), divergence, 1e-7).reshape(2, -1)
        found = 4 * (layouts._pull(csr_array(joint), y) - layouts._push(y))
        np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


class TestLayout:
    def test_neighbours_stay_neighbours(self):
        points = load_iris().data
        placed = layout(points, 15)
        assert placed.shape == (150, 2)
        principal = layouts._scores(points)
        assert trustworthiness(points, placed) > trustworthiness(points, principal[:, :1])
        assert trustworthiness(points, placed) > 0.97

    def test_parts_groups_that_a_plane_cannot_show(self):
        """Eight corners of a cube, of which principal components show four."""
        corners = np.repeat(np.indices((2, 2, 2)).reshape(3, -1).T, 20, axis=0)
        points = corners + np.random.default_rng(0).normal(0, 0.1, corners.shape)
        placed = layout(points, 10).reshape(8, 20, 2)
        spread = placed.std(1).max()
        centres = placed.mean(1)
        gaps = np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(8, 1)]
        assert gaps.min() > 3 * spread

    def test_is_the_same_every_time_and_in_any_order(self):
        points = load_iris().data[::3]
        once = layout(points, 10)
        np.testing.assert_array_equal(layout(points, 10), once)
        np.testing.assert_allclose(layout(points[::-1], 10)[::-1], once, atol=1e-9)

    def test_copies_have_one_place(self):
        points = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 4, axis=0)
        placed = layout(points, 5).reshape(20, 4, 2)
        np.testing.assert_array_equal(placed, placed[:, :1].repeat(4, 1))
        assert len(np.unique(placed[:, 0], axis=0)) == 20

    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_few_points(self, n):
        placed = layout(np.arange(3.0 * n).reshape(n, 3) ** 2, 15)
        assert placed.shape == (n, 2)
        assert np.isfinite(placed).all()
        assert len(np.unique(placed, axis=0)) == n

    def test_equal_points(self):
        np.testing.assert_array_equal(layout(np.ones((6, 3)), 15), np.zeros((6, 2)))
