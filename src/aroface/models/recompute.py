"""Activations that are computed again in the backward pass instead of being kept: less memory for more time.

Gradients, outputs and running statistics are those of the plain passes. The second computation of a batch norm must not
move its running statistics a second time, and must save the tensors that the first one saved, for autograd compares
their number; so it sees the tracking flag of the first pass, and copies of the statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from aroface.models.module_contexts import copied_statistics


def recomputed(block: nn.Module, maps: Tensor) -> Tensor:
    """``block(maps)``, of which only ``maps`` is kept for the backward pass.

    Args:
        block: Module without dropout: no state of random numbers is kept.
        maps: Input of any shape that ``block`` takes.
    """
    norms = [layer for layer in block.modules() if isinstance(layer, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    out: Tensor = checkpoint(
        block,
        maps,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _untouched_statistics(norms, tracked)),
    )
    return out


@contextmanager
def _untouched_statistics(norms: Sequence[_BatchNorm], tracked: Sequence[bool]) -> Iterator[None]:
    """Let the body see copies of the running statistics, and ``tracked`` as the flags that say whether they move."""
    flags = [norm.track_running_stats for norm in norms]
    for norm, flag in zip(norms, tracked, strict=True):
        norm.track_running_stats = flag
    try:
        with copied_statistics(norms):
            yield
    finally:
        for norm, flag in zip(norms, flags, strict=True):
            norm.track_running_stats = flag
