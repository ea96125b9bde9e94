"""The sharded classifier on several ranks against all classes on one, computed plainly."""

import math

import pytest
import torch
import torch.nn.functional as F

from aroface.distributed.sharding import shard
from aroface.heads import chunked_logits
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build
from aroface.training.row_sgd import RowSGD
from gloo import RankError, run_ranks

CLASSES, SIZE, BATCH, SEED = 23, 16, 12, 7
WORLDS = (1, 2, 3, 4)
HEADS = {
    "softmax": {},
    "arcface": {"gradient": "exact"},
    "arcface guarded": {"gradient": "exact", "guard": True, "m": 1.5},
    "arcface straight through": {"gradient": "straight_through"},
    "cosface": {},
    "adaface": {"norm_stats": "local", "alpha": 0.5},
    "adaface global": {"norm_stats": "global", "alpha": 0.5},
    "curricularface": {"alpha": 0.5},
    "elasticface": {},
    "elasticface plus": {"variant": "cos", "m": 0.35, "sigma": 0.05, "plus": True},
    "sface": {},
    "magface": {},
    "magface hard": {"easy_margin": False, "margin_max": 1.5},
    "combined": {},
    "combined filtered": {"filter_above": 0.1, "filter_to": "out"},
    "circle": {"m": 0.3},
    "mvsoftmax": {},
    "uniface": {},
}
BATCHES = {
    "everywhere": [0, 22, 5, 11, 12, 17, 5, 6, 16, 21, 1, 8],
    "first classes only": [0, 1, 2, 3, 4, 3, 2, 1, 0, 4, 4, 4],  # no positives in the last shards
}


def _build(head):
    return build(head.split()[0], s=16.0, **HEADS[head])


def _data(labels):
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(BATCH, SIZE, generator=generator)
    lengths = torch.linspace(3, 130, BATCH).unsqueeze(1)
    return F.normalize(embeddings) * lengths, torch.tensor(BATCHES[labels])


def _weights():
    return Classifier(CLASSES, SIZE, build("softmax"), seed=SEED).weight.detach()


def _near(embeddings, weights, labels):
    """Embeddings that lean towards their classes, as they do after some training."""
    return embeddings + 0.5 * embeddings.norm(dim=1, keepdim=True) * F.normalize(weights)[labels]


def _passes(rank, world, weights):
    """Loss and gradients on each batch by each head; later passes see moved statistics."""
    chunked_logits.CLASSES_AT_ONCE = 3  # several chunks a shard, the last one shorter
    found = {}
    for head in HEADS:
        for batch in BATCHES:
            classifier = Classifier(CLASSES, SIZE, _build(head), seed=SEED)
            embeddings, labels = _data(batch)
            embeddings = _near(embeddings, weights, labels)
            own = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
            for turn in range(2):
                leaf = embeddings[own].clone().requires_grad_()
                generator = torch.Generator().manual_seed(100 * turn + rank)
                loss = classifier(leaf, labels[own], generator=generator)
                classifier.zero_grad()
                loss.backward()
                assert (classifier.weight.grad is not None) and classifier.weight.grad.shape == classifier.weight.shape
                found[head, batch, turn] = (loss.detach(), leaf.grad / world, classifier.weight.grad.clone())
            still = embeddings[own].clone().requires_grad_()
            state = {name: value.clone() for name, value in classifier.state_dict().items()}
            classifier.zero_grad()
            loss = classifier(still, labels[own], update_statistics=False, weight_gradient=False)
            torch.autograd.grad(loss, still)
            assert classifier.weight.grad is None
            assert all(torch.equal(value, state[name]) for name, value in classifier.state_dict().items())
    return found


