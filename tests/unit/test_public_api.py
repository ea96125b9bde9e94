"""The adversary in a training loop that knows nothing of this project, as the README shows it."""

import copy
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed import HashStore, destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from aroface import AdversaryOptions, AlignmentAdversary
from aroface.adversary.warp import warp
from aroface.errors import InputError
from repository import ROOT

README = ROOT / "README.md"
HEADING = "## The adversary in a training loop of your own\n"
CLASSES, SIZE = 10, 40


def _snippet():
    return re.search(r"```python\n(.*?)```", README.read_text().split(HEADING)[1], re.DOTALL).group(1)


def _smooth(count, side, seed):
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (SIZE, SIZE), mode="bicubic")


def _faces(count, seed):
    """Pictures of ten 'people', each a pattern of its own under noise, in [-1, 1]."""
    labels = torch.arange(count) % CLASSES
    pictures = _smooth(CLASSES, 8, seed=0)[labels] + 0.3 * _smooth(count, 8, seed)
    return pictures.tanh(), labels


def _backbone(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.GELU()),
        *(nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.GELU()),
        *(nn.Flatten(), nn.Linear(32 * 9 * 9, CLASSES)),
    )


def _loader(batches, seed=1):
    images, labels = _faces(40 * batches, seed)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return [(images[part], labels[part]) for part in order.chunk(batches)]


def _train(code, model, batches=25):
    parts = {"loader": _loader(batches), "model": model.train(), "criterion": nn.CrossEntropyLoss()}
    parts["optimiser"] = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    exec(code, parts)
    return parts


def _accuracy(model, *, misaligned=False):
    images, labels = _faces(400, seed=2)
    if misaligned:
        signs = 2 * torch.randint(0, 2, (4, 400), generator=torch.Generator().manual_seed(0)) - 1
        scale, theta, *shift = 0.1 * signs
        images = warp(images, 1 + scale, theta, torch.stack(shift, 1), fill="exact")
    with torch.no_grad():
        return float((model.eval()(images).argmax(1) == labels).float().mean())


@pytest.fixture(scope="module")
def fitted():
    """A network that fits these pictures, trained without the adversary."""
    model = _backbone()
    _train(_snippet().replace('("clean")', '("clean", kind="none")'), model)
    return model


def test_the_readmes_snippet_trains_a_network_that_bears_misalignment(fitted):
    assert _snippet().count("\n") <= 9
    model = _backbone()
    parts = _train(_snippet(), model)
    assert isinstance(parts["adversary"], AlignmentAdversary)
    assert _accuracy(fitted) > 0.9
    assert _accuracy(model) > 0.9
    assert _accuracy(model, misaligned=True) > _accuracy(fitted, misaligned=True) + 0.05


