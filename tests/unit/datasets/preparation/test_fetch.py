"""Sets that are fetched: once, held to their hash, unpacked whole or not at all."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest

from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.images import encode_jpeg
from aroface.datasets.preparation import fetch as module
from aroface.datasets.preparation.connection import Limits
from aroface.datasets.preparation.fetch import fetch
from aroface.datasets.registry import Download, find_entry, read_checkpoints
from aroface.errors import InputError
from aroface.files import sha256_file
from small_sets import archive

ENTRY = replace(
    find_entry("lfw"),
    files=("faces/lfw.bin", "faces/property"),
    downloads=(Download("https://example.org/faces.zip", "archives/faces.zip", None, unpack=True),),
)


class Web:
    """Stands in for the download: writes an archive, and knows what it was asked."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self.members = members
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, url: str, path: Path, *, sha256: str | None, **_: object) -> str:
        self.asked.append((url, sha256))
        found = sha256_file(archive(path, self.members))
        if sha256 not in (None, found):
            raise InputError(f"the file has sha256 {found}", file=path, expected=sha256)
        return found


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web({"faces/lfw.bin": b"pairs", "faces/property": b"3,112,112"})
    monkeypatch.setattr(module, "download", web)
    return web


def test_a_set_is_fetched_once_and_pinned(web: Web, tmp_path: Path) -> None:
    (path,) = fetch(ENTRY, tmp_path)
    assert (tmp_path / "faces/lfw.bin").read_bytes() == b"pairs"
    assert path.with_name("faces.zip.sha256").read_text() == f"{sha256_file(path)}  faces.zip\n"
    assert fetch(ENTRY, tmp_path) == []
    assert web.asked == [("https://example.org/faces.zip", None)]


def test_a_second_download_is_held_to_the_first(web: Web, tmp_path: Path) -> None:
    (path,) = fetch(ENTRY, tmp_path)
    (tmp_path / "faces/property").unlink()
    path.unlink()
    web.members["faces/other"] = b""
    with pytest.raises(InputError, match=r"faces\.zip: the file has sha256 .*; expected"):
        fetch(ENTRY, tmp_path)


def test_what_needs_a_form_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^WebFace4M: not in .*request it from WebFace260M .*face-benchmark"):
        fetch(find_entry("webface4m"), tmp_path)


def test_an_archive_of_something_else_is_noticed(web: Web, tmp_path: Path) -> None:
    web.members = {"cats/cat.jpg": b""}
    with pytest.raises(
        InputError,
        match=r"faces\.zip: unpacked, but not all is there: faces/lfw.bin, .*; set aside as faces\.zip\.refused",
    ):
        fetch(ENTRY, tmp_path)


GOOD = {"faces/lfw.bin": b"pairs" * 999, "faces/property": b"3,112,112"}


def zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return content.getvalue()


NO_ARCHIVES = {
    "empty": (b"", "neither a zip nor a tar archive: it is empty"),
    "cut": (zipped(GOOD)[:-40], "neither a zip nor a tar archive"),
    "damaged": (zipped(GOOD).replace(b"pairs", b"spoil", 1), "cannot be read .*CRC"),
    "RAR": (b"Rar!\x1a\x07\x01\x00" + b"x" * 999, "it is a RAR archive, unpack it by hand"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + b"x" * 999, "it is a 7z archive"),
    "page": (b"<!DOCTYPE html><html>" + b" " * 999, "neither a zip nor a tar archive"),
    "other": (zipped({"cats/cat.jpg": b"cat"}), "not all is there: faces/lfw.bin, faces/property"),
}


@pytest.mark.parametrize("name", NO_ARCHIVES)
def test_only_what_can_be_used_is_pinned(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, message = NO_ARCHIVES[name]

    def give(url: str, path: Path, *, sha256: str | None, **_: object) -> str:
        assert sha256 is None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return sha256_file(path)

    monkeypatch.setattr(module, "download", give)
    for _ in range(2):
        with pytest.raises(InputError, match=f"{message}.*; set aside as faces.zip.refused; the next call fetches it"):
            fetch(ENTRY, tmp_path)
        assert [path.name for path in (tmp_path / "archives").iterdir()] == ["faces.zip.refused"]
        assert [path.name for path in tmp_path.iterdir()] == ["archives"]
    content = zipped(GOOD)
    (path,) = fetch(ENTRY, tmp_path)
    assert path.with_name("faces.zip.sha256").read_text().split() == [sha256_file(path), "faces.zip"]


def torch_file() -> bytes:
    return zipped({"model/data.pkl": b"pickle", "model/data/0": b"x" * 999})


def tensors() -> bytes:
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return len(header).to_bytes(8, "little") + header + b"x" * 8


NO_CHECKPOINTS = [
    ("model.pt", b"", "an empty file"),
    ("model.pt", torch_file()[:-30], "no whole PyTorch file"),
    ("model.ckpt", zipped({"readme": b""}), "without the parts of a PyTorch file"),
    ("model.pt", b"\n <HTML><head>", "a web page, not the file"),
    ("model.safetensors", b"<!doctype html>", "a web page, not the file"),
    ("model.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not the file"),
    ("model.onnx", b"\xff" * 99, "no whole ONNX file"),
    ("model.onnx", b"\x08\x07", "an ONNX file without a network"),
    ("model.safetensors", tensors()[:-1], "no whole safetensors file"),
    ("model.safetensors", b"\xff" * 99, "no whole safetensors file"),
    ("model.safetensors", (5).to_bytes(8, "little") + b"[[[[[", "no whole safetensors file"),
]


def test_a_file_of_pairs_is_opened_before_it_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "whole", Pairs([encode_jpeg(np.zeros((8, 8, 3), np.uint8), 90)] * 2, np.array([True])))
    whole = (tmp_path / "whole").read_bytes()
    contents = [whole[:-9], b"<html>", whole]

    def give(url: str, path: Path, **_: object) -> str:
        assert "1iGYoCyhpq-Pi9Trpe7wrDs_J88Prz8ck" in url
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.pop(0))
        return sha256_file(path)

    monkeypatch.setattr(module, "download", give)
    for _ in range(2):
        with pytest.raises(InputError, match=r"lfw\.bin: .*; set aside as lfw\.bin\.refused"):
            fetch(find_entry("lfw"), tmp_path / "data")
    assert fetch(find_entry("lfw"), tmp_path / "data") == [tmp_path / "data/faces_emore/lfw.bin"]
    assert (tmp_path / "data/faces_emore/lfw.bin.sha256").exists()


