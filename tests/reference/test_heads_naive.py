"""The heads against the papers' formulas, one sample and one class at a time in double precision."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aroface.heads.registry import build

ROWS, CLASSES, S = 6, 5, 20.0


def _loss(head, cosines, labels, norms, *, update=True, generator=None):
    """Loss (B,) of a head on all classes at once, by way of its hooks."""
    terms = head.sample_terms(norms, generator, update_statistics=update)
    own = torch.nn.functional.one_hot(labels, cosines.shape[1]).bool()
    target = cosines[own]
    if update:
        head.observe(target.detach())
    others = head.others(cosines, head.other_terms(target.detach()))
    if head.reduction == "sum":
        reduced = others.masked_fill(own, 0).sum(1)
    else:
        reduced = others.masked_fill(own, -math.inf).logsumexp(1)
    return head.loss(head.target(target, terms), reduced) + head.penalty(norms)


def _batch(seed, near=0.0):
    generator = torch.Generator().manual_seed(seed)
    angles = near + (math.pi - 2 * near) * torch.rand(ROWS, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (ROWS,), generator=generator)
    norms = torch.rand(ROWS, generator=generator, dtype=torch.float64) * 130
    return angles.cos(), labels, norms


def _cross_entropy(target, others):
    return -torch.log(target.exp() / (target.exp() + sum(other.exp() for other in others)))


def _split(row, label):
    return row[label], [row[j] for j in range(len(row)) if j != label]


def _plain(margined):
    """A naive loss whose other classes are only scaled, from a function (cosine, norm, i) of the target."""

    def loss(cosines, labels, norms):
        result = []
        for i, label in enumerate(labels.tolist()):
            target, others = _split(cosines[i], label)
            result.append(_cross_entropy(S * margined(target, norms[i], i), [S * other for other in others]))
        return torch.stack(result)

    return loss


def _arc(cosine, m, guard=False):
    angle = cosine.acos()
    return cosine - m * math.sin(m) if guard and float(angle.detach()) + m >= math.pi else (angle + m).cos()


def _agree(head, naive, batch, **options):
    """Loss and gradients of both on leaves of their own, to nine digits of the largest."""
    found = []
    for function in (lambda *leaves: _loss(head, *leaves, **options), naive):
        cosines, labels, norms = batch
        cosines, norms = cosines.clone().requires_grad_(), norms.clone().requires_grad_()
        losses = function(cosines, labels, norms)
        gradients = torch.autograd.grad(losses.sum(), (cosines, norms), allow_unused=True)
        found.append((losses.detach(), *(torch.zeros(1).double() if each is None else each for each in gradients)))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(
            ours.expand_as(expected) if ours.numel() == 1 else ours,
            expected.expand_as(ours),
            rtol=0,
            atol=1e-9 * max(1.0, float(expected.abs().max())),
        )


seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


@given(seed=seeds, m=st.floats(0, 1.5), guard=st.booleans())
@few
def test_arcface(seed, m, guard):
    naive = _plain(lambda cosine, norm, i: _arc(cosine, m, guard))
    _agree(build("arcface", s=S, m=m, guard=guard, gradient="exact"), naive, _batch(seed, near=0.001))


@given(seed=seeds, m=st.floats(0, 1))
@few
def test_cosface(seed, m):
    _agree(build("cosface", s=S, m=m), _plain(lambda cosine, norm, i: cosine - m), _batch(seed))


@given(seed=seeds)
@few
def test_softmax(seed):
    _agree(build("softmax", s=S), _plain(lambda cosine, norm, i: cosine), _batch(seed))


def _adaface_qualities(norms, h, alpha, mean, std):
    """Quality per sample and the new statistics, from the norms of one batch."""
    safe = [min(100.0, max(0.001, norm)) for norm in norms.tolist()]
    batch_mean = sum(safe) / len(safe)
    batch_std = math.sqrt(sum((norm - batch_mean) ** 2 for norm in safe) / (len(safe) - 1))
    mean, std = alpha * batch_mean + (1 - alpha) * mean, alpha * batch_std + (1 - alpha) * std
    return [max(-1.0, min(1.0, h * (norm - mean) / (std + 0.001))) for norm in safe], mean, std


def _adaface(cosine, m, quality):
    angle = cosine.clamp(-0.999, 0.999).acos() - m * quality
    return angle.clamp(0.001, math.pi - 0.001).cos() - (m + m * quality)


@given(seed=seeds, m=st.floats(0, 1), h=st.floats(0.05, 2))
@few
def test_adaface_over_several_batches(seed, m, h):
    head = build("adaface", s=S, m=m, h=h, alpha=0.3).double()
    mean, std = 20.0, 100.0
    for step in range(3):
        cosines, labels, norms = _batch(seed + step, near=0.05)  # the clamp of the other classes has a test of its own
        qualities, mean, std = _adaface_qualities(norms, h, 0.3, mean, std)
        naive = _plain(lambda cosine, norm, i, qualities=qualities: _adaface(cosine, m, qualities[i]))
        _agree(head, naive, (cosines, labels, norms))
        assert (float(head.norm_mean), float(head.norm_std)) == pytest.approx((mean, std))


def test_adaface_keeps_all_cosines_off_one():
    cosines = torch.tensor([[1.0, -1.0, 0.9995, 0.2], [-1.0, 1.0, -0.9995, 0.3]], dtype=torch.float64)
    labels, norms = torch.tensor([0, 0]), torch.tensor([5.0, 500.0], dtype=torch.float64)
    qualities, _, _ = _adaface_qualities(norms, 0.333, 0.01, 20.0, 100.0)
    losses = _loss(build("adaface", s=S).double(), cosines, labels, norms)
    for i in range(2):
        others = [S * other.clamp(-0.999, 0.999) for other in cosines[i, 1:]]
        torch.testing.assert_close(losses[i], _cross_entropy(S * _adaface(cosines[i, 0], 0.4, qualities[i]), others))


@given(seed=seeds, m=st.floats(0, 1.5), guard=st.booleans())
@few
def test_curricularface_over_several_batches(seed, m, guard):
    head = build("curricularface", s=S, m=m, alpha=0.3, guard=guard).double()
    t = 0.0
    for step in range(3):
        cosines, labels, norms = _batch(seed + step, near=0.001)
        t = 0.3 * sum(float(cosines[i, label]) for i, label in enumerate(labels.tolist())) / ROWS + 0.7 * t

        def naive(cosines, labels, norms, t=t):
            result = []
            for i, label in enumerate(labels.tolist()):
                target, others = _split(cosines[i], label)
                limit = float(_arc(target.detach(), m))
                changed = [other * (t + other) if float(other.detach()) > limit else other for other in others]
                result.append(_cross_entropy(S * _arc(target, m, guard), [S * other for other in changed]))
            return torch.stack(result)

        _agree(head, naive, (cosines, labels, norms))
        assert float(head.t) == pytest.approx(t)


@given(seed=seeds, variant=st.sampled_from(["arc", "cos"]), plus=st.booleans())
@few
def test_elasticface(seed, variant, plus):
    batch = cosines, labels, _ = _batch(seed, near=0.001)
    drawn = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(3)).squeeze(1).tolist()
    margins = [0.4 + 0.05 * each for each in drawn]
    if plus:  # the farther from its class, the larger the margin
        similarities = [float(cosines[i, label]) for i, label in enumerate(labels.tolist())]
        ranks = [sum(other < each for other in similarities) for each in similarities]
        margins = [sorted(margins, reverse=True)[rank] for rank in ranks]

    def margined(cosine, norm, i):
        return _arc(cosine, margins[i]) if variant == "arc" else cosine - margins[i]

    head = build("elasticface", s=S, m=0.4, sigma=0.05, variant=variant, plus=plus)
    generator = torch.Generator().manual_seed(3)
    ours = _loss(head, *batch, generator=generator)
    torch.testing.assert_close(ours, _plain(margined)(*batch), rtol=1e-6, atol=1e-6)  # margins are drawn as float32
    leaf = cosines.clone().requires_grad_()
    terms = torch.tensor(margins, dtype=torch.float64).unsqueeze(1)
    own = torch.nn.functional.one_hot(labels, CLASSES).bool()
    (ours,) = torch.autograd.grad(head.target(leaf[own], terms).sum(), leaf)
    (expected,) = torch.autograd.grad(sum(S * margined(leaf[i, labels[i]], 0, i) for i in range(ROWS)), leaf)
    torch.testing.assert_close(ours, expected)


def _sface(cosines, labels, k, a, b):
    result = []
    for i, label in enumerate(labels.tolist()):
        target, others = _split(cosines[i], label)
        pull = 1 / (1 + math.exp(-k * (math.acos(float(target.detach())) - a)))
        push = [1 / (1 + math.exp(k * (math.acos(float(other.detach())) - b))) for other in others]
        total = sum(weight * S * other for weight, other in zip(push, others, strict=True))
        result.append(total - pull * S * target)
    return torch.stack(result)


@given(seed=seeds, k=st.floats(1, 100), a=st.floats(0.2, 1), b=st.floats(1, 1.6))
@few
def test_sface(seed, k, a, b):
    head = build("sface", s=S, k=k, a=a, b=b)
    _agree(head, lambda cosines, labels, norms: _sface(cosines, labels, k, a, b), _batch(seed))


@given(
    seed=seeds,
    m1=st.sampled_from([0.9, 1.0, 1.35, 1.7]),
    m2=st.floats(0, 1),
    m3=st.floats(0, 0.5),
    guard=st.booleans(),
)
@few
def test_combined_margins(seed, m1, m2, m3, guard):
    def margined(cosine, norm, i):
        angle = m1 * cosine.acos() + m2
        turns = int(float(angle.detach()) // math.pi) if guard else 0
        return (-1) ** turns * angle.cos() - 2 * turns - m3

    head = build("combined", s=S, m1=m1, m2=m2, m3=m3, guard=guard)
    _agree(head, _plain(margined), _batch(seed, near=0.001))


@pytest.mark.parametrize("filter_to", ["zero", "out"])
def test_combined_margins_with_a_filter(filter_to):
    def naive(cosines, labels, norms):
        result = []
        for i, label in enumerate(labels.tolist()):
            target, others = _split(cosines[i], label)
            kept = [S * other for other in others if float(other.detach()) <= 0.3]
            kept += [torch.zeros((), dtype=torch.float64)] * ((len(others) - len(kept)) * (filter_to == "zero"))
            result.append(_cross_entropy(S * target, kept) if kept else torch.zeros((), dtype=torch.float64))
        return torch.stack(result)

    head = build("combined", s=S, m2=0.0, m3=0.0, filter_above=0.3, filter_to=filter_to)
    for seed in range(5):
        _agree(head, naive, _batch(seed, near=0.001))


@given(seed=seeds, m=st.floats(0, 1))
@few
def test_circle(seed, m):
    def naive(cosines, labels, norms):
        result = []
        for i, label in enumerate(labels.tolist()):
            target, others = _split(cosines[i], label)
            pulled = S * max(0.0, 1 + m - float(target.detach())) * (target - (1 - m))
            result.append(
                _cross_entropy(pulled, [S * max(0.0, float(other.detach()) + m) * (other - m) for other in others])
            )
        return torch.stack(result)

    _agree(build("circle", s=S, m=m), naive, _batch(seed))


@given(seed=seeds, m=st.floats(0, 1), t=st.floats(1, 2), variant=st.sampled_from(["arc", "am"]))
@few
def test_mvsoftmax(seed, m, t, variant):
    def naive(cosines, labels, norms):
        result = []
        for i, label in enumerate(labels.tolist()):
            target, others = _split(cosines[i], label)
            margined = target - m if variant == "am" else _arc(target, m, True)
            changed = [
                t * other + t - 1 if float(other.detach()) > float(margined.detach()) else other for other in others
            ]
            result.append(_cross_entropy(S * margined, [S * other for other in changed]))
        return torch.stack(result)

    _agree(build("mvsoftmax", s=S, m=m, t=t, variant=variant), naive, _batch(seed, near=0.001))


@given(seed=seeds, m=st.floats(0, 1), negatives=st.floats(0.1, 2), rate=st.sampled_from([0.3, 1.0]))
@few
def test_uniface(seed, m, negatives, rate):
    head = build("uniface", s=S, m=m, negatives=negatives).double()
    head.start(CLASSES, rate)
    b = math.log(10 * CLASSES * rate)

    def naive(cosines, labels, norms):
        result = []
        for i, label in enumerate(labels.tolist()):
            target, others = _split(cosines[i], label)
            pushed = sum(torch.log(1 + torch.exp(S * other - b)) for other in others)
            result.append(torch.log(1 + torch.exp(b - S * (target - m))) + negatives * pushed)
        return torch.stack(result)

    head.bias.data.fill_(b)  # in double precision
    _agree(head, naive, _batch(seed))


def _magface(cosines, labels, norms, easy):
    result = []
    for i, label in enumerate(labels.tolist()):
        target, others = _split(cosines[i], label)
        a = norms[i].clamp(20, 100)
        m = 0.3 + (0.9 - 0.3) * (a - 20) / (100 - 20)
        if easy:
            margined = (target.acos() + m).cos() if float(target.detach()) > 0 else target
        elif float((target.acos() + m).detach()) < math.pi:
            margined = (target.acos() + m).cos()
        else:
            margined = target - m * m.sin()
        loss = _cross_entropy(S * margined, [S * other for other in others])
        result.append(loss + 7 * (a / 100**2 + 1 / a))
    return torch.stack(result)


@given(seed=seeds, easy=st.booleans())
@few
def test_magface(seed, easy):
    options = {"norm_min": 20.0, "norm_max": 100.0, "margin_min": 0.3, "margin_max": 0.9, "lambda_g": 7.0}
    head = build("magface", s=S, easy_margin=easy, **options)
    _agree(head, lambda *batch: _magface(*batch, easy), _batch(seed, near=0.001))


@pytest.mark.parametrize("name", ["arcface", "curricularface", "elasticface", "magface"])
@pytest.mark.parametrize("sign", [1, -1])
def test_angles_of_zero_and_pi_are_off_by_the_smallest_sine_at_most(name, sign):
    head = build(name, s=1.0, **({"sigma": 0.0} if name == "elasticface" else {}))
    terms = torch.full((1, 1), 0.5, dtype=torch.float64)
    found = float(head.target(torch.tensor([float(sign)], dtype=torch.float64), terms))
    angle = 0.0 if sign > 0 else math.pi
    expected = {
        "magface": math.cos(angle + 0.5) if sign > 0 else -1.0,  # beyond a right angle it has no margin
        "curricularface": math.cos(angle + 0.5) if sign > 0 else -1 - 0.5 * math.sin(0.5),
    }.get(name, math.cos(angle + 0.5))
    assert found == pytest.approx(expected, abs=3e-4)
