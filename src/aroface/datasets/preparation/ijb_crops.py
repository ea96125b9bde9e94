"""IJB-B and IJB-C out of NIST's release: loose crops about the listed boxes, with landmarks that a detector finds."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.formats.ijb import GALLERIES, IMAGES, IdentificationProtocol, ListedFace, write_lists
from aroface.datasets.formats.ijb_release import Box, IJBRelease, read_release
from aroface.datasets.images import Pixels, encode_jpeg
from aroface.datasets.orientation import read_upright
from aroface.datasets.preparation.align import (
    JPEG_QUALITY,
    AlignOptions,
    alignment_key,
    begin,
    finished,
    publish,
    report_of,
    summary_of,
)
from aroface.datasets.preparation.box_crops import PADDING, cut, padded_square, points_in_box, touches
from aroface.datasets.preparation.release_units import CHUNK, accounts, align_crops, run_units, sizes
from aroface.errors import InputError
from aroface.faces.detection.crops import Aligned
from aroface.faces.detection.detector import Detector
from aroface.omissions import Omissions

LOOSE_PADDING = 0.5
"""Part of its side by which the squared box grows on each side in a crop that is kept: an aligned face reaches further
than a box."""

_VERSION = 1  # to be raised when other crops or landmarks come out of the same options

Face = tuple[str, Box | None]


def prepare_ijb(
    source: Path, out: Path, detector: Detector, options: AlignOptions, threads: int | None = None
) -> tuple[Path, dict[str, Any]]:
    """Write a tree in InsightFace's layout: ``loose_crop/`` and ``meta/``, with a report beside them.

    The detector sees the squared box, padded by a tenth. Where it finds no face, the landmarks are those of a face that
    fills this square as the template does, and the score is the detector's threshold. A face of several templates is
    searched once. A call that was interrupted goes on with the 256 faces that it was at; a finished tree stays
    as it is. Memory holds the lists: some hundred bytes for each image of a template.

    Args:
        source: Root of the release, see :mod:`aroface.datasets.formats.ijb_release`.
        out: Root of the tree.
        detector: Detector, see :mod:`aroface.faces.detection`.
        options: Options of aligning.
        threads: Number of threads that decode, cut and encode; by default one a core.

    Returns:
        The root of the tree, and the report that lies in it.

    Raises:
        InputError: A list is missing or malformed, an image is missing or damaged, crops without a face shall be left
            out, the release has no lists of the search, the labels allow no metrics, or something else stands at the
            place.
    """
    if options.no_face == "omit":
        raise InputError("the lists name every image", file=source, remedy="keep crops without a face: --no-face crop")
    release = read_release(source)
    _check(release, source)
    faces = sorted({(name, release.faces.box(row)) for row, name in enumerate(release.faces.files)}, key=str)
    files = [release.images / name for name in dict.fromkeys(name for name, _ in faces)]
    key = alignment_key(_VERSION, sizes(release.images, files), detector, options, more=None)
    if out.exists() and any(out.iterdir()):
        return out, finished(out, key)
    partial = out.with_name(f".{out.name}.partial")
    begin(partial, key)
    (partial / IMAGES).mkdir(exist_ok=True)
    starts = range(0, len(faces), CHUNK)
    units = {f"{start:09}": range(start, min(start + CHUNK, len(faces))) for start in starts}
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="align") as pool:

        def work(part: range) -> dict[str, Any]:
            return _do(part, faces, release, partial, detector, options, pool)

        done = run_units(partial, units, work, "cutting and searching")
    more: dict[str, float] = {"box_padding": PADDING, "loose_padding": LOOSE_PADDING}
    report = report_of(done, key, detector, options, Omissions(), more)
    _write_tree(partial, release, faces, done)
    publish(partial, out, report, accounts(partial))
    return out, report


def _check(release: IJBRelease, source: Path) -> None:
    kinds = [(bool(same.any()), bool((~same).any())) for _, same in release.pairs()]
    if not (any(genuine for genuine, _ in kinds) and any(impostor for _, impostor in kinds)):
        raise InputError("all pairs are of one kind", file=release.matches, expected="genuine and impostor pairs")
    some = bool(release.galleries) or release.probes is not None
    if some and (release.probes is None or len(release.galleries) < 2):
        raise InputError("some lists of the search are missing", file=source, expected="two galleries and the probes")


def _do(
    part: range,
    faces: Sequence[Face],
    release: IJBRelease,
    out: Path,
    detector: Detector,
    options: AlignOptions,
    pool: ThreadPoolExecutor,
) -> dict[str, Any]:
    """Write the crops of some faces, named by their numbers, and return their landmarks with the account."""
    squares = dict(zip(part, pool.map(lambda number: _tight(faces[number], release), part), strict=True))
    names = [_crop_name(number) for number in part]
    crops = [crop for _, crop, _ in squares.values()]
    points, scores, aligned = list[list[float]](), list[float](), list[Aligned]()
    for number, (_, face) in zip(part, align_crops(names, crops, detector, options, pool), strict=True):
        (left, top, side), _, (loose_left, loose_top) = squares[number]
        if face.face is None:
            landmarks = points_in_box(left - loose_left, top - loose_top, side)
        else:
            landmarks = face.face.points + np.array([left - loose_left, top - loose_top], np.float32)
        points.append([round(float(value), 3) for value in landmarks.ravel()])
        scores.append(round(float(detector.facts.get("threshold", 0.0)) if face.face is None else face.face.score, 6))
        aligned.append(Aligned(face.image[:0], face.face, face.faces))
    list(pool.map(lambda number: _write_loose(faces[number], release, out / IMAGES / _crop_name(number)), part))
    listed = [faces[number][0] for number in part]
    return {**summary_of(listed, aligned, {}), "points": points, "scores": scores}


def _tight(face: Face, release: IJBRelease) -> tuple[tuple[int, int, int], Pixels, tuple[int, int]]:
    """Square about a face, its pixels, and the corner of the crop that is kept."""
    image, box = _read(face, release)
    square = padded_square(box)
    left, top, _ = padded_square(box, LOOSE_PADDING)
    return square, cut(image, *square), (left, top)


def _write_loose(face: Face, release: IJBRelease, path: Path) -> None:
    image, box = _read(face, release)
    path.write_bytes(encode_jpeg(cut(image, *padded_square(box, LOOSE_PADDING)), JPEG_QUALITY))


def _read(face: Face, release: IJBRelease) -> tuple[Pixels, Box]:
    name, box = face
    path = release.images / name
    image = read_upright(path)
    box = box or (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    if not touches(image, box):
        what = f"the box {', '.join(f'{value:g}' for value in box)} is none of the image"
        raise InputError(what, file=path, expected="left, top, width and height within it")
    return image, box


def _write_tree(folder: Path, release: IJBRelease, faces: Sequence[Face], done: Sequence[dict[str, Any]]) -> None:
    """Write the lists; a face of several templates has a name, and a link to its crop, in each."""
    points = [each for unit in done for each in unit["points"]]
    scores = [each for unit in done for each in unit["scores"]]
    numbers = {face: number for number, face in enumerate(faces)}
    used = defaultdict[int, int](int)
    listed = []
    for row, name in enumerate(release.faces.files):
        number = numbers[name, release.faces.box(row)]
        crop = _crop_name(number)
        if used[number]:
            copy = f"{number + 1}_{used[number]}.jpg"
            (folder / IMAGES / copy).unlink(missing_ok=True)
            os.link(folder / IMAGES / crop, folder / IMAGES / copy)
            crop = copy
        used[number] += 1
        landmarks = np.array(points[number], np.float32).reshape(5, 2)
        template, medium = int(release.faces.templates[row]), int(release.faces.media[row])
        listed.append(ListedFace(crop, template, medium, landmarks, scores[number]))
    whole = release.probes is not None and set(release.galleries) == set(GALLERIES[release.benchmark])
    search = IdentificationProtocol(release.galleries, release.probes) if whole and release.probes else None
    write_lists(folder, release.benchmark, listed, release.pairs(), search)


def _crop_name(number: int) -> str:
    return f"{number + 1}.jpg"
