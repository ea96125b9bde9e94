"""Pairs, learned scalars and batch losses on several ranks against naive formulas in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from aroface.distributed.collectives import mean_over_ranks
from aroface.errors import InputError
from aroface.heads import chunked_logits
from aroface.heads.base import Head, HeadOptions, Reduction
from aroface.heads.batch_losses.base import BatchLoss, BatchLossOptions, PassedBatch
from aroface.heads.batch_losses.registry import BATCH_LOSSES
from aroface.heads.batch_losses.registry import build as build_batch_loss
from aroface.heads.pair_terms.base import MoreNegatives, PairLoss, PairLossOptions, PairOptions, log_sum_exp, same_label
from aroface.heads.pair_terms.registry import PAIR_TERMS
from aroface.heads.pair_terms.registry import build as build_pair_term
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build
from gloo import run_ranks

CLASSES, SIZE, BATCH, SEED, S = 13, 8, 12, 7, 16.0
WORLDS = (1, 2, 3, 4)
LABELS = torch.tensor([0, 12, 5, 11, 12, 5, 5, 6, 1, 1, 0, 8])


class Attraction(PairLoss):
    """Mean distance of the pairs of one label, weighted by the place of both in the batch."""

    def __init__(self, options: PairLossOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        places = torch.arange(len(features), dtype=features.dtype)
        weights = same_label(labels) * (1 + places.unsqueeze(0)) * (2 + places.unsqueeze(1))
        return (weights * (1 - features @ features.T)).sum() / 100


class EveryNegative(MoreNegatives):
    """All negative pairs, each twice."""

    def __init__(self, options: PairOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, features: Tensor, labels: Tensor, scale: float) -> Tensor:
        return log_sum_exp(scale * features @ features.T, ~same_label(labels))


class Learned(Head):
    """A learned factor of the target's logit, and two learned scalars of the other classes' logits."""

    def __init__(self, options: HeadOptions) -> None:
        super().__init__(options.s)
        self.options = options
        self.factor = nn.Parameter(torch.tensor(0.9))
        self.power = nn.Parameter(torch.tensor([0.3, -0.2]))

    def start(self, num_classes: int, sample_rate: float) -> None:
        assert (num_classes, sample_rate) == (CLASSES, 1)

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        return self.s * self.factor * cosines

    def other_terms(self, target: Tensor) -> Tensor:
        return torch.cat([self.power.expand(len(target), 2), target.unsqueeze(1)], 1)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        slope, bias, target = terms.unsqueeze(2).unbind(1)
        return self.s * ((1 + slope * target) * cosines + bias)


class LearnedSum(Learned):
    reduction: ClassVar[Reduction] = "sum"


class Weighted(BatchLoss):
    """Squares of the losses, and the mean length of the embeddings of each rank times that of its images."""

    def __init__(self, options: BatchLossOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, passed: PassedBatch) -> Tensor:
        own = passed.embeddings.norm(dim=1).mean() * passed.clean.mean() * passed.images.mean()
        return passed.losses.square().mean() + self.options.weight * mean_over_ranks(own)


@dataclass(frozen=True)
class Case:
    """Head, pair term and batch loss of a pass."""

    head: Any
    pairs: Any = None
    batch: Any = None


def cases() -> dict[str, Case]:
    def options(**changes: Any) -> PairLossOptions:
        return PairLossOptions(in_attack=True, **changes)

    def softmax() -> Head:
        return build("softmax", s=S)

    return {
        "pair loss": Case(softmax(), Attraction(options(weight=0.7))),
        "pair loss alone": Case(softmax(), Attraction(options(class_weight=0.0))),
        "pair loss beside": Case(softmax(), Attraction(PairLossOptions(class_weight=0.5))),
        "more negatives": Case(softmax(), EveryNegative(PairOptions(in_attack=True))),
        "learned scalars": Case(Learned(HeadOptions(S))),
        "learned scalars of a sum": Case(LearnedSum(HeadOptions(S))),
        "batch loss": Case(softmax(), batch=Weighted(BatchLossOptions(0.3))),
        "all": Case(Learned(HeadOptions(S)), EveryNegative(PairOptions()), Weighted(BatchLossOptions(0.3))),
    }


def data() -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    weights = Classifier(CLASSES, SIZE, build("softmax"), seed=SEED).weight.detach()
    embeddings = torch.randn(BATCH, SIZE, generator=draws) + F.normalize(weights)[LABELS]
    return 3 * embeddings, torch.rand(BATCH, 3, 4, 4, generator=draws), weights


def passes(rank: int, world: int, embeddings: Tensor, images: Tensor) -> dict[str, Any]:
    chunked_logits.CLASSES_AT_ONCE = 2
    found = {}
    own = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    for name, case in cases().items():
        classifier = Classifier(CLASSES, SIZE, case.head, seed=SEED, pairs=case.pairs)
        leaf = embeddings[own].clone().requires_grad_()
        losses = classifier.losses(leaf, LABELS[own])
        loss = losses.mean()
        if case.batch:
            rows = torch.arange(len(leaf))
            passed = PassedBatch(images[own], 2 * images[own], rows, LABELS[own], leaf, losses, lambda images: images)
            loss = case.batch(passed)
        loss.backward()
        scalars = [scalar.grad.clone() for scalar in case.head.parameters()]
        weight = classifier.weight.grad
        attacked = embeddings[own].clone().requires_grad_()
        attack = classifier(attacked, LABELS[own], update_statistics=False, weight_gradient=False)
        (of_attack,) = torch.autograd.grad(attack, attacked)
        assert all(
            torch.equal(scalar.grad, before) for scalar, before in zip(case.head.parameters(), scalars, strict=True)
        )
        found[name] = {
            "loss": loss.detach(),
            "embeddings": leaf.grad / world,
            "weight": torch.zeros_like(classifier.weight) if weight is None else weight,
            "scalars": scalars,
            "attack": attack.detach(),
            "of attack": of_attack / world,
        }
    return found


def naive(name: str, embeddings: Tensor, weights: Tensor, scalars: Any, world: int, *, attack: bool) -> Tensor:
    """The loss of a case, one sample, class and pair at a time."""
    case, units = cases()[name], F.normalize(embeddings)
    images = data()[1].double()
    joins = case.pairs is not None and (case.pairs.options.in_attack or not attack)
    pairs = [(i, j) for i in range(BATCH) for j in range(BATCH)]
    losses = []
    for i in range(BATCH):
        cosines = F.normalize(weights) @ units[i]
        target = cosines[LABELS[i]]
        others = [cosines[j] for j in range(CLASSES) if j != LABELS[i]]
        if scalars:
            factor, power = scalars
            others = [(1 + power[0] * target.detach()) * other + power[1] for other in others]
            target = factor * target
        logits = [S * other for other in others]
        if isinstance(case.head, LearnedSum):
            losses.append(sum(logits) - S * target)
            continue
        if joins and isinstance(case.pairs, EveryNegative):
            logits += [S * (units[i] * units[j]).sum() for i, j in pairs if LABELS[i] != LABELS[j]]
        losses.append(-torch.log((S * target).exp() / ((S * target).exp() + sum(logit.exp() for logit in logits))))
    mean = sum(losses) / BATCH
    if joins and isinstance(case.pairs, Attraction):
        near = sum((1 + j) * (2 + i) * (1 - (units[i] * units[j]).sum()) for i, j in pairs if LABELS[i] == LABELS[j])
        mean = case.pairs.options.class_weight * mean + case.pairs.options.weight * near / 100
    if case.batch and not attack:
        parts = zip(embeddings.chunk(world), images.chunk(world), strict=True)
        terms = [part.norm(dim=1).mean() * 2 * shown.mean() * shown.mean() for part, shown in parts]
        mean = sum(loss**2 for loss in losses) / BATCH + 0.3 * sum(terms) / world
    return mean


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"{world} ranks")
def ranks(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return run_ranks(request.param, passes, request.param, *data()[:2])


@pytest.mark.parametrize("name", cases())
def test_loss_and_gradients_are_those_of_the_whole(ranks: list[dict[str, Any]], name: str) -> None:
    world, found = len(ranks), [rank[name] for rank in ranks]
    embeddings, _, weights = data()
    for attack in (False, True):
        leaf, classes = embeddings.double().requires_grad_(), weights.double().requires_grad_()
        scalars = [scalar.detach().double().requires_grad_() for scalar in cases()[name].head.parameters()]
        loss = naive(name, leaf, classes, scalars, world, attack=attack)
        grads = torch.autograd.grad(loss, (leaf, classes, *scalars), allow_unused=True, materialize_grads=True)
        keys = ("attack", "of attack") if attack else ("loss", "embeddings")
        assert all(torch.equal(rank[keys[0]], found[0][keys[0]]) for rank in found)
        assert float(found[0][keys[0]]) == pytest.approx(float(loss.detach()), rel=1e-5)
        near(torch.cat([rank[keys[1]] for rank in found]), grads[0])
    # Of the attack neither weights nor scalars have a gradient.
    loss = naive(name, leaf, classes, scalars, world, attack=False)
    grads = torch.autograd.grad(loss, (classes, *scalars), allow_unused=True, materialize_grads=True)
    near(torch.cat([rank["weight"] for rank in found]), grads[0])
    for place, expected in enumerate(grads[1:]):
        assert all(torch.equal(rank["scalars"][place], found[0]["scalars"][place]) for rank in found)
        near(found[0]["scalars"][place], expected)


def near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_log_sum_exp_of_nothing_has_no_gradient() -> None:
    logits = torch.randn(3, 3, requires_grad=True)
    nothing = log_sum_exp(logits, torch.zeros(3, 3, dtype=torch.bool))
    joined = torch.logaddexp(torch.tensor(1.5), nothing)
    joined.backward()
    assert float(joined.detach()) == 1.5
    assert logits.grad is not None
    assert not logits.grad.any()


class NoWait(TorchDispatchMode):
    """Refuses what would wait for a number from a GPU."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        places = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        chosen = any(isinstance(place, Tensor) and place.dtype == torch.bool for place in places)
        assert name not in self.WAITING and not chosen, name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [*PAIR_TERMS, "triplet, all", *BATCH_LOSSES, "topology, cosine"])
