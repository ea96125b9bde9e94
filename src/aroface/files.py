"""Files that are either whole or absent, and hashes that depend on meaning only."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from aroface.errors import InputError, printable
from aroface.humanize import bytes_text
from aroface.leftovers import temporary_prefix, tidy_once

Value = TypeVar("Value")

HASH_DIGITS = 8
"""Digits of a hash that stand in the name of a file or folder."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors by which a write ends for want of room."""

REFUSED = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
"""Numbers of the errors by which a place turns out not to be a file or folder that may be read or written."""

_NAMED = re.compile(r"(\w[\w .,:+@()-]*)=(.+)", re.DOTALL)
DEPTH = 64
"""Levels of lists and mappings within each other that a JSON or YAML file may have."""

JSON_BYTES = 256_000_000
"""Size of the largest JSON file."""

_SUFFIX = 16  # characters of an ending that a library may look at
_DIGITS = 21  # of an integer with its sign: enough for 64 bits
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NUMPY = re.compile(r"^\d+ requested and \d+ written|^Not enough free space")
_RUST = re.compile(r"\(os error (\d+)\)")


class NoPlaceError(OSError):
    """A file cannot be made where it was to be written; ``filename`` is its path, not that of a temporary."""


class NoRoomError(OSError):
    """A write ended for want of room; ``strerror`` says how much was needed and how much is free."""


