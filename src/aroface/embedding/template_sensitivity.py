"""Protocol ``sensitivity`` on pairs of templates, as of IJB-B and IJB-C: each image of a template errs by itself.

The images of first templates are embedded once, those of second templates once a variant (with ``perturbed: both``
those of first ones as well). So there are F + V·S rows of features, for F images of first and S of second templates and
V variants, the undistorted one of each quality among them; images are aligned while their rows are made, and nothing of
them is kept. In memory are the lists and, for errors that follow a model, 88 bytes an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.embedding.alignment_sweep import draw_directions, has_models
from aroface.embedding.ijb import open_faces
from aroface.embedding.image_source import Images, ImageSource
from aroface.embedding.sensitivity import order_of, plan_blocks, segments, spoil


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open all variants of a benchmark of templates, as blocks of rows: the images of first or of second templates.

    ``layout`` lists the variants as :func:`aroface.embedding.sensitivity.open_source` does. Arrays are those of
    :func:`aroface.embedding.ijb.open_source` but for the search, and ``first_images`` (F,) and ``second_images`` (S,):
    the images of a block's rows. An image of both sides has one error.

    Args:
        path: Root of the tree.
        options: Resolved options of the protocol, with those of ``ijb``.
        size: Side of the images in pixels.

    Raises:
        InputError: See :func:`aroface.embedding.ijb.open_source`.
    """
    faces = open_faces(path, options, size)
    arrays = faces.arrays
    sides = [np.flatnonzero(np.isin(arrays["templates"], np.unique(column))) for column in arrays["pairs"].T]
    rows = (len(sides[0]), len(sides[1]))
    directions = draw_directions(faces.count, options["seed"], models=has_models(options))
    blocks, table = plan_blocks(options, *rows)

    def images(start: int, stop: int) -> Images:
        parts = []
        for (side, variant), part in segments(blocks, rows, start, stop):
            numbers = sides[side][part]
            crops = faces.crops(numbers.tolist())
            parts.append(spoil(crops, variant, directions[numbers], options["joint_maximum"], order_of(options)))
        return np.concatenate(parts)

    kept = ("templates", "media", "detector_scores", "pairs", "same")
    stored = {name: arrays[name] for name in kept} | {"first_images": sides[0], "second_images": sides[1]}
    layout = {"variants": table, **({"alignment": faces.layout["alignment"]} if "alignment" in faces.layout else {})}
    return ImageSource(sum(rows[side] for side, _ in blocks), images, stored, layout)
