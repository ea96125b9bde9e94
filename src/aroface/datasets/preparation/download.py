"""Downloads that can be killed at any moment and go on: in parts, side by side, checked before they get their name."""

from __future__ import annotations

import os
import random
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TypeVar

import requests

from aroface.datasets.preparation.connection import Limits, PassingError, get, open_session, read_blocks
from aroface.datasets.preparation.webpage import WebPage, WebPageError, is_page, read_page
from aroface.errors import InputError, printable
from aroface.files import free_bytes, make_folder, read_json, sha256_file, write_json
from aroface.humanize import bytes_text
from aroface.progress import track_bytes

PART_BYTES = 16 << 20
RESERVE_BYTES = 64 << 20
"""Space that a download or an unpacked archive leaves free on its disk."""

_ATTEMPTS = 6
_SHOWN = 5  # names of a folder in a message
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one a little later
_SCHEMA = 1

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server.

    Attributes:
        url: Address of the file, redirections followed.
        size: Size in bytes; None if the server does not tell.
        version: Entity tag or date there, to notice that another file has taken its place.
        parts: True if the server sends ranges of it.
    """

    url: str
    size: int | None
    version: str
    parts: bool


@dataclass(frozen=True)
class _Transfer:
    """State that all requests of one download share; ``stop`` ends those that still run."""

    session: requests.Session
    path: Path
    limits: Limits
    pause_s: float
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    page: str | None = None,
    connections: int = 4,
    pause_s: float = 1.0,
    limits: Limits | None = None,
) -> str:
    """Fetch a file; it gets its name only when it is whole and its hash is the expected one.

    What was fetched lies in ``{path}.part`` meanwhile, with its state in ``{path}.part.json``: a later call goes on
    there. Memory is some blocks of 256 KiB a connection.

    Args:
        url: Address of the file, HTTP or HTTPS.
        path: Path on disk; a file there that has the hash is kept.
        sha256: Hash that it must have; None accepts any.
        size: Size that it must have, in bytes; None takes what comes.
        page: Address by which a browser gets the file, for the error line.
        connections: Number of ranges fetched at once, where the server sends ranges.
        pause_s: Pause in seconds before the second attempt; twice as long before each further one.
        limits: Bounds of waits, rate and size; those of `Limits` by default.

    Returns:
        The file's SHA-256.

    Raises:
        InputError: The server refuses, stays silent, gives out a web page instead, goes beyond a limit, or the hash is
            another one; the file is then set aside as ``{path}.refused``.
    """
    if path.exists():
        return _checked(path, path, sha256, "remove it, and fetch it again")
    make_folder(path.parent)
    with open_session(limits or Limits()) as session:
        transfer = _Transfer(session, path, limits or Limits(), pause_s)
        try:
            _bring(transfer, url, size, connections)
        except WebPageError as error:
            remedy = f"open {page or printable(url, 200)} in a browser, download the file there and save it as {path}"
            raise InputError(f"{error.what}; {error.page.reason()}", file=printable(url, 200), remedy=remedy) from None
    part = transfer.part
    try:
        digest = _checked(part, path, sha256, f"set aside as {refused_path(path).name}; the next call fetches it again")
    except InputError:
        part.replace(refused_path(path))
        _state_file(part).unlink(missing_ok=True)
        raise
    part.replace(path)
    _state_file(part).unlink(missing_ok=True)
    return digest


def find_in_folder(
    url: str,
    pattern: str,
    path: Path,
    *,
    page: str | None = None,
    pause_s: float = 1.0,
    limits: Limits | None = None,
) -> str:
    """Find the id of a file in a shared folder of Google Drive.

    Args:
        url: Address of the page that lists the folder.
        pattern: Name of the file, with ``*`` for what may differ; one file of the folder must have it.
        path: Path that the file gets on disk, for messages.
        page: Address by which a browser shows the folder, for the error line.
        pause_s: Pause in seconds before the second attempt.
        limits: Bounds of waits, rate and size; those of `Limits` by default.

    Raises:
        InputError: The server refuses, or none or several files of the folder have this name.
    """
    with open_session(limits or Limits()) as session:
        transfer = _Transfer(session, path, limits or Limits(), pause_s)
        listing = _patiently(transfer, lambda: _listing(session, url))
    found = [file_id for name, file_id in listing.files if fnmatchcase(name, pattern)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(printable(name, 40) for name, _ in listing.files[:_SHOWN])
    what = f"lists {names}" if names else f"lists no file; {listing.reason()}"
    remedy = f"open {page or printable(url, 200)} in a browser, download the file there and save it as {path}"
    raise InputError(what, file=printable(url, 200), expected=f"one file {pattern}", remedy=remedy)


def _listing(session: requests.Session, url: str) -> WebPage:
    with get(session, url, {}) as answer:
        if answer.status_code in _PASSING:
            what = f"the server answers {answer.status_code} {printable(answer.reason or '', 100)}".rstrip()
            raise PassingError(what, _asked_wait(answer.headers.get("Retry-After", "")))
        return read_page(answer)


def refused_path(path: Path) -> Path:
    """Path under which a downloaded file is set aside that is not the expected one."""
    return path.with_name(f"{path.name}.refused")


def _bring(transfer: _Transfer, url: str, size: int | None, connections: int) -> None:
    """Fetch all of a file into its ``.part``."""
    remote = _patiently(transfer, lambda: _find(transfer.session, url))
    _check_size(transfer, remote, size)
    if remote.parts and remote.size is not None:
        _fetch_parts(transfer, remote, remote.size, connections)
    else:
        _patiently(transfer, lambda: _fetch_whole(transfer, remote))


def _checked(file: Path, name: Path, sha256: str | None, remedy: str) -> str:
    digest = sha256_file(file)
    if sha256 is not None and digest != sha256:
        raise InputError(
            f"the file has sha256 {digest}",
            file=name,
            expected=sha256,
            remedy=f"it is not what {name.name} should be: {remedy}",
        )
    return digest


def _check_size(transfer: _Transfer, remote: Remote, size: int | None) -> None:
    """Hold what the server says of the size to what is expected, allowed and free."""
    address, most = printable(remote.url, 200), transfer.limits.max_bytes
    if remote.size is None:
        return
    if size is not None and remote.size != size:
        raise InputError(f"the server has {remote.size:,} bytes", file=address, expected=f"{size:,}")
    if remote.size > most:
        raise InputError(
            f"the server has {bytes_text(remote.size)}",
            file=address,
            expected=f"at most {bytes_text(most)}",
            remedy="allow more by --max-size, if the file is really that large",
        )
    needed = remote.size - _bytes_on_disk(transfer.part) + RESERVE_BYTES
    free = free_bytes(transfer.path)
    if needed > free:
        what = f"{bytes_text(needed)} are needed and {bytes_text(free)} free"
        raise InputError(what, file=transfer.path, remedy="free some space and start again: what was fetched is kept")


def _bytes_on_disk(part: Path) -> int:
    """Bytes that a file occupies, which are fewer than its size while parts of it are missing."""
    return part.lstat().st_blocks * 512 if part.exists() else 0


def _find(session: requests.Session, url: str) -> Remote:
    """Request a file's first byte to learn its size and version; confirm once where a page asks for it."""
    try:
        return _described(session, url)
    except WebPageError as error:
        confirmed = error.page.confirmed()
        if confirmed is None:
            raise
    return _described(session, confirmed)


