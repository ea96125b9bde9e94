"""ArcFace (Deng et al., arXiv 1801.07698): a margin added to the angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aroface.heads.margin import Gradient, Margin, MarginOptions, sine, with_gradient


@dataclass(frozen=True, slots=True)
class ArcFaceOptions(MarginOptions):
    """Options of ArcFace; the defaults are what insightface's ``arcface_torch`` does.

    Attributes:
        gradient: ``straight_through`` applies the margin without gradient.
        guard: where angle + m would pass pi, subtract m sin(m) from the cosine instead, so that the logit keeps falling
            with the angle (the ArcFace paper's code).
    """

    gradient: Gradient = "straight_through"
    guard: bool = False


class ArcFace(Margin):
    """cos(angle + m), equation 3 of the paper."""

    def __init__(self, options: ArcFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def margined(self, target: Tensor, norms: Tensor, *, update_statistics: bool) -> Tensor:
        """See :class:`Margin`."""
        margin = self.options.m
        margined = target * math.cos(margin) - sine(target) * math.sin(margin)
        if self.options.guard:
            fallback = target - margin * math.sin(margin)
            margined = torch.where(target > math.cos(math.pi - margin), margined, fallback)
        return with_gradient(margined, target, self.options.gradient)
