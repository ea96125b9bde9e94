"""HTTP connections with bounds: a lowest rate, a largest answer, redirections that never leave HTTPS."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from aroface.errors import InputError, printable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 1 << 18
_TIMEOUT_S = (20.0, 60.0)  # to connect, between two packets
_HEAD_BYTES, _HEAD_S = 1 << 18, 60.0  # of status and headers together
_REDIRECTIONS = 10
_BROKEN = (urllib3.exceptions.HTTPError, requests.RequestException, http.client.HTTPException, OSError)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a download.

    Attributes:
        max_wait_s: Longest time between two attempts, whatever a server asks for, in seconds.
        min_rate: Lowest rate of a connection, in bytes a second.
        window_s: Time over which that rate is measured, in seconds.
        max_bytes: Size of the largest file.
    """

    max_wait_s: float = 60.0
    min_rate: float = 1000.0
    window_s: float = 30.0
    max_bytes: int = 64_000_000_000


class PassingError(Exception):
    """A failure that may not occur again; ``after`` is how long the server asks to wait, in seconds."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


class BoundError(OSError):
    """A server went beyond one of the bounds while its answer was read."""


class _PacedReader(io.RawIOBase):
    """The bytes of one answer; raises `BoundError` when they come too slowly or are too many."""

    def __init__(self, raw: io.RawIOBase, limits: Limits) -> None:
        self._raw = raw
        self._limits = limits
        self._head = True
        self._waited = 0.0
        self._bytes = self._total = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def begin_body(self) -> None:
        """Leave the status line and headers behind: from now on the rate counts."""
        self._head, self._waited, self._bytes, self._total = False, 0.0, 0, 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        begin = time.monotonic()
        count = self._raw.readinto(buffer) or 0
        self._waited += time.monotonic() - begin
        self._bytes += count
        self._total += count
        if self._head:
            self._check_head()
        else:
            self._check_body()
        return count

    def _check_head(self) -> None:
        if self._total > _HEAD_BYTES:
            raise BoundError("the server's headers do not end")
        if self._waited > _HEAD_S:
            raise BoundError(f"the server's headers take more than {_HEAD_S:.0f} s")

    def _check_body(self) -> None:
        limits = self._limits
        if self._total > 2 * limits.max_bytes + _HEAD_BYTES:  # more than any transfer encoding needs
            raise BoundError("the server's answer does not end")
        if self._waited > limits.window_s:
            if self._bytes < limits.min_rate * self._waited:
                rate, least = self._bytes / self._waited / 1000, limits.min_rate / 1000
                raise BoundError(f"{rate:.2g} kB/s over {self._waited:.0f} s is below the lowest rate, {least:g} kB/s")
            self._waited, self._bytes = 0.0, 0


def open_session(limits: Limits) -> requests.Session:
    """An HTTP session whose every answer is held to the limits, also while its headers and chunks are parsed."""

    class Response(http.client.HTTPResponse):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._paced = _PacedReader(self.fp.detach(), limits)
            self.fp = io.BufferedReader(self._paced)

        def begin(self) -> None:
            super().begin()
            self._paced.begin_body()

    class Plain(HTTPConnection):
        response_class = Response

    class Secure(HTTPSConnection):
        response_class = Response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    pools = {"http": PlainPool, "https": SecurePool}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            manager = super().proxy_manager_for(*args, **options)
            manager.pool_classes_by_scheme = pools
            return manager

    class Session(requests.Session):
        def resolve_redirects(self, *args: Any, **options: Any) -> Generator[Any, None, None]:
            yield from ()  # its own reads the body of a redirection, however long that is

    session = Session()
    for scheme in pools:
        session.mount(f"{scheme}://", Adapter())
    return session


def get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Ask for an address, following redirections; the body is not read yet, and never decompressed.

    Raises:
        InputError: It is no HTTP address, or leads from HTTPS to something else, or in circles.
        PassingError: The connection failed.
    """
    address = url
    for _ in range(_REDIRECTIONS):
        answer = _ask(session, address, headers)
        following = _redirected(session, answer)
        if following is None:
            return answer
        answer.close()
        _check_scheme(following, address)
        address = following
    raise InputError(f"more than {_REDIRECTIONS} redirections", file=printable(url, 200))


def read_blocks(answer: requests.Response) -> Iterator[bytes]:
    """The body of an answer as it was sent, in blocks of `BLOCK_BYTES`.

    Raises:
        PassingError: The connection failed, or went beyond a limit.
    """
    try:
        while block := answer.raw.read(BLOCK_BYTES, decode_content=False):
            yield block
    except (*_BROKEN, ValueError, OverflowError) as error:  # the last two of a chunk of impossible length
        raise PassingError(_in_short(error)) from None


def _ask(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    _check_scheme(url, url)
    wanted = {"Accept-Encoding": "identity", **headers}
    try:
        return session.get(url, headers=wanted, stream=True, timeout=_TIMEOUT_S, allow_redirects=False)
    except requests.exceptions.InvalidURL as error:
        raise InputError(f"no address ({printable(str(error), 200)})", file=printable(url, 200)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise PassingError(_in_short(error)) from None
    except ValueError as error:
        raise InputError(f"no address ({printable(str(error), 200)})", file=printable(url, 200)) from None


def _redirected(session: requests.Session, answer: requests.Response) -> str | None:
    """The address that an answer redirects to; None if it does not."""
    try:
        target = session.get_redirect_target(answer)
        return None if target is None else urljoin(answer.url, target)
    except ValueError:  # neither UTF-8 nor an address
        raise InputError("redirects to what is no address", file=printable(answer.url, 200)) from None


def _check_scheme(url: str, before: str) -> None:
    """Refuse protocols other than HTTP and HTTPS, and plain HTTP after HTTPS."""
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise InputError(f"leads to {printable(url, 200)}", file=printable(before, 200), expected="an HTTPS address")
    if scheme == "http" and before.partition(":")[0].lower() == "https":
        what = f"leads from HTTPS to {printable(url, 200)}, where anybody on the way can change the file"
        raise InputError(what, file=printable(before, 200), expected="HTTPS all the way")


def _in_short(error: BaseException) -> str:
    """Error in a few words: that of the bound which was reached, else the innermost reason."""
    inner: BaseException | None = error
    while inner is not None:
        for reason in (inner, *inner.args):
            if isinstance(reason, BoundError):
                return str(reason)
        inner = inner.__cause__ or inner.__context__
    return printable(str(getattr(error.args[0], "reason", error) if error.args else error), 200)
