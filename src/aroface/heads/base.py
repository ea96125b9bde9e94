"""Base of all heads: a loss on cosines that splits into the target's branch and that of the other classes.

The target's branch is one number for each sample. The branch of the other classes is a reduction over classes, a
log-sum-exp or a sum, so that it can be computed over chunks and shards of them and combined afterwards. A head sees
cosines and feature norms and nothing else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aroface.errors import InputError

Gradient = Literal["exact", "straight_through"]
"""Gradient of the margined target towards its cosine: the derivative, or 1 whatever the margin."""

Reduction = Literal["log_sum_exp", "sum"]
"""Reduction of the logits of the other classes to one number for each sample."""

SMALLEST_SINE = 3e-4
"""Bound of the exact gradient's factor 1 / sin(angle): float32 cosines do not resolve smaller angles."""


def require(condition: bool, name: str, value: object, expected: str, where: str = "head") -> None:
    """Refuse an option out of its range.

    Args:
        condition: Condition of the range.
        name: Name of the option.
        value: Value of it.
        expected: Range, in words.
        where: Key of the recipe that it stands in.

    Raises:
        InputError: The condition does not hold.
    """
    if not condition:
        raise InputError(f"{name} is {value}", where=where, expected=expected)


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """Options that every head has.

    Attributes:
        s: Scale of the logits, > 0.
    """

    s: float = 64.0

    def __post_init__(self) -> None:
        require(self.s > 0, "s", self.s, "s > 0")


@dataclass(frozen=True, slots=True)
class MarginOptions(HeadOptions):
    """Options of the heads with a fixed margin.

    Attributes:
        m: Margin, >= 0; in radians or in units of the cosine, depending on the head.
    """

    m: float = 0.5

    def __post_init__(self) -> None:
        HeadOptions.__post_init__(self)
        require(0 <= self.m < math.pi, "m", self.m, "0 <= m < pi")


class Head(nn.Module, ABC):
    """Margin function of a classifier; subclasses define the target's logit, and some of them that of other classes.

    Parameters of a head are learned scalars, the same on all ranks: they act in :meth:`target` and :meth:`loss`, which
    all ranks compute in full, or reach :meth:`others` as columns of :meth:`other_terms`.

    One step calls, in this order: :meth:`sample_terms` and :meth:`penalty` on the rank of a sample; :meth:`observe` and
    :meth:`other_terms` on all ranks for all samples; :meth:`others` on the ranks of the classes; :meth:`target` and
    :meth:`loss` on all ranks again.

    Attributes:
        s: Scale of the logits.
        reduction: See :data:`Reduction`.
    """

    reduction: ClassVar[Reduction] = "log_sum_exp"

    def __init__(self, s: float) -> None:
        super().__init__()
        self.s = s

    def sample_terms(self, norms: Tensor, generator: torch.Generator | None, *, update_statistics: bool) -> Tensor:
        """Compute the numbers of each sample that its target logit depends on beside the cosine: none here.

        Args:
            norms: Lengths (b,) of the features before normalisation.
            generator: Source of random draws, on any device; None for torch's global one.
            update_statistics: True if running statistics of the norms, if there are any, move.

        Returns:
            Terms (b, k), k the same at each call.
        """
        return norms.new_empty(len(norms), 0)

    def start(self, num_classes: int, sample_rate: float) -> None:
        """Set initial values of parameters that depend on the number of classes, or on the share that is sampled."""
        return

    @abstractmethod
    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Compute the scaled logits (B,) of the target classes.

        Args:
            cosines: Cosines (B,) of all ranks' samples, in [-1, 1].
            terms: Terms (B, k) of all ranks' samples, see :meth:`sample_terms`.
        """

    def observe(self, target: Tensor) -> None:
        """Update running statistics of the target cosines (B,) of all ranks; not called in the adversary's pass."""
        return

    def other_terms(self, target: Tensor) -> Tensor:
        """Compute the terms (B, k) of :meth:`others` from the target cosines (B,), which have no gradient.

        Terms that need one, such as a learned scalar expanded to (B, 1), get it.
        """
        return target.new_empty(len(target), 0)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Compute the scaled logits (B, C) of the other classes; the target class's column is masked out later.

        It is called again for the gradient, so that the result must depend on the arguments alone.

        Args:
            cosines: Cosines (B, C) of a chunk of the classes, in [-1, 1].
            terms: Terms (B, k) of :meth:`other_terms`.
        """
        return self.s * cosines

    def penalty(self, norms: Tensor) -> Tensor:
        """Compute the penalty (b,) that is added to each sample's loss for its feature's length (b,)."""
        return torch.zeros_like(norms)

    def loss(self, target: Tensor, others: Tensor) -> Tensor:
        """Combine target logits (B,) and reduced other logits (B,) into losses (B,): cross entropy, or their sum."""
        difference = others - target
        # Beyond 40, log(1 + exp(x)) is x in float64, too.
        return F.softplus(difference, threshold=40) if self.reduction == "log_sum_exp" else difference


def sine(cosines: Tensor) -> Tensor:
    """Compute the non-negative sine of angles from their cosines, with a bounded gradient at 0 and pi."""
    return (1 - cosines.square()).clamp_min(SMALLEST_SINE**2).sqrt()


def turned(cosines: Tensor, margin: float | Tensor, *, guard: bool = False) -> Tensor:
    """Compute the cosines (B,) of angles that are ``margin`` radians larger.

    Args:
        cosines: Cosines (B,) in [-1, 1].
        margin: Margin in radians, one or (B,).
        guard: True to keep the result falling with the angle: where the larger angle would pass pi, m sin(m) is
            subtracted from the cosine instead (the ArcFace paper's code).
    """
    m = torch.as_tensor(margin, dtype=torch.float64) if isinstance(margin, float | int) else margin
    moved = cosines * m.cos() - sine(cosines) * m.sin()
    return torch.where(cosines > (math.pi - m).cos(), moved, cosines - m * m.sin()) if guard else moved


def with_gradient(margined: Tensor, target: Tensor, gradient: Gradient) -> Tensor:
    """Return ``margined`` with its own gradient, or with that of ``target`` (straight-through estimator)."""
    return margined if gradient == "exact" else margined.detach() + (target - target.detach())
