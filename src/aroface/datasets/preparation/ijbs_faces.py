"""Faces of IJB-S out of its release: cut by the ground-truth boxes from videos and stills, found again and aligned."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.datasets.formats.ijbs import FACES, list_names, read_lists, wanted_media
from aroface.datasets.formats.ijbs_release import (
    GROUND_TRUTH,
    STILLS,
    VIDEOS,
    FaceBox,
    GroundTruth,
    boxes_of_stills,
    files_by_stem,
    find_ground_truth,
)
from aroface.datasets.images import Pixels, encode_jpeg
from aroface.datasets.md5_lists import MD5List, read_md5_list
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
from aroface.datasets.preparation.box_crops import PADDING, Box, loose_crop, touches
from aroface.datasets.preparation.release_units import CHUNK, accounts, align_crops, run_units, sizes
from aroface.datasets.preparation.video_frames import frames
from aroface.errors import InputError
from aroface.faces.detection.crops import Aligned
from aroface.faces.detection.detector import Detector
from aroface.files import write_bytes
from aroface.omissions import Omissions

_VERSION = 1  # to be raised when other faces come out of the same options
_NO_VIDEO = "video or still that is not there"
_NO_BOX = "medium without a box"
_BEYOND = "box of a frame beyond the end of its video (see --first-frame)"
_OUTSIDE = "box that is none of its image"
_WHOLE = "still without a box, taken as a whole"

Crops = Iterator[tuple[str, Pixels]]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A video, or some stills.

    Attributes:
        paths: Files by the stem of the medium.
        people: People to cut out of each medium.
    """

    paths: Mapping[str, Path]
    people: Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class _Work:
    """Tools and tables of all units."""

    out: Path
    detector: Detector
    options: AlignOptions
    pool: ThreadPoolExecutor
    truth: GroundTruth
    stills: Mapping[tuple[int, str], Box]
    sums: Mapping[str, MD5List | None]
    first_frame: int


def prepare_ijbs(
    source: Path,
    out: Path,
    detector: Detector,
    options: AlignOptions,
    threads: int | None = None,
    *,
    first_frame: int = 0,
    columns: Sequence[str] = (),
) -> tuple[Path, dict[str, Any]]:
    """Write the faces of the people and media that the lists name to ``faces/`` of a tree, and the lists beside it.

    A box is squared, padded by a tenth, cut with black where the image ends, and brought to 256×256 pixels, as in
    AdaFace's readme; in that crop the detector finds the face that is aligned. Each file is compared with its MD5 sum
    before it is read. A call that was interrupted goes on with the video that it was at; a finished tree stays as it
    is. Memory holds the boxes of a video and 256 crops.

    Args:
        source: Root of the release.
        out: Root of the tree; that of the release is possible.
        detector: Detector, see :mod:`aroface.faces.detection`.
        options: Options of aligning.
        threads: Number of threads that cut, align and encode; by default one a core.
        first_frame: Number that the ground truth gives to a video's first frame.
        columns: Names of the ground truth's columns, see
            :func:`aroface.datasets.formats.ijbs_release.find_ground_truth`.

    Returns:
        Folder of the faces, and the report that lies in it.

    Raises:
        InputError: A list or the ground truth is missing or malformed, a file has another MD5 sum, a video or still
            cannot be read, no face is found, more is left out than the options allow, or something else stands at the
            place.
    """
    tree = read_lists(source)
    wanted = sorted(wanted_media(tree))
    truth = find_ground_truth(source, columns)
    units, absent = _units(source, wanted)
    files = [path for unit in units.values() for path in unit.paths.values()]
    truths = [*truth.files.values(), *([truth.common] if truth.common else [])]
    more = {"first_frame": first_frame, "columns": list(columns)}
    key = alignment_key(_VERSION, sizes(source, [*files, *truths]), detector, options, more=more)
    folder = out / FACES
    if folder.exists() and any(folder.iterdir()):
        return folder, finished(folder, key)
    partial = folder.with_name(f".{folder.name}.partial")
    begin(partial, key)
    sums = {name: read_md5_list(source, name) for name in (STILLS, VIDEOS, GROUND_TRUTH)}
    for path in truths:
        _check_sum(sums, path)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="align") as pool:
        work = _Work(partial, detector, options, pool, truth, boxes_of_stills(source), sums, first_frame)
        done = run_units(partial, units, lambda unit: _do(unit, work), "cutting and aligning")
    omissions = _account(source, absent, done, options)
    more_options: dict[str, float] = {"box_padding": PADDING, "first_frame": first_frame}
    report = report_of(done, key, detector, options, omissions, more_options)
    publish(partial, folder, report, accounts(partial))
    if out.resolve() != source.resolve():
        for name in list_names(source):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(out / name, (source / name).read_bytes())
    return folder, report


