import math

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

from aroface.adversary.alignment import AlignmentAdversary, split
from aroface.adversary.options import AdversaryOptions
from aroface.adversary.warp import Similarity, landmark_displacement
from aroface.errors import InputError
from aroface.files import read_json
from repository import ROOT

IDENTITY = nn.Identity()
FROM_IDENTITY = {"start_sd_scale": 0.0, "start_sd_theta": 0.0, "start_sd_shift": 0.0}


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _batch(count=16, size=32):
    images = torch.rand(count, 3, size, size, generator=_generator(9)) * 2 - 1
    return images, torch.arange(count)


def _contrast(images, rows):
    """A loss that any warp changes."""
    return images.square().sum()


def _augment(adversary, loss=_contrast, count=16, seed=0, backbone=IDENTITY, strength=1.0):
    images, labels = _batch(count)
    return adversary.augment(images, labels, loss, backbone, _generator(seed), strength=strength)


def _adversary(profile="clean", **changes):
    return AlignmentAdversary(AdversaryOptions.profile(profile, **changes))


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 49, 8))


@pytest.mark.parametrize(
    ("count", "ratio", "warped"),
    [(128, 0.25, 32), (127, 0.25, 32), (128, 0.9, 116), (10, 0.9, 9), (10, 0.0, 0), (10, 1.0, 10)],
)
@pytest.mark.parametrize("mix", ["independent", "disjoint"])
def test_a_batch_keeps_its_size(count, ratio, warped, mix):
    clean, used = split(count, ratio, mix, _generator())
    assert (len(clean), len(used)) == (count - warped, warped)


def test_a_disjoint_split_takes_every_image_once():
    assert sorted(torch.cat(split(128, 0.25, "disjoint", _generator())).tolist()) == list(range(128))


def test_an_independent_split_takes_about_24_of_128_images_twice():
    twice = []
    for seed in range(200):
        clean, used = split(128, 0.25, "independent", _generator(seed))
        assert len(clean.unique()) == 96
        assert len(used.unique()) == 32
        twice.append(128 - len(torch.cat([clean, used]).unique()))
    assert sum(twice) / 200 == pytest.approx(24, abs=0.5)


def test_clean_images_come_first_untouched_and_labels_follow():
    images, labels = _batch()
    mixed = _augment(_adversary())
    assert mixed.labels[12:].tolist() == mixed.warped.rows.tolist()
    assert torch.equal(mixed.images[:12], images[mixed.labels[:12]])
    assert torch.equal(mixed.images[12:], mixed.warped.images)
    assert sorted(mixed.labels.tolist()) == labels.tolist()


@pytest.mark.parametrize("changes", [{"kind": "none"}, {"warped_ratio": 0.0}])
def test_without_a_warped_part_the_batch_passes_through(changes):
    images, labels = _batch()
    mixed = _adversary(**changes).augment(images, labels, _contrast, IDENTITY, _generator())
    assert mixed.warped is None
    assert mixed.images is images
    assert mixed.labels is labels


@pytest.mark.parametrize("profile", ["official", "clean"])
def test_one_step_of_a_tenth_goes_a_tenth_from_the_start_in_each_parameter_and_is_not_clipped(profile):
    adversary = _adversary(profile, **FROM_IDENTITY)
    warps = _augment(adversary).warped.warps
    for distance in ((warps.scale - 1), warps.theta, warps.shift):
        assert (distance.abs() > 0.09).all()
        assert (distance.abs() < 0.11).all()


def test_one_step_size_a_parameter_is_shared_by_the_batch():
    adversary = _adversary(step_sd=0.02, **FROM_IDENTITY)
    warps = _augment(adversary).warped.warps
    sizes = [(warps.scale - 1).abs(), warps.theta.abs(), warps.shift.abs()]
    for size in sizes:
        torch.testing.assert_close(size, size.flatten()[0].expand_as(size))
    assert len({round(float(size.flatten()[0]), 4) for size in sizes}) == 3


@pytest.mark.parametrize("seed", range(5))
def test_the_step_climbs(seed):
    losses = []
    for step in (0.0, 0.005):
        warped = _augment(_adversary(step_mean=step, step_sd=0.0, warped_ratio=1.0), seed=seed).warped
        losses.append(float(_contrast(warped.images, warped.rows)))
    assert losses[1] > losses[0]


def test_corners_say_which_way_each_warp_went():
    adversary = _adversary(kind="random", **FROM_IDENTITY)
    warped = _augment(adversary, count=64).warped
    scale, theta, shift = warped.warps
    expected = 8 * (scale > 1).long() + 4 * (theta > 0).long() + 2 * (shift[:, 0] > 0).long() + (shift[:, 1] > 0).long()
    assert torch.equal(warped.corners, expected)


