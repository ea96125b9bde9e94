import math

import pytest
import torch

from aroface.errors import InputError
from aroface.heads.registry import HEADS, build

NORMS = torch.tensor([12.0, 18.0, 25.0, 31.0])
LABELS = torch.tensor([2, 0, 4, 1])


def _cosines(seed=0, dtype=torch.float64):
    return torch.rand(4, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 1.6 - 0.8


def _gradient(head, cosines):
    """Gradient of the sum of the logits towards each cosine."""
    leaf = cosines.clone().requires_grad_()
    head(leaf, LABELS, NORMS.to(cosines), update_statistics=False).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("name", HEADS)
def test_only_the_targets_get_a_margin(name):
    cosines = _cosines()
    logits = build(name, s=10.0)(cosines, LABELS, NORMS)
    others = torch.ones_like(cosines).scatter(1, LABELS.unsqueeze(1), 0).bool()
    torch.testing.assert_close(logits[others], 10 * cosines[others])
    assert (logits[~others] < 10 * cosines[~others]).all()


@pytest.mark.parametrize("name", HEADS)
def test_rows_whose_class_is_elsewhere_are_only_scaled(name):
    cosines = _cosines()
    labels = torch.tensor([2, -1, -1, 1])
    logits = build(name, s=10.0)(cosines, labels, NORMS)
    torch.testing.assert_close(logits[1:3], 10 * cosines[1:3])
    assert logits[0, 2] < 10 * cosines[0, 2]


@pytest.mark.parametrize("name", HEADS)
def test_shards_together_give_the_logits_of_the_whole(name):
    cosines = _cosines()
    whole = build(name)(cosines, LABELS, NORMS)
    first = torch.where(LABELS < 2, LABELS, -1)
    second = torch.where(LABELS >= 2, LABELS - 2, -1)
    parts = [build(name)(cosines[:, :2], first, NORMS), build(name)(cosines[:, 2:], second, NORMS)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("name", HEADS)
def test_the_input_is_left_alone(name):
    cosines = _cosines()
    before = cosines.clone()
    build(name)(cosines, LABELS, NORMS)
    assert torch.equal(cosines, before)


@pytest.mark.parametrize("options", [{"name": "arcface"}, {"name": "adaface", "gradient": "straight_through"}])
def test_straight_through_every_gradient_is_the_scale(options):
    gradient = _gradient(build(**options), _cosines())
    torch.testing.assert_close(gradient, torch.full_like(gradient, 64.0))


def test_straight_through_changes_no_value():
    cosines = _cosines(dtype=torch.float32)
    exact = build("arcface", gradient="exact")(cosines, LABELS, NORMS)
    assert torch.equal(build("arcface", gradient="straight_through")(cosines, LABELS, NORMS), exact)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "arcface", "gradient": "exact"},
        {"name": "arcface", "gradient": "exact", "guard": True},
        {"name": "cosface"},
    ],
)
def test_exact_gradients_are_those_of_finite_differences(options):
    head = build(**options)
    assert torch.autograd.gradcheck(lambda cosines: head(cosines, LABELS, NORMS), _cosines().requires_grad_())


def test_exact_gradient_of_adaface_is_that_of_finite_differences():
    head = build("adaface").double()
    head.norm_mean.fill_(20.0)
    head.norm_std.fill_(6.0)

    def logits(cosines):
        return head(cosines, LABELS, NORMS.double(), update_statistics=False)

    assert torch.autograd.gradcheck(logits, _cosines().requires_grad_())


def test_exact_gradient_of_arcface_is_sin_of_the_moved_angle_over_sin_of_the_angle():
    cosines = _cosines()
    gradient = _gradient(build("arcface", s=1.0, gradient="exact"), cosines).gather(1, LABELS.unsqueeze(1)).squeeze(1)
    angle = cosines.gather(1, LABELS.unsqueeze(1)).squeeze(1).arccos()
    torch.testing.assert_close(gradient, (angle + 0.5).sin() / angle.sin())


