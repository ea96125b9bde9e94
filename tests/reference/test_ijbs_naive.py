"""IJB-S against plain loops written from the protocol: templates face by face, every probe sorted, galleries apart."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.frame_pooling import segment_sums
from aroface.evaluation.protocols.ijbs import SEARCHES, evaluate


def naive_template(values, arrays, template):
    """Plain mean of all faces, then L2; zeros without a face."""
    faces = []
    for place in range(arrays["template_offsets"][template], arrays["template_offsets"][template + 1]):
        medium = arrays["template_media"][place]
        for row in range(arrays["medium_offsets"][medium], arrays["medium_offsets"][medium + 1]):
            length = np.linalg.norm(values[row].astype(float))
            faces.append(length * (values[row].astype(float) / length) if length else values[row].astype(float))
    mean = np.mean(faces, axis=0) if faces else np.zeros(values.shape[1])
    return mean / np.linalg.norm(mean) if mean.any() else mean


def naive_search(probe, subject, gallery):
    """Templates of a gallery, best first and others before mates where they tie; which is the best mate's place?"""
    entries = [(round(sum(probe * template), 10), owner == subject, template.any()) for owner, template in gallery]
    entries.sort(key=lambda entry: (-entry[0], entry[1]))
    if probe.any():
        for place, (score, mate, has_face) in enumerate(entries, start=1):
            if mate and has_face:
                return 1 + sum(not other[1] for other in entries[: place - 1]), score
    return None, None


def naive_legacy(probe, subject, gallery):
    """The released script: an ascending sort, read from its end; templates without a face are like others."""
    scores = [round(sum(probe * template), 10) for _, template in gallery]
    for place, number in enumerate(np.argsort(scores, kind="stable")[::-1], start=1):
        if gallery[number][0] == subject:
            return place, scores[number]
    return None, None


def naive_rank(probes, gallery, k, search=naive_search):
    owners = {owner for owner, _ in gallery}
    found = [search(probe, subject, gallery)[0] for subject, probe in probes if subject in owners]
    return np.mean([place is not None and place <= k for place in found]) if found else None


def naive_tpir(probes, gallery, fpir, search=naive_search):
    owners = {owner for owner, _ in gallery}
    strangers = [probe for subject, probe in probes if subject not in owners]
    if not strangers or len(strangers) == len(probes):
        return None
    alarms = sorted((max(round(sum(p * template), 10) for _, template in gallery) for p in strangers), reverse=True)
    allowed = int(len(alarms) * fpir)
    right = []
    for subject, probe in probes:
        if subject in owners:
            place, score = search(probe, subject, gallery)
            if place == 1:
                right.append(score >= alarms[allowed - 1] if allowed else score > alarms[0])
            else:
                right.append(False)
    return np.mean(right)


def naive_metrics(values, arrays):
    templates = [
        (arrays["template_subjects"][number], naive_template(values, arrays, number))
        for number in range(len(arrays["template_subjects"]))
    ]
    metrics = {}
    for name, (probes, gallery) in SEARCHES.items():
        parts = [[templates[number] for number in arrays[f"{gallery}_{part}"]] for part in (1, 2)]
        people = [templates[number] for number in arrays[probes]]
        for k in (1, 5, 10):
            metrics[f"{name}_rank{k}"] = naive_rank(people, parts[0] + parts[1], k)
            metrics[f"{name}_legacy_rank{k}"] = naive_rank(people, parts[0] + parts[1], k, naive_legacy)
        for word, fpir in (("1e-2", 0.01), ("1e-1", 0.1)):
            for kind, search in (("tpir", naive_search), ("tpir_legacy", naive_legacy)):
                rates = [naive_tpir(people, part, fpir, search) for part in parts]
                metrics[f"{name}_{kind}_at_fpir_{word}"] = None if None in rates else np.mean(rates)
    return {name: value for name, value in metrics.items() if value is not None}


def cast(rng, subjects, strangers, frames=3, faceless=0.1, videos=2, dimension=6):
    """Arrays and the person of each row: stills and videos of enrolled people, videos of strangers."""
    media, templates = [], []  # (subject, faces), (subject, media)
    kinds = {}

    def template(kind, subject, faces):
        kinds.setdefault(kind, []).append(len(templates))
        numbers = []
        for count in faces:
            if rng.random() >= faceless:
                numbers.append(len(media))
                media.append((subject, count))
        templates.append((subject, numbers))

    for subject in range(subjects):
        part = 1 + subject % 2
        template(f"gallery_single_{part}", subject, [1])
        template(f"gallery_booking_{part}", subject, [1] * int(rng.integers(1, 4)))
        for _ in range(int(rng.integers(1, 3))):
            template(f"gallery_surveillance_{part}", subject, [int(rng.integers(1, frames + 1))])
    for kind in ("single_booking", "surveillance", "uav"):
        for subject in range(subjects + strangers):
            for _ in range(videos):
                template(f"probes_{kind}", subject, [int(rng.integers(1, frames + 1))])
    arrays = {f"{gallery}_2": np.empty(0, np.int64) for _, gallery in SEARCHES.values()}  # of one enrolled person
    arrays |= {kind: np.array(numbers, dtype=np.int64) for kind, numbers in kinds.items()}
    arrays["medium_offsets"] = np.cumsum([0] + [count for _, count in media])
    arrays["template_offsets"] = np.cumsum([0] + [len(numbers) for _, numbers in templates])
    arrays["template_media"] = np.array([number for _, numbers in templates for number in numbers], dtype=np.int64)
    arrays["template_subjects"] = np.array([subject for subject, _ in templates])
    return arrays, np.repeat([subject for subject, _ in media], [count for _, count in media])


