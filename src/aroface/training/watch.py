"""When a loss says that a training is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

BEGINNING = 20
DIVERGED = 2.0


@dataclass(slots=True)
class LossWatch:
    """The first losses of a training and a moving mean of the last.

    Cross entropy over margins begins at its largest. A mean of twice that of the beginning is no noise: at a scale of
    64 only weights that have run away give it.

    Attributes:
        seen: losses so far.
        beginning: mean of the first ones.
        recent: exponential mean of the last ones, over about as many.
    """

    seen: int = 0
    beginning: float = 0.0
    recent: float = 0.0

    def trouble(self, loss: float) -> str | None:
        """Take in one loss; a few words if it, or the mean, is beyond hope."""
        if not math.isfinite(loss):
            return f"loss is {loss}"
        self.seen += 1
        if self.seen <= BEGINNING:
            self.beginning += (loss - self.beginning) / self.seen
            self.recent = self.beginning
            return None
        self.recent += (loss - self.recent) / BEGINNING
        if self.recent > DIVERGED * self.beginning:
            return f"mean loss is {self.recent:.1f}, {self.recent / self.beginning:.1f} times that of the beginning,"
        return None
