"""AdaFace's low-quality augmentations, batched: a crop on black, a loss of resolution, and photometric jitter.

Source: the released training code of AdaFace (arXiv 2204.00964), https://github.com/mk-minchul/AdaFace, ``data.py`` at
0783a24 and the probabilities in ``scripts/``: the three follow each other in this order, each with probability 0.2.

- *Crop*: torchvision's ``RandomResizedCrop`` chooses a box of 0.2 to 1 of the area and 3/4 to 4/3 wide for its height;
  nothing is resized, all outside the box becomes black.
- *Resolution*: to a square of ``int(u · height)`` pixels, u from 0.2 to 1, and back; either way by one of OpenCV's
  nearest, linear, area, cubic and Lanczos interpolations, chosen independently.
- *Photometric*: torchvision's ``ColorJitter``: brightness, contrast and saturation, each by a factor of 0.5 to 1.5, in
  random order; hue stays.

It differs from the released code in the last digit only: values are rounded once an operation, not within it. The
released code keeps its images in BGR and has torchvision take them for RGB, so blue and red exchange their weights in
the grey of contrast and saturation: ``grey="bgr"`` does that to RGB images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NEAREST, LINEAR, AREA, CUBIC, LANCZOS = range(5)
INTERPOLATIONS = ("nearest", "linear", "area", "cubic", "lanczos")
BRIGHTNESS, CONTRAST, SATURATION = range(3)

_ATTEMPTS = 10  # of torchvision's RandomResizedCrop, before it falls back to the whole image
_GREY = {"rgb": (0.299, 0.587, 0.114), "bgr": (0.114, 0.587, 0.299)}  # ITU-R 601-2, as PIL's mode L
_CUBIC_A = -0.75  # OpenCV's
_GROUP = 8  # images at a time: they stay in the cache; those of like resolution together, so that padding costs little

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LowQualityOptions:
    """Frequency and strength of the augmentations; the defaults are AdaFace's.

    Attributes:
        crop: Probability of a crop.
        resolution: Probability of a loss of resolution.
        photometric: Probability of photometric jitter.
        area: Area of the crop, as fractions of the image's.
        ratio: Ratio of the crop's width to its height.
        side: Side of the small image, as fractions of the image's height.
        jitter: Half the width of the three factors' range about 1, 0 … 1.
        grey: Channel order that contrast and saturation take the RGB images for; see the module.
    """

    crop: float = 0.2
    resolution: float = 0.2
    photometric: float = 0.2
    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    side: tuple[float, float] = (0.2, 1.0)
    jitter: float = 0.5
    grey: Literal["rgb", "bgr"] = "rgb"


@dataclass(frozen=True, slots=True)
class LowQualityDraw:
    """Augmentations of each of N images, all on the CPU.

    Attributes:
        crop: Flags, bool (N,), of the images that are cropped; likewise ``resolution`` and ``photometric``.
        boxes: Crops, int64 (N, 4): top, left, height and width.
        sides: Sides of the small images in pixels, int64 (N,).
        down: Interpolations that reduce, int64 (N,), indices of `INTERPOLATIONS`.
        up: Interpolations that enlarge, int64 (N,).
        factors: Factors of brightness, contrast and saturation, float32 (N, 3).
        order: Order of these three, int64 (N, 3).
    """

    crop: Tensor
    resolution: Tensor
    photometric: Tensor
    boxes: Tensor
    sides: Tensor
    down: Tensor
    up: Tensor
    factors: Tensor
    order: Tensor


@torch.no_grad()
def low_quality(images: Tensor, generator: torch.Generator, options: LowQualityOptions | None = None) -> Tensor:
    """Augment a batch; images that nothing happens to keep their bits.

    Args:
        images: RGB, uint8 or float in [-1, 1], (N, H, W, 3) or (N, 3, H, W), on any device; not changed.
        generator: Generator on the CPU. Every image takes the same number of values from it, whatever happens to it; so
            the draw depends on the number of images alone, neither on their device nor on the probabilities.
        options: AdaFace's if left out.

    Returns:
        A new tensor of the same shape, type, device and memory format, with values in the same range.

    Raises:
        ValueError: The shape or the type is none of these.
    """
    options = options or LowQualityOptions()
    first = _channels_first(images)
    out = images.clone()
    pixels = out if first else out.permute(0, 3, 1, 2)
    count, _, height, width = pixels.shape
    draw = draw_low_quality(count, height, width, generator, options)

    for rows in _groups(draw.crop.nonzero()[:, 0]):
        here = rows.to(images.device)
        black = 0 if images.dtype == torch.uint8 else -1
        pixels[here] = crop_on_black(pixels[here], draw.boxes[rows], black)
    blurred = draw.resolution.nonzero()[:, 0]
    for rows in _groups(blurred[draw.sides[blurred].argsort(stable=True)]):
        here = rows.to(images.device)
        reduced = lose_resolution(_to_unit(pixels[here]), draw.sides[rows], draw.down[rows], draw.up[rows])
        pixels[here] = _from_unit(reduced, images.dtype)
    for rows in _groups(draw.photometric.nonzero()[:, 0]):
        here = rows.to(images.device)
        jittered = jitter(_to_unit(pixels[here]), draw.factors[rows], draw.order[rows], options.grey)
        pixels[here] = _from_unit(jittered, images.dtype)
    return out


def draw_low_quality(
    count: int, height: int, width: int, generator: torch.Generator, options: LowQualityOptions
) -> LowQualityDraw:
    """Draw what happens to ``count`` images of ``height`` × ``width`` pixels."""
    u = torch.rand(count, 14 + 2 * _ATTEMPTS, generator=generator, dtype=torch.float64)
    happens = u[:, :3] < torch.tensor([options.crop, options.resolution, options.photometric], dtype=torch.float64)
    low, high = options.side
    tries = u[:, 14:].numpy().reshape(count, 2, _ATTEMPTS)
    boxes = _boxes(tries[:, 0], tries[:, 1], u[:, 3:5].numpy(), height, width, options)
    kinds = (u[:, 6:8] * len(INTERPOLATIONS)).long()
    return LowQualityDraw(
        crop=happens[:, 0],
        resolution=happens[:, 1],
        photometric=happens[:, 2],
        boxes=torch.from_numpy(boxes),
        sides=((low + (high - low) * u[:, 5]) * height).long().clamp_(min=1),
        down=kinds[:, 0],
        up=kinds[:, 1],
        factors=(1 + options.jitter * (2 * u[:, 8:11] - 1)).float(),
        order=u[:, 11:14].argsort(1),
    )


def _boxes(
    areas: Floats, ratios: Floats, corners: Floats, height: int, width: int, options: LowQualityOptions
) -> npt.NDArray[np.int64]:
    """Boxes (N, 4) from uniform numbers: areas and ratios (N, attempts), corners (N, 2)."""
    least, most = np.log(options.ratio)
    area = (options.area[0] + (options.area[1] - options.area[0]) * areas) * height * width
    ratio = np.exp(least + (most - least) * ratios)
    wide, high = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = np.argmax(fits, axis=1)[:, None]
    whole_wide, whole_high = _largest(height, width, options.ratio)
    wide = np.where(fits.any(1), np.take_along_axis(wide, first, 1)[:, 0], whole_wide)
    high = np.where(fits.any(1), np.take_along_axis(high, first, 1)[:, 0], whole_high)
    free = np.stack([height - high, width - wide], 1)
    corner = np.where(fits.any(1)[:, None], np.floor(corners * (free + 1)), free // 2)
    return np.column_stack([corner, high, wide]).astype(np.int64)


def _largest(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Width and height of the largest box that keeps the ratio: where no attempt has fitted."""
    if width < ratio[0] * height:
        return width, round(width / ratio[0])
    if width > ratio[1] * height:
        return round(height * ratio[1]), height
    return width, height


