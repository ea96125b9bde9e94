"""Trees of raw face crops become trees of aligned faces, with a report of how: TinyFace's, IJB-S's, any folder's."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aroface.datasets.corrupt_images import OnCorrupt, is_damage
from aroface.datasets.file_names import check_name
from aroface.datasets.formats.tinyface import (
    ALIGNED,
    DISTRACTORS,
    GALLERY_LIST,
    PARTS,
    PROBE_LIST,
    RELEASED_CROPS,
    is_tinyface,
    read_tinyface,
)
from aroface.datasets.images import Pixels, encode_jpeg
from aroface.datasets.orientation import read_upright
from aroface.datasets.preparation.person_folders import MAX_LEFT_OUT, find_images
from aroface.datasets.preparation.photograph_checks import CORRUPT
from aroface.errors import InputError
from aroface.faces.detection.crops import Aligned, Setting, finish, show
from aroface.faces.detection.detector import NO_FACE, DetectedFace, Detector, deciding_facts
from aroface.files import digest, make_folder, read_json, write_bytes, write_json
from aroface.omissions import Omissions
from aroface.progress import track
from aroface.schemas import validate

REPORT = "alignment.json"
"""Name of the report, beside the crops."""

JPEG_QUALITY = 95

_CHUNK = 256  # images between two points from which an interrupted call resumes
_KEY = "key.json"  # whose work a partial folder holds
_VERSION = 1  # to be raised when other crops come out of the same options

_WITHOUT_FACE = {"crop": "no face found, written as a whole", "omit": NO_FACE}
_SEVERAL = "several faces, aligned by the one that fills the crop best"

TAKEN = frozenset({_WITHOUT_FACE["crop"], _SEVERAL})
"""Kinds that a report's account names although they are not left out."""

NoFace = Literal["crop", "omit"]


@dataclass(frozen=True, slots=True)
class AlignOptions:
    """Options of aligning crops.

    Attributes:
        setting: Presentation of crops to the detector.
        no_face: Treatment of a crop without a face: ``crop`` writes it squared and resized, ``omit`` writes nothing, as
            IJB-S has it, where a template without a face is a miss.
        on_corrupt: Treatment of an image that cannot be decoded: an error, or it is left out.
        max_left_out: Fraction of the images that may be left out, 0 … 1; those that ``omit`` asks for do not count.
    """

    setting: Setting = Setting()  # noqa: RUF009 - immutable
    no_face: NoFace = "crop"
    on_corrupt: OnCorrupt = "error"
    max_left_out: float = MAX_LEFT_OUT


