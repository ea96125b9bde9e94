"""Metrics without each group of people, against deleting these people from all lists and measuring what is left."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.reference.test_identification_naive import naive as naive_ranks
from tests.reference.test_ijb_naive import naive_search, unit_rows
from tests.reference.test_ijbs_naive import cast, naive_metrics, noisy
from tests.reference.test_verification_naive import naive_strict as naive_strict_of_distances

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.metrics.left_out_points import tars_left_out
from aroface.evaluation.metrics.open_set import Groups, search
from aroface.evaluation.metrics.verification import ACCURACY_THRESHOLDS, FOLDS, fold_numbers
from aroface.evaluation.protocols import ijb, ijbs, tinyface
from aroface.evaluation.protocols.ijb import measure_search
from aroface.evaluation.protocols.pairs import measure_pairs
from aroface.evaluation.statistics import jackknife
from aroface.evaluation.statistics.jackknife import groups_of
from aroface.evaluation.statistics.people import people_of_pairs, with_genuine_pairs

EXACT = {"rel": 0, "abs": 1e-12}


@pytest.fixture(autouse=True)
def few_groups(monkeypatch):
    """Seven groups, so that several people go at once."""
    monkeypatch.setattr(jackknife, "GROUPS", 7)


def labelled_pairs(seed, count=300, people=60):
    """Pairs of images of people, who recur; every person has four images, and genuine pairs are nearer."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    first = rng.integers(people, size=count)
    second = np.where(same, first, (first + rng.integers(1, people, count)) % people)
    images = 4 * np.stack([first, second], axis=1) + rng.integers(4, size=(count, 2))
    distances = rng.normal(1.0 + 0.4 * ~same, 0.25)
    return np.round(distances, [12, 2][seed % 2]), same, images


def naive_eer(distances, same):
    """Where the line through two neighbouring points of the curve crosses TAR = 1 - FAR, and the second one's place."""
    places = [*np.unique(distances)]
    points = [(0.0, 0.0), *((np.mean(distances[~same] <= each), np.mean(distances[same] <= each)) for each in places)]
    for ((far, tar), (next_far, next_tar)), place in zip(pairwise(points), places, strict=True):
        if next_far + next_tar >= 1:
            share = (1 - far - tar) / (next_far + next_tar - far - tar)
            return far + share * (next_far - far), place
    raise AssertionError


