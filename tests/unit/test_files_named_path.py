"""``NAME=PATH`` on a command line, where paths hold ``=`` themselves."""

from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.evaluation.external_model import named_file
from aroface.files import named_path

THERE = ["m.onnx", "epoch=24-step=100.onnx", "lr=0.1/lfw.bin", "=x", "a=b/c=d.bin", "name=", "it's=1 $x.bin"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in THERE:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.mark.parametrize("path", THERE)
def test_existing_path_wins(path: str) -> None:
    assert named_path(path) == (None, Path(path))
    assert named_file(path, "--model") == (Path(path).stem, Path(path))
    assert named_file(f"mine={path}", "--model") == ("mine", Path(path))
    assert named_file(f"./{path}", "--model") == (Path(path).stem, Path(path))


@pytest.mark.parametrize("name", ["lfw", "ArcFace+ours", "my model (2)", "größe", "v1.5"])
def test_name_is_a_word(name: str) -> None:
    assert named_path(f"{name}=not there.bin") == (name, Path("not there.bin"))


@pytest.mark.parametrize("word", ["sweep/lr=0.2/lfw.bin", "./x=y.bin", "=y", "x="])
def test_no_name(word: str) -> None:
    assert named_path(word) == (None, Path(word))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lr=0.2/lfw.bin", "0.2/lfw.bin: no such file or folder; nor is there lr=0.2/lfw.bin"),
        ("sweep/lr=0.2.bin", "sweep/lr=0.2.bin: no such file or folder"),
        ("=y", "--model: '=y'; expected NAME=PATH or PATH"),
        ("x=", "--model: 'x='; expected NAME=PATH or PATH"),
        ("", "--model: ''; expected NAME=PATH or PATH"),
    ],
)
def test_missing_file_is_one_line(word: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        named_file(word, "--model")
    assert str(caught.value) == expected
