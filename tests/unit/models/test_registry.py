import pytest
import torch

from aroface.errors import InputError
from aroface.models.registry import build, measure


@pytest.mark.parametrize(
    ("arch", "parameters"),
    [("r18", 24_025_600), ("r34", 34_139_328), ("r50", 43_590_848), ("r100", 65_156_160), ("r200", 118_833_920)],
)
def test_iresnets_have_the_published_number_of_parameters(arch, parameters):
    measures = measure(arch)
    assert measures.parameters == parameters
    assert measures.feature_map == (512, 7, 7)


def test_mobilefacenet_has_the_published_number_of_parameters():
    assert measure("mbf").parameters == 2_059_520


def test_multiply_adds_are_counted_once_a_product():
    whole, small = measure("r18", 16), measure("r18", 8)
    assert whole.multiply_adds - small.multiply_adds == 8 * 512 * 7 * 7
    assert whole.multiply_adds == pytest.approx(2.6e9, rel=0.01)


@pytest.mark.parametrize(("arch", "input_size"), [("r8s4", 50), ("r18", 32), ("mbf", 50)])
def test_other_input_sizes_give_embeddings_of_the_asked_size(arch, input_size):
    model = build(arch, 16, input_size=input_size)
    embeddings = model(torch.zeros(2, 3, input_size, input_size))
    assert embeddings.shape == (2, 16)
    assert measure(arch, 16, input_size=input_size).embedding_size == 16


@pytest.mark.parametrize("arch", ["r8s4", "mbf"])
def test_initial_weights_are_a_function_of_the_global_seed(arch):
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build(arch, 16, input_size=32).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_an_unknown_architecture_is_one_line_that_lists_the_known_ones():
    with pytest.raises(InputError, match=r"unknown architecture 'r99'; expected one of r18, r34, .*mbf"):
        build("r99")
