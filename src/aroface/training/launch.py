"""Several processes of one training on this machine, by torchrun's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from aroface.training.conduct import EXIT_INTERRUPTED

GRACE_S = 300
"""After a signal the processes may take so long to save their state."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def under_torchrun() -> bool:
    """Whether this process is one that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Whether this is the process that says what all have done."""
    return os.environ.get("RANK", "0") == "0"


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Start ``aroface`` with these arguments in several processes and wait for them; returns the exit status.

    A signal that asks for an end is passed on to all of them. If one process fails, the others are ended; the status is
    that of the one that failed first.

    Args:
        processes: on this machine, one a device.
        arguments: of the command line, without the program's name.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="aroface",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
        signals_to_handle=",".join(each.name for each in SIGNALS),
        shutdown_timeout=GRACE_S,
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes speak for themselves
    try:
        elastic_launch(config, sys.executable)("-m", "aroface", *arguments)
    except SignalException:
        return EXIT_INTERRUPTED
    except ChildFailedError as error:
        status: int = error.get_first_failure()[1].exitcode
        return status if status > 0 else 128 - status  # killed by a signal, as a shell would say it
    return 0
