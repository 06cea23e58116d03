"""Connections that may not take more than their share: the head of a request is bounded in bytes and in time.

uvicorn bounds neither with its faster parser, so that a client without a token could fill the memory, or keep
connections for ever.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 64 * 1024
"""The most bytes of a request's line and headers."""
HEAD_SECONDS = 10.0
"""How long a client may take to send them, from the connection or from their first byte."""


class BoundedHead(HttpToolsProtocol):
    """uvicorn's protocol, which gives up a request whose head is too large or too slow."""

    _timer: TimerHandle | None = None
    _is_head = True
    _size = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_head:
            self._size += len(data)
            if self._size > HEAD:
                self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n")
                self.transport.close()
                return
            if self._timer is None:
                self._begin()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._end()
        self._is_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_head, self._size = True, 0  # of the next request, whose time begins with its first byte

    def _begin(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
