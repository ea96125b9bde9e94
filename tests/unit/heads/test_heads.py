import math

import pytest
import torch

from aroface.errors import InputError
from aroface.heads.registry import HEADS, build

NORMS = torch.tensor([12.0, 18.0, 25.0, 31.0])
ANGULAR = [
    {"name": "arcface"},
    {"name": "arcface", "guard": True},
    {"name": "curricularface"},
    {"name": "elasticface"},
    {"name": "adaface"},
    {"name": "combined"},
    {"name": "combined", "m1": 1.7, "m2": 0.0, "m3": 0.0, "guard": False},
    {"name": "mvsoftmax"},
]


def _cosines(seed=0, dtype=torch.float64):
    return torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 1.6 - 0.8


def _terms(head, norms=NORMS, update=False):
    return head.sample_terms(norms, torch.Generator().manual_seed(0), update_statistics=update)


def _gradient(head, cosines):
    """Gradient of the target's logits towards its cosines."""
    leaf = cosines.clone().requires_grad_()
    head.target(leaf, _terms(head).to(cosines)).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("name", [name for name in HEADS if name not in ("softmax", "sface", "circle")])
def test_a_margin_makes_the_target_harder(name):
    head = build(name, s=10.0)
    cosines = torch.rand(4) * 0.8  # without a margin where MagFace has none
    assert (head.target(cosines, _terms(head)) < 10 * cosines).all()


def test_softmax_has_no_margin():
    cosines = _cosines()
    assert torch.equal(build("softmax", s=10.0).target(cosines, NORMS), 10 * cosines)


OTHERS = ("sface", "curricularface", "circle", "mvsoftmax", "uniface")


@pytest.mark.parametrize("name", [name for name in HEADS if name not in OTHERS])
def test_the_others_are_only_scaled(name):
    head, cosines = build(name, s=10.0), torch.rand(4, 7) * 1.9 - 0.95
    torch.testing.assert_close(head.others(cosines, head.other_terms(torch.zeros(4))), 10 * cosines)


@pytest.mark.parametrize("name", HEADS)
def test_the_hooks_leave_their_arguments_alone(name):
    head, cosines, matrix, norms = build(name), _cosines(dtype=torch.float32), torch.rand(4, 7) * 2 - 1, NORMS.clone()
    before = cosines.clone(), matrix.clone(), norms.clone()
    terms = _terms(head, norms, update=True)
    head.observe(cosines)
    head.penalty(norms)
    head.target(cosines, terms)
    head.others(matrix, head.other_terms(cosines))
    assert all(torch.equal(*pair) for pair in zip((cosines, matrix, norms), before, strict=True))


@pytest.mark.parametrize("options", [{**each, "gradient": "straight_through"} for each in ANGULAR])
def test_straight_through_every_gradient_is_the_scale(options):
    gradient = _gradient(build(**options), _cosines())
    torch.testing.assert_close(gradient, torch.full_like(gradient, 64.0))


@pytest.mark.parametrize("options", ANGULAR)
def test_straight_through_changes_no_value(options):
    cosines = _cosines(dtype=torch.float32)
    exact, through = build(**options, gradient="exact"), build(**options, gradient="straight_through")
    torch.testing.assert_close(through.target(cosines, _terms(through)), exact.target(cosines, _terms(exact)))


@pytest.mark.parametrize(
    "options",
    [*ANGULAR, {"name": "magface", "easy_margin": False}, {"name": "cosface"}, {"name": "uniface"}],
)
def test_exact_gradients_are_those_of_finite_differences(options):
    head = build(**(options | {"gradient": "exact"} if options["name"] in ("arcface",) else options)).double()
    terms = _terms(head).double()
    assert torch.autograd.gradcheck(lambda cosines: head.target(cosines, terms), _cosines().requires_grad_())


