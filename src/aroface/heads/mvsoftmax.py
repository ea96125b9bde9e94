"""MV-Softmax (Wang et al., arXiv 1912.00833): classes that a sample is nearer to than to its own count more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aroface.heads.base import Gradient, Head, MarginOptions, require, turned, with_gradient


@dataclass(frozen=True, slots=True)
class MVSoftmaxOptions(MarginOptions):
    """Options of MV-Softmax, in the adaptive form that the paper prefers.

    Attributes:
        variant: Margin of the target: added to the angle (``arc``, MV-Arc-Softmax) or subtracted from the cosine
            (``am``, MV-AM-Softmax, whose m is 0.35).
        t: Factor of a hard class's distance from -1, >= 1; its cosine becomes t cos + t - 1.
        gradient: Gradient of ``arc``, see :data:`aroface.heads.base.Gradient`.
        guard: Guard of ``arc``, see :class:`aroface.heads.arcface.ArcFaceOptions`.
    """

    variant: Literal["arc", "am"] = "arc"
    t: float = 1.2
    gradient: Gradient = "exact"
    guard: bool = True

    def __post_init__(self) -> None:
        MarginOptions.__post_init__(self)
        require(self.t >= 1, "t", self.t, "t >= 1")


class MVSoftmax(Head):
    """Margin of the target as in ArcFace or CosFace; a class whose cosine is above the margined target's is hard."""

    def __init__(self, options: MVSoftmaxOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.s * with_gradient(self._margined(cosines), cosines, self.options.gradient)

    def other_terms(self, target: Tensor) -> Tensor:
        """Compute the cosine (B, 1) above which another class is hard."""
        return self._margined(target).unsqueeze(1)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        t = self.options.t
        return self.s * torch.where(cosines > terms, t * cosines + (t - 1), cosines)

    def _margined(self, cosines: Tensor) -> Tensor:
        if self.options.variant == "am":
            return cosines - self.options.m
        return turned(cosines, self.options.m, guard=self.options.guard)
