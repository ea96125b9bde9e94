"""Rendezvous of a job's processes through a key-value store that exchanges no pickles.

torchrun's default rendezvous keeps its state as a pickle in a store that listens on every interface, and unpickles it
every few seconds: whoever reaches the port runs code. This one exchanges text, numbers and addresses only, and on one
machine it listens on the loopback address alone.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousInfo, RendezvousParameters
from torch.distributed.elastic.rendezvous.api import RendezvousStoreInfo, rendezvous_handler_registry

from aroface.distributed.launch import Nodes
from aroface.distributed.process_group import PATIENCE

BACKEND = "aroface"
"""Name under which torchrun's launcher knows this rendezvous."""

LOOPBACK = "127.0.0.1"
_BACKLOG = 2048


def register() -> None:
    """Make the rendezvous known to torchrun's launcher as :data:`BACKEND`."""
    rendezvous_handler_registry.register(BACKEND, _create)


def _create(parameters: RendezvousParameters) -> RendezvousHandler:
    return _Rendezvous(parameters.run_id, parameters.config["nodes"])


class _Rendezvous(RendezvousHandler):
    """Rendezvous of a fixed set of launchers, whose processes use the same store.

    Args:
        run_id: Identifier of the start; prefix of the launchers' keys.
        nodes: Nodes of the step; None for this machine alone.
    """

    def __init__(self, run_id: str, nodes: Nodes | None) -> None:
        self._run_id, self._nodes = run_id, nodes
        self._store: TCPStore | None = None

    def get_backend(self) -> str:
        """Return its name."""
        return BACKEND

    @property
    def use_agent_store(self) -> bool:
        """True: the processes share the launcher's store."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """Open the store, or connect to the one of the first node."""
        if self._store is None:
            self._store = _join(self._nodes) if self._nodes else _listen_on_loopback()
        rank, count = (self._nodes.rank, self._nodes.count) if self._nodes else (0, 1)
        address = RendezvousStoreInfo(self._store.host, self._store.port)
        return RendezvousInfo(PrefixStore(self._run_id, self._store), rank, count, address)

    def is_closed(self) -> bool:
        """Return False: the number of nodes is fixed, so that joining never ends."""
        return False

    def set_closed(self) -> None:
        """Do nothing: see `is_closed`."""

    def num_nodes_waiting(self) -> int:
        """Return 0: no further nodes join."""
        return 0

    def get_run_id(self) -> str:
        """Return the identifier of the start."""
        return self._run_id

    def shutdown(self) -> bool:
        """Return True: the store ends with the process."""
        return True


def _listen_on_loopback() -> TCPStore:
    """Open a store on the loopback address: by default it would listen on all interfaces."""
    with socket.create_server((LOOPBACK, 0), backlog=_BACKLOG) as listener:
        port = listener.getsockname()[1]
        return _store(LOOPBACK, port, first=True, listener=os.dup(listener.fileno()))


def _join(nodes: Nodes) -> TCPStore:
    return _store(nodes.head, nodes.port, first=nodes.rank == 0)


def _store(host: str, port: int, *, first: bool, listener: int | None = None) -> TCPStore:
    options: dict[str, Any] = {} if listener is None else {"master_listen_fd": listener}
    return TCPStore(host, port, is_master=first, timeout=PATIENCE, wait_for_workers=False, **options)
