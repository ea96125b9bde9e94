"""The helper that runs functions on several ranks must not hang, nor call a failure green."""

import os
import time

import pytest
import torch
import torch.distributed as dist

from gloo import RankError, run_ranks


def _sum(rank, values):
    total = values[rank].clone()
    dist.all_reduce(total)
    return rank, total


def _fail(rank):
    if rank == 1:
        raise ValueError("one of us")
    dist.barrier()  # waits for a rank that will not come


def _die(rank):
    os._exit(3)


def _sleep(rank):
    time.sleep(60)


def test_results_come_in_the_order_of_the_ranks():
    results = run_ranks(3, _sum, torch.tensor([[1.0], [2.0], [4.0]]))
    assert [(rank, float(total)) for rank, total in results] == [(0, 7), (1, 7), (2, 7)]


def test_the_error_of_one_rank_ends_all():
    with pytest.raises(RankError, match=r"rank 1\n(.|\n)*ValueError: one of us"):
        run_ranks(2, _fail)


def test_a_rank_that_dies_is_an_error():
    with pytest.raises(RankError, match="rank 0 died"):
        run_ranks(1, _die)


def test_time_is_limited():
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"ranks \[0, 1\]"):
        run_ranks(2, _sleep, timeout=3)
    assert time.monotonic() - began < 30
