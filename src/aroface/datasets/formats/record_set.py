"""A record set of one or several parts, with or without ``property``: images, and the number of identities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from aroface.datasets.file_names import MANIFEST
from aroface.datasets.formats.indexed_records import Int64, RecordFile, RecordParts
from aroface.datasets.formats.record_layout import PROPERTY, Float64, RecordLayout, read_list
from aroface.datasets.retrying_reads import retrying
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import read_json, refuse_special


class RecordSet:
    """Images of a record set, and the number of its identities.

    That number comes from ``property``; else from the header record, else from the list of images and the records' own
    labels, the largest label and one. What `aroface data verify` has counted is taken from the set's manifest.

    Args:
        layout: Files of the set.
        reader: Class that reads a record file.
        recount: True to count identities that no file states, also where a manifest has their number.

    Attributes:
        images: Images by position.
        num_classes: Number of identities.
        counted_from: Name of the file that the number comes from.

    Raises:
        InputError: A file is missing or malformed, or a label is not below the number of classes.
    """

    def __init__(self, layout: RecordLayout, reader: type[RecordFile] = RecordFile, *, recount: bool = False) -> None:
        self.layout = layout
        self._recount = recount
        self._lists = {name: ImageList(layout.folder / name) for name in layout.lists if name is not None}
        self._parts = [reader(*self._files(stem), self._listed(number)) for number, stem in enumerate(layout.stems)]
        self.images = self._parts[0] if len(self._parts) == 1 else RecordParts(self._parts)
        self.num_classes, self.counted_from = self._count()
        for listed in self._lists.values():
            listed.forget()
        worst = int(np.argmax(self.images.labels))
        if self.images.labels[worst] >= self.num_classes:
            file, record = self.images.where(worst)
            raise InputError(
                f"the label is {self.images.labels[worst]}",
                file=file,
                where=record,
                expected=f"a label below {self.num_classes}, the number of classes in {self.counted_from}",
            )

    def check_lists(self) -> str | None:
        """Compare the lists with the records; a line about them, or None where nothing depends on one.

        Raises:
            InputError: A record has another label than the list.
        """
        if self.layout.has_property or not self._lists:
            return None
        listed = sum(len(listing.keys) for listing in self._lists.values())
        for part, name in zip(self._parts, self.layout.lists, strict=True):
            if name is not None:
                self._compare(part, self._lists[name])
        missing = listed - len(self.images.labels)
        names = ", ".join(self._lists)
        return f"{names} has the {listed:,} images" + (f", {missing:,} of them without a record" if missing > 0 else "")

    def _compare(self, part: RecordFile, listed: ImageList) -> None:
        labels = part.own_labels()
        order = np.argsort(listed.keys, kind="stable")
        places = np.minimum(np.searchsorted(listed.keys[order], part.keys), len(order) - 1)
        rows = order[places]
        named = listed.keys[rows] == part.keys
        wrong = named & (listed.labels[rows] != labels)
        if wrong.any():
            first = int(np.argmax(wrong))
            file, record = part.where(first)
            raise InputError(
                f"the label is {labels[first]}, one of {np.count_nonzero(wrong):,} that are not as listed",
                file=file,
                where=record,
                expected=f"{listed.labels[rows[first]]:g} by {listed.path.name}",
                remedy="remove the list, if it is another file's",
            )

    def _files(self, stem: str) -> tuple[Path, Path]:
        return self.layout.folder / f"{stem}.rec", self.layout.folder / f"{stem}.idx"

    def _listed(self, number: int) -> ImageList | None:
        name = self.layout.lists[number]
        return None if name is None or self.layout.has_property else self._lists[name]

    def _count(self) -> tuple[int, str]:
        if self.layout.has_property:
            return read_property(self.layout.folder / PROPERTY), PROPERTY
        if self.images.identities:
            return max(self.images.identities, self._largest(self.images.labels)), self._records
        counted = None if self._recount else _counted(self.layout)
        if counted is not None:
            return counted, MANIFEST
        labels = self._largest(self.images.labels)
        if not self._lists:
            return labels, self._records
        return max(labels, *(self._largest(listing.labels) for listing in self._lists.values())), ", ".join(self._lists)

    @property
    def _records(self) -> str:
        return ", ".join(f"{stem}.rec" for stem in self.layout.stems)

    @staticmethod
    def _largest(labels: Int64 | Float64) -> int:
        return int(labels.max()) + 1


class ImageList:
    """A list of images, read when it is needed; `RecordFile` calls it.

    Args:
        path: Path of the list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> tuple[Int64, Float64]:
        """Keys, int64 (N,), and labels, float64 (N,)."""
        return self._columns

    @cached_property
    def _columns(self) -> tuple[Int64, Float64]:
        return read_list(self.path)

    def forget(self) -> None:
        """Free the memory of a list that was read: 16 bytes an image."""
        self.__dict__.pop("_columns", None)

    @property
    def keys(self) -> Int64:
        """Keys, int64 (N,)."""
        return self._columns[0]

    @property
    def labels(self) -> Float64:
        """Labels, float64 (N,)."""
        return self._columns[1]


def read_property(path: Path) -> int:
    """Number of classes in a ``property`` file.

    Raises:
        InputError: The file is missing or reads otherwise.
    """
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


def _counted(layout: RecordLayout) -> int | None:
    """Number of identities in a manifest of the set that is newer than all of its files.

    The manifest lies in the folder or, of a received set, beside the link to it.
    """
    beside = [layout.folder.parent] if layout.folder.is_symlink() else []
    for folder in (layout.folder, *beside):
        path = folder / MANIFEST
        try:
            if path.is_file() and _is_of(layout, path.stat().st_mtime_ns, written := read_json(path)):
                return int(written["counts"]["identities"])
        except (InputError, OSError, KeyError, TypeError, ValueError):
            continue
    return None


def _is_of(layout: RecordLayout, written_ns: int, manifest: dict[str, dict[str, dict[str, int]]]) -> bool:
    files = manifest["files"]
    states = {name: (layout.folder / name).stat() for name in layout.files}
    sizes: Sequence[bool] = [files.get(name, {}).get("size") == state.st_size for name, state in states.items()]
    return all(sizes) and all(state.st_mtime_ns < written_ns for state in states.values())