@pytest.mark.parametrize(("name", "content", "message"), NO_CHECKPOINTS)
def test_only_checkpoints_that_are_whole_are_pinned(
    name: str, content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(ENTRY, files=(name,), downloads=(Download("https://example.org/x", name, None, unpack=False),))
    contents = [content, tensors() if name.endswith("safetensors") else torch_file()]

    def give(url: str, path: Path, **_: object) -> str:
        path.write_bytes(contents.pop(0))
        return sha256_file(path)

    monkeypatch.setattr(module, "download", give)
    with pytest.raises(InputError, match=f"{name}: .*{message}.*; set aside as {name}.refused"):
        fetch(entry, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.refused"]
    if not name.endswith("onnx"):
        fetch(entry, tmp_path)
        assert (tmp_path / f"{name}.sha256").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"abc  faces.zip", b"\x00" * 9999])
def test_a_pin_that_is_none_is_one_line(content: bytes, web: Web, tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives/faces.zip.sha256").write_bytes(content)
    with pytest.raises(InputError, match=r"faces\.zip\.sha256: no sha256; expected 64 hexadecimal digits.*remove it"):
        fetch(ENTRY, tmp_path)


def test_a_known_hash_is_not_set_aside_for_what_it_holds(web: Web, tmp_path: Path) -> None:
    web.members = {"cats/cat.jpg": b"cat"}
    known = sha256_file(archive(tmp_path / "known.zip", web.members))
    entry = replace(ENTRY, downloads=(replace(ENTRY.downloads[0], sha256=known),))
    with pytest.raises(InputError, match=r"not all is there: faces/lfw.bin"):
        fetch(entry, tmp_path / "data")
    assert (tmp_path / "data/archives/faces.zip").exists()


def test_limits_come_from_the_registry_unless_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def give(url: str, path: Path, *, limits: Limits, size: int | None, page: str | None, **_: object) -> str:
        seen.append((limits.max_bytes, limits.max_wait_s, size, page))
        raise InputError("enough")

    monkeypatch.setattr(module, "download", give)
    item = replace(ENTRY.downloads[0], size=7, max_bytes=8_000, page="https://example.org/page")
    for registered, given in ((item, None), (item, 5), (ENTRY.downloads[0], None)):
        with pytest.raises(InputError, match="enough"):
            fetch(replace(ENTRY, downloads=(registered,)), tmp_path, limits=Limits(max_wait_s=3.0), max_bytes=given)
    page = "https://example.org/page"
    assert seen == [(8_000, 3.0, 7, page), (5, 3.0, 7, page), (Limits().max_bytes, 3.0, None, None)]


def test_what_has_to_be_prepared_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = find_entry("hsface10k")
    asked: list[str] = []

    def get(url: str, path: Path, **_: object) -> str:
        asked.append(url)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return sha256_file(path)

    monkeypatch.setattr(module, "download", get)
    content = b"<html>sign in</html>"
    with pytest.raises(InputError, match=r"hsface10k\.lmdb.*set aside as hsface10k\.lmdb\.refused"):
        fetch(entry, tmp_path)
    content = lmdb_of_nothing(tmp_path / "made")
    (path,) = fetch(entry, tmp_path)
    assert path == tmp_path / "archives/hsface10k.lmdb"
    assert fetch(entry, tmp_path) == []
    assert len(asked) == 2
    content = content[:5000]
    path.unlink()
    path.with_name("hsface10k.lmdb.sha256").unlink()
    with pytest.raises(InputError, match=r"set aside"):
        fetch(entry, tmp_path)


def test_a_file_of_a_folder_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(url: str, pattern: str, path: Path, **_: object) -> str:
        asked.append(f"{pattern} in {url}")
        return "the-id-of-the-backbone"

    def give(url: str, path: Path, **_: object) -> str:
        asked.append(url)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(torch_file())
        return sha256_file(path)

    monkeypatch.setattr(module, "find_in_folder", find)
    monkeypatch.setattr(module, "download", give)
    entry = read_checkpoints("workflow/registries/checkpoints.yaml")["elasticface_arc_ms1mv2_r100"]
    (path,) = fetch(entry, tmp_path)
    assert fetch(entry, tmp_path) == []
    folder = "https://drive.google.com/embeddedfolderview?id=1q3ws_BQLmgXyiy2msvHummXq4pRqc1rx"
    assert asked[0] == f"*backbone.pth in {folder}"
    assert "id=the-id-of-the-backbone&" in asked[1] and len(asked) == 2
    assert path.with_name(f"{path.name}.sha256").exists()


def lmdb_of_nothing(folder: Path) -> bytes:
    lmdb.open(str(folder)).close()
    return (folder / "data.mdb").read_bytes()
