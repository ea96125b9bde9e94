"""A training set: a folder with ``train.rec``, ``train.idx`` and ``property`` as InsightFace has it, or of images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.image_folder import LAYOUT, ImageFolder, images_of, is_image_folder, people
from aroface.datasets.formats.indexed_records import Int64, RecordFile
from aroface.datasets.formats.mxnet_records import MXNetRecordFile
from aroface.datasets.formats.recordio import EXACT, open_writer, pack, rounded_down
from aroface.datasets.formats.tinyface import is_tinyface
from aroface.datasets.retrying_reads import retrying
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import digest, refuse_special, write_text

RECORDS, INDEX, PROPERTY = "train.rec", "train.idx", "property"
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
        if (data / RECORDS).exists():
            return True
        # The crops of a TinyFace tree lie in folders of JPEG files as well.
        return is_image_folder(data) and not any(map(is_tinyface, data.absolute().parents))

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Records with their index and property, or people's folders."""
        return data, list(FILES) if (data / RECORDS).exists() else people(data)

    def identity(self, data: Path) -> dict[str, Any]:
        """As for all formats; of a folder of images all names, and samples of some people's images."""
        from aroface.datasets.manifest import sample_identity

        folder, names = self.files(data)
        if (data / RECORDS).exists():
            return sample_identity(folder, names)
        sampled = names[:: -(-len(names) // _SAMPLED_PEOPLE)]
        return {**sample_identity(folder, sampled), "images": digest(images_of(folder))}

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        training_set = TrainingSet.open(data)
        sizes = np.bincount(training_set.labels, minlength=training_set.num_classes)
        spread = f"{sizes.min()} to {sizes.max()}, {sizes.mean():.1f} on average"
        return {"identities": training_set.num_classes, "images": len(training_set), "images of one": spread}

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

        training_set = TrainingSet.open(data)
        sizes = np.bincount(training_set.labels, minlength=training_set.num_classes)
        findings = Findings({"identities": training_set.num_classes, "images": len(training_set)})
        empty = np.flatnonzero(sizes == 0)
        spread = f"{sizes.min()} to {sizes.max()} images each"
        missing = f"{len(empty)} without an image, first {empty[0]}" if len(empty) else ""
        findings.noted["identities"] = missing or spread

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
    """

    def __init__(self, name: str, num_classes: int, images: Images) -> None:
        self.name = name
        self.num_classes = num_classes
        self.labels: Int64 = images.labels
        self._images = images

    @classmethod
    def open(cls, folder: Path, reader: Reader = "native") -> TrainingSet:
        """Open the set in ``folder`` and check its index and labels.

        Args:
            folder: Folder in the InsightFace layout, or with one sub-folder a person of JPEG files (see `ImageFolder`).
            reader: Reader of record files: this project's own, or MXNet where it is installed.

        Raises:
            InputError: A file is missing or malformed, a label is not below the number of classes, or MXNet is asked
                for and cannot be imported.
        """
        if reader not in get_args(Reader):
            raise InputError(f"no reader {reader!r}", expected=f"one of {', '.join(get_args(Reader))}")
        name = folder.resolve().name
        if not (folder / RECORDS).exists():
            if not is_image_folder(folder):
                raise InputError(
                    "no such file", file=folder / RECORDS, expected=f"it and {INDEX} and {PROPERTY}, or {LAYOUT}"
                )
            if reader != "native":
                raise InputError("holds image files, no records for MXNet to read", file=folder, expected=RECORDS)
            images = ImageFolder(folder)
            return cls(name, images.num_classes, images)
        num_classes = _read_property(folder / PROPERTY)
        records = (RecordFile if reader == "native" else MXNetRecordFile)(folder / RECORDS, folder / INDEX)
        worst = int(np.argmax(records.labels))
        if records.labels[worst] >= num_classes:
            raise InputError(
                f"the label is {records.labels[worst]}",
                file=folder / RECORDS,
                where=records.where(worst)[1],
                expected=f"a label below {num_classes}, the number of classes in {PROPERTY}",
            )
        return cls(name, num_classes, records)

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
        end = 1 + int(images.sum())
        ends = 1 + images.cumsum()
        for identity, span in enumerate(zip((ends - images).tolist(), ends.tolist(), strict=True), start=end):
            writer.write(identity, pack(span, b"", identity))
        writer.overwrite_first(pack((rounded_down(end), rounded_down(end + num_classes)), b"", 0))
    write_text(folder / PROPERTY, f"{num_classes},{TEMPLATE_SIZE},{TEMPLATE_SIZE}\n")
    return end - 1


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


def _read_property(path: Path) -> int:
    expected = f"one line: number of classes,{TEMPLATE_SIZE},{TEMPLATE_SIZE}"
    refuse_special(path, expected)
    try:
        text = retrying(lambda: path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError:
        raise InputError("not a text file", file=path, expected=expected) from None
    match = re.fullmatch(rf"\s*([1-9]\d{{0,14}})\s*,\s*{TEMPLATE_SIZE}\s*,\s*{TEMPLATE_SIZE}\s*", text)
    if not match:
        raise InputError(f"reads {text[:40]!r}", file=path, expected=expected)
    return int(match[1])
