"""Runs a server until it is told to stop, and then to the end of what it has accepted."""

import asyncio
import gc
import socket
import sys
from contextlib import suppress
from functools import partial
from types import FrameType

import uvicorn

from dsi.errors import DsiError
from dsi.index.index import Index
from dsi.serve.app import Server
from dsi.serve.connections import BoundedHead
from dsi.serve.settings import Settings

DRAIN = 0.5
"""The seconds in which clients are told, with their next answer, that their connection ends."""
SETTLE = 0.2
"""The seconds from the last connection that is accepted to the end of those on which nothing has come."""
LONGEST = 30
"""The most seconds that requests which were accepted may take after that."""
BACKLOG = 2048


def serve(index: Index, name: str, settings: Settings) -> None:
    """Answer with an index, which goes by this name, until SIGTERM or SIGINT.

    Raises:
        DsiError: the address is taken, or not of this machine.
    """
    with _bound(settings) as listening:
        server = Server(index, name, settings)
        index.search("a")  # the first search is slow
        gc.collect()
        gc.freeze()  # collections through the whole index made the 99th percentile of 64 clients 437 ms, not 179
        config = uvicorn.Config(
            server.application,
            http=BoundedHead,
            proxy_headers=False,  # any client could write another address, and more, into the log
            log_level="warning",
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=LONGEST,
            timeout_keep_alive=30,
            backlog=BACKLOG,
            ws="none",
        )
        _Stopping(config, server).run(sockets=[listening])
    print("dsi serve: stopped", file=sys.stderr, flush=True)


class _Stopping(uvicorn.Server):
    """Stops in steps: clients are told, then no connection is accepted any more, then those without a request are
    closed, and the others once they are answered. A second signal stops at once."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._server = server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept = list[socket.socket]()
        """The listening sockets once more, by which connections can be taken when the server has closed its own."""
        self._taken = list[asyncio.Task[None]]()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept = [listening.dup() for listening in sockets or ()]
        await super().startup(sockets)
        for host, port, *_ in (listening.getsockname() for listening in sockets or ()):
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            print(
                f"dsi serve: {address} has the page, {address}/docs the API; Ctrl+C stops it",
                file=sys.stderr,
                flush=True,
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._server.application.is_stopping or self._loop is None:
            self.force_exit = self.should_exit = True
            return
        self._server.application.is_stopping = True
        self._loop.call_soon_threadsafe(self._loop.call_later, DRAIN, self._accept_no_more)

    def _accept_no_more(self) -> None:
        """Take the connections that the kernel has made, as clients count on them, and refuse all after them."""
        assert self._loop is not None
        for server in self.servers:
            server.close()
        for listening in self._kept:
            listening.setblocking(False)
            with suppress(BlockingIOError), listening:
                while True:
                    connection, _ = listening.accept()
                    self._taken.append(self._loop.create_task(self._take(connection)))
        self._loop.call_later(SETTLE, self._stop)

    async def _take(self, connection: socket.socket) -> None:
        """Answer on a connection."""
        assert self._loop is not None
        protocol = partial(
            BoundedHead, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        await self._loop.connect_accepted_socket(protocol, connection)

    def _stop(self) -> None:
        self.should_exit = True


def _bound(settings: Settings) -> socket.socket:
    """A socket that listens at the address; what connects before the server has started waits."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise DsiError(
            f"{settings.host}:{settings.port}: {error.strerror or error}; choose another with --host or --port"
        ) from None
    return bound
