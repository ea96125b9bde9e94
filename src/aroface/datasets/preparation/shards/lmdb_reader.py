"""Look-up in an LMDB file without LMDB, whose library follows the file's pointers unchecked and so can be crashed.

The file is a B+ tree of pages. Each of the first two pages describes the tree as of one transaction; the later one
counts. A branch page leads to pages by key, a leaf page holds keys and values, and a large value lies on pages of its
own. Source: LMDB 0.9 ``mdb.c`` (``MDB_page``, ``MDB_node``, ``MDB_db``, ``MDB_meta``), 64 bits, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from aroface.datasets.retrying_reads import SteadyFile
from aroface.errors import InputError

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, lower, upper
_META = struct.Struct("<IIQQ")  # magic, version, address, size of the map
_DB = struct.Struct("<IHHQQQQQ")  # padding, flags, depth, branch, leaf, overflow pages, entries, root
_NODE = struct.Struct("<HHHH")  # low and high half of size or page, flags, size of the key
_TRANSACTION = struct.Struct("<QQ")  # last page, number
_BRANCH, _LEAF = 1, 2
_BIG = 1  # the value lies on pages of its own
_DEPTH = 32
_NONE = (1 << 64) - 1  # root of an empty tree
_PAGE_SIZES = frozenset(1 << power for power in range(9, 17))
_DAMAGED = "the file is damaged: copy or download it again"


def is_lmdb(path: Path) -> bool:
    """Return whether a file begins as an LMDB file does."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(_PAGE.size + 4)
    return head[_PAGE.size :] == _MAGIC.to_bytes(4, "little")


