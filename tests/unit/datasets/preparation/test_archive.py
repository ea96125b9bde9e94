"""Archives: whole or not at all, within bounds, and nothing outside of their folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from aroface.datasets.preparation import archive as module
from aroface.datasets.preparation.archive import RefusedFileError, unpack
from aroface.errors import InputError
from small_sets import archive


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
def test_folders_that_are_there_are_added_to(name: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / name, {"faces/lfw.bin": b"pairs", "faces/train.rec": b"r", "faces/deep/b.jpg": b"b"})
    out = tmp_path / "out"
    (out / "faces/deep").mkdir(parents=True)
    (out / "faces/lfw.bin").write_bytes(b"pairs")
    (out / "faces/mine.txt").write_bytes(b"mine")
    assert sorted(unpack(packed, out)) == [out / "faces/deep/b.jpg", out / "faces/train.rec"]
    assert (out / "faces/mine.txt").read_bytes() == b"mine"
    (out / "faces/train.rec").unlink()
    (out / "faces/lfw.bin").write_bytes(b"other")
    with pytest.raises(InputError, match=f"{name}: holds faces/lfw.bin, which .*out has already; remove or rename"):
        unpack(packed, out)
    assert not (out / "faces/train.rec").exists()


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz"])
@pytest.mark.parametrize("member", ["../outside", "/absolute", "faces/../../outside"])
def test_members_that_point_elsewhere_are_refused(name: str, member: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / "deep" / name, {member: b"evil"})
    with pytest.raises(InputError, match="a member is refused"):
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


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of a MiB instead of some, so that bombs may be small too."""
    monkeypatch.setattr(module, "_SMALL_BYTES", 1 << 20)
    monkeypatch.setattr(module, "_HEADER_BYTES", 1 << 20)


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, pax: dict[str, str] | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.pax_headers = kind, size, pax or {}
    return info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


def resized(header: bytes, size: int) -> bytes:
    """A tar header that claims another size, in the binary form, which has negative ones."""
    field = (b"\xff" if size < 0 else b"\x80") + (size & ((1 << 88) - 1)).to_bytes(11, "big")
    header = header[:124] + field + header[136:]
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def one_zip(name: str, data: bytes, claimed: int | None = None) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, data)
    found = content.getvalue()
    if claimed is None:
        return found
    return found.replace(struct.pack("<I", len(data)), struct.pack("<I", claimed))


ZEROS = b"\0" * (8 << 20)
END = b"\0" * 1024
BAD = {
    "zip bomb": lambda: (one_zip("a", ZEROS), r"of 8\.\d\d kB unfolds to 8.39 MB .*--max-ratio"),
    "zip that claims 4 GB": lambda: (
        one_zip("a", b"x" * 99, 0xFFFFFFF0),
        "unfolds to 4.29 GB .*expected at most 1.05 MB",
    ),
    "zip that claims too little": lambda: (one_zip("a", b"xyz" * 99, 99), "cannot be read .*CRC"),
    "zip, long name": lambda: (one_zip("d/" + "a" * 300, b""), 'a member is refused: "d/a+….* of 302 characters'),
    "zip, long path": lambda: (one_zip("/".join(["a" * 200] * 20)[1:], b""), "a member is refused"),
    "zip, file as folder": lambda: (one_zip_of("a", "a/b"), "cannot be read"),
    "zip, one name twice": lambda: (one_zip_of("d/a", "b", "d/a"), 'a member is refused: "d/a" is there twice'),
    "zip, nothing": lambda: (one_zip_of(), "holds no file"),
    "zip, terminal codes": lambda: (one_zip("../\x1b[2J", b""), r'a member is refused: "\.\./\\x1b\[2J" points'),
    "zip, line break": lambda: (one_zip("a\nb", b""), "a member is refused: .* a control character or a backslash"),
    "zip, backslash": lambda: (one_zip("a\\b", b""), "a member is refused: .* a control character or a backslash"),
    "tar, escape": lambda: (entry("a\x1b[2J") + END, "a member is refused: .* a control character or a backslash"),
    "tar bomb": lambda: (gzip.compress(entry("a", size=len(ZEROS)) + ZEROS + END), "unfolds to 8.39 MB"),
    "tar that claims much": lambda: (entry("a", size=8 << 30) + b"x" * 999, "unfolds to 8.59 GB"),
    "tar, many zeros in headers": lambda: (
        gzip.compress(entry("a", b"x", len(ZEROS)) + ZEROS + END),
        "a header of 8,388,608 bytes|neither",
    ),
    "tar, one name twice": lambda: (entry("a") + entry("b") + entry("./a") + END, 'refused: "./a" is there twice'),
    "tar, nothing": lambda: (END, "holds no file"),
    "tar, long name": lambda: (entry("a" * 300) + END, "a member is refused"),
    "tar, hard link": lambda: (entry("a", tarfile.LNKTYPE) + END, "a member is refused"),
    "tar, device": lambda: (entry("a", tarfile.CHRTYPE) + END, "a member is refused"),
    "tar, pipe": lambda: (entry("a", tarfile.FIFOTYPE) + END, "a member is refused"),
    "tar, negative": lambda: (entry("b") + resized(entry("a"), -512) + END, "below 0 bytes"),
    "tar, negative header": lambda: (entry("b") + resized(entry("a", b"x"), -512) + END, "a header of|cannot be read"),
    "tar, huge header": lambda: (entry("b") + resized(entry("a", b"L"), 1 << 60) + END, "a header of"),
    "tar, damaged header": lambda: (entry("a") + b"x" * 512 + entry("b") + END, "damaged at byte 512"),
    "tar, cut": lambda: (entry("a", size=4096) + b"x" * 100, "cannot be read"),
    "tar.gz, cut": lambda: (gzip.compress(random.Random(0).randbytes(99999))[:5000], "neither|cannot"),
    "tar.gz, cut within": lambda: (gzip.compress(entry("a", size=512 * 99) + rough(512 * 99))[:9000], "cannot be read"),
    "tar.xz, damaged": lambda: (lzma.compress(entry("a") + END)[:-9], "neither|cannot"),
    "tar.bz2, damaged": lambda: (bz2.compress(entry("a") + END)[:-9] + b"x" * 9, "neither|cannot"),
    "tar.gz, wrong checksum": lambda: (gzip.compress(entry("a") + END)[:-8] + b"x" * 8, "cannot be read"),
    "tar.gz, endless end": lambda: (gzip.compress(entry("a") + ZEROS), "goes on after its end"),
    "empty": lambda: (b"", "it is empty"),
    "zlib": lambda: (zlib.compress(b"x"), "neither"),
}


