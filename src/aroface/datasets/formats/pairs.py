"""Verification pairs in the InsightFace ``.bin`` format: a pickle of (2N encoded images, N booleans)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats import safe_pickle
from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.pair_people import people_path, read_pair_people
from aroface.datasets.image_size import JPEG_START, PNG_START
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.file_content import kind_of_file, refuse_placeholder
from aroface.files import is_there, write_bytes

_FORM = "a pickle of (2N JPEG or PNG images, N booleans)"
_LONGEST_INTEGER = 64  # bits of one that a message shows


@dataclass(frozen=True, slots=True)
class Pairs:
    """N pairs of images.

    Attributes:
        images: 2N encoded images, the first and the second of each pair in turn.
        same: Label of each pair, bool (N,), true where both images show one person.
    """

    images: list[bytes]
    same: npt.NDArray[np.bool_]


class PairsFormat(SetFormat):
    """A ``.bin`` file of labelled pairs."""

    kind = "pairs"
    layout = "a .bin file of pairs"
    default_name = "pairs.bin"

    def matches(self, data: Path) -> bool:
        """Return whether the name ends in ``.bin``."""
        return data.suffix == ".bin"

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Folder of the file, its name, and that of its people where they are named."""
        people = people_path(data)
        return data.parent, [data.name, *([people.name] if is_there(people) else [])]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        pairs = read_pairs(data)
        facts: dict[str, object] = {"pairs": len(pairs.same), "genuine": int(pairs.same.sum())}
        people = read_pair_people(data, pairs.same)
        named = {} if people is None else {"people": int(people.max()) + 1}
        return {**facts, "different images": len(set(pairs.images)), **named}

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        pairs = read_pairs(data)
        shown = np.unique(np.linspace(0, len(pairs.same) - 1, COLUMNS * ROWS // 2).astype(int)).tolist()
        rows = [shown[begin : begin + COLUMNS] for begin in range(0, len(shown), COLUMNS)]
        halves = ([2 * pair + side for pair in row] for row in rows for side in (0, 1))
        return [[pair_face(pairs.images[number], data, number, TEMPLATE_SIZE) for number in half] for half in halves]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_images, check_labels

        pairs = read_pairs(data)
        findings = Findings({"pairs": len(pairs.same), "genuine": int(pairs.same.sum())})
        same = sum(pairs.images[2 * pair] == pairs.images[2 * pair + 1] for pair in range(len(pairs.same)))
        findings.noted["pairs"] = f"{same} of an image and itself" if same else "each of two different images"
        check_labels(findings, lambda: check_pairs(pairs.same, data))

        people = read_pair_people(data, pairs.same)
        if people is not None:
            findings.counts["identities"] = int(people.max()) + 1

        def face(image: bytes, number: int) -> Pixels:
            return pair_face(image, data, number, TEMPLATE_SIZE)

        check_images(findings, len(pairs.images), pairs.images.__getitem__, face, threads)
        return findings

    def image_count(self, counts: Mapping[str, int]) -> int:
        """See :class:`SetFormat`."""
        return 2 * counts.get("pairs", 0)

    def requested_counts(self, spec: Mapping[str, Any]) -> dict[str, int]:
        """See :class:`SetFormat`."""
        return {"pairs": spec["pairs"]}


def read_pairs(path: Path) -> Pairs:
    """Read a pair file, or a folder of pairs as CVLface's toolkit has them; nothing in it is executed.

    Raises:
        InputError: The file is missing, is no such pickle, names a global that genuine files do not, has another
            number of images than twice its pairs, or an entry is no image.
    """
    if path.is_dir():
        from aroface.datasets.formats.arrow_pairs import read_arrow_pairs

        return read_arrow_pairs(path)
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
    images = _images(_items(content[0], path), path)
    same = np.array([_boolean(entry, path, number) for number, entry in enumerate(_items(content[1], path))], bool)
    if len(images) != 2 * len(same) or len(same) == 0:
        raise InputError(f"{len(images)} images and {len(same)} pairs", file=path, expected="two images a pair")
    return Pairs(images, same)


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write a pair file that `read_pairs` and the usual scripts read; equal pairs give equal bytes.

    Raises:
        ValueError: The number of images is not twice that of pairs.
    """
    if len(pairs.images) != 2 * len(pairs.same):
        raise ValueError(f"{len(pairs.images)} images for {len(pairs.same)} pairs")
    # A pickle stores one object once: which entries are one object must depend on nothing but their bytes.
    unique: dict[bytes, bytes] = {}
    images = [unique.setdefault(image, image) for image in pairs.images]
    write_bytes(path, pickle.dumps((images, pairs.same.tolist()), protocol=4))


def pair_face(data: bytes, file: Path, number: int, size: int) -> Pixels:
    """Image of a file of pairs as a network gets it, uint8 (size, size, 3), RGB.

    Args:
        data: Encoded image.
        file: Path of the file, for the message.
        number: Number of the image in the file, for the message.
        size: Height and width of the result in pixels.

    Raises:
        InputError: The image is damaged or not square.
    """
    from aroface.datasets.formats.image_checks import square_face
    from aroface.datasets.images import CROP_PIXELS

    return square_face(data, file, f"image {number}", size, CROP_PIXELS)


def _items(entries: Any, path: Path) -> Sequence[Any]:
    if isinstance(entries, safe_pickle.Array):
        try:
            return entries.integers()
        except ValueError as error:
            raise InputError(str(error), file=path, expected=_FORM) from None
    if not isinstance(entries, list | tuple):
        raise InputError(f"a {type(entries).__name__} instead of a list", file=path, expected=_FORM)
    return entries


def _images(entries: Sequence[Any], path: Path) -> list[bytes]:
    made: dict[int, bytes] = {}  # by identity: a pickle can name one large object any number of times
    for number, entry in enumerate(entries):
        if id(entry) not in made:
            made[id(entry)] = _image(entry, path, number)
    return [made[id(entry)] for entry in entries]


def _image(entry: Any, path: Path, number: int) -> bytes:
    try:
        data = entry.values() if isinstance(entry, safe_pickle.Array) else entry
    except ValueError as error:
        raise InputError(str(error), file=path, where=f"image {number}") from None
    if not isinstance(data, bytes | bytearray) or not data.startswith((JPEG_START, PNG_START)):
        raise InputError("the entry is no image", file=path, where=f"image {number}", expected="a JPEG or PNG")
    return bytes(data)


def _boolean(entry: Any, path: Path, number: int) -> bool:
    if not isinstance(entry, int) or entry not in (0, 1):
        raise InputError(f"the entry is {_shown(entry)}", file=path, where=f"pair {number}", expected="true or false")
    return bool(entry)


def _shown(entry: Any) -> str:
    """Text of an entry, whatever its size or depth."""
    if isinstance(entry, int) and entry.bit_length() > _LONGEST_INTEGER:
        return f"an integer of {entry.bit_length()} bits"
    plain = entry is None or isinstance(entry, int | float | str | bytes)
    return f"{entry!r:.40}" if plain else f"of type {type(entry).__name__}"
