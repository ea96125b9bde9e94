"""Histograms of the adversary's warps over a training, counted on the device without ever waiting for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aroface.adversary.alignment import Warped
from aroface.adversary.options import AdversaryOptions
from aroface.adversary.warp import Similarity, landmark_displacement
from aroface.faces.geometry import TEMPLATE_SIZE

QUANTITIES: dict[str, tuple[float, float]] = {
    "scale": (0.5, 1.5),
    "rotation": (-50.0, 50.0),
    "shift_x": (-0.2, 0.2),
    "shift_y": (-0.2, 0.2),
    "landmarks": (0.0, 40.0),
}
"""Quantities and their ranges: scale (above 1 zooms out), degrees, shifts as fractions of the image's side, and the
mean displacement of the template's five points, in pixels of a 112×112 crop. Wide enough for the options' clips from a
usual start, and the same for every run, so that runs can be compared."""
BINS = 200
_START_SDS = 2.0


class Displacements:
    """Histograms of the warps of a training's images; one of these on each process.

    Args:
        device: Device of the training.

    Attributes:
        counts: Counts int64 (2, quantities, BINS + 2): of all epochs but the last and of the last one; by quantity;
            below the first bin, in each bin (its lower edge belongs to it, its upper one to the next), above the last.
    """

    def __init__(self, device: torch.device) -> None:
        edges = [torch.linspace(low, high, BINS + 1, dtype=torch.float64) for low, high in QUANTITIES.values()]
        self._edges = torch.stack(edges).float().to(device)
        self._bins = torch.arange(BINS + 2, device=device)
        self.counts = torch.zeros(2, len(QUANTITIES), BINS + 2, dtype=torch.int64, device=device)

    def count(self, warped: Warped, *, last: bool) -> None:
        """Count the warped images of one pass.

        Args:
            warped: Warped part of the micro-batch.
            last: True if this is the last epoch.
        """
        bins = torch.searchsorted(self._edges, measures(warped), right=True)
        # Comparing and adding up is deterministic on every device, as scattering is not.
        self.counts[int(last)] += (bins.unsqueeze(2) == self._bins).sum(1)

    def restore(self, counts: Sequence[Tensor]) -> None:
        """Continue from the counts of one or several processes."""
        for earlier in counts:
            self.counts += earlier.to(self.counts.device)


def measures(warped: Warped) -> Tensor:
    """Compute each quantity of each warped image, float32 (quantities, n), in the units of :data:`QUANTITIES`."""
    warps, pixels = warped.warps, TEMPLATE_SIZE / warped.images.shape[-1]
    shift = warps.shift / 2  # it is in halves of the image
    landmarks = warped.displacement_px.mean(1) * pixels
    return torch.stack([warps.scale, torch.rad2deg(warps.theta), shift[:, 0], shift[:, 1], landmarks]).float()


def describe(counts: Tensor, options: AdversaryOptions, images: int, images_last: int) -> dict[str, Any]:
    """Describe the displacements for ``history.json``.

    Args:
        counts: Counts of :class:`Displacements`, summed over all processes.
        options: Options of the adversary.
        images: Number of images of the whole training.
        images_last: Number of images of the last epoch.

    Returns:
        Images and warped images, and by quantity the histograms, the range of the starts (mean ± 2 standard deviations
        of a normal start, all of a uniform one) and the reach of the ascent's steps from the identity.
    """
    both = {"whole": counts.sum(0), "last_epoch": counts[1]}
    ranges = _ranges(options)
    quantities = {}
    for number, (name, (low, high)) in enumerate(QUANTITIES.items()):
        quantities[name] = {"low": low, "high": high, **ranges[name]}
        for part, table in both.items():
            below, *inside, above = table[number].tolist()
            quantities[name][part] = {"below": below, "counts": inside, "above": above}
    trained = {"whole": images, "last_epoch": images_last}
    warped = {part: int(table[0].sum()) for part, table in both.items()}
    return {"kind": options.kind, "images": trained, "warped": warped, "quantities": quantities}


def _ranges(options: AdversaryOptions) -> dict[str, dict[str, list[float]]]:
    spread = math.sqrt(3) if options.start == "uniform" else _START_SDS
    starts = [spread * sd for sd in (options.start_sd_scale, options.start_sd_theta, options.start_sd_shift)]
    far = options.steps * options.step_mean
    steps = [far * factor for factor in (options.step_scale, options.step_theta, options.step_shift)]
    ranges: dict[str, dict[str, list[float]]] = {name: {} for name in QUANTITIES}
    for range_, (scale, theta, shift) in (("start", starts), ("budget", steps)):
        degrees = math.degrees(theta)
        moved = _corner_displacements(options, scale, theta, shift)
        inner = _corner_displacements(options, 0.0, 0.0, 0.0) if range_ == "start" else moved
        ends = ((1 - scale, 1 + scale), (-degrees, degrees), *[(-shift / 2, shift / 2)] * 2, (min(inner), max(moved)))
        for name, (low, high) in zip(QUANTITIES, ends, strict=True):
            ranges[name][range_] = [round(low, 6), round(high, 6)]
    return ranges


def _corner_displacements(options: AdversaryOptions, scale: float, theta: float, shift: float) -> list[float]:
    """Compute the landmarks' mean displacement at the 16 corners of a box of warps about the identity, in pixels."""
    signs = torch.tensor([*itertools.product((-1.0, 1.0), repeat=4)])
    warps = Similarity(1 + scale * signs[:, 0], theta * signs[:, 1], shift * signs[:, 2:])
    displacements = landmark_displacement(warps, TEMPLATE_SIZE, options.fill).mean(1)
    limit = options.landmark_budget_px
    return [value if limit is None else min(value, limit) for value in displacements.tolist()]
