"""Writing of a set in shards as records: one shard after the other, resumable at the last whole one."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.corrupt_images import OnCorrupt
from aroface.datasets.formats.record_layout import INDEX, RECORDS
from aroface.datasets.formats.recordio import EXACT, RecordWriter, pack
from aroface.datasets.formats.training_set import check_classes, write_identities, write_property
from aroface.datasets.images import CROP_PIXELS, JPEG_START, decode, encode_jpeg, resize_square
from aroface.datasets.manifest import refuse_other
from aroface.datasets.preparation.photographs import is_aligned
from aroface.datasets.preparation.shards.base import LabelledImage, ShardedSet
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import placing, read_json, write_json, writing
from aroface.omissions import KindSummary, Omissions
from aroface.progress import track

PROGRESS, LABELS = "written.json", "labels.bin"
_LOCK = ".lock"
_CHUNK, _CHUNK_BYTES = 256, 64 << 20  # images that are decoded together, and their size
_VERSION = 1  # to be raised when other records come out of the same shards


@dataclass(frozen=True, slots=True)
class ShardWriteOptions:
    """Options of writing shards as records.

    Attributes:
        jpeg_quality: Quality of JPEGs that have to be made.
        resize_crops: True if square images of any size are taken for aligned crops.
        on_corrupt: Treatment of an image that cannot be decoded: an error, or it is left out.
    """

    jpeg_quality: int
    resize_crops: bool
    on_corrupt: OnCorrupt


@dataclass(slots=True)
class ShardProgress:
    """Account of what is written, as of the last whole shard.

    Attributes:
        shards: Number of whole shards.
        records: Size of the record file in bytes.
        index: Size of the index in bytes.
        images: Number of images.
        corrupt: Images that were left out because they cannot be decoded, each with the reason.
        corrupt_labels: Their labels.
        left_out: Summary of what the shards hold beside images.
    """

    shards: int = 0
    records: int = 0
    index: int = 0
    images: int = 0
    corrupt: list[str] = field(default_factory=list)
    corrupt_labels: list[int] = field(default_factory=list)
    left_out: dict[str, KindSummary] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardsWritten:
    """A partial folder with all images: number of images of each class, and the images that were left out."""

    images: npt.NDArray[np.int64]
    progress: ShardProgress


@contextmanager
def partial_folder(out: Path) -> Iterator[Path]:
    """Yield the folder that becomes ``out`` when the body has ended well; it stays if the body raises.

    What stood at ``out`` before is replaced if it was made here, which its manifest shows.

    Raises:
        InputError: Something else stands there, or another process writes it.
    """
    refuse_other(out)
    partial = out.with_name(f".{out.name}.partial")
    with placing(out):
        partial.mkdir(parents=True, exist_ok=True)
    with open(partial / _LOCK, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another process writes it", file=out, remedy="wait for it") from None
        except OSError:
            pass  # a file system without locks
        with writing(out):
            yield partial
            (partial / _LOCK).unlink()
            if out.exists():
                shutil.rmtree(out)
            partial.rename(out)


def write_shards(source: ShardedSet, folder: Path, options: ShardWriteOptions) -> ShardsWritten:
    """Write all images of a set as records; what an interrupted call wrote until its last whole shard is kept.

    Labels that never fall over all shards give a set with header record and identities' ranges, as
    `write_training_set` does, any others one without; both are read alike. Memory holds some hundred images, and at the
    end four bytes an image.

    Args:
        source: Opened set.
        folder: Partial folder.
        options: Options of writing.

    Raises:
        InputError: An image is no aligned crop or, unless it may be left out, damaged; or a label is no class.
    """
    key = [_VERSION, source.key, options.jpeg_quality, options.resize_crops, options.on_corrupt]
    progress = _resume(folder, key)
    if progress is None:
        progress = _begin(folder, key, header=source.ascending)
    with (
        open(folder / RECORDS, "r+b") as records,
        open(folder / INDEX, "r+b") as index,
        open(folder / LABELS, "r+b") as labels,
        ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as pool,
    ):
        files = (records, index, labels)
        for file, size in zip(files, (progress.records, progress.index, 4 * progress.images), strict=True):
            file.truncate(size)
            file.seek(size)
        writer = RecordWriter(records, index)
        omissions = Omissions()
        omissions.note_all(progress.left_out)
        todo = range(progress.shards, len(source.shards))
        for number in track(todo, "writing shards"):
            _write_shard(source, number, source.read(number, omissions), writer, labels, progress, options, pool)
            for file in files:
                file.flush()
                os.fsync(file.fileno())
            progress.shards, progress.records, progress.index = number + 1, records.tell(), index.tell()
            progress.left_out = omissions.summary()
            _save(folder, key, progress)
        images = _count(folder, source, progress)
        if source.ascending:
            write_identities(writer, images)
        for file in (records, index):
            file.flush()
            os.fsync(file.fileno())
    write_property(folder, len(images))
    return ShardsWritten(images, progress)


def forget_progress(folder: Path) -> None:
    """Remove what only a resumed call needs."""
    for name in (PROGRESS, LABELS):
        (folder / name).unlink()


def _begin(folder: Path, key: Any, *, header: bool) -> ShardProgress:
    """Start anew, with the place of the header record."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
    (folder / LABELS).touch()
    with open(folder / RECORDS, "wb") as records, open(folder / INDEX, "wb") as index:
        if header:
            RecordWriter(records, index).write(0, pack((0.0, 0.0), b"", 0))
        progress = ShardProgress(records=records.tell(), index=index.tell())
    _save(folder, key, progress)
    return progress


