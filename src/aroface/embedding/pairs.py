"""Protocol ``pairs``: row 2i is the first image of pair i, row 2i + 1 the second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.formats.checks import check_pairs, pair_face
from aroface.datasets.formats.pairs import Pairs, read_pairs
from aroface.embedding.image_source import Images, ImageSource


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """The images of a ``.bin`` file, with the array ``same``; nothing is done to them.

    Raises:
        InputError: see :func:`aroface.datasets.formats.pairs.read_pairs` and
            :func:`aroface.datasets.formats.checks.check_pairs`.
    """
    pairs = read_pairs(path)
    check_pairs(pairs.same, path)

    def images(start: int, stop: int) -> Images:
        return decode_numbers(pairs, path, range(start, stop), size)

    return ImageSource(len(pairs.images), images, {"same": pairs.same})


def decode_numbers(pairs: Pairs, path: Path, numbers: Iterable[int], size: int) -> Images:
    """Decode the images with these numbers, uint8 (n, size, size, 3).

    Raises:
        InputError: an image is damaged or not square; the line has its number.
    """
    return np.stack([pair_face(pairs.images[number], path, number, size) for number in numbers])
