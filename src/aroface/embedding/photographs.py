"""Photographs in, features out: the faces of files, folders and videos, found, aligned and embedded."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aroface.datasets.corrupt_images import OnCorrupt, is_damage
from aroface.datasets.image_formats import UNREADABLE, format_of_file
from aroface.datasets.images import Pixels
from aroface.datasets.orientation import read_upright
from aroface.datasets.preparation.align import begin
from aroface.datasets.preparation.detectors import open_detector
from aroface.datasets.preparation.person_folders import MAX_LEFT_OUT, find_images
from aroface.datasets.preparation.photograph_checks import CORRUPT
from aroface.datasets.preparation.photograph_faces import (
    DETECT_SIZE,
    SEVERAL,
    FaceChoice,
    ShownPhotograph,
    check_choice,
    choose,
    cut_face,
    find_faces,
    show_photograph,
)
from aroface.datasets.preparation.release_units import run_units
from aroface.datasets.preparation.video_frames import every
from aroface.embedding.embedder import Embedder
from aroface.embedding.external_model import Model, open_model
from aroface.embedding.face_table import PHOTOGRAPH, FaceTable, check_form, concatenate, read_faces, write_faces
from aroface.errors import InputError
from aroface.faces.detection.detector import NO_FACE, DetectedFace, Detector, deciding_facts
from aroface.files import atomic_open, check_place, digest, read_json_if_there, write_json
from aroface.omissions import KindSummary, Omissions, summary_lines
from aroface.provenance import versions

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"})
"""Endings of videos."""

DETECTOR = "scrfd_2.5g"
"""Detector by default, a key of the registry."""

_VERSION = 1  # to be raised when other rows come out of the same options
_UNIT = 64  # photographs between two points from which an interrupted call goes on
_AT_ONCE = 8  # photographs that are held and shown to the detector at once, and as many that are read meanwhile
_CROPS = 256  # faces that are held until they are embedded
_NO_FACE_IN_FRAME = "frame of a video without a face"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PhotographOptions:
    """Options of embedding photographs.

    Attributes:
        faces: Faces to take of a photograph: the ``largest``, that of the ``best`` score, or ``all``.
        flip: True if the embedding of the mirrored face is added.
        detect_size: Longer side in pixels to which a photograph is reduced for the detector.
        frame_step: Number of frames from one that is taken of a video to the next.
        on_corrupt: Treatment of a file that cannot be decoded: an error, or it is left out.
        max_left_out: Fraction of the files that may be left out, 0 … 1; those without a face do not count.
        batch_size: Number of faces in one forward pass; by default as many as fit the device.
        threads: Number of threads that read and decode; by default one a core.
    """

    faces: FaceChoice = "largest"
    flip: bool = True
    detect_size: int = DETECT_SIZE
    frame_step: int = 1
    on_corrupt: OnCorrupt = "error"
    max_left_out: float = MAX_LEFT_OUT
    batch_size: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class _Tools:
    """Tools and options of all units."""

    embedder: Embedder
    detector: Detector
    options: PhotographOptions
    pool: ThreadPoolExecutor
    partial: Path


@dataclass(frozen=True, slots=True, eq=False)
class _Position:
    """Photograph or frame in which faces are looked for, as rows name it."""

    path: Path
    frame: int = PHOTOGRAPH

    def __str__(self) -> str:
        return str(self.path) if self.frame == PHOTOGRAPH else f"{self.path} frame {self.frame}"


def embed_photographs(
    photographs: str | PathLike[str] | Sequence[str | PathLike[str]],
    model: str | PathLike[str] | Model,
    *,
    detector: str | Detector = DETECTOR,
    data_dir: str | PathLike[str] = "data",
    faces: FaceChoice | None = None,
    options: PhotographOptions | None = None,
) -> FaceTable:
    """Find, align and embed the faces in photographs.

    Photographs without a face, and those with several, are listed on standard error.

    Args:
        photographs: Files, folders (searched at any depth) and videos.
        model: Model, or path of a run folder, an ONNX file or a checkpoint.
        detector: Detector, its key in the registry, or path of an ONNX file of the SCRFD family.
        data_dir: Folder of registered files, where the detector lies.
        faces: Faces to take of a photograph: ``largest``, ``best`` or ``all``; by default that of ``options``.
        options: Further options.

    Returns:
        Table of the faces, in the order of the photographs.

    Raises:
        InputError: See `embed_to_file`.
    """
    chosen = options or PhotographOptions()
    chosen = chosen if faces is None else replace(chosen, faces=faces)
    listed = [photographs] if isinstance(photographs, str | PathLike) else photographs
    opened = model if isinstance(model, Model) else open_model(model)
    finder = open_detector(detector, Path(data_dir)) if isinstance(detector, str) else detector
    _check(chosen)
    omissions = Omissions()
    files = _files([Path(path) for path in listed], omissions, chosen)
    with tempfile.TemporaryDirectory(prefix="aroface-") as folder:
        accounts = _embed(files, opened.embedder, finder, chosen, Path(folder))
        _judge(files, accounts, chosen, omissions)
        tell(omissions.summary(), [reason for account in accounts for reason in account["corrupt"].values()])
        return concatenate(list(_tables(Path(folder), accounts)))


def embed_to_file(
    photographs: Sequence[Path],
    model: Model,
    detector: Detector,
    out: Path,
    options: PhotographOptions,
    *,
    command: str | None = None,
) -> dict[str, Any]:
    """Write the faces in photographs, with their features, to a file, and a report beside it (``FILE.json``).

    An interrupted call resumes after the last 64 photographs, or the last video, that it has done; a finished file
    stays as it is.

    Args:
        photographs: Files, folders (searched at any depth) and videos.
        model: Model.
        detector: Detector.
        out: File; its ending, ``.parquet``, ``.npz`` or ``.csv``, names the form.
        options: Options.
        command: Command line, for the report.

    Returns:
        The report: ``counts``, ``left_out`` by kind, ``corrupt`` with the reason of each file that was left out, and
        how the rows were made.

    Raises:
        InputError: No photographs, one that cannot be read, more left out than the options allow, no face in any, a
            feature that is not finite, or another file stands at the place.
    """
    check_form(out)
    check_place(out)
    _check(options)
    omissions = Omissions()
    files = _files(photographs, omissions, options)
    how = _described(model, detector, options)
    decisive = {**how, "model": {**how["model"], "name": None, "weights": how["model"]["weights"]["sha256"]}}
    key = digest([_VERSION, [[str(path), *_state(path)] for path in files], decisive])
    written = out.with_name(f"{out.name}.json")
    if out.exists():
        return _finished(out, written, key)
    partial = out.with_name(f".{out.name}.partial")
    begin(partial, key)
    accounts = _embed(files, model.embedder, detector, options, partial)
    _judge(files, accounts, options, omissions)
    report = {
        "schema": 1,
        "key": key,
        **how,
        "command": command,
        "versions": versions(),
        "counts": {name: sum(account["counts"][name] for account in accounts) for name in accounts[0]["counts"]},
        "left_out": omissions.summary(),
        "corrupt": [reason for account in accounts for reason in account["corrupt"].values()],
    }
    write_json(written, report)
    write_faces(out, _tables(partial, accounts))
    shutil.rmtree(partial)
    return report


def tell(left_out: Mapping[str, KindSummary], corrupt: Sequence[str]) -> None:
    """Print what was left out, and which photographs have several faces, to standard error.

    Args:
        left_out: Summary by kind.
        corrupt: Reason for each file that could not be decoded.
    """
    for line in summary_lines(left_out, taken=SEVERAL.values(), reasons={CORRUPT: corrupt}):
        print(line, file=sys.stderr)


def _check(options: PhotographOptions) -> None:
    check_choice(options.faces)
    if options.detect_size < 1 or options.frame_step < 1:
        raise InputError("a side or step below 1", expected="whole numbers from 1 on")


def _described(model: Model, detector: Detector, options: PhotographOptions) -> dict[str, Any]:
    """All that decides the rows of given files, under the names of the report."""
    checkpoint = model.checkpoint
    return {
        "model": {
            "name": model.name,
            "weights": checkpoint["weights"],
            "arch": checkpoint["experiment"]["arch"],
            "input": checkpoint["input"],
        },
        "detector": deciding_facts(detector),
        "options": {name: getattr(options, name) for name in ("faces", "flip", "detect_size", "frame_step")},
    }


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _files(places: Sequence[Path], omissions: Omissions, options: PhotographOptions) -> list[Path]:
    """Photographs and videos of files and folders, each once, in order.

    Raises:
        InputError: There are none, something is missing, or too many are of formats that cannot be decoded.
    """
    files: dict[Path, Path] = {}
    for place in places:
        if not place.exists():
            raise InputError("no such file or folder", file=place)
        for path in [_decodable(place)] if place.is_file() else find_images(place, omissions, VIDEOS):
            files.setdefault(path.resolve(), path)
    if not files:
        remedy = omissions.lines()[0] if len(omissions) else None
        where = places[0] if len(places) == 1 else None
        raise InputError("no photograph", file=where, expected="image files, videos, or folders of them", remedy=remedy)
    omissions.check(len(files) + omissions.counted, options.max_left_out, file=places[0])
    return [*files.values()]


def _decodable(path: Path) -> Path:
    """The file, unless it is of a format that cannot be decoded.

    Raises:
        InputError: It is.
    """
    name = format_of_file(path)
    if name in UNREADABLE:
        raise InputError(f"{name}, which cannot be decoded here", file=path, remedy=UNREADABLE[name])
    return path


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Some items at a time."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def _units(files: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Units of work by name: some photographs, or a video."""
    units: list[tuple[Path, ...]] = []
    for path in files:
        if not _is_video(path) and units and not _is_video(units[-1][0]) and len(units[-1]) < _UNIT:
            units[-1] = (*units[-1], path)
        else:
            units.append((path,))
    return {f"{number:07}": unit for number, unit in enumerate(units)}


