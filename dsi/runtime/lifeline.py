"""A connection of every process of a launcher to the first one, which breaks when a process dies.

`torchrun` and `accelerate launch` end all processes of their node when one dies; those of other nodes, or of a launcher
that does not look after them, would wait for it for days. Here the system closes the connection of a process that
dies, the first process tells the others which one it was, and all stop.
"""

import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from dsi.runtime.processes import Rank

DONE = 0xFFFFFFFF
"""What a process says, in place of the number of a dead one, when its own work is done."""
BYTES = 4
"""The length of a message: a process number."""
PATIENCE = 1.0
"""The seconds in which a message that has been sent arrives."""
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
"""Seconds and probes after which a node that has vanished without a word counts as dead."""

_connections: dict[int, socket.socket] = {}
"""The connections of this process, by the number of the process at the other end."""


def hold(rank: Rank, host: str, get: Callable[[], bytes], publish: Callable[[str], None], longest: timedelta) -> None:
    """Connect this process with the first one, which listens on `host`, and end it when another one dies.

    The first process tells the others by `publish` what these read by `get`: a port, and a secret word without which no
    connection counts.

    Raises:
        OSError: not all connect within `longest`.
    """
    deadline = time.monotonic() + longest.seconds
    if rank.process == 0:
        word = secrets.token_hex(16)
        with socket.create_server(("", 0)) as server:
            publish(f"{server.getsockname()[1]} {word}")
            while len(_connections) < rank.processes - 1:
                server.settimeout(max(deadline - time.monotonic(), 0.01))
                connection = server.accept()[0]
                connection.settimeout(PATIENCE)
                said = _received(connection, len(word) + BYTES)
                if said.startswith(word.encode()) and len(said) == len(word) + BYTES:
                    _connections[int.from_bytes(said[len(word) :])] = connection
                else:
                    connection.close()  # of someone else
    else:
        port, word = get().decode().split()
        connection = socket.create_connection((host, int(port)), timeout=longest.seconds)
        connection.sendall(word.encode() + rank.process.to_bytes(BYTES))
        _connections[0] = connection
    for connection in _connections.values():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.settimeout(None)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_close)  # a child would keep the connections of a parent that dies
    threading.Thread(target=_watch, args=(rank,), daemon=True).start()


def release() -> None:
    """Let the other processes go on when this one ends, as its work is done."""
    for connection in _connections.values():
        _tell(connection, DONE)


def fail(process: int) -> None:
    """Let the other processes end, as this one leaves its work undone. That may be because another one has died, of
    which word is on its way: then `_watch` names that one."""
    if _connections:
        time.sleep(PATIENCE)
        for connection in _connections.values():
            _tell(connection, process)


def _close() -> None:
    for connection in _connections.values():
        connection.close()
    _connections.clear()


def _watch(rank: Rank) -> None:
    """Wait until all processes at the other ends are done, or end this process if one of them dies."""
    with selectors.DefaultSelector() as selector:
        for process, connection in _connections.items():
            selector.register(connection, selectors.EVENT_READ, process)
        while selector.get_map():
            for key, _ in selector.select():
                message = _received(_connections[key.data], BYTES)
                said = int.from_bytes(message) if len(message) == BYTES else key.data  # it has died without a word
                if said != DONE:
                    _stop(rank, said)
                selector.unregister(key.fileobj)


def _stop(rank: Rank, dead: int) -> None:
    for process, connection in _connections.items():
        if process != dead:
            _tell(connection, dead)
    print(
        f"dsi: error: process {dead} of {rank.processes} has ended before its work was done, so process {rank.process}"
        " stops too",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)  # the main thread may wait for the dead process in code that nothing interrupts


def _received(connection: socket.socket, count: int) -> bytes:
    """So many bytes, fewer if the other end has closed the connection or died."""
    received = b""
    with suppress(OSError):
        while len(received) < count and (more := connection.recv(count - len(received))):
            received += more
    return received


def _tell(connection: socket.socket, number: int) -> None:
    with suppress(OSError):  # it has ended
        connection.sendall(number.to_bytes(BYTES))
