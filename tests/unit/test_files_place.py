"""Places where a file is to be written later: checked before the work that is to end there begins."""

import os
from pathlib import Path

import pytest

from aroface.cli.main import _line
from aroface.datasets.manifest import atomic_folder
from aroface.datasets.preparation.archive import unpack
from aroface.datasets.preparation.shards.writer import partial_folder
from aroface.embedding.feature_store import write_rows
from aroface.errors import InputError
from aroface.files import atomic_path, check_place, make_folder, write_text
from aroface.models.checkpoint import save_tensors
from aroface.reporting.export.folder import new_folder

GOOD = ["x.json", "new/folders/x.json", "there/x.json", "file", "link/x.json"]
BAD = {
    "there": "there: a folder; expected the name of a file",
    "link": "link: a folder; expected the name of a file",
    "file/x.json": "file: no folder; expected a folder, for ",
    "file/new/x.json": "file: no folder; expected a folder, for ",
    "loop/x.json": "loop: no folder; expected a folder, for ",
    "nowhere/x.json": "nowhere: no folder; expected a folder, for ",
    "/proc/x.json": "/proc: no file can be made there .No such file or directory.; expected a folder, for /proc/x.json",
    "/proc/new/x.json": "/proc: no file can be made there",
}


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("file").touch()
    for link, target in (("link", "there"), ("loop", "loop"), ("nowhere", "not/there")):
        Path(link).symlink_to(target)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_place_that_passes_takes_a_file(tmp_path: Path, name: str, absolute: bool) -> None:
    path = tmp_path / name if absolute else Path(name)
    check_place(path)
    write_text(path, "x")


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_a_place_that_takes_none_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_place(tmp_path / name)
    if name != "link":  # which would be replaced
        with pytest.raises(OSError, match=r"."):
            write_text(tmp_path / name, "x")


def test_a_folder_that_must_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    with pytest.raises(InputError, match=r"must not be written to; expected a folder, for .*x\.json"):
        check_place(tmp_path / "new/x.json")


FOLDERS = {
    "a folder": lambda path: make_folder(path),
    "a set": lambda path: atomic_folder(path).__enter__(),
    "a set of shards": lambda path: partial_folder(path).__enter__(),
    "an unpacked archive": lambda path: unpack(Path("archive.zip"), path),
    "an export": lambda path: new_folder(path).__enter__(),
    "tensors": lambda path: save_tensors(path / "model.safetensors", {}, {}),
    "features": lambda path: write_rows(path, "key", (1, 1), lambda start: iter(())),
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("place", ["/proc/x", "file/x"])
def test_a_folder_that_cannot_be_made_is_a_line_without_advice_on_space(kind: str, place: str) -> None:
    Path("archive.zip").write_bytes(b"")
    with pytest.raises((OSError, InputError)) as caught:
        FOLDERS[kind](Path(place))
    line = _line(caught.value) if isinstance(caught.value, OSError) else str(caught.value)
    assert line and place in line
    assert "space" not in line and "room" not in line


LONGEST = 255  # bytes of a name


@pytest.mark.parametrize("name", ["x" * LONGEST, "é" * (LONGEST // 2), "x." + "y" * 253, "x" * 251 + ".pdf", "中" * 85])
def test_a_file_may_have_the_longest_name_that_the_disk_takes(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x" * 256, "File name too long"),
        ("x" * 300 + ".tex", "File name too long"),
        ("", "Is a directory"),
        (".", "Is a directory"),
        ("there", "Is a directory"),
        ("/proc/x.png", "no file can be made there"),
        ("/proc/x/y.png", "no file can be made there"),
        ("/sys/x", "no file can be made there|Permission denied|Operation not permitted|Read-only file system"),
    ],
)
def test_a_place_that_takes_none_is_named_before_the_work_is_done(path: str, message: str) -> None:
    with pytest.raises(OSError, match=message) as caught, atomic_path(path):
        pytest.fail("the work was done for nothing")
    assert caught.value.filename == str(Path(path)), "not that of a temporary file"
    assert _line(caught.value), "a line for the reader"
