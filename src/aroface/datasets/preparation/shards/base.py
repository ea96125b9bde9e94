"""Interface of a set in shards: recognition, and labelled images shard by shard.

A source is a module of this package with a subclass of `ShardSource`, and a line in
:data:`aroface.datasets.preparation.shards.registry.SOURCES`.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aroface.errors import InputError, printable
from aroface.omissions import Omissions

MOST_BYTES = 8_000_000
"""Size of the largest encoded image in bytes: an aligned crop takes some thousand."""


_UNFINISHED = frozenset({".part", ".partial", ".incomplete", ".crdownload", ".aria2", ".download", ".tmp"})
_PART = re.compile(r"(.*?)(\d{1,6})-of-(\d{1,6})((?:\D.*)?)")
_MOST_PARTS = 100_000
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """Choices within a source that the source cannot make itself.

    Attributes:
        split: Name of the split of a Hugging Face set; None takes the only one, or ``train``.
        image_column: Name of the column of images; None finds it by type and name.
        label_column: Name of the column of labels; None finds it by type and name.
    """

    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a shard.

    Attributes:
        label: Class, from 0.
        content: Encoded image.
        where: Place within the shard's file, for messages.
    """

    label: int
    content: bytes
    where: str


class ShardedSet(ABC):
    """An opened set in shards.

    Attributes:
        shards: Files of the shards in order; a file of several shards occurs several times.
        key: JSON by which a later call recognises the same content.
        people: Names of the people by label, where they have any.
        classes: Number of classes, where the source states it.
        ascending: True if the labels of all shards, one after the other, never fall.
        lost: Names of people of whom the set holds files, but no image.
    """

    shards: list[Path]
    key: Any
    people: list[str] | None = None
    classes: int | None = None
    ascending: bool = False
    lost: Sequence[str] = ()

    @abstractmethod
    def read(self, number: int, omissions: Omissions) -> Iterator[LabelledImage]:
        """Images of one shard, in an order that is the same at each call.

        Args:
            number: Number of the shard.
            omissions: Account of what is left out of this shard as a matter of course, where `ShardSource.open` could
                not know it.

        Raises:
            InputError: The shard is damaged, or lacks a label or an image.
        """


class ShardSource(ABC):
    """A kind of set in shards.

    Attributes:
        layout: Layout in words, for messages.
        has_columns: True if `ShardOptions` have a meaning for it.
    """

    layout: ClassVar[str]
    has_columns: ClassVar[bool] = False

    @abstractmethod
    def matches(self, source: Path) -> bool:
        """Return whether a file or folder has this layout, judged by names and first bytes."""

    @abstractmethod
    def open(self, source: Path, options: ShardOptions, omissions: Omissions) -> ShardedSet:
        """Open a set.

        Args:
            source: File or folder that matches.
            options: Choices that the source cannot make itself.
            omissions: Account of what is left out as a matter of course.

        Raises:
            InputError: The set is malformed, or the options do not fit it.
        """


def check_people(names: Iterable[str], file: Path) -> None:
    """Refuse names of people that a list with a name a line cannot hold: those after it would be other people's.

    Raises:
        InputError: One holds a line break, another control character, or no UTF-8.
    """
    for name in names:
        if match := _ODD.search(name):
            what = f"the person's name {printable(ascii(name), 80)} holds the character U+{ord(match[0]):04X}"
            raise InputError(what, file=file, expected="a name on one line", remedy="rename the person")


def note_others(source: Path, shards: Collection[Path], omissions: Omissions) -> None:
    """Account for the files of a set's folder that are not read, and for shards that are missing by their numbers.

    Args:
        source: Folder of the set; of a single file nothing is told.
        shards: Files that are read.
        omissions: Account that they are added to.

    Raises:
        InputError: A file beside the shards is a download that has not ended.
    """
    if not source.is_dir():
        return
    taken = set(shards)
    endings = {path.suffix.lower() for path in taken}
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in _UNFINISHED:
                remedy = "let it end, or remove the file"
                raise InputError("a download that has not ended, beside the shards", file=path, remedy=remedy)
            if path not in taken:
                kind = "a shard that is not read" if path.suffix.lower() in endings else "beside the shards"
                omissions.note("hidden" if name.startswith(".") else kind, path.relative_to(source))
    for path in missing_parts(taken):
        omissions.note("a shard that is missing by its number", path.relative_to(source))


def missing_parts(files: Collection[Path]) -> list[Path]:
    """Files that lack among those whose names count them, as ``train-00001-of-00012.parquet``."""
    missing = []
    for path in files:
        if match := _PART.fullmatch(path.name):
            before, digits, total, after = match.groups()
            names = (f"{before}{n:0{len(digits)}}-of-{total}{after}" for n in range(min(int(total), _MOST_PARTS)))
            missing += [path.with_name(name) for name in names]
    return natural_paths(set(missing) - set(files))


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names so that numbers within them count: ``0_2`` comes before ``0_10``."""
    return sorted(sorted(names), key=_natural_key)


def _natural_key(name: str) -> str:
    """Text whose order as text is natural: each number with the count of its digits before it."""
    return re.sub(r"[0-9]+", lambda match: f"0{len(match[0].lstrip('0')):03}{match[0].lstrip('0')}", name)


def natural_paths(paths: Iterable[Path]) -> list[Path]:
    """Sort paths naturally."""
    return [Path(name) for name in natural_order(map(str, paths))]


def file_state(path: Path) -> list[Any]:
    """Name, size and time of a file: another state is taken for another content."""
    state = path.stat()
    return [path.name, state.st_size, state.st_mtime_ns]
