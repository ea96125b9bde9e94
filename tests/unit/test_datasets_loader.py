from __future__ import annotations

import threading
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch

from aroface.datasets.loader import Batch, BatchLoader, epoch_order, to_network
from aroface.datasets.training_set import TrainingSet, write_training_set
from aroface.errors import InputError


def jpegs(n: int, size: int = 112) -> list[bytes]:
    """Smooth pictures, each another one."""
    coarse = np.random.default_rng(7).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return [simplejpeg.encode_jpeg(cv2.resize(image, (size, size)), 90) for image in coarse]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("faces")
    write_training_set(folder, ((number // 5, jpeg) for number, jpeg in enumerate(jpegs(50))), 10)
    return TrainingSet.open(folder)


def snapshot(batch: Batch) -> list[np.ndarray]:
    return [batch.images.numpy().copy(), batch.labels.numpy(), batch.indices, batch.flips.numpy()]


def same(one: list[list[np.ndarray]], other: list[list[np.ndarray]]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, chain(*one), chain(*other)))


def test_a_batch_is_the_decoded_images_of_its_indices(faces: TrainingSet):
    for batch in BatchLoader(faces, 8, seed=3).epoch(0):
        expected = np.stack([simplejpeg.decode_jpeg(faces.jpeg(i)) for i in batch.indices])
        assert batch.images.dtype == torch.uint8
        assert np.array_equal(batch.images.numpy(), expected)
        assert batch.labels.tolist() == [i // 5 for i in batch.indices]
        assert (batch.labels.dtype, batch.flips.dtype, batch.flips.shape) == (torch.int64, torch.bool, (8,))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_epochs_do_not_depend_on_threads_and_resume_anywhere(faces: TrainingSet, threads: int):
    whole = [snapshot(batch) for batch in BatchLoader(faces, 8, seed=3, threads=1).epoch(4)]
    assert len(whole) == BatchLoader(faces, 8, seed=3).batches_per_epoch == 6
    loader = BatchLoader(faces, 8, seed=3, threads=threads)
    for start in range(7):
        assert same([snapshot(batch) for batch in loader.epoch(4, start)], whole[start:])


def test_a_batch_outlives_the_asking_for_the_next(faces: TrainingSet):
    batches = BatchLoader(faces, 8, seed=3).epoch(0)
    before = next(batches)
    kept = snapshot(before)
    for batch in batches:
        assert same([snapshot(before)], [kept])
        before, kept = batch, snapshot(batch)


def test_ranks_share_the_global_batches_of_one_process(faces: TrainingSet):
    whole = [snapshot(batch) for batch in BatchLoader(faces, 12, seed=3).epoch(1)]
    ranks = [BatchLoader(faces, 4, seed=3, rank=rank, world_size=3).epoch(1) for rank in range(3)]
    parts = [[snapshot(batch) for batch in batches] for batches in ranks]
    joined = [[np.concatenate(arrays) for arrays in zip(*batches, strict=True)] for batches in zip(*parts, strict=True)]
    assert same(joined, whole)


def test_the_order_is_a_permutation_that_changes_with_seed_and_epoch():
    order = epoch_order(103, seed=1, epoch=0, batch_size=10)
    assert len(order) == len(set(order.tolist())) == 100
    assert order.max() < 103
    for seed, epoch in ((2, 0), (1, 1)):
        assert not np.array_equal(order, epoch_order(103, seed, epoch, batch_size=10))
    assert np.array_equal(order, epoch_order(103, 1, 0, batch_size=10))


def test_half_of_the_images_are_flipped_and_others_in_another_epoch(faces: TrainingSet):
    loader = BatchLoader(faces, 10, seed=3)
    flips = [np.concatenate([batch.flips.numpy() for batch in loader.epoch(epoch)]) for epoch in range(8)]
    assert 0.4 < np.mean(flips) < 0.6
    assert not np.array_equal(flips[0], flips[1])


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_network_gets_what_torchvision_would_give_it(faces: TrainingSet, channels_last: bool):
    batch = next(BatchLoader(faces, 8, seed=3).epoch(0))
    images = batch.images.clone()
    result = to_network(batch, "cpu", channels_last)
    flipped = torch.stack([im.flip(1) if flip else im for im, flip in zip(images, batch.flips, strict=True)])
    expected = flipped.permute(0, 3, 1, 2).contiguous().to(torch.float32).div(255)
    expected = (expected - torch.tensor(0.5)) / torch.tensor(0.5)
    assert torch.equal(result, expected)
    assert result.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert torch.equal(batch.images, images)


def test_a_set_smaller_than_a_batch_is_refused(faces: TrainingSet):
    with pytest.raises(
        InputError, match="has 50 images, one batch takes 26 on each of 2 ranks; choose a smaller batch"
    ):
        BatchLoader(faces, 26, seed=0, world_size=2)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (jpegs(1)[0][:-200], r"cannot be decoded \(Premature end of JPEG file\)"),
        (b"not an image", "the record is no JPEG"),
        (jpegs(1, size=96)[0], "the image has 96×96 pixels"),
        (jpegs(1, size=160)[0], "cannot be decoded .*too small"),
    ],
)
def test_a_bad_record_is_named_and_spoils_only_its_own_batch(tmp_path: Path, broken: bytes, message: str):
    order = epoch_order(40, seed=0, epoch=0, batch_size=10)
    bad = int(order[25])
    write_training_set(tmp_path, ((0, broken if i == bad else jpeg) for i, jpeg in enumerate(jpegs(40))), 1)
    batches = BatchLoader(TrainingSet.open(tmp_path), 10, seed=0).epoch(0)
    next(batches), next(batches)
    with pytest.raises(InputError, match=rf"train\.rec: record {bad + 1} \(byte \d+\): .*{message}"):
        next(batches)


def test_an_abandoned_epoch_leaves_no_threads(faces: TrainingSet):
    batches = BatchLoader(faces, 8, seed=3).epoch(0)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_probability_of_a_flip_is_chosen(faces: TrainingSet, flip: float):
    assert all((batch.flips == bool(flip)).all() for batch in BatchLoader(faces, 10, seed=3, flip=flip).epoch(0))