class Plain:
    """All classes in one matrix, in float32, with the state of the heads that have one."""

    def __init__(self, head, world):
        self.name, self.options, self.world = head.split()[0], _build(head).options, world
        self.statistics = [[20.0, 100.0] for _ in range(world)]
        self.t = 0.0

    def loss(self, embeddings, weights, labels, turn):
        cosines = F.linear(F.normalize(embeddings), F.normalize(weights)).clamp(-1, 1)
        one_hot = F.one_hot(labels, CLASSES).bool()
        target, norms = cosines[one_hot], embeddings.norm(dim=1)
        s = 16.0
        logits, margined, extra = getattr(self, self.name)(cosines, target, norms, turn)
        if self.name == "sface":
            return (s * logits.masked_fill(one_hot, 0).sum(1) - s * margined).mean()
        if self.name == "uniface":
            b = math.log(10 * CLASSES)
            return (F.softplus(b - s * margined) + F.softplus(s * logits - b).masked_fill(one_hot, 0).sum(1)).mean()
        return F.cross_entropy(s * torch.where(one_hot, margined.unsqueeze(1), logits), labels) + extra

    def arc(self, target, m, guard=False):
        m = torch.as_tensor(m)
        margined = (target.clamp(-1 + 1e-7, 1 - 1e-7).acos() + m).cos()
        return torch.where(target > (math.pi - m).cos(), margined, target - m * m.sin()) if guard else margined

    def softmax(self, cosines, target, norms, turn):
        return cosines, target, 0

    def arcface(self, cosines, target, norms, turn):
        margined = self.arc(target, self.options.m, self.options.guard)
        if self.options.gradient == "straight_through":
            margined = target + (margined - target).detach()
        return cosines, margined, 0

    def cosface(self, cosines, target, norms, turn):
        return cosines, target - self.options.m, 0

    def combined(self, cosines, target, norms, turn):
        above = self.options.filter_above
        left = cosines if above is None else cosines.masked_fill(cosines > above, -math.inf)
        return left, self.arc(target, 0.3) - 0.2, 0

    def circle(self, cosines, target, norms, turn):
        others = (cosines.detach() + 0.3).clamp_min(0) * (cosines - 0.3)
        return others, (1.3 - target.detach()) * (target - 0.7), 0

    def mvsoftmax(self, cosines, target, norms, turn):
        margined = self.arc(target, 0.5, True)
        hard = cosines > margined.detach().unsqueeze(1)
        return torch.where(hard, 1.2 * cosines + 0.2, cosines), margined, 0

    def uniface(self, cosines, target, norms, turn):
        return cosines, target - 0.4, 0

    def adaface(self, cosines, target, norms, turn):
        norms = norms.detach().clamp(0.001, 100)
        parts = norms.chunk(self.world)
        qualities = []
        for statistics, part in zip(self.statistics, parts, strict=True):
            seen = part if self.options.norm_stats == "local" else norms
            for place, value in enumerate((seen.mean(), seen.std(correction=1))):
                statistics[place] = 0.5 * statistics[place] + 0.5 * float(value)
            qualities.append((0.333 * (part - statistics[0]) / (statistics[1] + 0.001)).clamp(-1, 1))
        quality, m = torch.cat(qualities), self.options.m
        cosines, target = cosines.clamp(-0.999, 0.999), target.clamp(-0.999, 0.999)
        angle = (target.acos() - m * quality).clamp(0.001, math.pi - 0.001)
        return cosines, angle.cos() - m - m * quality, 0

    def curricularface(self, cosines, target, norms, turn):
        self.t = 0.5 * self.t + 0.5 * float(target.detach().mean())
        hard = cosines > self.arc(target, 0.5).unsqueeze(1)
        return torch.where(hard, cosines * (self.t + cosines), cosines), self.arc(target, 0.5, True), 0

    def elasticface(self, cosines, target, norms, turn):
        draws = [
            torch.randn(BATCH // self.world, 1, generator=torch.Generator().manual_seed(100 * turn + rank))
            for rank in range(self.world)
        ]
        margins = self.options.m + self.options.sigma * torch.cat(draws).squeeze(1)
        if self.options.plus:
            order = sorted(range(BATCH), key=lambda i: float(target[i].detach()))
            margins = torch.tensor(
                [value for _, value in sorted(zip(order, sorted(margins.tolist(), reverse=True), strict=True))]
            )
        return cosines, target - margins if self.options.variant == "cos" else self.arc(target, margins), 0

    def sface(self, cosines, target, norms, turn):
        limit = 1 - 1e-7
        pull = torch.sigmoid(80 * (target.detach().clamp(-limit, limit).acos() - 0.8))
        push = torch.sigmoid(80 * (1.23 - cosines.detach().clamp(-limit, limit).acos()))
        return push * cosines, pull * target, 0

    def magface(self, cosines, target, norms, turn):
        norms = norms.clamp(10, 110)
        m = 0.45 + (self.options.margin_max - 0.45) * (norms - 10) / 100
        margined = self.arc(target, m, True)
        if self.options.easy_margin:
            margined = torch.where(target > 0, self.arc(target, m), target)
        return cosines, margined, (35 * (norms / 110**2 + 1 / norms)).mean()


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"{world} ranks")
def passes(request):
    return run_ranks(request.param, _passes, request.param, _weights())


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("head", HEADS)
def test_loss_and_gradients_are_those_of_the_whole(passes, head, batch):
    plain = Plain(head, len(passes))
    for turn in range(2):
        weights = _weights().requires_grad_()
        embeddings, labels = _data(batch)
        embeddings = _near(embeddings, _weights(), labels).requires_grad_()
        loss = plain.loss(embeddings, weights, labels, turn)
        loss.backward()
        ranks = [found[head, batch, turn] for found in passes]
        assert all(torch.equal(found[0], ranks[0][0]) for found in ranks)
        assert float(ranks[0][0]) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6)
        for place, expected in ((1, embeddings.grad), (2, weights.grad)):
            difference = torch.cat([found[place] for found in ranks]) - expected
            assert float(difference.abs().max()) <= 1e-5 * float(expected.abs().max())