def test_exact_gradient_of_arcface_is_sin_of_the_moved_angle_over_sin_of_the_angle():
    angle = _cosines().arccos()
    gradient = _gradient(build("arcface", s=1.0, gradient="exact"), angle.cos())
    torch.testing.assert_close(gradient, (angle + 0.5).sin() / angle.sin())


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("cosine", [-1.0, 1.0])
@pytest.mark.parametrize("norm", [0.0, 1e-20, 1e20])
def test_all_stays_finite_at_the_extremes(name, cosine, norm):
    head = build(name, **({"gradient": "exact"} if name == "arcface" else {}))
    norms = torch.full((4,), norm).requires_grad_()
    cosines, matrix = torch.full((4,), cosine).requires_grad_(), torch.full((4, 5), cosine).requires_grad_()
    target = head.target(cosines, _terms(head, norms))
    others = head.others(matrix, head.other_terms(cosines.detach()))
    reduced = others.sum(1) if head.reduction == "sum" else others.logsumexp(1)
    loss = (head.loss(target, reduced) + head.penalty(norms)).sum()
    gradients = torch.autograd.grad(loss, (cosines, matrix, norms), allow_unused=True, materialize_grads=True)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", ["arcface", "curricularface"])
def test_the_guard_keeps_the_logit_falling_with_the_angle(name):
    cosines = torch.linspace(1, -1, 2001, dtype=torch.float64)
    guarded = build(name, s=1.0, guard=True).target(cosines, cosines)
    bare = build(name, s=1.0, guard=False).target(cosines, cosines)
    assert (guarded.diff() < 0).all()
    assert not (bare.diff() < 0).all()
    beyond = cosines <= math.cos(math.pi - 0.5)
    assert torch.equal(guarded[~beyond], bare[~beyond])


def test_adaface_follows_the_norms_of_the_batch_from_20_and_100():
    head = build("adaface")
    _terms(head, update=True)
    assert float(head.norm_mean) == pytest.approx(0.99 * 20 + 0.01 * 21.5)
    assert float(head.norm_std) == pytest.approx(0.99 * 100 + 0.01 * float(NORMS.std(correction=1)))


def test_adaface_follows_clipped_norms():
    head = build("adaface", alpha=1.0)
    _terms(head, torch.tensor([0.0, 50.0, 150.0, 1e6]), update=True)
    assert float(head.norm_mean) == pytest.approx((0.001 + 50 + 100 + 100) / 4)


def test_statistics_stand_still_when_told_to_and_are_saved_with_the_weights():
    for name, values in (("adaface", {"norm_mean": 20.0, "norm_std": 100.0}), ("curricularface", {"t": 0.0})):
        head = build(name)
        _terms(head)
        head.other_terms(_cosines())
        assert {key: float(value) for key, value in head.state_dict().items()} == values
        _terms(head, update=True)
        head.observe(_cosines().float())
        other = build(name)
        other.load_state_dict(head.state_dict())
        assert all(float(value) != values[key] for key, value in other.state_dict().items())


def test_adaface_sends_no_gradient_into_the_norms():
    assert not _terms(build("adaface"), NORMS.clone().requires_grad_()).requires_grad


def test_the_statistics_of_adaface_need_two_norms():
    with pytest.raises(ValueError, match="two norms"):
        _terms(build("adaface"), NORMS[:1], update=True)


def test_the_t_of_curricularface_is_the_mean_target_cosine_in_the_long_run():
    head = build("curricularface", alpha=0.2)
    for _ in range(100):
        head.observe(torch.tensor([0.5, 0.7]))
    assert float(head.t) == pytest.approx(0.6)


def test_what_curricularface_makes_of_the_others_does_not_move_with_later_batches():
    head = build("curricularface")
    terms = head.other_terms(_cosines().float())
    matrix = torch.rand(4, 7)
    before = head.others(matrix, terms)
    head.observe(torch.ones(4))
    assert torch.equal(head.others(matrix, terms), before)


def test_the_margins_of_elasticface_come_from_the_generator_alone():
    head = build("elasticface", m=0.4, sigma=0.05)
    norms = torch.ones(20000)
    torch.manual_seed(1)
    first = head.sample_terms(norms, torch.Generator().manual_seed(7), update_statistics=False)
    torch.manual_seed(2)
    assert torch.equal(first, head.sample_terms(norms, torch.Generator().manual_seed(7), update_statistics=True))
    assert float(first.mean()) == pytest.approx(0.4, abs=0.002)
    assert float(first.std()) == pytest.approx(0.05, rel=0.03)


