"""A data-set format and a protocol are added by one module and one line in each registry."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface import result_versions
from aroface.cli.main import main
from aroface.datasets.formats.registry import FORMATS, detect
from aroface.datasets.identity import data_identity
from aroface.datasets.images import encode_jpeg
from aroface.datasets.synthetic.generate import _GENERATORS
from aroface.datasets.synthetic.spec import DEFAULTS
from aroface.embedding.protocols import PROTOCOLS as EMBEDDED
from aroface.evaluation.protocols.registry import PROTOCOLS as EVALUATED
from embedding_runs import make_run
from made_up_format import EMBEDDING, EVALUATION, LIST, AlbumFormat


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Six images, two of each person, the second one slightly darker."""
    folder = tmp_path / "faces"
    folder.mkdir()
    lines = []
    for number in range(6):
        rng = np.random.default_rng(number // 2)
        small = rng.integers(20, 256, (6, 6, 3), dtype=np.uint8) - np.uint8(10 * (number % 2))
        image = cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(image, 95))
        lines.append(f"{number}.jpg person{number // 2}\n")
    (folder / LIST).write_text("".join(lines))
    return folder


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "album", AlbumFormat())
    monkeypatch.setitem(EMBEDDED, "album", EMBEDDING)
    monkeypatch.setitem(EVALUATED, "album", EVALUATION)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_a_format_that_is_not_registered_is_no_set(album: Path, capsys: pytest.CaptureFixture[str]):
    assert run("data", "info", album) == 2
    assert f"{album}: no data set; expected a .bin file of pairs, " in capsys.readouterr().err


@pytest.mark.usefixtures("registered")
def test_a_new_format_is_described_drawn_and_verified(album, tmp_path, capsys):
    assert run("data", "info", album, "--sheet", tmp_path / "sheet.png") == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["kind    album", "images  6", "people  3"]
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (114 + 2, 114 * 12 + 2, 3)
    manifest = tmp_path / "verified.json"
    assert run("data", "verify", album, "--manifest", manifest, "--threads", 1) == 0
    assert "images       ok: all 6 can be used" in capsys.readouterr().out
    written = json.loads(manifest.read_text())
    assert written["kind"] == "album"
    assert written["counts"] == {"images": 6}
    assert written["identity"] == data_identity(album)
    assert sorted(written["files"]) == sorted(written["identity"]["files"]) == [*(f"{n}.jpg" for n in range(6)), LIST]


@pytest.mark.usefixtures("registered")
def test_a_damaged_image_of_a_new_format_fails_its_verification(album, tmp_path, capsys):
    (album / "3.jpg").write_bytes(b"no image")
    words = ["data", "verify", album, "--manifest", tmp_path / "verified.json", "--threads", 1]
    assert run(*words, "--max-corrupt-fraction", 0.5) == 2  # which is for training sets
    line = capsys.readouterr().err
    assert f"{album}: images: 1 of 6 cannot be used: {album / '3.jpg'}: cannot be read as an image" in line
    assert "--max-corrupt-fraction" not in line


@pytest.mark.usefixtures("registered")
def test_a_new_protocol_is_embedded_evaluated_and_compared(album, tmp_path, capsys):
    options = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "as_stored"}
    spec = {"name": "holidays", "protocol": "album", "path": str(album), "options": options}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    features = [tmp_path / f"features{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(features):
        run_dir = make_run(tmp_path / f"run{seed}", seed)
        words = ["--run-dir", run_dir, "--benchmark", tmp_path / "spec.json", "--out", folder]
        assert run("embed", *words) == 0
    assert run("evaluate", "--features", features[0], "--out", tmp_path / "record.json") == 0
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["protocol"] == {"name": "album", "version": 1, "options": options}
    assert record["metrics"] == {"nearest": 1.0}
    assert record["counts"] == {"images": 6}
    assert run("compare-runs", "--features", *features) == 0
    assert "nearest" in capsys.readouterr().out


def test_an_unknown_protocol_is_named(tmp_path, capsys):
    options = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "as_stored"}
    spec = {"name": "holidays", "protocol": "album", "path": "faces", "options": options}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    words = ["--benchmark", tmp_path / "spec.json", "--out", tmp_path / "features"]
    assert run("embed", "--run-dir", make_run(tmp_path / "run", 0), *words) == 2
    line = "protocol: unknown protocol 'album'; expected one of ijb, ijbs, pairs, sensitivity, tinyface"
    assert line in capsys.readouterr().err


def test_the_registries_fit_together():
    assert EMBEDDED.keys() == EVALUATED.keys() == result_versions.PROTOCOLS.keys()
    assert {protocol.set_kind for protocol in EMBEDDED.values()} == FORMATS.keys() - {"training"}
    assert _GENERATORS.keys() == DEFAULTS.keys() == FORMATS.keys()
    assert len({one.default_name for one in FORMATS.values()}) == len(FORMATS)


def test_no_format_takes_a_folder_that_is_being_made(tmp_path: Path):
    (tmp_path / "train").mkdir()
    for one in FORMATS.values():
        assert not one.matches(tmp_path / "train")
        assert not one.matches(tmp_path / "absent")
    (tmp_path / "absent.bin").touch()
    assert detect(tmp_path / "absent.bin").kind == "pairs"
