"""What evaluation asks of the images and labels of a benchmark: one check for verifying a set and for using it.

An image as it is given to a network comes from one of the functions here, so that what verifying a set passes no later
step refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.ijb import IJB, Search, read_ijb
from aroface.datasets.ijbs import IJBS, read_ijbs
from aroface.datasets.images import CROP_PIXELS, Pixels, decode, resize_square
from aroface.datasets.orientation import orientation_in, upright
from aroface.datasets.pairs import read_pairs
from aroface.datasets.specs import Kind
from aroface.errors import InputError
from aroface.faces.geometry import align

FOLDS = 10
"""Folds of the accuracy of labelled pairs."""

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
        file: where the labels come from, for the message.
        folds: whether a ten-fold accuracy is among the metrics.

    Raises:
        InputError: pairs of one kind only, or fewer pairs than folds.
    """
    if folds and len(same) < FOLDS:
        raise InputError(f"{len(same)} pairs", file=file, expected=f"at least {FOLDS}, one a fold")
    if same.all() or not same.any():
        what = f"all {len(same)} pairs are {'genuine' if len(same) and same.all() else 'impostors'}"
        raise InputError(what, file=file, expected="genuine and impostor pairs")


def check_search(search: Search, file: Path) -> None:
    """Check that the search of IJB-B and IJB-C has an answer.

    Raises:
        InputError: no probe has a mate in a gallery.
    """
    enrolled = np.concatenate([gallery.subjects for gallery in search.galleries.values()])
    check_mates(bool(np.isin(search.probes.subjects, enrolled).any()), len(search.probes), file)


def check_mates(found: bool, probes: int, file: Path) -> None:
    """Refuse a search in which no probe has a mate.

    Raises:
        InputError: ``found`` is false.
    """
    if not found:
        expected = "subjects of the lists of probes in those of the galleries"
        raise InputError(f"none of {probes} probes has a mate in a gallery", file=file, expected=expected)


def check_labels(kind: Kind, data: Path) -> None:
    """Check that the labels of a benchmark allow the metrics of its protocol; its images are not read.

    Args:
        kind: what ``data`` holds; a training set has no such labels.
        data: a ``.bin`` file or the folder of a tree.

    Raises:
        InputError: they do not, or a list is missing or malformed.
    """
    if kind in _LABELS:
        _LABELS[kind](data)


def check_pair_labels(data: Path) -> None:
    """Check the labels of a file of pairs; see :func:`check_labels`."""
    check_pairs(read_pairs(data).same, data)


def check_ijb_labels(data: Path, found: IJB | None = None) -> None:
    """Check the labels of an IJB-B or IJB-C tree; see :func:`check_labels`."""
    found = found or read_ijb(data)
    check_pairs(found.same, data, folds=False)
    if found.search is not None:
        check_search(found.search, data)


def check_ijbs_labels(data: Path, found: IJBS | None = None) -> None:
    """Check the labels of an IJB-S tree; see :func:`check_labels`."""
    found = found or read_ijbs(data)
    enrolled = {
        kind: {template.subject for gallery in both for template in gallery} for kind, both in found.galleries.items()
    }
    mated = any(
        template.subject in enrolled[gallery]
        for probes, gallery in IJBS_SEARCHES.values()
        for template in found.probes[probes]
    )
    check_mates(mated, len({template for part in found.probes.values() for template in part}), data)


_LABELS: dict[Kind, Callable[[Path], None]] = {
    "pairs": check_pair_labels,
    "ijb": check_ijb_labels,
    "ijbs": check_ijbs_labels,
}


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
        raise InputError(f"cannot be decoded ({error})", file=file, record=record) from None
