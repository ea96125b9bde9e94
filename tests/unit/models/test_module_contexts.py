import pytest
import torch
from torch import nn

from aroface.models.module_contexts import frozen_statistics, running_statistics


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(4 * 36))


def _buffers(network):
    return {name: value.clone() for name, value in network.named_buffers()}


def test_nothing_is_remembered_and_the_output_is_that_of_training():
    network, images = _network().train(), torch.randn(5, 3, 8, 8)
    before = _buffers(network)
    with frozen_statistics(network):
        frozen = network(images)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert torch.equal(frozen, network(images))


def test_afterwards_statistics_move_as_ever():
    network, other, images = _network().train(), _network().train(), torch.randn(5, 3, 8, 8)
    with frozen_statistics(network):
        network(images)
    network(images)
    other(images)
    assert all(torch.equal(value, _buffers(other)[name]) for name, value in network.named_buffers())
    assert int(network[1].num_batches_tracked) == 1


def test_in_evaluation_mode_the_running_statistics_are_used():
    network, images = _network(), torch.randn(5, 3, 8, 8)
    network(images)
    network.eval()
    with frozen_statistics(network):
        frozen = network(images)
    assert torch.equal(frozen, network(images))


def test_by_running_statistics_an_image_is_its_own_business_and_nothing_is_remembered():
    network, images = _network().train(), torch.randn(5, 3, 8, 8)
    network(images)
    before = _buffers(network)
    with running_statistics(network):
        assert network.training
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert all(part.training for part in network.modules())
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, network.eval()(images))
    assert not torch.allclose(together, network.train()(images), atol=0.1)


def test_by_running_statistics_what_is_in_evaluation_mode_stays_so():
    network = _network().train()
    network[1].eval()
    with running_statistics(network):
        assert not network[3].training
    assert network[3].training
    assert not network[1].training


@pytest.mark.parametrize("context", [frozen_statistics, running_statistics])
def test_an_error_inside_restores_too(context):
    network = _network().train()
    with pytest.raises(RuntimeError, match="inside"), context(network):
        raise RuntimeError("inside")
    network(torch.randn(5, 3, 8, 8))
    assert int(network[1].num_batches_tracked) == 1


@pytest.mark.parametrize("context", [frozen_statistics, running_statistics])
def test_a_norm_that_never_kept_statistics_does_not_begin_to(context):
    norm, images = nn.BatchNorm2d(3, track_running_stats=False), torch.randn(5, 3, 8, 8)
    expected = norm(images)
    with context(norm):
        assert torch.equal(norm(images), expected)
    assert not norm.track_running_stats