def _mean_loss(fitted, profile, kind):
    model, criterion, losses = copy.deepcopy(fitted).train(), nn.CrossEntropyLoss(), []
    adversary = AlignmentAdversary(profile, kind=kind, warped_ratio=1.0)
    torch.manual_seed(0)
    for images, labels in _loader(5, seed=3):
        warped, targets = adversary(images, labels, lambda x, y: criterion(model(x), y), model)
        losses.append(criterion(model(warped), targets).item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("profile", ["clean", "official"])
def test_the_adversarys_warps_hurt_a_fitted_network_more_than_random_ones(fitted, profile):
    none, random, gradient = (_mean_loss(fitted, profile, kind) for kind in ("none", "random", "gradient"))
    assert random > none + 0.3
    assert gradient > 1.25 * random


def test_gradients_and_statistics_are_left_alone():
    model, criterion = _backbone().train(), nn.CrossEntropyLoss()
    adversary = AlignmentAdversary()
    images, labels = _faces(40, seed=1)
    kept = images.clone()

    def attack():
        return adversary(images, labels, lambda x, y: criterion(model(x), y), model)

    buffers = {name: value.clone() for name, value in model.named_buffers()}
    warped, _ = attack()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not warped.requires_grad
    assert torch.equal(images, kept)
    criterion(model(images), labels).backward()
    after_plain = {name: value.clone() for name, value in model.named_buffers()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    attack()
    assert all(torch.equal(a, b.grad) for a, b in zip(gradients, model.parameters(), strict=True))
    assert all(torch.equal(value, after_plain[name]) for name, value in model.named_buffers())
    assert not torch.equal(buffers["1.running_mean"], after_plain["1.running_mean"])
    assert all(part.track_running_stats for part in model if isinstance(part, nn.BatchNorm2d))


@pytest.mark.parametrize("size", [17, 40, 112])
def test_images_of_any_size_and_number_of_channels(size):
    images, labels = torch.rand(8, 1, size, size), torch.arange(8)
    warped, targets = AlignmentAdversary(black=0.0)(images, labels, lambda x, y: x.square().sum(), nn.Identity())
    assert warped.shape == images.shape
    assert torch.equal(targets, labels)
    assert sum(torch.equal(one, other) for one, other in zip(warped, images, strict=True)) == 6
    assert float(warped.min()) >= 0


@pytest.mark.parametrize(
    "labels",
    [torch.arange(8), torch.eye(8), torch.rand(8, 2, 3), torch.arange(8) > 3, torch.arange(8).to(torch.int32)],
    ids=["indices", "soft", "landmarks", "truth values", "int32"],
)
def test_labels_of_any_kind_follow_their_images(labels):
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 9, 9) + 1
    seen = []

    def loss(x, y):
        seen.append((x[:, 0, 4, 4], y))
        return x.square().sum()

    warped, targets = AlignmentAdversary("clean", adversary_on="subset")(images, labels, loss, nn.Identity())
    rows = (warped[:, 0, 4, 4] - 1).round().long()
    assert torch.equal(targets, labels[rows])
    assert targets.dtype == labels.dtype
    assert torch.equal(seen[0][1], labels[(seen[0][0] - 1).round().long()])


def _numbered(count):
    """Images that say which row they are, even warped, and labels that say it, too."""
    return torch.arange(float(count)).view(count, 1, 1, 1).expand(count, 1, 9, 9) + 1, torch.arange(count)


def _shown(images):
    return (images[:, 0, 4, 4] - 1).round().long()


@pytest.mark.parametrize("kind", ["gradient", "random", "none"])
@pytest.mark.parametrize("on", ["all", "subset"])
@pytest.mark.parametrize("count", [1, 4, 7, 32])
def test_rows_stay_in_place(count, on, kind):
    images, labels = _numbered(count)
    adversary = AlignmentAdversary("clean", adversary_on=on, kind=kind, warped_ratio=0.5)
    warped, targets = adversary(images, labels, lambda x, y: x.square().sum(), nn.Identity())
    assert torch.equal(_shown(warped), labels)
    assert torch.equal(targets, labels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("profile", ["official", "clean"])
def test_what_moved_is_told(profile, seed):
    images, labels = _numbered(32)
    arguments = (images, labels, lambda x, y: x.square().sum(), nn.Identity())
    mixed = AlignmentAdversary(profile).augment(*arguments, torch.Generator().manual_seed(seed))
    assert torch.equal(_shown(mixed.images), mixed.rows)
    assert torch.equal(mixed.labels, labels[mixed.rows])
    assert torch.equal(mixed.rows[24:], mixed.warped.rows)
    placed = mixed.in_place()
    assert torch.equal(_shown(placed.images), placed.rows)
    assert torch.equal(placed.labels, labels[placed.rows])
    assert sorted(placed.rows.tolist()) == sorted(mixed.rows.tolist())
    used = placed.rows.unique()
    assert torch.equal(placed.rows[used], used)  # every image that comes at all is at its row
    assert (len(used) == 32) == (profile == "clean")
    same, targets = AlignmentAdversary(profile)(*arguments, torch.Generator().manual_seed(seed))
    assert torch.equal(same, placed.images)
    assert torch.equal(targets, placed.labels)


def test_augment_takes_what_the_call_takes():
    images, labels = _numbered(8)
    torch.manual_seed(3)
    called = AlignmentAdversary()(images, labels, lambda x, y: (x.square().sum((1, 2, 3)) * y).sum(), nn.Identity())
    torch.manual_seed(3)
    mixed = AlignmentAdversary().augment(
        images, labels, lambda x, y: (x.square().sum((1, 2, 3)) * y).sum(), nn.Identity()
    )
    assert torch.equal(mixed.in_place().images, called[0])


def test_any_normalisation_warps_the_same_pixels():
    pixels, labels = torch.rand(12, 3, 24, 24, generator=torch.Generator().manual_seed(0)), torch.arange(12)
    mean, sd = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    results = []
    for normalised, back, black in (
        (2 * pixels - 1, lambda x: (x + 1) / 2, -1.0),
        (pixels, lambda x: x, 0),
        ((pixels - mean) / sd, lambda x: x * sd + mean, (-mean / sd).flatten().tolist()),
    ):
        adversary = AlignmentAdversary("clean", black=black, warped_ratio=1.0)
        generator = torch.Generator().manual_seed(4)
        warped, _ = adversary(
            normalised, labels, lambda x, y, back=back: -back(x).square().sum(), nn.Identity(), generator
        )
        results.append(back(warped))
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(results[2], results[0], atol=1e-5, rtol=0)
    assert float((results[0] == 0).float().mean()) > 0.05


def test_torchs_seed_decides_and_the_global_generator_is_asked_once():
    images, labels = _faces(8, seed=1)

    def warped(adversary):
        return adversary(images, labels, lambda x, y: x.square().sum(), nn.Identity())[0]

    torch.manual_seed(7)
    first = AlignmentAdversary()
    one, state = warped(first), torch.get_rng_state()
    two = warped(first)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(one, two)
    torch.manual_seed(7)
    again = AlignmentAdversary()
    assert torch.equal(warped(again), one)
    saved = again.generator.get_state()
    assert torch.equal(warped(again), two)
    again.generator.set_state(saved)
    assert torch.equal(warped(again), two)
    torch.manual_seed(8)
    assert not torch.equal(warped(AlignmentAdversary()), one)


def _half_steps(scaled):
    """Signs of an attack under fp16 on a loss that is minute, and the network's step after it."""
    model, criterion = _backbone().train(), nn.CrossEntropyLoss()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu")
    images, labels = _faces(20, seed=1)

    def loss(x, y):
        with torch.autocast("cpu", torch.float16):
            value = 1e-7 * criterion(model(x), y)
        return scaler.scale(value) if scaled else value

    adversary = AlignmentAdversary("clean", warped_ratio=1.0, step_sd=0.0)
    mixed = adversary.augment(images, labels, loss, model, torch.Generator().manual_seed(0))
    before = model[0].weight.detach().clone()
    scaler.scale(criterion(model(mixed.images), mixed.labels)).backward()
    scaler.step(optimiser)
    scaler.update()
    assert not torch.equal(model[0].weight, before)
    return float((mixed.warped.warps.theta.abs() > 0.05).float().mean())


def test_under_a_gradient_scaler_a_scaled_loss_keeps_its_signs():
    assert _half_steps(scaled=True) > 0.9
    assert _half_steps(scaled=False) < 0.5


@pytest.fixture
def alone():
    """A process group of one."""
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("inner", [True, False], ids=["the module inside", "the wrapper"])
def test_a_distributed_model_trains_as_the_bare_one(inner):
    bare, wrapped = _backbone(), DistributedDataParallel(_backbone())
    criterion, weights = nn.CrossEntropyLoss(), []
    for model, called in ((bare, bare), (wrapped, wrapped.module if inner else wrapped)):
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        torch.manual_seed(3)
        adversary = AlignmentAdversary("clean")
        for images, labels in _loader(3):
            images, labels = adversary(images, labels, lambda x, y, called=called: criterion(called(x), y), model)
            criterion(model(images), labels).backward()
            optimiser.step()
            optimiser.zero_grad()
        weights.append([value.clone() for value in model.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.usefixtures("alone")
def test_a_static_graph_is_refused():
    model = DistributedDataParallel(_backbone(), static_graph=True)
    images, labels = _faces(8, seed=1)
    with pytest.raises(InputError, match="static_graph; expected one without; with a second gradient"):
        AlignmentAdversary()(images, labels, lambda x, y: x.sum(), model)


RANK = """
import sys
import torch
from torch import nn
from torch.distributed import all_gather, init_process_group
from torch.nn.parallel import DistributedDataParallel
from aroface import AlignmentAdversary

rank = int(sys.argv[1])
init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(784, 5))
model = DistributedDataParallel(network)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
criterion, adversary = nn.CrossEntropyLoss(), AlignmentAdversary("clean")
for step in range(4):
    draw = torch.Generator().manual_seed(10 * step + rank)
    images, labels = torch.rand(12, 3, 32, 32, generator=draw) * 2 - 1, torch.randint(5, (12,), generator=draw)
    images, labels = adversary(images, labels, lambda x, y: criterion(model(x), y), model)
    criterion(model(images), labels).backward()
    optimiser.step()
    optimiser.zero_grad()
weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
for mine in (weights, torch.rand(1, generator=adversary.generator)):
    both = [torch.empty_like(mine) for _ in range(2)]
    all_gather(both, mine)
    print(torch.equal(*both))
"""


def test_two_ranks_draw_unlike_warps_and_keep_equal_weights(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "meet")], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    assert [rank.communicate(timeout=120)[0].split() for rank in ranks] == [["True", "False"]] * 2


@pytest.mark.parametrize(
    ("images", "labels", "line"),
    [
        (torch.rand(4, 3, 8, 9), torch.arange(4), r"images are torch.float32 \(4, 3, 8, 9\); expected floating"),
        (torch.rand(3, 8, 8), torch.arange(3), r"images are torch.float32 \(3, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4), r"images are torch.uint8 \(4, 3, 8, 8\)"),
        (torch.rand(4, 3, 8, 8), [0, 1, 2, 3], "labels are a list; expected a tensor with a row for each image"),
        (torch.rand(4, 3, 8, 8).numpy(), torch.arange(4), "images are a ndarray; expected a tensor"),
        (torch.rand(4, 3, 8, 8), torch.arange(5), r"labels are \(5,\); expected 4 rows"),
    ],
)
def test_what_cannot_be_warped_is_one_line(images, labels, line):
    with pytest.raises(InputError, match=line):
        AlignmentAdversary()(images, labels, lambda x, y: x.sum(), nn.Identity())


def test_options_are_a_profiles_name_with_changes_or_an_object():
    assert AlignmentAdversary().options == AdversaryOptions.profile("clean")
    assert AlignmentAdversary("official", steps=3).options == AdversaryOptions.profile("official", steps=3)
    options = AdversaryOptions(kind="random")
    assert AlignmentAdversary(options).options == options
    assert AlignmentAdversary(options, steps=2).options == AdversaryOptions(kind="random", steps=2)
    with pytest.raises(InputError, match="unknown profile 'cleen'"):
        AlignmentAdversary("cleen")
    with pytest.raises(InputError, match="unknown option 'stepz'"):
        AlignmentAdversary("clean", stepz=2)


def test_the_package_alone_loads_no_torch():
    code = """
        import sys
        import aroface
        assert "torch" not in sys.modules
        assert {"AlignmentAdversary", "AdversaryOptions"} <= set(dir(aroface)) | set(aroface.__all__)
        try:
            aroface.Adversary
        except AttributeError as error:
            assert str(error) == "module 'aroface' has no attribute 'Adversary'"
        else:
            raise AssertionError
        from aroface import AlignmentAdversary
        assert AlignmentAdversary is sys.modules["aroface.adversary.alignment"].AlignmentAdversary
        assert "torch" in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize("black", [float("nan"), float("inf"), (), (0.0, float("nan"), 0.0), (0.0, 0.0), (0.0,) * 4])
def test_a_black_that_does_not_fit_the_images_is_one_line(black):
    images, labels, model = torch.rand(4, 3, 8, 8), torch.arange(4), nn.Flatten()
    with pytest.raises(InputError, match=r"black (is|has) .*; expected (a finite|one) number, or one for each channel"):
        AlignmentAdversary("clean", black=black)(images, labels, lambda x, _: x.square().mean(), model)


@pytest.mark.parametrize("black", [0, np.float32(0), torch.tensor(0.0), [0.0], (0.0, 0.0, 0.0), np.zeros(3)])
def test_black_is_one_number_or_one_a_channel(black):
    images, labels, model = torch.ones(8, 3, 8, 8), torch.arange(8), nn.Flatten()
    adversary = AlignmentAdversary("clean", black=black, kind="random", start_sd_shift=0.3)
    found, _ = adversary(images, labels, lambda x, _: x.square().mean(), model)
    assert found.min() >= 0
    assert found.min() < 0.9
