"""MATLAB files against SciPy, both ways."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from aroface.datasets.matlab import read_strings, write_strings

NAMES = ["1_1.jpg", "a", "somebody_with_a_longer_name_0001.png", "ä_€.jpg"]
strings = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=8)


def saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"other": np.eye(3), "names": value}, **options)
    return buffer.getvalue()


def column(names: list[str]) -> np.ndarray:
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    return cells


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(compressed: bool):
    assert read_strings(saved(column(NAMES), do_compression=compressed), "names") == NAMES


def test_what_is_written_scipy_reads():
    ascii_names = NAMES[:3]  # SciPy takes 16-bit text for ASCII
    cells = scipy.io.loadmat(io.BytesIO(write_strings("names", ascii_names)))["names"]
    assert cells.shape == (3, 1)
    assert [cell[0].item() for cell in cells] == ascii_names


@given(strings)
def test_what_is_written_is_read(names: list[str]):
    assert read_strings(write_strings("names", names), "names") == names


def test_big_endian_files_are_read():
    # As a big-endian MATLAB writes {'ab'}: all numbers turned, the text as 16-bit units.
    def element(kind: int, content: bytes) -> bytes:
        return kind.to_bytes(4, "big") + len(content).to_bytes(4, "big") + content + bytes(-len(content) % 8)

    def array(array_class: int, shape: tuple[int, int], name: bytes, values: bytes) -> bytes:
        flags = array_class.to_bytes(4, "big") + bytes(4)
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        return element(14, element(6, flags) + element(5, sizes) + element(1, name) + values)

    cell = array(4, (1, 2), b"", element(4, "ab".encode("utf-16-be")))
    data = bytes(124) + b"\x01\x00MI" + array(1, (1, 1), b"names", cell)
    assert read_strings(data, "names") == ["ab"]


@pytest.mark.parametrize("value", [np.eye(2), column(NAMES).T, np.array([[1.0], ["a"]], object), "a text", {"a": 1}])
def test_a_variable_of_another_form_is_refused(value: object):
    with pytest.raises(ValueError, match=r"names is no cell array of one column|a cell holds no string"):
        read_strings(saved(value), "names")


@given(st.booleans(), st.data())
def test_damage_is_an_error_or_another_text_but_never_a_crash(compressed: bool, data: st.DataObject):
    damaged = bytearray(saved(column(NAMES), do_compression=compressed))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        found = read_strings(bytes(damaged), "names")
    except ValueError:
        return
    assert all(isinstance(name, str) for name in found)
