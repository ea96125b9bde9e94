"""Trees of raw face crops become trees of aligned faces, with a report of how: TinyFace's, IJB-S's, any folder's."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aroface.datasets.images import Pixels, encode_jpeg, read_image
from aroface.datasets.photographs import SUFFIXES
from aroface.datasets.tinyface import (
    ALIGNED,
    GALLERY_LIST,
    PARTS,
    PROBE_LIST,
    RELEASED_CROPS,
    is_tinyface,
    read_tinyface,
)
from aroface.errors import InputError
from aroface.faces.detection.crops import Aligned, Setting, finish, show
from aroface.faces.detection.detector import Detector, Face
from aroface.files import digest, read_json, write_bytes, write_json
from aroface.progress import track
from aroface.schemas import validate

REPORT = "alignment.json"
"""Name of the report, beside the crops."""

JPEG_QUALITY = 95

_CHUNK = 256  # images between two points from which a broken call goes on
_KEY = "key.json"  # whose work a partial folder holds
_INCIDENTAL = ("file", "onnxruntime", "provider")  # facts of a detector that are no other alignment
_VERSION = 1  # to be raised when other crops come out of the same options

NoFace = Literal["crop", "omit"]


@dataclass(frozen=True, slots=True)
class Options:
    """How crops are aligned.

    Attributes:
        setting: how the detector sees them.
        no_face: what becomes of a crop without a face: ``crop`` writes it squared and resized, ``omit`` writes nothing,
            as IJB-S has it, where a template without a face is a miss.
    """

    setting: Setting = Setting()  # noqa: RUF009 - immutable
    no_face: NoFace = "crop"


def align_tree(
    source: Path,
    out: Path,
    detector: Detector,
    options: Options = Options(),
    threads: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Align all images of a tree; a call that was broken off is gone on with, a finished tree is left as it is.

    Of a TinyFace tree the crops as released are aligned. They go to a folder of ``out`` that is named by how they were
    aligned (`alignment_name`), and the lists go with them, so that ``out`` is a TinyFace tree. Of any other folder each
    image goes to the same place below ``out``, as a JPEG.

    Args:
        source: a TinyFace tree, or a folder with images at any depth.
        out: the tree, or the folder of the faces.
        detector: see :mod:`aroface.faces.detection`.
        options: how.
        threads: that decode, align and encode; by default one a core.

    Returns:
        The folder of the aligned images and the report that lies in it, `REPORT`.

    Raises:
        InputError: no images, one that cannot be read, two that would get one name, or something else stands at the
            place: not made here, or from other images or otherwise aligned.
    """
    if source.resolve() in out.resolve().parents and not is_tinyface(source):
        raise InputError("lies in the folder that is read", file=out, remedy="name a place beside it")
    place, files = _planned(source, out, detector, options)
    key = _key(files, detector, options)
    if place.exists() and any(place.iterdir()):
        return place, _finished(place, key)
    partial = place.with_name(f".{place.name}.partial")
    _begin(partial, key)
    report = _report(_align(files, partial, detector, options, threads), key, detector, options)
    validate(report, "alignment")
    write_json(partial / REPORT, report)
    for done in [*partial.glob("chunk-*.json"), partial / _KEY]:
        done.unlink()
    if place.exists():
        place.rmdir()
    partial.rename(place)
    if is_tinyface(source) and out.resolve() != source.resolve():
        for name in (GALLERY_LIST, PROBE_LIST):
            write_bytes(out / name, (source / name).read_bytes())
    return place, report


