"""Launch of several processes with torchrun's launcher: on this machine, or on the nodes of a Slurm step."""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aroface.distributed.signals import handled, ignore_stop_signals
from aroface.environment_lock import LAUNCHED
from aroface.errors import InputError
from aroface.exit_status import ExitStatus

GRACE_S = 300
"""Time that the processes have after a signal to save their state."""

PORTS = range(20_000, 32_000)
"""Ports of the rendezvous of several nodes, chosen by job number: below the range of ephemeral ports."""

TOKEN = "AROFACE_RENDEZVOUS"
"""Environment variable with a random word that the nodes of one start share; ``slurm/launch.sh`` sets it."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of a Slurm step, on each of which one launcher runs.

    Attributes:
        count: Number of nodes.
        rank: Number of this node, from 0.
        head: Name of the first node.
        port: Port of the rendezvous on the first node.
    """

    count: int
    rank: int
    head: str
    port: int


def under_torchrun() -> bool:
    """Tell whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Tell whether this process is rank 0, which reports for all."""
    return os.environ.get("RANK", "0") == "0"


def nodes_of_step(environment: Mapping[str, str]) -> Nodes | None:
    """Return the nodes of this process's Slurm step; None for a single node or without ``srun``.

    Args:
        environment: Environment variables as Slurm sets them for each task of a step.

    Raises:
        InputError: The step has several tasks on a node.
    """
    count = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    if count == 1:
        return None
    tasks = int(environment["SLURM_STEP_NUM_TASKS"])
    if tasks != count:
        fault, remedy = f"{tasks} tasks on {count} nodes", "srun --ntasks-per-node=1: each starts its node's processes"
        raise InputError(fault, where="SLURM_STEP_NUM_TASKS", expected="one task on each node", remedy=remedy)
    port = PORTS[int(environment["SLURM_JOB_ID"]) % len(PORTS)]
    return Nodes(count, int(environment["SLURM_NODEID"]), first_host(environment["SLURM_STEP_NODELIST"]), port)


def first_host(nodes: str) -> str:
    """Return the first of some nodes as Slurm writes them: ``gpu[003-005,9]-ib,other`` is ``gpu003-ib`` and others."""
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


def run_id(nodes: Nodes | None, environment: Mapping[str, str]) -> str:
    """Return the identifier of one start, equal on all of its nodes; random, unless the nodes share no random word.

    Args:
        nodes: Nodes of the step; None for this machine alone.
        environment: Environment variables as Slurm and ``slurm/launch.sh`` set them.
    """
    if nodes is None:
        return f"{LAUNCHED}-{secrets.token_hex(16)}"
    step = "-".join(environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return f"{LAUNCHED}-{environment.get(TOKEN) or step}"


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Start ``aroface`` with these arguments in several processes and wait for them; return the exit status.

    Within a Slurm step of several nodes each node starts its part of the processes. A stop signal is forwarded to
    all of them. If one process fails, the others are ended; the status is that of the first that failed.

    Args:
        processes: Number of processes, one a device.
        arguments: Arguments of the command line, without the program's name.

    Raises:
        InputError: The processes cannot be split evenly over the nodes.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from aroface.distributed.rendezvous import BACKEND, register

    nodes = nodes_of_step(os.environ)
    count = nodes.count if nodes else 1
    if processes % count:
        fault, expected = f"{processes} processes on {count} nodes", "as many on each node"
        raise InputError(fault, where="--processes", expected=expected)
    register()
    config = LaunchConfig(
        min_nodes=count,
        max_nodes=count,
        nproc_per_node=processes // count,
        run_id=run_id(nodes, os.environ),
        rdzv_backend=BACKEND,
        rdzv_configs={"nodes": nodes},
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
        signals_to_handle="SIGHUP",  # the others are handled here
        shutdown_timeout=GRACE_S,
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in ["torch.distributed", *logging.root.manager.loggerDict]:
        if name.startswith("torch.distributed"):  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes report their own errors
    try:
        with _forwarding_signals():
            elastic_launch(config, sys.executable)("-m", "aroface", *arguments)
    except SignalException:
        return ExitStatus.INTERRUPTED
    except ChildFailedError as error:
        status: int = error.get_first_failure()[1].exitcode
        return status if status > 0 else 128 - status  # killed by a signal, as shells report it
    return ExitStatus.DONE


@contextmanager
def _forwarding_signals() -> Iterator[None]:
    """Forward the first signal to the processes, as another signal than came.

    Slurm signals all processes of a step, the launcher's among them. A process that gets the same signal again ends at
    once, without saving its state; after another one, it finishes saving.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException

    def forward(number: int) -> None:
        ignore_stop_signals()
        other = signal.SIGTERM if number == signal.SIGUSR1 else signal.SIGUSR1
        raise SignalException(f"signal {number}", sigval=other)

    with handled(forward):
        yield
