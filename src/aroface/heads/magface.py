"""MagFace (Meng et al., arXiv 2103.06627): a margin that grows with the feature's norm, a measure of quality."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aroface.heads.base import Head, HeadOptions, require, turned


@dataclass(frozen=True, slots=True)
class MagFaceOptions(HeadOptions):
    """Options of MagFace; the defaults are those of the paper and the authors' scripts.

    Attributes:
        norm_min: Bound l of the paper, > 0; shorter features count as this long.
        norm_max: Bound u of the paper, > ``norm_min``; longer features count as this long.
        margin_min: Margin in radians of a feature of length ``norm_min``, in [0, pi).
        margin_max: Margin in radians of a feature of length ``norm_max``, in [``margin_min``, pi).
        lambda_g: Weight of the term that rewards long features, >= 0.
        easy_margin: True if the margin applies only where the angle is below a right one, as in the authors' code;
            otherwise it does wherever angle + margin stays below pi, with ArcFace's guard beyond.
    """

    norm_min: float = 10.0
    norm_max: float = 110.0
    margin_min: float = 0.45
    margin_max: float = 0.8
    lambda_g: float = 35.0
    easy_margin: bool = True

    def __post_init__(self) -> None:
        HeadOptions.__post_init__(self)
        require(self.norm_min > 0, "norm_min", self.norm_min, "norm_min > 0")
        require(self.norm_max > self.norm_min, "norm_max", self.norm_max, f"norm_max > norm_min = {self.norm_min}")
        require(self.margin_min >= 0, "margin_min", self.margin_min, "margin_min >= 0")
        wanted = f"margin_min = {self.margin_min} <= margin_max < pi"
        require(self.margin_min <= self.margin_max < math.pi, "margin_max", self.margin_max, wanted)
        require(self.lambda_g >= 0, "lambda_g", self.lambda_g, "lambda_g >= 0")


class MagFace(Head):
    """MagFace; margin and penalty have a gradient towards the norms within their range."""

    def __init__(self, options: MagFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def sample_terms(self, norms: Tensor, generator: torch.Generator | None, *, update_statistics: bool) -> Tensor:
        """Compute margins (b, 1) in radians, linear in the norms."""
        options = self.options
        slope = (options.margin_max - options.margin_min) / (options.norm_max - options.norm_min)
        return (slope * (self._within(norms) - options.norm_min) + options.margin_min).unsqueeze(1)

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Compute the target logits; the one term is the margin."""
        margins = terms[:, 0]
        if not self.options.easy_margin:
            return self.s * turned(cosines, margins, guard=True)
        return self.s * torch.where(cosines > 0, turned(cosines, margins), cosines)

    def penalty(self, norms: Tensor) -> Tensor:
        """Compute the paper's lambda (a / u² + 1 / a), with the norm a within its range."""
        norms = self._within(norms)
        return self.options.lambda_g * (norms / self.options.norm_max**2 + 1 / norms)

    def _within(self, norms: Tensor) -> Tensor:
        return norms.clamp(self.options.norm_min, self.options.norm_max)
