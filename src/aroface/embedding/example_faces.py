"""Example faces of a sensitivity benchmark, aligned and misaligned, at full and at low quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.alignment_sweep import HIGH_QUALITY, MODELS, Variant, draw_directions
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.ijb import open_faces
from aroface.embedding.image_source import Images
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.sensitivity import of_templates, order_of, spoil
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.faces.sheet import contact_sheet

COLUMNS = 4
GRID = 9
"""Faces of a strip, as many as the paper's figure 1 shows."""


def example_sheets(benchmark: Mapping[str, Any]) -> tuple[Images, Images]:
    """Contact sheets at full quality and at the lowest resolution of the sweep.

    The upper row of each shows probe images aligned, the lower row the same ones after a joint alignment error of
    level 1, exactly as they are embedded.

    Args:
        benchmark: Specification of a benchmark with protocol ``sensitivity``.

    Returns:
        Two pictures, uint8 H×W×3.

    Raises:
        InputError: The specification or the pair file is malformed.
    """
    spec = resolve(benchmark)
    options, path = spec["options"], Path(spec["path"])
    pairs = read_pairs(path)
    chosen = np.flatnonzero(pairs.same)[:: max(1, int(pairs.same.sum()) // COLUMNS)][:COLUMNS]
    directions = draw_directions(len(pairs.same), options["seed"])[chosen]
    crops = decode_numbers(pairs, path, 2 * chosen + 1, TEMPLATE_SIZE)
    lowest = min((int(quality) for quality in options["qualities"] if quality != HIGH_QUALITY), default=None)

    def sheet(resolution: int | None) -> Images:
        aligned = Variant(resolution)
        misaligned = Variant(resolution, "joint", 1.0)
        how = (directions, options["joint_maximum"], order_of(options))
        rows = [spoil(crops, variant, *how) for variant in (aligned, misaligned)]
        return contact_sheet(np.concatenate(rows), columns=len(chosen))

    return sheet(None), sheet(lowest)


def example_grids(benchmark: Mapping[str, Any]) -> tuple[Images, Images]:
    """Strips of faces, aligned, and the same ones misaligned as they are embedded.

    The error is that of the first model that the benchmark has, at its largest level, or the joint error of level 1.

    Args:
        benchmark: Specification of a benchmark with protocol ``sensitivity``, of pairs or of templates.

    Returns:
        Two pictures, uint8 H×W×3.

    Raises:
        InputError: The specification or the data are malformed.
    """
    spec = resolve(benchmark)
    options, path = spec["options"], Path(spec["path"])
    levels = {model: max(options[model]) for model in MODELS if options.get(model)}
    factor, level = next(iter(levels.items()), ("joint", 1.0))
    crops, numbers, count = _template_faces(path, options) if of_templates(options) else _pair_faces(path)
    directions = draw_directions(count, options["seed"], models=bool(levels))[numbers]
    variants = (Variant(), Variant(None, factor, float(level)))
    rows = [spoil(crops, each, directions, options["joint_maximum"], order_of(options)) for each in variants]
    aligned, misaligned = (contact_sheet(row, columns=len(numbers)) for row in rows)
    return aligned, misaligned


def _pair_faces(path: Path) -> tuple[Images, NDArray[np.int64], int]:
    """Second images of some genuine pairs, their numbers, and the number of all pairs."""
    pairs = read_pairs(path)
    numbers = _spaced(np.flatnonzero(pairs.same))
    return decode_numbers(pairs, path, 2 * numbers + 1, TEMPLATE_SIZE), numbers, len(pairs.same)


def _template_faces(path: Path, options: Mapping[str, Any]) -> tuple[Images, NDArray[np.int64], int]:
    """First images of some second templates, their numbers, and the number of all images."""
    faces = open_faces(path, options, TEMPLATE_SIZE)
    _, firsts = np.unique(faces.arrays["templates"], return_index=True)
    second = np.isin(faces.arrays["templates"][firsts], faces.arrays["pairs"][:, 1])
    numbers = _spaced(firsts[second])
    return faces.crops(numbers.tolist()), numbers, faces.count


def _spaced(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    count = min(GRID, len(numbers))
    return numbers[np.arange(count) * len(numbers) // count]
