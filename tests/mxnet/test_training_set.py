"""Training sets: MXNet writes and reads them as we do, and is one of the readers to choose from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from aroface.datasets.formats.training_set import FILES, TrainingSet, write_training_set
from generated_sets import generate_training

pytestmark = pytest.mark.mxnet

MAGIC = bytes.fromhex("0a23d7ce")
LABELS = [0, 0, 0, 1, 3, 3, 4, 4, 4, 4]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Ten faces; the comments in some of the files hold the records' magic, aligned or not, once or more often."""
    folder = tmp_path_factory.mktemp("faces") / "faces"
    generate_training({"identities": 5, "images_per_identity": 2}, 1, folder, workers=1)
    found = TrainingSet.open(folder)
    plain = [found.jpeg(position) for position in range(10)]
    comments = [b"", MAGIC, b"ab" + MAGIC, b"ab" + MAGIC * 2, b"ab" + MAGIC * 3 + b"c", b"abc" + MAGIC]
    return [with_comment(jpeg, comments[number % len(comments)]) for number, jpeg in enumerate(plain)]


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """A JPEG with a comment, which begins at byte 6, straight after its start."""
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


@pytest.fixture
def layout(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Header record, images, identities' ranges."""
    write_training_set(tmp_path / "faces", zip(LABELS, jpegs, strict=True), 5)
    return tmp_path / "faces"


def save(folder: Path, contents: list[bytes]) -> list[str]:
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
    return [str(folder / str(number)) for number in range(len(contents))]


def test_a_set_is_the_bytes_that_mxnet_writes(oracle, layout, jpegs, tmp_path):
    *images, empty = save(tmp_path / "contents", [*jpegs, b""])
    ends = [1, 4, 5, 5, 7, 11]
    records = [(0, [11, 16], 0, 0, empty)]
    records += [(key, LABELS[key - 1], key, 0, image) for key, image in enumerate(images, start=1)]
    records += [(11 + identity, [ends[identity], ends[identity + 1]], 11 + identity, 0, empty) for identity in range(5)]
    oracle(("write", tmp_path / "train.rec", tmp_path / "train.idx", records))
    for name in FILES[:2]:
        assert (tmp_path / name).read_bytes() == (layout / name).read_bytes()


@pytest.fixture
def shuffled(oracle, jpegs, tmp_path) -> Path:
    """A file of MXNet's without header, keys from 0."""
    folder = tmp_path / "shuffled"
    folder.mkdir()
    records = [(key, 9 - key, key, 0, image) for key, image in enumerate(save(tmp_path / "images", jpegs))]
    oracle(("write", folder / "train.rec", folder / "train.idx", records))
    (folder / "property").write_text("10,112,112\n")
    return folder


@pytest.mark.parametrize("which", ["layout", "shuffled"])
@pytest.mark.parametrize("listed", [True, False], ids=["whole index", "index without key 0"])
def test_the_readers_read_the_same(oracle, jpegs, request, which, listed):
    folder = request.getfixturevalue(which)
    if not listed:
        index = folder / "train.idx"
        index.write_text("".join(index.read_text().splitlines(keepends=True)[1:]))
    ours = TrainingSet.open(folder)
    assert [ours.jpeg(position) for position in range(len(ours))] == jpegs[-len(ours) :]
    expected = [ours.num_classes, ours.labels.tolist(), [sha256(ours.jpeg(i)) for i in range(len(ours))]]
    expected += [str(ours.error(1, "bad"))]
    (folder / "train.labels.npy").unlink(missing_ok=True)  # so that every reader finds the labels itself
    (native,) = oracle(("training_set", folder, "native"))
    (folder / "train.labels.npy").unlink(missing_ok=True)
    mxnet, versions = oracle(("training_set", folder, "mxnet"), ("versions",))
    assert native == [*expected, "RecordFile"]
    assert mxnet == [*expected, "MXNetRecordFile"]
    assert versions == {"mxnet": "1.9.1", "numpy": "1.23.5", "torch": False}


def test_damage_is_one_line_with_mxnet_as_well(oracle, layout):
    data = bytearray((layout / "train.rec").read_bytes())
    offset = int((layout / "train.idx").read_text().splitlines()[3].split("\t")[1])
    data[offset + 4 : offset + 8] = b"\xff\xff\xff\x1f"
    (layout / "train.rec").write_bytes(data)
    lines = oracle(("refusal", layout, "native"), ("refusal", layout, "mxnet"))
    for line in lines:
        assert line.startswith(f"{layout}/train.rec: record 3 (byte {offset}): ")
        assert "\n" not in line


def test_forked_workers_read_by_mxnet(python, layout, jpegs):
    code = """
import json, multiprocessing, sys
from hashlib import sha256
from pathlib import Path
from aroface.datasets.formats.training_set import TrainingSet
found = TrainingSet.open(Path(sys.argv[1]), reader="mxnet")
def read(position): return sha256(found.jpeg(position)).hexdigest()
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(json.dumps([list(map(read, range(10))), pool.map(read, range(10))]))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve())}
    done = subprocess.run([python, "-c", code, layout], capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout) == [list(map(sha256, jpegs))] * 2
