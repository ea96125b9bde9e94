"""Every verb of ``aroface data`` on inputs that are none: one line, status 2, no traceback, nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.images import encode_jpeg
from standin_detector import ONE, scrfd_file

JPEG = encode_jpeg(np.full((112, 112, 3), 80, np.uint8), 90)


def people(root: Path) -> Path:
    for person in ("p0", "p1", "p2"):
        (root / person).mkdir(parents=True)
        for image in ("0.jpg", "1.jpg"):
            (root / person / image).write_bytes(JPEG)
    return root


def put(name: str | bytes, data: bytes = JPEG) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        path = people(root) / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return make


def folder(*names: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for name in names:
            (root / name).mkdir(parents=True)

    return make


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda root: (people(root) / name).symlink_to(root / target)


def damaged_records(root: Path) -> None:
    root.mkdir()
    (root / "train.rec").write_bytes(b"garbage")
    (root / "train.idx").write_bytes(b"0\t0\n")
    (root / "property").write_text("2,112,112\n")


def pipe(root: Path) -> None:
    os.mkfifo(people(root) / "p0/pipe.jpg")


BAD: dict[str, Callable[[Path], object]] = {
    "missing": lambda root: None,
    "a file": lambda root: root.write_text("text"),
    "a binary file": lambda root: root.write_bytes(bytes(range(256))),
    "an empty file": lambda root: root.touch(),
    "an empty folder": Path.mkdir,
    "Latin-1 folder": put(b"Jos\xe9/1.jpg"),
    "Latin-1 file": put(b"p0/\xe9.jpg"),
    "control character": put("a\nb/1.jpg"),
    "truncated image": put("p0/1.jpg", JPEG[:200]),
    "empty image": put("p0/1.jpg", b""),
    "text for an image": put("p0/1.jpg", b"<html>"),
    "folder of text": put("p3/notes.txt", b"text"),
    "HEIC alone": put("p3/1.heic", b"\0\0\0\x18ftypheic" + bytes(40)),
    "folders for records": folder("train.rec", "train.idx", "property"),
    "folder for a list": folder("tinyface/Testing_Set/probe_img_ID_pairs.mat"),
    "folder for IJB's list": folder("meta/ijbb_face_tid_mid.txt"),
    "damaged records": damaged_records,
    "damaged list": put("tinyface/Testing_Set/probe_img_ID_pairs.mat", b"MATLAB"),
    "damaged IJB list": put("meta/ijbb_face_tid_mid.txt", b"\xff\xfe a b"),
    "damaged IJB-S list": put("protocols/cs6_metadata.csv", b"\xff\xfe a b"),
    "link to itself": link("p9", "p9"),
    "link that leads nowhere": link("p0/9.jpg", "nowhere"),
    "link to what is above": link("p0/again", ""),
    "pipe": pipe,
}
VERBS = {
    "pack": ("pack", "--out", "out", "--test-fraction", "0"),
    "prepare": ("prepare", "--out", "out"),
    "pairs": ("pairs", "--out", "out.bin"),
    "align": ("prepare", "--align", "--out", "out", "--detector", "detector.onnx", "--threads", "1"),
    "verify": ("verify", "--manifest", "verified.json", "--threads", "1"),
    "info": ("info",),
    "sheet": ("info", "--sheet", "sheet.png"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bad: str, verb: str
):
    monkeypatch.chdir(tmp_path)
    scrfd_file(tmp_path / "detector.onnx", [ONE], side=192)
    BAD[bad](tmp_path / "data")
    name, *options = VERBS[verb]
    before = sorted(path.name for path in tmp_path.iterdir())
    status = main(["data", name, "data", *options])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if "error" in line]
    assert "Traceback" not in error
    if status == 0:  # what is wrong is left out, and told, or is no matter of this verb
        assert not lines
        assert "left out: " in error or verb == "info", error
        return
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("aroface: error: ")
    assert lines[0].isprintable()
    if verb != "align":  # which keeps what it has aligned
        left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("verified.json"))
        assert left == before


@pytest.mark.parametrize("links", [{"p9": "p9"}, {"p0/8": "9", "p0/9": "8"}], ids=["to itself", "to each other"])
@pytest.mark.parametrize("verb", ["pack", "verify"])
def test_a_link_that_leads_round_in_a_circle_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, links: dict[str, str]
):
    root = people(tmp_path / "data")
    for name, target in links.items():
        (root / name).symlink_to(target)
    name, option, out, *options = VERBS[verb]
    assert main(["data", name, str(root), option, str(tmp_path / out), *options]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert any(f"error: {root / link}: cannot be read (Too many levels of symbolic links)" in line for link in links)


@pytest.mark.parametrize("option", [("--first-frame", "1"), ("--columns", "subject,frame,x,y,width,height")])
@pytest.mark.parametrize("align", [(), ("--align",)])
def test_options_of_ijbs_ground_truth_are_refused_for_other_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], align: tuple[str, ...]
):
    root = people(tmp_path / "data")
    assert main(["data", "prepare", str(root), "--out", str(tmp_path / "out"), *align, *option]) == 2
    assert capsys.readouterr().err.endswith(f"{root}: {option[0]} is for the release of IJB-S; leave it out\n")
