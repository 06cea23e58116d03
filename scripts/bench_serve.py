"""What `dsi serve` costs beside the index in the same process: one client, and many at once.

    make bench-serve

Clients keep their connections and ask again as soon as they are answered, for ten hits with their texts. The bound for
many of them is the index in this process, asked in batches of the size that it is configured with, and for one client
the index asked for one query at a time; both are measured before the server starts. While the many ask, two connections
are slow: one never ends its request, the other never reads its answers. At last SIGTERM comes while all ask: a request
is lost if its connection was open and no answer came.

The last line: errors are answers other than 200, broken connections and lost requests; ratio is the rate of many
clients to that of one; share their rate to that of batches in the process; p50_ms the median of one client,
in_process_ms that of the index in the process; p99_ms the 99th percentile of many.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from time import perf_counter
from urllib.parse import quote, urlsplit

import numpy as np

import dsi
from dsi.index.index import Index
from dsi.report.tables import text_table
from dsi.runtime.latency import milliseconds

WARM_UP, IN_PROCESS, ALONE = 2.0, 8.0, 8.0
"""The seconds before anything is measured, of each measurement in this process, and of one client."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, nargs="?", default=Path("runs/demo"), help="folder of a run or saved index")
    parser.add_argument("--clients", type=int, default=64, help="how many ask at once (default: 64)")
    parser.add_argument("--seconds", type=float, default=60, help="for how long (default: 60)")
    options = parser.parse_args()
    index = dsi.load(options.index)
    [split] = {index.corpus.evaluation_split(None)}
    texts = [query.text for query in index.corpus.queries(split)][:1000]
    batch = index.config.batch_size
    in_batches = rate_in_batches(index, texts, batch)
    in_process = one_at_a_time(index, texts)
    with server(options.index) as (process, address):
        asyncio.run(ask(address, texts, 1, WARM_UP))
        alone = asyncio.run(ask(address, texts, 1, ALONE))
        many = asyncio.run(ask(address, texts, options.clients, options.seconds, slow=True))
        stopped = asyncio.run(ask(address, texts, options.clients, 3.0, stop=process))
        status = process.wait(60)
    lost = stopped.errors + (status != 0)
    rows = [
        ["in process, one at a time", f"{1000 / np.mean(in_process):,.0f}", *quantiles(in_process), "-"],
        [f"in process, batches of {batch}", f"{in_batches:,.0f}", "-", "-", "-"],
        ["one client", f"{alone.rate:,.0f}", *quantiles(alone.times), f"{alone.errors}"],
        [f"{options.clients} clients", f"{many.rate:,.0f}", *quantiles(many.times), f"{many.errors}"],
        [f"{options.clients} clients, until SIGTERM", f"{stopped.rate:,.0f}", *quantiles(stopped.times), f"{lost}"],
    ]
    print(text_table(["", "a second", "p50 ms", "p99 ms", "errors"], rows))
    print(
        f"errors={alone.errors + many.errors + lost} ratio={many.rate / alone.rate:.2f}"
        f" share={many.rate / in_batches:.2f}"
        f" p50_ms={np.percentile(alone.times, 50):.2f} in_process_ms={np.percentile(in_process, 50):.2f}"
        f" p99_ms={np.percentile(many.times, 99):.2f}"
    )


def rate_in_batches(index: Index, texts: Sequence[str], size: int) -> float:
    """The queries a second of the index in this process."""
    batches = cycle([texts[start : start + size] for start in range(0, len(texts) - size + 1, size)] or [list(texts)])
    index.search(next(batches))
    began, asked = perf_counter(), 0
    while perf_counter() < began + IN_PROCESS:
        asked += len(index.search(next(batches)))
    return asked / (perf_counter() - began)


def one_at_a_time(index: Index, texts: Sequence[str]) -> list[float]:
    """The milliseconds of each query, asked alone."""
    began, queries = perf_counter(), cycle(texts)

    def until_late() -> Iterator[str]:
        while perf_counter() < began + IN_PROCESS:
            yield next(queries)

    return milliseconds(index.search, until_late())


@contextmanager
def server(index: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the index in a process of its own, and its address."""
    command = [sys.executable, "-m", "dsi", "serve", str(index), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        if "http://" not in line:
            sys.exit(f"bench_serve: the server does not start: {line}{process.stderr.read()}")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)  # its log
        yield process, next(word for word in line.split() if word.startswith("http://")).rstrip(",")
        drain.wait(10)
    finally:
        process.kill()


@dataclass
class Asked:
    """What clients have found."""

    times: list[float] = field(default_factory=list)
    """The milliseconds of each answer."""
    errors: int = 0
    rate: float = 0.0


async def ask(
    address: str,
    texts: Sequence[str],
    clients: int,
    seconds: float,
    slow: bool = False,
    stop: subprocess.Popen[str] | None = None,
) -> Asked:
    """Let clients ask for so long, or half as long, when `stop` gets SIGTERM, and then until they are refused."""
    asked, began = Asked(), perf_counter()
    host, port = str(urlsplit(address).hostname), int(urlsplit(address).port or 0)
    requests = [request(host, port, text) for text in texts]
    stopped = False

    async def client(place: int) -> None:
        queries = cycle(requests[place * 7 % len(requests) :] + requests[: place * 7 % len(requests)])
        reader, writer = await asyncio.open_connection(host, port)
        while perf_counter() < began + seconds:
            start = perf_counter()
            try:
                writer.write(next(queries))
                closes, status = await answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                asked.errors += 1
                return
            asked.times.append(1000 * (perf_counter() - start))
            asked.errors += status != 200
            if closes:
                if stopped:
                    return
                asked.errors += 1
        writer.close()

    async def stopping() -> None:
        nonlocal stopped
        if stop is not None:
            await asyncio.sleep(seconds / 2)
            stopped = True
            stop.send_signal(signal.SIGTERM)

    late = []
    if slow:
        _, never_ends = await asyncio.open_connection(host, port)
        never_ends.write(b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        _, never_reads = await asyncio.open_connection(host, port, limit=1)
        for _ in range(200):
            never_reads.write(requests[0])
        late = [never_ends, never_reads]
    await asyncio.gather(stopping(), *(client(place) for place in range(clients)))
    asked.rate = len(asked.times) / (perf_counter() - began)
    for writer in late:
        writer.close()
    return asked


def request(host: str, port: int, text: str) -> bytes:
    """The bytes of a search."""
    return f"GET /search?query={quote(text)} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> tuple[bool, int]:
    """Read an answer: whether the connection ends with it, and its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
    body, status = await reader.readexactly(length), int(head[9:12])
    if status == 200:
        assert json.loads(body)["hits"]
    return b"\r\nconnection: close" in head, status


def quantiles(times: Sequence[float]) -> list[str]:
    return [f"{np.percentile(times, share):,.1f}" for share in (50, 99)]


if __name__ == "__main__":
    main()
