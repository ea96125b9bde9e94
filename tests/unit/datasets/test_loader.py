from __future__ import annotations

import errno
import os
import threading
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch

from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.loader import Batch, BatchLoader, _permutation, _share, last_share, to_network
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


def epoch_order(n: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1, *, batch_size: int):
    """Positions that one rank sees in one epoch, int64 (batches · batch_size,)."""
    return _share(_permutation(n, seed, epoch), rank, world_size, batch_size)


def test_the_order_is_a_permutation_that_changes_with_seed_and_epoch():
    order = epoch_order(103, seed=1, epoch=0, batch_size=10)
    assert len(order) == len(set(order.tolist())) == 100
    assert order.max() < 103
    for seed, epoch in ((2, 0), (1, 1)):
        assert not np.array_equal(order, epoch_order(103, seed, epoch, batch_size=10))
    assert np.array_equal(order, epoch_order(103, 1, 0, batch_size=10))


@pytest.mark.parametrize(("n", "world_size", "batch_size"), [(103, 1, 10), (103, 3, 5), (120, 4, 6), (64, 8, 8)])
def test_shards_are_disjoint_and_together_the_order_of_one_process(n: int, world_size: int, batch_size: int):
    together = world_size * batch_size
    whole = epoch_order(n, seed=5, epoch=2, batch_size=together)
    shards = [epoch_order(n, 5, 2, rank, world_size, batch_size=batch_size) for rank in range(world_size)]
    assert {len(shard) for shard in shards} == {n // together * batch_size}
    everything = np.concatenate(shards)
    assert len(set(everything.tolist())) == len(everything) == n // together * together
    assert set(everything.tolist()) == set(whole.tolist())
    rows = np.stack([shard.reshape(-1, batch_size) for shard in shards], axis=1)
    assert np.array_equal(rows.reshape(-1), whole)


@pytest.mark.parametrize(("n", "world", "size", "last"), [
    (64, 1, 24, 16), (64, 2, 12, 8), (64, 3, 7, 1), (64, 1, 9, 0), (64, 1, 16, 0), (64, 3, 5, 2), (25, 2, 12, 0)
])  # fmt: skip
def test_what_is_left_over_is_shared_equally(n: int, world: int, size: int, last: int):
    assert last_share(n, world, size) == (last if last > 1 else 0)


@pytest.mark.parametrize(("world", "size"), [(1, 14), (2, 7), (3, 5), (1, 5)])
def test_the_last_batch_may_be_kept(faces: TrainingSet, world: int, size: int):
    n = len(faces)
    loaders = [BatchLoader(faces, size, 3, rank, world, keep_last=True) for rank in range(world)]
    whole = BatchLoader(faces, size, 3, 0, world)
    last = last_share(n, world, size)
    assert {loader.images_per_epoch for loader in loaders} == {world * (whole.batches_per_epoch * size + last)}
    epochs = [[snapshot(batch) for batch in loader.epoch(1)] for loader in loaders]
    assert {len(epoch) for epoch in epochs} == {loaders[0].batches_per_epoch}
    assert same(epochs[0][: whole.batches_per_epoch], [snapshot(batch) for batch in whole.epoch(1)])
    if last:
        assert all(len(array) == last for epoch in epochs for array in epoch[-1])
        resumed = [snapshot(batch) for batch in loaders[-1].epoch(1, start=loaders[-1].batches_per_epoch - 1)]
        assert same(resumed, epochs[-1][-1:])
    seen = [int(index) for batches in loaders for batch in batches.epoch(1) for index in batch.indices]
    assert len(seen) == loaders[0].images_per_epoch
    if loaders[0].images_per_epoch >= n:
        assert {*seen} == {*range(n)}


@pytest.mark.parametrize("threads", [1, 3])
def test_ranks_resume_anywhere_whatever_their_threads(faces: TrainingSet, threads: int):
    for rank in range(2):
        whole = [snapshot(batch) for batch in BatchLoader(faces, 6, 3, rank, 2, threads=2).epoch(1)]
        for start in range(5):
            loader = BatchLoader(faces, 6, 3, rank, 2, threads=threads)
            assert same([snapshot(batch) for batch in loader.epoch(1, start)], whole[start:])


def test_half_of_the_images_are_flipped_and_others_in_another_epoch(faces: TrainingSet):
    loader = BatchLoader(faces, 10, seed=3)
    flips = [np.concatenate([batch.flips.numpy() for batch in loader.epoch(epoch)]) for epoch in range(8)]
    assert 0.4 < np.mean(flips) < 0.6
    assert not np.array_equal(flips[0], flips[1])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("batch_size", [8, 16, 37])
def test_the_network_gets_what_torchvision_would_give_it(faces: TrainingSet, batch_size: int, channels_last: bool):
    batch = next(BatchLoader(faces, batch_size, seed=3).epoch(0))
    images = batch.images.clone()
    result = to_network(batch, "cpu", channels_last)
    flipped = torch.stack([im.flip(1) if flip else im for im, flip in zip(images, batch.flips, strict=True)])
    expected = flipped.permute(0, 3, 1, 2).contiguous().to(torch.float32).div(255)
    expected = (expected - torch.tensor(0.5)) / torch.tensor(0.5)
    assert torch.equal(result, expected)
    assert result.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert torch.equal(batch.images, images)


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_level_becomes_what_torchvision_makes_of_it(channels_last: bool):
    images = torch.arange(256 * 3, dtype=torch.int64).remainder(256).to(torch.uint8).view(1, 16, 16, 3)
    batch = Batch(images, torch.zeros(1), np.zeros(1, np.int64), torch.tensor([False]))
    levels = torch.arange(256, dtype=torch.uint8).float().div(255).sub(torch.tensor(0.5)).div(torch.tensor(0.5))
    expected = levels[images.long()].permute(0, 3, 1, 2)
    assert torch.equal(to_network(batch, "cpu", channels_last), expected)


def test_normalised_images_are_valid_as_long_as_their_batch_and_take_turns(faces: TrainingSet):
    results, kept = [], []
    for batch in BatchLoader(faces, 8, seed=3).epoch(0):
        results.append(to_network(batch, "cpu", channels_last=True))
        kept.append(results[-1].clone())
        assert all(map(torch.equal, results[-2:], kept[-2:]))
    assert len({result.data_ptr() for result in results}) == 2


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


def test_the_error_names_the_class(tmp_path: Path):
    images = jpegs(40)
    images[23] = b"not an image"
    data = write_set(tmp_path, images)
    with pytest.raises(InputError, match=r"train\.rec: record 24 .*the record's class is 2$"):
        list(BatchLoader(data, 10, seed=0).epoch(0))


def write_set(folder: Path, images: list[bytes]) -> TrainingSet:
    write_training_set(folder, ((number // 10, jpeg) for number, jpeg in enumerate(images)), len(images) // 10)
    return TrainingSet.open(folder)


DAMAGE = {
    "truncated": lambda good: good[:-200],
    "no JPEG": lambda good: b"not an image",
    "too small": lambda good: jpegs(1, size=96)[0],
    "too large": lambda good: jpegs(1, size=160)[0],
    "empty": lambda good: b"",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_corrupt_image_is_replaced_by_the_next_of_the_order(tmp_path: Path, kind: str):
    images = jpegs(40)
    order = epoch_order(40, seed=0, epoch=0, batch_size=10)
    bad, instead = int(order[25]), int(order[26])
    clean = [snapshot(batch) for batch in BatchLoader(write_set(tmp_path / "clean", images), 10, seed=0).epoch(0)]
    images[bad] = DAMAGE[kind](images[bad])
    loader = BatchLoader(
        write_set(tmp_path / "set", images), 10, seed=0, on_corrupt="skip", max_corrupt_fraction=1 / 40
    )
    batches = [snapshot(batch) for batch in loader.epoch(0)]
    for array in clean[2][:3]:  # images, labels, indices; the flips are those of the places
        array[5] = array[6]
    assert same(batches, clean)
    assert batches[2][2][5] == instead and batches[2][1][5] == instead // 10
    (corrupt,) = loader.corrupt
    assert (corrupt.position, corrupt.label) == (bad, bad // 10)
    assert f"train.rec: record {bad + 1} (byte " in corrupt.reason
    list(loader.epoch(1)), list(loader.epoch(0))
    assert loader.corrupt == [corrupt]


def test_a_damaged_record_is_skipped_too(tmp_path: Path):
    data = write_set(tmp_path, jpegs(40))
    position = int(epoch_order(40, seed=0, epoch=0, batch_size=10)[3])
    offset = int((tmp_path / "train.idx").read_text().splitlines()[position + 1].split("\t")[1])
    with (tmp_path / "train.rec").open("r+b") as file:
        file.seek(offset)
        file.write(b"gone")
    loader = BatchLoader(data, 10, seed=0, on_corrupt="skip", max_corrupt_fraction=0.1)
    assert sum(len(batch.indices) for batch in loader.epoch(0)) == 40
    assert [corrupt.position for corrupt in loader.corrupt] == [position]
    assert "no record starts here" in loader.corrupt[0].reason


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Of 60 images, those in the places 3, 4, 5, 30 and 59 of epoch 2 are damaged: a row of three, and the last."""
    images = jpegs(60)
    for place in (3, 4, 5, 30, 59):
        bad = int(epoch_order(60, seed=3, epoch=2, batch_size=12)[place])
        images[bad] = b"torn"
    return write_set(tmp_path_factory.mktemp("torn"), images)


def skipping(torn: TrainingSet, batch_size: int = 12, **options: int) -> BatchLoader:
    return BatchLoader(torn, batch_size, seed=3, on_corrupt="skip", max_corrupt_fraction=0.1, **options)


def test_substitutes_come_from_the_circle_of_the_order(torn: TrainingSet):
    order = epoch_order(60, seed=3, epoch=2, batch_size=12)
    places = np.arange(60)
    places[[3, 4, 5, 30, 59]] = [6, 6, 6, 31, 0]
    loader = skipping(torn)
    assert np.array_equal(np.concatenate([batch.indices for batch in loader.epoch(2)]), order[places])
    assert [corrupt.position for corrupt in loader.corrupt] == order[[3, 4, 5, 30, 59]].tolist()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_substitutes_depend_neither_on_threads_nor_on_where_an_epoch_was_resumed(torn: TrainingSet, threads: int):
    first = skipping(torn, threads=1)
    whole = [snapshot(batch) for batch in first.epoch(2)]
    for start in range(6):
        loader = skipping(torn, threads=threads)
        assert same([snapshot(batch) for batch in loader.epoch(2, start)], whole[start:])
        places = np.array([3, 4, 5, 30, 59])
        assert loader.corrupt == first.corrupt[np.count_nonzero(places < 12 * start) :]


@pytest.mark.parametrize("ranks", [2, 3])
def test_substitutes_are_the_same_on_any_number_of_ranks(torn: TrainingSet, ranks: int):
    whole = [snapshot(batch) for batch in skipping(torn).epoch(2)]
    loaders = [skipping(torn, 12 // ranks, rank=rank, world_size=ranks) for rank in range(ranks)]
    parts = [[snapshot(batch) for batch in loader.epoch(2)] for loader in loaders]
    joined = [[np.concatenate(arrays) for arrays in zip(*batches, strict=True)] for batches in zip(*parts, strict=True)]
    assert same(joined, whole)
    found = {corrupt.position for loader in loaders for corrupt in loader.corrupt}
    assert found == set(epoch_order(60, seed=3, epoch=2, batch_size=12)[[3, 4, 5, 30, 59]].tolist())


@pytest.mark.parametrize("threads", [1, 4])
def test_one_more_than_allowed_ends_with_one_error(torn: TrainingSet, threads: int):
    loader = BatchLoader(torn, 12, seed=3, threads=threads, on_corrupt="skip", max_corrupt_fraction=4 / 60)
    read = 0
    with pytest.raises(
        InputError,
        match=r"5 of its 60 images.*expected at most 4 \(--max-corrupt-fraction 0.0666667\); the last: .*no JPEG",
    ):
        for _ in loader.epoch(2):
            read += 1
    assert read == 4 and len(loader.corrupt) == 5


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_a_set_without_a_usable_image_ends_with_an_error(tmp_path: Path, fraction: float):
    data = write_set(tmp_path, [b"torn"] * 40)
    loader = BatchLoader(data, 10, seed=0, on_corrupt="skip", max_corrupt_fraction=fraction)
    with pytest.raises(InputError, match=r"of its 40 images, met so far, cannot be used; .* the last: .*no JPEG"):
        next(loader.epoch(0))


@pytest.mark.parametrize("on_corrupt", ["error", "skip"])
def test_a_failing_disk_is_named_and_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_corrupt: str):
    data = write_set(tmp_path, jpegs(40))
    position = int(epoch_order(40, seed=0, epoch=0, batch_size=10)[12])
    jpeg = data.jpeg

    def failing(which: int) -> bytes:
        if which == position:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return jpeg(which)

    monkeypatch.setattr(data, "jpeg", failing)
    batches = BatchLoader(data, 10, seed=0, on_corrupt=on_corrupt, max_corrupt_fraction=1).epoch(0)
    next(batches)
    with pytest.raises(InputError, match=rf"train\.rec: record {position + 1} .*cannot be read \(Input/output error\)"):
        next(batches)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_corrupt": "ignore"}, "on_corrupt is 'ignore'; expected error or skip"),
        ({"on_corrupt": "skip", "max_corrupt_fraction": 1.5}, "max_corrupt_fraction is 1.5; expected a number from 0"),
        ({"max_corrupt_fraction": float("nan")}, "max_corrupt_fraction is nan"),
    ],
)
def test_unknown_choices_are_refused(faces: TrainingSet, options: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        BatchLoader(faces, 10, seed=0, **options)


def test_an_abandoned_epoch_leaves_no_threads(faces: TrainingSet):
    batches = BatchLoader(faces, 8, seed=3).epoch(0)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_probability_of_a_flip_is_chosen(faces: TrainingSet, flip: float):
    assert all((batch.flips == bool(flip)).all() for batch in BatchLoader(faces, 10, seed=3, flip=flip).epoch(0))
