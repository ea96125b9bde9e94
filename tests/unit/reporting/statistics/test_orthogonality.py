from __future__ import annotations

import pytest

from aroface.reporting.statistics.orthogonality import Arms, judge_orthogonality
from aroface.reporting.statistics.samples import Sample

NOISE = ((0.0, 0.001, -0.001, 0.0005), (0.0004, -0.0008, 0.0006, 0.0), (-0.0007, 0.0002, 0.0003, 0.001))


def arms(gain: float, random_gain: float, number: int, plain: float = 0.7) -> Arms:
    def sample(value: float, noise: tuple[float, ...]) -> Sample:
        return Sample({seed: value + each for seed, each in enumerate(noise)})

    shifted = [NOISE[(number + place) % 3] for place in range(3)]
    return Arms(sample(plain, shifted[0]), sample(plain + random_gain, shifted[1]), sample(plain + gain, shifted[2]))


@pytest.mark.parametrize(
    ("gains", "random_gains", "verdict"),
    [
        ((0.02, 0.02, 0.02, 0.02), (0.005,) * 4, "confirmed"),
        ((0.02, 0.02, 0.02, 0.02), (0.02,) * 4, "not enough data"),  # random does as well
        ((0.02, 0.02, 0.02, 0.02), (0.03,) * 4, "refuted"),  # random does better
        ((-0.02, -0.02, -0.02, -0.02), (-0.03,) * 4, "refuted"),
        ((0.03, 0.03, 0.03, -0.02), (0.0,) * 4, "refuted"),  # one method loses
        ((0.02, 0.03, 0.04, 0.05), (0.0,) * 4, "not enough data"),  # a gain for each, and not the same
        ((0.0, 0.0, 0.0, 0.0), (0.0,) * 4, "not enough data"),
    ],
)
def test_verdicts_by_hand(gains: tuple[float, ...], random_gains: tuple[float, ...], verdict: str):
    methods = {f"m{number}": arms(*each, number) for number, each in enumerate(zip(gains, random_gains, strict=True))}
    found = judge_orthogonality(methods)
    assert found.verdict == verdict
    assert found.gain.whole is not None
    assert float(found.gain.whole.mean) == pytest.approx(sum(gains) / 4, abs=5e-4)


def test_a_method_without_results_keeps_the_claim_open():
    methods = {f"m{number}": arms(0.02, 0.0, number) for number in range(4)}
    assert judge_orthogonality(methods).verdict == "confirmed"
    methods["m4"] = Arms(arms(0.02, 0.0, 0).plain, Sample({}), Sample({}))
    found = judge_orthogonality(methods)
    assert found.verdict == "not enough data"
    assert found.gain.methods["m4"] is None
    assert judge_orthogonality({}).verdict == "not enough data"