def align_tree(
    source: Path,
    out: Path,
    detector: Detector,
    options: AlignOptions = AlignOptions(),
    threads: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Align all images of a tree; resume an interrupted call, leave a finished tree as it is.

    An image is turned by its EXIF orientation first, as viewers show it. A tree that was finished earlier stays as it
    is, also where it has been aligned without that.

    Of a TinyFace tree the crops as released are aligned. They go to a folder of ``out`` that is named by how they were
    aligned (`alignment_name`), and the lists go with them, so that ``out`` is a TinyFace tree. Of any other folder each
    image goes to the same place below ``out``, as a JPEG.

    Args:
        source: Root of a TinyFace tree, or a folder with images at any depth.
        out: Root of the tree, or folder of the faces.
        detector: Detector, see :mod:`aroface.faces.detection`.
        options: Options of aligning.
        threads: Number of threads that decode, align and encode; by default one a core.

    Returns:
        The folder of the aligned images and the report that lies in it, `REPORT`.

    Raises:
        InputError: No images, one that cannot be read, more left out than the options allow, two that would get one
            name, or something else stands at the place: not made here, or from other images or otherwise aligned. What
            was aligned until then is kept for the next call.
    """
    if source.resolve() in out.resolve().parents and not is_tinyface(source):
        raise InputError("lies in the folder that is read", file=out, remedy="name a place beside it")
    omissions = Omissions()
    folder, files = _planned(source, out, detector, options, omissions)
    omissions.check(len(files) + omissions.counted, options.max_left_out, file=source)
    key = _key(files, detector, options)
    if folder.exists() and any(folder.iterdir()):
        report = finished(folder, key)
    else:
        partial = folder.with_name(f".{folder.name}.partial")
        begin(partial, key)
        chunks = _align(files, partial, detector, options, threads)
        _judge_corrupt(source, files, chunks, options, omissions)
        report = report_of(chunks, key, detector, options, omissions)
        publish(partial, folder, report, partial.glob("chunk-*.json"))
    if is_tinyface(source) and out.resolve() != source.resolve():
        for name in (GALLERY_LIST, PROBE_LIST):
            write_bytes(out / name, (source / name).read_bytes())
    return folder, report


def alignment_name(detector: Detector, setting: Setting) -> str:
    """Option ``alignment`` of a benchmark on these crops, such as ``aligned_scrfd_2.5g_128in192_t0.5``."""
    threshold = detector.facts.get("threshold")
    ending = "" if threshold is None else f"_t{threshold:g}"
    return f"{ALIGNED}{detector.name}_{setting.face}in{setting.canvas}{ending}"


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report that lies beside aligned crops; None where they came without one.

    Raises:
        InputError: It is malformed.
    """
    path = folder / REPORT
    if not path.exists():
        return None
    report: dict[str, Any] = read_json(path)
    validate(report, "alignment", file=path)
    return report


def described(folder: Path) -> dict[str, Any]:
    """Describe the alignment of the faces in a folder, under ``alignment`` as records have it; empty without a report.

    Raises:
        InputError: The report is malformed.
    """
    report = read_report(folder)
    return {} if report is None else {"alignment": {key: report[key] for key in ("detector", "options", "counts")}}


def _planned(
    source: Path, out: Path, detector: Detector, options: AlignOptions, omissions: Omissions
) -> tuple[Path, dict[str, Path]]:
    """Folder of the aligned images, and the source of each name there."""
    if not is_tinyface(source):
        return out, _images(source, omissions)
    if options.no_face == "omit":
        raise InputError("TinyFace's lists name every image", file=source, remedy="keep crops without a face")
    read_tinyface(source, RELEASED_CROPS)  # all that the lists name is there
    crops = source / RELEASED_CROPS
    names = [path for part in PARTS for path in sorted((crops / part).iterdir()) if not path.name.startswith(".")]
    for path in names:
        check_name(path)
        if not path.is_file():
            raise InputError("no file", file=path, expected="an image, or a link to one")
    folder = out / alignment_name(detector, options.setting)
    return folder, {path.relative_to(crops).as_posix(): path for path in names}


def _images(source: Path, omissions: Omissions) -> dict[str, Path]:
    sources: dict[str, Path] = {}
    for path in find_images(source, omissions):
        target = path.relative_to(source).with_suffix(".jpg").as_posix()
        if target in sources:
            raise InputError(f"{sources[target].name} would become {target} as well", file=path)
        sources[target] = path
    if not sources:
        left_out = omissions.lines()
        raise InputError(
            "no image in it",
            file=source,
            expected="face crops, at any depth",
            remedy=left_out[0] if left_out else None,
        )
    return sources


def _key(files: Mapping[str, Path], detector: Detector, options: AlignOptions) -> str:
    images = [[name, path.stat().st_size] for name, path in files.items()]
    return alignment_key(_VERSION, images, detector, options)


def alignment_key(version: int, files: object, detector: Detector, options: AlignOptions, **more: object) -> str:
    """Hash of all that decides the faces.

    Args:
        version: Number that is raised when other faces come out of the same options.
        files: Names and sizes of the files that are read, JSON.
        detector: Detector.
        options: Options of aligning; what may be left out makes no other faces.
        more: Further options, JSON.
    """
    how = {"setting": asdict(options.setting), "no_face": options.no_face, **more}
    return digest([version, files, deciding_facts(detector), how, JPEG_QUALITY])


def finished(place: Path, key: str) -> dict[str, Any]:
    """Report of faces that were written earlier.

    Raises:
        InputError: They were not made here, or of other images or otherwise.
    """
    report = read_report(place)
    if report is None or report["key"] != key:
        what = "exists and was not made here" if report is None else "exists, of other images or otherwise aligned"
        raise InputError(what, file=place, remedy="name another place or remove it")
    return report


def begin(partial: Path, key: str) -> None:
    """Empty folder, or that of the interrupted call to resume."""
    if partial.exists() and not ((partial / _KEY).exists() and read_json(partial / _KEY) == key):
        shutil.rmtree(partial)
    make_folder(partial)
    write_json(partial / _KEY, key)


def publish(partial: Path, place: Path, report: Mapping[str, Any], accounts: Iterable[Path]) -> None:
    """Write the report beside the faces, remove what only an interrupted call needs, and give them their place.

    Args:
        partial: Folder of the faces.
        place: Final name of it, where nothing or an empty folder stands.
        report: Report on the faces.
        accounts: Files that tell an interrupted call what is done.
    """
    validate(report, "alignment")
    write_json(partial / REPORT, report)
    for done in [*accounts, partial / _KEY]:
        done.unlink()
    if place.exists():
        place.rmdir()
    partial.rename(place)


def _align(
    files: Mapping[str, Path],
    partial: Path,
    detector: Detector,
    options: AlignOptions,
    threads: int | None,
) -> list[dict[str, Any]]:
    """Align the remaining images, chunk by chunk, and yield the results of each chunk."""
    names = list(files)
    chunks = {
        partial / f"chunk-{begin:09}.json": names[begin : begin + _CHUNK] for begin in range(0, len(names), _CHUNK)
    }
    todo = {record: chunk for record, chunk in chunks.items() if not record.exists()}
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="align") as pool:
        done = _done(todo, files, partial, detector, options, pool)
        deque(track(done, "aligning", sum(map(len, todo.values()))), maxlen=0)
    return [read_json(record) for record in chunks]


