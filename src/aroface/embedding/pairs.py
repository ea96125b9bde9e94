"""Protocol ``pairs``: row 2i is the first image of pair i, row 2i + 1 the second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.pair_people import read_pair_people
from aroface.datasets.formats.pairs import Pairs, pair_face, read_pairs
from aroface.embedding.base import EmbeddingProtocol
from aroface.embedding.image_source import Images, ImageSource


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open the images of a ``.bin`` file as they are, with the arrays ``same`` and ``images``.

    Where the people of the pairs are named beside the file, ``people`` has their numbers, (N, 2).

    Args:
        path: Path of the file.
        options: Resolved options of the protocol.
        size: Side of the images in pixels.

    Raises:
        InputError: See :func:`aroface.datasets.formats.pairs.read_pairs` and
            :func:`aroface.datasets.formats.checks.check_pairs`.
    """
    pairs = read_pairs(path)
    check_pairs(pairs.same, path)

    def images(start: int, stop: int) -> Images:
        return decode_numbers(pairs, path, range(start, stop), size)

    arrays: dict[str, NDArray[Any]] = {"same": pairs.same, "images": image_numbers(pairs.images)}
    people = read_pair_people(path, pairs.same)
    return ImageSource(len(pairs.images), images, arrays if people is None else {**arrays, "people": people})


def image_numbers(images: Sequence[bytes]) -> NDArray[np.int32]:
    """Number of each of 2N encoded images in N pairs, (N, 2): images of equal bytes have one."""
    first: dict[bytes, int] = {}
    numbers = [first.setdefault(image, number) for number, image in enumerate(images)]
    return np.array(numbers, np.int32).reshape(-1, 2)


def decode_numbers(pairs: Pairs, path: Path, numbers: Iterable[int], size: int) -> Images:
    """Decode the images with these numbers, uint8 (n, size, size, 3).

    Raises:
        InputError: An image is damaged or not square; the message has its number.
    """
    return np.stack([pair_face(pairs.images[number], path, number, size) for number in numbers])


def _feature_rows(options: Mapping[str, Any], counts: Mapping[str, int]) -> int | None:
    return 2 * counts["pairs"] if "pairs" in counts else None


PROTOCOL = EmbeddingProtocol("pairs", "pairs", open_source, _feature_rows)