def _embed(
    files: Sequence[Path], embedder: Embedder, detector: Detector, options: PhotographOptions, partial: Path
) -> list[dict[str, Any]]:
    """Embed all units that are not done yet; return the accounts of all."""
    threads = options.threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads, thread_name_prefix="photographs") as pool:
        tools = _Tools(embedder, detector, options, pool, partial)
        units = {name: (name, unit) for name, unit in _units(files).items()}
        return run_units(partial, units, lambda unit: _do(*unit, tools), f"embedding {len(files):,} files, in parts")


def _do(name: str, unit: Sequence[Path], tools: _Tools) -> dict[str, Any]:
    """Embed a unit, write its rows, and give the account of it."""
    corrupt: dict[str, str] = {}
    without, several, places, found = list[str](), list[str](), 0, 0
    tables, rows, crops = list[FaceTable](), list[tuple[_Position, int, int, DetectedFace]](), list[Pixels]()
    for batch in _shown(unit, tools, corrupt):
        faces_of_each = find_faces([photograph for _, photograph in batch], tools.detector)
        for (place, photograph), faces in zip(batch, faces_of_each, strict=True):
            places, found = places + 1, found + len(faces)
            if not faces:
                without.append(str(place))
            elif len(faces) > 1:
                several.append(str(place))
            for number in choose(faces, tools.options.faces):
                rows.append((place, number, len(faces), faces[number]))
                crops.append(cut_face(photograph.image, faces[number].points, tools.embedder.size))
        if len(crops) >= _CROPS:
            tables.append(_table(rows, crops, tools))
            rows, crops = [], []
    tables += [_table(rows, crops, tools)] if crops else []
    taken = sum(map(len, tables))
    if taken:
        with atomic_open(tools.partial / f"{name}.npz") as file:
            np.savez(file, allow_pickle=False, **concatenate(tables).columns())
    counts = {"files": len(unit), "images": places, "found": found, "without_face": len(without), "rows": taken}
    counts["several_faces"] = len(several)
    lists = {"without": without, "several": several, "corrupt": corrupt}
    return {"name": name, "video": _is_video(unit[0]), "counts": counts, **lists}


