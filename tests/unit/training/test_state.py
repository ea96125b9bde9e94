import resource
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aroface.errors import InputError
from aroface.training import state
from aroface.training.run_lock import locked
from aroface.training.state import CheckpointWriter


def save(folder: Path, step: int, rank: int = 0, world_size: int = 1, keep: int = 2) -> Path:
    writer = CheckpointWriter(folder, rank, world_size, keep)
    value = torch.full((3,), float(step))
    path = writer.save(step, {"recipe_hash": "abc", "weights": value}, {"mine": value + rank})
    writer.wait()
    writer.close()
    return path


def load(folder: Path, recipe_hash: str = "abc", ranks: range = range(1)) -> state.Parts | None:
    return state.load(folder, recipe_hash, lambda writers: ranks)


def step_of(folder: Path) -> int:
    found = load(folder)
    assert found is not None
    return found[0]["step"]


def test_newest_state_comes_back_and_only_the_last_are_kept(tmp_path):
    writer = CheckpointWriter(tmp_path)
    for step in (1, 20, 300):
        writer.save(step, {"recipe_hash": "abc", "weights": torch.full((3,), float(step))}, {"mine": step})
    writer.wait()
    common, owns = load(tmp_path)
    assert (common["step"], common["weights"].tolist(), owns) == (300, [300] * 3, [{"mine": 300}])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-000000020", "state-000000300"]


def test_as_many_states_are_kept_as_are_asked_for(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"state-00000000{step}" for step in (3, 4, 5)]


def test_no_state_is_none(tmp_path):
    assert load(tmp_path) is None


def test_a_state_is_what_it_was_when_it_was_saved(tmp_path, monkeypatch):
    """The training goes on while the disk is busy."""
    release = threading.Event()
    write = torch.save

    def slow(content: object, file: object) -> None:
        release.wait(30)
        write(content, file)

    monkeypatch.setattr(torch, "save", slow)
    weights = torch.ones(3)
    writer = CheckpointWriter(tmp_path)
    writer.save(1, {"recipe_hash": "abc", "nested": [{"weights": weights}]}, {})
    assert writer.busy
    weights.fill_(7)
    release.set()
    writer.wait()
    assert not writer.busy
    assert load(tmp_path)[0]["nested"][0]["weights"].tolist() == [1, 1, 1]


def halve(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_a_bit(data: bytes) -> bytes:
    place = data.index(np.float32(2).tobytes())
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("part", ["common-of-001.pt", "rank-000-of-001.pt"])
@pytest.mark.parametrize("damage", [halve, flip_a_bit, lambda data: b"", lambda data: b"x" * len(data)])
def test_a_damaged_newest_state_gives_the_one_before_with_a_warning(
    tmp_path: Path, part: str, damage: Callable[[bytes], bytes]
) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2) / part
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(UserWarning, match=r"state-000000002: damaged"):
        assert step_of(tmp_path) == 1


def test_a_state_counts_only_when_all_processes_have_written_theirs(tmp_path):
    for rank in (0, 1):
        save(tmp_path, 1, rank, 2)
    save(tmp_path, 2, 0, 2)
    found = load(tmp_path, ranks=range(2))
    assert found[0]["step"] == 1
    assert [own["mine"].tolist() for own in found[1]] == [[1] * 3, [2] * 3]
    save(tmp_path, 2, 1, 2)
    assert load(tmp_path, ranks=range(2))[0]["step"] == 2


def test_states_of_other_numbers_of_processes_lie_side_by_side(tmp_path):
    for rank in (0, 1):
        save(tmp_path, 5, rank, 2)
    save(tmp_path, 6)
    assert load(tmp_path)[0]["world_size"] == 1
    shutil.rmtree(tmp_path / "state-000000006")
    assert load(tmp_path)[0]["world_size"] == 2


def test_what_one_process_cannot_read_none_of_them_takes(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    answers = iter([False, True])
    found = state.load(tmp_path, "abc", lambda writers: range(1), lambda mine: next(answers))
    assert found[0]["step"] == 1


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    leftover = save(tmp_path, 1) / ".rank-000-of-001.pt.x1.pt"
    leftover.write_bytes(b"half")
    state.tidy(tmp_path)
    assert step_of(tmp_path) == 1
    assert not leftover.exists()


def test_state_of_another_recipe_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(InputError, match="state of another recipe"):
        load(tmp_path, "def")


def test_a_disk_that_fills_leaves_the_previous_state_good(tmp_path):
    save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # the kernel refuses to write past 500 bytes
    try:
        with pytest.raises(OSError, match=r"File too large.*state-000000002"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert step_of(tmp_path) == 1


def test_a_state_that_found_no_room_is_said_at_the_next_step(tmp_path):
    """And not only when the next one is due."""
    writer = CheckpointWriter(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        writer.save(1, {"recipe_hash": "abc", "large": 1}, {"large": torch.zeros(10_000)})
        writer._writing.exception()  # so that it has ended
        with pytest.raises(OSError, match=r"File too large: 40.0 kB needed"):
            assert writer.busy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        writer.close()
    assert not writer.busy


def test_a_disk_without_room_for_the_next_state_is_found_out_before_a_step_is_done(tmp_path, monkeypatch):
    save(tmp_path, 1)
    monkeypatch.setattr(state, "free_bytes", lambda path: 10)
    with pytest.raises(OSError, match=r"No space left on device: .* kB needed"):
        load(tmp_path, "abc")
    monkeypatch.undo()
    assert step_of(tmp_path) == 1


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
