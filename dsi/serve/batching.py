"""Requests that come at the same time are answered together, by one thread.

While a batch is worked on the next one gathers. When the thread is free it takes what is there, but first waits a
little for as many requests as the last batch had: clients that were just answered ask again at about the same time. A
client alone, whose last batch was of one, never waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class QueueFullError(Exception):
    """As many requests wait as may."""


class Batcher(Generic[Asked, Answer]):
    """Answers requests in batches, in the order in which they come.

    Args:
        work: answers a batch, in its order; called in a thread of its own, one batch at a time.
        largest: the largest batch.
        wait: the most milliseconds that a batch waits for others.
        queue: the most requests that wait; those worked on do not count.
    """

    def __init__(
        self, work: Callable[[Sequence[Asked]], Sequence[Answer]], largest: int, wait: float, queue: int
    ) -> None:
        self._work, self._largest, self._wait, self._queue = work, largest, wait / 1000, queue
        self._waiting = deque[tuple[Asked, asyncio.Future[Answer]]]()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dsi-batches")
        self._last = 1

    def __len__(self) -> int:
        """The number of requests that wait."""
        return len(self._waiting)

    def ask(self, asked: Asked) -> "asyncio.Future[Answer]":
        """What will have the answer to a request, or whatever `work` raises; cancelled, the request waits no more.

        Raises:
            QueueFullError: too many wait already.
        """
        if len(self._waiting) >= self._queue:
            raise QueueFullError
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = asked, future
        self._waiting.append(entry)
        future.add_done_callback(lambda done: self._forget(entry) if done.cancelled() else None)
        self._arrived.set()
        return future

    def _forget(self, entry: tuple[Asked, "asyncio.Future[Answer]"]) -> None:
        with suppress(ValueError):  # it is worked on
            self._waiting.remove(entry)

    async def run(self) -> None:
        """Answer batch after batch, until cancelled; what is waiting then is answered no more."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                batch = await self._next()
                self._last = len(batch)
                try:
                    answers = await loop.run_in_executor(self._thread, self._work, [asked for asked, _ in batch])
                except Exception as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for (_, future), answer in zip(batch, answers, strict=True):
                        if not future.done():
                            future.set_result(answer)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _next(self) -> list[tuple[Asked, "asyncio.Future[Answer]"]]:
        """The next batch; not empty."""
        await self._until(1)
        if self._wait and len(self._waiting) < self._last:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await self._until(self._last)
            await self._until(1)  # those that waited may have gone
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._largest))]

    async def _until(self, count: int) -> None:
        """Wait until so many requests wait."""
        while len(self._waiting) < count:
            self._arrived.clear()
            await self._arrived.wait()
