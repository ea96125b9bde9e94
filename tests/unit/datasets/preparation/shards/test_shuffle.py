"""Sets in shards in random order: the records that shuffling the same set's records gives, also after a kill."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation import prepare as module
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from crops import crop, held

LABELS = [3, 0, 0, 1, 1, 1, 2, 2, 3, 0, 1, 2]


def zipped(path: Path) -> None:
    """Labels that never fall: with a header record."""
    with zipfile.ZipFile(path / "a.zip", "w") as packed:
        for number, label in enumerate(LABELS):
            packed.writestr(f"p{label}/{number}.jpg", crop(number))


def tarred(path: Path) -> None:
    """Labels in any order: without one, so that opening the records keeps their labels in a file."""
    with tarfile.open(path / "a.tar", "w") as packed:
        for number, label in enumerate(LABELS):
            for name, data in ((f"{number}.jpg", crop(number)), (f"{number}.cls", b"%d" % label)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))


class KilledError(Exception):
    pass


@pytest.mark.parametrize("write", [zipped, tarred])
@pytest.mark.parametrize("killed_at", [None, "_write_shuffled", "forget_progress", "_write_manifest"])
def test_shards_are_shuffled_as_their_records_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], killed_at: str | None
) -> None:
    (tmp_path / "shards").mkdir()
    write(tmp_path / "shards")
    prepare(tmp_path / "shards", tmp_path / "plain")
    prepare(tmp_path / "plain", tmp_path / "expected", PrepareOptions(shuffle=True, seed=3))
    if killed_at is not None:
        original = getattr(module, killed_at)

        def dying(*words: object, **named: object) -> None:
            original(*words, **named)
            raise KilledError

        monkeypatch.setattr(module, killed_at, dying)
        with pytest.raises(KilledError):
            prepare(tmp_path / "shards", tmp_path / "set", PrepareOptions(shuffle=True, seed=3))
        assert not (tmp_path / "set").exists()
        monkeypatch.setattr(module, killed_at, original)
    prepared = prepare(tmp_path / "shards", tmp_path / "set", PrepareOptions(shuffle=True, seed=3))
    assert (prepared.images, prepared.people) == (12, 4)
    for name in ("train.rec", "train.idx", "property"):
        assert (tmp_path / "set" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), name
    assert read_manifest(tmp_path / "set")["identity"] == read_manifest(tmp_path / "expected")["identity"]
    assert held(tmp_path / "set") == held(tmp_path / "plain")
    assert np.any(np.diff(TrainingSet.open(tmp_path / "set").labels) < 0)
    left = {path.name for path in (tmp_path / "set").iterdir()}
    assert left <= {"train.rec", "train.idx", "property", "manifest.json", "identities.txt", "train.labels.npy"}
    assert not (tmp_path / ".set.partial").exists()