def _shown(
    unit: Sequence[Path], tools: _Tools, corrupt: dict[str, str]
) -> Iterator[list[tuple[_Position, ShownPhotograph]]]:
    """The photographs or frames of a unit, some at a time, as the detector is to see them."""
    if _is_video(unit[0]):
        yield from _frames_shown(unit[0], tools, corrupt)
        return

    def read(path: Path) -> ShownPhotograph | InputError:
        try:
            return show_photograph(read_upright(path), tools.options.detect_size)
        except InputError as error:
            if tools.options.on_corrupt == "error" or not is_damage(error):
                raise
            return error

    batches = list(_batches(unit, _AT_ONCE))
    coming = [tools.pool.submit(read, path) for path in batches[0]]
    for number, paths in enumerate(batches):
        outcomes = [future.result() for future in coming]
        if number + 1 < len(batches):
            coming = [tools.pool.submit(read, path) for path in batches[number + 1]]
        batch = []
        for path, outcome in zip(paths, outcomes, strict=True):
            if isinstance(outcome, InputError):
                corrupt[str(path)] = str(outcome)
            else:
                batch.append((_Position(path), outcome))
        yield batch


def _frames_shown(
    path: Path, tools: _Tools, corrupt: dict[str, str]
) -> Iterator[list[tuple[_Position, ShownPhotograph]]]:
    try:
        for batch in _batches(every(path, tools.options.frame_step), _AT_ONCE):
            shown = tools.pool.map(
                lambda image: show_photograph(image, tools.options.detect_size), [i for _, i in batch]
            )
            yield [(_Position(path, number), each) for (number, _), each in zip(batch, shown, strict=True)]
    except InputError as error:
        if tools.options.on_corrupt == "error" or not is_damage(error):
            raise
        corrupt[str(path)] = str(error)


