"""IJB-B and IJB-C against the protocol written down slowly: loops over templates, pairs and thresholds, all in full."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from aroface.errors import InputError
from aroface.evaluation.metrics import operating_points
from aroface.evaluation.metrics.open_set import rates, search
from aroface.evaluation.metrics.operating_points import FARS, paper_tars, strict_tars
from aroface.evaluation.metrics.pair_scores import pair_scores
from aroface.evaluation.metrics.template_pooling import pool
from aroface.evaluation.statistics.exact import clopper_pearson


def naive_templates(features, templates, media, scores, *, norm_weighting):
    """Template number to its vector, in double precision."""
    images = [row.astype(float) if norm_weighting else row.astype(float) / np.linalg.norm(row) for row in features]
    if scores is not None:
        images = [score * image for score, image in zip(scores, images, strict=True)]
    pooled = {}
    for template in sorted(set(templates.tolist())):
        total = 0
        for medium in set(media[templates == template].tolist()):
            rows = np.flatnonzero((templates == template) & (media == medium))
            total = total + sum(images[row] for row in rows) / len(rows)
        length = np.linalg.norm(total)
        pooled[template] = total / length if length else total
    return pooled


def naive_strict(genuine, impostors, far):
    best = 0.0
    for threshold in {*genuine.tolist(), *impostors.tolist()}:
        accepted = sum(score >= threshold for score in impostors.tolist())
        if accepted / len(impostors) <= far:
            best = max(best, sum(score >= threshold for score in genuine.tolist()) / len(genuine))
    return best


def usual_tar(genuine, impostors, far):
    """What the usual script reads off scikit-learn's curve, reversed so that the first of equals is the highest."""
    labels = np.repeat([1, 0], [len(genuine), len(impostors)])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([genuine, impostors]))
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    return tpr[min((abs(rate - far), index) for index, rate in enumerate(fpr))[1]]


