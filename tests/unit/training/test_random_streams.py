"""Random streams: seeds that finished trainings were made with, and independence of each other."""

import pytest
import torch

from aroface.training.random_streams import RandomStreams

SEED, STEP = 7, 3


@pytest.mark.parametrize(
    ("purpose", "seed"), [("initialisation", 4071057603845056015), ("classifier", 1635939435827622057)]
)
def test_common_seeds_stay(purpose, seed):
    assert RandomStreams(SEED).common_seed(purpose) == RandomStreams(SEED, rank=2).common_seed(purpose) == seed


@pytest.mark.parametrize(
    ("purpose", "seed"),
    [
        ("network", 2470972703877219985),
        ("low_quality", 4581186989490888520),
        ("head", 814177059574465179),
        ("adversary's head", 7067169064780903368),
        ("adversary", 2745934302815080942),
        ("adversary's classes", 3151817964888190389),
        ("classes", 236230511927769486),
    ],
)
def test_step_seeds_stay(purpose, seed):
    assert RandomStreams(SEED).step_seed(purpose, STEP) == seed


@pytest.mark.parametrize(
    ("rank", "step", "micro_batch", "seed"),
    [
        (0, 3, 1, 4051416074597199615),
        (2, 3, 0, 8224832229058604011),
        (2, 3, 1, 1701245431881388447),
        (0, 4, 0, 8217886390256102127),
    ],
)
def test_seeds_of_processes_steps_and_micro_batches_stay(rank, step, micro_batch, seed):
    assert RandomStreams(SEED, rank).step_seed("adversary", step, micro_batch) == seed


def test_a_generator_has_the_seed_and_the_device():
    streams = RandomStreams(SEED, device=torch.device("cpu"))
    generator = streams.generator("head", STEP, 1)
    assert generator.initial_seed() == streams.step_seed("head", STEP, 1)
    assert generator.device == streams.generator("head", STEP, device="cpu").device == torch.device("cpu")