def noisy(rng, owners, noise, dimension=6):
    people = rng.normal(size=(owners.max() + 1, dimension))
    values = people[owners] + noise * rng.normal(size=(len(owners), dimension))
    return (values * rng.uniform(0.2, 20, size=(len(owners), 1))).astype(np.float32)


def assert_equal(values, arrays):
    features = StoredFeatures(Path("features"), {}, values, arrays)
    found, expected = evaluate(features).metrics, naive_metrics(values, arrays)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=0, atol=1e-9)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_metrics_equal_plain_loops(seed):
    rng = np.random.default_rng(seed)
    arrays, owners = cast(rng, subjects=14, strangers=60)
    metrics = assert_equal(noisy(rng, owners, noise=0.3 + 0.3 * seed), arrays)
    assert len(metrics) == 10 * len(SEARCHES)
    assert 0 < metrics["surveillance_to_single_rank1"] < metrics["surveillance_to_single_rank10"]
    assert 0 < metrics["surveillance_to_surveillance_tpir_at_fpir_1e-1"] < 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 4), st.sampled_from([0.0, 0.3, 0.7]))
def test_metrics_equal_plain_loops_on_tiny_sets_with_ties(seed, subjects, strangers, faceless):
    rng = np.random.default_rng(seed)
    arrays, owners = cast(rng, subjects, strangers, frames=2, faceless=faceless, videos=1)
    values = rng.choice([-1, 0, 1], size=(len(owners), 6)).astype(np.float32)
    assert_equal(values, arrays)


def test_a_model_that_maps_all_faces_to_one_point_gets_no_credit():
    rng = np.random.default_rng(1)
    arrays, owners = cast(rng, subjects=30, strangers=20)
    values = np.tile(rng.normal(size=6).astype(np.float32), (len(owners), 1))
    metrics = assert_equal(values * rng.uniform(0.5, 2, size=(len(owners), 1)).astype(np.float32), arrays)
    assert {value for name, value in metrics.items() if "legacy" not in name} == {0}


def test_an_open_set_without_strangers_is_not_defined():
    rng = np.random.default_rng(2)
    arrays, owners = cast(rng, subjects=6, strangers=0)
    for kind in ("single", "booking", "surveillance"):
        arrays[f"gallery_{kind}_1"] = np.concatenate([arrays[f"gallery_{kind}_{part}"] for part in (1, 2)])
    metrics = assert_equal(noisy(rng, owners, 0.5), arrays)
    assert metrics.keys() == {
        f"{name}{kind}_rank{k}" for name in SEARCHES for kind in ("", "_legacy") for k in (1, 5, 10)
    }


def test_a_set_without_any_mate_is_refused():
    rng = np.random.default_rng(2)
    arrays, owners = cast(rng, subjects=3, strangers=4)
    probes = np.unique(np.concatenate([arrays[probes] for probes, _ in SEARCHES.values()]))
    arrays["template_subjects"][probes] += 100
    with pytest.raises(InputError, match="no probe has a mate"):
        evaluate(StoredFeatures(Path("features"), {}, noisy(rng, owners, 0.5), arrays))


def test_people_without_a_face_are_missed_even_in_the_smallest_gallery():
    """A rank among the ten best of two would be free; a zero template gets none."""
    rng = np.random.default_rng(3)
    arrays, owners = cast(rng, subjects=2, strangers=2, faceless=0.0)
    values = noisy(rng, owners, 0.0)
    clean = assert_equal(values, arrays)
    assert clean["surveillance_to_single_rank10"] == 1
    probe = arrays["probes_single_booking"][0]
    medium = arrays["template_media"][arrays["template_offsets"][probe]]
    values[arrays["medium_offsets"][medium] : arrays["medium_offsets"][medium + 1]] = 0
    assert assert_equal(values, arrays)["surveillance_to_single_rank10"] == 3 / 4


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_released_rates_credit_people_without_a_face_by_their_place_in_the_gallery(place):
    rng = np.random.default_rng(3)
    arrays, owners = cast(rng, subjects=12, strangers=2, faceless=0.0, videos=1)
    values = noisy(rng, owners, 0.0)
    clean = assert_equal(values, arrays)
    same = [clean[f"surveillance_to_single{kind}_rank{k}"] for kind in ("", "_legacy") for k in (1, 5, 10)]
    assert same == [1.0] * 6
    gallery = np.concatenate([arrays["gallery_single_1"], arrays["gallery_single_2"]])
    person = arrays["template_subjects"][gallery[0 if place == "first" else -1]]
    (probe,) = (each for each in arrays["probes_single_booking"] if arrays["template_subjects"][each] == person)
    medium = arrays["template_media"][arrays["template_offsets"][probe]]
    values[arrays["medium_offsets"][medium] : arrays["medium_offsets"][medium + 1]] = 0
    found = assert_equal(values, arrays)
    assert found["surveillance_to_single_rank1"] == pytest.approx(11 / 12)
    expected = 1.0 if place == "last" else 11 / 12
    assert found["surveillance_to_single_legacy_rank1"] == pytest.approx(expected)


def test_blocks_of_rows_change_nothing():
    rng = np.random.default_rng(4)
    offsets = np.cumsum([0, 3, 1, 40, 0, 7, 1])
    values = rng.normal(size=(offsets[-1], 5)).astype(np.float32)
    expected = [values[low:high].astype(float).sum(axis=0) for low, high in pairwise(offsets)]
    for block in (1, 2, 5, 44, 1000):
        np.testing.assert_allclose(segment_sums(values, offsets, block=block), expected, rtol=0, atol=1e-12)