def naive_search(scores, subjects, galleries):
    """All metrics from the full matrix of scores of P probes and the subjects of each gallery's templates."""
    names = [name for gallery in galleries for name in gallery]
    mate = np.array([[subject == name for name in names] for subject in subjects])
    ranks, genuine, impostors = [], [], []
    for row, mates in zip(scores.tolist(), mate.tolist(), strict=True):
        others = [score for score, is_mate in zip(row, mates, strict=True) if not is_mate]
        impostors += others
        if any(mates):
            best = max(score for score, is_mate in zip(row, mates, strict=True) if is_mate)
            genuine.append(best)
            ranks.append(1 + sum(score >= best for score in others))
    metrics = {f"rank{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 5, 10)}
    impostors.sort(reverse=True)
    for name, fpir in (("1e-2", 0.01), ("1e-1", 0.1)):
        wanted = math.ceil(len(scores) * fpir)
        threshold = impostors[wanted - 1] if wanted <= len(impostors) else -math.inf
        metrics[f"tpir_legacy_at_fpir_{name}"] = sum(score > threshold for score in genuine) / len(genuine)
        parts = naive_standard(scores, subjects, galleries, fpir)
        if None not in parts:
            metrics[f"tpir_standard_at_fpir_{name}"] = sum(parts) / 2
    return metrics


def naive_standard(scores, subjects, galleries, fpir):
    """Largest TPIR over all thresholds with at most this FPIR, gallery by gallery; None where there is none."""
    parts, start = [], 0
    for gallery in galleries:
        mine, start = scores[:, start : start + len(gallery)], start + len(gallery)
        hits, known, unknown = [], 0, []
        for row, subject in zip(mine.tolist(), subjects, strict=True):
            others = [score for score, name in zip(row, gallery, strict=True) if name != subject]
            own = [score for score, name in zip(row, gallery, strict=True) if name == subject]
            if not own:
                unknown.append(max(others))
                continue
            known += 1
            if not others or max(own) > max(others):
                hits.append(max(own))
        if not known or not unknown:
            parts.append(None)
            continue
        best = 0.0
        for threshold in {*hits, *unknown}:
            if sum(score >= threshold for score in unknown) / len(unknown) <= fpir:
                best = max(best, sum(hit >= threshold for hit in hits) / known)
        parts.append(best)
    return parts


def random_tree(rng, images=200, count=30):
    """Features, templates in no order with some of one image, media whose numbers recur in other templates, scores."""
    templates = 7 * np.concatenate([np.arange(count), rng.integers(count // 2, size=images - count)])
    order = rng.permutation(images)
    features = rng.normal(size=(images, 16)) * rng.uniform(0.5, 20, (images, 1))
    return features.astype(np.float32), templates[order], rng.integers(4, size=images), rng.uniform(0.3, 1, images)


@pytest.mark.parametrize("norm_weighting", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_templates_are_sums_of_means(norm_weighting, weighted, monkeypatch):
    monkeypatch.setattr("aroface.evaluation.metrics.template_pooling.BLOCK", 33)
    features, templates, media, scores = random_tree(np.random.default_rng(0))
    weights = scores.astype(np.float32) if weighted else None
    found = pool(features, templates, media, weights, norm_weighting=norm_weighting)
    expected = naive_templates(features, templates, media, weights, norm_weighting=norm_weighting)
    assert found.ids.tolist() == list(expected)
    np.testing.assert_allclose(found.vectors, np.stack(list(expected.values())), atol=1e-6)


def test_a_memory_map_gives_the_same_templates(tmp_path):
    features, *lists = random_tree(np.random.default_rng(1))
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for values in (mapped, mapped[10:].base[:], features):
        found = pool(values, *lists[:2], None, norm_weighting=True)
        np.testing.assert_array_equal(found.vectors, pool(features, *lists[:2], None, norm_weighting=True).vectors)


def test_part_of_a_memory_map_is_that_part(tmp_path):
    features, templates, media, _ = random_tree(np.random.default_rng(1))
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for part in (slice(50, None), slice(None, None, 3)):
        found = pool(mapped[part], templates[part], media[part], None, norm_weighting=True)
        expected = pool(features[part], templates[part], media[part], None, norm_weighting=True)
        np.testing.assert_array_equal(found.vectors, expected.vectors)


def test_images_that_cancel_out_leave_a_zero_vector():
    features = np.array([[1, 2], [-1, -2], [3, 4]], np.float32)
    found = pool(features, np.array([5, 5, 6]), np.array([1, 2, 3]), None, norm_weighting=True)
    np.testing.assert_allclose(found.vectors, [[0, 0], [0.6, 0.8]], atol=1e-7)


@pytest.mark.parametrize("spread", [1, 1 << 30])
def test_templates_are_found_by_their_number_and_missing_ones_named(spread):
    numbers = spread * np.array([3, 4, 9])
    found = pool(np.eye(3, dtype=np.float32), numbers, np.zeros(3, int), None, norm_weighting=True)
    np.testing.assert_array_equal(found.rows(numbers[[2, 0, 0]]), [2, 0, 0])
    assert found.rows(numbers[:0]).shape == (0,)
    for missing in (1, 5, 12):
        with pytest.raises(InputError, match=f"template {missing * spread} has no image"):
            found.rows(spread * np.array([3, missing, 9]))


@pytest.mark.parametrize("block", [7, 100, 5000])
@pytest.mark.parametrize(("firsts", "ordered"), [(4, True), (4, False), (60, False)])
def test_scores_of_pairs(block, firsts, ordered):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(60, 24)).astype(np.float32)
    first, second = rng.integers(firsts, size=900), rng.integers(60, size=900)
    first = np.sort(first) if ordered else first
    expected = [vectors[a].astype(float) @ vectors[b] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(pair_scores(vectors, first, second, block=block), expected, rtol=1e-5, atol=1e-5)


def test_scores_of_more_templates_than_16_bits_number():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(70_000, 2)).astype(np.float32)
    first, second = rng.integers(70_000, size=(2, 5000))
    expected = (vectors[first] * vectors[second]).sum(axis=1)
    np.testing.assert_allclose(pair_scores(vectors, first, second, block=512), expected, rtol=1e-5, atol=1e-5)


few_scores = st.lists(st.sampled_from([-0.5, 0.0, 0.125, 0.25, 0.5, 0.75]), min_size=1, max_size=30)
many_scores = st.lists(st.integers(0, 400).map(lambda number: number / 512), min_size=1, max_size=120)


@settings(max_examples=300, deadline=None)
@given(few_scores | many_scores, few_scores | many_scores, st.sampled_from([0, 1000]))
def test_tar_at_far_is_the_usual_scripts_and_the_strict_one(genuine, impostors, spare):
    mates, others = np.array(genuine, np.float32), np.array(impostors, np.float32)
    before = operating_points._SPARE
    operating_points._SPARE = spare
    try:
        for far in (*FARS.values(), 0.05, 0.25, 0.5, 1.0):
            assert strict_tars(mates, others, [far])[0] == pytest.approx(naive_strict(mates, others, far), abs=1e-12)
            assert paper_tars(mates, others, [far])[0] == pytest.approx(usual_tar(mates, others, far), abs=1e-12)
    finally:
        operating_points._SPARE = before


@pytest.mark.parametrize("seed", range(4))
def test_tar_at_far_of_many_scores(seed):
    rng = np.random.default_rng(seed)
    others = rng.normal(size=50_000)
    mates = rng.normal(3 - seed, 1, 500)
    if seed % 2:
        mates, others = np.round(mates, 3), np.round(others, 3)
    paper, strict = paper_tars(mates, others, FARS.values()), strict_tars(mates, others, FARS.values())
    for far, one, other in zip(FARS.values(), paper, strict, strict=True):
        assert one == pytest.approx(usual_tar(mates, others, far), abs=1e-12)
        accepted = (others[None, :] >= mates[:, None]).sum(axis=1) / len(others)
        allowed = mates[accepted <= far]
        assert other == pytest.approx((mates >= allowed.min(initial=np.inf)).mean(), abs=1e-12)


def test_points_that_scikit_learn_drops_change_the_tar():
    """Two impostors one after the other are one step: the point between them is dropped, though it is nearer."""
    genuine, impostors = np.array([0.9, 0.35, 0.3]), np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.2])
    assert paper_tars(genuine, impostors, [0.6]) == [1.0]
    assert strict_tars(genuine, impostors, [0.6]) == [1 / 3]
    assert usual_tar(genuine, impostors, 0.6) == 1.0


def test_all_scores_equal():
    genuine, impostors = np.full(5, 0.5), np.full(2000, 0.5)
    assert strict_tars(genuine, impostors, FARS.values()) == [0] * 6
    assert paper_tars(genuine, impostors, FARS.values()) == [
        usual_tar(genuine, impostors, far) for far in FARS.values()
    ]


def test_a_rate_is_met_as_floating_point_compares_it():
    for count in (3, 7, 10, 49, 1000, 15_638_932):
        for far in (*FARS.values(), 1 / 3, 0.7):
            number = operating_points.admitted(count, far)
            assert number / count <= far
            assert number == count or (number + 1) / count > far
            assert abs(number - Fraction(far) * count) <= 1


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (3, 10), (10, 10), (19_000, 19_557)])
def test_the_binomial_interval_is_clopper_and_pearsons(hits, trials):
    """Its ends are the rates at which so many hits, or so few, have a chance of 2.5 per cent."""
    low, high = clopper_pearson(hits, trials)
    chances = {rate: [chance(number, trials, rate) for number in range(trials + 1)] for rate in (low, high)}
    assert low == 0 if hits == 0 else sum(chances[low][hits:]) == pytest.approx(0.025)
    assert high == 1 if hits == trials else sum(chances[high][: hits + 1]) == pytest.approx(0.025)