def _described(session: requests.Session, url: str) -> Remote:
    with _get(session, url, {"Range": "bytes=0-0"}) as answer:
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status_code == 206:
            size = _number(total)
            return Remote(answer.url, size, _version(answer), parts=size is not None)
        return Remote(answer.url, _number(answer.headers.get("Content-Length", "")), _version(answer), parts=False)


def _number(header: str) -> int | None:
    """A header's value as a number; None if it is none, or absurdly long."""
    return int(header) if header.isascii() and header.isdigit() and len(header) < 19 else None


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Request a file or a range of it; any other answer is an error of the fitting kind."""
    answer = get(session, url, headers)
    if answer.status_code in (200, 206) and not is_page(answer):
        return answer
    with answer:
        reason = printable(answer.reason or "", 100)
        what = f"the server answers {answer.status_code} {reason}".rstrip()
        if answer.status_code in _PASSING:
            raise PassingError(what, _asked_wait(answer.headers.get("Retry-After", "")))
        if not is_page(answer):
            raise InputError(what, file=printable(url, 200))
        page = read_page(answer)
        raise WebPageError(page) if answer.status_code in (200, 206) else WebPageError(page, what)


def _asked_wait(header: str) -> float:
    """Seconds that ``Retry-After`` asks for, which is a number or a date; 0 if it is neither."""
    if (number := _number(header.strip())) is not None:
        return float(number)
    try:
        when = parsedate_to_datetime(header)
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def _patiently(transfer: _Transfer, work: Callable[[], Answer]) -> Answer:
    """Retry with exponential backoff while errors may pass, and report each retry."""
    most = transfer.limits.max_wait_s
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except PassingError as trouble:
            if attempt == _ATTEMPTS:
                what = f"{trouble}, {_ATTEMPTS} times"
                raise InputError(
                    what, file=transfer.path, remedy="start again later: what was fetched is kept"
                ) from None
            wait = min(most, max(trouble.after, transfer.pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)))
            asked = f" (the server asks for {trouble.after:,.0f} s, --max-wait is {most:g} s)"
            line = f"{transfer.path.name}: {trouble}; attempt {attempt + 1} of {_ATTEMPTS} in {wait:.0f} s"
            print(printable(line + (asked if trouble.after > most else "")), file=sys.stderr, flush=True)
            if transfer.stop.wait(wait):
                raise CancelledError from None
    raise AssertionError("unreachable")


def _fetch_whole(transfer: _Transfer, remote: Remote) -> None:
    part, most = transfer.part, transfer.limits.max_bytes if remote.size is None else remote.size
    with (
        _get(transfer.session, remote.url, {}) as answer,
        _open_part(part, "wb") as file,
        track_bytes(transfer.path.name, remote.size) as bar,
    ):
        for block in read_blocks(answer):
            file.write(block[: most + 1 - file.tell()])
            bar(len(block))
            _check_endless(transfer, file.tell(), most)
        _to_disk(file)
        if remote.size is not None and file.tell() != remote.size:
            raise PassingError(f"the connection ended after {file.tell()} of {remote.size} bytes")


def _check_endless(transfer: _Transfer, size: int, most: int) -> None:
    """End an answer that is longer than allowed or than the disk can take."""
    if free_bytes(transfer.part) < RESERVE_BYTES:
        what = f"{bytes_text(size)} fetched, and no more than {bytes_text(RESERVE_BYTES)} free"
        raise InputError(what, file=transfer.path, remedy="free some space and start again")
    if size > most:
        what = f"the server's answer goes on after {bytes_text(most)}"
        raise InputError(what, file=transfer.path, remedy="allow more by --max-size, if the file is really that large")


def _fetch_parts(transfer: _Transfer, remote: Remote, size: int, connections: int) -> None:
    part = transfer.part
    described = {"schema": _SCHEMA, "version": remote.version, "size": size, "part_bytes": PART_BYTES}
    done = _parts_done(part, described)
    if not done:
        with _open_part(part, "wb") as file:
            file.truncate(size)
    lock = threading.Lock()

    def fetch(number: int) -> None:
        begin, end = number * PART_BYTES, min((number + 1) * PART_BYTES, size)
        _patiently(transfer, lambda: _fetch_range(transfer, remote, begin, end, bar))
        with lock:
            done.add(number)
            write_json(_state_file(part), {**described, "done": sorted(done)})

    numbers = range(-(-size // PART_BYTES))
    ready = sum(min(PART_BYTES, size - number * PART_BYTES) for number in done)
    with track_bytes(transfer.path.name, size, ready) as bar, ThreadPoolExecutor(connections) as pool:
        tasks = [pool.submit(fetch, number) for number in numbers if number not in done]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            transfer.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_range(transfer: _Transfer, remote: Remote, begin: int, end: int, bar: Callable[[int], None]) -> None:
    position = begin
    try:
        with (
            _get(transfer.session, remote.url, {"Range": f"bytes={begin}-{end - 1}"}) as answer,
            _open_part(transfer.part, "r+b") as file,
        ):
            _check_part(answer, remote, begin)
            file.seek(begin)
            for block in read_blocks(answer):
                if transfer.stop.is_set():
                    raise CancelledError
                file.write(block[: end - position])
                position += len(block)
                bar(len(block))
                if position >= end:
                    break
            _to_disk(file)
        if position != end:
            raise PassingError(f"the connection ended after {position - begin} of {end - begin} bytes")
    except PassingError:
        bar(begin - position)
        raise


def _check_part(answer: requests.Response, remote: Remote, begin: int) -> None:
    """Check that an answer is the requested part of the requested file."""
    span = answer.headers.get("Content-Range", "").strip().lower()
    if answer.status_code != 206 or not span.startswith(f"bytes {begin}-"):
        what = "the server gives out parts no longer"
    elif _version(answer) != remote.version:
        what = "the file on the server has changed meanwhile"
    else:
        return
    raise InputError(what, file=printable(remote.url, 200), remedy="start again")


def _version(answer: requests.Response) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _open_part(part: Path, mode: str) -> IO[bytes]:
    """Open a ``.part`` for writing, which is never a link: its target would be overwritten."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(part.lstat().st_mode):
            raise InputError("no regular file", file=part, remedy="remove it, and start again")
    return open(part, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _parts_done(part: Path, described: dict[str, object]) -> set[int]:
    """Numbers of the parts that were fetched of the same file before; none if it is another one now."""
    written = None
    with suppress(InputError, OSError):
        written = read_json(_state_file(part))
    if not part.exists() or not isinstance(written, dict):
        return set()
    numbers = written.get("done")
    same = all(written.get(key) == value for key, value in described.items())
    if not same or not isinstance(numbers, list) or part.lstat().st_size != described["size"]:
        return set()
    known = range(-(-part.lstat().st_size // PART_BYTES))
    return {number for number in numbers if type(number) is int and number in known}


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
