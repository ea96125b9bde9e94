"""Zip archives of people's folders, as WebFace comes: ``0_0.zip`` with ``WebFace260M/0_0_0000000/0_0.jpg`` and so on.

Nothing is unpacked. The directories at the archives' ends are read first: they name all people, whose labels are their
places in natural order. Memory holds the names of all people and the directory of one archive (some 0.7 kB an image).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from aroface.datasets.image_formats import MORE_SUFFIXES
from aroface.datasets.preparation.archive import BROKEN
from aroface.datasets.preparation.shards.base import (
    MOST_BYTES,
    LabelledImage,
    ShardedSet,
    ShardOptions,
    ShardSource,
    natural_order,
    natural_paths,
)
from aroface.errors import InputError, printable
from aroface.file_content import IMAGE_HEAD, format_of
from aroface.omissions import Omissions
from aroface.progress import track

_HIDDEN, _NO_IMAGE = "hidden", "not an image"


class ZipShards(ShardSource):
    """A folder of zip archives, or of folders of them, or one archive."""

    layout = "zip archives of people's folders, as WebFace's 0_0.zip, 0_1.zip, …"

    def matches(self, source: Path) -> bool:
        """See :class:`ShardSource`."""
        return bool(_archives(source))

    def open(self, source: Path, options: ShardOptions, omissions: Omissions) -> ShardedSet:
        """See :class:`ShardSource`."""
        return _ZippedPeople(_archives(source), omissions)


class _ZippedPeople(ShardedSet):
    def __init__(self, archives: list[Path], omissions: Omissions) -> None:
        self.shards = archives
        content = hashlib.sha256()
        places: dict[str, str] = {}
        people_of: list[set[str]] = []
        others: dict[str, None] = {}
        directories: dict[str, Path] = {}
        for archive in track(archives, "reading the archives' directories"):
            people_of.append(set())
            directory = hashlib.sha256()
            for member in _images(archive, omissions, others):
                above, person = _place(member.filename)
                if places.setdefault(person, above) != above:
                    raise InputError(
                        "a second folder of this name: are they one person?",
                        file=archive,
                        where=f"{above}/{person}".lstrip("/"),
                        expected=f"one folder a person, beside {places[person]}/{person}",
                    )
                people_of[-1].add(person)
                line = f"{member.filename}\0{member.CRC}\0{member.file_size}\n".encode(errors="replace")
                content.update(line)
                directory.update(line)
            same = directories.setdefault(directory.hexdigest(), archive)
            if same != archive and people_of[-1]:
                raise InputError(f"holds the same images as {same.name}", file=archive, remedy="remove one of both")
        if len(places) < 2:
            raise InputError(
                f"images of {len(places)} people",
                file=archives[0] if len(archives) == 1 else archives[0].parent,
                expected="a folder for each of 2 or more",
            )
        self.people = natural_order(places)
        self.classes = len(self.people)
        self.lost = natural_order(others.keys() - places.keys())
        self._labels = {person: label for label, person in enumerate(self.people)}
        self.key = content.hexdigest()
        self.ascending = self._is_ascending(people_of)

    def _is_ascending(self, people_of: list[set[str]]) -> bool:
        last = 0
        for people in filter(None, people_of):
            labels = [self._labels[person] for person in people]
            if min(labels) < last:
                return False
            last = max(labels)
        return True

    def read(self, number: int, omissions: Omissions) -> Iterator[LabelledImage]:
        """Images of one archive: people in natural order, and so the images of each."""
        archive = self.shards[number]
        members = {member.filename: member for member in _images(archive, Omissions(), {})}
        by_label: dict[int, list[str]] = {}
        for name in natural_order(members):
            by_label.setdefault(self._labels[_place(name)[1]], []).append(name)
        try:
            with zipfile.ZipFile(archive) as packed:
                for label in sorted(by_label):
                    for name in by_label[label]:
                        yield LabelledImage(label, _read(packed, members[name], archive), name)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror or error})", file=archive) from None


def _archives(source: Path) -> list[Path]:
    """Archives of a source in natural order; none where people's folders lie beside them."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".zip" else []
    if not source.is_dir():
        return []
    files, folders = _entries(source)
    if folders and _zips(files):
        return []
    for folder in folders:
        held, deeper = _entries(folder)
        if deeper or not _zips(held):
            return []
        files += held
    return natural_paths(_zips(files))


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Visible files and folders in a folder."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return [path for path in visible if not path.is_dir()], [path for path in visible if path.is_dir()]


def _zips(files: list[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() == ".zip"]


def _images(archive: Path, omissions: Omissions, others: dict[str, None]) -> Iterator[zipfile.ZipInfo]:
    """Images of an archive, by ending or by content, in the order of its directory.

    Args:
        archive: Archive.
        omissions: Account of the other members.
        others: Folders of members that are no images, which are added to it.
    """
    names: set[str] = set()
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                name = member.filename
                if member.is_dir():
                    continue
                if name in names:
                    raise InputError("is there twice", file=archive, where=name, remedy="make the archive again")
                names.add(name)
                if name.removeprefix("./").startswith((".", "__MACOSX")) or "/." in name:
                    omissions.note(_HIDDEN, f"{archive.name}: {name}")
                elif not _is_image(packed, member):
                    omissions.note(_NO_IMAGE, f"{archive.name}: {name}")
                    others.update(dict.fromkeys([_place(name)[1]] if "/" in name.strip("/") else ()))
                elif "/" not in name.strip("/"):
                    omissions.add("outside the people's folders", f"{archive.name}: {name}")
                else:
                    yield member
    except FileNotFoundError:
        raise InputError("no such file", file=archive) from None
    except (*BROKEN, OSError) as error:
        what = f"the archive cannot be read ({printable(str(error), 200)})"
        raise InputError(what, file=archive, remedy="copy or download it again") from None


def _is_image(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Return whether a member has the ending of an image or begins as one."""
    if f".{member.filename.rpartition('.')[2].lower()}" in MORE_SUFFIXES:
        return True
    try:
        with packed.open(member) as file:
            return format_of(file.read(IMAGE_HEAD)) is not None
    except BROKEN:
        return False


def _place(name: str) -> tuple[str, str]:
    """Path above the folder of a member, and the name of that folder."""
    above, _, person = name.rpartition("/")[0].rpartition("/")
    return above, person


def _read(packed: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path) -> bytes:
    if member.file_size > MOST_BYTES:
        what = f"{member.file_size:,} bytes, too many for an aligned crop"
        raise InputError(what, file=archive, where=member.filename, expected=f"at most {MOST_BYTES:,}")
    try:
        return packed.read(member)
    except BROKEN as error:
        what = "is encrypted" if member.flag_bits & 1 else f"cannot be read ({printable(str(error), 200)})"
        remedy = "decrypt the archive" if member.flag_bits & 1 else "copy or download the archive again"
        raise InputError(what, file=archive, where=member.filename, remedy=remedy) from None
