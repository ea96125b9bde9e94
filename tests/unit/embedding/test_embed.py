from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch

from aroface.datasets.formats.pairs import Pairs, read_pairs, write_pairs
from aroface.datasets.formats.tinyface import write_tinyface
from aroface.datasets.images import encode_jpeg
from aroface.datasets.manifest import manifest_hash, write_manifest
from aroface.datasets.preparation.align import align_tree
from aroface.embedding import embed as module
from aroface.embedding import feature_store
from aroface.embedding.alignment_sweep import Variant, draw_directions, error_matrices
from aroface.embedding.embed import embed_benchmark
from aroface.embedding.embedder import Embedder, load_embedder
from aroface.embedding.feature_store import open_features
from aroface.errors import InputError
from aroface.evaluation.evaluate import evaluate
from aroface.faces.degrade import downsample
from aroface.faces.geometry import warp
from aroface.files import read_json, sha256_file
from decoded import decode_images
from embedding_runs import make_run
from gloo import run_ranks
from standin_detector import DotDetector

PLAIN = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point"}
SWEEP = {"qualities": ["hq", 16], "scale": [0.1], "degrees": [10], "shift": [], "joint": [0.5, 1], "metric": ["auc"]}
PAIRS = 12


def face(number):
    """A smooth coloured pattern of its own."""
    rng = np.random.default_rng(number)
    return cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (112, 112), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), seed=0)


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "faces.bin"
    same = np.arange(PAIRS) % 2 == 0
    numbers = [number for pair in range(PAIRS) for number in (pair, pair if same[pair] else 100 + pair)]
    write_pairs(path, Pairs([encode_jpeg(face(number), 90) for number in numbers], same))
    return path


@pytest.fixture(scope="module")
def tinyface_tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tinyface")
    gallery = [(label, encode_jpeg(face(label), 90)) for label in (1, 2, 3, 3)]
    probes = [(label, encode_jpeg(face(label), 50)) for label in (3, 1)]
    write_tinyface(folder, gallery, probes, [encode_jpeg(face(50 + number), 90) for number in range(5)])
    return folder


def pairs_spec(path, **options):
    return {"name": "faces", "protocol": "pairs", "path": str(path), "options": {**PLAIN, **options}}


def sweep_spec(path, **options):
    return {"name": "fae", "protocol": "sensitivity", "path": str(path), "options": {**PLAIN, **SWEEP, **options}}


def images_of(path):
    return decode_images(read_pairs(path).images)


@pytest.fixture
def embedded(monkeypatch):
    """Numbers of images in each call of the embedder."""
    calls = []
    original = Embedder.embed

    def counting(self, images, **options):
        calls.append(len(images))
        return original(self, images, **options)

    monkeypatch.setattr(Embedder, "embed", counting)
    return calls


def test_pairs_become_rows_in_their_order(run_dir, pair_file, tmp_path):
    embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path, device="cpu", batch_size=5)
    features = open_features(tmp_path)
    expected = load_embedder(run_dir, "cpu").embed(images_of(pair_file))
    np.testing.assert_allclose(features.values, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(features.arrays["same"], np.arange(PAIRS) % 2 == 0)


def test_index_names_weights_benchmark_and_options(run_dir, pair_file, tmp_path):
    path = embed_benchmark(run_dir, pairs_spec(pair_file, flip=False), tmp_path, device="cpu", threads=1)
    index = read_json(path)
    assert path == tmp_path / "index.json"
    assert index["checkpoint"]["weights_sha256"] == sha256_file(run_dir / "model.safetensors")
    assert index["benchmark"] == "faces" and len(index["benchmark_manifest_hash"]) == 64
    assert index["protocol"] == {"name": "pairs", "options": {**PLAIN, "flip": False}}
    assert index["environment"]["device"] == "cpu" and index["environment"]["threads"] == 1
    assert evaluate(tmp_path)["metrics"].keys() >= {"accuracy", "auc", "eer"}


def test_threads_are_those_of_before_afterwards(run_dir, pair_file, tmp_path):
    before = torch.get_num_threads()
    embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path, device="cpu", threads=before + 1)
    assert torch.get_num_threads() == before


