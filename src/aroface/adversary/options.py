"""Options of the alignment adversary, and the two profiles that choose among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from aroface.adversary.warp import Fill, Similarity, landmark_displacement
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.typed_options import typed_options

PROFILES: dict[str, dict[str, Any]] = {
    "official": {
        "fill": "pad",
        "clip": "released",
        "adversary_on": "all",
        "mix": "independent",
        "update_batch_norm": True,
        "scale_loss": False,
    },
    "clean": {
        "fill": "exact",
        "clip": "symmetric",
        "adversary_on": "all",
        "mix": "disjoint",
        "update_batch_norm": False,
        "scale_loss": True,
    },
}
"""``official`` repeats the ARoFace authors' code where that can change results, ``clean`` corrects it."""

UNSAID: dict[str, Any] = {"scale_loss": True}
"""Values of options that a recipe does not name, for any profile: the behaviour from before the option existed. So a
finished run keeps its meaning, and recipes that repeat the authors' code state the option themselves."""

_NOT_NEGATIVE = (
    *("step_mean", "step_sd", "step_scale", "step_theta", "step_shift"),
    *("start_sd_scale", "start_sd_theta", "start_sd_shift", "warmup_epochs"),
)


@dataclass(frozen=True, slots=True)
class AdversaryOptions:
    """Options of :class:`aroface.adversary.alignment.AlignmentAdversary`.

    The default distributions are those of the ARoFace authors' code.

    Attributes:
        kind: Kind of attack. ``gradient`` ascends the training loss; ``random`` takes the same steps in random
            directions, as an ablation of the gradient; ``none`` warps nothing.
        steps: Number of ascent steps, >= 1.
        step_mean: Mean of the step size, one draw per batch for scale, angle and shift each.
        step_sd: Standard deviation of the step size.
        step_scale: Factor of the step in scale. At 0 the ascent leaves scale where it started; only together with a
            ``start_sd_scale`` of 0 is it absent altogether. Likewise for the other two.
        step_theta: Factor of the step in angle.
        step_shift: Factor of the step in shift.
        start: Shape of the three distributions of the start, ``normal`` or ``uniform``; at equal standard deviation a
            uniform one ends √3 standard deviations from its mean.
        start_sd_scale: Standard deviation of the starting scale about 1.
        start_sd_theta: Standard deviation of the starting angle about 0, radians.
        start_sd_shift: Standard deviation of the starting shift about 0, halves of the image.
        warped_ratio: Share of the batch that is warped, in [0, 1].
        fill: Content outside the image, see :func:`aroface.adversary.warp.warp`.
        clip: Limits of a warp around its start. ``symmetric``: scale ±0.5, angle ±0.8, shift ±0.3. ``released``, as
            in the authors' code: scale -0.5 to +1.5, and the shift's upper bound is 0.3 above the starting *angle*.
            With one step of 0.1 neither acts.
        adversary_on: Images that are attacked. ``all``: the whole batch, though only a part is used; ``subset``: only
            the part that is used, which is cheaper, and an approximation where ``statistics`` is ``batch``.
        mix: Way of mixing. ``independent`` draws the clean and the warped images each by a permutation of its own, so
            that some images come twice and others not at all; ``disjoint`` takes every image once.
        statistics: Statistics that the backbone's batch norm uses during the attack. ``batch``: the batch, as in the
            authors' code; it couples the images, and a quarter of a batch is attacked in other directions than as a
            part of the whole. ``running``: the running statistics. Then images are attacked independently, a subset as
            in the whole batch, and no process waits for another's statistics.
        update_batch_norm: True if the attack's forward passes move the backbone's running statistics.
        precision: Precision of the attack's forward and backward passes. ``bf16`` runs them under autocast to bfloat16
            where the hardware is faster at it: of the gradient only signs are used. Where the loss function disables
            autocast itself, it stays disabled. ``same`` leaves the precision to the loss function.
        scale_loss: True if under fp16 the loss of the attack is multiplied by the GradScaler's factor. Only the
            gradient's signs matter, and without it small gradients, those of images that are easy, underflow to zero,
            so that such an image stays at its start. The authors' code does not multiply. Read by this project's own
            training, and without effect there unless its precision is fp16; other loops scale their own loss.
        landmark_budget_px: Largest displacement of a landmark of the ArcFace template; None for no limit.
        warmup_epochs: Number of first epochs over which the training loop raises the strength from 0 to 1.
    """

    kind: Literal["gradient", "random", "none"] = "gradient"
    steps: int = 1
    step_mean: float = 0.1
    step_sd: float = 0.001
    step_scale: float = 1.0
    step_theta: float = 1.0
    step_shift: float = 1.0
    start: Literal["normal", "uniform"] = "normal"
    start_sd_scale: float = 0.01
    start_sd_theta: float = 0.01
    start_sd_shift: float = 0.01
    warped_ratio: float = 0.25
    fill: Fill = "exact"
    clip: Literal["released", "symmetric"] = "symmetric"
    adversary_on: Literal["all", "subset"] = "all"
    mix: Literal["independent", "disjoint"] = "disjoint"
    statistics: Literal["batch", "running"] = "batch"
    update_batch_norm: bool = False
    precision: Literal["same", "bf16"] = "same"
    scale_loss: bool = True
    landmark_budget_px: float | None = None
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}", where="adversary", expected="at least 1")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}", where="adversary", expected="at least 0")
        if not 0 <= self.warped_ratio <= 1:
            raise InputError(f"warped_ratio is {self.warped_ratio}", where="adversary", expected="0 to 1")
        if self.statistics == "running" and self.update_batch_norm:
            raise InputError(
                "statistics: running with update_batch_norm",
                where="adversary",
                expected="one of them: running statistics are moved by batches that are normalised by themselves",
                remedy="set update_batch_norm to false",
            )
        if self.landmark_budget_px is not None and not self.landmark_budget_px > _own_displacement(self.fill):
            raise InputError(
                f"landmark_budget_px is {self.landmark_budget_px}",
                where="adversary",
                expected=f"more than {_own_displacement(self.fill):.2f}, what fill={self.fill} moves by itself",
            )

    @classmethod
    def profile(cls, name: str, **changes: Any) -> AdversaryOptions:
        """Return the options of profile ``name``, ``official`` or ``clean``, with some of them changed.

        Raises:
            InputError: An unknown profile or option, or an option of the wrong type or range.
        """
        if name not in PROFILES:
            raise InputError(f"unknown profile {name!r}", where="adversary", expected=f"one of {', '.join(PROFILES)}")
        return typed_options(cls, {**PROFILES[name], **changes}, "adversary")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AdversaryOptions:
        """Return the options that a recipe holds: a ``profile`` (``official`` where none is named) and changes to it.

        Options of :data:`UNSAID` have the value there where the recipe does not name them.

        Raises:
            InputError: See :meth:`profile`.
        """
        changes = {**UNSAID, **mapping}
        return cls.profile(changes.pop("profile", "official"), **changes)


def _own_displacement(fill: Fill) -> float:
    identity = Similarity(torch.ones(1), torch.zeros(1), torch.zeros(1, 2))
    return float(landmark_displacement(identity, TEMPLATE_SIZE, fill).max()) if fill == "pad" else 0.0