def naive_slope(genuine, impostors, count):
    """Gain of TAR between half and twice as many impostors, by the logarithm of their ratio."""
    ordered, low = sorted(impostors), max(1, count // 2)
    start, end = ordered[low - 1], ordered[min(max(2 * count, low + 2), len(ordered)) - 1]
    fewer, more = sum(each <= start for each in ordered), sum(each <= end for each in ordered)
    return np.mean([start < each <= end for each in genuine]) / np.log(more / fewer) if more > fewer else 0.0


def naive_move(distances, same, kept, target):
    """What the threshold's move adds to the TAR: the slope of the curve around it, times the change of its FAR."""
    genuine, impostors = distances[same], distances[~same]
    threshold = sorted(impostors)[int(np.floor(target * len(impostors) + 1e-9))]
    count = sum(each <= threshold for each in impostors)
    left = distances[kept & ~same]
    change = 1 - len(impostors) * np.mean(left <= threshold) / count
    return naive_slope(genuine, impostors, count) * change, threshold


def naive_tar(distances, same, kept, target):
    move, threshold = naive_move(distances, same, kept, target)
    value = naive_strict_of_distances(distances, same, target)
    change = np.mean(distances[kept & same] < threshold) - np.mean(distances[same] < threshold)
    return np.clip(value + change + move, 0, 1)


def naive_val(distances, same, kept, folds, target):
    """The rate of the folds' genuine pairs that are kept, at thresholds from all impostors of the other folds."""
    grid, rates = np.arange(0, 4, 0.001), []
    for fold in range(FOLDS):
        impostors = distances[(folds != fold) & ~same]
        fars = np.array([np.mean(impostors < threshold) for threshold in grid])
        last = int(np.flatnonzero(fars <= target)[-1])
        threshold = 0.0 if fars[-1] < target else grid[last]
        if fars[-1] >= target and last + 1 < len(grid):
            threshold += (target - fars[last]) / (fars[last + 1] - fars[last]) * (grid[last + 1] - grid[last])
        rates.append(np.mean(distances[(folds == fold) & same & kept] < threshold))
    return np.clip(np.mean(rates) + naive_move(distances, same, kept, target)[0], 0, 1)


def naive_eer_without(distances, same, kept):
    value, threshold = naive_eer(distances, same)
    count = sum(distances[~same] <= threshold)
    weights = [naive_slope(distances[same], distances[~same], count), np.mean(distances[~same] <= threshold)]
    weights /= np.sum(weights)
    errors = [(distances <= threshold, ~same), (distances > threshold, same)]
    return value + sum(
        weight * (np.mean(wrong[kept & kind]) - np.mean(wrong[kind]))
        for weight, (wrong, kind) in zip(weights, errors, strict=True)
    )


def naive_thresholds(distances, same, folds):
    """The first threshold of the grid that is most accurate on the other folds, for each fold."""
    best = []
    for fold in range(FOLDS):
        train = folds != fold
        right = [np.sum((distances[train] < threshold) == same[train]) for threshold in ACCURACY_THRESHOLDS]
        best.append(ACCURACY_THRESHOLDS[int(np.argmax(right))])
    return best


@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_without_each_group_are_told_to_first_order(seed):
    distances, same, images = labelled_pairs(seed)
    folds, people = fold_numbers(len(same)), people_of_pairs(images, same)
    groups = groups_of(with_genuine_pairs(people, same))
    found = measure_pairs(distances, same, images).left_out
    given = [*enumerate(naive_thresholds(distances, same, folds))]
    assert (found.unit, found.units, groups.max()) == ("people", people.max() + 1, 6)
    for group in range(7):
        kept = np.array([groups[one] != group and groups[other] != group for one, other in people])
        left, labels, fold = distances[kept], same[kept], folds[kept]
        expected = {
            "accuracy": np.mean([np.mean((left < each)[fold == n] == labels[fold == n]) for n, each in given]),
            "tar_at_far_1e-3": naive_val(distances, same, kept, folds, 1e-3),
            "auc": np.mean((left[labels][:, None] < left[~labels]) + (left[labels][:, None] == left[~labels]) / 2),
            "eer": naive_eer_without(distances, same, kept),
            **{f"tar_strict_at_far_1e-{n}": naive_tar(distances, same, kept, 10.0**-n) for n in (1, 2, 3)},
        }
        assert found.values.keys() == expected.keys()
        assert {name: each[group] for name, each in found.values.items()} == pytest.approx(expected, **EXACT)


def scored_templates(decimals, groups):
    """Pairs of 30 templates of 12 people, and the group of each template."""
    rng = np.random.default_rng(groups)
    owners = np.concatenate([np.arange(12), np.arange(12), np.arange(6)])
    first, second = rng.integers(12, size=400), rng.integers(12, 30, size=400)
    same = owners[first] == owners[second]
    scores = np.round(rng.normal(size=400) + same, decimals).astype(np.float32)
    return scores, first, second, same, (owners % groups).astype(np.uint8)


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("spare", [1, 1 << 16])
@pytest.mark.parametrize("groups", [12, 5])
def test_templates_without_each_group_are_told_to_first_order(decimals, spare, groups):
    scores, first, second, same, group_of = scored_templates(decimals, groups)
    fars = {"1e-6": 1e-6, "1e-2": 1e-2, "1e-1": 1e-1}
    found = tars_left_out(scores, first, second, same, group_of, fars, spare=spare).values
    for group in range(groups):
        kept = (group_of[first] != group) & (group_of[second] != group)
        for name, far in fars.items():
            expected = naive_tar(-scores, same, kept, far)
            assert found[f"tar_strict_at_far_{name}"][group] == pytest.approx(expected, **EXACT)
            assert found[f"tar_at_far_{name}"][group] == pytest.approx(expected, **EXACT)


def test_impostors_of_two_groups_add_up_to_the_false_accepts_beyond_the_mean():
    scores, first, second, same, group_of = scored_templates(6, 5)
    found = tars_left_out(scores, first, second, same, group_of, {"1e-1": 0.1})
    others = np.sort(scores[~same])[::-1]
    threshold = others[len(others) // 10]
    count = np.count_nonzero(others >= threshold)
    slope = naive_slope(-scores[same], -others, count) / count
    expected = np.zeros((5, 5))
    for one, other, score in zip(group_of[first[~same]], group_of[second[~same]], scores[~same], strict=True):
        for cell in {(one, other), (other, one)}:
            expected[cell] += slope * ((score >= threshold) - count / len(others))
    between = ~np.eye(5, dtype=bool)
    assert found.together["tar_strict_at_far_1e-1"][between] == pytest.approx(expected[between], **EXACT)


def test_groups_with_all_genuine_or_all_impostor_pairs_leave_no_rate():
    first, second = np.array([0, 0, 2, 2]), np.array([1, 2, 3, 4])
    same, groups = np.array([True, False, False, False]), np.array([0, 0, 1, 2, 3], np.uint8)
    found = tars_left_out(np.array([0.9, 0.1, 0.2, 0.3], np.float32), first, second, same, groups, {"1e-1": 0.1}).values
    assert np.isnan(found["tar_strict_at_far_1e-1"]).tolist() == [True, True, False, False]


def gallery_search(rng, exact):
    """Probes of 40 people, of whom 15 are in each gallery; with exact scores many of them tie."""
    probes, subjects = rng.normal(size=(40, 16)), np.repeat(np.arange(40), 3)
    vectors = probes[subjects] + 1.2 * rng.normal(size=(120, 16))
    enrolled = [np.arange(15), np.arange(12, 30)]
    galleries = [(probes[part] + 0.4 * rng.normal(size=(len(part), 16)), part) for part in enrolled]
    if exact:
        vectors, galleries = np.sign(vectors), [(np.sign(part), labels) for part, labels in galleries]
        return (vectors / 4).astype(np.float32), subjects, [((g / 4).astype(np.float32), p) for g, p in galleries]
    return unit_rows(vectors), subjects, [(unit_rows(part), labels) for part, labels in galleries]


def listed(scores, subjects, enrolled, rows, columns):
    """Best mate, best of the others and their scores, of each probe that stays, among the templates that stay."""
    for row, subject in zip(scores[rows][:, columns], subjects[rows], strict=True):
        own, others = row[enrolled[columns] == subject], row[enrolled[columns] != subject]
        yield max(own, default=-np.inf), max(others, default=-np.inf), others


def naive_legacy(scores, subjects, enrolled, rows, columns, fpir):
    """Share of mates above the threshold of all people, plus the slope times the change of their false alarms."""
    everybody = [*listed(scores, subjects, enrolled, slice(None), slice(None))]
    genuine = np.array([own for own, _, _ in everybody if own > -np.inf])
    impostors = np.sort(np.concatenate([others for *_, others in everybody]))[::-1]
    threshold = impostors[int(np.ceil(fpir * len(everybody))) - 1]
    left = [*listed(scores, subjects, enrolled, rows, columns)]
    count, stay = (sum(np.sum(others >= threshold) for *_, others in each) for each in (everybody, left))
    fixed = np.mean([own > threshold for own, _, _ in left if own > -np.inf])
    change = 1 - stay / len(left) / (count / len(everybody))
    return np.clip(fixed + naive_slope(-genuine, -impostors, count) * change, 0, 1)


def naive_standard(scores, subjects, enrolled, rows, columns, fpir):
    """The same of one gallery, whose alarms are probes without a mate, and whose hits are mates at rank 1."""
    everybody = [*listed(scores, subjects, enrolled, slice(None), slice(None))]
    alarms = sorted((other for own, other, _ in everybody if own == -np.inf), reverse=True)
    hits = np.array([own for own, other, _ in everybody if own > other])
    known = len(everybody) - len(alarms)
    threshold = alarms[int(np.floor(fpir * len(alarms) + 1e-9))]
    left = [*listed(scores, subjects, enrolled, rows, columns)]
    mated = [(own, other) for own, other, _ in left if own > -np.inf]
    unknown = [other for own, other, _ in left if own == -np.inf]
    count = sum(each >= threshold for each in alarms)
    change = 1 - np.mean([each >= threshold for each in unknown]) / (count / len(alarms))
    fixed = np.mean([own > other and own > threshold for own, other in mated])
    slope = naive_slope(-hits, -np.array(alarms), count) * len(hits) / known
    return np.clip(fixed + slope * change, 0, 1)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("blocks", [{}, {"block": 7, "spare": 300}])
def test_searches_without_each_group(exact, blocks):
    probes, subjects, galleries = gallery_search(np.random.default_rng(4), exact)
    people = groups_of(np.zeros(40))
    groups = Groups(people[subjects], people[np.concatenate([labels for _, labels in galleries])])
    measured = measure_search(search(probes, subjects, galleries, groups=groups, **blocks), subjects, 40)
    scores = probes @ np.concatenate([vectors for vectors, _ in galleries]).T
    enrolled = np.concatenate([labels for _, labels in galleries])
    for group in range(people.max() + 1):
        rows, columns = people[subjects] != group, people[enrolled] != group
        left = [labels[people[labels] != group].tolist() for _, labels in galleries]
        expected = naive_search(scores[np.ix_(rows, columns)], subjects[rows].tolist(), left)
        for name, fpir in (("1e-2", 0.01), ("1e-1", 0.1)):
            expected[f"tpir_legacy_at_fpir_{name}"] = naive_legacy(scores, subjects, enrolled, rows, columns, fpir)
            parts = [
                naive_standard(scores[:, part], subjects, enrolled[part], rows, columns[part], fpir)
                for part in (slice(0, 15), slice(15, None))
            ]
            expected[f"tpir_standard_at_fpir_{name}"] = np.mean(parts)
        found = {name: each[group] for name, each in measured.left_out.values.items()}
        assert found == pytest.approx(expected, **EXACT)
    assert len({round(each, 6) for each in measured.left_out.values["rank1"].tolist()}) > 3


def test_groups_of_a_gallery_together_with_those_of_probes():
    """Probes that are found without a group of the gallery, by their own group; both ways round."""
    probes, subjects, galleries = gallery_search(np.random.default_rng(4), exact=False)
    people, enrolled = groups_of(np.zeros(40)), np.concatenate([labels for _, labels in galleries])
    groups = Groups(people[subjects], people[enrolled])
    together = measure_search(search(probes, subjects, galleries, groups=groups), subjects, 40).together
    scores = probes @ np.concatenate([vectors for vectors, _ in galleries]).T
    expected, mated = np.zeros((7, 7)), np.isin(subjects, enrolled)
    for row, subject in zip(scores[mated], subjects[mated], strict=True):
        ahead = (row >= row[enrolled == subject].max()) & (enrolled != subject)
        for group in range(7):
            freed = bool(ahead.any()) and not ahead[people[enrolled] != group].any()
            expected[people[subject], group] += freed / mated.sum()
    between = ~np.eye(7, dtype=bool)
    assert expected[between].any()
    assert together["rank1"][between] == pytest.approx((expected + expected.T)[between], **EXACT)
    assert together.keys() == {f"rank{rank}" for rank in (1, 5, 10)} | {
        f"tpir_{kind}_at_fpir_{rate}" for kind in ("legacy", "standard") for rate in ("1e-2", "1e-1")
    }


@pytest.mark.parametrize("seed", range(3))
def test_surveillance_without_each_group_is_that_of_all_others(seed):
    rng = np.random.default_rng(seed)
    arrays, owners = cast(rng, subjects=14, strangers=40)
    values = noisy(rng, owners, noise=0.4 + 0.3 * seed)
    features = StoredFeatures(Path("features"), {}, values, arrays)
    measured = ijbs.measure(features)
    left_out = {name: each for part in measured for name, each in part.left_out.values.items()}
    groups = ijbs.groups_of_people(arrays).groups
    for group in range(groups.max() + 1):
        parts = {name: part for name, part in arrays.items() if name.startswith(("gallery_", "probes_"))}
        left = {name: part[groups[part] != group] for name, part in parts.items()}
        expected = naive_metrics(values, arrays | left)
        assert {name: each[group] for name, each in left_out.items()} == pytest.approx(expected, **EXACT)


def test_tinyface_without_each_group_of_those_searched_for():
    rng = np.random.default_rng(5)
    identities = rng.normal(size=(40, 12))
    labels, enrolled = np.repeat(np.arange(40), 3)[:100], np.concatenate([np.arange(30), np.full(200, -100)])
    gallery = np.concatenate([identities[:30], rng.normal(size=(200, 12))])
    values = np.concatenate([identities[labels] + 1.5 * rng.normal(size=(100, 12)), gallery]).astype(np.float32)
    features = StoredFeatures(Path("f"), {}, values, {"probe_labels": labels, "gallery_labels": enrolled})
    (measured,) = tinyface.measure(features)
    searched = labels[labels < 30]
    groups = groups_of(np.zeros(30))[searched]
    units = [unit_rows(part) for part in (values[:100], values[100:])]
    for group in range(groups.max() + 1):
        kept = np.flatnonzero(labels < 30)[groups != group]
        ranks, precision = naive_ranks(units[0][kept], labels[kept], units[1], enrolled)
        expected = {**{f"rank{rank}": np.mean(ranks <= rank) for rank in (1, 5, 20)}, "map": np.mean(precision)}
        found = {name: each[group] for name, each in measured.left_out.values.items() if name != "map_trapezoid"}
        assert found == pytest.approx(expected, rel=0, abs=1e-9)


def test_both_parts_of_ijb_leave_out_the_same_people():
    """By genuine pairs and by the lists' subjects; a person of neither is one of their own."""
    arrays = {
        "pairs": np.array([[1, 11], [2, 12], [1, 12], [5, 6], [7, 8]]),
        "same": np.array([True, True, False, True, False]),
        "gallery_G1": np.array([[1, 100]]),
        "gallery_G2": np.array([[2, 200]]),
        "probes": np.array([[11, 100], [12, 200], [13, 100], [14, 300]]),
    }
    ids = np.array([1, 2, 5, 6, 7, 8, 11, 12, 13, 14])
    index = {"layout": {"galleries": ["G1", "G2"]}, "protocol": {"options": {}}}
    features = StoredFeatures(Path("f"), index, np.zeros((10, 2), np.float32), arrays)
    people = ijb.people_of(features, ijb.PooledTemplates(ids, np.zeros((10, 2), np.float32)))
    numbers = dict(zip(ids.tolist(), people.numbers.tolist(), strict=True))
    assert numbers[1] == numbers[11] == numbers[13] and numbers[2] == numbers[12] and numbers[5] == numbers[6]
    assert len(set(numbers.values())) == people.units == 6
