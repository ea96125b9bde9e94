import pytest
import torch
from torch import nn

from aroface.robustness.statistics import frozen_statistics


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


def test_an_error_inside_restores_too():
    network = _network().train()
    with pytest.raises(RuntimeError, match="inside"), frozen_statistics(network):
        raise RuntimeError("inside")
    network(torch.randn(5, 3, 8, 8))
    assert int(network[1].num_batches_tracked) == 1


def test_a_norm_that_never_kept_statistics_does_not_begin_to():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    with frozen_statistics(norm):
        norm(torch.randn(5, 3, 8, 8))
    assert not norm.track_running_stats