def test_no_term_waits_for_the_device(name: str) -> None:
    embeddings, images, _ = data()
    leaf = embeddings.clone().requires_grad_()
    kind, _, variant = name.partition(", ")
    if kind in PAIR_TERMS:
        term = build_pair_term(kind, **({"negatives": "violating"} if variant else {}))
        arguments: tuple[Any, ...] = (F.normalize(leaf), LABELS)
        arguments += (S,) if isinstance(term, MoreNegatives) else ()
    else:
        term = build_batch_loss(kind, **({"distances": "cosine", "hardness": "exact"} if variant else {}))
        rows, losses = torch.arange(BATCH), leaf.square().sum(1)
        arguments = (PassedBatch(images, images, rows, LABELS, leaf, losses, lambda faces: faces.flatten(1)[:, :SIZE]),)
    with NoWait():
        term(*arguments).backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_the_watch_sees_what_waits() -> None:
    for waiting in (lambda: float(torch.ones(())), lambda: torch.ones(3)[torch.ones(3) > 0], lambda: LABELS.nonzero()):
        with pytest.raises(AssertionError), NoWait():
            waiting()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: build_pair_term("none"), "pairs: unknown pair term 'none'; expected one of"),
        (lambda: build_batch_loss("none"), "batch_loss: unknown batch loss 'none'; expected one of"),
        (lambda: PairLossOptions(weight=0), "pairs: weight is 0; expected weight > 0"),
        (lambda: PairLossOptions(class_weight=0), "pairs: in_attack is False; expected true where class_weight is 0"),
        (lambda: BatchLossOptions(weight=-1), "batch_loss: weight is -1; expected weight > 0"),
        (
            lambda: Classifier(4, 2, build("sface"), seed=0, pairs=EveryNegative(PairOptions())),
            "pairs: EveryNegative beside SFace, which is no softmax; expected a head with a log-sum-exp",
        ),
    ],
)
def test_what_cannot_be_is_refused(call: Any, line: str) -> None:
    with pytest.raises(InputError) as thrown:
        call()
    assert str(thrown.value).startswith(line)
