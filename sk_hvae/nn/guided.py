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

    def forward(self, batch, noise):
        """Measure a batch.

        Parameters
        ----------
        batch : GuidedBatch
            ``x`` (b, n_features) and ``state_shares`` (b, n_states).
        noise : callable
            Maps a tensor to standard normal noise of its shape.

        Returns
        -------
        GuidedOutput
        """
        activations = self.model.activations(batch.x)
        output = self.model.forward_from(batch.x, activations, noise)
        log_probs = self.model.layers[-1].posterior(activations, None).log_probs
        disagreement = -(batch.state_shares * log_probs).sum(1)
        return GuidedOutput(output.distortion, output.rates, output.latents, disagreement)