def _done(
    todo: Mapping[Path, Sequence[str]],
    files: Mapping[str, Path],
    partial: Path,
    detector: Detector,
    options: AlignOptions,
    pool: ThreadPoolExecutor,
) -> Iterator[str]:
    """The names of the images while they get done; a chunk is recorded when all of it is written."""

    def one(name: str, image: Pixels, faces: Sequence[DetectedFace]) -> Aligned:
        aligned = finish(image, faces, options.setting)
        _write(partial / name, aligned, options)
        return aligned

    read = _read_ahead(pool, [[files[name] for name in chunk] for chunk in todo.values()], options)
    for (record, chunk), outcomes in zip(todo.items(), read, strict=True):
        corrupt = {name: outcome for name, outcome in zip(chunk, outcomes, strict=True) if isinstance(outcome, str)}
        whole = {name: outcome for name, outcome in zip(chunk, outcomes, strict=True) if not isinstance(outcome, str)}
        images, shown = [image for image, _ in whole.values()], [shown for _, shown in whole.values()]
        aligned = list(pool.map(one, whole, images, detector.detect(shown) if shown else []))
        write_json(record, summary_of([*whole], aligned, corrupt))
        yield from chunk


def _read_ahead(
    pool: ThreadPoolExecutor, chunks: Sequence[Sequence[Path]], options: AlignOptions
) -> Iterator[list[tuple[Pixels, Pixels] | str]]:
    """The images of each chunk and what the detector sees of them; the next is read while one is worked on.

    In place of an image that cannot be decoded stands the reason, where such images are left out.
    """

    def one(path: Path) -> tuple[Pixels, Pixels] | str:
        try:
            image = read_upright(path)
        except InputError as error:
            if options.on_corrupt == "error" or not is_damage(error):
                raise
            return str(error)
        return image, show(image, options.setting)

    coming: deque[list[Future[tuple[Pixels, Pixels] | str]]] = deque()
    for number in range(len(chunks) + 1):
        if number < len(chunks):
            coming.append([pool.submit(one, path) for path in chunks[number]])
        if number > 0:
            yield [future.result() for future in coming.popleft()]


