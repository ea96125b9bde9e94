"""LMDB files that `lmdb` and `msgpack` wrote, as HSFace's are made, become records."""

from __future__ import annotations

import random
from pathlib import Path

import lmdb
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.datasets.preparation.shards import lmdb_file
from aroface.datasets.preparation.shards.lmdb_file import LmdbFile, unpack_items
from aroface.datasets.preparation.shards.lmdb_reader import LmdbReader, is_lmdb
from aroface.errors import InputError
from aroface.omissions import Omissions
from crops import crop, in_order, png

LABELS = [0, 0, 1, 1, 1, 2, 3, 3, 0, 2, 2, 1]
EXPECTED = [(label, crop(number)) for number, label in enumerate(LABELS)]


def write(path: Path, items: dict[bytes, bytes], *, subdir: bool = False) -> Path:
    """As imagelist2lmdb.py opens and commits; ``subdir`` as a folder with data.mdb."""
    database = lmdb.open(str(path), subdir=subdir, map_size=1 << 27, readonly=False, meminit=False, map_async=True)
    transaction = database.begin(write=True)
    for number, (key, value) in enumerate(items.items()):
        transaction.put(key, value)
        if number % 5 == 0:
            transaction.commit()
            transaction = database.begin(write=True)
    transaction.commit()
    database.sync()
    database.close()
    return path


def faces(**changed: object) -> dict[bytes, bytes]:
    items = {b"%d" % number: msgpack.dumps((jpeg, label)) for number, (label, jpeg) in enumerate(EXPECTED)}
    keys = [b"%d" % number for number in range(len(LABELS))]
    numbers: dict[str, object] = {"__keys__": keys, "__len__": len(LABELS), "__classnum__": 4, **changed}
    return items | {name.encode(): msgpack.dumps(value) for name, value in numbers.items()}


@pytest.mark.parametrize("subdir", [False, True])
def test_hsface_becomes_records(tmp_path: Path, subdir: bool, monkeypatch: pytest.MonkeyPatch):
    source = write(tmp_path / "hsface.lmdb", faces(), subdir=subdir)
    monkeypatch.setattr(lmdb_file, "_BLOCK", 5)
    prepared = prepare(source, tmp_path / "set")
    assert (prepared.images, prepared.people) == (12, 4)
    assert in_order(tmp_path / "set") == EXPECTED


def test_samples_with_a_feature_become_records(tmp_path: Path):
    """As Vec2Face's prepare_training_set.py writes WebFace4M."""
    items = faces()
    for number, (label, jpeg) in enumerate(EXPECTED):
        items[b"%d" % number] = msgpack.dumps((jpeg, random.Random(number).randbytes(4000), label))
    prepare(write(tmp_path / "webface.lmdb", items), tmp_path / "set")
    assert in_order(tmp_path / "set") == EXPECTED


def test_other_formats_are_encoded(tmp_path: Path):
    items = faces() | {b"3": msgpack.dumps((png(3), 1))}
    prepare(write(tmp_path / "faces.lmdb", items), tmp_path / "set")
    assert [label for label, _ in in_order(tmp_path / "set")] == LABELS


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (faces(__len__=13), r"faces\.lmdb: key 12: no such key, although __len__ is 13"),
        (faces(__len__="12"), "no number under __len__; expected __len__ and __classnum__ with the numbers"),
        (faces(__classnum__=0), "no number under __classnum__"),
        (faces(__classnum__=3), r"faces\.lmdb: key 6: the label is 3; expected a class below 3"),
        (faces() | {b"2": msgpack.dumps((crop(0), -1))}, "key 2: no image and label; expected msgpack of image and la"),
        (faces() | {b"2": msgpack.dumps((1, 2))}, "key 2: no image and label"),
        (faces() | {b"2": msgpack.dumps({"image": crop(0)})}, "key 2: no sample"),
        (faces() | {b"2": b"\x80\x04\x95cos\nsystem\n."}, "key 2: no sample"),
        (faces() | {b"2": msgpack.dumps((crop(0, 100), 0))}, "key 2: an image of 100×100 pixels"),
        (faces() | {b"2": msgpack.dumps((bytes(10_000_000), 0))}, r"a value has 10,000,\d+ bytes, more than"),
        ({b"0": b"\x00"}, "no number under __len__"),
        ({}, "no number under __len__"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, items: dict[bytes, bytes], message: str):
    source = write(tmp_path / "faces.lmdb", items)
    with pytest.raises(InputError, match=message):
        prepare(source, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_entries_beyond_the_stated_number_are_told(tmp_path: Path):
    """Their own loaders leave them out as well, without a word: an interrupted writer states too few."""
    items = faces(__len__=9) | {b"info": b"\xc0", b"\xff\x1b": b"x", b"007": b"x"}
    source = write(tmp_path / "faces.lmdb", items)
    prepared = prepare(source, tmp_path / "set", PrepareOptions(max_left_out=0.25))
    assert prepared.images == 9
    assert prepared.omissions.summary() == {
        "image beyond __len__": {"count": 3, "first": ["key 10", "key 11", "key 9"]},
        "entry that is no image": {"count": 3, "first": ["key 007", "key info", r"key \xff\x1b"]},
    }
    with pytest.raises(InputError, match=r"3 of 12 left out, most of them: image beyond __len__"):
        prepare(source, tmp_path / "other")
    without_keys = {key: value for key, value in faces().items() if key != b"__keys__"}
    assert len(prepare(write(tmp_path / "whole.lmdb", without_keys), tmp_path / "whole").omissions) == 0


def test_a_cut_file_is_named(tmp_path: Path):
    source = write(tmp_path / "faces.lmdb", faces())
    data = source.read_bytes()
    used = LmdbReader(source)._last * 4096
    for size in (30, 200, 5000, used):
        source.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"faces\.lmdb: .*(cut|bytes of the)|pages of 0 bytes"):
            prepare(source, tmp_path / "set")


