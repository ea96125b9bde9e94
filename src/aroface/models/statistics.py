"""Batch norm that normalises by the batch without remembering it, or by what it remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of all batch norms in ``module`` still while the body runs.

    In training mode batch norm goes on normalising by the batch's own mean and variance; running mean, running variance
    and ``num_batches_tracked`` are not touched. In evaluation mode nothing changes.
    """
    tracking = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True


@contextmanager
def running_statistics(module: nn.Module) -> Iterator[None]:
    """Let all batch norms in ``module`` that keep running statistics normalise by them while the body runs.

    So no image's output depends on the others of its batch, and in a batch norm synchronised over processes none waits
    for another. All other layers stay in their mode, and the running statistics as they are.
    """
    training = [
        part
        for part in module.modules()
        if isinstance(part, _BatchNorm) and part.training and part.running_mean is not None
    ]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
