"""Protocol ``sensitivity``: a pair set whose second images are aligned wrongly, at several image qualities.

A poor face whose alignment failed is a small image that was resampled through the wrong similarity. So an image is
first reduced in its aligned frame, averaged down to r pixels and interpolated up again, and then warped once. The
upsampled image is smooth on the scale of a pixel, so the second interpolation costs it nothing. The margin that the
warp draws in is black and has the same shape at every quality: the stored crop is all that is known of the photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.pairs import read_pairs
from aroface.datasets.usable import check_pairs
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.source import Images, Source
from aroface.embedding.sweep import Directions, Variant, choose_pairs, draw_directions, error_matrices, variants
from aroface.faces.degrade import downsample
from aroface.faces.geometry import warp

_FIRST, _SECOND = 0, 1
_Block = tuple[int, Variant]


def open_source(path: Path, options: Mapping[str, Any], size: int) -> Source:
    """All variants of the N pairs of a ``.bin`` file, as blocks of N rows: one image of every pair.

    ``layout`` lists the variants as :func:`aroface.embedding.sweep.variants` orders them, each with the rows at which
    its first and its second images begin; variants share their first images where only the probe is degraded.
    The array ``same`` belongs to the N pairs.

    Args:
        path: pair file.
        options: resolved options of the protocol.
        size: side of the images in pixels.

    Raises:
        InputError: see :func:`aroface.datasets.pairs.read_pairs` and :func:`aroface.datasets.usable.check_pairs`.
    """
    pairs = read_pairs(path)
    chosen = choose_pairs(pairs.same, options["max_pairs"])
    check_pairs(pairs.same[chosen], path)
    directions = draw_directions(len(pairs.same), options["seed"])[chosen]
    blocks, table = _plan(options, len(chosen))

    def images(start: int, stop: int) -> Images:
        parts = []
        for (side, variant), rows in _segments(blocks, len(chosen), start, stop):
            crops = decode_numbers(pairs, path, 2 * chosen[rows] + side, size)
            parts.append(spoil(crops, variant, directions[rows], options["joint_maximum"]))
        return np.concatenate(parts)

    return Source(len(blocks) * len(chosen), images, {"same": pairs.same[chosen]}, {"variants": table})


def spoil(images: Images, variant: Variant, directions: Directions, joint_maximum: Mapping[str, float]) -> Images:
    """Reduce aligned images (N, size, size, 3) to the variant's quality, then align them wrongly."""
    if variant.resolution is not None:
        images = downsample(images, variant.resolution)
    if variant.factor is None:
        return images
    size = images.shape[1]
    matrices = error_matrices(variant, directions, joint_maximum, size)
    return np.stack([warp(image, matrix, size) for image, matrix in zip(images, matrices, strict=True)])


def _plan(options: Mapping[str, Any], number: int) -> tuple[list[_Block], list[dict[str, Any]]]:
    """The blocks in the order of their rows, and the table of variants that refers to them."""
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
    """Cut rows start..stop at the ends of blocks: each block met, and which of its ``number`` rows."""
    while start < stop:
        block, row = divmod(start, number)
        end = min(stop, (block + 1) * number)
        yield blocks[block], slice(row, row + end - start)
        start = end