@pytest.mark.parametrize("count", [0, 1, 40, 5000])
def test_every_value_of_a_tree_is_found(tmp_path: Path, count: int):
    """Trees of one to four levels; values within pages, and on pages of their own."""
    chance = random.Random(count)
    items = {}
    for number in range(count):
        key = chance.randbytes(chance.choice([1, 3, 8, 100, 400])) if number % 3 else b"%d" % number
        items[key] = chance.randbytes(chance.choice([0, 1, 20, 900, 3000, 9000]))
    reader = LmdbReader(write(tmp_path / "tree.lmdb", items))
    assert sorted(reader.all_keys()) == sorted(items) and reader.entries == len(items)
    assert all(reader.get(key, 1 << 20) == value for key, value in items.items())
    for number in range(200):
        key = b"absent %d" % number
        assert reader.get(key, 1 << 20) == items.get(key)


def test_values_are_those_after_the_last_change(tmp_path: Path):
    path = write(tmp_path / "tree.lmdb", {b"%d" % number: bytes(50) for number in range(500)})
    database = lmdb.open(str(path), subdir=False, map_size=1 << 27)
    with database.begin(write=True) as transaction:
        for number in range(0, 500, 2):
            transaction.delete(b"%d" % number)
        transaction.put(b"1", b"new")
    database.close()
    reader = LmdbReader(path)
    assert reader.get(b"1", 100) == b"new"
    assert reader.get(b"2", 100) is None
    assert reader.get(b"3", 100) == bytes(50)


@given(st.lists(st.one_of(st.binary(max_size=300), st.integers(-(2**63), 2**64 - 1), st.text(max_size=40)), max_size=5))
def test_msgpack_is_read_as_its_library_writes_it(items: list[bytes | int | str]):
    expected = [item.encode() if isinstance(item, str) else item for item in items]
    assert unpack_items(msgpack.dumps(items)) == expected
    for item, plain in zip(items, expected, strict=True):
        assert unpack_items(msgpack.dumps(item)) == [plain]


@given(st.binary(max_size=60))
def test_no_bytes_of_msgpack_are_a_traceback(data: bytes):
    assert unpack_items(data) is None or isinstance(unpack_items(data), list)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    items = faces() | {b"more %d" % number: bytes(100) for number in range(300)}
    path = write(tmp_path_factory.mktemp("plain") / "faces.lmdb", items)
    data = path.read_bytes()
    return data[: (LmdbReader(path)._last + 1) * 4096]


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mangled_files_are_one_line(plain: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    """LMDB's own library would follow such pointers out of the file."""
    file = tmp_path_factory.mktemp("mangled") / "faces.lmdb"
    content = bytearray(plain)
    for _ in range(data.draw(st.integers(1, 6))):
        page = data.draw(st.integers(0, len(content) // 4096 - 1))
        place = page * 4096 + data.draw(st.one_of(st.integers(0, 200), st.integers(0, 4095)))
        content[place] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    if not is_lmdb(file):
        return
    try:
        opened = LmdbFile().open(file, None, Omissions())  # type: ignore[arg-type]
        for image in opened.read(0, Omissions()):
            assert image.label >= 0
    except InputError as error:
        assert "\n" not in str(error)
