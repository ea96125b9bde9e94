"""Error lines: one line that any terminal can print, in which a path can be found again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aroface.cli.main import main
from aroface.errors import InputError, printable, remark
from repository import ROOT

LINES = {
    "blanks of a path": (InputError("no such file", file="a  b/ c .bin"), "a  b/ c .bin: no such file"),
    "blanks of a path in a sentence": (
        InputError("its weights lie in 'a  b'", expected="a file in a  b", remedy="see a   b"),
        "its weights lie in 'a  b'; expected a file in a  b; see a   b",
    ),
    "a line break in a path": (InputError("odd", file="a\nb\t.bin"), "a\\nb\\t.bin: odd"),
    "a line break in another program's words": (InputError("not YAML (a\n   b\r\n)\n"), "not YAML (a b )"),
    "terminal codes": (InputError("odd", file="\x1b[2J", where="\x9b1m\u2028x"), "\\x1b[2J: \\x9b1m x: odd"),
    "half a character": (InputError("odd", file="a\udcff"), "a\\udcff: odd"),
    "blanks of a record": (InputError("odd", file="a", where="p  1/x.jpg"), "a: p  1/x.jpg: odd"),
    "a long record": (InputError("odd", where="x" * 400), f"{'x' * 299}…: odd"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line(name: str) -> None:
    error, line = LINES[name]
    assert str(error) == line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "most", "shown"), [(" a\n\tb  c ", None, "a b  c"), ("a\x00", None, "a\\x00"), ("abcdef", 4, "abc…")]
)
def test_text_from_outside(text: str, most: int | None, shown: str) -> None:
    assert printable(text, most) == shown


@pytest.mark.parametrize(
    "words", [["table", "a  b.yaml"], ["plan", "--configfile", "a  b.yaml"], ["data", "info", "./a  b.bin"]]
)
def test_a_path_can_be_found_again(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert words[-1].removeprefix("./") in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\u202eb", "x" * 256 + "\x1b[2J"])
def test_no_path_reaches_the_terminal_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither by this project's errors nor by the system's."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for words in (["table", name], ["data", "info", name], ["crate", "--configfile", f"file/{name}", "--out", name]):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable()


def test_a_remark_is_one_line_that_any_terminal_can_print(capsys: pytest.CaptureFixture[str]) -> None:
    remark("a  b\x1b[2J: embeddings are taken from 'x\ny', größe")
    assert capsys.readouterr().err == "a  b\\x1b[2J: embeddings are taken from 'x\\ny', größe\n"


def test_nothing_prints_a_files_name_past_it() -> None:
    raw = re.compile(r'print\(f"\{(?:self\._)?(?:path|file)\b[^}]*\}.*stderr')
    for path in (ROOT / "src/aroface").rglob("*.py"):
        assert not raw.search(path.read_text()), path
