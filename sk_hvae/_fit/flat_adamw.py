"""AdamW on parameters that lie in one piece of memory, which takes one step, not one for each."""

from itertools import groupby

import torch


class FlatAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW` for networks of many small layers.

    To step, to reset and to measure gradients takes the same time for a few large tensors as for
    a single small one. So the parameters of a group lie one after the other in a flat tensor, as
    do their gradients, and the optimiser knows the flat tensors only. Parameters without
    gradients are left alone.

    The module's own parameters are views of the flat ones between `gather` and `release`.
    Outside, they have memory of their own, because a file that holds a view holds all of the
    flat tensor with it.

    Parameters
    ----------
    groups : list of dict
        Parameter groups, as in ``torch.optim.AdamW``.
    **options
        As there.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae._fit.flat_adamw import FlatAdamW
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = FlatAdamW([{"params": list(net.parameters())}], lr=0.1)
    >>> [flat.shape for flat in optimizer.flat_parameters]
    [torch.Size([3])]
    >>> optimizer.gather()
    >>> net(torch.ones(1, 2)).sum().backward()
    >>> optimizer.flat_parameters[0].grad
    tensor([1., 1., 1.])
    """

    def __init__(self, groups, **options):
        self._members = []
        flat_groups = [group | {"params": self._flatten(group["params"])} for group in groups]
        super().__init__([group for group in flat_groups if group["params"]], **options)

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

    def zero_grad(self, set_to_none=False):  # noqa: ARG002 views of gradients have to stay
        """Set all gradients to zero."""
        for flat in self.flat_parameters:
            flat.grad.zero_()


def _memory(parameter):
    return str(parameter.dtype), str(parameter.device)


def _dense_stride(parameter):
    """Return the strides of the parameter, or of a copy if it has gaps or overlaps."""
    return torch.empty_like(parameter).stride()