def _table(
    rows: Sequence[tuple[_Position, int, int, DetectedFace]], crops: Sequence[Pixels], tools: _Tools
) -> FaceTable:
    """Rows of faces with their features.

    Raises:
        InputError: A feature is not finite.
    """
    embedder, options = tools.embedder, tools.options
    batch_size = options.batch_size or embedder.batch_size
    features = embedder.embed(np.stack(crops), flip=options.flip, batch_size=batch_size)
    norms = np.linalg.norm(features, axis=1)
    if not np.isfinite(norms).all():
        place = rows[int(np.flatnonzero(~np.isfinite(norms))[0])][0]
        remedy = "the weights are of no use, or take other input: colour order, mean, std"
        raise InputError("the feature of its face is not finite", file=place.path, remedy=remedy)
    places, numbers, counts, faces = zip(*rows, strict=True)
    return FaceTable(
        path=np.array([place.path.as_posix() for place in places]),
        frame=np.array([place.frame for place in places], np.int64),
        face=np.array(numbers, np.int64),
        faces=np.array(counts, np.int64),
        box=np.stack([face.box for face in faces]).astype(np.float32),
        points=np.stack([face.points for face in faces]).astype(np.float32),
        score=np.array([face.score for face in faces], np.float32),
        norm=norms.astype(np.float32),
        feature=features / np.maximum(norms, np.finfo(np.float32).tiny)[:, None],
    )


def _tables(partial: Path, accounts: Sequence[Mapping[str, Any]]) -> Iterator[FaceTable]:
    """Tables of the units that have rows."""
    return (read_faces(partial / f"{account['name']}.npz") for account in accounts if account["counts"]["rows"])


def _judge(
    files: Sequence[Path], accounts: Sequence[Mapping[str, Any]], options: PhotographOptions, omissions: Omissions
) -> None:
    """Count what was left out, and refuse what may not be.

    Raises:
        InputError: More is left out than the options allow, or no face was found.
    """
    corrupt = {name: reason for account in accounts for name, reason in account["corrupt"].items()}
    if corrupt and options.on_corrupt == "error":
        raise InputError(next(iter(corrupt.values())), remedy="choose --on-corrupt skip to leave it out")
    omissions.extend(CORRUPT, corrupt)
    omissions.check(len(files) + omissions.counted - len(corrupt), options.max_left_out, file=files[0].parent)
    for account in accounts:
        for name in account["without"]:
            omissions.note(_NO_FACE_IN_FRAME if account["video"] else NO_FACE, name)
        for name in account["several"]:
            if options.faces != "all":
                omissions.note(SEVERAL[options.faces], name)
    if not any(account["counts"]["rows"] for account in accounts):
        remedy = "are these photographs of faces? --detect-size shows the detector more pixels of small ones"
        raise InputError(f"no face in any of {len(files):,} files", file=files[0].parent, remedy=remedy)


def _finished(out: Path, written: Path, key: str) -> dict[str, Any]:
    """Report of a file that was written earlier.

    Raises:
        InputError: It was not made here, or of other photographs or otherwise.
    """
    report = read_json_if_there(written)
    if not isinstance(report, dict) or report.get("key") != key:
        what = "exists, of other photographs or otherwise embedded" if report else "exists and was not made here"
        raise InputError(what, file=out, remedy="name another file or remove it")
    return report
