"""A second device for machines without a GPU: its arithmetic runs on the CPU, its rules are CUDA's.

Tensors on it are wrappers around CPU tensors, so results are those of the CPU's kernels. What CUDA refuses is refused:
an operation on tensors of two devices (unless one is a scalar), indices on the device into a tensor on the CPU, a
generator of the other device, SyncBatchNorm's counts of another type than its statistics. Copies between pinned memory
and the device that do not block are under way until they are waited for: the target holds rubbish, and a source that
changes meanwhile is an error.

PyTorch registers it for the whole process, before the first backward pass, and for good; so tests run functions in a
process of their own:

    with device_process() as run:
        assert run(function, argument) == expected

What it cannot do: sparse gradients, which end the process. Autocast casts convolutions, matrix products and PReLU only.
Collectives are gloo's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "second"
RUBBISH = 0xA5
aten = torch.ops.aten

calls: Counter[str] = Counter()
"""Number of requests to the device by name: ``synchronize``, ``pin``, ``wait`` for a value ..."""

_TO_HOST = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.is_nonzero.default}
_INDEXING = {
    aten.index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}

_BY_RECIPROCAL = {aten.div.Tensor: torch.mul, aten.div_.Tensor: torch.Tensor.mul_}
"""CUDA divides by a number of the host by multiplying with its reciprocal in float32."""


class Remote(torch.Tensor):
    """A tensor on the second device; ``host`` is the CPU tensor that holds its values."""

    host: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> Remote:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
        )
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Remote({self.host!r})"

    def tolist(self) -> Any:
        """Copy to the host."""
        _wait()
        return self.host.tolist()

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """Branches for CUDA are taken."""
        return True


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


def _host(value: Any) -> Any:
    return value.host if isinstance(value, Remote) else value


def _is_here(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU tensors, after the checks of a CUDA device."""
    if func.namespace == "c10d":
        return func(*tree_map(_host, args), **tree_map(_host, kwargs))
    leaves = tree_leaves((args, kwargs))
    remote = [each for each in leaves if isinstance(each, Remote)]
    local = [each for each in leaves if isinstance(each, torch.Tensor) and not isinstance(each, Remote) and each.ndim]
    device = kwargs.get("device")
    on_device = _is_here(device) if device is not None else bool(remote)
    if func in (aten._to_copy.default, aten.copy_.default):
        return _copy(func, args, kwargs, on_device)
    _check(func, args, remote, local)
    _check_generators(func, leaves, on_device)
    if func in _TO_HOST and remote:
        _wait()
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
        return _pinned(func(*args, **kwargs))
    kernel = _SYNC_BATCH_NORM.get(func, func)
    if on_device and func in _BY_RECIPROCAL and not isinstance(args[1], Remote):
        kernel, args = _BY_RECIPROCAL[func], (args[0], float(1 / torch.tensor(float(args[1]))))
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = kernel(*tree_map(_host, args), **tree_map(_host, kwargs))
    if func._schema.name.endswith("_") and args and isinstance(args[0], torch.Tensor):
        return args[0]
    if not on_device:
        return found
    known = {id(each.host): each for each in remote}

    def placed(each: Any) -> Any:
        if not isinstance(each, torch.Tensor):
            return each
        return known[id(each)] if id(each) in known else Remote(each)

    return tree_map(placed, found)


def _check(func: Any, args: Any, remote: list[Remote], local: list[torch.Tensor]) -> None:
    if func in _INDEXING:
        indices = [each for each in args[1] if isinstance(each, torch.Tensor)]
        if remote and not isinstance(args[0], Remote):
            raise RuntimeError(f"{func}: indices should be either on cpu or on the same device as the indexed tensor")
        local = [each for each in local if all(each is not index for index in indices)]
        if remote and any(each.dtype in (torch.bool, torch.uint8) for each in indices):
            _wait()
    if remote and local:
        shapes = [(*each.shape,) for each in local]
        raise RuntimeError(f"Expected all tensors to be on the same device: {func}, on the CPU {shapes}")


def _check_generators(func: Any, leaves: list[Any], on_device: bool) -> None:
    for each in leaves:
        if isinstance(each, _Generator) and (each._cdata in _remote_generators) != on_device:
            raise RuntimeError(f"{func}: the generator is one of the other device")


