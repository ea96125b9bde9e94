"""Options that repeat the released codes' behaviour: each against a plain transcription."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build
from aroface.training.row_sgd import RowSGD

CLASSES, DIMENSION, BATCH = 40, 8, 6


def _embeddings(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(BATCH, DIMENSION, generator=generator), torch.randint(CLASSES, (BATCH,), generator=generator)


@pytest.mark.parametrize("variant", ["arc", "cos"])
@pytest.mark.parametrize("seed", range(4))
def test_the_released_plus_hands_margins_to_the_inverse_permutation(variant: str, seed: int) -> None:
    options = {"name": "elasticface", "variant": variant, "m": 0.4, "sigma": 0.1}
    cosines = torch.rand(9, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    margins = build(**options).sample_terms(torch.ones(9), torch.Generator().manual_seed(seed), update_statistics=True)
    order = sorted(range(9), key=lambda sample: -float(cosines[sample]))
    ascending = sorted(margins[:, 0].tolist())
    handed = torch.tensor([ascending[order[sample]] for sample in range(9)])
    expected = torch.cos(cosines.arccos() + handed) if variant == "arc" else cosines - handed
    torch.testing.assert_close(build(**options, plus="released").target(cosines, margins), 64 * expected)
    paper = torch.empty(9)
    for place, sample in enumerate(order):
        paper[sample] = ascending[place]
    expected = torch.cos(cosines.arccos() + paper) if variant == "arc" else cosines - paper
    torch.testing.assert_close(build(**options, plus=True).target(cosines, margins), 64 * expected)


@pytest.mark.parametrize("every_row", [False, True])
def test_partial_fc_moves_rows_that_were_not_drawn_as_released(every_row: bool) -> None:
    ours = Classifier(CLASSES, DIMENSION, build("cosface", m=0.4), seed=1, sample_rate=0.3, initial="unit")
    optimiser = RowSGD(ours.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-2, every_row=every_row)
    weight = ours.weight.detach().clone().requires_grad_()
    released = torch.optim.SGD([weight], lr=0.05, momentum=0.9, weight_decay=5e-2)
    for step in range(4):
        embeddings, labels = _embeddings(step)
        ours.choose(labels, torch.Generator().manual_seed(step))
        drawn = ours._chosen
        assert drawn is not None and len(drawn) < CLASSES
        optimiser.zero_grad()
        ours(embeddings, labels).backward()
        optimiser.step()
        released.zero_grad()
        places = torch.searchsorted(drawn, labels)
        logits = F.linear(F.normalize(embeddings), F.normalize(weight[drawn])) - 0.4 * F.one_hot(places, len(drawn))
        F.cross_entropy(64 * logits, places).backward()
        released.step()
    difference = (ours.weight - weight).abs().max()
    assert difference < 1e-5 if every_row else difference > 1e-3


@pytest.mark.parametrize("head", ["arcface", "adaface"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosines_are_rounded_as_autocast_rounds_them(head: str, dtype: torch.dtype) -> None:
    embeddings, labels = _embeddings()
    found = {}
    for name in ("ours", "plain", "autocast"):
        own = embeddings.clone().requires_grad_()
        rounding = dtype if name == "ours" else None
        classifier = Classifier(CLASSES, DIMENSION, build(head), seed=1, initial="unit", dtype=rounding)
        if name != "autocast":
            loss = classifier(own, labels)
        else:
            head_, weight = classifier.head, classifier.weight
            with torch.autocast("cpu", dtype):
                cosines = torch.mm(F.normalize(own), F.normalize(weight).T).float()
            terms = head_.sample_terms(own.norm(dim=1), None, update_statistics=True)
            rows = torch.arange(BATCH)
            target = head_.target(cosines[rows, labels], terms)
            loss = F.cross_entropy(head_.others(cosines, terms).index_put((rows, labels), target), labels)
        loss.backward()
        found[name] = (float(loss.detach()), own.grad, classifier.weight.grad)
    assert found["ours"][0] == pytest.approx(found["autocast"][0], rel=1e-4)
    assert abs(found["plain"][0] - found["autocast"][0]) > 10 * abs(found["ours"][0] - found["autocast"][0])
    coarse = torch.finfo(dtype).eps
    for ours, theirs in zip(found["ours"][1:], found["autocast"][1:], strict=True):
        assert (ours - theirs).norm() < 4 * coarse * theirs.norm()


def test_classes_may_start_at_unit_length() -> None:
    unit = Classifier(3000, 16, build("adaface"), seed=2, initial="unit").weight
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(3000))
    assert float(unit.mean().abs()) < 0.01
    usual = Classifier(3000, 512, build("adaface"), seed=2).weight
    assert float(usual.norm(dim=1).mean()) == pytest.approx(0.2265, rel=0.01)
