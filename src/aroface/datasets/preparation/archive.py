"""Unpacking of archives within bounds: declared sizes, their ratio, the free space; no links, no paths outwards."""

from __future__ import annotations

import bz2
import errno
import filecmp
import gzip
import lzma
import os
import re
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from aroface.datasets.preparation.download import RESERVE_BYTES
from aroface.errors import InputError, printable
from aroface.file_content import kind_of
from aroface.files import free_bytes, placing
from aroface.humanize import bytes_text
from aroface.leftovers import temporary_prefix, tidy_once

MAX_RATIO = 20.0
"""Largest ratio of what an archive holds to its own size; archives of JPEG files have about 1."""

MAX_MEMBERS = 20_000_000
_SHOWN = 5  # names in a message
_SMALL_BYTES = 64 << 20  # an archive may always hold this much: of small files the ratio says little
_NAME_BYTES, _PATH_BYTES = 255, 2000  # that file systems take of one name, and of all of a path
_HEADER_BYTES = 8 << 20  # that a tar file's header may have; member data are read in smaller blocks
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\]")
_OPENERS: dict[bytes, Callable[[Path, Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
"""Errors by which the standard library's readers tell of damaged archives and of methods that they do not know."""
_OURS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


class RefusedFileError(InputError):
    """Error about a received file of the wrong content: no option makes it worth keeping under its name."""


@dataclass
class _Tally:
    """Bounds of an archive's members, which are added one by one."""

    archive: Path
    max_bytes: float
    free: int
    members: int = 0
    bytes: int = 0
    files: set[PurePosixPath] = field(default_factory=set)

    def add(self, name: str, size: int, *, folder: bool) -> None:
        _check_name(self.archive, name)
        path = PurePosixPath(name)
        if path in self.files:
            raise _refused(self.archive, name, "is there twice")
        if not folder:
            self.files.add(path)
        self.members += 1
        self.bytes += size
        if size < 0 or self.members > MAX_MEMBERS:
            raise RefusedFileError(f"holds more than {MAX_MEMBERS:,} files, or one below 0 bytes", file=self.archive)
        if self.bytes > self.max_bytes:
            packed = self.archive.stat().st_size
            raise InputError(
                f"of {bytes_text(packed)} unfolds to {bytes_text(self.bytes)} or more",
                file=self.archive,
                expected=f"at most {bytes_text(self.max_bytes)}",
                remedy="remove it, or allow more by --max-ratio if it is really that large",
            )
        if self.bytes + RESERVE_BYTES > self.free:
            what = f"unfolds to {bytes_text(self.bytes)} or more, and {bytes_text(self.free)} are free"
            raise InputError(what, file=self.archive, remedy="free some space, and start again")


class _TarStream:
    """Decompressed stream for tarfile: no header of absurd size, and no step back, which would start again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = self._there = 0
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        if size == 1 and self._position == self._there - 1:  # tarfile looks whether a member's last byte is there
            self._position += 1
            return self._last
        if self._position != self._there:
            self._there = self._stream.seek(self._position)
        data = self._stream.read(size)
        self._last = data[-1:] or self._last
        self._position = self._there = self._there + len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._position = position
        return position


def unpack(archive: Path, folder: Path, *, wanted: Sequence[str] = (), max_ratio: float = MAX_RATIO) -> list[Path]:
    """Unpack a zip or tar archive; its content appears in ``folder`` complete.

    Members that point out of the archive, links and devices among them, are refused.

    Folders that are there already are added to: a set may have been fetched file by file before.

    Args:
        archive: Zip or tar file, in any compression that the standard library reads.
        folder: Folder for its entries; if a file that it holds is there with another content, nothing is moved.
        wanted: Names below ``folder`` that have to be there afterwards.
        max_ratio: Largest ratio of the size of its content to its own.

    Returns:
        The new entries that no other new entry holds.

    Raises:
        RefusedFileError: It is no archive, it is damaged or empty, a member is refused, or it lacks a wanted file.
        InputError: It holds more than the ratio or the free space allows, or a name is taken by something else.
    """
    with placing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tidy_once(folder)
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(folder / "unpacking"), dir=folder))
    try:
        size = archive.stat().st_size
        _extract(archive, temporary, _Tally(archive, max(_SMALL_BYTES, max_ratio * size), free_bytes(folder)))
        absent = [name for name in wanted if not (temporary / name).exists() and not (folder / name).exists()]
        if absent:
            raise RefusedFileError(f"unpacked, but not all is there: {', '.join(absent)}", file=archive)
        entries, taken = _new_entries(temporary, folder)
        if taken or not entries:
            named = taken or sorted(entry.name for entry in temporary.iterdir())
            raise InputError(
                f"holds {_some(named)}, which {folder} has already",
                file=archive,
                remedy="remove or rename that, and start again",
            )
        return [entry.rename(folder / entry.relative_to(temporary)) for entry in entries]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _new_entries(source: Path, folder: Path) -> tuple[list[Path], list[str]]:
    """Entries below ``source`` that ``folder`` lacks, and names of files in both that differ.

    A folder is taken as a whole where there is none of its name.
    """
    new, taken = list[Path](), list[str]()
    waiting = sorted(source.iterdir())
    while waiting:
        entry = waiting.pop(0)
        target = folder / entry.relative_to(source)
        if not target.exists() and not target.is_symlink():
            new.append(entry)
        elif entry.is_dir() and target.is_dir():
            waiting[:0] = sorted(entry.iterdir())
        elif entry.is_dir() or target.is_dir() or not filecmp.cmp(entry, target, shallow=False):
            taken.append(entry.relative_to(source).as_posix())
    return new, taken


def _extract(archive: Path, folder: Path, tally: _Tally) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, folder, tally)
        else:
            _extract_tar(archive, folder, tally)
        if not tally.members:
            raise RefusedFileError("the archive holds no file", file=archive)
    except BROKEN as error:
        raise RefusedFileError(f"the archive cannot be read ({printable(str(error), 200)})", file=archive) from None
    except OSError as error:
        if error.errno in _OURS:
            raise
        raise RefusedFileError(f"the archive cannot be read ({error.strerror or error})", file=archive) from None


def _extract_zip(archive: Path, folder: Path, tally: _Tally) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            name = Path(member.filename)
            if name.is_absolute() or ".." in name.parts or member.external_attr >> 28 == 0o12:
                raise _refused(archive, member.filename, "points elsewhere")
            tally.add(member.filename, member.file_size, folder=member.is_dir())
        packed.extractall(folder)


def _extract_tar(archive: Path, folder: Path, tally: _Tally) -> None:
    with open(archive, "rb") as file:
        start = file.read(16)
    opener = next((candidate for magic, candidate in _OPENERS.items() if start.startswith(magic)), open)
    with opener(archive, "rb") as stream, _opened(stream, archive, start) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python has from 3.11.4 on
        packed.extractall(folder, members=_checked_members(packed, archive, tally))
        stream.seek(packed.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):  # tarfile takes a damaged header for the end
            raise RefusedFileError(f"the archive is damaged at byte {packed.offset:,}", file=archive)
        _drain(stream, archive)


def tar_members(archive: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """Members of a tar archive, compressed or not, from front to end, each with a function that reads it.

    Args:
        archive: Archive; nothing is unpacked, and a member is read only while it is the last one yielded.

    Raises:
        InputError: The archive is missing, none, damaged or cut.
    """
    try:
        with open(archive, "rb") as file:
            start = file.read(16)
        opener = next((candidate for magic, candidate in _OPENERS.items() if start.startswith(magic)), open)
        with opener(archive, "rb") as stream, _opened(stream, archive, start) as packed:
            for member in packed:
                yield member, partial(_member_bytes, packed, member, archive)
            stream.seek(packed.offset)
            block = stream.read(tarfile.BLOCKSIZE)
            if any(block):  # tarfile takes a damaged header for the end
                raise InputError(f"the archive is damaged at byte {packed.offset:,}", file=archive)
            if len(block) < tarfile.BLOCKSIZE:  # and the end of a file that was cut between two members
                remedy = "download it again; one that is whole is ended by head -c 1024 /dev/zero >> FILE"
                raise InputError("the archive has no end mark, as if it had been cut", file=archive, remedy=remedy)
    except FileNotFoundError:
        raise InputError("no such file", file=archive) from None
    except BROKEN as error:
        raise InputError(f"the archive cannot be read ({printable(str(error), 200)})", file=archive) from None
    except OSError as error:
        raise InputError(f"the archive cannot be read ({error.strerror or error})", file=archive) from None


def _member_bytes(packed: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> bytes:
    try:
        return cast("IO[bytes]", packed.extractfile(member)).read()
    except BROKEN as error:
        what = f"a member cannot be read ({printable(str(error), 200)})"
        raise InputError(what, file=archive, where=printable(member.name, 200)) from None


def _drain(stream: IO[bytes], archive: Path) -> None:
    """Read what follows the last member, since the checksum of all stands at the end."""
    left = _SMALL_BYTES
    while block := stream.read(1 << 20):
        left -= len(block)
        if left < 0:
            raise RefusedFileError("the archive goes on after its end", file=archive)


def _opened(stream: IO[bytes], archive: Path, start: bytes) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=cast("Any", _TarStream(stream)), mode="r:")
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OURS:
            raise
        raise RefusedFileError(f"neither a zip nor a tar archive{_what_else(start)}", file=archive) from None


def _checked_members(packed: tarfile.TarFile, archive: Path, tally: _Tally) -> Iterator[tarfile.TarInfo]:
    for member in packed:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
            raise _refused(archive, member.name, "points elsewhere, or is neither file nor folder")
        tally.add(member.name, member.size, folder=member.isdir())
        member.mode = 0o755 if member.isdir() else 0o644
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        yield member


def _check_name(archive: Path, name: str) -> None:
    components = [os.fsencode(component) for component in PurePosixPath(name).parts]
    if (
        any(len(component) > _NAME_BYTES for component in components)
        or sum(map(len, components)) + len(components) > _PATH_BYTES
    ):
        raise _refused(archive, name, f"has a name of {len(name)} characters")
    if _ODD.search(name):
        raise _refused(archive, name, "has a control character or a backslash in its name")


def _refused(archive: Path, name: str, why: str) -> RefusedFileError:
    return RefusedFileError(f'a member is refused: "{printable(name, 80)}" {why}', file=archive)


def _what_else(start: bytes) -> str:
    """Name the kind of a file that is no archive, as far as its first bytes tell."""
    if not start:
        return ": it is empty"
    kind = kind_of(start)
    if kind is None:
        return ": it is damaged or cut, or something else"
    return f": it is {kind}" + (", unpack it by hand" if kind.endswith("archive") else "")
