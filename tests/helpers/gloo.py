"""Functions run on several ranks of a gloo process group, for the tests of what is distributed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

# The server imports torch and the training once; ranks forked from it start in a tenth of a second.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "torch.distributed", "aroface.training.train"])


class RankError(Exception):
    """A rank failed; the message ends with its traceback."""


def run_ranks(world: int, function: Callable[..., Any], *arguments: Any, timeout: float = 120) -> list[Any]:
    """Call ``function(rank, *arguments)`` in ``world`` processes that share a default gloo group.

    Args:
        world: number of ranks; one rank has a process group, too.
        function: of a module, so that the processes can import it.
        arguments: what pickle takes.
        timeout: seconds after which all ranks are killed.

    Returns:
        What the ranks returned, in their order; anything that pickle takes.

    Raises:
        RankError: the first rank that raised or died; the others are killed.
        TimeoutError: time is up.
    """
    with tempfile.TemporaryDirectory() as folder:
        ranks = [_start(rank, world, folder, timeout, function, arguments) for rank in range(world)]
        try:
            return _collect(ranks, time.monotonic() + timeout)
        finally:
            for process, connection in ranks:
                process.kill()
                process.join()
                connection.close()


def _start(
    rank: int, world: int, folder: str, timeout: float, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[ForkServerProcess, Connection]:
    mine, its = _CONTEXT.Pipe(duplex=False)
    # Pickled here rather than by multiprocessing, which would put tensors into shared memory.
    task = pickle.dumps((function, arguments))
    process = _CONTEXT.Process(target=_run, args=(rank, world, folder, timeout, its, task), daemon=True)
    process.start()
    its.close()
    return process, mine


def _collect(ranks: list[tuple[ForkServerProcess, Connection]], deadline: float) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(ranks):
        waiting = {connection: rank for rank, (_, connection) in enumerate(ranks) if rank not in results}
        ready = wait([*waiting], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"no answer from ranks {sorted(waiting.values())}")
        for connection in ready:
            rank = waiting[connection]  # type: ignore[index]  # only connections were waited for
            try:
                done, answer = pickle.loads(connection.recv_bytes())  # type: ignore[union-attr]
            except EOFError:
                raise RankError(f"rank {rank} died") from None
            if not done:
                raise RankError(f"rank {rank}\n{answer}")
            results[rank] = answer
    return [results[rank] for rank in range(len(ranks))]


def _run(rank: int, world: int, folder: str, timeout: float, connection: Connection, task: bytes) -> None:
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.FileStore(str(Path(folder) / "store"), world)
    try:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=timeout))
        function, arguments = pickle.loads(task)
        answer = (True, function(rank, *arguments))
    except BaseException:
        answer = (False, traceback.format_exc())
    connection.send_bytes(pickle.dumps(answer))
    # The last one to leave must not take the store away from the others.
    if answer[0]:
        dist.barrier()
        dist.destroy_process_group()