# -- copies that are under way ----------------------------------------------------------------------------------------
_pins: dict[int, Any] = {}
_under_way: list[tuple[torch.Tensor, torch.Tensor, bool]] = []  # host tensor, its values, whether it is the target


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    calls["pin"] += 1
    _pins[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()  # kept, so that no other gets its place
    return tensor


def _is_pinned(tensor: torch.Tensor) -> bool:
    return tensor.untyped_storage().data_ptr() in _pins


def _wait() -> None:
    """The host waits for the device, and so for all copies."""
    calls["wait"] += 1
    land(len(_under_way))


def land(count: int) -> None:
    """End the first copies that are under way."""
    done, _under_way[:] = _under_way[:count], _under_way[count:]
    for tensor, values, is_target in done:
        if is_target:
            tensor.copy_(values)
        elif not torch.equal(tensor, values):
            raise RuntimeError(f"pinned memory {(*tensor.shape,)} changed while it was copied to the device")


def _copy(func: Any, args: Any, kwargs: dict[str, Any], on_device: bool) -> Any:
    """``copy_`` and ``_to_copy``, the only two between devices."""
    if func is aten.copy_.default:
        target, source = args[:2]
        blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        _host(target).copy_(_host(source))
        result = target
    else:
        source, blocking = args[0], not kwargs.get("non_blocking")
        plain = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking", "pin_memory")}
        result = func(_host(source), **plain)
        result = Remote(result) if on_device else result
    if isinstance(source, Remote) == isinstance(result, Remote):
        return result
    host, remote = (result, source) if isinstance(source, Remote) else (source, result)
    if not _is_pinned(host):  # then CUDA copies at once, or stages what it copies
        if blocking or host is result:
            _wait()
    elif blocking:
        _wait()
    else:
        _under_way.append((host, _host(remote).to(host.dtype, copy=True), host is result))
        if host is result:
            host.view(-1).view(torch.uint8).fill_(RUBBISH)
    return result


class Event:
    """As ``torch.cuda.Event``: knows what was under way when it was recorded."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._seen: list[Any] = []

    def record(self, *_: Any) -> None:
        """Remember what is under way."""
        self._seen = [*_under_way]

    def query(self) -> bool:
        """A device is never done before it is waited for."""
        return not any(mine is each for mine in self._seen for each in _under_way)

    def synchronize(self) -> None:
        """Wait for what was under way."""
        calls["event"] += 1
        places = [number for number, each in enumerate(_under_way, 1) if any(each is mine for mine in self._seen)]
        land(max(places, default=0))


# -- SyncBatchNorm's kernels, which the CPU does not have -------------------------------------------------------------
def _per_channel(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.view([1, -1] + [1] * (like.ndim - 2))


def _axes(maps: torch.Tensor) -> list[int]:
    return [axis for axis in range(maps.ndim) if axis != 1]


def _stats(maps: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    variance, mean = torch.var_mean(maps.float(), _axes(maps), correction=0)
    return mean, (variance + eps).rsqrt()


def _gather_stats(
    maps: torch.Tensor,
    means: torch.Tensor,
    inverse_sds: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    momentum: float,
    eps: float,
    counts: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """With the check of aten/src/ATen/native/cuda/Normalization.cu: counts are of the statistics' type."""
    expected = maps.dtype if running_mean is None else running_mean.dtype
    if counts.dtype != expected:
        raise RuntimeError(f"Expected counts to have type {expected} but got {counts.dtype}")
    weights = (counts.double() / counts.double().sum())[:, None]
    mean = (weights * means).sum(0)
    variance = (weights * (inverse_sds.double().pow(-2) - eps + (means - mean).square())).sum(0)
    if running_mean is not None and running_var is not None:
        count = float(counts.sum())
        running_mean.lerp_(mean.float(), momentum)
        running_var.lerp_((variance * count / (count - 1)).float(), momentum)
    return mean.float(), (variance + eps).rsqrt().float()


def _normalise(
    maps: torch.Tensor, weight: Any, bias: Any, mean: torch.Tensor, inverse_sd: torch.Tensor, eps: float
) -> torch.Tensor:
    found = (maps.float() - _per_channel(mean, maps)) * _per_channel(inverse_sd, maps)
    if weight is not None:
        found = found * _per_channel(weight.float(), maps) + _per_channel(bias.float(), maps)
    return found.to(maps.dtype)


def _reduce(
    gradient: torch.Tensor, maps: torch.Tensor, mean: torch.Tensor, inverse_sd: torch.Tensor, weight: Any, *_: bool
) -> tuple[torch.Tensor, ...]:
    centred, axes = maps.float() - _per_channel(mean, maps), _axes(maps)
    total, product = gradient.float().sum(axes), (gradient.float() * centred).sum(axes)
    return total, product, product * inverse_sd, total.clone()


def _towards_maps(
    gradient: torch.Tensor,
    maps: torch.Tensor,
    mean: torch.Tensor,
    inverse_sd: torch.Tensor,
    weight: Any,
    total: torch.Tensor,
    product: torch.Tensor,
    counts: torch.Tensor,
) -> torch.Tensor:
    count = float(counts.sum())
    factor = inverse_sd if weight is None else inverse_sd * weight.float()
    centred = (maps.float() - _per_channel(mean, maps)) * _per_channel(inverse_sd.square() * product / count, maps)
    found = (gradient.float() - _per_channel(total / count, maps) - centred) * _per_channel(factor, maps)
    return found.to(maps.dtype)


_SYNC_BATCH_NORM: dict[Any, Callable[..., Any]] = {
    aten.batch_norm_stats.default: _stats,
    aten.batch_norm_gather_stats_with_counts.default: _gather_stats,
    aten.batch_norm_elemt.default: _normalise,
    aten.batch_norm_backward_reduce.default: _reduce,
    aten.batch_norm_backward_elemt.default: _towards_maps,
}


# -- what PyTorch wants of a device -----------------------------------------------------------------------------------
class _Module:
    """``torch.second``, and where it has the same name, what ``torch.cuda`` answers while it stands in for a GPU."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None: ...

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16, torch.float32]

    def set_device(self, *_: Any) -> None: ...

    def get_device_name(self, *_: Any) -> str:
        calls["name"] += 1
        return "second device"

    def max_memory_allocated(self, *_: Any) -> int:
        return 2**20

    def is_current_stream_capturing(self) -> bool:
        return False

    def synchronize(self, *_: Any) -> None:
        calls["synchronize"] += 1
        land(len(_under_way))


_Generator = torch.Generator
_remote_generators: set[int] = set()  # by address: an operation is given another Python object of the same generator


class _RemoteGenerator(_Generator):
    """A generator that says it is the device's."""

    def __new__(cls, device: Any = "cpu") -> _RemoteGenerator:
        made = super().__new__(cls, "cpu")
        _remote_generators.add(made._cdata)
        return made

    def __del__(self) -> None:
        _remote_generators.discard(self._cdata)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(NAME, 0)


class _Generators(type):
    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, _Generator)