def _steps(rank, world, rate, count):
    """Weights before and after some steps of RowSGD on batches of this rank, and the rows that took part."""
    chunked_logits.CLASSES_AT_ONCE = 3
    classifier = Classifier(CLASSES, SIZE, build("arcface"), seed=SEED, sample_rate=rate)
    optimiser = RowSGD(classifier.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    embeddings, labels = _data("first classes only")
    own = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    generator = torch.Generator().manual_seed(rank)
    seen = []
    for _ in range(count):
        optimiser.zero_grad()
        before = classifier.weight.detach().clone()
        classifier.choose(labels[own], generator)
        classifier(embeddings[own].clone().requires_grad_(), labels[own]).backward()
        optimiser.step()
        touched = None if rate == 1 else classifier.weight.grad._indices().squeeze(0)
        seen.append((before, classifier.weight.detach().clone(), touched))
    return classifier.rows, seen


@pytest.mark.parametrize("world", [1, 3])
def test_only_sampled_rows_change_and_the_positives_are_among_them(world):
    for rows, seen in run_ranks(world, _steps, world, 0.3, 4):
        draws = set()
        for before, after, touched in seen:
            changed = (before != after).any(1).nonzero().squeeze(1)
            assert torch.equal(changed, touched)
            positives = {label - rows.start for label in range(5) if label in rows}
            assert positives <= {*touched.tolist()}
            assert len(touched) == max(len(positives), int(0.3 * len(rows)), 1)
            draws.add(tuple(touched.tolist()))
        assert len(draws) > 1 or len(positives) >= int(0.3 * len(rows))


def _all_rows(rank, world):
    """The gradient with all classes chosen by hand, sparse, and the dense one."""
    embeddings, labels = _data("everywhere")
    own = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    gradients = []
    for rate in (0.5, 1.0):
        classifier = Classifier(CLASSES, SIZE, build("curricularface"), seed=SEED, sample_rate=rate)
        if rate < 1:
            classifier._chosen = torch.arange(len(classifier.rows))
        classifier(embeddings[own], labels[own]).backward()
        gradients.append(classifier.weight.grad.to_dense())
    return gradients


def test_with_all_classes_sampled_the_gradient_is_the_dense_one():
    for sparse, dense in run_ranks(3, _all_rows, 3):
        assert torch.equal(sparse, dense)


def _refusals(rank, world):
    """What each rank says about input that is wrong on one of them."""
    classifier = Classifier(CLASSES, SIZE, build("cosface"), seed=SEED)
    sampled = Classifier(CLASSES, SIZE, build("cosface"), seed=SEED, sample_rate=0.5)
    last = rank == world - 1
    lines = []
    for call in (
        lambda: classifier(torch.ones(3 - last, SIZE), torch.zeros(3 - last, dtype=torch.int64)),
        lambda: classifier(torch.ones(3, SIZE), torch.full((3,), 23 if last else 0)),
        lambda: sampled.choose(torch.full((3,), -1 if last else 0)),
        lambda: sampled(torch.ones(3, SIZE), torch.zeros(3, dtype=torch.int64)),
        lambda: (sampled.choose(torch.zeros(3, dtype=torch.int64)), _other_label(sampled, last)),
        lambda: Classifier(world - 1, SIZE, build("cosface"), seed=SEED),
    ):
        try:
            call()
            lines.append("")
        except Exception as error:
            lines.append(f"{type(error).__name__}: {error}")
    return lines


def _other_label(classifier, last):
    absent = next(
        row for row in range(len(classifier.rows)) if row not in classifier._chosen.tolist() and classifier.rows[0]
    ) if last else 0  # fmt: skip
    return classifier(torch.ones(3, SIZE), torch.full((3,), classifier.rows.start + absent if last else 0))


def test_what_is_wrong_on_one_rank_is_refused_by_all():
    expected = [
        "InputError: batch: 3, 3, 2 samples on the ranks; expected as many on each, some",
        "InputError: batch of rank 2: label 23; expected 0 to 22",
        "InputError: batch of rank 2: label -1; expected 0 to 22",
        "ValueError: no classes are chosen; call choose before each step",
        "ValueError: a label is not among the chosen classes; give choose the labels of the whole step",
        "InputError: 2 classes for 3 ranks; expected a class for each rank; use fewer ranks",
    ]
    assert run_ranks(3, _refusals, 3) == [expected] * 3


def _initial(rank, classes):
    return Classifier(classes, 4, build("softmax"), seed=SEED).weight.detach()


def test_initial_weights_do_not_depend_on_the_number_of_ranks():
    alone = Classifier(3001, 4, build("softmax"), seed=SEED).weight.detach()
    for world in (2, 4):
        assert torch.equal(torch.cat(run_ranks(world, _initial, 3001)), alone)


def test_shards_are_contiguous_complete_and_as_even_as_can_be():
    for world in range(1, 8):
        for classes in range(world, 30):
            ranges = [shard(classes, rank, world) for rank in range(world)]
            assert [label for each in ranges for label in each] == [*range(classes)]
            sizes = [len(each) for each in ranges]
            assert sizes == sorted(sizes, reverse=True)
            assert sizes[0] - sizes[-1] <= 1


def _double(rank):
    """One sample less than two on a rank, where each follows its own norms."""
    Classifier(CLASSES, SIZE, build("adaface"), seed=0)(torch.ones(1, SIZE), torch.zeros(1, dtype=torch.int64))


def test_adaface_needs_two_norms_where_it_follows_them():
    with pytest.raises(RankError, match="need at least two norms"):
        run_ranks(2, _double)
