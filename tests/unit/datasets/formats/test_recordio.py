"""RecordIO against files that MXNet 1.9.1 wrote (their bytes are below), and against itself."""

from __future__ import annotations

import os
import pickle
import random
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.datasets.formats import indexed_records
from aroface.datasets.formats.indexed_records import RecordFile
from aroface.datasets.formats.recordio import (
    EXACT,
    RecordWriter,
    decode,
    encode,
    gap,
    open_writer,
    pack,
    rounded_down,
    unpack,
)
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


def test_a_scalar_label_stands_in_the_header_and_several_after_it():
    assert pack(3, b"x", 5) == bytes.fromhex("00000000 00004040 0500000000000000") + bytes(8) + b"x"
    assert pack((3,), b"x", 5) == bytes.fromhex("01000000 00000000 0500000000000000") + bytes(8) + b"\0\0\x40\x40x"
    assert unpack(pack(3, b"x", 5)) == unpack(pack((3,), b"x", 5))


@pytest.mark.parametrize("length", range(9))
def test_a_record_is_padded_with_zeros(length: int):
    framed = encode(b"\xff" * length)
    assert framed[8:] == b"\xff" * length + bytes(-length % 4)
    assert struct.unpack_from("<I", framed, 4) == (length,)


def test_a_record_larger_than_mxnet_writes_is_refused():
    with pytest.raises(ValueError, match="at most 536870911 bytes, this one 536870912"):
        encode(bytes(1 << 29))


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


@pytest.mark.parametrize("label", [float(1 << 24), float((1 << 24) + 2), 1e30])
def test_a_label_that_float32_may_have_rounded_is_refused(tmp_path: Path, label: float):
    with pytest.raises(InputError, match=r"record 1 .*the label is .*; expected a whole number from 0, below 16,777,2"):
        RecordFile(*write(tmp_path, [pack(1.0, b"x", 0), pack(label, b"y", 1)]))


def test_what_float32_holds_beyond_two_to_the_24():
    assert gap([1, (1 << 24) - 1, 1 << 24, 17_091_658, 1 << 25]).tolist() == [1, 1, 2, 2, 4]
    for number in (5, EXACT - 1, EXACT, EXACT + 1, EXACT + 2, EXACT + 3, 2 * EXACT + 1, 2 * EXACT + 3, 42_474_559):
        held = rounded_down(number)
        assert held == np.float32(held)
        assert number - int(gap(held)) < held <= number


class Narrow:
    """Numbers of four bits, which are to 16 what float32 is to 2**24: every set that is larger is beyond it."""

    EXACT = 16

    @staticmethod
    def gap(numbers):
        exponents = np.floor(np.log2(np.maximum(numbers, 1)))
        return np.maximum(2 ** (exponents - 3), 1).astype(np.int64)

    @classmethod
    def nearest(cls, number: int) -> float:
        below = number // int(cls.gap(number)) * int(cls.gap(number))
        above = below + int(cls.gap(number))
        half_even = below if (below // int(cls.gap(number))) % 2 == 0 else above
        return float(
            below if number - below < above - number else above if number - below > above - number else half_even
        )

    @classmethod
    def down(cls, number: int) -> float:
        return float(number // int(cls.gap(number)) * int(cls.gap(number)))


@pytest.mark.parametrize("header", ["nearest", "down"])
@pytest.mark.parametrize("seed", range(40))
def test_labels_are_right_where_the_header_is_rounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, seed: int
):
    """As in Glint360K, whose 17,091,657 images have ranges of keys that float32 rounds."""
    monkeypatch.setattr(indexed_records, "EXACT", Narrow.EXACT)
    monkeypatch.setattr(indexed_records, "gap", Narrow.gap)
    rng = np.random.default_rng(seed)
    people = int(rng.integers(1, 15))
    sizes = rng.integers(1, 9, people)
    ends = 1 + np.cumsum(sizes)
    order = rng.permutation(people) if seed % 2 else np.arange(people)
    labels = np.repeat(order % 15, sizes)
    count = len(labels)
    announce = getattr(Narrow, header)
    records = [pack((announce(count + 1), announce(count + 1 + people)), b"", 0)]
    records += [pack(float(label), b"image %d" % key, key) for key, label in enumerate(labels)]
    records += [
        pack((Narrow.nearest(int(end - size)), Narrow.nearest(int(end))), b"", 0)
        for end, size in zip(ends, sizes, strict=True)
    ]
    found = RecordFile(*write(tmp_path, records))
    assert found.labels.tolist() == labels.tolist()
    assert [found.read(position) for position in range(count)] == [b"image %d" % key for key in range(count)]


def test_rounded_ranges_cost_some_reads_for_each_person_and_no_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexed_records, "EXACT", Narrow.EXACT)
    monkeypatch.setattr(indexed_records, "gap", Narrow.gap)
    records = [pack((Narrow.nearest(402), Narrow.nearest(404)), b"", 0)]
    records += [pack(float(key > 200), b"x", key) for key in range(1, 402)]
    records += [pack((1.0, Narrow.nearest(201)), b"", 0), pack((Narrow.nearest(201), Narrow.nearest(402)), b"", 0)]
    rec, idx = write(tmp_path, records)
    asked = []
    genuine = RecordFile._labels_at
    monkeypatch.setattr(
        RecordFile, "_labels_at", lambda self, rows, count: asked.append(len(rows)) or genuine(self, rows, count)
    )
    assert RecordFile(rec, idx).labels.tolist() == [0] * 200 + [1] * 201
    assert sum(asked) < 2 + 2 * 40


