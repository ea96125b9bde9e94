"""Batch norm that normalises by the batch without remembering it, or by what it remembers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from aroface.models.temporary import temporarily


def frozen_statistics(module: nn.Module) -> AbstractContextManager[None]:
    """Keep the running statistics of all batch norms in ``module`` still while the body runs.

    In training mode batch norm goes on normalising by the batch's own mean and variance; running mean, running variance
    and ``num_batches_tracked`` are not touched. In evaluation mode nothing changes.
    """
    return temporarily(False, "track_running_stats", _norms(module))


def running_statistics(module: nn.Module) -> AbstractContextManager[None]:
    """Let all batch norms in ``module`` that keep running statistics normalise by them while the body runs.

    So no image's output depends on the others of its batch, and in a batch norm synchronised over processes none waits
    for another. All other layers stay in their mode, and the running statistics as they are.
    """
    return temporarily(False, "training", [norm for norm in _norms(module) if norm.running_mean is not None])


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]