class _AnyGenerator(metaclass=_Generators):
    """Stands in for ``torch.Generator``, which knows no devices of Python's."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return _RemoteGenerator() if _is_here(device) else _Generator(device)


def _moved(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """``torch.tensor`` and ``torch.as_tensor``: made on the CPU, then moved."""

    @functools.wraps(make)
    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if isinstance(data, Remote):
            return data.to(device or data.device, kwargs.get("dtype") or data.dtype)
        if any(isinstance(each, Remote) for each in tree_leaves(data)):
            data = [each.item() if isinstance(each, Remote) else each for each in data]
        return (
            make(data, *args, **kwargs).to(device) if _is_here(device) else make(data, *args, device=device, **kwargs)
        )

    return made


def _autocast(operation: Any) -> Callable[..., Any]:
    def lowered(each: Any) -> Any:
        casts = isinstance(each, torch.Tensor) and each.is_floating_point() and each.dtype != torch.float64
        return each.to(torch.get_autocast_dtype(NAME)) if casts else each

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map(lowered, (args, kwargs))
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operation(*args, **kwargs)

    return call


_kept: list[Any] = []


def install() -> torch.device:
    """Make the device exist in this process; ``torch.cuda`` answers for it."""
    device = f"{NAME}:0"
    if _kept:
        return torch.device(device)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a real GPU is hidden from this process: it would answer first
    for each in ("torch._dynamo", "torch.distributed.fsdp.sharded_grad_scaler"):
        importlib.import_module(each)  # which PyTorch would do later, under the mode
    module = _Module()
    _setup_privateuseone_for_python_backend(NAME, backend_module=module)
    answered = ("is_available", "device_count", "set_device", "get_device_name", "max_memory_allocated")
    for name in (*answered, "is_current_stream_capturing", "synchronize"):
        setattr(torch.cuda, name, getattr(module, name))
    torch.cuda.Event = Event  # type: ignore[misc, assignment]
    new_tensor = torch.tensor
    torch.Tensor.new_tensor = lambda self, data, *, dtype=None, device=None, **kwargs: new_tensor(  # type: ignore[method-assign, assignment]
        data, dtype=dtype or self.dtype, **kwargs
    ).to(device or self.device)
    torch.Generator = _AnyGenerator  # type: ignore[misc, assignment]
    torch.tensor, torch.as_tensor = _moved(torch.tensor), _moved(torch.as_tensor)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else a tensor would change and its host not
    everything, casts = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in ("conv2d", "linear", "matmul", "addmm", "mm", "bmm", "prelu"):
        casts.impl(name, _autocast(getattr(aten, name)), "AutocastPrivateUse1")
    mode = _Mode()
    mode.__enter__()
    _kept.extend((everything, casts, mode))
    return torch.device(device)


@contextlib.contextmanager
def device_process() -> Iterator[Callable[..., Any]]:
    """A process with the device; gives a function that calls another one there, with its arguments."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_start) as pool:
        yield lambda function, *args, **kwargs: pool.submit(function, *args, **kwargs).result()


def _start() -> None:
    torch.set_num_threads(1)
    install()


def run_there(rank: int, function: Callable[..., Any], *args: Any) -> Any:
    """For `gloo.run_ranks`: call ``function(rank, ...)`` in a process that has the device."""
    install()
    assert dist.is_initialized()
    return function(rank, *args)
