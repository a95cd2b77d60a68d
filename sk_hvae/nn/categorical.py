"""A categorical top layer: q(c | x) over a few states, whose expectation is taken exactly."""

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from sk_hvae.nn.latents import Latent, gaussian_latent
from sk_hvae.nn.noise import gumbel


class CategoricalPrior(NamedTuple):
    """Uniform distribution over the states.

    Attributes
    ----------
    mean : Tensor of shape (b, n_states)
        Probabilities.
    """

    mean: Tensor

    def sample(self, noise):
        """Sample states, one-hot; ``noise`` maps a tensor to standard normal noise."""
        return _one_hot_sample(self.mean.log(), noise)


class CategoricalPosterior(NamedTuple):
    """q(c | x).

    Attributes
    ----------
    log_probs : Tensor of shape (b, n_states)
        ln q(c | x), normalised.
    """

    log_probs: Tensor

    @property
    def mean(self):
        """Probabilities of the states, (b, n_states)."""
        return self.log_probs.exp()

    def sample(self, noise):
        """Sample states, one-hot, by the Gumbel-max trick.

        Gradients go straight through to the probabilities (Jang et al., ICLR 2017; Bengio et
        al., 2013).
        """
        probs = self.mean
        return _one_hot_sample(self.log_probs, noise) + probs - probs.detach()

    def kl(self):
        """KL(q || uniform) in nats: ln n_states less the entropy, (b,)."""
        n_states = self.log_probs.shape[1]
        return (self.mean * self.log_probs).sum(1) + math.log(n_states)


class CategoricalLatent(Latent):
    """A top layer with one of ``n_states`` states and a uniform prior.

    Its rate is at most ln n_states.

    Parameters
    ----------
    n_states : int
        Number of states, the layer's units.
    logits_net : nn.Module
        Maps the encoder's features to logits (b, n_states).
    enumerated : bool, default=True
        Whether training takes the exact expectation over the states, at the price of
        inferring the layers below for each. Otherwise it samples one, with straight-through
        gradients. Measurements always take the exact expectation.
    """

    def __init__(self, n_states, logits_net, enumerated=True):
        super().__init__(n_states)
        self.logits_net = logits_net
        self.enumerated = enumerated

    @property
    def enumerates(self):
        """Whether to take the exact expectation over the states now."""
        return self.enumerated or not self.training

    def prior(self, z_above, n_rows):
        return CategoricalPrior(self.unit.new_full((n_rows, self.n_units), 1 / self.n_units))

    def posterior(self, features, z_above):
        return CategoricalPosterior(self.logits_net(features).float().log_softmax(1))


def top_latent(kind, inference, n_units, head):
    """Build a top layer, which has no prior network.

    Parameters
    ----------
    kind : {"gaussian", "categorical", "gumbel"}
        Distribution; "gumbel" is a categorical one trained on samples.
    inference : {"top_down", "ladder"}
        Form of a Gaussian posterior.
    n_units : int
        Number of units or states.
    head : callable
        Builds a network from the encoder's features to a number of raw parameters.

    Returns
    -------
    Latent
    """
    if kind == "gaussian":
        return gaussian_latent(inference, n_units, None, head(2 * n_units))
    return CategoricalLatent(n_units, head(n_units), enumerated=kind == "categorical")


def _one_hot_sample(log_probs, noise):
    states = (log_probs + gumbel(noise(log_probs))).argmax(1)
    return functional.one_hot(states, log_probs.shape[1]).to(log_probs)
