"""Detection of divergence from the loss, and losses that reach the host without waiting for the device."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BEGINNING = 20
DIVERGED = 2.0
LAG = 4
"""Number of steps that a device may be behind the host."""


class Loss(NamedTuple):
    """Loss of a step.

    Attributes:
        value: Mean over the batch.
        step: Number of the step, from 0.
        records: Positions in the training set of this process's images.
    """

    value: float
    step: int
    records: NDArray[np.int64]


class LossQueue:
    """Losses on their way to the host.

    On the CPU each arrives at once. On a GPU each is copied beside the computation and arrives `LAG` steps later, when
    the copy has long been made, so that no step waits for the one before; at the same step on every process, so that
    all of them stop together.
    """

    def __init__(self) -> None:
        self._under_way: deque[tuple[Tensor, Any, int, NDArray[np.int64]]] = deque()

    def send(self, loss: Tensor, step: int, records: NDArray[np.int64]) -> None:
        """Begin to copy the loss of a step to the host."""
        copied = None
        if loss.is_cuda:
            buffer = torch.empty_like(loss, device="cpu", pin_memory=True)
            loss = buffer.copy_(loss, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._under_way.append((loss, copied, step, records))

    def arrived(self, *, all_of_them: bool = False) -> Iterator[Loss]:
        """Yield the losses that have arrived since the last call, in order.

        Args:
            all_of_them: True to wait for those that are under way.
        """
        while self._under_way:
            loss, copied, step, records = self._under_way[0]
            if copied is not None:
                if len(self._under_way) <= LAG and not all_of_them:
                    return
                copied.synchronize()
            self._under_way.popleft()
            yield Loss(float(loss), step, records)


@dataclass(slots=True)
class DivergenceDetector:
    """Detector of divergence: mean of the first losses against a moving average of the last.

    Cross entropy with margins begins at its largest. An average of twice the beginning is no noise: at a scale of 64
    only diverged weights produce it.

    Attributes:
        seen: Number of losses so far.
        beginning: Mean of the first :data:`BEGINNING` losses.
        recent: Exponential moving average over about as many.
    """

    seen: int = 0
    beginning: float = 0.0
    recent: float = 0.0

    def trouble(self, loss: float, *, may_grow: bool = False) -> str | None:
        """Add one loss; return a message if the loss or its moving average has diverged.

        Args:
            loss: Loss of a step.
            may_grow: True for losses whose growth is no sign of divergence: only one that is not finite is.
        """
        if not math.isfinite(loss):
            return f"loss is {loss}"
        if may_grow:
            return None
        self.seen += 1
        if self.seen <= BEGINNING:
            self.beginning += (loss - self.beginning) / self.seen
            self.recent = self.beginning
            return None
        self.recent += (loss - self.recent) / BEGINNING
        if self.recent > DIVERGED * self.beginning:
            return f"mean loss is {self.recent:.1f}, {self.recent / self.beginning:.1f} times that of the beginning,"
        return None
