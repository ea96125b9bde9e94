"""Context managers on modules: statistics of batch norm, precision, temporary attribute values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch the caller's autocast off; on the meta device, which has none, do nothing."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


@contextmanager
def temporarily(value: object, attribute: str, of: Iterable[object]) -> Iterator[None]:
    """Set an attribute of several objects while the body runs, and restore their own values afterwards.

    Args:
        value: Temporary value.
        attribute: Name of the attribute.
        of: Objects with this attribute.
    """
    before = [(target, getattr(target, attribute)) for target in of]
    for target, _ in before:
        setattr(target, attribute, value)
    try:
        yield
    finally:
        for target, old in before:
            setattr(target, attribute, old)


_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of all batch norms in ``module`` still while the body runs.

    In training mode batch norm goes on normalising by the batch's own mean and variance; running mean, running variance
    and ``num_batches_tracked`` are not touched. In evaluation mode nothing changes.
    """
    synchronised: list[_BatchNorm] = []
    others: list[_BatchNorm] = []
    for norm in _norms(module):
        needs_copies = isinstance(norm, nn.SyncBatchNorm) and norm.track_running_stats
        (synchronised if needs_copies else others).append(norm)
    with temporarily(False, "track_running_stats", others), copied_statistics(synchronised):
        yield


@contextmanager
def copied_statistics(norms: Iterable[_BatchNorm]) -> Iterator[None]:
    """Let batch norms see, and move, copies of their running statistics while the body runs.

    `torch.nn.SyncBatchNorm` needs some: without them its kernel on CUDA expects counts in the type of the input, which
    is half precision under autocast, and is given float32.
    """
    kept = [(norm, {name: getattr(norm, name) for name in _STATISTICS}) for norm in norms]
    for norm, statistics in kept:
        for name, value in statistics.items():
            setattr(norm, name, None if value is None else value.clone())
    try:
        yield
    finally:
        for norm, statistics in kept:
            for name, value in statistics.items():
                setattr(norm, name, value)


def running_statistics(module: nn.Module) -> AbstractContextManager[None]:
    """Let all batch norms in ``module`` that keep running statistics normalise by them while the body runs.

    So no image's output depends on the others of its batch, and in a batch norm synchronised over processes none waits
    for another. All other layers stay in their mode, and the running statistics as they are.
    """
    return temporarily(False, "training", [norm for norm in _norms(module) if norm.running_mean is not None])


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
