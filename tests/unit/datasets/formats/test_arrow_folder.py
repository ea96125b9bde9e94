"""CVLface's evaluation toolkit, in folders that `datasets` and PyTorch wrote (tests/foreign)."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
import torch

from aroface.cli.main import main
from aroface.datasets.formats.arrow_folder import ArrowFolder, read_metadata
from aroface.datasets.formats.arrow_ijb import read_aligned_ijb
from aroface.datasets.formats.arrow_tinyface import read_aligned_tinyface
from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.formats.registry import detect
from aroface.datasets.identity import data_identity
from aroface.datasets.images import decode
from aroface.embedding.ijb import open_source as open_ijb
from aroface.embedding.pairs import open_source as open_pairs
from aroface.embedding.tinyface import open_source as open_tinyface
from aroface.errors import InputError
from repository import ROOT

OPTIONS = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point"}
ROWS = {"lfw": 24, "IJBB_gt_aligned": 16, "tinyface_aligned_pad_0.1": 14}
KINDS = {"lfw": "pairs", "IJBB_gt_aligned": "ijb", "tinyface_aligned_pad_0.1": "tinyface"}


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    with tarfile.open(ROOT / "tests/foreign/cvlface_toolkit.tar.xz") as packed:
        packed.extractall(tmp_path / "facerec_val", filter="data")
    return tmp_path / "facerec_val"


@pytest.mark.parametrize("name", ROWS)
def test_a_folder_is_recognised_described_drawn_and_verified(toolkit: Path, name: str, capsys, tmp_path: Path):
    assert detect(toolkit / name).kind == KINDS[name]
    assert main(["data", "info", str(toolkit / name), "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert "Arrow, as CVLface's toolkit has it" in capsys.readouterr().out
    manifest = tmp_path / "verified.json"
    assert main(["data", "verify", str(toolkit / name), "--manifest", str(manifest), "--threads", "1"]) == 0
    assert f"images       ok: all {ROWS[name]} can be used" in capsys.readouterr().out
    written = json.loads(manifest.read_text())
    assert written["kind"] == KINDS[name]
    assert written["identity"] == data_identity(toolkit / name)


def test_pairs_are_read_in_the_order_of_the_index(toolkit: Path):
    rows, pairs = ArrowFolder(toolkit / "lfw"), read_pairs(toolkit / "lfw")
    assert pairs.same.tolist() == [number % 2 == 0 for number in range(12)]
    assert pairs.images == [rows.image(row) for row in range(24)]
    source = open_pairs(toolkit / "lfw", OPTIONS, 112)
    assert source.rows == 24
    assert np.array_equal(source.images(3, 4)[0], decode(pairs.images[3]))


def test_templates_are_those_of_the_metadata(toolkit: Path):
    folder = toolkit / "IJBB_gt_aligned"
    found = read_aligned_ijb(folder)
    assert found.templates.tolist() == np.repeat(np.arange(100, 108), 2).tolist()
    assert found.media.tolist() == (np.arange(16) // 2 + 7).tolist()
    assert found.pairs.shape == (28, 2)
    assert found.same.sum() == 4
    source = open_ijb(folder, {**OPTIONS, "alignment": "gt_aligned"}, 112)
    assert source.rows == 16
    assert source.arrays["detector_scores"] == pytest.approx(np.linspace(0.5, 0.9, 16))
    assert np.array_equal(source.images(5, 6)[0], decode(found.rows.image(5)))
    with pytest.raises(InputError, match=r"holds aligned faces.*expected alignment 'five_point'.*name gt_aligned"):
        open_ijb(folder, OPTIONS, 112)


def test_tinyface_is_found_by_the_names_of_the_lists(toolkit: Path):
    folder = toolkit / "tinyface_aligned_pad_0.1"
    found = read_aligned_tinyface(folder)
    assert found.gallery_labels.tolist() == [1, 1, 2, 2, 3, 3]
    assert found.probe_labels.tolist() == [1, 2, 3]
    assert [found.gallery.tolist(), found.probes.tolist()] == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    source = open_tinyface(folder, {**OPTIONS, "alignment": folder.name}, 112)
    assert source.rows == 14
    assert source.arrays["gallery_labels"].tolist() == [1, 1, 2, 2, 3, 3, *[-100] * 5]
    assert np.array_equal(source.images(1, 2)[0], decode(found.rows.image(7)))
    with pytest.raises(InputError, match=r"the crops are those of the folder tinyface_aligned_pad_0\.1"):
        open_tinyface(folder, {**OPTIONS, "alignment": "aligned_pad_0.1_pad_high"}, 112)


@pytest.mark.parametrize("as_tensors", [True, False])
def test_metadata_may_hold_tensors_arrays_or_lists(toolkit: Path, as_tensors: bool):
    folder = toolkit / "IJBB_gt_aligned"
    before = read_aligned_ijb(folder)
    content = torch.load(folder / "metadata.pt", weights_only=False)
    turned = {name: torch.as_tensor(value) if as_tensors else value.tolist() for name, value in content.items()}
    torch.save(turned, folder / "metadata.pt")
    after = read_aligned_ijb(folder)
    assert np.array_equal(after.pairs, before.pairs)
    assert np.array_equal(after.scores, before.scores)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


def test_nothing_in_the_metadata_is_executed(toolkit: Path):
    folder = toolkit / "IJBB_gt_aligned"
    torch.save({"templates": Bomb()}, folder / "metadata.pt")
    with pytest.raises(InputError, match=r"metadata\.pt: cannot be read .*expected lists, arrays and tensors"):
        read_metadata(folder, ["templates"])


def test_what_the_metadata_lack_or_mistake_is_named(toolkit: Path):
    folder = toolkit / "IJBB_gt_aligned"
    content = torch.load(folder / "metadata.pt", weights_only=False)
    wrong = [
        ({name: value for name, value in content.items() if name != "p2"}, r"metadata\.pt: lacks p2"),
        ({**content, "templates": content["templates"][:-1]}, "15 templates; expected 16, one an image"),
        ({**content, "label": content["label"] + 1}, "the label is 2; expected 0 or 1"),
        ({**content, "p1": content["p1"] + 50}, "pair 0: a template has no image"),
        ({**content, "medias": ["a"] * 16}, "medias is no list of numbers"),
        ([1, 2], "holds a list; expected a dict"),
    ]
    for written, message in wrong:
        torch.save(written, folder / "metadata.pt")
        with pytest.raises(InputError, match=message):
            read_aligned_ijb(folder)


def rewrite(folder: Path, **columns: list) -> None:
    """The same folder with other columns, in one batch."""
    path = folder / "data-00000-of-00001.arrow"
    with arrow.memory_map(str(path)) as source:
        table = arrow.ipc.open_stream(source).read_all()
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, arrow.array(values, type=table.schema.field(name).type))
    rows = table.to_pylist()
    fresh = arrow.Table.from_pylist(rows, schema=table.schema.remove_metadata())
    with arrow.OSFile(str(path), "wb") as sink, arrow.ipc.new_stream(sink, fresh.schema) as writer:
        writer.write_table(fresh)


def test_rows_that_cannot_be_right_are_named(toolkit: Path):
    rewrite(toolkit / "lfw", index=[0] * 24)
    with pytest.raises(InputError, match="the column index does not number the rows; expected each number from 0"):
        read_pairs(toolkit / "lfw")
    rewrite(toolkit / "lfw", index=list(range(24)), is_same=[True, False] * 12)
    with pytest.raises(InputError, match="rows 0 and 1: is_same differs within a pair"):
        read_pairs(toolkit / "lfw")
    rewrite(toolkit / "lfw", is_same=[True] * 24, image=[{"bytes": None, "path": "x.jpg"}] * 24)
    with pytest.raises(InputError, match="row 0: no image in it"):
        read_pairs(toolkit / "lfw")


def test_texts_are_no_images(toolkit: Path):
    path = toolkit / "lfw" / "data-00000-of-00001.arrow"
    table = arrow.table({"image": [{"bytes": "x"}] * 2, "index": [0, 1], "is_same": [True, True]})
    with arrow.OSFile(str(path), "wb") as sink, arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="no column image of encoded images"):
        read_pairs(toolkit / "lfw")


@pytest.mark.parametrize("cut", [0, 9, 200, 20000])
def test_a_cut_file_ends_in_one_line(toolkit: Path, cut: int):
    path = toolkit / "lfw" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"data-00000-of-00001\.arrow: cannot be read|lfw: no rows"):
        read_pairs(toolkit / "lfw")


def test_flipped_bytes_end_in_one_line_or_in_an_image(toolkit: Path):
    path = toolkit / "lfw" / "data-00000-of-00001.arrow"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 30).tolist():
            damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            read_pairs(toolkit / "lfw")
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("state", ["{}", "[]", "{", '{"_data_files": [{"filename": "../x"}]}'])
def test_a_malformed_description_is_named(toolkit: Path, state: str):
    (toolkit / "lfw" / "state.json").write_text(state)
    with pytest.raises(InputError, match=r"state\.json: names no Arrow files; expected a folder that datasets"):
        read_pairs(toolkit / "lfw")


def test_a_selection_of_rows_is_refused(toolkit: Path):
    path = toolkit / "lfw" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_indices_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(InputError, match=r"the rows are a selection .*flatten_indices"):
        read_pairs(toolkit / "lfw")
