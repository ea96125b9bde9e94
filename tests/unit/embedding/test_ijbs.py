from __future__ import annotations

import shutil

import numpy as np
import pytest
from tests.unit.planning.test_config import Folder

from aroface.datasets.formats.ijbs import FACES, read_ijbs
from aroface.datasets.images import read_image
from aroface.datasets.preparation.align import align_tree
from aroface.embedding.embed import embed_benchmark
from aroface.embedding.embedder import load_embedder
from aroface.embedding.feature_store import open_features
from aroface.embedding.ijbs import open_source
from aroface.errors import InputError
from aroface.evaluation.evaluate import evaluate
from aroface.evaluation.protocols.ijbs import SEARCHES
from aroface.schemas import validate
from embedding_runs import make_run
from generated_sets import generate_ijbs
from standin_detector import DotDetector

OPTIONS = {"color": "RGB", "flip": False, "fusion": "sum", "alignment": "rendered"}
SPEC = {
    "subjects": 5,
    "unenrolled": 2,
    "stills_per_subject": 2,
    "videos_per_subject": 2,
    "uav_per_subject": 1,
    "frames_per_video": [1, 3],
    "undetected": 3,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "ijbs"
    generate_ijbs(SPEC, 3, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), seed=0)


def benchmark(tree, **options):
    return {"name": "ijbs", "protocol": "ijbs", "path": str(tree), "options": {**OPTIONS, **options}}


def files_of_rows(tree):
    read = read_ijbs(tree)
    return [file for medium in read.media for file in read.files(medium)]


def test_rows_are_faces_by_subject_file_and_frame(tree):
    source = open_source(tree, OPTIONS, 112)
    files = files_of_rows(tree)
    assert source.rows == len(files) == len(set(files))
    np.testing.assert_array_equal(source.images(0, len(files)), [read_image(file) for file in files])
    np.testing.assert_array_equal(source.images(7, 12), source.images(0, len(files))[7:12])


def test_templates_are_the_rows_of_their_files(tree):
    read, source, files = read_ijbs(tree), open_source(tree, OPTIONS, 112), files_of_rows(tree)
    arrays = source.arrays
    faceless = 0
    for number, template in enumerate(read.templates):
        media = arrays["template_media"][slice(*arrays["template_offsets"][number : number + 2])]
        rows = [row for medium in media for row in range(*arrays["medium_offsets"][medium : medium + 2])]
        expected = [file for stem in template.media for file in read.files((template.subject, stem))]
        assert [files[row] for row in rows] == expected
        assert arrays["template_subjects"][number] == template.subject
        faceless += not rows
    assert faceless == SPEC["undetected"]


def test_galleries_and_probes_are_those_of_the_lists(tree):
    read, arrays = read_ijbs(tree), open_source(tree, OPTIONS, 112).arrays
    templates = read.templates
    for kind, both in read.galleries.items():
        for place, part in enumerate(both, start=1):
            assert [templates[number] for number in arrays[f"gallery_{kind}_{place}"]] == part
    for kind, part in read.probes.items():
        assert [templates[number] for number in arrays[f"probes_{kind.replace('-', '_')}"]] == part


def test_from_images_to_a_record(tree, run_dir, tmp_path):
    embed_benchmark(run_dir, benchmark(tree), tmp_path, device="cpu", batch_size=5)
    features = open_features(tmp_path)
    expected = load_embedder(run_dir, "cpu").embed(np.stack([read_image(f) for f in files_of_rows(tree)]), flip=False)
    np.testing.assert_allclose(features.values, expected, rtol=1e-4, atol=1e-4)
    record = evaluate(tmp_path)
    validate(record, "record")
    assert record["protocol"] == {"name": "ijbs", "version": 3, "options": OPTIONS}
    ranks = [f"{kind}rank{rank}" for kind in ("", "legacy_") for rank in (1, 5, 10)]
    kinds = [*ranks, *(f"{kind}_at_fpir_{fpir}" for kind in ("tpir", "tpir_legacy") for fpir in ("1e-2", "1e-1"))]
    assert record["metrics"].keys() == {f"{name}_{kind}" for name in SEARCHES for kind in kinds}
    searches = {name for name in record["metrics"] if "rank" in name}
    assert searches <= record["intervals"].keys() <= record["metrics"].keys()  # a TPIR may need every stranger
    assert {part["units"] for part in record["jackknife"]} == {record["counts"]["people"]}
    counts = record["counts"]
    assert counts["templates_without_face"] == SPEC["undetected"]
    assert counts["surveillance_to_single_probes"] == 2 * 7
    assert counts["surveillance_to_single_probes_with_mate"] == 2 * 5
    assert counts["surveillance_to_booking_gallery"] == 5


def test_records_differ_in_their_wall_time_only(tree, run_dir, tmp_path):
    embed_benchmark(run_dir, benchmark(tree), tmp_path, device="cpu")
    one, other = evaluate(tmp_path), evaluate(tmp_path)
    one["provenance"]["evaluate_wall_s"] = other["provenance"]["evaluate_wall_s"]
    assert one == other


def test_flips_and_alignment_have_to_be_said(tree, run_dir, tmp_path):
    for option in ("flip", "alignment"):
        spec = benchmark(tree)
        spec["options"] = {name: value for name, value in OPTIONS.items() if name != option}
        with pytest.raises(InputError, match=f"'{option}' is a required property"):
            embed_benchmark(run_dir, spec, tmp_path, device="cpu")


def test_a_damaged_face_is_named(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "tree")
    file = files_of_rows(tmp_path / "tree")[4]
    file.write_bytes(file.read_bytes()[:200])
    source = open_source(tmp_path / "tree", OPTIONS, 112)
    with pytest.raises(InputError, match=f"{file.name}: cannot be read as an image"):
        source.images(3, 6)


def test_a_rendered_tree_is_planned_as_any_benchmark(tmp_path):
    folder = Folder(tmp_path)
    folder.config["data"]["videos"] = {"seed": 3, "generate": {"ijbs": SPEC}}
    folder.config["benchmarks"].append({"name": "ijbs", "data": "videos", "options": {"flip": False}})
    spec = folder.plan().benchmarks["ijbs"].spec
    assert (spec["protocol"], spec["options"]) == ("ijbs", OPTIONS)
    folder.config["benchmarks"][-1]["protocol"] = "pairs"
    with pytest.raises(InputError, match="protocol pairs on ijbs"):
        folder.plan()


def test_a_record_can_say_how_its_faces_were_found(tree, tmp_path):
    assert open_source(tree, OPTIONS, 112).layout == {}
    shutil.copytree(tree, tmp_path / "ijbs")
    (tmp_path / "ijbs" / FACES).rename(tmp_path / "raw")
    align_tree(tmp_path / "raw", tmp_path / "ijbs" / FACES, DotDetector(), threads=1)
    found = open_source(tmp_path / "ijbs", OPTIONS, 112).layout["alignment"]
    assert found["detector"]["name"] == DotDetector.name
    assert found["counts"]["images"] == len(files_of_rows(tree))
