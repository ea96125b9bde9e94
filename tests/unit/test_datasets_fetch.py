"""Sets that are fetched: once, held to their hash, unpacked whole or not at all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from aroface.datasets import fetch as module
from aroface.datasets.fetch import fetch, unpack
from aroface.datasets.registry import Download, find_entry
from aroface.errors import InputError
from aroface.files import sha256_file

ENTRY = replace(
    find_entry("lfw"),
    files=("faces/lfw.bin", "faces/property"),
    downloads=(Download("https://example.org/faces.zip", "archives/faces.zip", None, unpack=True),),
)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in members.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as packed_tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed_tar.addfile(info, io.BytesIO(data))
    return path


class Web:
    """Stands in for the download: writes an archive, and knows what it was asked."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self.members = members
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, url: str, path: Path, *, sha256: str | None, connections: int) -> str:
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
    with pytest.raises(InputError, match=r"faces\.zip: fetched and unpacked, but not all is there: .*faces/lfw.bin"):
        fetch(ENTRY, tmp_path)


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz"])
def test_archives_appear_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / name, {"faces/a.jpg": b"a", "faces/deep/b.jpg": b"b", "readme": b"r"})
    out = tmp_path / "out"
    assert unpack(packed, out) == [out / "faces", out / "readme"]
    assert (out / "faces/deep/b.jpg").read_bytes() == b"b"
    with pytest.raises(InputError, match=f"{name}: holds faces, readme, which .*out has already"):
        unpack(packed, out)
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(InputError, match=name):
        unpack(packed, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz"])
@pytest.mark.parametrize("member", ["../outside", "/absolute", "faces/../../outside"])
def test_members_that_point_elsewhere_are_refused(name: str, member: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / "deep" / name, {member: b"evil"})
    if name.endswith(".zip") or ".." in member:
        with pytest.raises(InputError, match="a member is refused"):
            unpack(packed, tmp_path / "deep/out")
    else:  # tar's data filter takes the leading slash away
        unpack(packed, tmp_path / "deep/out")
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "deep/outside").exists()
    assert not Path("/absolute").exists()


def test_a_link_in_a_tar_that_leads_out_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "faces.tar", "w") as packed:
        link = tarfile.TarInfo("faces")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        packed.addfile(link)
    with pytest.raises(InputError, match="a member is refused"):
        unpack(tmp_path / "faces.tar", tmp_path / "out")


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "faces.zip").write_bytes(b"<html>")
    with pytest.raises(InputError, match="neither a zip nor a tar archive"):
        unpack(tmp_path / "faces.zip", tmp_path)
