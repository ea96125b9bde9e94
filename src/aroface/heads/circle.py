"""Circle loss on classes (Sun et al., arXiv 2002.10857): each cosine is weighted by its distance from its optimum."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aroface.heads.base import Head, MarginOptions


@dataclass(frozen=True, slots=True)
class CircleOptions(MarginOptions):
    """Options of Circle loss; the defaults are the paper's for faces.

    Attributes:
        s: Scale, the paper's gamma.
        m: Relaxation of the optima 1 + m and -m, and of the limits 1 - m and m.
    """

    s: float = 256.0
    m: float = 0.25


class Circle(Head):
    """Equations 8 and 9 of the paper, in the form of a softmax over classes; the weights have no gradient."""

    def __init__(self, options: CircleOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        m = self.options.m
        return self.s * (1 + m - cosines.detach()).clamp_min(0) * (cosines - (1 - m))

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        m = self.options.m
        return self.s * (cosines.detach() + m).clamp_min(0) * (cosines - m)