@pytest.mark.parametrize("missing", ["train.rec", "train.idx"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str):
    rec, idx = shuffled(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=rf"{missing}: no such file"):
        RecordFile(rec, idx)


def test_keys_may_have_gaps_and_begin_anywhere(tmp_path: Path):
    rec, idx = shuffled(tmp_path)
    offsets = [line.split("\t")[1] for line in idx.read_text().splitlines()]
    idx.write_text("".join(f"{key}\t{offset}\n" for key, offset in zip((9, 3, 70, 4), offsets, strict=True)))
    records = RecordFile(rec, idx)
    assert [records.read(position) for position in range(4)] == [b"image %d" % key for key in (1, 3, 0, 2)]
    assert [records.where(position)[1] for position in (0, 3)] == ["record 3 (byte 40)", "record 70 (byte 80)"]


def with_header(
    folder: Path, ranges: list[tuple[float, float]], header: tuple[float, ...] = (4, 6)
) -> tuple[Path, Path]:
    images = [pack(float(label), b"image %d" % label, 0) for label in (5, 5, 8)]
    return write(folder, [pack(header, b"", 0), *images, *(pack(span, b"", 0) for span in ranges)])


@pytest.mark.parametrize("listed", [True, False])
def test_the_index_may_leave_the_header_record_out(tmp_path: Path, listed: bool):
    rec, idx = with_header(tmp_path, [(1, 3), (3, 4)])
    if not listed:
        idx.write_text("".join(idx.read_text().splitlines(keepends=True)[1:]))
    records = RecordFile(rec, idx)
    assert records.has_header
    assert records.labels.tolist() == [5, 5, 8]
    assert [records.read(position) for position in range(3)] == [b"image 5", b"image 5", b"image 8"]
    assert records.where(2)[1].startswith("record 3 ")


@pytest.mark.parametrize(
    "ranges",
    [
        [(3, 4), (1, 3)],  # in another order
        [(1, 2), (3, 4)],  # an image is in none: its own label counts
        [(1, 3), (2, 4)],  # an image is in two
        [(float("nan"), 2), (1, float("inf"))],
    ],
)
@pytest.mark.filterwarnings("error")
def test_labels_do_not_depend_on_the_identities_ranges(tmp_path: Path, ranges: list[tuple[float, float]]):
    assert RecordFile(*with_header(tmp_path, ranges)).labels.tolist() == [5, 5, 8]


@pytest.mark.parametrize("header", [(4, 7), (4, 5), (0, 6), (7, 6), (3.5, 6), (float("nan"), 6), (4, 1e30)])
@pytest.mark.filterwarnings("error")
def test_a_header_that_does_not_fit_the_index_is_refused(tmp_path: Path, header: tuple[float, float]):
    with pytest.raises(InputError, match=r"the index has 6 records with the keys 0 to 5; expected the .* keys 0 to"):
        RecordFile(*with_header(tmp_path, [(1, 3), (3, 4)], header))


def test_images_with_the_magic_anywhere_are_read(tmp_path: Path):
    contents = [MAGIC, MAGIC * 3, b"a" + MAGIC, b"abcd" + MAGIC * 2 + b"ef", b""]
    records = RecordFile(*write(tmp_path, [pack(float(key), each, key) for key, each in enumerate(contents)]))
    assert [records.read(position) for position in range(5)] == contents


def test_a_label_array_that_is_split_at_a_magic_is_found(tmp_path: Path):
    magic = struct.unpack("<f", MAGIC)[0]
    records = RecordFile(*write(tmp_path, [pack((1.0, magic, magic), b"x", 0), pack((2.0, magic), b"y", 1)]))
    assert records.labels.tolist() == [1, 2]
    assert [records.read(0), records.read(1)] == [b"x", b"y"]


def test_a_record_larger_than_one_read_is_read(tmp_path: Path):
    large = random.Random(0).randbytes(3 << 20)
    records = RecordFile(*write(tmp_path, [pack(0.0, large, 0), pack(1.0, b"small", 1)]))
    assert records.read(0) == large
    assert records.read(1) == b"small"


def test_records_beyond_four_gibibytes_are_written_and_read(tmp_path: Path):
    far = (4 << 30) + 40
    with open(tmp_path / "train.rec", "wb") as records, open(tmp_path / "train.idx", "wb") as index:
        writer = RecordWriter(records, index)
        writer.write(0, pack(7.0, b"near", 0))
        records.seek(far)
        writer.write(1, pack(8.0, b"far", 1))
        writer.write(2, pack(9.0, b"farther", 2))
    assert (tmp_path / "train.idx").read_text() == f"0\t0\n1\t{far}\n2\t{far + 36}\n"
    file = RecordFile(tmp_path / "train.rec", tmp_path / "train.idx")
    file.will_need(range(3))
    assert file.labels.tolist() == [7, 8, 9]
    assert [file.read(position) for position in range(3)] == [b"near", b"far", b"farther"]
    assert file.where(2)[1] == f"record 2 (byte {far + 36})"


@pytest.fixture
def many(tmp_path: Path) -> tuple[RecordFile, list[bytes]]:
    contents = [random.Random(key).randbytes(key * 13 % 5000) for key in range(500)]
    return RecordFile(*write(tmp_path, [pack(float(key), each, key) for key, each in enumerate(contents)])), contents


def all_read(records: RecordFile, contents: list[bytes], seed: int) -> bool:
    order = random.Random(seed).sample(range(len(contents)), len(contents))
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(records.read, order)) == [contents[position] for position in order]


