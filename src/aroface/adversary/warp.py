"""Differentiable similarity warp, and the displacement of a face's landmarks under it.

A warp is given by scale s, angle theta and shift t per image. The output pixel at u shows the input at
``s R(theta) u + t``, where u runs over [-1, 1]² and t is in units of half the image; hence s > 1 zooms out. The
identity is s = 1, theta = 0, t = 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from aroface.faces.geometry import template

Fill = Literal["pad", "exact"]
"""Content outside the image, and its side effects; see :func:`warp`."""

BLACK = -1.0
_PAD = 1
_HALVINGS = 24


class Similarity(NamedTuple):
    """Parameters of one warp per image.

    Attributes:
        scale: Scale (B,); 1 is the identity, above 1 zooms out.
        theta: Angle (B,) in radians.
        shift: Shift (B, 2) along x and y in halves of the image.
    """

    scale: Tensor
    theta: Tensor
    shift: Tensor

    def rows(self, index: Tensor) -> Similarity:
        """Select the warps of the images ``index`` (n,)."""
        return Similarity(self.scale[index], self.theta[index], self.shift[index])

    def weakened(self, factor: Tensor) -> Similarity:
        """Multiply each warp's distance from the identity by ``factor`` (B,)."""
        return Similarity(1 + factor * (self.scale - 1), factor * self.theta, factor.unsqueeze(1) * self.shift)


def warp(
    images: Tensor, scale: Tensor, theta: Tensor, shift: Tensor, *, fill: Fill, black: float | Tensor = BLACK
) -> Tensor:
    """Warp images, differentiably in all arguments.

    Args:
        images: Images (B, C, H, W), floating.
        scale: Scale (B,), see :class:`Similarity`.
        theta: Angle (B,) in radians.
        shift: Shift (B, 2) in halves of the image.
        fill: Content outside the image. ``pad`` repeats the ARoFace authors' code: one pixel of black is padded and the
            border repeated beyond it, so that the padded image is squeezed into the frame and even the identity shrinks
            a 112-pixel image by 114/112 and blurs it. ``exact`` keeps the geometry and is black outside.
        black: Value of black in ``images``, or one for each channel, (C, 1, 1).

    Returns:
        (B, C, H, W) of the type and memory format of ``images``; computed in the parameters' precision.
    """
    if isinstance(black, Tensor):
        return warp(images - black, scale, theta, shift, fill=fill, black=0.0) + black
    grid = _grid(scale, theta, shift, *images.shape[2:])
    pixels = images.to(scale.dtype)
    with torch.autocast(images.device.type, enabled=False):
        if fill == "pad":
            padded = F.pad(pixels, (_PAD,) * 4, value=black)
            warped = F.grid_sample(padded, grid, mode="bilinear", padding_mode="border", align_corners=False)
        else:
            # Beyond the image zeros are sampled: they mean black once the image is moved by its black level.
            warped = F.grid_sample(pixels - black, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            warped = warped + black
    return warped.to(images.dtype, memory_format=_memory_format(images))


def _memory_format(images: Tensor) -> torch.memory_format:
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format


def _grid(scale: Tensor, theta: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """Compute the input position of each output pixel, (B, height, width, 2) in [-1, 1] from edge to edge.

    The same as ``affine_grid``, at a fraction of its cost (its batched product of thin matrices takes longer than the
    sampling) and without matrix products, which a GPU may round to TF32.
    """
    u, v = _centres(width, scale), _centres(height, scale).unsqueeze(1)
    cosine, sine = (scale * theta.cos()).view(-1, 1, 1), (scale * theta.sin()).view(-1, 1, 1)
    right, down = (component.view(-1, 1, 1) for component in shift.unbind(1))
    return torch.stack([cosine * u + (right - sine * v), sine * u + (down + cosine * v)], 3)


def _centres(size: int, like: Tensor) -> Tensor:
    """Compute the centres (size,) of pixels in [-1, 1].

    The divisor lies on the device: by a number CUDA would multiply with its reciprocal. At the identity that last bit
    decides between which two pixels a point lies, and so its gradient.
    """
    return (2 * torch.arange(size, device=like.device, dtype=like.dtype) + 1) / like.new_full((), size) - 1


def landmark_displacement(warps: Similarity, size: int, fill: Fill) -> Tensor:
    """Compute the displacements of the five points of the ArcFace template by each warp.

    Args:
        warps: B warps.
        size: Side of the images in pixels.
        fill: See :func:`warp`; ``pad`` moves landmarks by itself.

    Returns:
        Distances (B, 5) in pixels.
    """
    points = torch.from_numpy(template(size)).to(warps.scale)
    pad = _PAD if fill == "pad" else 0
    source = (2 * (points + pad) + 1) / points.new_full((), size + 2 * pad) - 1 - warps.shift.unsqueeze(1)
    cosine, sine = warps.theta.cos().unsqueeze(1), warps.theta.sin().unsqueeze(1)
    x, y = source.unbind(2)
    target = torch.stack([cosine * x + sine * y, cosine * y - sine * x], 2) / warps.scale[:, None, None]
    distances: Tensor = torch.linalg.vector_norm(((target + 1) * size - 1) / 2 - points, dim=2)
    return distances


def limit_displacement(warps: Similarity, budget: float, size: int, fill: Fill) -> Similarity:
    """Pull warps straight towards the identity until no landmark moves further than ``budget`` pixels.

    Args:
        warps: B warps.
        budget: Largest displacement in pixels; more than ``fill`` causes by itself.
        size: Side of the images in pixels.
        fill: See :func:`warp`.

    Returns:
        B warps; those within the budget are returned as they are.
    """

    def fits(factor: Tensor) -> Tensor:
        return landmark_displacement(warps.weakened(factor), size, fill).amax(1) <= budget

    low, high = torch.zeros_like(warps.scale), torch.ones_like(warps.scale)
    inside = fits(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        good = fits(middle)
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    pulled = warps.weakened(low)
    return Similarity(
        torch.where(inside, warps.scale, pulled.scale),
        torch.where(inside, warps.theta, pulled.theta),
        torch.where(inside.unsqueeze(1), warps.shift, pulled.shift),
    )
