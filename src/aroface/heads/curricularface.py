"""CurricularFace (Huang et al., arXiv 2004.00288): hard negatives count more and more as training proceeds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aroface.heads.base import Gradient, Head, MarginOptions, require, turned, with_gradient


@dataclass(frozen=True, slots=True)
class CurricularFaceOptions(MarginOptions):
    """Options of CurricularFace; the defaults are those of the authors' code.

    Attributes:
        alpha: Weight of the newest batch in the running mean t of the target cosines, in (0, 1].
        gradient: Gradient of the target's logit, see :data:`aroface.heads.base.Gradient`.
        guard: Guard of the target's logit, see :class:`aroface.heads.arcface.ArcFaceOptions`.
    """

    alpha: float = 0.01
    gradient: Gradient = "exact"
    guard: bool = True

    def __post_init__(self) -> None:
        MarginOptions.__post_init__(self)
        require(0 < self.alpha <= 1, "alpha", self.alpha, "0 < alpha <= 1")


class CurricularFace(Head):
    """Positive logits as in ArcFace; a negative that is nearer than the margined target counts cos (t + cos).

    t is a running mean of the target cosines of all ranks, starts at 0, is a buffer (saved with the weights), and takes
    in the present batch before it is used.
    """

    t: Tensor

    def __init__(self, options: CurricularFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options
        self.register_buffer("t", torch.tensor(0.0))

    @torch.no_grad()
    def observe(self, target: Tensor) -> None:
        """See :class:`Head`."""
        self.t.lerp_(target.mean(), self.options.alpha)

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        margined = turned(cosines, self.options.m, guard=self.options.guard)
        return self.s * with_gradient(margined, cosines, self.options.gradient)

    def other_terms(self, target: Tensor) -> Tensor:
        """Compute the cosine above which a negative is hard, cos(angle + m) without the guard, and t: (B, 2)."""
        return torch.stack([turned(target, self.options.m), self.t.expand_as(target)], 1)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        limit, t = terms.unsqueeze(2).unbind(1)
        return self.s * torch.where(cosines > limit, cosines * (t + cosines), cosines)
