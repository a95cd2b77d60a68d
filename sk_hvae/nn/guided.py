"""Neighbours share clusters: a hierarchy that is told where the states of its rows should go."""

from typing import NamedTuple

from torch import Tensor, nn


class GuidedOutput(NamedTuple):
    """What a pass over a batch gives; all in nats.

    Attributes
    ----------
    distortion, rates, latents
        As in `HVAEOutput`.
    disagreement : Tensor of shape (b,)
        -sum_c t_c ln q(c | x): how far the categorical posterior is from its targets.
    """

    distortion: Tensor
    rates: Tensor
    latents: tuple[Tensor, ...]
    disagreement: Tensor


class GuidedHierarchy(nn.Module):
    """A hierarchical VAE with a categorical top layer, and how far it is from its targets.

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
            ``x`` (b, n_features) and ``targets`` (b, n_states).
        noise : callable
            Maps a tensor to standard normal noise of its shape.

        Returns
        -------
        GuidedOutput
        """
        features = self.model.features(batch.x)
        output = self.model.measure(batch.x, features, noise)
        log_probs = self.model.layers[-1].posterior(features, None).log_probs
        disagreement = -(batch.targets * log_probs).sum(1)
        return GuidedOutput(output.distortion, output.rates, output.latents, disagreement)