def test_random_directions_reach_all_sixteen_corners_about_equally_and_ask_for_no_loss():
    def forbidden(images, rows):
        raise AssertionError("asked for the loss")

    corners = _augment(_adversary(kind="random", warped_ratio=1.0), forbidden, count=1600).warped.summary()["corners"]
    assert sum(corners) == 1600
    assert min(corners) > 60
    assert max(corners) < 140


def test_random_directions_are_kept_over_several_steps():
    adversary = _adversary(kind="random", steps=2, start_sd_scale=0.0, step_sd=0.0, warped_ratio=1.0)
    scales = _augment(adversary).warped.warps.scale
    torch.testing.assert_close((scales - 1).abs(), torch.full((16,), 0.2))


def test_the_loss_sees_the_whole_batch_or_only_the_used_part():
    seen = []

    def loss(images, rows):
        seen.append((len(images), rows.tolist()))
        return _contrast(images, rows)

    whole = _augment(_adversary(steps=2), loss)
    assert seen == [(16, list(range(16)))] * 2
    seen.clear()
    part = _augment(_adversary(adversary_on="subset"), loss)
    assert seen == [(4, part.warped.rows.tolist())]
    assert whole.images.shape == part.images.shape


def test_without_coupling_between_images_the_subset_is_attacked_as_in_the_whole_batch():
    whole, part = (
        _augment(_adversary(adversary_on=where, step_sd=0.0, **FROM_IDENTITY)).warped for where in ("all", "subset")
    )
    assert torch.equal(whole.rows, part.rows)
    assert torch.equal(whole.corners, part.corners)
    torch.testing.assert_close(whole.images, part.images)


def _attacked_in(where, statistics):
    """Which ways a batch of 64 goes, attacked with or without those that are not used, by a network with batch norm."""
    network = _network().train()
    for seed in range(20):
        network(torch.randn(16, 3, 32, 32, generator=_generator(seed)))
    adversary = _adversary(adversary_on=where, statistics=statistics, step_sd=0.0, **FROM_IDENTITY)
    return _augment(adversary, lambda images, rows: network(images).square().sum(), 64, backbone=network).warped


def test_by_running_statistics_a_subset_is_attacked_as_in_the_whole_batch():
    whole, part = (_attacked_in(where, "running") for where in ("all", "subset"))
    assert torch.equal(whole.corners, part.corners)
    torch.testing.assert_close(whole.images, part.images)
    coupled = [_attacked_in(where, "batch").corners for where in ("all", "subset")]
    assert not torch.equal(*coupled)


def test_running_statistics_are_not_moved_by_what_they_normalise():
    with pytest.raises(InputError, match="set update_batch_norm to false"):
        _adversary("official", statistics="running")
    assert _adversary("official", statistics="running", update_batch_norm=False).options.statistics == "running"


@pytest.mark.parametrize(("update", "batches"), [(True, 1), (False, 0)])
def test_the_attack_moves_running_statistics_only_where_told_to(update, batches):
    network = _network().train()
    _augment(
        _adversary(update_batch_norm=update), lambda images, rows: network(images).square().sum(), backbone=network
    )
    assert int(network[1].num_batches_tracked) == batches
    assert bool((network[1].running_mean == 0).all()) is not update
    network(_batch()[0])
    assert int(network[1].num_batches_tracked) == batches + 1


def test_the_attack_leaves_no_gradient_behind():
    network = _network().train()
    mixed = _augment(_adversary(), lambda images, rows: network(images).square().sum(), backbone=network)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not mixed.images.requires_grad


def test_the_attack_works_where_gradients_are_switched_off():
    with torch.no_grad():
        warped = _augment(_adversary()).warped
    assert (warped.warps.theta.abs() > 0.03).all()


def test_a_factor_on_the_loss_changes_nothing():
    plain = _augment(_adversary())
    scaled = _augment(_adversary(), lambda images, rows: 65536 * _contrast(images, rows))
    assert torch.equal(plain.images, scaled.images)


def test_an_image_whose_gradient_is_not_a_number_stays_at_its_start():
    adversary = _adversary(warped_ratio=1.0, **FROM_IDENTITY)

    def loss(images, rows):
        factors = torch.where(rows == 3, torch.nan, 1.0)
        return (images.square().sum((1, 2, 3)) * factors).sum()

    warped = _augment(adversary, loss).warped
    still = warped.rows == 3
    assert warped.images.isfinite().all()
    assert float(warped.warps.scale[still]) == 1
    assert (warped.warps.scale[~still] != 1).all()


def test_everything_is_drawn_from_the_generator():
    torch.manual_seed(1)
    first = _augment(_adversary("official"), seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = _augment(_adversary("official"), seed=5)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, _augment(_adversary("official"), seed=6).images)