@pytest.mark.parametrize("cosine", [-1.0, 1.0])
def test_gradients_stay_finite_where_the_angle_has_none(cosine):
    cosines = torch.full((4, 5), cosine)
    for options in ({"name": "arcface", "gradient": "exact"}, {"name": "adaface"}):
        assert _gradient(build(**options), cosines).isfinite().all()


def test_the_guard_of_arcface_keeps_the_logit_falling_with_the_angle():
    cosines = torch.linspace(1, -1, 2001, dtype=torch.float64).unsqueeze(1)
    labels, norms = torch.zeros(2001, dtype=torch.int64), torch.ones(2001)
    guarded = build("arcface", s=1.0, guard=True)(cosines, labels, norms).squeeze(1)
    released = build("arcface", s=1.0)(cosines, labels, norms).squeeze(1)
    assert (guarded.diff() < 0).all()
    assert not (released.diff() < 0).all()
    beyond = cosines.squeeze(1) <= math.cos(math.pi - 0.5)
    assert torch.equal(guarded[~beyond], released[~beyond])


def test_adaface_follows_the_norms_of_the_batch_from_20_and_100():
    head = build("adaface")
    head(_cosines(), LABELS, NORMS)
    assert float(head.norm_mean) == pytest.approx(0.99 * 20 + 0.01 * 21.5)
    assert float(head.norm_std) == pytest.approx(0.99 * 100 + 0.01 * float(NORMS.std(correction=1)))


def test_adaface_follows_clipped_norms():
    head = build("adaface", alpha=1.0)
    head(_cosines(), LABELS, torch.tensor([0.0, 50.0, 150.0, 1e6]))
    assert float(head.norm_mean) == pytest.approx((0.001 + 50 + 100 + 100) / 4)


def test_the_statistics_of_adaface_stand_still_when_told_to():
    head = build("adaface")
    head(_cosines(), LABELS, NORMS, update_statistics=False)
    assert (float(head.norm_mean), float(head.norm_std)) == (20, 100)


def test_the_statistics_of_adaface_are_saved_with_the_weights():
    head = build("adaface")
    head(_cosines(), LABELS, NORMS)
    other = build("adaface")
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.norm_mean, head.norm_mean)
    assert torch.equal(other.norm_std, head.norm_std)


def test_adaface_sends_no_gradient_into_the_norms():
    norms = NORMS.clone().requires_grad_()
    logits = build("adaface")(_cosines().requires_grad_(), LABELS, norms)
    (gradient,) = torch.autograd.grad(logits.sum(), norms, allow_unused=True)
    assert gradient is None


def test_the_statistics_of_adaface_need_two_norms():
    with pytest.raises(ValueError, match="two norms"):
        build("adaface")(_cosines()[:1], LABELS[:1], NORMS[:1])


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("arcfase", {}, "unknown head 'arcfase'; expected one of arcface, cosface, adaface"),
        ("arcface", {"margin": 0.5}, "head arcface: unknown option 'margin'; expected some of s, m, gradient, guard"),
        ("arcface", {"s": "64"}, "head arcface: s is '64'; expected a number"),
        ("arcface", {"guard": 1}, "head arcface: guard is 1; expected true or false"),
        ("arcface", {"gradient": "none"}, "head arcface: gradient is 'none'; expected exact or straight_through"),
        ("cosface", {"s": 0}, "s is 0; expected s > 0"),
        ("cosface", {"m": -0.1}, r"m is -0\.1; expected 0 <= m < pi"),
        ("adaface", {"h": 0.0}, "h is 0.0; expected h > 0"),
        ("adaface", {"alpha": 1.5}, "alpha is 1.5; expected 0 < alpha <= 1"),
        ("adaface", {"norm_stats": "all"}, "norm_stats is 'all'; expected local or global"),
    ],
)
def test_bad_options_are_one_line(name, options, line):
    with pytest.raises(InputError, match=line):
        build(name, **options)
