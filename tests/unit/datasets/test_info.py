from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface.datasets.formats.registry import detect
from aroface.datasets.info import describe, sheet
from aroface.datasets.manifest import manifest_hash
from aroface.datasets.registry import listing, read_all
from aroface.datasets.synthetic.spec import generated_identity
from aroface.errors import InputError
from repository import REGISTRIES
from small_sets import SPECS, make_sets

FACTS = {
    "training": {"identities": "3", "images": "12", "images of one": "4 to 4, 4.0 on average"},
    "pairs": {"pairs": "12", "genuine": "6", "different images": "24"},
    "tinyface": {"identities": "3", "gallery": "3", "probes": "6", "distractors": "2", "crops": "tinyface/Testing_Set"},
    "ijb": {
        **{"benchmark": "ijbc", "images": "14", "templates": "7", "media": "14", "pairs": "6", "genuine": "3"},
        **{"gallery G1": "1", "gallery G2": "2", "probes": "4"},
    },
    "ijbs": {
        **{"subjects": "11", "enrolled": "3", "faces": "53", "templates": "28"},
        **{"without a face": "0", "files without a subject": "0"},
        **{f"gallery {kind}": "1 + 2" for kind in ("single", "booking", "surveillance")},
        **{f"probes {kind}": "11" for kind in ("single-booking", "surveillance", "uav")},
    },
}
# Rows of the sheet and images in each: people, pairs one above the other, parts of TinyFace, templates, media.
ROWS = {
    "training": [4, 4, 4],
    "pairs": [12, 12],
    "tinyface": [3, 6, 2],
    "ijb": [2, 2, 2, 2, 2, 2],
    "ijbs": [1, 2, 2, 2, 1, 2],
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_sets(tmp_path_factory.mktemp("sets"))


@pytest.mark.parametrize("kind", SPECS)
def test_a_set_is_described(sets: dict[str, Path], kind: str):
    facts = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in describe(sets[kind])}
    manifest = manifest_hash(generated_identity(kind, SPECS[kind], 1))
    assert detect(sets[kind]).kind == kind
    assert facts == {"kind": kind, **FACTS[kind], "manifest": manifest}


@pytest.mark.parametrize("kind", SPECS)
def test_a_sheet_shows_its_images(sets: dict[str, Path], kind: str, tmp_path: Path):
    sheet(sets[kind], tmp_path / "sheet.png")
    drawn = cv2.imread(str(tmp_path / "sheet.png"))
    assert drawn.shape == (114 * len(ROWS[kind]) + 2, 114 * 12 + 2, 3)
    tiles = [
        drawn[114 * row + 2 :, 114 * column + 2 :][:112, :112] for row in range(len(ROWS[kind])) for column in range(12)
    ]
    shown = np.array([tile.std() > 5 for tile in tiles]).reshape(-1, 12)
    assert shown.sum(axis=1).tolist() == ROWS[kind]


@pytest.mark.parametrize(
    ("kind", "file", "place"),
    [
        ("training", "train.rec", r"train\.rec: record 1 \(byte "),
        ("pairs", "", r"\.bin: image 0: "),
        ("tinyface", "**/*.jpg", r"\.jpg: "),
        ("ijb", "loose_crop/*.jpg", r"\.jpg: "),
        ("ijbs", "faces/**/*.jpg", r"\.jpg: "),
    ],
)
def test_a_damaged_image_of_a_sheet_is_named(tmp_path: Path, kind: str, file: str, place: str):
    data = make_sets(tmp_path)[kind]
    frame = b"\xff\xc0\x00\x11\x08"
    for path in data.glob(file) if file else [data]:
        path.write_bytes(re.sub(re.escape(frame) + b"..", frame + b"\xff\xdc", path.read_bytes(), flags=re.DOTALL))
    with pytest.raises(InputError, match=rf"^{re.escape(str(data.parent))}.*{place}.*(pixels|decode|read)"):
        sheet(data, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_what_is_no_set_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r": no data set; expected a \.bin file of pairs, a TinyFace tree, "):
        describe(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        describe(tmp_path / "nowhere")


def test_the_sets_of_the_paper_are_listed(tmp_path: Path):
    (tmp_path / "faces_emore").mkdir()
    (tmp_path / "faces_emore" / "lfw.bin").touch()
    lines = {line.split()[0]: line for line in listing(tmp_path, REGISTRIES)}
    assert len(lines) == len(read_all(REGISTRIES))
    assert lines["lfw"].endswith("  there")
    assert "85,742 identities, 5,822,653 images" in lines["ms1mv2"]
    assert lines["ms1mv2"].endswith(
        f"not in {tmp_path}: faces_emore/ (train.rec, train.idx, property); aroface data fetch ms1mv2"
    )
    assert lines["webface4m"].endswith(
        "WebFace4M/ (train.rec, train.idx); see https://www.face-benchmark.org/download.html, then aroface data prepare"
    )
