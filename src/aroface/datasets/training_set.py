"""A training set in the InsightFace layout: a folder with ``train.rec``, ``train.idx`` and ``property``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aroface.datasets.recordfile import Int64, RecordFile
from aroface.datasets.recordio import open_writer, pack
from aroface.errors import InputError
from aroface.files import write_text

RECORDS, INDEX, PROPERTY = "train.rec", "train.idx", "property"
FILES = (RECORDS, INDEX, PROPERTY)
_JPEG_START = b"\xff\xd8\xff"
_IMAGE_SIZE = 112


class TrainingSet:
    """The JPEGs and labels of a training set, by position 0 … N−1; made by `TrainingSet.open`.

    Attributes:
        name: the folder's name.
        num_classes: number of identities C.
        labels: int64 (N,), each in 0 … C−1.
    """

    def __init__(self, name: str, num_classes: int, records: RecordFile) -> None:
        self.name = name
        self.num_classes = num_classes
        self.labels: Int64 = records.labels
        self._records = records

    @classmethod
    def open(cls, folder: Path) -> TrainingSet:
        """Open the set in ``folder`` and check its index and labels.

        Raises:
            InputError: a file is missing or malformed, or a label is not below the number of classes.
        """
        num_classes = _read_property(folder / PROPERTY)
        records = RecordFile(folder / RECORDS, folder / INDEX)
        worst = int(np.argmax(records.labels))
        if records.labels[worst] >= num_classes:
            raise InputError(
                f"the label is {records.labels[worst]}",
                file=folder / RECORDS,
                record=records.place(worst),
                expected=f"a label below {num_classes}, the number of classes in {PROPERTY}",
            )
        return cls(folder.resolve().name, num_classes, records)

    def __len__(self) -> int:
        return len(self.labels)

    def jpeg(self, position: int) -> bytes:
        """The encoded image at ``position``.

        Raises:
            InputError: the record is damaged or holds no JPEG.
        """
        content = self._records.read(position)
        if not content.startswith(_JPEG_START):
            raise self.error(position, "the record is no JPEG")
        return content

    def will_need(self, positions: Iterable[int]) -> None:
        """Ask the kernel to fetch these images in the background."""
        self._records.will_need(positions)

    def error(self, position: int, what: str) -> InputError:
        """An error that names the record of the image at ``position``."""
        return InputError(
            what,
            file=self._records.path,
            record=self._records.place(position),
            expected=f"a JPEG of {_IMAGE_SIZE}×{_IMAGE_SIZE} pixels",
        )


def write_training_set(folder: Path, items: Iterable[tuple[int, bytes]], num_classes: int) -> int:
    """Write ``(label, JPEG)`` items as a training set with header record and identity ranges.

    Args:
        folder: where; made if it is not there.
        items: in ascending order of label, each label in 0 … num_classes−1. They are taken one by one.
        num_classes: number of identities.

    Returns:
        The number of images.

    Raises:
        ValueError: a label is out of order or out of range.
    """
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
        writer.overwrite_first(pack((end, end + num_classes), b"", 0))
    write_text(folder / PROPERTY, f"{num_classes},{_IMAGE_SIZE},{_IMAGE_SIZE}\n")
    return end - 1


def _read_property(path: Path) -> int:
    expected = f"one line: number of classes,{_IMAGE_SIZE},{_IMAGE_SIZE}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("no such file", file=path, expected=expected) from None
    except UnicodeDecodeError:
        raise InputError("not a text file", file=path, expected=expected) from None
    found = re.fullmatch(rf"\s*([1-9]\d*)\s*,\s*{_IMAGE_SIZE}\s*,\s*{_IMAGE_SIZE}\s*", text)
    if not found:
        raise InputError(f"reads {text[:40]!r}", file=path, expected=expected)
    return int(found[1])
