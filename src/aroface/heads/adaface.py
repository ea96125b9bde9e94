"""AdaFace (Kim et al., arXiv 2204.00964): angular and additive margins that depend on the feature's norm.

The norm stands for image quality: a face with a long feature is pushed harder when it is hard, one with a short feature
when it is easy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from aroface.errors import InputError
from aroface.heads.margin import Gradient, Margin, MarginOptions, with_gradient

EPSILON = 1e-3
NORM_RANGE = (1e-3, 100.0)


@dataclass(frozen=True, slots=True)
class AdaFaceOptions(MarginOptions):
    """Options of AdaFace; the defaults are those of the authors' code.

    Attributes:
        h: how many standard deviations of the norm span the margin's range, > 0 (concentration of equation 16).
        alpha: weight of the newest batch in the running statistics, in (0, 1].
        gradient: see :data:`aroface.heads.margin.Gradient`.
        norm_stats: whether each process follows the norms of its own batch, or all follow those of the global one.
    """

    m: float = 0.4
    h: float = 0.333
    alpha: float = 0.01
    gradient: Gradient = "exact"
    norm_stats: Literal["local", "global"] = "local"

    def __post_init__(self) -> None:
        MarginOptions.__post_init__(self)
        if not self.h > 0:
            raise InputError(f"h is {self.h}", record="head", expected="h > 0")
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha is {self.alpha}", record="head", expected="0 < alpha <= 1")


class AdaFace(Margin):
    """Equations 15 to 19 of the paper.

    The running mean and standard deviation of the norms start at 20 and 100 as in the authors' code, are buffers (saved
    with the weights), and take in the present batch before they are used.
    """

    norm_mean: Tensor
    norm_std: Tensor

    def __init__(self, options: AdaFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor, *, update_statistics: bool = True) -> Tensor:
        """See :class:`Margin`; all cosines, not only the target's, are kept off ±1 as in the authors' code."""
        limit = 1 - EPSILON
        return super().forward(cosines.clamp(-limit, limit), labels, norms, update_statistics=update_statistics)

    def margined(self, target: Tensor, norms: Tensor, *, update_statistics: bool) -> Tensor:
        """See :class:`Margin`."""
        margin = self.options.m
        quality = self.quality(norms, update_statistics=update_statistics)
        angle = (target.arccos() - margin * quality).clamp(EPSILON, math.pi - EPSILON)
        return with_gradient(angle.cos() - (margin + margin * quality), target, self.options.gradient)

    @torch.no_grad()
    def quality(self, norms: Tensor, *, update_statistics: bool) -> Tensor:
        """The normalised norm (B,) in [-1, 1] that takes the place of image quality, without gradient.

        Raises:
            ValueError: statistics are to move and there are fewer than two norms.
        """
        norms = norms.clamp(*NORM_RANGE)
        if update_statistics:
            mean, std = _mean_and_std(norms, everywhere=self.options.norm_stats == "global")
            self.norm_mean.lerp_(mean, self.options.alpha)
            self.norm_std.lerp_(std, self.options.alpha)
        return (self.options.h * (norms - self.norm_mean) / (self.norm_std + EPSILON)).clamp(-1, 1)


def _mean_and_std(values: Tensor, *, everywhere: bool) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of ``values`` (B,), here or over all processes."""
    count_and_sum = torch.stack([values.new_tensor(values.numel()), values.sum()])
    _sum_over_processes(count_and_sum, everywhere)
    count = count_and_sum[0]
    if count < 2:
        raise ValueError("the statistics of AdaFace need at least two norms")
    mean = count_and_sum[1] / count
    squares = (values - mean).square().sum()
    _sum_over_processes(squares, everywhere)
    return mean, (squares / (count - 1)).sqrt()


def _sum_over_processes(values: Tensor, everywhere: bool) -> None:
    if everywhere and dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
