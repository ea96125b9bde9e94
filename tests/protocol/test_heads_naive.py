"""The margin functions against the papers' formulas, one number at a time in double precision."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from aroface.heads.registry import build


def _arcface(cosine, s, m, guard):
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if guard and angle + m >= math.pi:
        return s * (cosine - m * math.sin(m))
    return s * math.cos(angle + m)


def _adaface_margins(norms, m, h, alpha, mean, std):
    """Margins per sample and the new statistics, from the norms of one batch."""
    safe = [min(100.0, max(0.001, norm)) for norm in norms]
    batch_mean = sum(safe) / len(safe)
    batch_std = math.sqrt(sum((norm - batch_mean) ** 2 for norm in safe) / (len(safe) - 1))
    mean, std = alpha * batch_mean + (1 - alpha) * mean, alpha * batch_std + (1 - alpha) * std
    scaled = [max(-1.0, min(1.0, h * (norm - mean) / (std + 0.001))) for norm in safe]
    return [(-m * z, m + m * z) for z in scaled], mean, std


def _adaface(cosine, s, angular, additive):
    angle = math.acos(max(-0.999, min(0.999, cosine)))
    return s * (math.cos(max(0.001, min(math.pi - 0.001, angle + angular))) - additive)


def _batch(seed, rows, classes):
    generator = torch.Generator().manual_seed(seed)
    cosines = torch.rand(rows, classes, generator=generator, dtype=torch.float64) * 2 - 1
    labels = torch.randint(-1, classes, (rows,), generator=generator)
    norms = torch.rand(rows, generator=generator, dtype=torch.float64) * 120
    return cosines, labels, norms


@given(seed=st.integers(0, 10**6), m=st.floats(0, 1.5), guard=st.booleans())
@settings(max_examples=25, deadline=None)
def test_arcface(seed, m, guard):
    cosines, labels, norms = _batch(seed, 6, 4)
    logits = build("arcface", s=30.0, m=m, guard=guard)(cosines, labels, norms)
    for row, label in enumerate(labels.tolist()):
        for column, cosine in enumerate(cosines[row].tolist()):
            expected = _arcface(cosine, 30.0, m, guard) if column == label else 30.0 * cosine
            assert float(logits[row, column]) == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 10**6), m=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_cosface(seed, m):
    cosines, labels, norms = _batch(seed, 6, 4)
    logits = build("cosface", s=30.0, m=m)(cosines, labels, norms)
    for row, label in enumerate(labels.tolist()):
        for column, cosine in enumerate(cosines[row].tolist()):
            expected = 30.0 * (cosine - m) if column == label else 30.0 * cosine
            assert float(logits[row, column]) == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 10**6), m=st.floats(0, 1), h=st.floats(0.05, 2))
@settings(max_examples=25, deadline=None)
def test_adaface_over_several_batches(seed, m, h):
    head = build("adaface", s=30.0, m=m, h=h, alpha=0.3).double()
    mean, std = 20.0, 100.0
    for step in range(3):
        cosines, labels, norms = _batch(seed + step, 6, 4)
        logits = head(cosines, labels, norms)
        margins, mean, std = _adaface_margins(norms.tolist(), m, h, 0.3, mean, std)
        for row, label in enumerate(labels.tolist()):
            for column, cosine in enumerate(cosines[row].tolist()):
                angular, additive = margins[row] if column == label else (0.0, 0.0)
                assert float(logits[row, column]) == pytest.approx(_adaface(cosine, 30.0, angular, additive), abs=1e-9)


def _statistics_of_a_rank(rank, folder, norms):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {}
    for kind in ("local", "global"):
        head = build("adaface", norm_stats=kind, alpha=1.0)
        own = norms[rank]
        head(torch.zeros(len(own), 3), torch.zeros(len(own), dtype=torch.int64), own)
        found[kind] = (float(head.norm_mean), float(head.norm_std))
    torch.save(found, folder / str(rank))
    dist.destroy_process_group()


def test_two_processes_follow_their_own_norms_or_those_of_both(tmp_path):
    norms = [torch.tensor([10.0, 14.0, 12.0]), torch.tensor([40.0, 50.0, 30.0, 20.0])]
    mp.spawn(_statistics_of_a_rank, (tmp_path, norms), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / str(rank))
        for kind, seen in (("local", norms[rank]), ("global", torch.cat(norms))):
            assert found[kind] == pytest.approx((float(seen.mean()), float(seen.std(correction=1))))
