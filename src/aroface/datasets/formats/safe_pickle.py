"""Pickles of pair files, read without executing anything they name.

Files in circulation were written by Python 2 and 3 and by several NumPys; their images are byte strings or uint8
arrays. Every global that such files hold is mapped to a stand-in which only keeps its arguments; any other is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np

from aroface.errors import InputError

# They take a class from copyreg's registry, for which `find_class` may not be asked.
_REGISTRY_OPCODES = ("EXT1", "EXT2", "EXT4")
_INTEGER = re.compile("[iu][1248]|b1")  # codes of NumPy's integers and bools
_LONGEST_WORD = 16  # characters of a type code of NumPy
_MAX_RATIO = 4  # of the bytes that stand-ins make to the file's; genuine files hold each of them once, as text
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


class _Copies:
    """Bytes made of what a pickle holds, which it can name any number of times, within a bound.

    Args:
        size: Length of the pickle.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._made = 0

    def of(self, data: str | bytes | bytearray) -> bytes:
        """The bytes of stored data.

        Raises:
            ValueError: All together are far more than the pickle.
        """
        if isinstance(data, bytes):
            return data
        self._made += len(data)
        if self._made > _MAX_RATIO * self._size:
            raise ValueError(f"the pickle, of {self._size} bytes, unfolds to {self._made} bytes or more")
        return data.encode("latin1") if isinstance(data, str) else bytes(data)


class Array:
    """Stand-in of a NumPy array: the bytes, the type code and the shape that were stored for it.

    Args:
        copies: Bytes made of the file so far.
    """

    data: object = b""
    dtype: object = None

    def __init__(self, copies: _Copies) -> None:
        self._copies = copies

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, _shape, self.dtype, _fortran, data = state
        self.data = self._copies.of(data) if isinstance(data, str | bytearray) else data

    def values(self) -> bytes:
        """The array's bytes, if it is one of single bytes (uint8 or bool).

        Raises:
            ValueError: Its items are of another type.
        """
        code = self.dtype.code if isinstance(self.dtype, DType) else None
        if code not in ("u1", "b1") or not isinstance(self.data, bytes):
            raise ValueError("an array of something else than uint8 or bool")
        return self.data

    def integers(self) -> list[int]:
        """The array's items, if they are integers or bools.

        Raises:
            ValueError: They are of another type, or cut short.
        """
        kind = self.dtype.integer_type() if isinstance(self.dtype, DType) else None
        if kind is None or not isinstance(self.data, bytes) or len(self.data) % kind.itemsize:
            raise ValueError("an array of something else than integers or bools")
        return [int(value) for value in np.frombuffer(self.data, kind)]


class DType:
    """Stand-in of a NumPy data type: its code, such as ``u1``, and its byte order."""

    code = ""
    order = "<"

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = _word(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Keep the byte order, ``<``, ``>`` or ``|``; the rest means nothing for numbers."""
        self.order = _word(state[1])

    def integer_type(self) -> np.dtype[Any] | None:
        """NumPy's type of integers or bools that this is; None for any other."""
        if not isinstance(self.code, str) or not _INTEGER.fullmatch(self.code):
            return None
        return np.dtype(f"{self.order}{self.code}" if self.order in ("<", ">") else self.code)


def _word(data: object) -> str:
    """A type code or byte order, which no file can make long."""
    if not isinstance(data, str | bytes) or len(data) > _LONGEST_WORD:
        raise ValueError(f"no data type of NumPy: {reprlib.repr(data)}")
    return data.decode("ascii") if isinstance(data, bytes) else data


def _stand_ins(copies: _Copies) -> dict[tuple[str, str], Callable[..., Any] | type]:
    """Stand-ins, made for each file, so that no file can leave anything behind in them."""

    class NDArray:
        """Stand-in for ``numpy.ndarray`` as an argument of ``_reconstruct``: a name."""

    def reconstruct(*_: object) -> Array:
        return Array(copies)

    def frombuffer(data: bytes | str, dtype: DType, shape: object, *_: object) -> Array:
        array = Array(copies)
        array.__setstate__((1, shape, dtype, False, data))
        return array

    def scalar(dtype: DType, data: bytes | str) -> int:
        (value,) = frombuffer(data, dtype, ()).integers()
        return value

    def encode(text: str, encoding: str | bytes) -> bytes:
        if encoding not in ("latin1", b"latin1"):
            raise ValueError(f"an encoding that is not latin1: {reprlib.repr(encoding)}")
        return copies.of(text)

    def empty_bytes() -> bytes:
        return b""

    stand_ins: dict[tuple[str, str], Callable[..., Any] | type] = {
        ("numpy", "ndarray"): NDArray,
        ("numpy", "dtype"): DType,
        ("_codecs", "encode"): encode,
        ("builtins", "bytes"): empty_bytes,
        ("__builtin__", "bytes"): empty_bytes,
    }
    for core in ("numpy.core", "numpy._core"):
        stand_ins[f"{core}.multiarray", "_reconstruct"] = reconstruct
        stand_ins[f"{core}.multiarray", "scalar"] = scalar
        stand_ins[f"{core}.numeric", "_frombuffer"] = frombuffer
    return stand_ins


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._stand_ins = _stand_ins(_Copies(len(data)))

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._stand_ins[module, name]
        except KeyError:
            raise InputError(f"the pickle names the global {module}.{name}, refused; nothing was executed") from None


def loads(data: bytes) -> Any:
    """The lists, tuples, numbers, byte strings and `Array` of a pickle.

    Raises:
        InputError: It names a global that no genuine file has.
        ValueError: It is no pickle, is cut short, uses what no genuine file uses, or unfolds to many times its size.
    """
    try:
        _check_opcodes(data)
        return _Unpickler(data).load()
    except (InputError, ValueError):
        raise
    except Exception as error:  # a malformed pickle can fail in any way at all
        raise ValueError(f"not a readable pickle ({type(error).__name__}: {error})") from None


def _check_opcodes(data: bytes) -> None:
    stream = io.BytesIO(data)
    name = ""
    while name != "STOP":
        opcode = _OPCODES.get(stream.read(1).decode("latin1"))
        if opcode is None or opcode.name in _REGISTRY_OPCODES:
            raise ValueError(f"no pickle of images, or one cut short, at byte {stream.tell()}")
        name = opcode.name
        if name == "STRING":  # Python 2's text form; pickletools reads it only if it is ASCII, images are not
            stream.readline()
            continue
        argument = opcode.arg.reader(stream) if opcode.arg else None
        # The unpickler makes its memo as long as the largest index demands, up to tens of gigabytes.
        if name.endswith("PUT") and isinstance(argument, int) and argument > len(data):
            raise ValueError(f"the pickle remembers an object under number {argument}, in a file of {len(data)} bytes")
