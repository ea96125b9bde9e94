"""Requirements of evaluation on the images and labels of a benchmark: one check for verifying a set and for using it.

An image as it is given to a network comes from one of the functions here, so that what verifying a set passes no later
step refuses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.ijb import IJB
from aroface.datasets.formats.ijbs import IJBS
from aroface.datasets.formats.kinds import FOLDS
from aroface.datasets.images import CROP_PIXELS, Pixels, decode, resize_square
from aroface.datasets.orientation import orientation_in, upright
from aroface.errors import InputError
from aroface.faces.geometry import align

IJBS_SEARCHES = {
    "surveillance_to_single": ("single-booking", "single"),
    "surveillance_to_booking": ("single-booking", "booking"),
    "surveillance_to_surveillance": ("surveillance", "surveillance"),
    "uav_to_single": ("uav", "single"),
    "uav_to_booking": ("uav", "booking"),
}
"""By name of a search of IJB-S, its list of probes and its kind of galleries."""

Booleans = npt.NDArray[np.bool_]


def pair_face(data: bytes, file: Path, number: int, size: int) -> Pixels:
    """Image ``number`` of a file of pairs as a network gets it, uint8 (size, size, 3), RGB.

    Raises:
        InputError: it is damaged or not square.
    """
    return _square(data, file, f"image {number}", size, CROP_PIXELS)


def stored_face(data: bytes, file: Path, size: int) -> Pixels:
    """A face crop that lies in a file of its own as a network gets it, uint8 (size, size, 3), RGB.

    Raises:
        InputError: it is damaged or not square.
    """
    return _square(data, file, None, size)


def aligned_face(data: bytes, file: Path, landmarks: npt.ArrayLike, size: int) -> Pixels:
    """A loose crop, aligned by its landmarks (5, 2) in pixels, as a network gets it, uint8 (size, size, 3), RGB.

    Raises:
        InputError: it is damaged, or its landmarks are not finite or all coincide.
    """
    image = upright(_decoded(data, file, None), orientation_in(data))
    try:
        return align(image, landmarks, size)
    except InputError as error:
        raise InputError(str(error), file=file) from None


def read_file(file: Path) -> bytes:
    """The content of an image file.

    Raises:
        InputError: it is missing.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", file=file) from None


def check_pairs(same: Booleans, file: Path, *, folds: bool = True) -> None:
    """Check that metrics of labelled pairs are defined.

    Args:
        same: bool (N,), whether a pair is genuine.
        file: File of the labels, for the message.
        folds: whether a ten-fold accuracy is among the metrics.

    Raises:
        InputError: pairs of one kind only, or fewer pairs than folds.
    """
    if folds and len(same) < FOLDS:
        raise InputError(f"{len(same)} pairs", file=file, expected=f"at least {FOLDS}, one a fold")
    if same.all() or not same.any():
        what = f"all {len(same)} pairs are {'genuine' if len(same) and same.all() else 'impostors'}"
        raise InputError(what, file=file, expected="genuine and impostor pairs")


def check_ijb_labels(data: Path, found: IJB) -> None:
    """Check that the metrics of IJB-B or IJB-C are defined on what was read from the tree ``data``.

    Raises:
        InputError: pairs of templates of one kind only, or no probe with a mate in a gallery.
    """
    check_pairs(found.same, data, folds=False)
    if found.search is not None:
        enrolled = np.concatenate([gallery.subjects for gallery in found.search.galleries.values()])
        probes = found.search.probes.subjects
        _check_mates(bool(np.isin(probes, enrolled).any()), len(probes), data)


def check_ijbs_labels(data: Path, found: IJBS) -> None:
    """Check that some metric of IJB-S is defined on what was read from the tree ``data``.

    Raises:
        InputError: no probe of any search has a mate in a gallery.
    """
    enrolled = {
        kind: {template.subject for gallery in both for template in gallery} for kind, both in found.galleries.items()
    }
    mated = any(
        template.subject in enrolled[gallery]
        for probes, gallery in IJBS_SEARCHES.values()
        for template in found.probes[probes]
    )
    _check_mates(mated, len({template for part in found.probes.values() for template in part}), data)


def _check_mates(found: bool, probes: int, file: Path) -> None:
    if not found:
        expected = "subjects of the lists of probes in those of the galleries"
        raise InputError(f"none of {probes} probes has a mate in a gallery", file=file, expected=expected)


def _square(data: bytes, file: Path, record: str | None, size: int, max_pixels: int | None = None) -> Pixels:
    image = _decoded(data, file, record, max_pixels)
    try:
        return resize_square(image, size)
    except ValueError as error:
        remedy = "align the images first: these are not face crops"
        raise InputError(str(error), file=file, record=record, remedy=remedy) from None


def _decoded(data: bytes, file: Path, record: str | None, max_pixels: int | None = None) -> Pixels:
    try:
        return decode(data, max_pixels)
    except ValueError as error:
        what = "cannot be decoded" if record else "cannot be read as an image"
        raise InputError(f"{what} ({error})", file=file, record=record) from None
