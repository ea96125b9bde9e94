"""Damaged files of every format: read all the same, or refused in one line, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aroface.datasets.images import encode_jpeg
from aroface.datasets.pairs import Pairs, decode_images, read_pairs, write_pairs
from aroface.datasets.tinyface import GALLERY_LIST, read_tinyface, write_tinyface
from aroface.datasets.training_set import TrainingSet, write_training_set
from aroface.errors import InputError


def jpeg(shade: int) -> bytes:
    return encode_jpeg(np.full((16, 16, 3), shade, np.uint8), 50)


def write_training(folder: Path) -> None:
    write_training_set(folder, [(number // 3, jpeg(number)) for number in range(9)], 3)


def read_training(folder: Path) -> None:
    found = TrainingSet.open(folder)
    for position in range(len(found)):
        found.jpeg(position)


def write_bin(folder: Path) -> None:
    write_pairs(folder / "pairs.bin", Pairs([jpeg(number) for number in range(8)], np.array([True, False] * 2)))


def read_bin(folder: Path) -> None:
    decode_images(read_pairs(folder / "pairs.bin").images, 16)


def write_tree(folder: Path) -> None:
    write_tinyface(folder, [(1, jpeg(1)), (2, jpeg(2))], [(1, jpeg(3))], [jpeg(4)])


CASES = {
    "train.rec": (write_training, read_training),
    "train.idx": (write_training, read_training),
    "property": (write_training, read_training),
    "pairs.bin": (write_bin, read_bin),
    GALLERY_LIST: (write_tree, read_tinyface),
}


@st.composite
def damage(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes changed, a stretch taken out or put in, the end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
    if draw(st.booleans()):
        data[begin : draw(st.sampled_from([begin, begin + 4, end]))] = draw(st.binary(max_size=8))
    return bytes(data[: draw(st.sampled_from([len(data), end]))])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_met_with_one_line(name: str, tmp_path: Path, data: st.DataObject):
    write, read = CASES[name]
    write(tmp_path)
    (tmp_path / name).write_bytes(data.draw(damage((tmp_path / name).read_bytes())))

    try:
        read(tmp_path)
    except InputError as error:
        assert "\n" not in str(error)
