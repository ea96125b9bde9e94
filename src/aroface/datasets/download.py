"""Downloads that can be killed at any moment and go on: in parts, side by side, checked before they get their name."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import requests

from aroface.errors import InputError
from aroface.files import read_json, sha256_file, write_json
from aroface.progress import track_bytes

PART_BYTES = 16 << 20
_BLOCK = 1 << 18
_TIMEOUT_S = (20.0, 60.0)  # to connect, between two blocks
_ATTEMPTS = 6
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one a little later
_SCHEMA = 1

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server.

    Attributes:
        url: where it is, redirections followed.
        size: in bytes; None if the server does not say.
        version: its entity tag or date there, to notice that another file has taken its place.
        parts: whether the server gives out parts of it.
    """

    url: str
    size: int | None
    version: str
    parts: bool


class _PassingError(Exception):
    """Something that may go better the next time; ``after`` is how long the server asks to wait, in seconds."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    connections: int = 4,
    pause_s: float = 1.0,
) -> str:
    """Fetch a file; it gets its name only when it is whole and its hash is the expected one.

    What was fetched lies in ``{path}.part`` meanwhile, with its state in ``{path}.part.json``: a later call goes on
    there. Memory is some blocks of 256 KiB a connection.

    Args:
        url: of the file, by HTTP or HTTPS.
        path: its name on disk; if it is there and has the hash, nothing is done.
        sha256: what it must have; None takes what comes.
        connections: parts fetched at once, where the server gives out parts.
        pause_s: before the second attempt; twice as long before each further one.

    Returns:
        The file's SHA-256.

    Raises:
        InputError: the server refuses, stays silent, gives out a web page instead, or the hash is another one.
    """
    if path.exists():
        return _checked(path, path, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with requests.Session() as session:
        remote = _patiently(lambda: _ask(session, url), url, pause_s)
        if remote.parts and remote.size is not None:
            _fetch_parts(session, remote, part, connections, pause_s)
        else:
            _patiently(lambda: _fetch_whole(session, remote, part), url, pause_s)
    found = _checked(part, path, sha256)
    part.replace(path)
    _state_file(part).unlink(missing_ok=True)
    return found


def _checked(file: Path, name: Path, sha256: str | None) -> str:
    found = sha256_file(file)
    if sha256 is not None and found != sha256:
        raise InputError(
            f"the file has sha256 {found}",
            file=file,
            expected=sha256,
            remedy=f"it is not what {name.name} should be: remove it and its .json, and fetch it again",
        )
    return found


def _ask(session: requests.Session, url: str) -> Remote:
    with _get(session, url, {"Range": "bytes=0-0"}) as answer:
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise InputError(
                "the server gives out a web page instead of the file",
                file=url,
                remedy="open the address in a browser: it may ask to log in, or too many people fetched it today",
            )
        span = answer.headers.get("Content-Range", "")
        if answer.status_code == 206 and span.rpartition("/")[2].isdigit():
            return Remote(answer.url, int(span.rpartition("/")[2]), _version(answer), parts=True)
        length = answer.headers.get("Content-Length", "")
        return Remote(answer.url, int(length) if length.isdigit() else None, _version(answer), parts=False)


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    try:
        answer = session.get(url, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=_TIMEOUT_S)
    except requests.exceptions.InvalidURL as error:
        raise InputError(str(error), file=url) from None
    except requests.RequestException as error:
        raise _PassingError(_in_short(error)) from None
    if answer.ok:
        return answer
    answer.close()
    what, wait = f"the server answers {answer.status_code} {answer.reason}", answer.headers.get("Retry-After", "")
    if answer.status_code in _PASSING:
        raise _PassingError(what, float(wait) if wait.isdigit() else 0.0)
    raise InputError(what, file=url)


def _in_short(error: Exception) -> str:
    return " ".join(str(getattr(error.args[0], "reason", error) if error.args else error).split())[:200]


def _patiently(work: Callable[[], Answer], url: str, pause_s: float) -> Answer:
    """Do something again while it fails in a way that may pass, ever more slowly."""
    for attempt in range(_ATTEMPTS):
        try:
            return work()
        except _PassingError as trouble:
            if attempt == _ATTEMPTS - 1:
                what = f"{trouble}, {_ATTEMPTS} times"
                raise InputError(what, file=url, remedy="start again later: what was fetched is kept") from None
            time.sleep(max(trouble.after, pause_s * 2**attempt * random.uniform(0.75, 1.25)))
    raise AssertionError("unreachable")


def _fetch_whole(session: requests.Session, remote: Remote, part: Path) -> None:
    with _get(session, remote.url, {}) as answer, open(part, "wb") as file, track_bytes(part.stem, remote.size) as bar:
        for block in _blocks(answer):
            file.write(block)
            bar(len(block))
        _to_disk(file)
        if remote.size is not None and file.tell() != remote.size:
            raise _PassingError(f"the connection ended after {file.tell()} of {remote.size} bytes")


def _fetch_parts(session: requests.Session, remote: Remote, part: Path, connections: int, pause_s: float) -> None:
    size = remote.size or 0
    described = {"schema": _SCHEMA, "version": remote.version, "size": size, "part_bytes": PART_BYTES}
    done = _parts_done(part, described)
    if not done:
        with open(part, "wb") as file:
            file.truncate(size)
    lock = threading.Lock()
    stop = threading.Event()

    def fetch(number: int) -> None:
        begin, end = number * PART_BYTES, min((number + 1) * PART_BYTES, size)
        _patiently(lambda: _fetch_range(session, remote, part, begin, end, stop, bar), remote.url, pause_s)
        with lock:
            done.add(number)
            write_json(_state_file(part), {**described, "done": sorted(done)})

    numbers = range(-(-size // PART_BYTES))
    ready = sum(min(PART_BYTES, size - number * PART_BYTES) for number in done)
    with track_bytes(part.stem, size, ready) as bar, ThreadPoolExecutor(connections) as pool:
        tasks = [pool.submit(fetch, number) for number in numbers if number not in done]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_range(
    session: requests.Session,
    remote: Remote,
    part: Path,
    begin: int,
    end: int,
    stop: threading.Event,
    bar: Callable[[int], None],
) -> None:
    position = begin
    try:
        with _get(session, remote.url, {"Range": f"bytes={begin}-{end - 1}"}) as answer, open(part, "r+b") as file:
            if answer.status_code != 206:
                raise InputError("the server gives out parts no longer", file=remote.url, remedy="start again")
            if _version(answer) != remote.version:
                raise InputError("the file on the server has changed meanwhile", file=remote.url, remedy="start again")
            file.seek(begin)
            for block in _blocks(answer):
                if stop.is_set():
                    raise CancelledError
                file.write(block[: end - position])
                position += len(block)
                bar(len(block))
            _to_disk(file)
        if position != end:
            raise _PassingError(f"the connection ended after {position - begin} of {end - begin} bytes")
    except _PassingError:
        bar(begin - position)
        raise


def _version(answer: requests.Response) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_BLOCK)
    except requests.RequestException as error:
        raise _PassingError(_in_short(error)) from None


def _parts_done(part: Path, described: dict[str, object]) -> set[int]:
    """Numbers of the parts that were fetched of the same file before; none if it is another one now."""
    written = None
    with suppress(InputError):
        written = read_json(_state_file(part))
    if not part.exists() or not isinstance(written, dict):
        return set()
    same = all(written.get(key) == value for key, value in described.items())
    return set(written["done"]) if same and part.stat().st_size == described["size"] else set()


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
