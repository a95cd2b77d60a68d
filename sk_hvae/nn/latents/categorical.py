"""A categorical top layer: q(c | x) over a few states, whose expectation is taken exactly."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sk_hvae.nn.latents.gaussian import Latent, gaussian_latent
from sk_hvae.nn.noise import gumbel

# Frequency of a state that no row takes, so that its logarithm is finite.
_RAREST = 1e-4


class CategoricalPrior(NamedTuple):
    """p(c).

    Attributes
    ----------
    log_probs : Tensor of shape (b, n_states)
        ln p(c), normalised.
    """

    log_probs: Tensor

    @classmethod
    def uniform(cls, like):
        """Give all states the same probability; ``like`` is any tensor (b, n_states)."""
        return cls(torch.full_like(like, -math.log(like.shape[1])))

    @property
    def mean(self):
        """Probabilities of the states, (b, n_states)."""
        return self.log_probs.exp()

    def sample(self, noise):
        """Sample states, one-hot; ``noise`` maps a tensor to standard normal noise."""
        return _one_hot_sample(self.log_probs, noise)


class CategoricalPosterior(NamedTuple):
    """q(c | x).

    Attributes
    ----------
    log_probs : Tensor of shape (b, n_states)
        ln q(c | x), normalised.
    prior : CategoricalPrior
        What the posterior is measured against.
    """

    log_probs: Tensor
    prior: CategoricalPrior

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
        """KL(q || p) in nats, (b,)."""
        return self.log_ratio(self.mean)

    def log_ratio(self, z):
        """Ln q(z) - ln p(z) of states (b, n_states), one-hot or mixed: (b,)."""
        return (z * (self.log_probs - self.prior.log_probs)).sum(1)

    def cross_log_prob(self, z):
        """Ln q(z_i | row j) of states (n, n_states), one-hot, for every i and j: (n, b)."""
        return z @ self.log_probs.to(z).T


class CategoricalLatent(Latent):
    """A top layer with one of ``n_states`` states.

    Its rate is at most ln n_states.

    Parameters
    ----------
    n_states : int
        Number of states, the layer's units.
    logits_net : nn.Module
        Maps the encoder's activations to logits (b, n_states).
    enumerated : bool, default=True
        Whether training takes the exact expectation over the states, for which the layers
        below are inferred once for each. Otherwise it samples a state, with straight-through
        gradients. Measurements always take the exact expectation.
    learned_prior : bool, default=False
        Whether the prior learns how frequent the states are, so that the rate is the
        information about the state that x gives; otherwise the prior is uniform.
    """

    prior_logits: nn.Parameter | None

    def __init__(self, n_states, logits_net, enumerated=True, learned_prior=False):
        super().__init__(n_states)
        self.logits_net = logits_net
        self.enumerated = enumerated
        logits = nn.Parameter(torch.zeros(n_states)) if learned_prior else None
        self.register_parameter("prior_logits", logits)

    @property
    def enumerates(self):
        return self.enumerated or not self.training

    @torch.no_grad()
    def start_prior(self, shares):
        """Set the prior to how frequent states are, by shares (n, n_states), if it is learned."""
        if self.prior_logits is not None:
            self.prior_logits.copy_(shares.mean(0).clamp(min=_RAREST).log())

    def prior(self, z_above, n_rows):  # noqa: ARG002 nothing is above
        like = self.scale.expand(n_rows, -1)
        if self.prior_logits is None:
            return CategoricalPrior.uniform(like)
        return CategoricalPrior(self.prior_logits.log_softmax(0).expand_as(like))

    def posterior(self, activations, z_above):
        log_probs = self.logits_net(activations).float().log_softmax(1)
        return CategoricalPosterior(log_probs, self.prior(z_above, log_probs.shape[0]))


def top_latent(kind, inference, n_units, head):
    """Build a top layer, which has no prior network.

    Parameters
    ----------
    kind : {"gaussian", "categorical", "gumbel", "mixture"}
        Distribution. "categorical" takes exact expectations over its states in training,
        "gumbel" samples them, and so does "mixture", whose prior is learned.
    inference : {"top_down", "ladder"}
        Form of a Gaussian posterior.
    n_units : int
        Number of units or states.
    head : callable
        Builds a network from the encoder's activations to a number of raw parameters.

    Returns
    -------
    Latent
    """
    if kind == "gaussian":
        return gaussian_latent(inference, n_units, None, head(2 * n_units))
    return CategoricalLatent(
        n_units, head(n_units), enumerated=kind == "categorical", learned_prior=kind == "mixture"
    )


def _one_hot_sample(log_probs, noise):
    states = (log_probs + gumbel(noise(log_probs))).argmax(1)
    return functional.one_hot(states, log_probs.shape[1]).to(log_probs)
