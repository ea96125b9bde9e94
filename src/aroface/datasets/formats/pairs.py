"""Verification pairs in the InsightFace ``.bin`` format: a pickle of (2N encoded images, N booleans)."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats import safe_pickle
from aroface.datasets.images import CROP_PIXELS, JPEG_START, PNG_START, Pixels, decode, resize_square
from aroface.errors import InputError
from aroface.file_content import kind_of_file, refuse_placeholder
from aroface.files import write_bytes

_FORM = "a pickle of (2N JPEG or PNG images, N booleans)"


@dataclass(frozen=True, slots=True)
class Pairs:
    """N pairs of images.

    Attributes:
        images: 2N encoded images, the first and the second of each pair in turn.
        same: bool (N,), whether both show one person.
    """

    images: list[bytes]
    same: npt.NDArray[np.bool_]


def read_pairs(path: Path) -> Pairs:
    """Read a pair file; nothing in it is executed.

    Raises:
        InputError: the file is missing, is no such pickle, names a global that genuine files do not, has another
            number of images than twice its pairs, or an entry is no image.
    """
    refuse_placeholder(path, _FORM)
    try:
        content = safe_pickle.loads(path.read_bytes())
    except ValueError as error:
        kind = kind_of_file(path)
        raise InputError(f"it seems to be {kind}" if kind else str(error), file=path, expected=_FORM) from None
    except InputError as error:
        raise InputError(str(error), file=path) from None
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise InputError("the pickle holds something else", file=path, expected=_FORM)
    images = [_image(entry, path, number) for number, entry in enumerate(_items(content[0], path))]
    same = np.array([_boolean(entry, path, number) for number, entry in enumerate(_items(content[1], path))], bool)
    if len(images) != 2 * len(same) or len(same) == 0:
        raise InputError(f"{len(images)} images and {len(same)} pairs", file=path, expected="two images a pair")
    return Pairs(images, same)


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write a pair file that `read_pairs` and the usual scripts read; equal pairs give equal bytes.

    Raises:
        ValueError: there are not two images a pair.
    """
    if len(pairs.images) != 2 * len(pairs.same):
        raise ValueError(f"{len(pairs.images)} images for {len(pairs.same)} pairs")
    # A pickle stores one object once: which entries are one object must depend on nothing but their bytes.
    unique: dict[bytes, bytes] = {}
    images = [unique.setdefault(image, image) for image in pairs.images]
    write_bytes(path, pickle.dumps((images, pairs.same.tolist()), protocol=4))


def decode_images(images: Sequence[bytes], size: int = 112) -> Pixels:
    """Decode images to uint8 (N, size, size, 3), RGB; squares of another size are resized.

    Raises:
        InputError: an image is damaged or is not square; the message has its number.
    """
    decoded = np.empty((len(images), size, size, 3), np.uint8)
    for number, data in enumerate(images):
        try:
            decoded[number] = resize_square(decode(data, CROP_PIXELS), size)
        except ValueError as error:
            raise InputError(f"cannot be decoded ({error})", record=f"image {number}") from None
    return decoded


def _items(entries: Any, path: Path) -> Sequence[Any]:
    if isinstance(entries, safe_pickle.Array):
        try:
            return entries.integers()
        except ValueError as error:
            raise InputError(str(error), file=path, expected=_FORM) from None
    if not isinstance(entries, list | tuple):
        raise InputError(f"a {type(entries).__name__} instead of a list", file=path, expected=_FORM)
    return entries


def _image(entry: Any, path: Path, number: int) -> bytes:
    try:
        data = entry.values() if isinstance(entry, safe_pickle.Array) else entry
    except ValueError as error:
        raise InputError(str(error), file=path, record=f"image {number}") from None
    if not isinstance(data, bytes | bytearray) or not data.startswith((JPEG_START, PNG_START)):
        raise InputError("the entry is no image", file=path, record=f"image {number}", expected="a JPEG or PNG")
    return bytes(data)


def _boolean(entry: Any, path: Path, number: int) -> bool:
    if not isinstance(entry, int) or entry not in (0, 1):
        raise InputError(f"the entry is {entry!r:.40}", file=path, record=f"pair {number}", expected="true or false")
    return bool(entry)