def crop_on_black(images: Tensor, boxes: Tensor, black: float) -> Tensor:
    """Make all outside a box black.

    Args:
        images: (N, C, H, W), any type.
        boxes: Crops, int64 (N, 4): top, left, height, width.
        black: Value of black.
    """
    top, left, high, wide = boxes.to(images.device)[:, :, None].unbind(1)
    y, x = (torch.arange(size, device=images.device) for size in images.shape[2:])
    inside = ((y >= top) & (y < top + high))[:, :, None] & ((x >= left) & (x < left + wide))[:, None, :]
    return torch.where(inside[:, None], images, torch.full((), black, dtype=images.dtype, device=images.device))


def lose_resolution(images: Tensor, sides: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """Reduce each image to a square of its own and enlarge it again, as OpenCV does it with unrounded values.

    Args:
        images: Images, float (N, C, H, W) in [0, 1].
        sides: Sides of the squares in pixels, int64 (N,), from 1.
        down: Interpolations that reduce, int64 (N,), indices of `INTERPOLATIONS`.
        up: Interpolations that enlarge, int64 (N,), indices of `INTERPOLATIONS`.

    Returns:
        float (N, C, H, W) in [0, 1]: overshoots of the cubic and Lanczos kernels are cut off at either step.
    """
    count, channels, height, width = images.shape
    squares = list(zip(sides.tolist(), down.tolist(), up.tolist(), strict=True))
    largest = max(side for side, _, _ in squares)

    def matrices(size: int, enlarge: bool) -> Tensor:
        shape = (size, largest) if enlarge else (largest, size)
        stack = np.zeros((len(squares), *shape), np.float32)
        for matrix, (side, reducing, enlarging) in zip(stack, squares, strict=True):
            if enlarge:
                matrix[:, :side] = weights(enlarging, side, size)
            else:
                matrix[:side] = weights(reducing, size, side)
        return torch.from_numpy(stack).to(images.device, images.dtype)

    rows = images.transpose(1, 2)  # (N, H, C, W): then both products are of plain stacks of matrices
    for enlarge in (False, True):
        vertical = matrices(height, enlarge)
        horizontal = vertical if width == height else matrices(width, enlarge)
        rows = vertical @ rows.reshape(count, rows.shape[1], -1)
        rows = rows.reshape(count, -1, horizontal.shape[2]) @ horizontal.mT
        rows = rows.clamp_(0, 1).view(count, vertical.shape[1], channels, -1)
    return rows.transpose(1, 2)


@lru_cache(maxsize=1024)
def weights(kind: int, before: int, after: int) -> npt.NDArray[np.float32]:
    """Weights of each of ``before`` pixels in each of ``after`` pixels of OpenCV's ``resize``, along one axis.

    Args:
        kind: Interpolation, an index of `INTERPOLATIONS`.
        before: Number of pixels of the source.
        after: Number of pixels of the result.

    Returns:
        float32 (after, before), rows that sum to 1.
    """
    scale = 1 / (after / before)  # rounded as OpenCV rounds it, like the fraction of area below: it decides ties
    here = np.arange(after)
    if kind == AREA and scale >= 1:
        edges = np.clip(here * scale, 0, before)[:, None], np.clip((here + 1) * scale, 0, before)[:, None]
        cells = np.arange(before)
        matrix = np.maximum(np.minimum(edges[1], cells + 1) - np.maximum(edges[0], cells), 0)
        return np.asarray(matrix / matrix.sum(1, keepdims=True), np.float32)
    if kind == NEAREST:
        left, fraction = np.floor(here * scale), np.zeros(after)
    elif kind == AREA:
        left = np.floor(here * scale)
        fraction = np.maximum((here + 1 - (left + 1) * (after / before)).astype(np.float32), 0).astype(np.float64)
        fraction -= np.floor(fraction)
    else:
        centre = (here + 0.5) * scale - 0.5
        left = np.floor(centre)
        fraction = centre - left
    offsets, taps = _taps(kind, fraction)
    sources = np.clip(left[:, None].astype(np.int64) + offsets, 0, before - 1)
    matrix = np.zeros((after, before))
    np.add.at(matrix, (here[:, None], sources), taps)
    return matrix.astype(np.float32)


def _taps(kind: int, fraction: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Offsets (T,) of the pixels that an interpolation takes, and their weights (N, T) at N fractions of a pixel."""
    reach = {NEAREST: (0, 0), LINEAR: (0, 1), AREA: (0, 1), CUBIC: (-1, 2), LANCZOS: (-3, 4)}[kind]
    offsets = np.arange(reach[0], reach[1] + 1)
    distance = np.abs(fraction[:, None] - offsets)
    if kind == LANCZOS:
        taps = np.sinc(distance) * np.sinc(distance / 4)
        return offsets, taps / taps.sum(1, keepdims=True)
    if kind == CUBIC:
        near = ((_CUBIC_A + 2) * distance - (_CUBIC_A + 3)) * distance**2 + 1
        far = _CUBIC_A * (((distance - 5) * distance + 8) * distance - 4)
        return offsets, np.where(distance <= 1, near, far)
    return offsets, 1 - distance


def jitter(images: Tensor, factors: Tensor, order: Tensor, grey: str = "rgb") -> Tensor:
    """Change brightness, contrast and saturation, each image by factors and in an order of its own.

    Each is a step from another image through this one and beyond: from black, from the mean grey, from the grey image.

    Args:
        images: Images, float (N, 3, H, W) in [0, 1].
        factors: (N, 3), of brightness, contrast and saturation; 1 changes nothing.
        order: Order of the three, int64 (N, 3), a permutation a row.
        grey: Channel order that the grey is computed for, ``rgb`` or ``bgr``.

    Returns:
        float (N, 3, H, W) in [0, 1], cut off after each step.
    """
    factors = factors.to(images.device, images.dtype)
    order = order.to(images.device)
    luma = torch.tensor(_GREY[grey], device=images.device, dtype=images.dtype)[None, None]
    for step in order.unbind(1):
        factor = factors.gather(1, step[:, None]).view(-1, 1, 1, 1)
        greys = (luma @ images.flatten(2)).view(-1, 1, *images.shape[2:])
        which = step.view(-1, 1, 1, 1)
        other = torch.where(which == CONTRAST, greys.mean((2, 3), keepdim=True), greys)
        other = torch.where(which == BRIGHTNESS, torch.zeros_like(other), other)
        images = torch.lerp(other, images, factor).clamp_(0, 1)
    return images


def _groups(rows: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(rows), _GROUP):
        yield rows[start : start + _GROUP]


def _channels_first(images: Tensor) -> bool:
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images of type {images.dtype}, expected uint8 or float")
    if images.ndim != 4 or (images.shape[1] == 3) == (images.shape[3] == 3):
        raise ValueError(f"images of shape {tuple(images.shape)}, expected (N, 3, H, W) or (N, H, W, 3)")
    return images.shape[1] == 3


def _to_unit(images: Tensor) -> Tensor:
    """[0, 1], float32 at least: half precision has fewer levels near white than a byte."""
    if images.dtype == torch.uint8:
        return images.contiguous().float().div_(255)
    return images.contiguous().to(torch.promote_types(images.dtype, torch.float32)).add(1).div_(2)


def _from_unit(images: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.uint8:
        return images.mul(255).round_().to(torch.uint8)
    return images.mul(2).sub_(1).to(dtype)