def _write(target: Path, aligned: Aligned, options: AlignOptions) -> None:
    if aligned.face is None and options.no_face == "omit":
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode_jpeg(aligned.image, JPEG_QUALITY))


def summary_of(names: Sequence[str], aligned: Sequence[Aligned], corrupt: Mapping[str, str]) -> dict[str, Any]:
    """Account of a chunk of images, as it is stored until the report is written."""
    several = [name for name, face in zip(names, aligned, strict=True) if face.faces > 1]
    return {
        "images": len(names),
        "several": len(several),
        "several_faces": several,
        "without": [name for name, face in zip(names, aligned, strict=True) if face.face is None],
        "corrupt": dict(corrupt),
    }


def _judge_corrupt(
    source: Path,
    files: Mapping[str, Path],
    chunks: Sequence[Mapping[str, Any]],
    options: AlignOptions,
    omissions: Omissions,
) -> None:
    """Count the images that could not be decoded, by this call or one before it, and refuse what may not be left out.

    Raises:
        InputError: None may be left out, more are than are allowed, or a list of TinyFace's names one.
    """
    corrupt = {name: reason for chunk in chunks for name, reason in chunk.get("corrupt", {}).items()}
    if corrupt and options.on_corrupt == "error":
        raise InputError(next(iter(corrupt.values())), remedy="choose --on-corrupt skip to leave it out")
    omissions.extend(CORRUPT, corrupt)
    listed = [] if not is_tinyface(source) else [name for name in corrupt if not name.startswith(f"{DISTRACTORS}/")]
    if listed:
        more = f", as {len(listed):,} of the images that the lists name" if len(listed) > 1 else ""
        remedy = "the lists name it: replace it by a whole copy; the other images are aligned already"
        raise InputError(f"{corrupt[listed[0]]}{more}", remedy=remedy)
    omissions.check(len(files) + omissions.counted - len(corrupt), options.max_left_out, file=source)
    if len(corrupt) == len(files):
        raise InputError("no image that can be decoded", file=source, remedy=next(iter(corrupt.values())))


def report_of(
    chunks: Sequence[Mapping[str, Any]],
    key: str,
    detector: Detector,
    options: AlignOptions,
    omissions: Omissions,
    more: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Report on all chunks, see ``alignment.schema.json``; ``more`` are further options."""
    without = [name for chunk in chunks for name in chunk["without"]]
    several = [name for chunk in chunks for name in chunk.get("several_faces", ())]
    corrupt = [reason for chunk in chunks for reason in chunk.get("corrupt", {}).values()]
    images = sum(chunk["images"] for chunk in chunks)
    for name in without:
        omissions.note(_WITHOUT_FACE[options.no_face], name)
    for name in several:
        omissions.note(_SEVERAL, name)
    return {
        "schema": 1,
        "key": key,
        "name": alignment_name(detector, options.setting),
        "detector": dict(detector.facts),
        "options": {
            "face": options.setting.face,
            "canvas": options.setting.canvas,
            "no_face": options.no_face,
            "jpeg_quality": JPEG_QUALITY,
            **(more or {}),
        },
        "counts": {
            "images": images,
            "found": images - len(without),
            "without_face": len(without),
            "several_faces": sum(chunk["several"] for chunk in chunks),
        },
        "without_face": without,
        "several_faces": several,
        "corrupt": corrupt,
        "left_out": omissions.summary(),
    }