def _resume(folder: Path, key: Any) -> ShardProgress | None:
    """Progress of an interrupted call on the same content with the same options; None where there is none."""
    try:
        written = read_json(folder / PROGRESS)
        progress = ShardProgress(**written["progress"]) if written["key"] == _plain(key) else None
        if progress is None:
            return None
        sizes = {RECORDS: progress.records, INDEX: progress.index, LABELS: 4 * progress.images}
        return progress if all((folder / name).stat().st_size >= size for name, size in sizes.items()) else None
    except (InputError, OSError, KeyError, TypeError):
        return None


def _save(folder: Path, key: Any, progress: ShardProgress) -> None:
    fields = {name: getattr(progress, name) for name in progress.__dataclass_fields__}
    write_json(folder / PROGRESS, {"key": _plain(key), "progress": fields})


def _plain(key: Any) -> Any:
    """A key as JSON gives it back."""
    return [_plain(item) for item in key] if isinstance(key, list | tuple) else key


def _write_shard(
    source: ShardedSet,
    number: int,
    images: Iterator[LabelledImage],
    writer: RecordWriter,
    labels: IO[bytes],
    progress: ShardProgress,
    options: ShardWriteOptions,
    pool: ThreadPoolExecutor,
) -> None:
    file = source.shards[number]
    first = 1 if source.ascending else 0
    last = -1
    for chunk in _chunks(images):
        jpegs = list(pool.map(lambda image: _usable(image, file, options), chunk))
        for image, jpeg in zip(chunk, jpegs, strict=True):
            _check_label(image, file, source.classes, last if source.ascending else -1)
            last = image.label
            if isinstance(jpeg, str):
                progress.corrupt.append(jpeg)
                progress.corrupt_labels.append(image.label)
                continue
            key = first + progress.images
            writer.write(key, pack(float(image.label), jpeg, key))
            labels.write(np.int32(image.label).tobytes())
            progress.images += 1


def _chunks(images: Iterator[LabelledImage]) -> Iterator[list[LabelledImage]]:
    chunk: list[LabelledImage] = []
    size = 0
    for image in images:
        chunk.append(image)
        size += len(image.content)
        if len(chunk) == _CHUNK or size > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _usable(image: LabelledImage, file: Path, options: ShardWriteOptions) -> bytes | str:
    """The aligned face as a JPEG: byte for byte if it is one; the reason, if it is damaged and may be left out."""
    try:
        pixels = decode(image.content, CROP_PIXELS)
    except ValueError as error:
        wrong = InputError(f"cannot be decoded ({error})", file=file, where=image.where)
        if options.on_corrupt == "error":
            raise wrong from None
        return str(wrong)
    height, width = pixels.shape[:2]
    if not is_aligned(height, width, resize=options.resize_crops):
        raise InputError(
            f"an image of {width}×{height} pixels",
            file=file,
            where=image.where,
            expected=f"an aligned crop of {TEMPLATE_SIZE}×{TEMPLATE_SIZE}",
            remedy="--resize-crops takes square images of any size for aligned crops",
        )
    if image.content.startswith(JPEG_START) and height == TEMPLATE_SIZE:
        return image.content
    return encode_jpeg(resize_square(pixels, TEMPLATE_SIZE), options.jpeg_quality)


def _check_label(image: LabelledImage, file: Path, classes: int | None, last: int) -> None:
    bound = EXACT if classes is None else classes
    if not 0 <= image.label < bound:
        expected = f"a class below {bound:,}"
        raise InputError(f"the label is {image.label}", file=file, where=image.where, expected=expected)
    if image.label < last:
        what = f"the label {image.label} after {last}"
        raise InputError(
            what, file=file, where=image.where, expected="labels as they were at first: has the set changed?"
        )


def _count(folder: Path, source: ShardedSet, progress: ShardProgress) -> npt.NDArray[np.int64]:
    """Number of images of each class."""
    labels = np.fromfile(folder / LABELS, np.int32)
    highest = max([*progress.corrupt_labels, int(labels.max(initial=-1))])
    classes = source.classes or highest + 1
    images = np.bincount(labels, minlength=classes)
    if not len(labels) or classes < 2:
        raise InputError(
            f"{len(labels)} images of {classes} people", file=source.shards[0], expected="2 or more of each"
        )
    if classes > len(labels) + len(progress.corrupt):
        raise InputError(
            f"labels up to {classes - 1:,} for {len(labels):,} images",
            file=source.shards[0],
            expected="class numbers from 0, at least one image a class",
        )
    check_classes(classes, folder)
    return images