def rough(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def one_zip_of(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name in names:
            packed.writestr(name, b"x")
    return content.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_archives_end_in_one_line(name: str, tmp_path: Path) -> None:
    make: Callable[[], tuple[bytes, str]] = BAD[name]
    content, message = make()
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        unpack(tmp_path / "a", tmp_path / "out")
    assert str(caught.value).isprintable()
    assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("a", "out")] == []


def test_damaged_archives_never_end_in_a_traceback(tmp_path: Path) -> None:
    members = {"faces/a.jpg": rough(3000), "faces/deep/b.jpg": b"b" * 3000, "readme": b"r"}
    chance = random.Random(0)
    for name in ("a.zip", "a.tar.gz"):
        good = archive(tmp_path / name, members).read_bytes()
        if name.endswith("gz"):
            good = gzip.decompress(good)
        for _ in range(80):
            bad = bytearray(good)
            for _ in range(chance.choice((1, 1, 3, 30))):
                bad[chance.randrange(len(bad))] = chance.randrange(256)
            (tmp_path / "bad").write_bytes(bad[: chance.choice((len(bad), chance.randrange(len(bad))))])
            out = tmp_path / "out"
            try:
                unpack(tmp_path / "bad", out)
            except InputError as error:
                assert str(error).isprintable()
                assert not out.exists() or list(out.iterdir()) == []
            else:
                shutil.rmtree(out)


def test_a_folder_may_be_there_twice(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(entry("d", tarfile.DIRTYPE) + entry("d/a") + entry("d", tarfile.DIRTYPE) + END)
    assert unpack(tmp_path / "a.tar", tmp_path / "out") == [tmp_path / "out/d"]


def test_a_bound_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(one_zip("a", ZEROS))
    unpack(tmp_path / "a.zip", tmp_path / "out", max_ratio=2000)
    assert (tmp_path / "out/a").stat().st_size == len(ZEROS)


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz"])
def test_free_space_and_members(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(tmp_path / name, {"a": b"x" * 999, "b": b"y"})
    with monkeypatch.context() as patch:
        patch.setattr(module, "free_bytes", lambda _: module.RESERVE_BYTES + 998)
        with pytest.raises(InputError, match=r"unfolds to 999 B or more, and 67.1 MB are free; free some") as caught:
            unpack(packed, tmp_path / "out")
        assert not isinstance(caught.value, RefusedFileError)
    monkeypatch.setattr(module, "MAX_MEMBERS", 1)
    with pytest.raises(InputError, match="holds more than 1 files"):
        unpack(packed, tmp_path / "out")


def test_a_tar_is_read_once_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of whole blocks make tarfile step back by a byte, which starts the decompression anew."""
    packed = archive(tmp_path / "a.tar.gz", {f"{number}": rough(16384) for number in range(50)})
    positions: list[int] = []

    class Stream(module._TarStream):
        def read(self, size: int = -1) -> bytes:
            positions.append(self._there)
            return super().read(size)

    monkeypatch.setattr(module, "_TarStream", Stream)
    assert len(unpack(packed, tmp_path / "out")) == 50
    assert positions == sorted(positions)
