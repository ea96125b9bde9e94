import resource
from pathlib import Path

import pytest
import torch

from aroface.errors import InputError
from aroface.training import state


def _save(folder: Path, step: int) -> Path:
    return state.save(folder, step, {"recipe_hash": "abc", "weights": torch.full((3,), float(step))})


def test_newest_state_comes_back_and_only_the_last_two_are_kept(tmp_path):
    for step in (1, 20, 300):
        _save(tmp_path, step)
    loaded = state.load(tmp_path, "abc")
    assert loaded["step"] == 300
    assert loaded["weights"].tolist() == [300] * 3
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["state-000000020.pt", "state-000000300.pt"]


def test_no_state_is_none(tmp_path):
    assert state.load(tmp_path, "abc") is None


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * len(data)]
)
def test_a_damaged_newest_state_gives_the_one_before_with_a_warning(tmp_path, damage):
    _save(tmp_path, 1)
    newest = _save(tmp_path, 2)
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(UserWarning, match=r"state-000000002.pt: damaged"):
        assert state.load(tmp_path, "abc")["step"] == 1


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    _save(tmp_path, 1)
    leftover = tmp_path / ".state-000000002.pt.x1.pt"
    leftover.write_bytes(b"half")
    assert state.load(tmp_path, "abc")["step"] == 1
    assert not leftover.exists()


def test_state_of_another_recipe_is_refused(tmp_path):
    _save(tmp_path, 1)
    with pytest.raises(InputError, match="state of another recipe"):
        state.load(tmp_path, "def")


def test_a_disk_that_fills_leaves_the_previous_state_good(tmp_path):
    _save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # the kernel refuses to write past 500 bytes
    try:
        with pytest.raises(OSError, match=r"File too large.*state-000000002\.pt"):
            _save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["state-000000001.pt"]
    assert state.load(tmp_path, "abc")["step"] == 1


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    with state.locked(tmp_path), pytest.raises(InputError, match="another process"), state.locked(tmp_path):
        pass
    with state.locked(tmp_path):
        pass
