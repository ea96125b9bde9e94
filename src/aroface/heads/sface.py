"""SFace (Zhong et al., arXiv 2205.12010): intra- and inter-class forces that vanish once angles are good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aroface.heads.base import Head, HeadOptions, Reduction, require


@dataclass(frozen=True, slots=True)
class SFaceOptions(HeadOptions):
    """Options of SFace; the defaults are those of the authors' code.

    Attributes:
        k: Steepness of both forces' sigmoids, > 0.
        a: Target angle in radians below which a sample is pulled no further.
        b: Angle in radians to another class above which it is pushed no further.
    """

    k: float = 80.0
    a: float = 0.8
    b: float = 1.23

    def __post_init__(self) -> None:
        HeadOptions.__post_init__(self)
        require(self.k > 0, "k", self.k, "k > 0")
        for name in ("a", "b"):
            value = getattr(self, name)
            require(0 <= value <= torch.pi, name, value, f"0 <= {name} <= pi")


class SFace(Head):
    """No softmax, but scaled cosines under weights that have no gradient."""

    reduction: ClassVar[Reduction] = "sum"

    def __init__(self, options: SFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        pull = torch.sigmoid(self.options.k * (cosines.detach().arccos() - self.options.a))
        return self.s * pull * cosines

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        push = torch.sigmoid(self.options.k * (self.options.b - cosines.detach().arccos()))
        return self.s * push * cosines