def test_threads_of_forked_workers_read_one_file(many: tuple[RecordFile, list[bytes]]):
    children = []
    for seed in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if all(all_read(*many, seed + 10 * turn) for turn in range(3)) else 1
            finally:
                os._exit(status)
        children.append(child)
    assert all_read(*many, 99)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert all_read(*many, 100)  # no child has moved or closed anything


def test_a_spawned_worker_opens_the_file_again(many: tuple[RecordFile, list[bytes]]):
    records, contents = many
    sent = pickle.dumps(records)
    del records
    assert all_read(pickle.loads(sent), contents, 0)


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder with a file without header, in which this process may write nothing, whoever runs it."""
    with TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        shuffled(folder)
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


@pytest.mark.filterwarnings("error")
def test_a_folder_where_nothing_may_be_written_is_read(unwritable: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(PermissionError):
        (unwritable / "probe").touch()
    for _ in range(2):
        assert RecordFile(unwritable / "train.rec", unwritable / "train.idx").labels.tolist() == [2, 0, 1, 2]
    assert sorted(path.name for path in unwritable.iterdir()) == ["train.idx", "train.rec"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cache", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_cache_of_labels_is_made_again(tmp_path: Path, cache: bytes):
    rec, idx = shuffled(tmp_path)
    (tmp_path / "train.labels.npy").write_bytes(cache)
    assert RecordFile(rec, idx).labels.tolist() == [2, 0, 1, 2]
    assert np.load(tmp_path / "train.labels.npy").tolist() == [2, 0, 1, 2]


def test_labels_are_found_wherever_the_records_lie(tmp_path: Path):
    """Close together or far apart, more than one read takes, and in another order than that of the keys."""
    chance = random.Random(0)
    keys = chance.sample(range(600), 600)
    with open_writer(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        for number, key in enumerate(keys):
            content = bytes(chance.choice([0, 10, 5000, 70_000]) if number % 200 < 100 else 5000)
            writer.write(key, pack((key % 7, -1.0) if key % 3 else float(key % 7), content, key))
    assert RecordFile(tmp_path / "train.rec", tmp_path / "train.idx").labels.tolist() == [key % 7 for key in range(600)]
