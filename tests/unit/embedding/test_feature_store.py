from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from aroface.embedding import feature_store
from aroface.embedding.feature_store import open_features, write_index, write_rows
from aroface.errors import InputError

VALUES = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


class KilledError(Exception):
    pass


def batches(start, killed_at=None, size=4, seen=None):
    for low in range(start, len(VALUES), size):
        if killed_at is not None and low >= killed_at:
            raise KilledError
        if seen is not None:
            seen.append(low)
        yield VALUES[low : low + size]


def write(folder, key="key", **arguments):
    return write_rows(folder, key, VALUES.shape, lambda start: batches(start, **arguments), shard_rows=12)


def complete(folder):
    write(folder)
    write_index(folder, {"rows": 50, "dimension": 3}, {"same": np.array([True, False])})


def test_what_was_written_is_what_is_read(tmp_path):
    complete(tmp_path)
    features = open_features(tmp_path)
    np.testing.assert_array_equal(features.values, VALUES)
    assert features.values.dtype == np.float32 and isinstance(features.values, np.memmap)
    np.testing.assert_array_equal(features.arrays["same"], [True, False])
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), VALUES)


@pytest.mark.parametrize(("killed_at", "resumed_at"), [(4, 0), (12, 12), (20, 12), (24, 24), (48, 48)])
def test_a_killed_call_goes_on_at_its_last_whole_shard(tmp_path, killed_at, resumed_at):
    with pytest.raises(KilledError):
        write(tmp_path, killed_at=killed_at)
    seen = []
    write(tmp_path, seen=seen)
    assert seen[0] == resumed_at
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), VALUES)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_parts_written_by_several_processes_are_one_file(tmp_path, order):
    parts = [range(0, 17), range(17, 34), range(34, 50)]
    seen = []

    def values(part, killed_at=None):
        def rows(start):
            for low in range(start, part.stop, 4):
                if killed_at is not None and low >= killed_at:
                    raise KilledError
                seen.append(low)
                yield VALUES[low : min(low + 4, part.stop)]

        return rows

    with pytest.raises(KilledError):
        write_rows(tmp_path, "key", VALUES.shape, values(parts[1], 29), part=parts[1], shard_rows=8)
    for number in order:
        write_rows(tmp_path, "key", VALUES.shape, values(parts[number]), part=parts[number], shard_rows=8)
    assert seen.count(17) == seen.count(21) == 1, "what a killed call had done of its part is not done again"
    write_index(tmp_path, {"rows": 50, "dimension": 3}, {})
    np.testing.assert_array_equal(open_features(tmp_path).values, VALUES)


def test_half_precision_takes_half_the_room(tmp_path):
    write_rows(tmp_path, "key", VALUES.shape, batches, precision="float16")
    write_index(tmp_path, {"rows": 50, "dimension": 3, "precision": "float16"}, {})
    values = open_features(tmp_path).values
    assert values.dtype == np.float16
    np.testing.assert_allclose(values, VALUES, rtol=1e-3)


def test_what_a_longer_file_left_behind_is_cut_off(tmp_path):
    complete(tmp_path)
    write_rows(tmp_path, "other", (20, 3), lambda start: iter([VALUES[start:20]]))
    write_index(tmp_path, {"rows": 20, "dimension": 3}, {})
    assert len(np.load(tmp_path / "features.npy")) == 20
    assert (tmp_path / "features.npy").stat().st_size == 128 + 20 * 3 * 4


def test_a_finished_file_is_not_computed_again(tmp_path):
    seen = []
    write(tmp_path)
    write(tmp_path, seen=seen)
    assert seen == []


def test_another_key_starts_anew_and_withdraws_the_index(tmp_path):
    complete(tmp_path)
    with pytest.raises(KilledError):
        write(tmp_path, key="other weights", killed_at=12)
    with pytest.raises(InputError, match="no complete features"):
        open_features(tmp_path)
    seen = []
    write(tmp_path, seen=seen)
    assert seen[0] == 0


def test_a_file_shorter_than_its_progress_says_starts_anew(tmp_path):
    with pytest.raises(KilledError):
        write(tmp_path, killed_at=24)
    with open(tmp_path / "features.npy", "r+b") as file:
        file.truncate(200)
    seen = []
    write(tmp_path, seen=seen)
    assert seen[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), VALUES)


def test_wrong_number_of_rows_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="50 rows came, not 51"):
        write_rows(tmp_path, "key", (51, 3), batches)


def test_a_full_disk_keeps_what_is_done(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KilledError):
        write(tmp_path, killed_at=24)
    monkeypatch.setattr(feature_store.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path)
    monkeypatch.undo()
    seen = []
    write(tmp_path, seen=seen)
    assert seen[0] == 24
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), VALUES)


def test_other_errors_of_the_system_are_not_hidden(tmp_path, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(feature_store.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    complete(tmp_path)
    with open(tmp_path / "features.npy", "r+b") as file:
        file.truncate(300)
    with pytest.raises(InputError, match=r"features.npy: damaged"):
        open_features(tmp_path)


def test_features_of_another_shape_are_refused(tmp_path):
    complete(tmp_path)
    np.save(tmp_path / "features.npy", VALUES[:40])
    with pytest.raises(InputError, match=r"features.npy: float32 \(40, 3\); expected float32 \(50, 3\)"):
        open_features(tmp_path)


def test_pickled_labels_are_not_loaded(tmp_path):
    complete(tmp_path)
    np.save(tmp_path / "same.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"same.npy: damaged"):
        open_features(tmp_path)


def test_index_describes_the_arrays(tmp_path):
    complete(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["arrays"] == {"same": {"dtype": "|b1", "shape": [2]}}


def spoilt(row, value):
    def spoil(file):
        values = np.load(file)
        values[row, 1] = value
        np.save(file, values)

    return spoil


DAMAGE = {
    "NaN": (spoilt(7, np.nan), r"features\.npy: row 7: a feature is not finite"),
    "infinity": (spoilt(49, np.inf), r"features\.npy: row 49: a feature is not finite"),
    "minus infinity": (spoilt(0, -np.inf), r"features\.npy: row 0: a feature is not finite"),
    "empty": (lambda file: file.write_bytes(b""), r"features\.npy: damaged"),
    "header alone": (lambda file: file.write_bytes(file.read_bytes()[:128]), r"features\.npy: damaged"),
    "half a header": (lambda file: file.write_bytes(file.read_bytes()[:9]), r"features\.npy: damaged"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-4]), r"features\.npy: damaged"),
    "text": (lambda file: file.write_text("features"), r"features\.npy: damaged"),
    "pickle": (lambda file: np.save(file, np.array([{}]), allow_pickle=True), r"features\.npy: damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_features_that_the_disk_has_spoilt_are_one_line(tmp_path, damage):
    complete(tmp_path)
    spoil, message = DAMAGE[damage]
    spoil(tmp_path / "features.npy")
    with pytest.raises(InputError, match=message):
        open_features(tmp_path)
