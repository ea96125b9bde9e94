"""Reading while the file system hiccups: what is transient is waited out, what lasts is one line."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aroface.datasets import retrying_reads
from aroface.datasets.formats.indexed_records import RecordFile
from aroface.datasets.formats.recordio import open_writer, pack
from aroface.datasets.formats.training_set import TrainingSet
from aroface.errors import InputError


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; they take no time."""
    made: list[float] = []
    monkeypatch.setattr(retrying_reads.time, "sleep", made.append)
    return made


@pytest.fixture
def records(tmp_path: Path) -> RecordFile:
    with open_writer(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        for key in range(3):
            writer.write(key, pack(float(key), b"image %d" % key, key))
    return RecordFile(tmp_path / "train.rec", tmp_path / "train.idx")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Let a function of the operating system fail some times."""

    def fail(function: str, number: int, times: int) -> None:
        genuine, left = getattr(os, function), [times]

        def call(*arguments: object) -> object:
            if left[0]:
                left[0] -= 1
                raise OSError(number, os.strerror(number))
            return genuine(*arguments)

        monkeypatch.setattr(retrying_reads.os, function, call)

    return fail


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "ECONNRESET", "EREMOTEIO"])
def test_a_transient_error_is_waited_out_with_longer_and_longer_pauses(records, failing, pauses, name):
    failing("pread", getattr(errno, name), 4)
    assert records.read(1) == b"image 1"
    assert pauses == list(retrying_reads.PAUSES) == sorted(pauses)


def test_one_that_lasts_is_one_line_that_names_file_and_record(records, failing, pauses):
    failing("pread", errno.EIO, 5)
    what = r"train\.rec: record 1 \(byte 40\): cannot be read \(Input/output error\), after 5 attempts in 8 seconds; "
    with pytest.raises(InputError, match=what):
        records.read(1)
    assert pauses == list(retrying_reads.PAUSES)
    assert records.read(1) == b"image 1"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES])
def test_an_error_that_does_not_pass_is_not_waited_for(records, failing, pauses, number):
    failing("pread", number, 1)
    with pytest.raises(InputError, match=rf"train\.rec: record 2 .*cannot be read \({os.strerror(number)}\)$"):
        records.read(2)
    assert pauses == []


def test_opening_and_the_scan_of_labels_wait_as_well(records, tmp_path, failing, pauses):
    (tmp_path / "train.labels.npy").unlink()
    failing("open", errno.ETIMEDOUT, 1)
    failing("pread", errno.EIO, 2)
    assert RecordFile(tmp_path / "train.rec", tmp_path / "train.idx").labels.tolist() == [0, 1, 2]
    assert pauses == [0.1, 0.1, 0.4]


def test_an_index_that_cannot_be_read_is_named(records, tmp_path, monkeypatch, pauses):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("aroface.datasets.formats.indexed_records.np.loadtxt", fail)
    with pytest.raises(InputError, match=r"train\.idx: cannot be read \(Input/output error\), after 5 attempts"):
        RecordFile(tmp_path / "train.rec", tmp_path / "train.idx")


def test_a_stale_descriptor_is_opened_again(records, tmp_path, monkeypatch, pauses):
    """As after a file server's restart: the descriptor never recovers, the path works."""
    genuine, old = os.pread, (tmp_path / "train.rec").stat().st_ino

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == old:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return genuine(descriptor, size, offset)

    shutil.copy(tmp_path / "train.rec", tmp_path / "copy")
    (tmp_path / "copy").replace(tmp_path / "train.rec")
    monkeypatch.setattr(retrying_reads.os, "pread", pread)
    assert [records.read(position) for position in range(3)] == [b"image 0", b"image 1", b"image 2"]
    assert pauses == [0.1]


def test_a_stale_descriptor_never_comes_to_mean_a_file_of_another_size(records, tmp_path, failing, pauses):
    (tmp_path / "train.rec").unlink()
    (tmp_path / "train.rec").write_bytes(b"another file")
    failing("pread", errno.ESTALE, 1)
    assert records.read(0) == b"image 0"


def test_short_reads_are_completed(records, monkeypatch):
    genuine = os.pread
    monkeypatch.setattr(retrying_reads.os, "pread", lambda file, size, offset: genuine(file, min(size, 5), offset))
    assert [records.read(position) for position in range(3)] == [b"image 0", b"image 1", b"image 2"]


def test_an_image_file_is_read_as_steadily(tmp_path, monkeypatch, pauses):
    path = tmp_path / "anna" / "1.jpg"
    path.parent.mkdir()
    path.write_bytes(b"\xff\xd8\xff picture")
    faces, genuine, left = TrainingSet.open(tmp_path), Path.read_bytes, [2]

    def read_bytes(self: Path) -> bytes:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return genuine(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert faces.jpeg(0) == b"\xff\xd8\xff picture"
    left[0] = 5
    with pytest.raises(InputError, match=r"anna/1\.jpg: cannot be read \(Input/output error\), after 5 attempts"):
        faces.jpeg(0)