def test_the_hash_of_a_benchmark_is_its_manifests(run_dir, pair_file, tmp_path):
    copy = tmp_path / "copy.bin"
    shutil.copy(pair_file, copy)
    sampled = read_json(embed_benchmark(run_dir, pairs_spec(copy), tmp_path / "a", device="cpu"))
    identity = {"generator": "pairs", "spec": {}, "seed": 1, "semantics": 1}
    write_manifest(copy, name="faces", kind="pairs", identity=identity, counts={"pairs": PAIRS})
    named = read_json(embed_benchmark(run_dir, pairs_spec(copy), tmp_path / "b", device="cpu"))
    assert named["benchmark_manifest_hash"] == manifest_hash(identity) != sampled["benchmark_manifest_hash"]


def test_complete_features_are_not_made_again(run_dir, pair_file, tmp_path, embedded):
    for _ in range(2):
        embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path, device="cpu")
    assert embedded == [2 * PAIRS]


@pytest.mark.parametrize("change", [{"flip": False}, {"fusion": "unit_sum"}])
def test_other_options_start_anew(run_dir, pair_file, tmp_path, embedded, change):
    embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path, device="cpu")
    embed_benchmark(run_dir, pairs_spec(pair_file, **change), tmp_path, device="cpu")
    assert embedded == [2 * PAIRS] * 2
    fresh = embed_benchmark(run_dir, pairs_spec(pair_file, **change), tmp_path / "fresh", device="cpu").parent
    np.testing.assert_array_equal(open_features(tmp_path).values, open_features(fresh).values)


def test_a_call_that_was_killed_goes_on_unless_the_weights_changed(run_dir, pair_file, tmp_path, monkeypatch, embedded):
    monkeypatch.setattr(feature_store, "SHARD_ROWS", 8)
    monkeypatch.setattr(
        module, "write_rows", lambda *args, **more: feature_store.write_rows(*args, **more, shard_rows=8)
    )
    counting = Embedder.embed

    def killed_at_the_third_batch(self, images, **options):
        if len(embedded) == 3:
            raise KeyboardInterrupt
        return counting(self, images, **options)

    def interrupted(out):
        embedded.clear()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Embedder, "embed", killed_at_the_third_batch)
            embed_benchmark(run_dir, pairs_spec(pair_file), out, device="cpu", batch_size=4)
        embedded.clear()

    interrupted(tmp_path / "same")
    embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path / "same", device="cpu", batch_size=4)
    assert sum(embedded) == 2 * PAIRS - 8
    interrupted(tmp_path / "other")
    (tmp_path / "run").mkdir()
    other_run = make_run(tmp_path / "run", seed=1)
    embed_benchmark(other_run, pairs_spec(pair_file), tmp_path / "other", device="cpu", batch_size=4)
    assert sum(embedded) == 2 * PAIRS
    whole = embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path / "whole", device="cpu", batch_size=4).parent
    np.testing.assert_array_equal(open_features(tmp_path / "same").values, open_features(whole).values)


def test_tinyface_rows_are_probes_gallery_distractors(run_dir, tinyface_tree, tmp_path):
    spec = {"name": "tiny", "protocol": "tinyface", "path": str(tinyface_tree), "options": PLAIN}
    embed_benchmark(run_dir, spec, tmp_path, device="cpu")
    features = open_features(tmp_path)
    np.testing.assert_array_equal(features.arrays["probe_labels"], [3, 1])
    np.testing.assert_array_equal(features.arrays["gallery_labels"], [1, 2, 3, 3] + [-100] * 5)
    stored = decode_images([encode_jpeg(face(label), quality) for label, quality in ((3, 50), (1, 50), (1, 90))])
    expected = load_embedder(run_dir, "cpu").embed(stored)
    np.testing.assert_allclose(features.values[:3], expected, rtol=1e-4, atol=1e-4)
    assert evaluate(tmp_path)["counts"]["distractors"] == 5


