"""`dsi serve` as a process of its own: signals, addresses, slow clients, an index that grows meanwhile."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import httpx
from growing import NEW, OLD, built, query_of, records
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from test_serve import text_of

import dsi
from dsi.cli import main
from dsi.serve.settings import TOKEN

QUERY = query_of(OLD[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("served") / "index", "atomic")


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A server of the index, its address, and the file of its log."""
    log = folder.parent / "log"
    command = [sys.executable, "-m", "dsi", "serve", str(folder), "--port", "0", *options]
    with log.open("wb") as written:
        process = subprocess.Popen(command, stderr=written, stdout=written)
    try:
        while "http://" not in (said := log.read_text()):
            assert process.poll() is None, said
            time.sleep(0.05)
        yield process, next(word for word in said.split() if word.startswith("http://")), log
    finally:
        process.kill()
        process.wait()


def test_sigterm_under_load_loses_no_request(folder: Path) -> None:
    """Clients that keep their connections, and some that open one a request, until the server is gone. A connection
    that the kernel has taken and the server has not is reset; whatever the server has answered has come."""

    async def load(process: subprocess.Popen[bytes], address: str) -> list[int]:
        answered, is_told = [0] * 12, False

        async def keeping(place: int) -> None:
            async with httpx.AsyncClient(base_url=address, limits=httpx.Limits(max_connections=1)) as client:
                while True:
                    response = await client.get("/search", params={"query": QUERY})
                    assert len(response.json()["hits"]) == 10
                    answered[place] += 1
                    if response.headers.get("connection") == "close":
                        assert is_told
                        return

        async def opening(place: int) -> None:
            while True:
                async with httpx.AsyncClient(base_url=address) as client:
                    try:
                        response = await client.get("/search", params={"query": QUERY})
                    except httpx.TransportError:
                        assert is_told
                        return
                assert len(response.json()["hits"]) == 10
                answered[place] += 1

        clients = [asyncio.create_task((opening if place % 4 == 0 else keeping)(place)) for place in range(12)]
        while min(answered) < 3:
            await asyncio.sleep(0.01)
            assert not any(client.done() for client in clients)
        process.send_signal(signal.SIGTERM)
        is_told = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        return answered

    with served(folder) as (process, address, log):
        answered = asyncio.run(load(process, address))
        assert process.wait(30) == 0
    lines = log.read_text().splitlines()
    assert sum("GET /search 200" in line for line in lines) == sum(answered)
    assert lines[-1] == "dsi serve: stopped"


def test_slow_clients_hold_nobody_up_and_two_signals_stop_at_once(folder: Path) -> None:
    with served(folder) as (process, address, _):
        host, port = urlsplit(address).hostname, urlsplit(address).port
        late = [socket.create_connection((host, port)) for _ in range(20)]
        for connection in late[:10]:
            connection.sendall(b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{")
        for connection in late[10:]:  # they never read
            connection.sendall(f"GET /search?query=a&k=50 HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n".encode() * 50)
        dropped = socket.create_connection((host, port))
        dropped.sendall(b"GET /search?query=a HTTP/1.1\r\nhost: localhost\r\n\r\n")
        dropped.close()
        for _ in range(5):
            assert httpx.get(f"{address}/search", params={"query": QUERY}, timeout=20).status_code == 200
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_heads_without_end_and_clients_that_have_gone(folder: Path) -> None:
    with served(folder, "--max-queue", "20") as (_, address, log):
        host, port = urlsplit(address).hostname, urlsplit(address).port
        with socket.create_connection((host, port)) as endless:
            endless.settimeout(30)
            endless.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 990) for n in range(70)))
            assert endless.recv(100).startswith(b"HTTP/1.1 431 ")
        with socket.create_connection((host, port)) as asks:
            asks.sendall(f"HEAD /health HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: asks.recv(1000), b""))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\n")  # no body
        for _ in range(100):
            with socket.create_connection((host, port)) as gone:
                gone.sendall(f"GET /walk?query=a HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n".encode())
        forged = {"X-Forwarded-For": "6.6.6.6 GET /forged 200"}
        assert httpx.get(f"{address}/search", params={"query": QUERY}, headers=forged, timeout=20).status_code == 200
        assert httpx.get(f"{address}/explain", params={"query": QUERY, "doc_id": OLD[0].doc_id}).status_code == 200
        assert "6.6.6.6" not in log.read_text()


def test_an_index_that_grows_is_served_without_a_pause(folder: Path, tmp_path: Path) -> None:
    grown = tmp_path / "index"
    dsi.load(folder).save(grown)

    async def load(address: str) -> None:
        seen = [list[int](), list[int]()]
        async with httpx.AsyncClient(base_url=address) as client:

            async def search() -> dict[str, object]:
                response = await client.get("/search", params={"query": query_of(NEW[0]), "k": 20})
                assert response.status_code == 200
                return dict(response.json())

            async def searching(generations: list[int]) -> None:
                while len(set(generations)) < 3:
                    found = await search()
                    number = int(str(found["generation"] or 0))
                    ids = [hit["doc_id"] for hit in found["hits"]]  # type: ignore[attr-defined]
                    assert (NEW[0].doc_id in ids) == (number == 1)
                    generations.append(number)

            def changing() -> None:
                index = dsi.load(grown)
                index.add(records(NEW))
                while not all(1 in generations for generations in seen):
                    time.sleep(0.05)
                index.delete(NEW[0].doc_id)

            await asyncio.wait_for(asyncio.gather(*map(searching, seen), asyncio.to_thread(changing)), 60)
        assert all(generations == sorted(generations) for generations in seen)

    with served(grown) as (_, address, log):
        asyncio.run(load(address))
        assert "dsi serve: took generation 2" in log.read_text()


def test_what_is_told_before_the_index_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, fault in (
            (["--port", port], f"127.0.0.1:{port}: "),
            (["--host", "192.0.2.1", "--token", "x" * 16], "192.0.2.1:8000: "),
            (["--host", "0.0.0.0"], "--host 0.0.0.0: "),
        ):
            assert main(["serve", str(folder), *options]) == 2
            [line] = capsys.readouterr().err.splitlines()
            assert line.startswith(f"dsi: error: {fault}")
    assert main(["serve", str(folder / "none")]) == 2
    assert "there is no" in capsys.readouterr().err


def test_a_token_of_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "of-the-environment")
    with served(folder, "--host", "127.0.0.1") as (_, address, _):
        assert httpx.get(f"{address}/index").status_code == 401
        assert httpx.get(f"{address}/index", headers={"Authorization": "Bearer of-the-environment"}).status_code == 200


def test_tools_by_standard_input_and_output(folder: Path) -> None:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "dsi", "serve", str(folder), "--mcp"], env=dict(os.environ)
    )

    async def asking() -> None:
        async with Client(command) as client:
            found = json.loads(text_of(await client.call_tool("search", {"query": QUERY})))
            assert OLD[0].doc_id in {hit["doc_id"] for hit in found["hits"]}

    asyncio.run(asyncio.wait_for(asking(), 60))
