"""AdaFace (Kim et al., arXiv 2204.00964): angular and additive margins that depend on the feature's norm.

The norm is a proxy of image quality: a face with a long feature is pushed harder when it is hard, one with a short
feature when it is easy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aroface.distributed.collectives import sum_over_ranks
from aroface.heads.base import Gradient, Head, MarginOptions, require, with_gradient

EPSILON = 1e-3
LARGEST_COSINE = 1 - EPSILON
NORM_RANGE = (1e-3, 100.0)


@dataclass(frozen=True, slots=True)
class AdaFaceOptions(MarginOptions):
    """Options of AdaFace; the defaults are those of the authors' code.

    Attributes:
        h: Number of standard deviations of the norm that span the margin's range, > 0 (concentration of equation 16).
        alpha: Weight of the newest batch in the running statistics, in (0, 1].
        gradient: See :data:`aroface.heads.base.Gradient`.
        norm_stats: Batch whose norms move the statistics: each rank's own, or the global one.
    """

    m: float = 0.4
    h: float = 0.333
    alpha: float = 0.01
    gradient: Gradient = "exact"
    norm_stats: Literal["local", "global"] = "local"

    def __post_init__(self) -> None:
        MarginOptions.__post_init__(self)
        require(self.h > 0, "h", self.h, "h > 0")
        require(0 < self.alpha <= 1, "alpha", self.alpha, "0 < alpha <= 1")


class AdaFace(Head):
    """Equations 15 to 19 of the paper.

    The running mean and standard deviation of the norms start at 20 and 100 as in the authors' code, are buffers (saved
    with the weights), and take in the present batch before they are used. All cosines, not only the target's, are kept
    off ±1 as in the authors' code.
    """

    norm_mean: Tensor
    norm_std: Tensor

    def __init__(self, options: AdaFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    @torch.no_grad()
    def sample_terms(self, norms: Tensor, generator: torch.Generator | None, *, update_statistics: bool) -> Tensor:
        """Compute the normalised norms (b, 1) in [-1, 1], the proxy of image quality, without gradient.

        Raises:
            ValueError: Statistics are to move and there are fewer than two norms.
        """
        norms = norms.clamp(*NORM_RANGE)
        if update_statistics:
            mean, std = _mean_and_std(norms, over_ranks=self.options.norm_stats == "global")
            self.norm_mean.lerp_(mean, self.options.alpha)
            self.norm_std.lerp_(std, self.options.alpha)
        return (self.options.h * (norms - self.norm_mean) / (self.norm_std + EPSILON)).clamp(-1, 1).unsqueeze(1)

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Compute the target logits; the one term is the quality."""
        cosines, quality = cosines.clamp(-LARGEST_COSINE, LARGEST_COSINE), terms[:, 0]
        margin = self.options.m
        angle = (cosines.arccos() - margin * quality).clamp(EPSILON, math.pi - EPSILON)
        return self.s * with_gradient(angle.cos() - (margin + margin * quality), cosines, self.options.gradient)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.s * cosines.clamp(-LARGEST_COSINE, LARGEST_COSINE)


def _mean_and_std(values: Tensor, *, over_ranks: bool) -> tuple[Tensor, Tensor]:
    """Compute mean and unbiased standard deviation of ``values`` (b,), of this rank or over all."""
    count_and_sum = torch.stack([values.new_tensor(values.numel()), values.sum()])
    if over_ranks:
        sum_over_ranks(count_and_sum)
    count = count_and_sum[0]
    if count < 2:
        raise ValueError("the statistics of AdaFace need at least two norms")
    mean = count_and_sum[1] / count
    squares = (values - mean).square().sum()
    if over_ranks:
        sum_over_ranks(squares)
    return mean, (squares / (count - 1)).sqrt()
