"""Example faces of a sensitivity benchmark, aligned and misaligned, at full and at low quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.alignment_sweep import HIGH_QUALITY, Variant, draw_directions
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.image_source import Images
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.sensitivity import order_of, spoil
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.faces.sheet import contact_sheet

COLUMNS = 4


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