def test_the_alignment_of_tinyface_must_not_be_misnamed(run_dir, tinyface_tree, tmp_path):
    options = {**PLAIN, "alignment": "aligned_pad_0.1_pad_high"}
    spec = {"name": "tiny", "protocol": "tinyface", "path": str(tinyface_tree), "options": options}
    with pytest.raises(
        InputError, match=r"images are taken from tinyface/Testing_Set; expected alignment 'aligned_pad"
    ):
        embed_benchmark(run_dir, spec, tmp_path, device="cpu")


def test_records_say_how_the_crops_of_tinyface_were_aligned(run_dir, tinyface_tree, tmp_path):
    folder, report = align_tree(tinyface_tree, tmp_path / "aligned", DotDetector())
    spec = {"name": "tiny", "protocol": "tinyface", "path": str(folder.parent)}
    for options in (PLAIN, {**PLAIN, "alignment": folder.name}):
        path = folder.parent if options is not PLAIN else tinyface_tree
        embed_benchmark(run_dir, {**spec, "path": str(path), "options": options}, tmp_path / "features", device="cpu")
        found = evaluate(tmp_path / "features")["provenance"].get("alignment")
        expected = {part: report[part] for part in ("detector", "options", "counts")}
        assert found == (None if options is PLAIN else expected)
    assert found["counts"]["images"] == 11


def test_variants_are_reduced_first_and_misaligned_then(run_dir, pair_file, tmp_path):
    embed_benchmark(run_dir, sweep_spec(pair_file, seed=3), tmp_path, device="cpu", batch_size=7)
    features = open_features(tmp_path)
    firsts, seconds = images_of(pair_file)[0::2], images_of(pair_file)[1::2]
    embedder, directions = load_embedder(run_dir, "cpu"), draw_directions(PAIRS, 3)
    maximum = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}
    table = features.index["layout"]["variants"]
    assert [(each["quality"], each["factor"], each["level"]) for each in table] == [
        (quality, *rest)
        for quality in ("hq", "r16")
        for rest in [(None, 0), ("scale", 0.1), ("rotation", 10), ("joint", 0.5), ("joint", 1)]
    ]
    for entry in table:
        expected = seconds if entry["quality"] == "hq" else downsample(seconds, 16)
        if entry["factor"]:
            variant = Variant(None, entry["factor"], entry["level"])
            matrices = error_matrices(variant, directions, maximum, 112)
            expected = np.stack([warp(image, matrix) for image, matrix in zip(expected, matrices, strict=True)])
        for rows, images in ((entry["first"], firsts), (entry["second"], expected)):
            found = features.values[rows : rows + PAIRS]
            np.testing.assert_allclose(found, embedder.embed(images), rtol=1e-4, atol=1e-4)


def test_both_images_may_lose_quality(run_dir, pair_file, tmp_path):
    embed_benchmark(run_dir, sweep_spec(pair_file, degrade="both"), tmp_path, device="cpu")
    features = open_features(tmp_path)
    rows = {entry["quality"]: entry["first"] for entry in features.index["layout"]["variants"]}
    reduced = load_embedder(run_dir, "cpu").embed(downsample(images_of(pair_file)[0::2], 16))
    np.testing.assert_allclose(features.values[rows["r16"] :][:PAIRS], reduced, rtol=1e-4, atol=1e-4)
    assert len(features.values) == PAIRS * (2 + 10)


def test_a_sweep_of_fewer_pairs_is_a_part_of_the_whole(run_dir, pair_file, tmp_path):
    for most in (None, 10):
        embed_benchmark(run_dir, sweep_spec(pair_file, max_pairs=most), tmp_path / str(most), device="cpu")
    whole, part = open_features(tmp_path / "None"), open_features(tmp_path / "10")
    kept = [row for row in range(PAIRS) if any(np.allclose(whole.values[row], v, atol=1e-4) for v in part.values[:10])]
    assert len(kept) == 10
    np.testing.assert_array_equal(part.arrays["same"], whole.arrays["same"][kept])
    last = [features.index["layout"]["variants"][-1]["second"] for features in (whole, part)]
    np.testing.assert_allclose(part.values[last[1] :], whole.values[last[0] :][kept], rtol=1e-3, atol=1e-3)


