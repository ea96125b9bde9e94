from __future__ import annotations

from pathlib import Path

import pytest
import scipy.io

from aroface.datasets.formats import tinyface
from aroface.datasets.formats.matlab import write_strings
from aroface.datasets.formats.tinyface import read_tinyface, write_tinyface
from aroface.errors import InputError

GALLERY = [(4, b"gallery 0"), (4, b"gallery 1"), (11, b"gallery 2")]
PROBES = [(11, b"probe 0"), (4, b"probe 1")]
DISTRACTORS = [b"distractor %d" % number for number in range(12)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    assert write_tinyface(tmp_path, GALLERY, PROBES, DISTRACTORS) == {"gallery": 3, "probes": 2, "distractors": 12}
    return tmp_path


def contents(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def test_what_is_written_is_read(tree: Path):
    found = read_tinyface(tree)
    assert list(zip(found.gallery_labels, contents(found.gallery), strict=True)) == GALLERY
    assert list(zip(found.probe_labels, contents(found.probes), strict=True)) == PROBES
    assert sorted(contents(found.distractors)) == sorted(DISTRACTORS)
    assert found.crops == "tinyface/Testing_Set"


def test_the_lists_have_the_form_that_adaface_reads(tree: Path):
    gallery = scipy.io.loadmat(tree / tinyface.GALLERY_LIST)["gallery_set"]
    probes = scipy.io.loadmat(tree / tinyface.PROBE_LIST)["probe_set"]
    assert [path[0].item() for path in gallery] == ["4_1.jpg", "4_2.jpg", "11_3.jpg"]
    assert [path[0].item() for path in probes] == ["11_1.jpg", "4_2.jpg"]


def test_two_trees_of_the_same_images_are_equal(tree: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("other")
    write_tinyface(other, GALLERY, PROBES, DISTRACTORS)
    for name in (tinyface.GALLERY_LIST, tinyface.PROBE_LIST):
        assert (other / name).read_bytes() == (tree / name).read_bytes()


def test_aligned_crops_are_preferred(tree: Path):
    (tree / "tinyface/Testing_Set").rename(tree / "aligned_pad_0.1_pad_high")
    (tree / "tinyface/Testing_Set").mkdir()
    for name in (tinyface.GALLERY_LIST, tinyface.PROBE_LIST):
        (tree / "aligned_pad_0.1_pad_high" / Path(name).name).rename(tree / name)
    found = read_tinyface(tree)
    assert found.crops == "aligned_pad_0.1_pad_high"
    assert contents(found.probes) == [data for _, data in PROBES]


@pytest.mark.parametrize(
    "name", [tinyface.GALLERY_LIST, tinyface.PROBE_LIST, "tinyface/Testing_Set/Gallery_Distractor"]
)
def test_a_missing_part_is_named(tree: Path, name: str):
    (tree / name).rename(tree / "elsewhere")
    with pytest.raises(InputError, match=rf"{name}: no such (file|folder)"):
        read_tinyface(tree)


def test_a_listed_image_that_is_missing_is_named(tree: Path):
    (tree / "tinyface/Testing_Set/Probe/4_2.jpg").unlink()
    with pytest.raises(InputError, match=r"probe_img_ID_pairs\.mat: row 2: no such image; expected .*Probe/4_2\.jpg"):
        read_tinyface(tree)


def test_a_probe_without_a_mate_is_named(tmp_path: Path):
    write_tinyface(tmp_path, GALLERY[:2], PROBES, [])
    with pytest.raises(InputError, match=r"11_1\.jpg: the probe's identity 11 has no image in the gallery"):
        read_tinyface(tmp_path)


def test_a_name_without_an_identity_is_refused(tree: Path):
    gallery = tree / "tinyface/Testing_Set/Gallery_Match"
    (gallery / "4_1.jpg").rename(gallery / "somebody.jpg")
    (tree / tinyface.GALLERY_LIST).write_bytes(write_strings("gallery_set", ["somebody.jpg", "4_2.jpg"]))
    with pytest.raises(InputError, match=r"somebody\.jpg: the file name has no identity"):
        read_tinyface(tree)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no MATLAB file"),
        (write_strings("probe_set", []), "the list is empty"),
        (write_strings("something", ["4_1.jpg"]), "no variable probe_set"),
    ],
)
def test_a_list_that_is_none_is_named(tree: Path, data: bytes, message: str):
    (tree / tinyface.PROBE_LIST).write_bytes(data)
    expected = "expected a MATLAB file with a column of file names in probe_set"
    with pytest.raises(InputError, match=rf"probe_img_ID_pairs\.mat: {message}.*{expected}"):
        read_tinyface(tree)
