"""RecordIO against files that MXNet 1.9.1 wrote (their bytes are below), and against itself."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.datasets.recordfile import RecordFile
from aroface.datasets.recordio import decode, encode, open_writer, pack, unpack
from aroface.errors import InputError

MAGIC = bytes.fromhex("0a23d7ce")
payloads = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=12).map(b"".join)


def test_a_payload_with_the_magic_is_split_as_mxnet_splits_it():
    framed = bytes.fromhex("0a23d7ce 04000020 61626364 0a23d7ce 03000060 78797a00")
    assert encode(b"abcd" + MAGIC + b"xyz") == framed
    assert decode(framed) == b"abcd" + MAGIC + b"xyz"


def test_the_header_record_is_packed_as_mxnet_packs_it():
    framed = bytes.fromhex("0a23d7ce 20000000 02000000 00000000" + "00" * 16 + "00429c46 002aa046")
    assert encode(pack((20001, 20501), b"", 0)) == framed
    assert unpack(decode(framed)).labels == (20001, 20501)


def test_adjacent_magics_give_an_empty_middle_part_and_an_unaligned_one_is_kept():
    assert encode(MAGIC * 2)[8:16] == bytes.fromhex("0a23d7ce 00000040")
    assert encode(b"ab" + MAGIC + b"cd")[4:8] == struct.pack("<I", 8)


@given(payloads)
def test_what_is_encoded_is_decoded(payload: bytes):
    framed = encode(payload)
    assert len(framed) % 4 == 0
    assert decode(framed + encode(b"the next record")) == payload


@given(payloads, st.data())
def test_a_cut_record_is_refused(payload: bytes, data: st.DataObject):
    framed = encode(payload)
    end = data.draw(st.integers(0, len(framed) - 4))  # at most 3 bytes are padding
    with pytest.raises(ValueError, match="truncated"):
        decode(framed[:end])


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4), payloads)
def test_labels_and_content_survive(labels: list[float], content: bytes):
    record = unpack(pack(labels, content, 7))
    assert list(record.labels) == labels
    assert record.content == content


def write(folder: Path, records: list[bytes]) -> tuple[Path, Path]:
    rec, idx = folder / "train.rec", folder / "train.idx"
    with open_writer(rec, idx) as writer:
        for key, payload in enumerate(records):
            writer.write(key, payload)
    return rec, idx


def shuffled(folder: Path) -> tuple[Path, Path]:
    return write(folder, [pack(float(label), b"image %d" % key, key) for key, label in enumerate((2, 0, 1, 2))])


def test_a_headerless_file_is_read_and_its_labels_are_kept(tmp_path: Path):
    rec, idx = shuffled(tmp_path)
    for _ in range(2):
        records = RecordFile(rec, idx)
        assert records.labels.tolist() == [2, 0, 1, 2]
        assert records.labels.dtype == np.int64
        assert [records.read(position) for position in range(4)] == [b"image %d" % key for key in range(4)]
    assert (tmp_path / "train.labels.npy").exists()


def test_an_index_in_any_order_gives_the_order_of_the_keys(tmp_path: Path):
    rec, idx = shuffled(tmp_path)
    idx.write_text("".join(reversed(idx.read_text().splitlines(keepends=True))))
    assert RecordFile(rec, idx).read(1) == b"image 1"


def test_stale_labels_are_found_out_at_the_record(tmp_path: Path):
    rec, idx = shuffled(tmp_path)
    RecordFile(rec, idx)
    np.save(tmp_path / "train.labels.npy", np.array([2, 0, 0, 2]))
    records = RecordFile(rec, idx)
    with pytest.raises(InputError, match=r"train\.rec: record 2 \(byte 80\): the record's own label is 1; expected 0"):
        records.read(2)


def test_the_first_of_several_labels_counts(tmp_path: Path):
    assert RecordFile(*write(tmp_path, [pack((3.0, 9.0), b"x", 0), pack((1.0, 9.0), b"y", 1)])).labels.tolist() == [
        3,
        1,
    ]


def test_a_truncated_file_is_refused(tmp_path: Path):
    rec, idx = shuffled(tmp_path)
    rec.write_bytes(rec.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"train\.rec: record 3 \(byte 120\): .*truncated.*copy or download it again"):
        RecordFile(rec, idx)


def test_an_index_past_the_end_is_refused(tmp_path: Path):
    rec, idx = shuffled(tmp_path)
    idx.write_text(idx.read_text() + "4\t4000\n")
    with pytest.raises(InputError, match=r"train\.idx: record 4: the offset 4000 points past the end of train\.rec"):
        RecordFile(rec, idx)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the index is empty"),
        ("0\t0\none\t40\n", "could not convert string 'one'"),
        ("0\t0\n1\n", "number of columns"),
        ("0\n1\n", "number of columns is 1"),
        ("0\t0\n0\t40\n", "record 0: the key occurs twice"),
        ("0\t0\n1\t42\n", "record 1: the offset 42 is not a multiple of 4"),
        ("0\t0\n1\t0\n", "too close to the next one"),
        ("0\t0\n1\t44\n2\t80\n", "the offset 44 is not the start of a record"),
        ("0\t0\n1\t84\n", "no record starts here"),
        ("0\t-4\n", "not a multiple of 4"),
        ("é\t0\n", "expected lines of key, tab, offset"),
    ],
)
def test_a_malformed_index_is_refused(tmp_path: Path, text: str, message: str):
    rec, idx = shuffled(tmp_path)
    idx.write_text(text)
    with pytest.raises(InputError, match=rf"train\.(idx|rec): .*{message}"):
        RecordFile(rec, idx)


def test_a_label_that_is_no_whole_number_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"record 1 .*the label is 0.5"):
        RecordFile(*write(tmp_path, [pack(1.0, b"x", 0), pack(0.5, b"y", 1)]))


@pytest.mark.parametrize("missing", ["train.rec", "train.idx"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str):
    rec, idx = shuffled(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=rf"{missing}: no such file"):
        RecordFile(rec, idx)
