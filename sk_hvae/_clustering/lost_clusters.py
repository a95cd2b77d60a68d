"""Why fewer clusters come out of a training than were asked for."""

from typing import NamedTuple

import numpy as np

# Different rows for each cluster that is asked for; see the search's own limit.
_FEW_ROWS = 5
_MORE_BITS = " or ask for more bits in the last entry of layer_rates"


class ClusterOutcome(NamedTuple):
    """What the search before the training found, and what became of it.

    Attributes
    ----------
    n_different : int
        Number of different rows.
    n_clusters : int
        Number of clusters that are the likeliest among the neighbours of some row.
    agreement : float
        Share of the rows whose state is that cluster.
    has_wild_cells : bool
        Whether a few cells make up nearly all of a column's spread.
    """

    n_different: int
    n_clusters: int
    agreement: float
    has_wild_cells: bool = False

    @classmethod
    def of(cls, shares, states, n_different, has_wild_cells):
        """Compare the states of all rows (n,) with the clusters among their neighbours.

        ``shares`` are those of the clusters, (n, n_states), zeros where they are not known.
        """
        known = shares.any(1)
        sought = shares[known].argmax(1)
        agreement = float(np.mean(states[known] == sought))
        return cls(n_different, len(np.unique(sought)), agreement, has_wild_cells)

    def why_fewer(self, asked, found, n_epochs, has_rates):
        """Say what the missing clusters were lost to, and what to do.

        Parameters
        ----------
        asked, found : int
            Numbers of clusters.
        n_epochs : int
            How long the training was.
        has_rates : bool
            Whether rates were asked for.

        Returns
        -------
        str
        """
        if self.has_wild_cells:
            return (
                "The cells that an OutlierWarning has named are so far out that the other rows "
                "hardly differ beside them: see to them first."
            )
        if found < self.n_clusters:
            return (
                f"The training lost the others: before it, {self.n_clusters} were found among "
                f"neighbours, and after {n_epochs} epochs {self.agreement:.0%} of the "
                "rows are in the cluster of their neighbours. Train longer (max_epochs)"
                f"{_MORE_BITS if has_rates else ''}."
            )
        if self.n_different < asked:
            return (
                f"X has only {self.n_different} different rows. Ask for as many clusters at most."
            )
        if has_rates:
            return f"Ask for fewer clusters,{_MORE_BITS}."
        if self.n_different < _FEW_ROWS * asked:
            return (
                f"X has {self.n_different} different rows, too few to find so many clusters "
                "among their neighbours. Ask for fewer clusters, or pass more rows."
            )
        return (
            "Neighbours do not tell more clusters apart. Ask for fewer clusters, or, if "
            f"{n_epochs} epochs are a short training, train longer (max_epochs)."
        )