def test_strength_scales_the_way_from_the_identity():
    full, half, none = (_augment(_adversary(kind="random"), strength=strength).warped for strength in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half.warps.scale - 1, (full.warps.scale - 1) / 2)
    torch.testing.assert_close(half.warps.theta, full.warps.theta / 2)
    torch.testing.assert_close(half.warps.shift, full.warps.shift / 2)
    torch.testing.assert_close(none.images, _batch()[0][none.rows], atol=1e-5, rtol=0)


PARTS = {"scale": lambda warps: warps.scale - 1, "theta": lambda warps: warps.theta, "shift": lambda warps: warps.shift}


@pytest.mark.parametrize("kind", ["gradient", "random"])
@pytest.mark.parametrize("name", PARTS)
def test_a_factor_makes_one_parameters_step_longer(name, kind):
    warps = _augment(_adversary(kind=kind, step_sd=0.0, **FROM_IDENTITY, **{f"step_{name}": 2.0})).warped.warps
    for other, part in PARTS.items():
        expected = torch.full_like(part(warps), 0.2 if other == name else 0.1)
        torch.testing.assert_close(part(warps).abs(), expected)


@pytest.mark.parametrize("name", PARTS)
def test_a_factor_of_0_leaves_a_parameter_at_its_start_and_without_a_start_there_is_none(name):
    started = _augment(_adversary(steps=2, warped_ratio=1.0, **{f"step_{name}": 0.0}), count=64).warped
    distances = PARTS[name](started.warps)
    assert 0.005 < float(distances.std()) < 0.015
    assert float(distances.abs().max()) < 0.06
    bits = {"scale": 8, "theta": 4, "shift": 3}[name]
    assert (started.corners & bits == 0).all()
    absent = _augment(_adversary(**{f"step_{name}": 0.0, f"start_sd_{name}": 0.0})).warped.warps
    assert (PARTS[name](absent) == 0).all()
    assert all((part(absent).abs() > 0.05).all() for other, part in PARTS.items() if other != name)


@pytest.mark.parametrize(("start", "widest"), [("normal", (0.03, 0.06)), ("uniform", (0.0172, 0.01 * math.sqrt(3)))])
@pytest.mark.parametrize("name", PARTS)
def test_a_start_of_either_shape_has_the_same_standard_deviation(name, start, widest):
    adversary = _adversary(start=start, step_mean=0.0, step_sd=0.0, kind="random", warped_ratio=1.0)
    values = PARTS[name](_augment(adversary, count=4000).warped.warps)
    assert float(values.mean()) == pytest.approx(0, abs=6e-4)
    assert float(values.std()) == pytest.approx(0.01, rel=0.04)
    assert widest[0] < float(values.abs().max()) <= widest[1] + 1e-6


def test_many_steps_end_at_the_symmetric_bounds():
    warps = _augment(_adversary(kind="random", step_mean=1.0, steps=3, **FROM_IDENTITY)).warped.warps
    torch.testing.assert_close((warps.scale - 1).abs(), torch.full((4,), 0.5))
    torch.testing.assert_close(warps.theta.abs(), torch.full((4,), 0.8))
    torch.testing.assert_close(warps.shift.abs(), torch.full((4, 2), 0.3))


def test_the_released_bounds_are_lopsided():
    adversary = _adversary("official", kind="random", step_mean=9.0, start_sd_theta=0.1, warped_ratio=1.0)
    warps = _augment(adversary, count=64).warped.warps
    grown = warps.scale > 1
    assert (warps.scale[grown] - 1 > 1.4).all()
    assert (1 - warps.scale[~grown] < 0.6).all()
    start_theta = warps.theta - 0.8 * warps.theta.sign()
    right = warps.shift[:, 0] > 0
    torch.testing.assert_close(warps.shift[right, 0], start_theta[right] + 0.3)


def test_the_budget_holds_at_every_step_and_in_the_end():
    warped = _augment(_adversary(steps=3, landmark_budget_px=1.5)).warped
    assert float(warped.displacement_px.max()) <= 1.5
    assert float(warped.displacement_px.amax(1).min()) > 1.4


def test_the_summary_tells_displacement_in_pixels():
    warped = _augment(_adversary()).warped
    expected = landmark_displacement(warped.warps, 32, "exact")
    summary = warped.summary()
    assert summary["displacement_mean_px"] == pytest.approx(float(expected.mean()))
    assert summary["displacement_max_px"] == pytest.approx(float(expected.max()))
    assert summary["corners"] == [int((warped.corners == corner).sum()) for corner in range(16)]


