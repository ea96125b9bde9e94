"""TinyFace's crops in folders of any name, and the identities of the lists."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from aroface.datasets.formats.registry import FORMATS, detect
from aroface.datasets.formats.tinyface import GALLERY_LIST, PROBE_LIST, RELEASED_CROPS, read_tinyface, write_tinyface
from aroface.datasets.formats.tinyface_crops import find_lists, read_folder
from aroface.datasets.identity import data_identity
from aroface.datasets.images import encode_jpeg
from aroface.datasets.registry import Benchmark, read_benchmarks
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.tinyface import PROTOCOL, open_source
from aroface.errors import InputError

NAME = "tinyface_aligned_112"
OPTIONS = {"color": "RGB", "flip": True, "fusion": "sum"}


def jpeg(seed: int) -> bytes:
    return encode_jpeg(np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8), 90)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with the released crops, and aligned ones in a folder of another name."""
    write_tinyface(tmp_path, [(4, jpeg(0)), (4, jpeg(1)), (11, jpeg(2))], [(11, jpeg(3)), (4, jpeg(4))], [jpeg(5)])
    for part in ("Gallery_Match", "Probe", "Gallery_Distractor"):
        shutil.copytree(tmp_path / RELEASED_CROPS / part, tmp_path / NAME / part)
    (tmp_path / NAME / "Gallery_Match" / "99_1.jpg").write_bytes(jpeg(6))
    return tmp_path


def test_the_lists_of_the_tree_choose_the_images(tree: Path):
    assert detect(tree / NAME).kind == "tinyface"
    found = read_folder(tree / NAME)
    assert found.gallery_labels.tolist() == [4, 4, 11]
    assert found.crops == NAME
    assert find_lists(tree / NAME) == (tree / GALLERY_LIST, tree / PROBE_LIST)


def test_without_lists_all_images_count(tree: Path, tmp_path_factory):
    alone = shutil.copytree(tree / NAME, tmp_path_factory.mktemp("alone") / NAME)
    found = read_folder(alone)
    assert sorted(found.gallery_labels.tolist()) == [4, 4, 11, 99]
    assert sorted(found.probe_labels.tolist()) == [4, 11]
    facts = detect(alone).facts(alone)
    assert facts["lists"] == "none: all images of the folders"


def test_the_alignment_is_declared(tree: Path):
    for words in (NAME, "mtcnn, as PETALface has it"):
        assert open_source(tree / NAME, {**OPTIONS, "alignment": words}, 112).rows == 6
    with pytest.raises(InputError, match=rf"the crops are those of the folder {NAME}; .*such as alignment: {NAME}"):
        open_source(tree / NAME, {**OPTIONS, "alignment": "aligned_pad_0.1_pad_high"}, 112)


def test_an_alignment_that_names_the_folder_chooses_it(tree: Path):
    spec = {"name": "t", "protocol": "tinyface", "path": str(tree), "options": {**OPTIONS, "alignment": NAME}}
    assert resolve(spec)["path"] == str(tree / NAME)
    assert FORMATS["tinyface"].chosen(tree, spec["options"]) == tree / NAME
    for other in ("none", "aligned_pad_0.1_pad_high", ".", "..", "a/b"):
        assert FORMATS["tinyface"].chosen(tree, {"alignment": other}) == tree
    with pytest.raises(InputError, match=r"the crops are a set of their own; give tinyface_aligned_112 with"):
        PROTOCOL.check_options(tree, spec["options"])


def test_the_identity_is_of_these_crops_and_the_tree_keeps_its_own(tree: Path, tmp_path_factory):
    mine = data_identity(tree / NAME)
    assert sorted(mine["files"]) == sorted(
        [GALLERY_LIST, PROBE_LIST, *(f"{NAME}/{part}" for part in ("Gallery_Match", "Probe", "Gallery_Distractor"))]
    )
    bare = tmp_path_factory.mktemp("bare") / "tree"
    shutil.copytree(tree, bare, ignore=shutil.ignore_patterns(NAME))
    assert data_identity(tree) == data_identity(bare)
    link = tmp_path_factory.mktemp("link") / NAME
    link.symlink_to(tree / NAME)
    assert data_identity(link) == mine


def lists(tree: Path, gallery: list, probes: list) -> None:
    """The lists as MATLAB has them, with identities."""
    for name, part, numbers in ((GALLERY_LIST, "gallery", gallery), (PROBE_LIST, "probe", probes)):
        old = scipy.io.loadmat(tree / name)[f"{part}_set"]
        scipy.io.savemat(tree / name, {f"{part}_set": old, f"{part}_ids": np.array(numbers)[:, None]})


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.uint16, np.uint8])
def test_identities_come_from_the_lists_where_they_have_them(tree: Path, kind):
    lists(tree, [kind(7), kind(7), kind(8)], [kind(8), kind(7)])
    found = read_tinyface(tree)
    assert found.gallery_labels.tolist() == [7, 7, 8]
    assert found.probe_labels.tolist() == [8, 7]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([7, 7], "2 numbers in gallery_ids; expected 3, one a name"),
        ([7, 7, -1], "gallery_ids holds -1; expected a column of whole numbers above or equal to 0"),
        ([7, 7, 8.5], "gallery_ids holds what is no whole number"),
        ([7, 7, float("nan")], "gallery_ids is no column of numbers"),
    ],
)
def test_identities_that_cannot_be_right_are_named(tree: Path, numbers, message):
    lists(tree, numbers, [7, 7])
    with pytest.raises(InputError, match=rf"gallery_match_img_ID_pairs\.mat: {message}"):
        read_tinyface(tree)


def test_names_tell_identities_where_the_lists_have_no_numbers(tree: Path):
    for name, part in ((GALLERY_LIST, "gallery"), (PROBE_LIST, "probe")):
        old = scipy.io.loadmat(tree / name)[f"{part}_set"]
        scipy.io.savemat(tree / name, {f"{part}_set": old, f"{part}_ids": old})
    assert read_tinyface(tree).gallery_labels.tolist() == [4, 4, 11]


def test_registered_benchmarks_name_their_provider():
    found = read_benchmarks("workflow/registries/benchmarks.yaml")
    assert all(isinstance(each, Benchmark) for each in found.values())
    for each in found.values():
        assert not each.downloads or each.provider == "InsightFace", each.key
        assert "drive.google" not in each.request and "drive.google" not in each.listed_as
    assert {found[name].ended for name in ("ijbb", "ijbc")} == {"2023-03-14"}
    assert found["ijbs"].counts == {"videos": 398, "sightings": 3852, "gallery_videos": 202, "probe_videos": 376}
    for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw"):
        (download,) = found[name].downloads
        assert (download.file, download.unpack) == (f"faces_emore/{name}.bin", False)
