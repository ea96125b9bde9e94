"""A training set: a folder of records as InsightFace, im2rec or CVLface write them, or of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.image_folder import LAYOUT, ImageFolder, images_of, is_image_folder, people
from aroface.datasets.formats.indexed_records import Int64, RecordFile
from aroface.datasets.formats.mxnet_records import MXNetRecordFile
from aroface.datasets.formats.record_layout import INDEX, LANDMARKS, LIST_ENDINGS, PROPERTY, RECORDS, find_layout
from aroface.datasets.formats.record_set import RecordSet
from aroface.datasets.formats.recordio import EXACT, RecordWriter, open_writer, pack, rounded_down
from aroface.datasets.formats.tinyface import is_tinyface
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import digest, write_text

FILES = (RECORDS, INDEX, PROPERTY)
_JPEG_START = b"\xff\xd8\xff"
_SAMPLED_PEOPLE = 64  # of a folder of images, whose images' content is part of its identity

Reader = Literal["native", "mxnet"]


class TrainingFormat(SetFormat):
    """A training set: records as InsightFace has them, or a folder of images."""

    kind = "training"
    layout = f"a training set: a folder with {RECORDS}, or {LAYOUT}"
    default_name = "train"
    corrupt_allowed = True

    def matches(self, data: Path) -> bool:
        """Return whether the folder has records, or nothing but people's folders of images."""
        if find_layout(data) is not None:
            return True
        # The crops of a TinyFace tree lie in folders of JPEG files as well.
        return is_image_folder(data) and not any(map(is_tinyface, data.absolute().parents))

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Records with their index and property or else their list, or people's folders."""
        layout = find_layout(data)
        return data, people(data) if layout is None else layout.files

    def identity(self, data: Path) -> dict[str, Any]:
        """As for all formats; of a folder of images all names, and samples of some people's images."""
        from aroface.datasets.manifest import sample_identity

        folder, names = self.files(data)
        if find_layout(data) is not None:
            return sample_identity(folder, names)
        sampled = names[:: -(-len(names) // _SAMPLED_PEOPLE)]
        return {**sample_identity(folder, sampled), "images": digest(images_of(folder))}

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        training_set = TrainingSet.open(data)
        sizes = np.bincount(training_set.labels, minlength=training_set.num_classes)
        spread = f"{sizes.min()} to {sizes.max()}, {sizes.mean():.1f} on average"
        facts: dict[str, object] = {"identities": training_set.num_classes, "images": len(training_set)}
        facts["images of one"] = spread
        if training_set.counted_from != PROPERTY:
            facts |= {"identities of": training_set.counted_from} if training_set.counted_from else {}
            facts["image size"] = "×".join(map(str, training_set.image_size()))
        return facts

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        from aroface.datasets.images import CROP_PIXELS, decode, resize_square

        training_set = TrainingSet.open(data)

        def image(position: int) -> Pixels:
            try:
                return resize_square(decode(training_set.jpeg(position), CROP_PIXELS), TEMPLATE_SIZE)
            except ValueError as error:
                raise training_set.error(position, f"the JPEG cannot be decoded ({error})") from None

        shown = range(min(ROWS, training_set.num_classes))
        rows = [np.flatnonzero(training_set.labels == label)[:COLUMNS].tolist() for label in shown]
        return [[image(position) for position in row] for row in rows]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_images
        from aroface.datasets.images import CROP_PIXELS, decode

        training_set = TrainingSet.open(data, recount=True)
        listed = training_set.check_lists()
        sizes = np.bincount(training_set.labels, minlength=training_set.num_classes)
        findings = Findings({"identities": training_set.num_classes, "images": len(training_set)})
        empty = np.flatnonzero(sizes == 0)
        spread = f"{sizes.min()} to {sizes.max()} images each"
        missing = f"{len(empty)} without an image, first {empty[0]}" if len(empty) else ""
        findings.noted["identities"] = missing or spread
        if training_set.counted_from not in (None, PROPERTY):
            findings.noted["identities"] += f"; their number is that of {training_set.counted_from}"
            findings.image_size = training_set.image_size()
        if listed is not None:
            findings.noted["list"] = listed
        if (layout := find_layout(data)) is not None and layout.landmarks is not None:
            findings.noted["landmarks"] = landmarks_line(data / layout.landmarks, len(training_set))

        def face(jpeg: bytes, number: int) -> Pixels:
            try:
                image = decode(jpeg, CROP_PIXELS)
            except ValueError as error:
                raise training_set.error(number, f"the JPEG cannot be decoded ({error})") from None
            if image.shape != (TEMPLATE_SIZE, TEMPLATE_SIZE, 3):
                raise training_set.error(number, f"the image has {image.shape[1]}×{image.shape[0]} pixels")
            return image

        check_images(findings, len(training_set), training_set.jpeg, face, threads)
        return findings

    def requested_counts(self, spec: Mapping[str, Any]) -> dict[str, int]:
        """See :class:`SetFormat`."""
        people = spec["identities"]
        return {"identities": people, "images": people * spec["images_per_identity"]}


class Images(Protocol):
    """Encoded images and their labels by position; `RecordFile`, `MXNetRecordFile` and `ImageFolder` are such."""

    labels: Int64

    def read(self, position: int) -> bytes:
        """The encoded image at ``position``."""

    def where(self, position: int) -> tuple[Path, str | None]:
        """File of an image and, within it, record, for messages."""

    def will_need(self, positions: Iterable[int]) -> None:
        """Ask the kernel to fetch these images in the background, if that is possible."""


class TrainingSet:
    """The JPEGs and labels of a training set, by position 0 … N−1; made by `TrainingSet.open`.

    Attributes:
        name: Name of the folder.
        num_classes: Number of identities C.
        labels: Labels, int64 (N,), each in 0 … C−1.
        counted_from: Name of the file that the number of identities comes from; None of a folder of images.
    """

    def __init__(self, name: str, num_classes: int, images: Images, records: RecordSet | None = None) -> None:
        self.name = name
        self.num_classes = num_classes
        self.labels: Int64 = images.labels
        self.counted_from = None if records is None else records.counted_from
        self._images = images
        self._records = records

    @classmethod
    def open(cls, folder: Path, reader: Reader = "native", *, recount: bool = False) -> TrainingSet:
        """Open the set in ``folder`` and check its index and labels.

        Args:
            folder: Folder of records (see :mod:`aroface.datasets.formats.record_layout`), or with one sub-folder a
                person of JPEG files (see `ImageFolder`).
            reader: Reader of record files: this project's own, or MXNet where it is installed.
            recount: True to count identities that no file states, also where a manifest has their number.

        Raises:
            InputError: A file is missing or malformed, a label is not below the number of classes, or MXNet is asked
                for and cannot be imported.
        """
        if reader not in get_args(Reader):
            raise InputError(f"no reader {reader!r}", expected=f"one of {', '.join(get_args(Reader))}")
        name = folder.resolve().name
        layout = find_layout(folder)
        if layout is None:
            if not is_image_folder(folder):
                lists = f"{PROPERTY} or {' or '.join(f'train{ending}' for ending in LIST_ENDINGS)} where there is one"
                raise InputError(
                    "no such file", file=folder / RECORDS, expected=f"it and {INDEX}, with {lists}, or {LAYOUT}"
                )
            if reader != "native":
                raise InputError("holds image files, no records for MXNet to read", file=folder, expected=RECORDS)
            images = ImageFolder(folder)
            return cls(name, images.num_classes, images)
        records = RecordSet(layout, RecordFile if reader == "native" else MXNetRecordFile, recount=recount)
        return cls(name, records.num_classes, records.images, records)

    def __len__(self) -> int:
        return len(self.labels)

    def jpeg(self, position: int) -> bytes:
        """The encoded image at ``position``.

        Raises:
            InputError: The image cannot be read, is damaged or is no JPEG.
        """
        content = self._images.read(position)
        if not content.startswith(_JPEG_START):
            raise self.error(position, f"the {'record' if self._images.where(position)[1] else 'file'} is no JPEG")
        return content

    def will_need(self, positions: Iterable[int]) -> None:
        """Ask the kernel to fetch these images in the background."""
        self._images.will_need(positions)

    def image_size(self) -> tuple[int, int]:
        """Width and height of the first image in pixels, by its header.

        Raises:
            InputError: The image cannot be read.
        """
        from aroface.datasets.image_size import image_size

        try:
            return image_size(self.jpeg(0))
        except ValueError as error:
            raise self.error(0, f"the JPEG cannot be decoded ({error})") from None

    def check_lists(self) -> str | None:
        """Compare the lists that the records were written from with them; see `RecordSet.check_lists`."""
        return None if self._records is None else self._records.check_lists()

    def error(self, position: int, what: str) -> InputError:
        """Error that names the file, and the record, of the image at ``position``."""
        file, record = self._images.where(position)
        return InputError(what, file=file, where=record, expected=f"a JPEG of {TEMPLATE_SIZE}×{TEMPLATE_SIZE} pixels")


def write_training_set(folder: Path, items: Iterable[tuple[int, bytes]], num_classes: int) -> int:
    """Write ``(label, JPEG)`` items as a training set with header record and identity ranges.

    Beyond 2**24 records the keys in header and ranges are rounded to what float32 holds, as in sets that MXNet wrote:
    a reader has to trust the records' own labels. The header is rounded down, so that one that believes it takes no
    identity's record for an image.

    Args:
        folder: Folder of the set, created if missing.
        items: Labels and JPEGs in ascending order of label, each label in 0 … num_classes−1; taken one by one.
        num_classes: Number of identities.

    Returns:
        Number of images.

    Raises:
        ValueError: A label is out of order or out of range.
        InputError: The people are more than float32 labels can tell apart.
    """
    check_classes(num_classes, folder)
    images = np.zeros(num_classes, np.int64)
    previous = 0
    with open_writer(folder / RECORDS, folder / INDEX) as writer:
        writer.write(0, pack((0.0, 0.0), b"", 0))
        for key, (label, jpeg) in enumerate(items, start=1):
            if not previous <= label < num_classes:
                raise ValueError(f"label {label} after {previous}, with {num_classes} classes")
            writer.write(key, pack(float(label), jpeg, key))
            images[label] += 1
            previous = label
        write_identities(writer, images)
    write_property(folder, num_classes)
    return int(images.sum())


def write_identities(writer: RecordWriter, images: Int64) -> None:
    """Write the identities' ranges behind images in the order of their labels, and the header in the first record.

    Args:
        writer: Writer of a header record and of images with the keys from 1.
        images: Number of images of each class, int64 (C,).
    """
    num_classes, end = len(images), 1 + int(images.sum())
    ends = 1 + images.cumsum()
    for identity, span in enumerate(zip((ends - images).tolist(), ends.tolist(), strict=True), start=end):
        writer.write(identity, pack(span, b"", identity))
    writer.overwrite_first(pack((rounded_down(end), rounded_down(end + num_classes)), b"", 0))


def write_property(folder: Path, num_classes: int) -> None:
    """Write the number of classes and the size of images."""
    write_text(folder / PROPERTY, f"{num_classes},{TEMPLATE_SIZE},{TEMPLATE_SIZE}\n")


def check_classes(num_classes: int, folder: Path) -> None:
    """Refuse to write more people than float32 labels can tell apart.

    Raises:
        InputError: They are more.
    """
    if num_classes > EXACT:
        raise InputError(
            f"{num_classes:,} people, but records' labels are float32",
            file=folder,
            expected=f"at most {EXACT:,} people",
        )


def landmarks_line(path: Path, images: int) -> str:
    """A line about a table of landmarks, which no training here uses.

    Args:
        path: Table of CVLface: a line of index and ten coordinates an image.
        images: Number of images of the set.
    """
    from aroface.datasets.formats.text_tables import ColumnKind, Form, blocks

    numbers: list[tuple[str, ColumnKind]] = [(f"ldmk_{number}", "number") for number in range(10)]
    form = Form((("idx", "integer"), *numbers), commas=True, header=True)
    try:
        rows = sum(len(columns[0]) for _, columns in blocks(path, form))
    except InputError as error:
        return f"not used, and not readable: {error}"
    return f"{LANDMARKS} has {rows:,} rows for {images:,} images; no training here uses it"
