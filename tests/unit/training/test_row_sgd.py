import copy

import pytest
import torch

from aroface.errors import InputError
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build
from aroface.training import row_sgd as module
from aroface.training.row_sgd import RowSGD

OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}


def _parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = [(40, 16), (24,), (8, 4, 3, 3), ()]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def _sparse(rows, values, shape=(40, 16)):
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, shape, check_invariants=True)


@pytest.mark.parametrize("options", [OPTIONS, {"lr": 0.1}, {"lr": 0.3, "momentum": 0.5}])
@pytest.mark.parametrize("at_once", [64, 2**20])
def test_dense_steps_are_those_of_torch_bit_for_bit(options, at_once, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    ours, theirs = _parameters(), _parameters()
    ours[2].data, theirs[2].data = (
        each.to(memory_format=torch.channels_last) for each in (ours[2].data, theirs[2].data)
    )
    first, second = RowSGD(ours, **options), torch.optim.SGD(theirs, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        kept = [mine.grad.clone() for mine in ours]
        first.step()
        second.step()
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
        assert all(torch.equal(mine.grad, before) for mine, before in zip(ours, kept, strict=True))
    if "momentum" in options:
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(first.state[mine]["momentum_buffer"], second.state[other]["momentum_buffer"])


def test_rows_without_a_gradient_stay_as_they_are_bit_for_bit():
    (weight, *_), (reference, *_) = _parameters(), _parameters()
    ours, theirs = RowSGD([weight], **OPTIONS), torch.optim.SGD([reference], **OPTIONS)
    values = torch.randn(3, 16)
    weight.grad = torch.randn(40, 16)  # every row has some momentum
    reference.grad = weight.grad.clone()
    ours.step()
    theirs.step()
    before, buffer = weight.detach().clone(), ours.state[weight]["momentum_buffer"]
    momentum = buffer.clone()
    weight.grad = _sparse([4, 17, 39], values)
    reference.grad = weight.grad.to_dense()
    ours.step()
    theirs.step()
    touched = torch.zeros(40).index_fill(0, torch.tensor([4, 17, 39]), 1).bool()
    assert torch.equal(weight[~touched], before[~touched])
    assert torch.equal(buffer[~touched], momentum[~touched])
    assert torch.equal(weight[touched], reference[touched])
    assert not torch.equal(reference[~touched], before[~touched])  # which a dense step would have changed


def test_a_row_that_occurs_twice_gets_both_gradients(monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 16)
    (weight, *_), (reference, *_) = _parameters(), _parameters()
    values = torch.randn(4, 16)
    weight.grad = _sparse([9, 2, 9, 30], values)
    reference.grad = _sparse([2, 9, 30], torch.stack([values[1], values[0] + values[2], values[3]]))
    for parameter in (weight, reference):
        RowSGD([parameter], **OPTIONS).step()
    assert torch.equal(weight, reference)


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_it_works_with_a_gradient_scaler(rate):
    found = []
    for enabled in (True, False):
        classifier = Classifier(60, 8, build("cosface"), seed=0, sample_rate=rate)
        optimiser = RowSGD(classifier.parameters(), **OPTIONS)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=enabled)
        generator = torch.Generator().manual_seed(0)
        for step in range(4):
            labels = torch.randint(60, (5,), generator=generator)
            embeddings = torch.randn(5, 8, generator=generator)
            classifier.choose(labels, generator)
            optimiser.zero_grad()
            scaler.scale(classifier(embeddings, labels)).backward()
            if step == 2 and enabled:
                before = classifier.weight.detach().clone()
                (classifier.weight.grad._values() if rate < 1 else classifier.weight.grad)[0, 0] = torch.inf
            elif step == 2:
                continue
            scaler.unscale_(optimiser)
            scaler.step(optimiser)
            scaler.update()
            if step == 2:
                assert torch.equal(classifier.weight, before)
                assert scaler.get_scale() == 512
        found.append(classifier.weight.detach())
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-7)


def test_its_state_is_saved_and_goes_on_bit_for_bit():
    (first, *_), (second, *_) = _parameters(), _parameters()
    ours, other = RowSGD([first], **OPTIONS), RowSGD([second], **OPTIONS)
    gradients = [torch.randn(40, 16), _sparse([1, 2], torch.randn(2, 16)), torch.randn(40, 16)]
    for step, gradient in enumerate(gradients):
        first.grad = gradient
        ours.step()
        if step == 1:
            second.data.copy_(first.data)
            other.load_state_dict(copy.deepcopy(ours.state_dict()))
    second.grad = gradients[2]
    other.step()
    assert torch.equal(first, second)


def test_groups_and_closures_are_as_in_torch():
    (weight, bias, *_) = _parameters()
    optimiser = RowSGD([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0, "lr": 0.0}], **OPTIONS)
    before = weight.detach().clone(), bias.detach().clone()

    def closure():
        optimiser.zero_grad()
        loss = weight.square().sum() + bias.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimiser.step(closure) == pytest.approx(float(before[0].square().sum() + before[1].square().sum()))
    assert not torch.equal(weight, before[0])
    assert torch.equal(bias, before[1])


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": 1.0, "momentum": 1.0}, {"lr": 1.0, "weight_decay": -0.1}])
def test_numbers_out_of_range_are_one_line(options):
    name = [*options][-1]
    with pytest.raises(InputError, match=f"optimiser: {name} is {options[name]}"):
        RowSGD(_parameters(), **options)
