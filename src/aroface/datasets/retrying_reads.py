"""Reading that outlasts the hiccups of a network file system, and ends in one line when they last."""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from aroface.errors import InputError
from aroface.files import refuse_special

PAUSES = (0.1, 0.4, 1.6, 6.4)
"""Seconds between one attempt and the next."""

TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "EREMOTEIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "ENOTCONN", "ESHUTDOWN"),
        *("ECONNRESET", "ECONNABORTED", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH"),
    )
)
"""Numbers of the errors that may be gone at the next attempt."""

T = TypeVar("T")


def retrying(action: Callable[[], T], path: Path, where: str | None = None) -> T:
    """The result of an action that reads ``path``, tried again after a transient error.

    Args:
        action: Function that is called up to five times within nine seconds.
        path: Path of the file, for the message.
        where: Record that is read there, for the message.

    Raises:
        InputError: The file is not there, or cannot be read.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except FileNotFoundError:
            raise InputError("no such file", file=path) from None
        except OSError as error:
            what = f"cannot be read ({error.strerror or error})"
            if error.errno not in TRANSIENT:
                inner = error.filename  # a link in the folder that is read, if it leads round in a circle
                file = inner if error.errno == errno.ELOOP and isinstance(inner, str) else path
                raise InputError(what, file=file, where=where) from None
            if pause is None:
                what += f", after {len(PAUSES) + 1} attempts in {sum(PAUSES):.0f} seconds"
                remedy = "is the disk or the network in order? start again when it is"
                raise InputError(what, file=path, where=where, remedy=remedy) from None
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


class SteadyFile:
    """A file read at any place, from many threads and from forked or spawned workers at once.

    Attributes:
        path: Path of the file.
        size: Size in bytes.

    Raises:
        InputError: The file is not there, is no regular one, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_special(path)
        self._descriptor = retrying(lambda: os.open(path, os.O_RDONLY), path)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def __reduce__(self) -> tuple[type[SteadyFile], tuple[Path]]:
        return SteadyFile, (self.path,)  # another process has no such descriptor

    def read(self, size: int, offset: int, where: str | None = None) -> bytes:
        """``size`` bytes from ``offset`` on, fewer only where the file ends.

        Raises:
            InputError: The file cannot be read, or not for long; it names ``where``.
        """
        return retrying(lambda: self._read(size, offset), self.path, where)

    def will_need(self, stretches: Iterable[tuple[int, int]]) -> None:
        """Ask the kernel to fetch stretches ``(offset, size)`` in the background."""
        with suppress(OSError):  # reading reports it better
            for offset, size in stretches:
                os.posix_fadvise(self._descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def _read(self, size: int, offset: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, offset)
            while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
                data += more
            return data
        except OSError as error:
            if error.errno == errno.ESTALE:
                with suppress(OSError):
                    self._open_again()
            raise

    def _open_again(self) -> None:
        """Let the descriptor mean the file that has the path now: a stale one never recovers by itself."""
        fresh = os.open(self.path, os.O_RDONLY)
        try:
            if os.fstat(fresh).st_size == self.size:
                os.dup2(fresh, self._descriptor, inheritable=False)
        finally:
            os.close(fresh)
