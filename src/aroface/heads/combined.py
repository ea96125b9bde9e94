"""Combined margins (Deng et al., arXiv 1801.07698, section 3.1): a factor and a margin of the angle, one of the cosine.

SphereFace (Liu et al., arXiv 1704.08063) is the factor alone, ArcFace the angle's margin, CosFace the cosine's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aroface.heads.base import Gradient, Head, HeadOptions, require, sine, with_gradient


@dataclass(frozen=True, slots=True)
class CombinedOptions(HeadOptions):
    """Options of combined margins; the defaults are the ArcFace paper's CM1, its CM2 has 0.9, 0.4 and 0.15.

    Attributes:
        m1: Factor of the angle, > 0; 1.7 is usual for SphereFace.
        m2: Margin in radians that is added to the angle, in [0, pi).
        m3: Margin that is subtracted from the cosine, >= 0.
        gradient: See :data:`aroface.heads.base.Gradient`; public code has ``straight_through``.
        guard: True if the logit keeps falling where the changed angle passes pi, by SphereFace's (-1)^k cos - 2k;
            public code for m1 = 1.7 has no guard.
        filter_above: Cosine above which another class is taken for the sample's own under another label, and left out
            of its loss (inter-class filtering of insightface's ``arcface_torch``); None for no filter.
        filter_to: Way of leaving it out: its cosine becomes 0 (``zero``), as in that code, or it has no part (``out``).
    """

    m1: float = 1.0
    m2: float = 0.3
    m3: float = 0.2
    gradient: Gradient = "exact"
    guard: bool = True
    filter_above: float | None = None
    filter_to: Literal["zero", "out"] = "zero"

    def __post_init__(self) -> None:
        HeadOptions.__post_init__(self)
        require(self.m1 > 0, "m1", self.m1, "m1 > 0")
        require(0 <= self.m2 < math.pi, "m2", self.m2, "0 <= m2 < pi")
        require(self.m3 >= 0, "m3", self.m3, "m3 >= 0")
        above = self.filter_above
        require(above is None or 0 < above < 1, "filter_above", above, "0 < filter_above < 1, or none")


class CombinedMargins(Head):
    """cos(m1 angle + m2) - m3, equation 4 of the ArcFace paper."""

    def __init__(self, options: CombinedOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        angle = self.options.m1 * torch.atan2(sine(cosines), cosines) + self.options.m2
        margined = angle.cos()
        if self.options.guard:
            halves = (angle / math.pi).floor()
            margined = torch.where(halves % 2 == 0, margined, -margined) - 2 * halves
        return self.s * with_gradient(margined - self.options.m3, cosines, self.options.gradient)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        if self.options.filter_above is None:
            return self.s * cosines
        left_out = 0.0 if self.options.filter_to == "zero" else -math.inf
        return torch.where(cosines > self.options.filter_above, left_out, self.s * cosines)
