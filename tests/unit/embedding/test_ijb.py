from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.unit.faces.test_geometry import umeyama

from aroface.datasets.formats.ijb import read_ijb
from aroface.datasets.images import read_image
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embed import embed_benchmark
from aroface.embedding.embedder import load_embedder
from aroface.embedding.feature_store import open_features
from aroface.embedding.ijb import open_source
from aroface.errors import InputError
from aroface.evaluation.evaluate import evaluate
from aroface.faces.geometry import TEMPLATE
from aroface.files import read_json
from aroface.planning.plan import make_plan
from aroface.schemas import validate
from embedding_runs import DIMENSION, make_run
from generated_sets import generate_ijb

OPTIONS = {
    "color": "RGB",
    "flip": True,
    "fusion": "sum",
    "alignment": "rendered",
    "norm_weighting": True,
    "detector_weighting": True,
}
SPEC = {"identities": 6, "templates_per_identity": 3, "images_per_template": [1, 3], "pairs": 36, "distractors": 4}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), seed=0)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("ijb") / "ijb"
    generate_ijb({**SPEC, "alignment": {"model": "scrfd", "tail": 3}}, 1, out, workers=1)
    return out


@pytest.fixture(scope="module")
def features_dir(run_dir, tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    embed_benchmark(run_dir, spec_of(tree), folder, device="cpu", batch_size=16)
    return folder


def spec_of(path, **options):
    return {"name": "ijbc", "protocol": "ijb", "path": str(path), "options": {**OPTIONS, **options}}


@pytest.mark.parametrize("size", [112, 56])
def test_images_are_the_crops_that_opencv_aligns(tree, size):
    faces = read_ijb(tree).faces
    source = open_source(tree, OPTIONS, size)
    assert source.rows == len(faces)
    found = source.images(3, 9)
    assert found.shape == (6, size, size, 3)
    for image, row in zip(found, range(3, 9), strict=True):
        matrix = umeyama(faces.landmarks[row].astype(float), TEMPLATE.astype(float) * size / 112)
        expected = cv2.warpAffine(read_image(faces.path(row)), matrix, (size, size), borderValue=0.0)
        assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_loose_crops_are_turned_as_the_released_script_turns_them(tree, tmp_path, orientation):
    shutil.copytree(tree, tmp_path / "tree")
    faces = read_ijb(tmp_path / "tree").faces
    tag = Image.Exif()
    if orientation is not None:
        tag[0x0112] = orientation
    Image.open(faces.path(3)).save(faces.path(3), quality=98, exif=tag.tobytes())
    matrix = umeyama(faces.landmarks[3].astype(float), TEMPLATE.astype(float))
    seen = cv2.imread(str(faces.path(3)), cv2.IMREAD_COLOR_RGB)
    expected = cv2.warpAffine(seen, matrix, (112, 112), borderValue=0.0)
    found = open_source(tmp_path / "tree", OPTIONS, 112).images(3, 4)[0]
    assert np.array_equal(found, faces.crop(3))
    assert np.abs(found.astype(int) - expected).mean() < 1
    if orientation in (None, 1):
        as_stored = cv2.warpAffine(read_image(faces.path(3)), matrix, (112, 112), borderValue=0.0)
        assert np.abs(found.astype(int) - as_stored).max() <= 1


def test_features_keep_their_length_and_the_lists_lie_beside_them(features_dir, run_dir, tree):
    found, features = read_ijb(tree), open_features(features_dir)
    expected = load_embedder(run_dir, "cpu").embed(open_source(tree, OPTIONS, 112).images(0, len(found.faces)))
    assert features.values.shape == (len(found.faces), DIMENSION)
    np.testing.assert_allclose(features.values, expected, rtol=1e-4, atol=1e-4)
    arrays = features.arrays
    np.testing.assert_array_equal(arrays["templates"], found.faces.templates)
    np.testing.assert_array_equal(arrays["media"], found.faces.media)
    np.testing.assert_array_equal(arrays["detector_scores"], found.faces.scores)
    np.testing.assert_array_equal(arrays["pairs"], found.pairs)
    np.testing.assert_array_equal(arrays["same"], found.same)
    assert arrays["pairs"].dtype == np.int32
    assert features.index["layout"] == {
        "galleries": ["G1", "G2"],
        "alignment": {"landmarks": "ijbc_name_5pts_score.txt"},
    }
    for name, table in (*found.search.galleries.items(), ("probes", found.search.probes)):
        stored = arrays[name if name == "probes" else f"gallery_{name}"]
        np.testing.assert_array_equal(stored, np.stack([table.ids, table.subjects], axis=1))


def test_a_generated_tree_becomes_a_record(features_dir):
    record = evaluate(features_dir)
    validate(record, "record")
    assert record["protocol"] == {"name": "ijb", "version": 3, "options": OPTIONS}
    fars = [f"1e-{power}" for power in range(1, 7)]
    assert record["metrics"].keys() == {
        *(f"{kind}_at_far_{far}" for kind in ("tar", "tar_strict") for far in fars),
        "rank1", "rank5", "rank10",
        *(f"tpir_{kind}_at_fpir_{fpir}" for kind in ("legacy", "standard") for fpir in ("1e-1", "1e-2")),
    }  # fmt: skip
    for name, value in record["metrics"].items():
        if name in record["intervals"]:
            low, high = record["intervals"][name]
            assert 0 <= low <= value <= high <= 1
    curves = record["curves"]
    for name, far in (("1e-1", 0.1), ("1e-2", 0.01)):  # of 18 impostors
        below = [
            tar for limit, tar in zip(curves["tar_far"]["far"], curves["tar_far"]["tar"], strict=True) if limit <= far
        ]
        assert not below or below[-1] == record["metrics"][f"tar_strict_at_far_{name}"]
    at = curves["tpir_fpir"]["fpir"].index(1.0)
    assert curves["tpir_fpir"]["tpir"][at] >= record["metrics"]["tpir_standard_at_fpir_1e-1"]
    counts = record["counts"]
    assert (counts["templates"], counts["pairs"], counts["genuine"]) == (22, 36, 18)
    assert counts["probes_with_mate"] == 12 and counts["probes"] == 16
    assert counts["gallery_G1"] + counts["gallery_G2"] == 6


def test_weighting_is_decided_by_options_and_costs_no_embedding(features_dir, run_dir, tree, tmp_path, monkeypatch):
    folder = shutil.copytree(features_dir, tmp_path / "features")
    before = evaluate(folder)
    monkeypatch.setattr("aroface.embedding.embedder.Embedder.embed", None)
    changed = spec_of(tree, norm_weighting=False, detector_weighting=False)
    index = read_json(embed_benchmark(run_dir, changed, folder, device="cpu"))
    assert index["protocol"]["options"]["detector_weighting"] is False
    after = evaluate(folder)
    assert after["protocol"]["options"]["norm_weighting"] is False
    assert after["metrics"] != before["metrics"]


def test_a_tree_without_lists_of_the_search_has_pairs_only(run_dir, tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "ijb")
    for path in (copy / "meta").glob("*1N*"):
        path.unlink()
    (copy / "manifest.json").unlink()
    embed_benchmark(run_dir, spec_of(copy), tmp_path / "features", device="cpu")
    record = evaluate(tmp_path / "features")
    assert all(name.startswith("tar") for name in record["metrics"])
    assert "probes" not in record["counts"]


def test_missing_images_and_useless_landmarks_are_named(tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "ijb")
    (copy / "loose_crop/2.jpg").unlink()
    points = copy / "meta/ijbc_name_5pts_score.txt"
    lines = points.read_text().splitlines()
    lines[4] = "5.jpg " + "7 7 " * 5 + "1"
    points.write_text("\n".join(lines) + "\n")
    source = open_source(copy, OPTIONS, 112)
    with pytest.raises(InputError, match=r"loose_crop/2.jpg: no such file"):
        source.images(0, 4)
    with pytest.raises(InputError, match=r"loose_crop/5.jpg: landmarks are not finite or all coincide"):
        source.images(3, 7)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_to_be_said(option):
    options = {name: value for name, value in OPTIONS.items() if name != option}
    with pytest.raises(InputError, match=f"options: '{option}' is a required property"):
        resolve({**spec_of("ijb"), "options": options})


def test_another_alignment_is_refused():
    assert resolve(spec_of("ijb", alignment="five_point"))["options"]["alignment"] == "five_point"
    with pytest.raises(InputError, match=r"options\.alignment: 'retinaface' does not match"):
        resolve(spec_of("ijb", alignment="retinaface"))


@pytest.mark.parametrize(("protocol", "kind"), [("pairs", "media"), ("sensitivity", "search"), ("ijb", "clean")])
def test_a_protocol_on_data_of_another_kind_is_refused(tmp_path, protocol, kind):
    sweep = {"qualities": ["hq"], "scale": [], "degrees": [], "shift": [], "joint": [], "metric": ["auc"]}
    weighting = {"norm_weighting": True, "detector_weighting": True}
    options = {"sensitivity": sweep, "ijb": weighting}.get(protocol, {})
    changes = {"benchmarks": [{"name": "odd", "protocol": protocol, "data": kind, "options": options}], "figures": []}
    found = {"media": "ijb", "search": "tinyface", "clean": "pairs"}[kind]
    with pytest.raises(InputError, match=f"benchmarks.0: protocol {protocol} on {found}"):
        make_plan([Path("workflow/configs/tiny.yaml")], changes)


def test_the_option_chooses_the_list_of_landmarks(tree: Path, tmp_path: Path):
    tree = shutil.copytree(tree, tmp_path / "ijb")
    (meta,) = tree.glob("meta/ijb?_name_5pts_score.txt")
    lines = [line.split() for line in meta.read_text().splitlines()]
    moved = [[name, *(str(float(value) + 9) for value in values[:10]), values[10]] for name, *values in lines]
    meta.with_name(f"{meta.stem}_retina.txt").write_text("".join(f"{' '.join(each)}\n" for each in moved))
    options = {"color": "RGB", "flip": False, "fusion": "sum", "alignment": "five_point"}
    first = open_source(tree, options, 112)
    other = open_source(tree, {**options, "landmarks": "name_5pts_score_retina"}, 112)
    assert other.layout["alignment"]["landmarks"] == f"{meta.stem}_retina.txt"
    assert not np.array_equal(first.images(0, 1), other.images(0, 1))
    with pytest.raises(InputError, match=r"holds loose crops with landmarks; expected alignment 'gt_aligned'"):
        open_source(tree, {**options, "alignment": "gt_aligned"}, 112)
