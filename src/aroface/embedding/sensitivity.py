"""Protocol ``sensitivity``: pairs whose second images are aligned wrongly, at several image qualities.

The pairs are those of a pair set, or, where the options weigh features (``norm_weighting``), pairs of templates, see
:mod:`aroface.embedding.template_sensitivity`. With ``perturbed: both`` the first images are aligned wrongly as well,
each by an error of its own.

A poor face whose alignment failed is a small image that was resampled through the wrong similarity. The option
``order`` tells which comes first. ``camera``: the image is warped, then averaged down to r pixels and interpolated up
again, so that the pixels' grid stays while the face moves, as on a sensor. ``reduced_first``, which is also what a
specification without the option means: the image is reduced in its aligned frame and then warped, so that the grid
moves with the face, which underestimates what a shift costs at a low quality. The margin that the warp draws in is
black: the stored crop is all that is known of the photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.pair_people import read_pair_people
from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding import ijb
from aroface.embedding.alignment_sweep import (
    PIXELS,
    Directions,
    Variant,
    choose_pairs,
    draw_directions,
    error_matrices,
    has_models,
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

_BEARINGS = 1e15  # seeds of a radian
FIRST, SECOND = 0, 1
"""Sides of a pair."""
Block = tuple[int, Variant]
"""Images of one side, in one variant."""


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open all variants of the N pairs of a ``.bin`` file, as blocks of N rows: one image of every pair.

    A benchmark of templates is opened by :func:`aroface.embedding.template_sensitivity.open_source`.

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
    if of_templates(options):
        from aroface.embedding import template_sensitivity

        return template_sensitivity.open_source(path, options, size)
    pairs = read_pairs(path)
    chosen = choose_pairs(pairs.same, options["max_pairs"])
    check_pairs(pairs.same[chosen], path)
    models = has_models(options)
    directions = [
        draw_directions(len(pairs.same), options["seed"], models=models, first_side=side == FIRST)[chosen]
        for side in (FIRST, SECOND)
    ]
    blocks, table = plan_blocks(options, len(chosen), len(chosen))

    def images(start: int, stop: int) -> Images:
        parts = []
        for (side, variant), rows in segments(blocks, (len(chosen), len(chosen)), start, stop):
            crops = decode_numbers(pairs, path, 2 * chosen[rows] + side, size)
            parts.append(spoil(crops, variant, directions[side][rows], options["joint_maximum"], order_of(options)))
        return np.concatenate(parts)

    arrays = {"same": pairs.same[chosen], "images": image_numbers(pairs.images)[chosen]}
    people = read_pair_people(path, pairs.same)
    if people is not None:
        arrays["people"] = people[chosen]
    return ImageSource(len(blocks) * len(chosen), images, arrays, {"variants": table})


def of_templates(options: Mapping[str, Any]) -> bool:
    """True if a specification's options are those of a benchmark of templates."""
    return "norm_weighting" in options


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
    if variant.factor in PIXELS:
        return _corrupted(_reduced(images, variant), variant, directions)
    if order == "camera":
        return _reduced(_misaligned(images, variant, directions, joint_maximum), variant)
    return _misaligned(_reduced(images, variant), variant, directions, joint_maximum)


def _reduced(images: Images, variant: Variant) -> Images:
    from aroface.faces.degrade import downsample

    return images if variant.resolution is None else downsample(images, variant.resolution)


def _corrupted(images: Images, variant: Variant, directions: Directions) -> Images:
    from aroface.faces.corruption import corrupt

    seeds = (directions.bearing * _BEARINGS).astype(np.int64)  # the same choices at every level
    return corrupt(images, variant.factor or "", variant.level, seeds)


def _misaligned(images: Images, variant: Variant, directions: Directions, joint_maximum: Mapping[str, float]) -> Images:
    from aroface.faces.geometry import warp

    if variant.factor is None:
        return images
    size = images.shape[1]
    matrices = error_matrices(variant, directions, joint_maximum, size)
    return np.stack([warp(image, matrix, size) for image, matrix in zip(images, matrices, strict=True)])


def plan_blocks(
    options: Mapping[str, Any], first_rows: int, second_rows: int
) -> tuple[list[Block], list[dict[str, Any]]]:
    """List the blocks in the order of their rows, and the table of variants that refers to them.

    First images are shared between all variants that leave them alone.

    Args:
        options: Resolved options of the protocol.
        first_rows: Number of rows of a block of first images.
        second_rows: Number of rows of a block of second images.
    """
    reduced, misaligned = options["degrade"] == "both", options.get("perturbed", "probe") == "both"
    blocks: list[Block] = []
    table = []
    places: dict[Variant, int] = {}
    row = 0
    for variant in variants(options):
        alone = variant if misaligned and variant.factor else Variant()
        first = replace(alone, resolution=variant.resolution if reduced else None)
        if first not in places:
            places[first] = row
            blocks.append((FIRST, first))
            row += first_rows
        table.append(
            {
                "quality": variant.quality,
                "factor": variant.factor,
                "level": variant.level,
                **({"other": [*variant.other]} if variant.other else {}),
                "first": places[first],
                "second": row,
            }
        )
        blocks.append((SECOND, variant))
        row += second_rows
    return blocks, table


def segments(blocks: list[Block], rows: tuple[int, int], start: int, stop: int) -> Iterator[tuple[Block, slice]]:
    """Cut rows start..stop at the ends of blocks: each block with a slice of its rows.

    Args:
        blocks: Blocks in the order of their rows.
        rows: Numbers of rows of a block of first images and of one of second images.
        start: First row.
        stop: End of the rows.
    """
    begin = 0
    for block in blocks:
        end = begin + rows[block[0]]
        if begin < stop and start < end:
            yield block, slice(max(start, begin) - begin, min(stop, end) - begin)
        begin = end


def _check_options(path: Path, options: Mapping[str, Any]) -> None:
    """Refuse options of templates that do not fit the tree."""
    if of_templates(options):
        ijb.PROTOCOL.check_options(path, options)


def _feature_rows(options: Mapping[str, Any], counts: Mapping[str, int]) -> int | None:
    blocks, _ = plan_blocks(options, 1, 1)
    if of_templates(options):  # at most: few images are of first and of second templates
        return counts["images"] * len(blocks) if "images" in counts else None
    if "pairs" not in counts:
        return None
    return min(counts["pairs"], options["max_pairs"] or counts["pairs"]) * len(blocks)


PROTOCOL = EmbeddingProtocol(
    "sensitivity",
    "pairs",
    open_source,
    _feature_rows,
    defaults=DEFAULTS,
    check_options=_check_options,
    also=("ijb",),
)
