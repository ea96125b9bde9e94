"""UniFace (Zhou et al., ICCV 2023): one learned threshold separates all positive cosines from all negative ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aroface.heads.base import Head, MarginOptions, Reduction, require


@dataclass(frozen=True, slots=True)
class UniFaceOptions(MarginOptions):
    """Options of UniFace's unified cross entropy; the defaults are those of the authors' code.

    Attributes:
        m: Margin that is subtracted from the target's cosine.
        negatives: Factor lambda of the sum over other classes, > 0.
    """

    m: float = 0.4
    negatives: float = 1.0

    def __post_init__(self) -> None:
        MarginOptions.__post_init__(self)
        require(self.negatives > 0, "negatives", self.negatives, "negatives > 0")


class UniFace(Head):
    """log(1 + exp(b - s (cos - m))) and, over the other classes, the sum of log(1 + exp(s cos - b)).

    The bias b is one learned scalar; b / s is the unified threshold. It starts at log(10 C r), C being the number of
    classes and r the share that is sampled, and decays where biases do.

    Attributes:
        bias: The bias, a scalar.
    """

    reduction: ClassVar[Reduction] = "sum"

    def __init__(self, options: UniFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options
        self.bias = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def start(self, num_classes: int, sample_rate: float) -> None:
        """See :class:`Head`."""
        self.bias.fill_(math.log(10 * num_classes * sample_rate))

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.s * (cosines - self.options.m) - self.bias

    def other_terms(self, target: Tensor) -> Tensor:
        """Return the bias (B, 1)."""
        return self.bias.expand(len(target), 1)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Compute the loss (B, C) of each other class, which the reduction adds up."""
        return F.softplus(self.s * cosines - terms, threshold=40)

    def loss(self, target: Tensor, others: Tensor) -> Tensor:
        """See :class:`Head`."""
        return F.softplus(-target, threshold=40) + self.options.negatives * others