def test_another_metric_of_a_sweep_costs_no_embedding(run_dir, pair_file, tmp_path, embedded):
    embed_benchmark(run_dir, sweep_spec(pair_file), tmp_path, device="cpu")
    first = sum(embedded)
    embed_benchmark(run_dir, sweep_spec(pair_file, metric=["accuracy"]), tmp_path, device="cpu")
    assert sum(embedded) == first
    assert evaluate(tmp_path)["metrics"].keys() == {"accuracy_hq", "accuracy_r16"}


def test_colours_the_network_does_not_know_are_refused(run_dir, pair_file, tmp_path):
    with pytest.raises(InputError, match=r"checkpoint.json: the network was trained on RGB; expected BGR"):
        embed_benchmark(run_dir, pairs_spec(pair_file, color="BGR"), tmp_path, device="cpu")


def test_embeddings_that_are_not_finite_are_refused(run_dir, pair_file, tmp_path, monkeypatch):
    def broken(run, device):
        embedder = load_embedder(run, device)
        embedder.network.fc.weight.data.fill_(np.nan)
        return embedder

    monkeypatch.setattr(module, "load_embedder", broken)
    with pytest.raises(InputError, match="row 0: the embedding is not finite"):
        embed_benchmark(run_dir, pairs_spec(pair_file), tmp_path, device="cpu")
    assert not (tmp_path / "index.json").exists()


def test_a_damaged_image_is_named(run_dir, tmp_path):
    images = [encode_jpeg(face(number), 90) for number in range(20)]
    images[13] = images[13][:400]
    write_pairs(tmp_path / "faces.bin", Pairs(images, np.arange(10) % 2 == 0))
    with pytest.raises(InputError, match=r"faces.bin: image 13: cannot be decoded"):
        embed_benchmark(run_dir, pairs_spec(tmp_path / "faces.bin"), tmp_path / "out", device="cpu", batch_size=4)


def test_a_missing_benchmark_is_one_line(run_dir, tmp_path):
    with pytest.raises(InputError, match=r"absent.bin: no such file"):
        embed_benchmark(run_dir, pairs_spec(tmp_path / "absent.bin"), tmp_path / "out", device="cpu")


def embed_part(rank, run, spec, out):
    embed_benchmark(run, spec, out, device="cpu", batch_size=5)
    return sorted(path.name for path in out.iterdir())


def test_several_processes_embed_what_one_does(run_dir, pair_file, tmp_path):
    spec = pairs_spec(pair_file)
    alone = embed_benchmark(run_dir, spec, tmp_path / "one", device="cpu", batch_size=5).parent
    listed = run_ranks(3, embed_part, run_dir, spec, tmp_path / "three")
    parts = ["progress-0-8.json", "progress-16-24.json", "progress-8-16.json"]
    assert listed == [["features.npy", "images.npy", "index.json", *parts, "same.npy"]] * 3, (
        "none of them returns before all is there"
    )
    found, wanted = open_features(tmp_path / "three"), open_features(alone)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-5, atol=1e-6)
    assert found.index["key"] == wanted.index["key"]


def test_half_precision_changes_the_metrics_by_next_to_nothing(run_dir, pair_file, tinyface_tree, tmp_path):
    tinyface = {"name": "search", "protocol": "tinyface", "path": str(tinyface_tree), "options": PLAIN}
    for name, spec in {"pairs": pairs_spec(pair_file), "tinyface": tinyface}.items():
        records = []
        for precision in ("float32", "float16"):
            out = tmp_path / name / precision
            embed_benchmark(run_dir, spec, out, device="cpu", precision=precision)
            assert open_features(out).values.dtype == precision
            records.append(evaluate(out)["metrics"])
        assert records[0] == pytest.approx(records[1], abs=0.01)
