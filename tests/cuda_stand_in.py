"""Tensors that say they are on cuda:0, and compute on the CPU: for tests without a GPU.

torch's own FakeTensorMode ends the process in the first backward pass where torch was built
without CUDA. These tensors also have values, so that whole fits run and can be compared.
"""

from weakref import WeakValueDictionary

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

CUDA = torch.device("cuda:0")
aten = torch.ops.aten

# These wait for the device to tell a value, the size of a result, or whether all went well.
_WAIT = {
    aten._linalg_check_errors,
    aten._local_scalar_dense,
    aten._unique2,
    aten.bincount,
    aten.equal,
    aten.masked_select,
    aten.multinomial,
    aten.nonzero,
    aten.unique_consecutive,
    aten.unique_dim,
}
_MOVE = {aten.copy_, aten._to_copy}
_INDEX = {aten.index, aten.index_put, aten.index_put_}


class CudaTensor(torch.Tensor):
    """A tensor that says it is on cuda:0.

    To the C++ side of torch it is on the meta device, whose backward pass needs no driver.

    Parameters
    ----------
    held : Tensor
        What it stands for, on the CPU.
    """

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            dtype=held.dtype,
            device="meta",
        )

    def __init__(self, held):
        self.held = held

    @property
    def device(self):
        return CUDA

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        self.held = other.held

    def tolist(self):
        return self.cpu().tolist()

    def new_tensor(self, data):
        return torch.tensor(data, dtype=self.dtype, device=CUDA)

    def __repr__(self):
        return f"CudaTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} outside of a CudaStandIn, or in a thread that reads ahead")


class CudaStandIn(TorchDispatchMode):
    """Compute for `CudaTensor`, as strict about devices as CUDA is, and note what waits.

    Attributes
    ----------
    waits : list of str
        Names of the operations that would have waited for the device.
    """

    def __init__(self):
        super().__init__()
        self.waits = []
        self._pinned = set()

    def __enter__(self):
        # Or else torch.tensor(..., device="cuda") asks the driver before it asks a mode.
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(False)
        return super().__exit__(*error)

    def pin(self, tensor):
        """Stand for Tensor.pin_memory: copies of the tensor need not wait."""
        self._pinned.add(tensor.untyped_storage().data_ptr())
        return tensor

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = _tensors((*args, *kwargs.values()))
        goes_to_cuda = _goes_to_cuda(func, args, kwargs, tensors)
        if not goes_to_cuda and not any(map(_is_cuda, tensors)):
            _check_generator(kwargs.get("generator"), is_cuda=False)
            return func(*args, **kwargs)
        result = _compute(func, args, kwargs, tensors, goes_to_cuda)
        if self._waits(func, args, kwargs, tensors, goes_to_cuda):
            self.waits.append(str(func))
        return result

    def _waits(self, func, args, kwargs, tensors, goes_to_cuda):
        operation = func.overloadpacket
        if operation in _INDEX and _is_cuda(args[0]):
            indices = _tensors(args[1])
            return any(not _is_cuda(i) or i.dtype == torch.bool for i in indices)
        if operation in _WAIT:
            return any(map(_is_cuda, tensors))
        places = {_is_cuda(tensor) for tensor in tensors} | {goes_to_cuda}
        return bool(tensors) and len(places) > 1 and not self._is_read_ahead(args, kwargs)

    def _is_read_ahead(self, args, kwargs):
        is_pinned = not _is_cuda(args[0]) and args[0].untyped_storage().data_ptr() in self._pinned
        return is_pinned and kwargs.get("non_blocking", False)


def _compute(func, args, kwargs, tensors, goes_to_cuda):
    """Compute on what the tensors hold; raise where tensors are not all on one device."""
    operation = func.overloadpacket
    bound = tensors
    if operation in _INDEX and _is_cuda(args[0]):
        # Indices may be on the CPU, but will be waited for.
        bound = _tensors((args[0], *args[2:], *kwargs.values()))
    places = {_is_cuda(tensor) for tensor in bound if tensor.dim() or _is_cuda(tensor)}
    if len(places) > 1 and operation not in _MOVE:
        raise RuntimeError(f"{func} got tensors on cuda:0 and on the CPU")
    _check_generator(kwargs.get("generator"), is_cuda=goes_to_cuda)
    held_kwargs = {name: _mapped(_held, value) for name, value in kwargs.items()}
    if "device" in kwargs:
        held_kwargs["device"] = torch.device("cpu")
    result = func(*_mapped(_held, args), **held_kwargs)
    if not goes_to_cuda:
        return result
    return return_and_correct_aliasing(func, args, kwargs, _mapped(_wrapped, result))


def _check_generator(generator, *, is_cuda):
    """Raise as torch does where a generator of one device is to draw for the other.

    None stands for the default generator of the right device.
    """
    if generator is None:
        return
    found, expected = (
        "cuda" if cuda else "cpu" for cuda in (generator._cdata in _CUDA_GENERATORS, is_cuda)
    )
    if found != expected:
        raise RuntimeError(f"Expected a '{expected}' device type for generator but found '{found}'")


def _goes_to_cuda(func, args, kwargs, tensors):
    """Tell whether the result is on CUDA; what C++ makes on the meta device is, too."""
    device = kwargs.get("device")
    if device is not None:
        return torch.device(device).type != "cpu"
    if func.overloadpacket is aten.copy_:
        return _is_cuda(args[0])
    return any(map(_is_cuda, tensors))


def _tensors(arguments):
    """List the tensors among arguments, which may be in lists."""
    found = []
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            found.append(argument)
        elif isinstance(argument, (list, tuple)):
            found += _tensors(argument)
    return found


def _mapped(function, value):
    """Apply a function to a value, or to all in a list; torch's own tree_map takes far longer."""
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(function, part) for part in value])
    return function(value)


def _is_cuda(tensor):
    return isinstance(tensor, CudaTensor)


def _held(value):
    return value.held if isinstance(value, CudaTensor) else value


def _wrapped(value):
    return CudaTensor(value) if isinstance(value, torch.Tensor) else value


# Operations are handed a new object for the same generator, which only its address tells.
_CUDA_GENERATORS = WeakValueDictionary()


class Generator(torch.Generator):
    """A generator that may say it is on cuda:0; the numbers are the CPU's."""

    def __new__(cls, device="cpu"):
        generator = super().__new__(cls)
        generator.place = torch.device(device)
        if generator.device == CUDA:
            _CUDA_GENERATORS[generator._cdata] = generator
        return generator

    @property
    def device(self):
        return CUDA if self.place.type == "cuda" else self.place


def pretend(monkeypatch):
    """Make torch seem to have one CUDA device while the `CudaStandIn` that comes back is on."""
    stand_in = CudaStandIn()
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: stand_in.pin(tensor))
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    return stand_in
