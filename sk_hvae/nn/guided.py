"""A hierarchy whose states are compared with the clusters of the neighbours of each row."""

from typing import NamedTuple

from torch import Tensor, nn


class GuidedOutput(NamedTuple):
    """What a pass over a batch gives; all in nats.

    Attributes
    ----------
    distortion, rates, latents
        As in `HVAEOutput`.
    disagreement : Tensor of shape (b,)
        -sum_c s_c ln q(c | x): how far the categorical posterior is from the shares that its
        states have among a row's neighbours.
    """

    distortion: Tensor
    rates: Tensor
    latents: tuple[Tensor, ...]
    disagreement: Tensor


class GuidedHierarchy(nn.Module):
    """A hierarchical VAE whose categorical top layer is compared with shares of its states.

    Parameters
    ----------
    model : HierarchicalVAE
        With a categorical top layer.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def inputs(self, x):
        """Map raw data (b, n_features) to what the encoder reads, as the model does."""
        return self.model.inputs(x)

    def cells(self, x):
        """Prepare raw data (b, n_features), as the model does."""
        return self.model.cells(x)

    def forward(self, x, noise, state_shares, inputs=None, cells=None):
        """Measure a batch.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data.
        noise : callable
            Maps a tensor to standard normal noise of its shape.
        state_shares : Tensor of shape (b, n_states)
            How large the share of each state is among the neighbours of a row; zeros for a row
            whose neighbours are not known.
        inputs : Tensor of shape (b, n_inputs), default=None
            What `inputs` makes of the raw data, if it is known already.
        cells : Cells, default=None
            What `cells` makes of it, likewise.

        Returns
        -------
        GuidedOutput
        """
        activations = self.model.activations(x, inputs)
        output = self.model.forward_from(x, activations, noise, cells)
        log_probs = self.model.layers[-1].posterior(activations, None).log_probs
        disagreement = -(state_shares * log_probs).sum(1)
        return GuidedOutput(output.distortion, output.rates, output.latents, disagreement)


def unguided(module):
    """Return the model of a `GuidedHierarchy`, and any other module as it is."""
    return module.model if isinstance(module, GuidedHierarchy) else module
