"""NAdam on parameters that lie in one piece of memory, which takes one step, not one for each."""

import inspect
from itertools import groupby

import torch
from torch.optim.adamw import adamw


class FlatNAdam(torch.optim.Optimizer):
    """AdamW with Nesterov's momentum [1]_, for networks of many small layers.

    A step is that of AdamW for a share ``betas[0]`` of the learning rate, and goes along the
    newest gradient for the rest of it (QHAdam with nu_1 = beta_1 and nu_2 = 1 [2]_). So it bears
    larger learning rates than AdamW, and comes to the same objective in 60% of the steps;
    ``docs/user_guide/speed.rst`` says which others were tried.

    To step, to reset and to measure gradients takes the same time for a few large tensors as for
    a single small one. So the parameters of a group lie one after the other in a flat tensor, as
    do their gradients, and the optimiser knows the flat tensors only. Parameters without
    gradients are left alone.

    The module's own parameters are views of the flat ones between `gather` and `release`.
    Outside, they have memory of their own, because a file that holds a view holds all of the
    flat tensor with it.

    The class is not derived from an optimiser of torch, which imports torch's compiler at its
    first use: more than a second, that a whole fit of a few hundred rows does not take.

    Parameters
    ----------
    groups : list of dict
        Parameter groups, as in ``torch.optim.AdamW``.
    lr, betas, eps, weight_decay
        As there.

    References
    ----------
    .. [1] Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.
    .. [2] Ma & Yarats, "Quasi-Hyperbolic Momentum and Adam for Deep Learning", ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae._fit.flat_nadam import FlatNAdam
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = FlatNAdam([{"params": list(net.parameters())}], lr=0.1)
    >>> [flat.shape for flat in optimizer.flat_parameters]
    [torch.Size([3])]
    >>> optimizer.gather()
    >>> net(torch.ones(1, 2)).sum().backward()
    >>> optimizer.flat_parameters[0].grad
    tensor([1., 1., 1.])
    """

    grad_scale = found_inf = None
    """What a `GradientGuard` divides gradients by, and 1.0 where it skips a step; tensors."""

    def __init__(self, groups, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        if not lr >= 0:  # torch.optim.AdamW checks it as well
            raise ValueError(f"lr must be a number from 0 on; got {lr!r}.")
        self._members = []
        flat_groups = [group | {"params": self._flatten(group["params"])} for group in groups]
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__([group for group in flat_groups if group["params"]], defaults)

    def add_param_group(self, param_group):
        """Add a group, as torch does, but without its compiler."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def _flatten(self, parameters):
        """Return a flat parameter for each dtype and device."""
        flats = []
        moved = sorted((p for p in parameters if p.requires_grad), key=_memory)
        for _, alike in groupby(moved, _memory):
            members = list(alike)
            flat = torch.nn.Parameter(torch.cat([p.detach().flatten() for p in members]))
            flat.grad = torch.zeros_like(flat)
            self._members.append((flat, members))
            flats.append(flat)
        return flats

    @property
    def flat_parameters(self):
        """The flat tensors, of which ``grad`` is always there."""
        return [flat for flat, _ in self._members]

    @torch.no_grad()
    def gather(self):
        """Let the flat tensors hold the values of the parameters, and these be views of them."""
        for flat, members in self._members:
            sizes = [p.numel() for p in members]
            pieces = zip(members, flat.split(sizes), flat.grad.split(sizes), strict=True)
            for parameter, values, gradients in pieces:
                shape, stride = parameter.shape, _dense_stride(parameter)
                values = values.as_strided(shape, stride)
                values.copy_(parameter)
                parameter.data = values
                parameter.grad = gradients.as_strided(shape, stride)

    def release(self):
        """Give the parameters memory of their own, and no gradients."""
        for _, members in self._members:
            for parameter in members:
                parameter.data = parameter.detach().clone()
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure=None):
        """Take a step; returns what the closure returns, which computes the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for flat in group["params"]:
                self._move(flat, self._state_of(flat), group)
        return loss

    def _move(self, flat, state, group):
        """Take a step of AdamW along beta m + (1 - beta) g instead of m, the mean of gradients g.

        With m = beta m' + (1 - beta) g this is beta^2 m' + (1 - beta^2) g: what AdamW makes of the
        last mean m' if it is told that its decay is beta^2. Its correction for a mean that starts
        at zero then is a little too small, by a quarter at most, which shortens the first 20 steps.
        """
        beta, gradient, mean = group["betas"][0], flat.grad, state["exp_avg"]
        adamw(
            [flat],
            [gradient],
            [mean],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=True,
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=beta**2,
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        if self.found_inf is not None:
            gradient = torch.where(self.found_inf > 0, mean, gradient)
        mean.lerp_(gradient, 1 - 1 / beta)

    def _state_of(self, flat):
        """Return the moments of a flat tensor, by the names of ``torch.optim.AdamW``."""
        state = self.state[flat]
        if not state:
            state["step"] = torch.zeros((), device=flat.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(flat), torch.zeros_like(flat)
        return state

    def zero_grad(self, set_to_none=False):  # noqa: ARG002 views of gradients have to stay
        """Set all gradients to zero."""
        for flat in self.flat_parameters:
            flat.grad.zero_()


def _memory(parameter):
    return str(parameter.dtype), str(parameter.device)


def _dense_stride(parameter):
    """Return the strides of the parameter, or of a copy if it has gaps or overlaps."""
    return torch.empty_like(parameter).stride()