class LmdbReader:
    """Values of the main database of an LMDB file by key.

    Args:
        path: Path of the file.

    Attributes:
        path: Path of the file.
        entries: Number of keys that the file states.

    Raises:
        InputError: The file is missing, no LMDB file of this version, or cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SteadyFile(path)
        size, first = self._meta(0)
        self._page_size = size
        _, second = self._meta(size)
        self._root, self._last, self.entries = max(first, second)[1:]
        if (self._last + 1) * size > self._file.size:
            what = f"has {self._file.size:,} bytes of the {(self._last + 1) * size:,} that it states"
            raise InputError(what, file=path, remedy=_DAMAGED)

    def get(self, key: bytes, most: int) -> bytes | None:
        """The value of a key; None if it is not there.

        Args:
            key: Key.
            most: Size of the largest value that is read, in bytes.

        Raises:
            InputError: The tree is damaged, or the value is larger.
        """
        found = self._find(key)
        return None if found is None else self._value(*found, most)

    def __contains__(self, key: bytes) -> bool:
        return self._find(key) is not None

    def _find(self, key: bytes) -> tuple[bytes, int] | None:
        """The leaf page of a key and its node there; None if it is not there."""
        number = self._root
        for _ in range(_DEPTH):  # a damaged tree may lead round in a circle
            if number > self._last:
                if number == _NONE:
                    return None
                self._fail(f"page {number} is beyond the last")
            page = self._file.read(self._page_size, number * self._page_size)
            nodes, flags = self._nodes(page)
            keys = _Keys(page, nodes, self._fail)
            if flags & _LEAF:
                index = keys.first_not_below(key)
                exact = index < len(nodes) and keys[index] == key
                return (page, nodes[index]) if exact else None
            index = keys.last_not_above(key)
            low, high, top, _ = _NODE.unpack_from(page, nodes[index])
            number = low | high << 16 | top << 32
        raise InputError("the tree is too deep", file=self.path, remedy=_DAMAGED)

    def all_keys(self) -> Iterator[bytes]:
        """All keys, in the order of pages: every page of the tree is read, but no value on pages of its own.

        Raises:
            InputError: The tree is damaged.
        """
        waiting, seen = [(self._root, 0)], 0
        while waiting:
            number, depth = waiting.pop()
            if number == _NONE:
                continue
            if number > self._last:
                self._fail(f"page {number} is beyond the last")
            if depth == _DEPTH or seen > self._last:  # a damaged tree may lead round in a circle
                self._fail("the tree has more pages than the file")
            seen += 1
            page = self._file.read(self._page_size, number * self._page_size)
            nodes, flags = self._nodes(page)
            if flags & _LEAF:
                keys = _Keys(page, nodes, self._fail)
                yield from (keys[place] for place in range(len(keys)))
                continue
            parts = [_NODE.unpack_from(page, node) for node in nodes]
            waiting += [(low | high << 16 | top << 32, depth + 1) for low, high, top, _ in reversed(parts)]

    def _meta(self, offset: int) -> tuple[int, tuple[int, int, int, int]]:
        """Size of pages; number of the transaction, page of the root, last page, and number of keys."""
        data = self._file.read(_PAGE.size + _META.size + 2 * _DB.size + _TRANSACTION.size, offset)
        if len(data) < _PAGE.size + _META.size + 2 * _DB.size + _TRANSACTION.size:
            raise InputError("the file is cut", file=self.path, remedy=_DAMAGED)
        magic, version, _, _ = _META.unpack_from(data, _PAGE.size)
        version &= 0xFFFF
        if magic != _MAGIC or version != _VERSION:
            what = "no LMDB file" if magic != _MAGIC else f"written by LMDB's format {version}"
            raise InputError(what, file=self.path, expected=f"LMDB's format {_VERSION}, as of LMDB 0.9")
        begin = _PAGE.size + _META.size
        size = _DB.unpack_from(data, begin)[0]
        *_, entries, root = _DB.unpack_from(data, begin + _DB.size)
        last, transaction = _TRANSACTION.unpack_from(data, begin + 2 * _DB.size)
        if size not in _PAGE_SIZES:
            raise InputError(f"pages of {size} bytes", file=self.path, remedy=_DAMAGED)
        return size, (transaction, root, last, entries)

    def _nodes(self, page: bytes) -> tuple[tuple[int, ...], int]:
        """Offsets of the nodes of a branch or leaf page, and its flags."""
        if len(page) < self._page_size:
            self._fail("a page is cut")
        _, _, flags, lower, upper = _PAGE.unpack_from(page)
        count = (lower - _PAGE.size) // 2
        if not flags & (_BRANCH | _LEAF) or not _PAGE.size <= lower <= upper <= len(page) or count < (flags & _BRANCH):
            self._fail("a page is neither branch nor leaf")
        nodes = struct.unpack_from(f"<{count}H", page, _PAGE.size)
        if any(node + _NODE.size > len(page) for node in nodes):
            self._fail("a node lies beyond its page")
        return nodes, flags

    def _value(self, page: bytes, node: int, most: int) -> bytes:
        low, high, flags, key_size = _NODE.unpack_from(page, node)
        size, begin = low | high << 16, node + _NODE.size + key_size
        if size > most:
            self._fail(f"a value has {size:,} bytes, more than {most:,}")
        if not flags & _BIG:
            value = page[begin : begin + size]
        else:
            if begin + 8 > len(page):
                self._fail("a node lies beyond its page")
            number = int.from_bytes(page[begin : begin + 8], "little")
            if number > self._last:
                self._fail(f"page {number} is beyond the last")
            value = self._file.read(size, number * self._page_size + _PAGE.size)
        if len(value) < size:
            self._fail("a value is cut")
        return value

    def _fail(self, what: str) -> NoReturn:
        raise InputError(what, file=self.path, remedy=_DAMAGED)


class _Keys:
    """Keys of a page's nodes, compared while they are looked for."""

    def __init__(self, page: bytes, nodes: tuple[int, ...], fail: Callable[[str], NoReturn]) -> None:
        self._page, self._nodes, self._fail = page, nodes, fail

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, place: int) -> bytes:
        node = self._nodes[place]
        begin = node + _NODE.size
        end = begin + int.from_bytes(self._page[begin - 2 : begin], "little")
        if end > len(self._page):
            self._fail("a key lies beyond its page")
        return self._page[begin:end]

    def first_not_below(self, key: bytes) -> int:
        """Place of the first key from ``key`` on; the number of keys if all are below."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self[middle] < key else (low, middle)
        return low

    def last_not_above(self, key: bytes) -> int:
        """Place of the last key up to ``key``; the first one stands for all below the second."""
        low, high = 1, len(self)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self[middle] <= key else (low, middle)
        return low - 1