def test_elasticface_plus_gives_the_largest_margin_to_the_farthest_sample():
    head = build("elasticface", s=1.0, variant="cos", plus=True)
    cosines, margins = torch.tensor([0.9, -0.2, 0.5, 0.1]), torch.tensor([0.3, 0.2, 0.5, 0.4]).unsqueeze(1)
    torch.testing.assert_close(cosines - head.target(cosines, margins), torch.tensor([0.2, 0.5, 0.3, 0.4]))


def test_magface_has_margins_between_its_bounds_and_a_gradient_within_them():
    norms = torch.tensor([1.0, 10.0, 60.0, 110.0, 500.0]).requires_grad_()
    head = build("magface")
    margins = head.sample_terms(norms, None, update_statistics=True)
    torch.testing.assert_close(margins.squeeze(1), torch.tensor([0.45, 0.45, 0.625, 0.8, 0.8]))
    (gradient,) = torch.autograd.grad((margins.squeeze(1) + head.penalty(norms)).sum(), norms)
    assert gradient[[0, 4]].tolist() == [0, 0]
    assert float(gradient[2]) == pytest.approx(0.35 / 100 + 35 * (1 / 110**2 - 1 / 60**2))


def test_sface_stops_pulling_the_near_and_pushing_the_far():
    head = build("sface", s=1.0)
    near, far = torch.tensor([0.2, 1.5]).cos(), torch.tensor([[0.3, 1.5]]).cos()
    assert (head.target(near, near) / near).tolist() == pytest.approx([0, 1], abs=1e-6)
    assert (head.others(far, far) / far).squeeze(0).tolist() == pytest.approx([1, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("arcfase", {}, "unknown head 'arcfase'; expected one of arcface, cosface, adaface, curricularface, elasticf"),
        ("arcface", {"margin": 0.5}, "head arcface: unknown option 'margin'; expected some of s, m, gradient, guard"),
        ("arcface", {"s": "64"}, "head arcface: s is '64'; expected a number"),
        ("arcface", {"guard": 1}, "head arcface: guard is 1; expected true or false"),
        ("arcface", {"gradient": "none"}, "head arcface: gradient is 'none'; expected exact or straight_through"),
        ("cosface", {"s": 0}, "head: s is 0; expected s > 0"),
        ("cosface", {"m": -0.1}, r"head: m is -0\.1; expected 0 <= m < pi"),
        ("softmax", {"s": -1.0}, r"head: s is -1\.0; expected s > 0"),
        ("softmax", {"m": 0.1}, "head softmax: unknown option 'm'; expected some of s"),
        ("adaface", {"h": 0.0}, r"head: h is 0\.0; expected h > 0"),
        ("adaface", {"alpha": 1.5}, r"head: alpha is 1\.5; expected 0 < alpha <= 1"),
        ("adaface", {"norm_stats": "all"}, "norm_stats is 'all'; expected local or global"),
        ("curricularface", {"alpha": 0.0}, r"head: alpha is 0\.0; expected 0 < alpha <= 1"),
        ("curricularface", {"m": 4.0}, r"head: m is 4\.0; expected 0 <= m < pi"),
        ("elasticface", {"sigma": -0.1}, r"head: sigma is -0\.1; expected sigma >= 0"),
        ("elasticface", {"variant": "tan"}, "variant is 'tan'; expected arc or cos"),
        ("elasticface", {"plus": 0}, "plus is 0; expected true or false"),
        ("sface", {"k": 0.0}, r"head: k is 0\.0; expected k > 0"),
        ("sface", {"a": 4.0}, r"head: a is 4\.0; expected 0 <= a <= pi"),
        ("sface", {"b": -1.0}, r"head: b is -1\.0; expected 0 <= b <= pi"),
        ("magface", {"norm_min": 0.0}, r"head: norm_min is 0\.0; expected norm_min > 0"),
        ("magface", {"norm_max": 9.0}, r"head: norm_max is 9\.0; expected norm_max > norm_min = 10\.0"),
        ("magface", {"margin_min": -0.1}, r"head: margin_min is -0\.1; expected margin_min >= 0"),
        ("magface", {"margin_max": 0.4}, r"margin_max is 0\.4; expected margin_min = 0\.45 <= margin_max < pi"),
        ("magface", {"lambda_g": -1.0}, r"head: lambda_g is -1\.0; expected lambda_g >= 0"),
    ],
)
def test_bad_options_are_one_line(name, options, line):
    with pytest.raises(InputError, match=line):
        build(name, **options)
