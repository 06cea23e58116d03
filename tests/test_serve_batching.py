"""Batches of requests that come at the same time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from dsi.serve.batching import Batcher, QueueFullError

FOREVER = 1e6
"""A wait, in milliseconds, that no test sits out."""


def doubled(batches: list[int]) -> Callable[[Sequence[int]], list[int]]:
    """Work that notes the sizes of its batches."""

    def work(batch: Sequence[int]) -> list[int]:
        batches.append(len(batch))
        if -1 in batch:
            raise ValueError("what a batch holds")
        return [2 * each for each in batch]

    return work


def run(batcher: Batcher[int, int], clients: Callable[[], Awaitable[None]]) -> None:
    async def running() -> None:
        task = asyncio.create_task(batcher.run())
        try:
            await asyncio.wait_for(clients(), 30)
        finally:
            task.cancel()

    asyncio.run(running())


def test_what_comes_together_is_answered_together_each_with_its_own() -> None:
    batches = list[int]()
    batcher = Batcher(doubled(batches), largest=8, wait=0, queue=100)

    async def clients() -> None:
        assert await asyncio.gather(*map(batcher.ask, range(20))) == [2 * number for number in range(20)]

    run(batcher, clients)
    assert batches == [8, 8, 4]


def test_a_client_alone_never_waits() -> None:
    batches = list[int]()
    batcher = Batcher(doubled(batches), largest=8, wait=FOREVER, queue=100)

    async def clients() -> None:
        for number in range(5):
            assert await batcher.ask(number) == 2 * number

    run(batcher, clients)
    assert batches == [1] * 5


def test_a_batch_waits_for_as_many_as_there_were() -> None:
    batches = list[int]()
    batcher = Batcher(doubled(batches), largest=8, wait=FOREVER, queue=100)

    async def client(number: int) -> None:
        for _ in range(3):
            await batcher.ask(number)
            await asyncio.sleep(0.01 * number)  # the others are back earlier

    async def clients() -> None:
        await asyncio.gather(*map(client, range(4)))

    run(batcher, clients)
    assert batches == [4, 4, 4]


def test_a_batch_goes_on_without_those_that_do_not_come_back() -> None:
    batches = list[int]()
    batcher = Batcher(doubled(batches), largest=8, wait=20, queue=100)

    async def clients() -> None:
        await asyncio.gather(*map(batcher.ask, range(4)))
        assert await batcher.ask(7) == 14
        assert await batcher.ask(8) == 16

    run(batcher, clients)
    assert batches == [4, 1, 1]


def test_a_full_queue_and_clients_that_have_gone() -> None:
    batches, is_free, has_begun = list[int](), threading.Event(), threading.Event()
    work = doubled(batches)

    def slow(batch: Sequence[int]) -> list[int]:
        has_begun.set()
        assert is_free.wait(30)
        return work(batch)

    batcher = Batcher(slow, largest=8, wait=0, queue=3)

    async def clients() -> None:
        first = batcher.ask(0)
        await asyncio.to_thread(has_begun.wait, 30)
        waiting = [batcher.ask(number) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        assert len(batcher) == 3
        with pytest.raises(QueueFullError):
            await batcher.ask(4)
        waiting[1].cancel()
        await asyncio.sleep(0)
        waiting.append(batcher.ask(5))  # in its place
        is_free.set()
        assert await first == 0
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert (found[0], found[2], found[3]) == (2, 6, 10)
        assert waiting[1].cancelled()

    run(batcher, clients)
    assert batches == [1, 3]


def test_a_fault_is_that_of_its_batch_alone() -> None:
    batches = list[int]()
    batcher = Batcher(doubled(batches), largest=2, wait=0, queue=100)

    async def clients() -> None:
        found = await asyncio.gather(*map(batcher.ask, (1, -1, 3)), return_exceptions=True)
        assert [str(each) for each in found] == ["what a batch holds", "what a batch holds", "6"]

    run(batcher, clients)
