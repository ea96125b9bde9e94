"""Searches in shards, ties and memory; test_identification_naive.py has the ranks themselves."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from numpy.lib.format import open_memmap

from aroface.evaluation.metrics.identification import Mates, find_mates, merge_shards, retrieve, search_shard

DISTRACTOR = -100


def gallery_of(rng, people, images, distractors, dimension=48):
    """Probes and a gallery of noisy people among distractors, in a random order."""
    centres = rng.normal(size=(people, dimension))
    probe_labels, mate_labels = rng.integers(0, people + 10, 90), rng.integers(0, people, images)
    probes = centres[probe_labels % people] + 1.5 * rng.normal(size=(90, dimension))
    mates = centres[mate_labels] + 1.5 * rng.normal(size=(images, dimension))
    gallery = np.concatenate([mates, rng.normal(size=(distractors, dimension))])
    labels = np.concatenate([mate_labels, np.full(distractors, DISTRACTOR)])
    order = rng.permutation(len(gallery))
    return probes.astype(np.float32), probe_labels, gallery[order].astype(np.float32), labels[order]


def join_mates(parts):
    """The mates in all shards, from those in each."""
    probes, rows, scores = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("owners", "rows", "scores")
    )
    order = np.lexsort((rows, probes))
    return Mates(probes[order], rows[order], scores[order])


def search_in_shards(probes, probe_labels, gallery, labels, cuts, **blocks):
    """As processes would: each knows its own part of the gallery, and of the others what they found."""
    ends = [0, *cuts, len(gallery)]
    shards = [slice(low, high) for low, high in pairwise(ends)]
    mates = join_mates([find_mates(probes, probe_labels, gallery[s], labels[s], s.start) for s in shards])
    return merge_shards(mates, [search_shard(probes, gallery[s], mates, s.start, **blocks) for s in shards])


def assert_same(one, other):
    np.testing.assert_array_equal(one.probes, other.probes)
    np.testing.assert_array_equal(one.ranks, other.ranks)
    np.testing.assert_array_equal(one.average_precision, other.average_precision)


@pytest.mark.parametrize("cuts", [[], [1234], [1, 70, 70, 2000]])
@pytest.mark.parametrize("blocks", [{}, {"probe_block": 17, "gallery_block": 333}])
def test_shards_find_what_a_whole_search_finds(cuts, blocks):
    rng = np.random.default_rng(0)
    case = gallery_of(rng, people=40, images=120, distractors=3000)
    assert_same(search_in_shards(*case, cuts, **blocks), retrieve(*case))


@pytest.mark.parametrize("cuts", [[], [1800], [5, 600, 601, 2500]])
def test_shards_agree_where_scores_differ_by_less_than_single_precision(cuts):
    """Every image is there some thirty times, some of them by one bit different: products of matrices are of no use."""
    rng = np.random.default_rng(1)
    probes, probe_labels, images, _ = gallery_of(rng, people=30, images=60, distractors=40)
    gallery = np.repeat(images, 30, axis=0)
    gallery = np.where(rng.random(gallery.shape) < 0.01, np.nextafter(gallery, np.float32(9)), gallery)
    labels = rng.integers(0, 60, len(gallery))
    order = rng.permutation(len(gallery))
    case = probes, probe_labels, gallery[order], labels[order]
    found = search_in_shards(*case, cuts, probe_block=8, gallery_block=700)
    assert_same(found, retrieve(*case))
    assert_same(found, in_double_precision(*case))


def in_double_precision(probes, probe_labels, gallery, labels):
    """The search with every score summed in float64 from features scaled in float32, and every row sorted."""
    probes, gallery = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (probes, gallery))
    ranks, precision = [], []
    closed = np.flatnonzero(np.isin(probe_labels, labels))
    for probe in closed:
        scores = np.sum(gallery.astype(np.float64) * probes[probe].astype(np.float64), axis=1)
        mates = labels == probe_labels[probe]
        places = 1 + np.flatnonzero(mates[np.lexsort((mates, -scores))])
        ranks.append(places[0])
        precision.append(np.add.reduceat(np.arange(1, len(places) + 1) / places, [0])[0] / len(places))
    return type("Found", (), {"probes": closed, "ranks": ranks, "average_precision": precision})


def test_one_point_for_all_faces_gets_no_credit_whatever_it_is():
    rng = np.random.default_rng(2)
    _, probe_labels, gallery, labels = gallery_of(rng, people=20, images=40, distractors=500)
    point = rng.normal(size=48).astype(np.float32)
    found = retrieve(np.tile(point, (90, 1)), probe_labels, np.tile(point, (len(gallery), 1)), labels)
    others = [np.count_nonzero(labels != label) for label in probe_labels[found.probes]]
    np.testing.assert_array_equal(found.ranks, 1 + np.array(others))


def test_a_shard_without_a_mate_or_without_a_row_is_none_too_few():
    rng = np.random.default_rng(3)
    probes, probe_labels, gallery, labels = gallery_of(rng, people=5, images=10, distractors=50)
    nothing = find_mates(probes, probe_labels, gallery[:0], labels[:0])
    assert len(nothing.rows) == 0
    strangers = np.full(len(labels), DISTRACTOR)
    found = retrieve(probes, probe_labels, gallery, strangers)
    assert len(found.probes) == len(found.ranks) == len(found.average_precision) == 0


def test_memory_does_not_grow_with_the_gallery(tmp_path):
    """13 and 51 MB of gallery on disk are searched in the same few; NumPy reports what it allocates."""
    rng = np.random.default_rng(4)
    probes, probe_labels, mates, mate_labels = gallery_of(rng, people=30, images=60, distractors=0, dimension=64)
    peaks = []
    for rows in (50_000, 200_000):
        gallery = open_memmap(tmp_path / f"{rows}.npy", "w+", np.float32, (rows, 64))
        for start in range(0, rows, 50_000):
            gallery[start : start + 50_000] = rng.standard_normal((50_000, 64), dtype=np.float32)
        gallery[rows - 60 :] = mates
        labels = np.full(rows, DISTRACTOR)
        labels[rows - 60 :] = mate_labels
        gallery = np.load(tmp_path / f"{rows}.npy", mmap_mode="r")
        tracemalloc.start()
        found = retrieve(probes, probe_labels, gallery, labels, probe_block=64, gallery_block=2048)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        (tmp_path / f"{rows}.npy").unlink()
        assert len(found.probes) >= 40
    assert peaks[1] < 8e6
    assert peaks[1] < 1.1 * peaks[0]
