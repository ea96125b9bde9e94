"""Whatever a library makes of a full disk, it is one error that names the file and says how much is free."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aroface.errors import InputError
from aroface.files import NoRoomError, atomic_open, atomic_path, free_bytes, write_text, writing


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel refuses to write past 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def of_torch_at_once(file: IO[bytes]) -> None:
    torch.save({"one": torch.zeros(2_000_000)}, file)  # an error of its own, in words of its own


def of_torch_bit_by_bit(file: IO[bytes]) -> None:
    torch.save({str(number): torch.zeros(1000) for number in range(100)}, file)


def of_numpy(file: IO[bytes]) -> None:
    np.save(file, np.zeros(1_000_000))  # an error without a number


def of_python(file: IO[bytes]) -> None:
    file.write(bytes(200_000))


@pytest.mark.parametrize("write", [of_torch_at_once, of_torch_bit_by_bit, of_numpy, of_python])
def test_every_writer_says_the_same(tmp_path: Path, small_files: None, write: Callable[[IO[bytes]], None]) -> None:
    path = tmp_path / "file"
    write_text(path, "what was there")
    with (
        pytest.raises(NoRoomError, match=r": 8.00 MB needed, .* free: ") as caught,
        atomic_open(path, 8_000_000) as file,
    ):
        write(file)
    assert caught.value.filename == str(path)
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "what was there"


def test_one_that_speaks_rust(tmp_path: Path, small_files: None) -> None:
    with pytest.raises(NoRoomError, match=r"File too large: .* free"), atomic_path(tmp_path / "file") as temporary:
        save_file({"one": torch.zeros(100_000)}, temporary)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError("3 requested"),
        RuntimeError("unexpected pos 704 vs 598"),
        InputError("a wrong record"),
        KeyError(),
    ],
)
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, writing(tmp_path / "file"):
        raise error
    assert caught.value is error


def test_an_error_of_input_found_after_one_of_the_disk_stays_one_of_input(tmp_path: Path) -> None:
    with pytest.raises(InputError), writing(tmp_path / "file"):
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError:
            raise InputError("a wrong record") from None


def test_room_is_that_of_the_disk_a_file_will_lie_on(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "there" / "yet") == pytest.approx(free_bytes(tmp_path), rel=0.5)