@contextmanager
def atomic_path(path: str | os.PathLike[str], size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it to ``path``.

    If the body raises, the temporary file is removed and whatever stood at ``path`` stays as it was. What a killed
    process has left in the folder is removed when the next one first writes there.

    Args:
        path: Path of the file.
        size: Number of bytes that it will have, as far as that is known, for the error line.

    Raises:
        NoPlaceError: No file can be made beside it, as in a folder of the system's.
        NoRoomError: The disk is full, however the body came to say so.
    """
    target = Path(path)
    with writing(target, size):
        temporary = _temporary(target)
        try:
            temporary.chmod(0o666 & ~_umask())
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(target)  # a failed write does not know its file
            temporary.unlink(missing_ok=True)
            raise


def _temporary(target: Path) -> Path:
    """Make the temporary file of a path, which may have the longest name that the disk takes."""
    with placing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():  # its rename would fail when all is done
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        tidy_once(target.parent)
        suffix = target.suffix if len(target.suffix) < _SUFFIX else ""
        handle, name = tempfile.mkstemp(prefix=temporary_prefix(target), suffix=suffix, dir=target.parent)
    os.close(handle)
    return Path(name)


@contextmanager
def placing(target: Path) -> Iterator[None]:
    """Name ``target`` in the error if the disk refuses the file, folder or temporary that the body makes for it.

    Raises:
        NoPlaceError: Nothing can be made there, as in a folder of the system's.
        OSError: The disk is full, or the place is one of :data:`REFUSED`.
    """
    try:
        yield
    except OSError as error:
        error.filename = str(target)
        if error.errno in (*FULL_DISK, *REFUSED):
            raise
        raise NoPlaceError(error.errno, "no file can be made there", str(target)) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        NoPlaceError: None can be made there, see `placing`.
    """
    with placing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def atomic_open(path: str | os.PathLike[str], size: int | None = None) -> Iterator[IO[bytes]]:
    """Open a binary file for writing that appears at ``path`` only when the body has ended well.

    Args:
        path: Path of the file.
        size: Number of bytes, see `atomic_path`.

    Raises:
        NoRoomError: The disk is full.
    """
    with atomic_path(path, size) as temporary, open(temporary, "wb") as file:
        yield file


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes this name, and the place of what stood there, at the end.

    If the body raises, nothing is left of it; what a killed process left goes when the next one first writes there.

    Args:
        path: Folder; the caller has made sure that what stands there may go.
    """
    with placing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy_once(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(path), dir=path.parent))
    try:
        yield temporary
        temporary.chmod(path.parent.stat().st_mode & 0o777)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def writing(path: Path, size: int | None = None) -> Iterator[None]:
    """Whatever a library makes of a full disk while ``path`` is written, say it as one error that names the file.

    Args:
        path: Path of the file.
        size: Number of bytes that it will have, as far as that is known.

    Raises:
        NoRoomError: The disk is full.
    """
    try:
        yield
    except NoRoomError:
        raise
    except Exception as error:
        number = _want_of_room(error)
        if number is None:
            raise
        needed = "" if size is None else f"{bytes_text(size)} needed, "
        raise NoRoomError(
            number, f"{os.strerror(number)}: {needed}{bytes_text(free_bytes(path))} free", str(path)
        ) from error


def free_bytes(path: Path) -> int:
    """Bytes that may still be written where ``path`` lies or will lie."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _want_of_room(error: BaseException | None) -> int | None:
    """The system's number of a full disk, if that is what is behind an error.

    NumPy tells no number, safetensors only in words, and torch's archives hide the error of their file behind one of
    their own.
    """
    while error is not None and not isinstance(error, InputError):
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            return error.errno
        message = str(error.args[0]) if error.args else ""
        if isinstance(error, OSError) and error.errno is None and _NUMPY.search(message):
            return errno.ENOSPC
        if (match := _RUST.search(message)) and int(match[1]) in FULL_DISK:
            return int(match[1])
        error = error.__cause__ or error.__context__
    return None


def named_path(word: str) -> tuple[str | None, Path]:
    """``NAME=PATH``, or a path alone, which has no name; a path that is there wins, whatever characters it holds.

    Args:
        word: Word of a command line.

    Returns:
        The name, without ``/`` and ``=``, or None; and the path.
    """
    named = None if os.path.lexists(word) else _NAMED.fullmatch(word)
    return (named[1], Path(named[2])) if named else (None, Path(word))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_open(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 ``text`` to ``path`` atomically.

    Raises:
        InputError: It holds the name of a file that is not UTF-8.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        begin, end = text.rfind("\n", 0, error.start) + 1, text.find("\n", error.start)
        line = text[begin : end if end >= 0 else None].strip()
        remedy = "rename files and folders whose names are not UTF-8"
        raise InputError(f"{line!a:.100} is not UTF-8", file=path, remedy=remedy) from None
    write_bytes(path, encoded)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file is missing, is no regular file, is too large, or is not JSON as `parse_json` takes it.
    """
    return parse_json(read_document(path, "a JSON file", JSON_BYTES), file=path)


def refuse_special(path: str | os.PathLike[str], expected: str | None = None) -> None:
    """Refuse a pipe, a socket or a device: reading it may wait or go on for ever, and it cannot be read twice.

    Args:
        path: File, folder or link, which is followed; one that cannot be looked at is left to whoever opens it.
        expected: Expected content, for the error line.

    Raises:
        InputError: It is none of these.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    if stat.S_ISFIFO(mode):
        remedy = "write what comes through it to a file, and name that"
        raise InputError("a pipe, not a file", file=path, expected=expected, remedy=remedy)
    raise InputError(f"a {'socket' if stat.S_ISSOCK(mode) else 'device'}, not a file", file=path, expected=expected)


def check_place(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written later at ``path``, before the work that is to end there begins.

    Args:
        path: File; it and its folders need not exist.

    Raises:
        InputError: It is a folder, or one of its folders is a file or takes no files.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError("a folder", file=path, expected="the name of a file")
    there = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not there.is_dir():
        raise InputError("no folder", file=there, expected=f"a folder, for {target}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError("must not be written to", file=there, expected=f"a folder, for {target}")
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:  # a folder of the system's, a full or a read-only disk
        what = f"no file can be made there ({error.strerror})"
        raise InputError(what, file=there, expected=f"a folder, for {target}") from None


def read_document(path: str | os.PathLike[str], expected: str, most: int) -> str:
    """Read a text file that is parsed whole.

    Args:
        path: File.
        expected: Expected content, for the error line.
        most: Number of bytes beyond which it is none.

    Raises:
        InputError: The file is missing, is a folder or no regular file, is too large, or is not UTF-8.
    """
    refuse_special(path, expected)
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except IsADirectoryError:
        raise InputError("a folder", file=path, expected=expected) from None
    if len(data) > most:
        raise InputError("the file is larger", file=path, expected=f"{expected} of at most {bytes_text(most)}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"no UTF-8 at byte {error.start:,}", file=path, expected=expected) from None


def parse_json(text: str, *, file: str | os.PathLike[str] | None = None) -> Any:
    """Parse JSON as its standard has it, within bounds that every consumer can take.

    NaN and infinity, numbers beyond float64, integers of more than 20 digits, lone surrogates and more than `DEPTH`
    levels are refused: Python's parser takes them, and who formats, hashes or walks the result fails later.

    Args:
        text: JSON.
        file: File that it comes from, for the error line.

    Raises:
        InputError: It is not JSON, or beyond the bounds.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_float, parse_int=_integer)
    except RecursionError:
        raise InputError(f"more than {DEPTH} levels of brackets", file=file) from None
    except ValueError as error:
        raise InputError(f"not JSON ({printable(str(error), 200)})", file=file) from None
    _check_depth(value, file)
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InputError("half of a surrogate pair, which is no character", file=file) from None
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{printable(text, 40)} is beyond the range of numbers")
    return number


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"an integer of {len(text):,} digits")
    return int(text)


def _check_depth(value: Any, file: str | os.PathLike[str] | None) -> None:
    level = [value]
    for _ in range(DEPTH + 1):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise InputError(f"more than {DEPTH} levels of brackets", file=file)


def read_json_if_there(path: str | os.PathLike[str]) -> Any | None:
    """Read a JSON file that another process may remove at any moment; None where it is missing.

    Raises:
        InputError: It is a folder, is not JSON, or is ``null``, which would be taken for a missing file.
    """
    try:
        if (value := read_json(path)) is None:
            raise InputError("null", file=path, expected="a JSON object")
        return value
    except InputError as error:
        if isinstance(error.__context__, FileNotFoundError):
            return None
        raise


def is_there(path: Path) -> bool:
    """Tell whether a path exists; one whose name is too long for any file does not, where `Path.exists` raises."""
    try:
        return path.exists()
    except OSError:
        return False


def if_there(look: Callable[[], Value]) -> Value | None:
    """Look at a file that another process may remove at any moment; None where it is missing.

    Args:
        look: Function that reads the file or asks the system about it.
    """
    try:
        return look()
    except FileNotFoundError:
        return None


def newest(paths: Iterable[Path]) -> float | None:
    """Time of the last change of any of the files that are there, in seconds since 1970; None if none is."""
    states = (if_there(path.stat) for path in paths)
    return max((state.st_mtime for state in states if state is not None), default=None)


def list_files(folder: str | os.PathLike[str], pattern: str) -> list[Path]:
    """Paths below a folder that match a pattern, in order, even while other processes remove some of its folders."""
    while True:
        try:
            return sorted(Path(folder).glob(pattern))
        except FileNotFoundError:
            if not Path(folder).exists():
                return []


def canonical(value: Any) -> bytes:
    """The canonical JSON of ``value``: keys sorted, no spaces, ``24.0`` written as ``24``.

    Two configurations that mean the same give the same bytes, however they were written.
    """

    def plain(item: Any) -> Any:
        if isinstance(item, dict):
            return {str(key): plain(entry) for key, entry in item.items()}
        if isinstance(item, list | tuple):
            return [plain(entry) for entry in item]
        if isinstance(item, float) and item.is_integer():
            return int(item)
        return item

    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any, length: int = 64) -> str:
    """First ``length`` hexadecimal digits of the SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical(value)).hexdigest()[:length]


def derive_seed(*parts: str | int) -> int:
    """Seed of 63 bits from a seed and the purpose of its draws: other parts, other and independent draws."""
    return int(digest([*parts], 16), 16) >> 1


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises:
        InputError: It is a pipe, a socket or a device.
    """
    refuse_special(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
