"""Columns of strings in MATLAB files (level 5, as ``save`` writes by default), read and written without a parser in C.

SciPy's crashes the interpreter on damaged files, and writes the time of day into good ones. Source: MathWorks,
"MAT-File Format", chapter 1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal

_INT8, _UINT8, _UINT16, _INT32, _UINT32, _MATRIX, _COMPRESSED, _UTF8, _UTF16 = 1, 2, 4, 5, 6, 14, 15, 16, 17
_CELL_ARRAY, _CHAR_ARRAY, _NUMERIC_ARRAYS = 1, 4, range(6, 16)
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
_INFINITE = (float("inf"), float("-inf"))
_ENCODINGS = {_INT8: "latin1", _UINT8: "latin1", _UTF8: "utf-8", _UINT16: "utf-16", _UTF16: "utf-16"}
_HEADER = 128
_LARGEST = 1 << 28  # bytes that a compressed element may unfold to

Order = Literal["<", ">"]


def read_strings(data: bytes, variable: str) -> list[str]:
    """The strings in the first column of a cell array, as the scripts that come with such lists read them.

    A cell array of one row and several columns is refused: its first column would be one string of a list.

    Args:
        data: Content of the file.
        variable: Name of the cell array.

    Raises:
        ValueError: The file is no such file, is damaged, or has no such variable.
    """
    array = _variable(data, variable)
    if array is None:
        raise ValueError(f"no variable {variable}")
    order, array_class, shape, cells = array
    if array_class != _CELL_ARRAY:
        raise ValueError(f"{variable} is no cell array")
    rows, columns = shape if len(shape) == 2 else (0, 0)
    if rows * columns != len(cells) or (columns > 1 and rows < 2):
        raise ValueError(f"{variable} is a cell array of {'×'.join(map(str, shape))}, no column of names")
    return [_string(cell, order) for cell in cells[:rows]]  # column after column


def read_numbers(data: bytes, variable: str) -> list[int] | None:
    """The whole numbers of a row or column; None where the file has no such variable, or it holds no numbers.

    Args:
        data: Content of the file.
        variable: Name of the array.

    Raises:
        ValueError: The array has two dimensions or other numbers.
    """
    try:
        array = _variable(data, variable)
    except ValueError:  # of a part of the file that nobody asked for
        return None
    if array is None or array[1] not in _NUMERIC_ARRAYS:
        return None
    order, _, shape, elements = array
    kind, content = elements[0] if len(elements) == 1 else (0, b"")
    if kind not in _NUMBERS or 1 not in shape or len(shape) != 2:
        raise ValueError(f"{variable} is no column of numbers")
    size = struct.calcsize(_NUMBERS[kind])
    values = struct.unpack(f"{order}{len(content) // size}{_NUMBERS[kind]}", content[: len(content) // size * size])
    if len(values) != shape[0] * shape[1] or any(value != value or value in _INFINITE for value in values):
        raise ValueError(f"{variable} is no column of numbers")
    if any(int(value) != value for value in values):
        raise ValueError(f"{variable} holds what is no whole number")
    return [int(value) for value in values]


def write_strings(variable: str, strings: Sequence[str]) -> bytes:
    """A file with one variable, a cell array of one column; equal strings give equal bytes."""
    cells = b"".join(_char_array(text) for text in strings)
    content = _described(_CELL_ARRAY, (len(strings), 1), variable) + cells
    header = b"MATLAB 5.0 MAT-file, written by aroface".ljust(116) + bytes(8) + struct.pack("<H", 0x0100) + b"IM"
    return header + _element(_MATRIX, content)


def _variable(data: bytes, variable: str) -> tuple[Order, int, tuple[int, ...], list[tuple[int, bytes]]] | None:
    """Byte order, class, shape and content of a variable; None where the file has none of the name."""
    orders: dict[bytes, Order] = {b"IM": "<", b"MI": ">"}
    order = orders.get(data[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError("no MATLAB file of level 5")
    for kind, content in _elements(data[_HEADER:], order):
        matrix = _inflated(content, order) if kind == _COMPRESSED else content
        array_class, shape, name, elements = _matrix(matrix, order)
        if name == variable:
            return order, array_class, shape, elements
    return None


def _elements(data: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; those of at most 4 bytes may share 8 bytes with their tag."""
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise ValueError("the file is cut short")
        kind, size = struct.unpack_from(f"{order}II", data, position)
        begin, end = position + 8, position + 8 + size
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            begin, end = position + 4, position + 4 + size
            if size > 4:
                raise ValueError("an element of a wrong size")
        if end > len(data):
            raise ValueError("the file is cut short")
        yield kind, data[begin:end]
        position = end if kind == _COMPRESSED else end + -end % 8


def _inflated(content: bytes, order: Order) -> bytes:
    """The matrix in a compressed element."""
    unzip = zlib.decompressobj()
    try:
        inflated = unzip.decompress(content, _LARGEST)
    except zlib.error as error:
        raise ValueError(f"a compressed element is damaged ({error})") from None
    kind, matrix = next(_elements(inflated, order), (0, b""))
    return matrix if kind == _MATRIX else b""


def _matrix(content: bytes, order: Order) -> tuple[int, tuple[int, ...], str, list[tuple[int, bytes]]]:
    """Class, shape, name and the elements that hold the values."""
    elements = list(_elements(content, order))
    if [kind for kind, _ in elements[:3]] != [_UINT32, _INT32, _INT8] or len(elements[0][1]) != 8:
        raise ValueError("an element is no array")
    (_, flags), (_, sizes), (_, name) = elements[:3]
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
    return struct.unpack(f"{order}I", flags[:4])[0] & 0xFF, shape, name.decode("latin1"), elements[3:]


def _string(cell: tuple[int, bytes], order: Order) -> str:
    kind, content = cell
    array_class, shape, _, values = _matrix(content, order) if kind == _MATRIX else (0, (), "", [])
    if array_class != _CHAR_ARRAY or len(values) != 1 or values[0][0] not in _ENCODINGS or shape[:-1] != (1,):
        raise ValueError("a cell holds no string")
    encoding = _ENCODINGS[values[0][0]]
    if encoding == "utf-16":
        encoding += "-le" if order == "<" else "-be"
    return values[0][1].decode(encoding)


def _element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def _described(array_class: int, shape: tuple[int, int], name: str) -> bytes:
    return (
        _element(_UINT32, struct.pack("<II", array_class, 0))
        + _element(_INT32, struct.pack("<2i", *shape))
        + _element(_INT8, name.encode("latin1"))
    )


def _char_array(text: str) -> bytes:
    units = text.encode("utf-16-le")
    return _element(_MATRIX, _described(_CHAR_ARRAY, (1, len(units) // 2), "") + _element(_UINT16, units))
