"""Sensitivity of templates, against each variant rendered, embedded and evaluated by itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from aroface.embedding.alignment_sweep import Variant, draw_directions, error_matrices
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embed import embed_benchmark
from aroface.embedding.embedder import load_embedder
from aroface.embedding.example_faces import example_grids
from aroface.embedding.feature_store import open_features
from aroface.embedding.ijb import open_source as open_plain
from aroface.embedding.protocols import PROTOCOLS
from aroface.embedding.sensitivity import open_source
from aroface.errors import InputError
from aroface.evaluation.evaluate import evaluate
from aroface.evaluation.protocols.sensitivity import evaluate as evaluate_sensitivity
from aroface.faces.geometry import TEMPLATE, transform, warp
from aroface.schemas import validate
from embedding_runs import make_run
from generated_sets import generate_ijb

SPEC = {"identities": 6, "templates_per_identity": 3, "images_per_template": [1, 3], "pairs": 36, "distractors": 4}
METRICS = ["tar_at_far_1e-1", "tar_strict_at_far_1e-1", "tar_strict_at_far_1e-2"]
PLAIN = {
    **{"color": "RGB", "flip": True, "fusion": "sum", "alignment": "rendered"},
    **{"norm_weighting": True, "detector_weighting": True},
}
OPTIONS = {
    **PLAIN,
    **{"qualities": ["hq"], "scale": [], "degrees": [], "shift": [0.1], "joint": []},
    **{"adversary": [1.0], "points": [3], "metric": METRICS},
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), seed=0)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("ijb") / "ijb"
    generate_ijb(SPEC, 1, out, workers=1)
    return out


def spec_of(path, **options):
    return {"name": "fae", "protocol": "sensitivity", "path": str(path), "options": {**OPTIONS, **options}}


def embedded(run_dir, tree, folder, **options):
    embed_benchmark(run_dir, spec_of(tree, **options), folder, device="cpu", batch_size=16)
    return open_features(folder)


def naive_templates(images, tree, run_dir):
    """Templates by number, pooled by loops."""
    source = open_plain(tree, PLAIN, 112)
    rows = load_embedder(run_dir, "cpu").embed(images, flip=True, fusion="sum", batch_size=16)
    found = {}
    for template in np.unique(source.arrays["templates"]):
        chosen = np.flatnonzero(source.arrays["templates"] == template)
        media = {}
        for row in chosen:
            media.setdefault(source.arrays["media"][row], []).append(rows[row] * source.arrays["detector_scores"][row])
        whole = sum(np.mean(each, axis=0) for each in media.values())
        found[template] = whole / np.linalg.norm(whole)
    return found


def largest_tar(scores, same, far):
    return max(
        [0.0]
        + [np.mean(scores[same] >= threshold) for threshold in scores if np.mean(scores[~same] >= threshold) <= far]
    )


@pytest.mark.parametrize("perturbed", ["probe", "both"])
def test_each_variant_is_what_it_is_by_itself(run_dir, tree, tmp_path, perturbed):
    features = embedded(run_dir, tree, tmp_path / "features", perturbed=perturbed)
    outcome = evaluate_sensitivity(features)
    source = open_plain(tree, PLAIN, 112)
    images = source.images(0, source.rows)
    directions = draw_directions(source.rows, 0, models=True)
    clean = naive_templates(images, tree, run_dir)
    pairs, same = source.arrays["pairs"], source.arrays["same"]
    maximum = features.index["protocol"]["options"]["joint_maximum"]
    values = {(point["factor"], point["level"], point["metric"]): point for point in outcome.series}
    for factor, level in (("shift", 0.1), ("adversary", 1.0), ("points", 3.0)):
        matrices = error_matrices(Variant(None, factor, level), directions, maximum, 112)
        warped = np.stack([warp(image, matrix) for image, matrix in zip(images, matrices, strict=True)])
        second = naive_templates(warped, tree, run_dir)
        first = second if perturbed == "both" else clean
        scores = np.array([first[one] @ second[other] for one, other in pairs])
        base = np.array([clean[one] @ clean[other] for one, other in pairs])
        tar, before = (largest_tar(each, same, 0.1) for each in (scores, base))
        point = values[factor, level, "tar_strict_at_far_1e-1"]
        assert_allclose([point["value"], point["drop"]], [tar, before - tar], atol=1e-9)
        assert point["drop_low"] <= point["drop"] <= point["drop_high"]
    assert outcome.metrics.keys() == {f"{name}_hq" for name in METRICS}


def test_features_of_aligned_templates_are_shared(tree):
    plain = open_plain(tree, PLAIN, 112)
    probe, both = (
        open_source(tree, resolve(spec_of(tree, perturbed=side))["options"], 112) for side in ("probe", "both")
    )
    first, second = (int(np.isin(plain.arrays["templates"], column).sum()) for column in plain.arrays["pairs"].T)
    assert probe.rows == first + 4 * second  # aligned, and three errors
    assert both.rows == 4 * (first + second)
    assert len({variant["first"] for variant in probe.layout["variants"]}) == 1
    kept = plain.images(0, plain.rows)[probe.arrays["first_images"]]
    assert np.array_equal(probe.images(0, first), kept)
    assert np.array_equal(
        probe.images(first - 2, first + 3),
        np.concatenate([probe.images(first - 2, first), probe.images(first, first + 3)]),
    )
    rows = PROTOCOLS["sensitivity"].feature_rows(resolve(spec_of(tree))["options"], {"images": plain.rows})
    assert probe.rows <= rows


def test_a_record_has_the_points_and_the_undistorted_rates_of_ijb(run_dir, tree, tmp_path):
    embedded(run_dir, tree, tmp_path / "swept")
    plain = {"name": "ijbc", "protocol": "ijb", "path": str(tree), "options": PLAIN}
    embed_benchmark(run_dir, plain, tmp_path / "plain", device="cpu", batch_size=16)
    swept, usual = evaluate(tmp_path / "swept"), evaluate(tmp_path / "plain")
    validate(swept, "record")
    for name in METRICS:
        assert swept["metrics"][f"{name}_hq"] == pytest.approx(usual["metrics"][name], abs=1e-6)
    assert {point["factor"] for point in swept["series"]} == {"shift", "adversary", "points"}
    assert swept["counts"]["variants"] == 4


def test_options_of_other_data_are_refused(tree):
    with pytest.raises(InputError, match=r"options\.metric\.0: 'accuracy' is not one of"):
        resolve(spec_of(tree, metric=["accuracy"]))
    with pytest.raises(InputError, match=r"options\.max_pairs"):
        resolve(spec_of(tree, max_pairs=20))
    only = {key: value for key, value in OPTIONS.items() if not key.endswith("weighting")}
    with pytest.raises(InputError, match=r"options\.metric\.0: 'tar_at_far_1e-1' is not one of"):
        resolve({**spec_of(tree), "options": only})
    with pytest.raises(InputError, match="alignment"):
        PROTOCOLS["sensitivity"].check_options(tree, {**OPTIONS, "alignment": "gt_aligned"})


def displacement(factor, level, number=4000):
    directions = draw_directions(number, 7, models=True)
    matrices = error_matrices(Variant(None, factor, level), directions, {}, 112)
    return np.linalg.norm(transform(matrices, TEMPLATE) - TEMPLATE, axis=-1).mean()


def test_errors_of_a_model_are_as_large_as_it_says():
    # Figures of the detector: standard deviations measured at 14 pixels; of points: a similarity of five free points
    # keeps 4 of their 10 coordinates.
    assert displacement("points", 3.0) == pytest.approx(3 * np.sqrt(0.4), rel=0.03)
    assert 1.5 < displacement("detector", 14) < 3.5
    assert displacement("detector", 112) < 0.5
    assert 7 < displacement("adversary", 1.0) < 10
    assert displacement("adversary", 0.5) == pytest.approx(displacement("adversary", 1.0) / 2, rel=0.1)


def test_example_faces_are_those_that_are_embedded(tree):
    aligned, misaligned = example_grids(spec_of(tree))
    source = open_plain(tree, PLAIN, 112)
    second = [
        np.flatnonzero(source.arrays["templates"] == template)[0]
        for template in np.unique(source.arrays["pairs"][:, 1])
    ]
    first_face = source.images(int(second[0]), int(second[0]) + 1)[0]
    assert np.array_equal(aligned[2:114, 2:114], first_face)
    swept = open_source(tree, resolve(spec_of(tree))["options"], 112)
    start = next(each["second"] for each in swept.layout["variants"] if each["factor"] == "adversary")
    row = start + int(np.flatnonzero(swept.arrays["second_images"] == second[0])[0])
    assert np.array_equal(misaligned[2:114, 2:114], swept.images(row, row + 1)[0])