def alignment_name(detector: Detector, setting: Setting) -> str:
    """What a benchmark's options have to say, such as ``aligned_scrfd_2.5g_128in192_t0.5``."""
    threshold = detector.facts.get("threshold")
    ending = "" if threshold is None else f"_t{threshold:g}"
    return f"{ALIGNED}{detector.name}_{setting.face}in{setting.canvas}{ending}"


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report that lies beside aligned crops; None where they came without one.

    Raises:
        InputError: it is malformed.
    """
    path = folder / REPORT
    if not path.exists():
        return None
    report: dict[str, Any] = read_json(path)
    validate(report, "alignment", file=path)
    return report


def described(folder: Path) -> dict[str, Any]:
    """How the faces in a folder were aligned, under ``alignment`` as records have it; nothing where nobody says so.

    Raises:
        InputError: the report is malformed.
    """
    report = read_report(folder)
    return {} if report is None else {"alignment": {part: report[part] for part in ("detector", "options", "counts")}}


def _planned(source: Path, out: Path, detector: Detector, options: Options) -> tuple[Path, dict[str, Path]]:
    """Where the aligned images go, and for each name there its source."""
    if not is_tinyface(source):
        return out, _images(source)
    if options.no_face == "omit":
        raise InputError("TinyFace's lists name every image", file=source, remedy="keep crops without a face")
    read_tinyface(source, RELEASED_CROPS)  # all that the lists name is there
    crops = source / RELEASED_CROPS
    names = [path for part in PARTS for path in sorted((crops / part).iterdir()) if not path.name.startswith(".")]
    place = out / alignment_name(detector, options.setting)
    return place, {path.relative_to(crops).as_posix(): path for path in names}


def _images(source: Path) -> dict[str, Path]:
    if not source.is_dir():
        raise InputError("no such folder", file=source)
    found: dict[str, Path] = {}
    for directory, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory) / name
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            target = path.relative_to(source).with_suffix(".jpg").as_posix()
            if target in found:
                raise InputError(f"{found[target].name} would become {target} as well", file=path)
            found[target] = path
    if not found:
        raise InputError("no image in it", file=source, expected="face crops, at any depth")
    return found


def _key(files: Mapping[str, Path], detector: Detector, options: Options) -> str:
    """Hash of all that decides the crops: images by name and size, detector, options."""
    images = [[name, path.stat().st_size] for name, path in files.items()]
    facts = {name: value for name, value in detector.facts.items() if name not in _INCIDENTAL}
    return digest([_VERSION, images, facts, asdict(options), JPEG_QUALITY])


def _finished(place: Path, key: str) -> dict[str, Any]:
    report = read_report(place)
    if report is None or report["key"] != key:
        what = "exists and was not made here" if report is None else "exists, of other images or otherwise aligned"
        raise InputError(what, file=place, remedy="name another place or remove it")
    return report


def _begin(partial: Path, key: str) -> None:
    """An empty folder, or that of the call to go on with."""
    if partial.exists() and not ((partial / _KEY).exists() and read_json(partial / _KEY) == key):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / _KEY, key)


def _align(
    files: Mapping[str, Path],
    partial: Path,
    detector: Detector,
    options: Options,
    threads: int | None,
) -> list[dict[str, Any]]:
    """Align what is not done yet, chunk by chunk; what became of each chunk's images."""
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
    options: Options,
    pool: ThreadPoolExecutor,
) -> Iterator[str]:
    """The names of the images while they get done; a chunk is recorded when all of it is written."""

    def one(name: str, image: Pixels, faces: Sequence[Face]) -> Aligned:
        aligned = finish(image, faces, options.setting)
        _write(partial / name, aligned, options)
        return aligned

    read = _read_ahead(pool, [[files[name] for name in chunk] for chunk in todo.values()], options.setting)
    for (record, chunk), (images, shown) in zip(todo.items(), read, strict=True):
        aligned = list(pool.map(one, chunk, images, detector.detect(shown)))
        write_json(record, _summary(chunk, aligned))
        yield from chunk


def _read_ahead(
    pool: ThreadPoolExecutor, chunks: Sequence[Sequence[Path]], setting: Setting
) -> Iterator[tuple[list[Pixels], list[Pixels]]]:
    """The images of each chunk and what the detector sees of them; the next is read while one is worked on."""

    def one(path: Path) -> tuple[Pixels, Pixels]:
        image = read_image(path)
        return image, show(image, setting)

    coming: deque[list[Future[tuple[Pixels, Pixels]]]] = deque()
    for number in range(len(chunks) + 1):
        if number < len(chunks):
            coming.append([pool.submit(one, path) for path in chunks[number]])
        if number > 0:
            both = [future.result() for future in coming.popleft()]
            yield [image for image, _ in both], [shown for _, shown in both]


def _write(target: Path, aligned: Aligned, options: Options) -> None:
    if aligned.face is None and options.no_face == "omit":
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode_jpeg(aligned.image, JPEG_QUALITY))


def _summary(names: Sequence[str], aligned: Sequence[Aligned]) -> dict[str, Any]:
    return {
        "images": len(names),
        "several": sum(each.faces > 1 for each in aligned),
        "without": [name for name, each in zip(names, aligned, strict=True) if each.face is None],
    }


def _report(chunks: Sequence[Mapping[str, Any]], key: str, detector: Detector, options: Options) -> dict[str, Any]:
    without = [name for chunk in chunks for name in chunk["without"]]
    images = sum(chunk["images"] for chunk in chunks)
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
        },
        "counts": {
            "images": images,
            "found": images - len(without),
            "without_face": len(without),
            "several_faces": sum(chunk["several"] for chunk in chunks),
        },
        "without_face": without,
    }
