"""Record files: ours and MXNet's are the same bytes, and each reads what the other wrote."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from aroface.datasets.formats.indexed_records import RecordFile
from aroface.datasets.formats.recordio import decode, encode, open_writer, pack

pytestmark = pytest.mark.mxnet

MAGIC = bytes.fromhex("0a23d7ce")
SCALARS = (0.0, 1.0, 3.0, 85741.0, float(2**24 - 1))
ARRAYS = ((2.0,), (4.0, 7.0), (1.0, 0.5, -2.25), tuple(float(n) for n in range(12)))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def mixture(number: int) -> bytes:
    """Random bytes, of any length from 0, with magics among them: aligned or not, alone or adjacent."""
    chance = random.Random(number)
    parts = [
        chance.choice([MAGIC, MAGIC * 2, MAGIC * 3, b"", *[chance.randbytes(chance.randrange(9))] * 4])
        for _ in range(chance.randrange(12))
    ]
    return b"".join(parts)


CONTENTS = [
    b"",
    *(b"\xff" * length for length in range(1, 9)),
    MAGIC,
    MAGIC * 2,
    MAGIC * 5,
    b"abcd" + MAGIC + b"xyz",
    b"ab" + MAGIC + b"cd",
    *(b"." * shift + MAGIC * 2 + b"q" for shift in range(5)),
    MAGIC + b"abc",
    b"abcd" + MAGIC,
    MAGIC[:3],
    MAGIC[:2] + MAGIC,
    random.Random(1).randbytes(3 << 20) + MAGIC + random.Random(2).randbytes(100_001),
    *map(mixture, range(400)),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("contents")
    for number, content in enumerate(CONTENTS):
        (folder / str(number)).write_bytes(content)
    return [folder / str(number) for number in range(len(CONTENTS))]


def labels_of(number: int) -> float | tuple[float, ...]:
    return SCALARS[number % len(SCALARS)] if number % 3 else ARRAYS[number // 3 % len(ARRAYS)]


def same_files(one: Path, other: Path) -> bool:
    return all(one.with_suffix(end).read_bytes() == other.with_suffix(end).read_bytes() for end in (".rec", ".idx"))


def test_any_payload_is_framed_and_read_alike(oracle, saved, tmp_path):
    ours, theirs = tmp_path / "ours.rec", tmp_path / "theirs.rec"
    with open_writer(ours, ours.with_suffix(".idx")) as writer:
        for key, content in enumerate(CONTENTS):
            writer.write(key, content)
    asked = [("read_raw", ours, ours.with_suffix(".idx"))]
    (_, (indexed, in_turn)) = oracle(("write_raw", theirs, theirs.with_suffix(".idx"), saved), *asked)

    assert same_files(ours, theirs)
    assert indexed == in_turn == [sha256(content) for content in CONTENTS]
    offsets = [int(line.split("\t")[1]) for line in theirs.with_suffix(".idx").read_text().splitlines()]
    data = theirs.read_bytes()
    assert [decode(data[offset:]) for offset in offsets] == CONTENTS
    assert b"".join(map(encode, CONTENTS)) == data


def test_labelled_records_are_written_alike(oracle, saved, tmp_path):
    ours, theirs = tmp_path / "ours.rec", tmp_path / "theirs.rec"
    with open_writer(ours, ours.with_suffix(".idx")) as writer:
        for key, content in enumerate(CONTENTS):
            writer.write(key, pack(labels_of(key), content, key))
    records = [(key, labels_of(key), key, 0, path) for key, path in enumerate(saved)]
    _, found = oracle(("write", theirs, theirs.with_suffix(".idx"), records), ("read", ours, ours.with_suffix(".idx")))

    assert same_files(ours, theirs)
    for key, content in enumerate(CONTENTS):
        labels = labels_of(key)
        several = isinstance(labels, tuple)
        expected = [len(labels) if several else 0, list(labels) if several else [labels], key, sha256(content)]
        assert found[str(key)] == expected


def test_what_mxnet_wrote_is_read(oracle, saved, tmp_path):
    """Also with keys that have gaps, ids beyond 32 bits, and a second id whose halves are magics."""
    rec, idx = tmp_path / "train.rec", tmp_path / "train.idx"
    second = int.from_bytes(MAGIC * 2, "little")
    whole = [key for key in range(len(saved)) if labels_of(key) != ARRAYS[2]]  # these are classes
    records = [(7 * key, labels_of(key), key << 33, second if key % 5 == 0 else key, saved[key]) for key in whole]
    _, read = oracle(("write", rec, idx, records), ("read", rec, idx))

    ours = RecordFile(rec, idx)
    firsts = [labels[0] if isinstance(labels := labels_of(key), tuple) else labels for key in whole]
    assert ours.labels.tolist() == firsts
    assert [ours.read(position) for position in range(len(whole))] == [CONTENTS[key] for key in whole]
    assert [sha256(ours.read(position)) for position in range(len(whole))] == [entry[3] for entry in read.values()]


def test_the_ends_of_a_large_file_are_read_alike(oracle, tmp_path):
    """Offsets beyond 4 GiB, in a file with a hole."""
    rec, idx = tmp_path / "train.rec", tmp_path / "train.idx"
    far = (4 << 30) + 4096
    with open(rec, "wb") as file:
        file.write(encode(pack(3.0, b"near", 0)))
        file.seek(far)
        file.write(encode(pack(4.0, b"far" + MAGIC * 2, 1)))
    idx.write_text(f"0\t0\n1\t{far}\n")
    (read,) = oracle(("read", rec, idx))
    ours = RecordFile(rec, idx)
    assert [ours.read(0), ours.read(1)] == [b"near", b"far" + MAGIC * 2]
    assert [[entry[1], entry[3]] for entry in read.values()] == [
        [[3.0], sha256(b"near")],
        [[4.0], sha256(b"far" + MAGIC * 2)],
    ]
