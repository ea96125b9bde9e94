"""ArcFace (Deng et al., arXiv 1801.07698): a margin added to the angle."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aroface.heads.base import Gradient, Head, MarginOptions, turned, with_gradient


@dataclass(frozen=True, slots=True)
class ArcFaceOptions(MarginOptions):
    """Options of ArcFace; the defaults are those of insightface's ``arcface_torch``.

    Attributes:
        gradient: See :data:`aroface.heads.base.Gradient`; ``straight_through`` applies the margin without gradient.
        guard: True if the logit keeps falling where angle + m would pass pi, see :func:`aroface.heads.base.turned`.
    """

    gradient: Gradient = "straight_through"
    guard: bool = False


class ArcFace(Head):
    """cos(angle + m), equation 3 of the paper."""

    def __init__(self, options: ArcFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        margined = turned(cosines, self.options.m, guard=self.options.guard)
        return self.s * with_gradient(margined, cosines, self.options.gradient)