def _units(source: Path, wanted: Sequence[tuple[int, str]]) -> tuple[dict[str, _Unit], list[str]]:
    """Units of work by name, and the media that are not there."""
    there = {folder: files_by_stem(source / folder) for folder in (STILLS, VIDEOS)}
    people = defaultdict[str, set[int]](set)
    for subject, stem in wanted:
        people[stem].add(subject)
    paths, absent = dict[str, Path](), list[str]()
    for stem in people:
        folder, _, name = stem.partition("_")
        if name in there[folder]:
            paths[stem] = there[folder][name]
        else:
            absent.append(f"{folder}/{name}")
    videos = sorted(stem for stem in paths if stem.startswith(VIDEOS))
    stills = sorted(paths.keys() - set(videos))
    unit_stems = {stem: [stem] for stem in videos}
    unit_stems |= {f"{STILLS}-{begin:09}": stills[begin : begin + CHUNK] for begin in range(0, len(stills), CHUNK)}
    units = {
        name: _Unit({stem: paths[stem] for stem in stems}, {stem: frozenset(people[stem]) for stem in stems})
        for name, stems in unit_stems.items()
    }
    return units, sorted(absent)


def _do(unit: _Unit, work: _Work) -> dict[str, Any]:
    """Cut, align and write the faces of a unit, `CHUNK` at a time."""
    missed: dict[str, list[str]] = {}
    names, aligned = list[str](), list[Aligned]()
    crops = _crops(unit, work, missed)
    while True:
        chunk = [each for _, each in zip(range(CHUNK), crops, strict=False)]
        if not chunk:
            break
        faces = align_crops(
            [name for name, _ in chunk], [crop for _, crop in chunk], work.detector, work.options, work.pool
        )
        for name, face in faces:
            if face.face is not None or work.options.no_face == "crop":
                target = work.out / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(encode_jpeg(face.image, JPEG_QUALITY))
            names.append(name)
            aligned.append(Aligned(face.image[:0], face.face, face.faces))
    return {**summary_of(names, aligned, {}), "missed": missed}


def _crops(unit: _Unit, work: _Work, missed: dict[str, list[str]]) -> Crops:
    for stem, path in unit.paths.items():
        _check_sum(work.sums, path)
        if stem.startswith(VIDEOS):
            yield from _of_video(stem, path, unit.people[stem], work, missed)
        else:
            yield from _of_still(stem, path, unit.people[stem], work, missed)


def _of_still(stem: str, path: Path, people: frozenset[int], work: _Work, missed: dict[str, list[str]]) -> Crops:
    image = read_upright(path)
    for subject in sorted(people):
        box = work.stills.get((subject, stem))
        if box is None:
            missed.setdefault(_WHOLE, []).append(f"{subject}/{stem}")
            box = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        if touches(image, box):
            yield f"{subject}/{stem}.jpg", loose_crop(image, box)
        else:
            missed.setdefault(_OUTSIDE, []).append(f"{subject}/{stem}")


def _of_video(stem: str, path: Path, people: frozenset[int], work: _Work, missed: dict[str, list[str]]) -> Crops:
    boxes: dict[int, dict[int, FaceBox]] = {}
    for face_box in work.truth.of_video(path.stem):
        number = (face_box.frame or 0) - work.first_frame
        if face_box.subject in people and number >= 0:
            boxes.setdefault(number, {}).setdefault(face_box.subject, face_box)
        elif face_box.subject in people:
            missed.setdefault(_BEYOND, []).append(f"{path.name} frame {face_box.frame}")
    seen = {subject for there in boxes.values() for subject in there}
    missed.setdefault(_NO_BOX, []).extend(f"{subject}/{stem}" for subject in sorted(people - seen))
    reached = set()
    for number, image in frames(path, boxes):
        reached.add(number)
        for subject, (_, frame, box) in sorted(boxes[number].items()):
            if touches(image, box):
                yield f"{subject}/{stem}_{frame}.jpg", loose_crop(image, box)
            else:
                missed.setdefault(_OUTSIDE, []).append(f"{subject}/{stem}_{frame}")
    late = [number for number in boxes if number not in reached]
    missed.setdefault(_BEYOND, []).extend(f"{path.name} frame {number + work.first_frame}" for number in sorted(late))


def _check_sum(sums: Mapping[str, MD5List | None], path: Path) -> None:
    for listed in sums.values():
        if listed is not None:
            listed.check(path)


def _account(
    source: Path, absent: Sequence[str], done: Sequence[Mapping[str, Any]], options: AlignOptions
) -> Omissions:
    """Account of what was left out.

    Raises:
        InputError: No face was found, or more was left out than the options allow.
    """
    omissions = Omissions()
    omissions.extend(_NO_VIDEO, absent)
    for unit in done:
        for kind, names in unit["missed"].items():
            for name in names:
                (omissions.note if kind in (_WHOLE, _NO_BOX) else omissions.add)(kind, name)
    images = sum(unit["images"] for unit in done)
    omissions.check(images + omissions.counted, options.max_left_out, file=source)
    if not images or (options.no_face == "omit" and all(len(unit["without"]) == unit["images"] for unit in done)):
        remedy = "do the boxes and the numbers of the frames belong to these videos?"
        raise InputError("no face was found in any box", file=source, remedy=remedy)
    return omissions