def test_profiles_differ_where_the_released_code_has_quirks():
    official, clean = AdversaryOptions.profile("official"), AdversaryOptions.profile("clean")
    assert (official.fill, official.clip, official.mix, official.update_batch_norm) == (
        "pad",
        "released",
        "independent",
        True,
    )
    assert (clean.fill, clean.clip, clean.mix, clean.update_batch_norm) == ("exact", "symmetric", "disjoint", False)
    assert clean == AdversaryOptions()
    for options in (official, clean):
        assert (options.adversary_on, options.steps, options.step_mean, options.warped_ratio) == ("all", 1, 0.1, 0.25)


def test_a_recipe_names_a_profile_and_changes():
    adversary = AlignmentAdversary.from_mapping({"kind": "random", "profile": "clean", "warmup_epochs": 2})
    assert adversary.options == AdversaryOptions.profile("clean", kind="random", warmup_epochs=2)
    assert adversary.warmup_epochs == 2
    unsaid = AlignmentAdversary.from_mapping({"kind": "gradient"}).options
    assert unsaid == AdversaryOptions.profile("official", scale_loss=True)  # as before there was the option
    said = AlignmentAdversary.from_mapping({"kind": "gradient", "scale_loss": False}).options
    assert said == AdversaryOptions.profile("official")


def test_the_share_of_zero_signs_is_told():
    assert float(_augment(_adversary()).warped.zero_signs) == 0
    assert _augment(_adversary()).warped.summary()["zero_signs"] == 0

    def half(images, labels):
        return (images.square().sum((1, 2, 3)) * (labels < 8)).sum()

    assert float(_augment(_adversary(), half).warped.zero_signs) == pytest.approx(0.5)
    random = _augment(_adversary(kind="random")).warped
    assert random.zero_signs is None
    assert "zero_signs" not in random.summary()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"profile": "offical"}, "adversary: unknown profile 'offical'; expected one of official, clean"),
        ({"eta": 0.1}, "adversary: unknown option 'eta'; expected some of kind, steps, "),
        ({"kind": "fgsm"}, "kind is 'fgsm'; expected gradient or random or none"),
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"steps": 1.5}, r"steps is 1\.5; expected a whole number"),
        ({"step_sd": -1.0}, r"step_sd is -1\.0; expected at least 0"),
        ({"step_scale": -1.0}, r"step_scale is -1\.0; expected at least 0"),
        ({"step_theta": float("nan")}, r"step_theta is nan; expected at least 0"),
        ({"step_shift": "1"}, r"step_shift is '1'; expected a number"),
        ({"start": "gauss"}, r"start is 'gauss'; expected normal or uniform"),
        ({"precision": "fp8"}, r"precision is 'fp8'; expected same or bf16"),
        ({"warped_ratio": 1.25}, r"warped_ratio is 1\.25; expected 0 to 1"),
        ({"update_batch_norm": 1}, "update_batch_norm is 1; expected true or false"),
        ({"landmark_budget_px": "3"}, "landmark_budget_px is '3'; expected a number or null"),
        (
            {"landmark_budget_px": 0.5},
            r"landmark_budget_px is 0\.5; expected more than 0\.70, what fill=pad moves by itself",
        ),
        ({"profile": "clean", "landmark_budget_px": 0}, r"landmark_budget_px is 0; expected more than 0\.00"),
    ],
)
def test_bad_options_are_one_line(changes, line):
    with pytest.raises(InputError, match=line):
        AdversaryOptions.from_mapping(changes)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"step_scale": 0.0}, {"step_scale": -1}),
        ({"step_theta": 0.5}, {"step_theta": "0.5"}),
        ({"step_shift": 2}, {"step_shift": True}),
        ({"start": "uniform"}, {"start": "gauss"}),
        ({"precision": "bf16"}, {"precision": "fp8"}),
    ],
)
def test_the_schema_and_the_code_agree(good, bad):
    schema = read_json(ROOT / "src/aroface/_schemas/recipe.schema.json")
    validator = Draft202012Validator(schema["properties"]["adversary"])
    recipe = {"kind": "gradient", "profile": "clean", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
    for changes, holds in (({}, True), (good, True), (bad, False)):
        assert validator.is_valid({**recipe, **changes}) is holds
    AdversaryOptions.from_mapping({**recipe, **good})
    with pytest.raises(InputError, match=next(iter(bad))):
        AdversaryOptions.from_mapping({**recipe, **bad})


def test_rows_of_a_similarity_are_taken_together():
    warps = Similarity(torch.arange(3.0), torch.arange(3.0) + 10, torch.arange(6.0).view(3, 2))
    taken = warps.rows(torch.tensor([2, 0]))
    assert (taken.scale.tolist(), taken.theta.tolist(), taken.shift.tolist()) == ([2, 0], [12, 10], [[4, 5], [0, 1]])
