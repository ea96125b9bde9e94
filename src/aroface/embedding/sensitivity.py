"""Protocol ``sensitivity``: a pair set whose second images are aligned wrongly, at several image qualities.

A poor face whose alignment failed is a small image that was resampled through the wrong similarity. The option
``order`` tells which comes first. ``camera``: the image is warped, then averaged down to r pixels and interpolated up
again, so that the pixels' grid stays while the face moves, as on a sensor. ``reduced_first``, which is also what a
specification without the option means: the image is reduced in its aligned frame and then warped, so that the grid
moves with the face, which underestimates what a shift costs at a low quality. The margin that the warp draws in is
black: the stored crop is all that is known of the photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.alignment_sweep import (
    Directions,
    Variant,
    choose_pairs,
    draw_directions,
    error_matrices,
    number_of_variants,
    variants,
)
from aroface.embedding.base import EmbeddingProtocol
from aroface.embedding.image_source import Images, ImageSource
from aroface.embedding.pairs import decode_numbers, image_numbers

Order = Literal["camera", "reduced_first"]

DEFAULTS: Mapping[str, Any] = {
    "joint_maximum": {"scale": 0.1, "degrees": 10.0, "shift": 0.06},
    "degrade": "probe",
    "seed": 0,
    "max_pairs": None,
}
"""Options that a specification may leave out."""

_FIRST, _SECOND = 0, 1
_Block = tuple[int, Variant]


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open all variants of the N pairs of a ``.bin`` file, as blocks of N rows: one image of every pair.

    ``layout`` lists the variants as `alignment_sweep.variants` orders them, each with the rows at which
    its first and its second images begin; variants share their first images where only the probe is degraded.
    The arrays ``same`` and ``images`` belong to the N pairs.

    Args:
        path: Path of the pair file.
        options: Resolved options of the protocol.
        size: Side of the images in pixels.

    Raises:
        InputError: See :func:`aroface.datasets.formats.pairs.read_pairs` and
            :func:`aroface.datasets.formats.checks.check_pairs`.
    """
    pairs = read_pairs(path)
    chosen = choose_pairs(pairs.same, options["max_pairs"])
    check_pairs(pairs.same[chosen], path)
    directions = draw_directions(len(pairs.same), options["seed"])[chosen]
    blocks, table = _plan(options, len(chosen))

    def images(start: int, stop: int) -> Images:
        segments = []
        for (side, variant), rows in _segments(blocks, len(chosen), start, stop):
            crops = decode_numbers(pairs, path, 2 * chosen[rows] + side, size)
            segments.append(spoil(crops, variant, directions[rows], options["joint_maximum"], order_of(options)))
        return np.concatenate(segments)

    arrays = {"same": pairs.same[chosen], "images": image_numbers(pairs.images)[chosen]}
    return ImageSource(len(blocks) * len(chosen), images, arrays, {"variants": table})


def order_of(options: Mapping[str, Any]) -> Order:
    """Order of the degradations, by a specification's options."""
    order: Order = options.get("order", "reduced_first")
    return order


def spoil(
    images: Images, variant: Variant, directions: Directions, joint_maximum: Mapping[str, float], order: Order
) -> Images:
    """Reduce aligned images (N, size, size, 3) to the variant's quality and align them wrongly, in this order or that.

    Args:
        images: Aligned faces.
        variant: Quality and error.
        directions: Directions of the N errors.
        joint_maximum: Joint error of level 1, see :func:`aroface.embedding.alignment_sweep.error_matrices`.
        order: Order of the degradations, see the module.
    """
    if order == "camera":
        return _reduced(_misaligned(images, variant, directions, joint_maximum), variant)
    return _misaligned(_reduced(images, variant), variant, directions, joint_maximum)


def _reduced(images: Images, variant: Variant) -> Images:
    from aroface.faces.degrade import downsample

    return images if variant.resolution is None else downsample(images, variant.resolution)


def _misaligned(images: Images, variant: Variant, directions: Directions, joint_maximum: Mapping[str, float]) -> Images:
    from aroface.faces.geometry import warp

    if variant.factor is None:
        return images
    size = images.shape[1]
    matrices = error_matrices(variant, directions, joint_maximum, size)
    return np.stack([warp(image, matrix, size) for image, matrix in zip(images, matrices, strict=True)])


def _plan(options: Mapping[str, Any], number: int) -> tuple[list[_Block], list[dict[str, Any]]]:
    """List the blocks in the order of their rows, and the table of variants that refers to them."""
    both = options["degrade"] == "both"
    blocks: list[_Block] = [] if both else [(_FIRST, Variant())]
    table = []
    first = 0
    for variant in variants(options):
        if both and variant.factor is None:
            first = len(blocks)
            blocks.append((_FIRST, variant))
        table.append(
            {
                "quality": variant.quality,
                "factor": variant.factor,
                "level": variant.level,
                **({"other": [*variant.other]} if variant.other else {}),
                "first": first * number,
                "second": len(blocks) * number,
            }
        )
        blocks.append((_SECOND, variant))
    return blocks, table


def _segments(blocks: list[_Block], number: int, start: int, stop: int) -> Iterator[tuple[_Block, slice]]:
    """Cut rows start..stop at the ends of blocks: each block with a slice of its ``number`` rows."""
    while start < stop:
        block, row = divmod(start, number)
        end = min(stop, (block + 1) * number)
        yield blocks[block], slice(row, row + end - start)
        start = end


def _feature_rows(options: Mapping[str, Any], counts: Mapping[str, int]) -> int | None:
    if "pairs" not in counts:
        return None
    chosen = min(counts["pairs"], options["max_pairs"] or counts["pairs"])
    first = len(options["qualities"]) if options["degrade"] == "both" else 1
    return chosen * (first + number_of_variants(options))


PROTOCOL = EmbeddingProtocol("sensitivity", "pairs", open_source, _feature_rows, defaults=DEFAULTS)
