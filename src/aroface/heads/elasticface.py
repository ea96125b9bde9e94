"""ElasticFace (Boutros et al., arXiv 2109.09416): margins drawn anew for each sample, on the angle or on the cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aroface.heads.base import Gradient, Head, MarginOptions, require, turned, with_gradient


@dataclass(frozen=True, slots=True)
class ElasticFaceOptions(MarginOptions):
    """Options of ElasticFace; the defaults are ElasticFace-Arc's.

    The paper's m and sigma: Arc 0.5 and 0.05, Cos 0.35 and 0.05, Arc+ 0.5 and 0.0175, Cos+ 0.35 and 0.02.

    Attributes:
        variant: Margin added to the angle (``arc``) or subtracted from the cosine (``cos``); m is the margins' mean.
        sigma: Standard deviation of the margins, >= 0.
        plus: True if the largest margin of the batch goes to the sample farthest from its class, and so on down,
            instead of independent draws. ``released`` hands the sorted margins out by the inverse of that order, as the
            authors' code does, which mixes them again. Over the batch of all ranks, where that code has one rank's.
        gradient: Gradient of ``arc``, see :data:`aroface.heads.base.Gradient`; the two are the same for ``cos``.
    """

    variant: Literal["arc", "cos"] = "arc"
    sigma: float = 0.05
    plus: bool | Literal["released"] = False
    gradient: Gradient = "exact"

    def __post_init__(self) -> None:
        MarginOptions.__post_init__(self)
        require(self.sigma >= 0, "sigma", self.sigma, "sigma >= 0")


class ElasticFace(Head):
    """ArcFace or CosFace with margins ~ N(m, sigma).

    For the "+" of the paper, and of the authors' code, see ``plus`` of :class:`ElasticFaceOptions`.
    """

    def __init__(self, options: ElasticFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options

    @torch.no_grad()
    def sample_terms(self, norms: Tensor, generator: torch.Generator | None, *, update_statistics: bool) -> Tensor:
        """Draw margins (b, 1) ~ N(m, sigma)."""
        device = None if generator is None else generator.device
        draws = torch.randn(len(norms), 1, generator=generator, device=device)
        return self.options.m + self.options.sigma * draws.to(norms)

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Compute the target logits; the one term is the margin."""
        margins = terms[:, 0]
        if self.options.plus == "released":
            margins = margins.sort().values[cosines.detach().argsort(descending=True, stable=True)]
        elif self.options.plus:
            far_to_near = cosines.detach().argsort(stable=True)
            margins = torch.empty_like(margins).index_copy_(0, far_to_near, margins.sort(descending=True).values)
        if self.options.variant == "cos":
            return self.s * (cosines - margins)
        return self.s * with_gradient(turned(cosines, margins), cosines, self.options.gradient)
