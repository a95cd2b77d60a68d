"""Places of points in two dimensions, so that neighbours are neighbours there as well.

The objective is that of t-SNE (van der Maaten & Hinton, JMLR 9, 2008), with equal weights for all
neighbours. All points repel each other, and a grid makes that cheap: points become masses at the
nodes of the grid, their potential is a convolution with a kernel, and forces are its gradient.
This is the particle-mesh method of Hockney & Eastwood (Computer Simulation Using Particles, 1988);
Linderman et al. (Nature Methods 16, 2019) first computed t-SNE on a grid.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.sparse import csr_array

from sk_hvae._sklearn.inner_fits import neighbour_graph, principal_axes

# First, attraction is 12 times as strong, so that neighbours find each other before the repulsion
# parts them: the factor, and the step of points over their number, are those that t-SNE is usually
# given. With 500 steps instead of 150, 1% more of 20,000 rows had a neighbour of their class.
_EXAGGERATION, _EXAGGERATED_STEPS, _STEPS = 12.0, 50, 150
_EARLY_MOMENTUM, _MOMENTUM = 0.5, 0.8
# A coordinate steps farther while it keeps its direction, and less far when it turns round.
_GAIN, _LOSS, _LEAST_GAIN = 0.2, 0.8, 0.01
# Layouts start in a square of this size, in which no pair of points repels another one unequally.
_START = 0.01
# Between nodes of the grid, in the unit in which the kernel falls to a half; and how many of them
# are at least across a small layout. Half of it changed no layout for the better.
_SPACING, _LEAST_NODES = 0.5, 48
# The numbers of nodes are multiples of this, so that the kernel is rarely computed.
_BLOCK = 16
_MARGIN = 2  # nodes around a layout, which the splines of the outermost points reach


class _Spline(NamedTuple):
    """Nodes of the grid near each point, 9 for each, and the quadratic spline that weighs them.

    Attributes
    ----------
    nodes : ndarray of int of shape (3, 3, n)
        Numbers of nodes.
    weights : ndarray of shape (3, 3, n)
        Share of the mass of a point that each gets.
    gradients : tuple of 2 ndarrays of shape (3, 3, n)
        Derivatives of the weights by the coordinates.
    """

    nodes: np.ndarray
    weights: np.ndarray
    gradients: tuple[np.ndarray, np.ndarray]


def layout(points, n_neighbors):
    """Place points in two dimensions.

    Equal points are one, so that they have one place. The layout starts at the principal
    components. Nothing is random.

    Parameters
    ----------
    points : ndarray of shape (n, n_features)
        Finite.
    n_neighbors : int
        Number of neighbours that attract each point. All others do if there are fewer.

    Returns
    -------
    ndarray of shape (n, 2)
        Centred, with the principal axes of the layout as coordinates.
    """
    different, member = np.unique(points, axis=0, return_inverse=True)
    if len(different) < 3:
        return _scores(points)
    joined = neighbour_graph(different, min(n_neighbors, len(different) - 1))
    start = _scores(different)
    start *= _START / start[:, 0].std()
    return _scores(_descend(joined + joined.T, start.T).T[member.ravel()])


def _scores(points):
    """Return the first two principal components (n, 2); the second is 0 if there is only one."""
    if len(points) == 1:
        return np.zeros((1, 2))
    n = min(2, *points.shape)
    points = points - points.mean(0, dtype=float)
    axes, _ = principal_axes(points, n, 0)
    return np.pad(points @ axes.T, ((0, 0), (0, 2 - n)))


def _descend(graph, places):
    """Move places (2, n) along the gradient of t-SNE's objective."""
    attraction = csr_array(graph / graph.sum())
    n = places.shape[1]
    velocity, gains = np.zeros_like(places), np.ones_like(places)
    for step in range(_STEPS):
        early = step < _EXAGGERATED_STEPS
        pull = _pull(attraction, places)
        gradient = 4 * ((_EXAGGERATION if early else 1) * pull - _push(places))
        gains = np.where(gradient * velocity > 0, gains * _LOSS, gains + _GAIN)
        gains = np.maximum(gains, _LEAST_GAIN)
        velocity *= _EARLY_MOMENTUM if early else _MOMENTUM
        velocity -= n / _EXAGGERATION * gains * gradient
        places = places + velocity
        places -= places.mean(1, keepdims=True)
    return places


def _pull(attraction, places):
    """Return the gradient of the attraction between neighbours, (2, n), without its factor 4."""
    indices, starts = attraction.indices, attraction.indptr
    x, y = np.repeat(places, np.diff(starts), axis=1) - places[:, indices]
    weights = attraction.data / (1 + x * x + y * y)
    pulls = csr_array((weights, indices, starts), shape=attraction.shape)
    return pulls.sum(1) * places - (pulls @ places.T).T


def _push(places):
    """Return the gradient of the repulsion between all points, (2, n), without its factor 4.

    The potential of a point is the sum of 1 / (1 + d^2) over the others. The objective has the
    logarithm of the sum of all potentials, whose gradient is that of the potential over the sum.
    """
    low = places.min(1, keepdims=True)
    extent = (places - low).max()
    spacing = 2.0 ** np.ceil(np.log2(min(_SPACING, extent / _LEAST_NODES)))
    n_nodes = -(-int(extent / spacing + 2 * _MARGIN + 1) // _BLOCK) * _BLOCK
    spline = _spline((places - low) / spacing + _MARGIN, n_nodes)
    mass = np.bincount(spline.nodes.ravel(), spline.weights.ravel(), n_nodes**2)
    spectrum = fft.rfft2(mass.reshape(n_nodes, n_nodes), (2 * n_nodes, 2 * n_nodes))
    spectrum *= _kernel(n_nodes, spacing)
    potential = fft.irfft2(spectrum, (2 * n_nodes, 2 * n_nodes))[:n_nodes, :n_nodes]
    near = potential.ravel()[spline.nodes]
    total = (near * spline.weights).sum() - places.shape[1]  # 1 for the point itself
    gradient = np.stack([(near * slopes).sum((0, 1)) for slopes in spline.gradients])
    return -gradient / (2 * spacing * total)


def _spline(places, n_nodes):
    """Weigh the nodes near places (2, n), which are in units of the grid, as a `_Spline`."""
    nearest = places.round().astype(int)
    offset = places - nearest
    x, y = np.stack([0.5 * (0.5 - offset) ** 2, 0.75 - offset**2, 0.5 * (0.5 + offset) ** 2], 1)
    dx, dy = np.stack([offset - 0.5, -2 * offset, offset + 0.5], 1)
    i, j = nearest[:, None] + np.array([-1, 0, 1])[:, None]
    nodes = i[:, None] * n_nodes + j
    return _Spline(nodes, x[:, None] * y, (dx[:, None] * y, x[:, None] * dy))


@lru_cache(maxsize=1)
def _kernel(n_nodes, spacing):
    """Return the spectrum of 1 / (1 + d^2) on a grid that is twice as wide as a layout.

    On one of the same width, points would also repel those that are beyond the other side.
    """
    steps = np.arange(2 * n_nodes)
    squares = np.square(np.minimum(steps, 2 * n_nodes - steps) * spacing)
    return fft.rfft2(1 / (1 + squares[:, None] + squares))
