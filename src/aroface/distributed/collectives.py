"""Collectives over the default process group; without one, a world of one rank.

All ranks must call a function that communicates, in the same order and with the same shapes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if _is_distributed() else 0


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if _is_distributed() else 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum ``values`` over the ranks, in place and without gradient."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def total(values: Tensor) -> Tensor:
    """Sum ``values`` over the ranks, differentiably: the gradient is the sum of the ranks' gradients.

    Unlike :func:`sum_over_ranks` it needs a process group.
    """
    summed: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return summed


def gather(own: Tensor) -> Tensor:
    """Concatenate the ranks' tensors (b, ...) to (B, ...), without gradient."""
    own = own.detach()
    if world_size() == 1:
        return own
    gathered = own.new_empty(world_size() * len(own), *own.shape[1:])
    dist.all_gather_single(gathered, own.contiguous())
    return gathered


def gather_features(own: Tensor) -> Tensor:
    """Concatenate the ranks' features (b, D) to (B, D), for computations that are split over the ranks.

    The gradients of the ranks' parts are summed on the rank of the features, and multiplied by the number of ranks,
    because DistributedDataParallel averages over them later.
    """
    gathered: Tensor = own if world_size() == 1 else _Gather.apply(own, True)  # type: ignore[no-untyped-call]
    return gathered


def gather_own(own: Tensor) -> Tensor:
    """Concatenate the ranks' tensors (b, ...) to (B, ...), for computations that each rank does in full.

    Each rank has the whole gradient of its own part, so that nothing is summed; it is multiplied by the number of ranks
    as in :func:`gather_features`.
    """
    gathered: Tensor = own if world_size() == 1 else _Gather.apply(own, False)  # type: ignore[no-untyped-call]
    return gathered


def own_part(gathered: Tensor, own: Tensor) -> Tensor:
    """Return ``gathered`` (B, ...) with the gradient of :func:`gather_own`, for what was gathered before; no exchange.

    Args:
        gathered: Result of a gathering function on ``own``.
        own: Tensor (b, ...) of this rank.
    """
    result: Tensor = own if world_size() == 1 else _OwnPart.apply(own, gathered)  # type: ignore[no-untyped-call]
    return result


def mean_over_ranks(own: Tensor) -> Tensor:
    """Average a loss that each rank computes from its own samples; the result is the same on all ranks.

    The gradient of each rank's part is that of its own loss, since DistributedDataParallel averages over the ranks.
    """
    mean: Tensor = own if world_size() == 1 else _Mean.apply(own)  # type: ignore[no-untyped-call]
    return mean


def gather_partials(own: Tensor) -> Tensor:
    """Stack the ranks' partial results (B,) to (world, B), which each rank reduces alike.

    Only the own row has a gradient: each rank continues through its own part.
    """
    gathered = gather(own.unsqueeze(0))
    return torch.cat([gathered[: rank()], own.unsqueeze(0), gathered[rank() + 1 :]])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, summed: bool) -> Tensor:
        ctx.summed = summed
        return gather(own)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = _own_sum(gradient) if ctx.summed else gradient.chunk(world_size())[rank()]
        return own * world_size(), None


class _OwnPart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, gathered: Tensor) -> Tensor:
        return gathered.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.chunk(world_size())[rank()] * world_size(), None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return sum_over_ranks(own.clone()) / world_size()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = values.clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        result = gradient.clone()
        dist.all_reduce(result)
        return result


def _own_sum(values: Tensor) -> Tensor:
    """Return this rank's part (b, ...) of ``values`` (B, ...), summed over the ranks."""
    own = values.new_empty(len(values) // world_size(), *values.shape[1:])
    dist.reduce_scatter_single(own, values.contiguous())
    return own
