"""MATLAB files against SciPy, both ways."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from aroface.datasets.formats.matlab import read_strings, write_strings

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


def table(*columns: list[object]) -> np.ndarray:
    cells = np.empty((len(columns[0]), len(columns)), object)
    for number, values in enumerate(columns):
        cells[:, number] = values
    return cells


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "others", [[[1.0, 2.0, 3.0, 4.0]], [NAMES[::-1]], [["1", "2", "3", "4"], [np.eye(2)] * 4], [[NAMES] * 4]]
)
def test_of_several_columns_the_first_is_read(others: list[list[object]], compressed: bool):
    assert read_strings(saved(table(NAMES, *others), do_compression=compressed), "names") == NAMES


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.eye(2), "names is no cell array"),
        ("a text", "names is no cell array"),
        ({"a": 1}, "names is no cell array"),
        (column(NAMES).T, "names is a cell array of 1×4, no column of names"),
        (np.full((2, 2, 2), "a", object), "names is a cell array of 2×2×2, no column of names"),
        (np.array([[1.0], ["a"]], object), "a cell holds no string"),
        (table([1.0, 2.0], ["a", "b"]), "a cell holds no string"),
    ],
)
def test_a_variable_of_another_form_is_refused(value: object, message: str):
    with pytest.raises(ValueError, match=message):
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