def chance(hits, trials, rate):
    if rate in (0, 1):
        return float(hits == trials * rate)
    logarithm = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
    return math.exp(logarithm + hits * math.log(rate) + (trials - hits) * math.log1p(-rate))


def check_search(probes, subjects, galleries, **blocks):
    scores = probes @ np.concatenate([vectors for vectors, _ in galleries]).T
    found = rates(search(probes, subjects, galleries, **blocks))
    expected = naive_search(scores, subjects.tolist(), [labels.tolist() for _, labels in galleries])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    return expected


@pytest.mark.parametrize("blocks", [{}, {"block": 7}, {"block": 7, "spare": 0}])
def test_search_equals_the_full_matrix(blocks):
    rng = np.random.default_rng(4)
    identities = rng.normal(size=(40, 16))
    galleries = [(identities[part] + 0.5 * rng.normal(size=(20, 16)), np.arange(40)[part]) for part in np.s_[:20, 20:]]
    subjects = rng.integers(40, size=90)
    probes = identities[subjects] + 1.5 * rng.normal(size=(90, 16))
    galleries = [(unit_rows(vectors), labels) for vectors, labels in galleries]
    metrics = check_search(unit_rows(probes), subjects, galleries, **blocks)
    assert 0.1 < metrics["tpir_standard_at_fpir_1e-1"] < 0.9
    assert 0.1 < metrics["tpir_legacy_at_fpir_1e-1"] < 0.9
    assert metrics["tpir_standard_at_fpir_1e-1"] != metrics["tpir_legacy_at_fpir_1e-1"]


def unit_rows(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# Inner products of these are exact in float32: ties are ties in any block.
exact = st.lists(st.sampled_from([-0.5, 0.5]), min_size=4, max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_search_equals_the_full_matrix_where_scores_tie(data):
    def draw(most, names):
        vectors = data.draw(st.lists(exact, min_size=1, max_size=most))
        labels = data.draw(st.lists(st.integers(*names), min_size=len(vectors), max_size=len(vectors)))
        return np.array(vectors, np.float32), np.array(labels)

    galleries = [draw(6, (0, 3)), draw(6, (2, 5))]
    probes, subjects = draw(12, (0, 7))
    known = {*galleries[0][1].tolist(), *galleries[1][1].tolist()}
    subjects[0] = min(known)  # without any mate nothing is measured
    check_search(probes, subjects, galleries, block=5)


def test_standard_rates_need_probes_of_both_kinds_in_both_galleries():
    one, other, both = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32), np.array([7])
    found = rates(search(np.concatenate([one, other]), np.array([7, 7]), [(one, both), (other, both)]))
    assert {name.split("_at_")[0] for name in found} == {"rank1", "rank5", "rank10", "tpir_legacy"}
    assert found["rank1"] == found["tpir_legacy_at_fpir_1e-2"] == 1
