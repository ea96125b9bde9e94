"""Report of one training step: everything that the log, the contact sheets and the histograms are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aroface.adversary.alignment import Warped
from aroface.faces.sheet import contact_sheet

SHEET_IMAGES = 16


@dataclass(frozen=True, slots=True)
class StepReport:
    """Outcome of a step; its tensors stay on the device until :meth:`numbers` or :meth:`sheet` is called.

    Attributes:
        step: Number of the step, from 0.
        loss: Scalar, mean loss over the global batch.
        lr: Learning rate.
        grad_norm: Scalar, L2 norm of the backbone's gradient before clipping.
        loss_scale: Scalar, fp16's loss scale after the step; None in another precision.
        strength: Strength of the adversary, 0 … 1.
        images: (b, 3, H, W) in [-1, 1], clean images of this process.
        warped: Warped part of each micro-batch, whose rows count from the micro-batch's first image; None where nothing
            was warped.
    """

    step: int
    loss: Tensor
    lr: float
    grad_norm: Tensor
    loss_scale: Tensor | None
    strength: float
    images: Tensor
    warped: tuple[Warped | None, ...]

    def numbers(self) -> dict[str, Any]:
        """Return the numbers for the log beside the loss; waits for the device."""
        norm = float(self.grad_norm)
        # Under fp16 the update is skipped where a gradient is not finite.
        values: dict[str, Any] = {"lr": self.lr, "grad_norm": norm if math.isfinite(norm) else None}
        if self.loss_scale is not None:
            values["loss_scale"] = float(self.loss_scale)
        warped = self.warped[0]
        if warped is not None:
            values |= {"adversary_strength": self.strength, **warped.summary()}
        return values

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draw the first warped images, each below its clean one, uint8 (H', W', 3); waits for the device.

        Returns:
            The contact sheet; None if the first micro-batch has no warped image.
        """
        warped = self.warped[0]
        if warped is None:
            return None
        count = min(SHEET_IMAGES, len(warped.images))
        pairs = torch.cat([self.images[warped.rows[:count]], warped.images[:count]]).permute(0, 2, 3, 1)
        pixels = (pairs.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return contact_sheet(pixels, columns=count)
