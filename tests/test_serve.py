"""A server in this process: what it answers, and what it refuses."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import httpx
from conftest import Stages
from growing import NEW, OLD, built, query_of, records
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from test_explain import asked, make_run

import dsi
from dsi.errors import DsiError
from dsi.index.index import Index
from dsi.serve import guard
from dsi.serve.app import PAGE, Server
from dsi.serve.mcp_server import NOTE, mcp_server
from dsi.serve.settings import LIMITED, Limits, Settings

LIMITS = Limits(k=20, query_length=60, body=300, queue=2)
TOKEN = "the-token-of-this-test"
Ask = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture(scope="module")
def run(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), tiny, "semantic")


@pytest.fixture(scope="module")
def index(run: Path) -> Index:
    return dsi.load(run)


@asynccontextmanager
async def client(server: Server, address: str = "http://localhost:8000") -> AsyncIterator[httpx.AsyncClient]:
    application: Any = server.application
    async with (
        server.running(application),
        httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=address) as asks,
    ):
        yield asks


def ask(index: Index, asks: Ask, address: str = "http://localhost:8000", **settings: Any) -> Server:
    """Ask a server of the index; returns it."""
    server = Server(index, "tiny", Settings(**{"limits": LIMITS, **settings}))

    async def asking() -> None:
        async with client(server, address) as opened:
            await asyncio.wait_for(asks(opened), 60)

    asyncio.run(asking())
    return server


def hits_of(index: Index, query: str, k: int, beam: int | None = None) -> list[dict[str, Any]]:
    return [asdict(hit) for hit in index.search(query, k, beam)]


def test_searches_are_those_of_the_index(index: Index) -> None:
    query = asked(index)

    async def asks(client: httpx.AsyncClient) -> None:
        found = (await client.get("/search", params={"query": query, "k": 7})).json()
        assert (found["query"], found["generation"]) == (query, None)
        assert found["hits"] == hits_of(index, query, 7)
        narrow = (await client.post("/search", json={"query": query, "k": 2, "beam": 3, "text": False})).json()
        expected = hits_of(index, query, 2, 3)
        assert narrow["hits"] == [{key: hit[key] for key in hit if key != "text"} for hit in expected]
        assert (await client.get("/search", params={"query": "!?"})).json()["hits"] == []

    ask(index, asks)


def test_searches_at_the_same_time_are_batches_and_each_has_its_answer(index: Index) -> None:
    queries = [" ".join(index.corpus[number].text.split()[:4]) for number in range(12)]
    wanted = [(query, 3 + number % 4, 5 if number % 3 else None) for number, query in enumerate(queries)]

    async def asks(client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(
            *(
                client.get("/search", params={"query": query, "k": k, **({"beam": beam} if beam else {})})
                for query, k, beam in wanted
            )
        )
        for (query, k, beam), answer in zip(wanted, answers, strict=True):
            hits, expected = answer.json()["hits"], hits_of(index, query, k, beam)
            assert [hit["doc_id"] for hit in hits] == [hit["doc_id"] for hit in expected]
            assert [hit["score"] for hit in hits] == pytest.approx([hit["score"] for hit in expected], abs=1e-4)
        metrics = (await client.get("/metrics")).text
        assert "dsi_batch_size_sum 12.0" in metrics
        assert "dsi_batch_size_count 12.0" not in metrics
        assert 'dsi_requests_total{path="/search",status="200"} 12.0' in metrics
        assert f"dsi_documents {len(index)}.0" in metrics

    ask(index, asks, limits=Limits())


def test_what_is_shown_is_that_of_the_index(index: Index) -> None:
    query = asked(index)
    [hit] = index.search(query, 1)

    async def asks(client: httpx.AsyncClient) -> None:
        walked = (await client.get("/walk", params={"query": query, "k": 4})).json()
        expected = json.loads(json.dumps(asdict(index.walk(query, 4))))
        assert walked.pop("milliseconds") > 0
        assert walked == expected
        explained = (await client.get("/explain", params={"query": query, "doc_id": hit.doc_id})).json()
        assert explained["text"] == str(index.explain(query, hit.doc_id))
        assert explained["rank"] == 1
        document = (await client.get(f"/documents/{hit.doc_id}")).json()
        assert document == {"doc_id": hit.doc_id, "title": hit.title, "text": hit.text}
        about = (await client.get("/index")).json()
        assert (about["name"], about["documents"], about["docids"], about["max_k"]) == (
            "tiny",
            len(index),
            "semantic",
            20,
        )
        assert (await client.get("/health")).json()["status"] == "ok"
        assert (await client.head("/health")).status_code == 200
        for path in ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui-bundle.js"):
            assert (await client.get(path)).status_code == 200
        assert "http" not in (await client.get("/docs")).text.partition("<title>")[0]

    ask(index, asks)


JSON = {"Content-Type": "application/json"}
BAD: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/search", {"params": {"query": "a", "k": 21}}, 422, "k: .*20"),
    ("GET", "/search", {"params": {"query": "a", "k": 0}}, 422, "k: "),
    ("GET", "/search", {"params": {"query": "a", "beam": 10_000}}, 422, "beam: "),
    ("GET", "/search", {"params": {"query": "a" * 61}}, 422, "query: .*60"),
    ("GET", "/search", {"params": {"query": ""}}, 422, "query: "),
    ("GET", "/search", {}, 422, "query: Field required"),
    ("POST", "/search", {"content": b'{"query": "a"}'}, 422, "Content-Type: application/json"),
    ("POST", "/search", {"content": b'{"query": "a', "headers": JSON}, 422, "the body is no JSON: .*"),
    ("POST", "/search", {"content": b'{"query": "\\ud800"}', "headers": JSON}, 422, "query|JSON"),
    ("POST", "/search", {"content": b"[]", "headers": JSON}, 422, "must be a JSON object"),
    ("POST", "/search", {"json": {"query": "a", "hits": 3}}, 422, "hits: "),
    ("POST", "/search", {"json": {"query": "a" * 301}}, 413, "larger than 300 bytes"),
    ("GET", "/walk", {"params": {"query": "!?"}}, 422, "the query has no word"),
    ("GET", "/explain", {"params": {"query": "a", "doc_id": "none"}}, 404, "none"),
    ("GET", "/documents/a/b", {}, 404, "there is no document .a/b."),
    ("GET", "/nowhere", {}, 404, "Not Found"),
    ("DELETE", "/documents/a", {}, 405, "Method Not Allowed"),
    ("GET", "/index", {"headers": {"Host": "evil.example"}}, 421, "--allow-host NAME"),
    ("GET", "/index", {"headers": {"Host": "[::1"}}, 421, "--allow-host NAME"),
    ("GET", "/index", {"headers": {"Origin": "http://evil.example"}}, 403, "other sites"),
    ("GET", "/index", {"headers": {"Host": "evil@localhost"}}, 421, "--allow-host NAME"),
    ("GET", "/index", {"headers": {"Host": "localhost:port"}}, 421, "--allow-host NAME"),
    ("GET", "/index", {"headers": [("Host", "localhost"), ("Host", "localhost")]}, 400, "host is given twice"),
    ("GET", "/index", {"headers": {"Origin": "null"}}, 403, "other sites"),
    ("GET", "/index", {"headers": {"Origin": "http://["}}, 403, "other sites"),
    ("GET", "/search", {"params": {"query": "a"}, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "other sites"),
    ("GET", "/index", {"headers": {"Origin": "http://localhost:9000"}}, 403, "other sites"),
]


@pytest.mark.parametrize(("method", "path", "options", "status", "detail"), BAD)
def test_what_is_refused(
    index: Index, method: str, path: str, options: dict[str, Any], status: int, detail: str
) -> None:
    async def asks(client: httpx.AsyncClient) -> None:
        refused = await client.request(method, path, **options)
        assert refused.status_code == status, refused.text
        [line] = str(refused.json()["detail"]).splitlines()
        assert re.search(detail, line)

    ask(index, asks)


def test_names_and_origins_that_are_its_own(index: Index) -> None:
    async def asks(client: httpx.AsyncClient) -> None:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "search.example:443"):
            headers = {"Host": host, "Origin": f"https://{host}"}
            assert (await client.get("/index", headers=headers)).status_code == 200

    ask(index, asks, allowed_hosts=("search.example",))


def test_a_token(index: Index) -> None:
    async def asks(client: httpx.AsyncClient) -> None:
        for path in ("/index", "/search?query=a", "/metrics", "/documents/D1", "/walk?query=a"):
            for headers in ({}, {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}):
                refused = await client.get(path, headers=headers)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        with_token = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.get("/search?query=a", headers=with_token)).status_code == 200
        assert (await client.get("/index", headers={"Authorization": f"bearer {TOKEN}"})).status_code == 200
        assert (await client.get("/health")).status_code == 200

    ask(index, asks, "http://192.0.2.7:8000", host="0.0.0.0", token=TOKEN)


def test_the_page_is_its_files_and_nothing_else(index: Index) -> None:
    types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

    async def asks(client: httpx.AsyncClient) -> None:
        for file in sorted(PAGE.iterdir()):
            answer = await client.get("/" if file.name == "index.html" else f"/page/{file.name}")
            assert (answer.status_code, answer.content) == (200, file.read_bytes())
            assert answer.headers["content-type"] == f"{types[file.suffix]}; charset=utf-8"
            assert answer.headers["content-security-policy"] == guard.CONTENT
        for path in ("", "none.js", "index.html", "%2e%2e/app.py", "..%2fapp.py", "..%5capp.py", "/app.py", "page.js/"):
            refused = await client.get(f"/page/{path}", follow_redirects=False)
            assert refused.status_code in (307, 401, 404), path
            assert "import" not in refused.text

    ask(index, asks, host="0.0.0.0", token=TOKEN)


def test_more_than_may_wait_is_refused_and_the_rest_answered(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    is_free, search = threading.Event(), Index.search

    def slow(self: Index, *arguments: Any) -> Any:
        assert is_free.wait(30)
        return search(self, *arguments)

    monkeypatch.setattr(Index, "search", slow)

    async def asks(client: httpx.AsyncClient) -> None:
        asking = [asyncio.create_task(client.get("/search?query=a"))]
        await asyncio.sleep(0.2)
        asking += [asyncio.create_task(client.get("/search?query=a")) for _ in range(4)]
        _, waiting = await asyncio.wait(asking, timeout=1)
        is_free.set()
        answers = await asyncio.gather(*asking)
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]
        assert len(waiting) == 3
        assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}

    ask(index, asks)


def test_a_slow_body_is_given_up_and_holds_nobody_up(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    others = threading.Event()

    async def never_ending() -> AsyncIterator[bytes]:
        yield b"{"
        while True:
            await asyncio.sleep(0.05)
            yield b" " if others.is_set() else b""

    async def asks(client: httpx.AsyncClient) -> None:
        slow = asyncio.create_task(client.post("/search", content=never_ending()))
        for _ in range(3):
            assert (await client.get("/search?query=a")).status_code == 200
        assert not slow.done()
        assert (await slow).status_code == 408
        others.set()

    ask(index, asks)


def test_a_body_in_parts_is_counted(index: Index) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 10

    async def asks(client: httpx.AsyncClient) -> None:
        assert (await client.post("/search", content=parts())).status_code == 413

    ask(index, asks)


def test_the_log_has_a_line_a_request_and_no_query(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    async def asks(client: httpx.AsyncClient) -> None:
        await client.get("/search", params={"query": "secret words"})
        await client.post("/search", json={"query": "secret words"})
        await client.get("/documents/a%0Ab%1Bc")

    ask(index, asks)
    lines = capsys.readouterr().err.splitlines()
    assert [" ".join(line.split()[2:5]) for line in lines] == [
        "GET /search 200",
        "POST /search 200",
        "GET /documents/a%0Ab%1Bc 404",
    ]
    assert "secret" not in "".join(lines)
    ask(index, asks, log_queries=True)
    assert [line.endswith("'secret words'") for line in capsys.readouterr().err.splitlines()] == [True, True, False]


def test_a_fault_of_ours_is_told_and_the_server_goes_on(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a fault")

    async def asks(client: httpx.AsyncClient) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Index, "search", fail)
            with pytest.raises(RuntimeError, match="a fault"):
                await client.get("/search?query=a")
        assert (await client.get("/search?query=a")).status_code == 200

    ask(index, asks)


def test_an_index_of_ids_alone(index: Index, tmp_path: Path) -> None:
    index.save(tmp_path / "ids", include_documents=False)
    query = asked(index)

    async def asks(client: httpx.AsyncClient) -> None:
        assert (await client.get("/index")).json()["has_documents"] is False
        hits = (await client.get("/search", params={"query": query})).json()["hits"]
        assert {hit["text"] for hit in hits} == {""}
        for path in ("/walk", "/explain?doc_id=D1"):
            refused = await client.get(
                path, params={"query": query} if path == "/walk" else {"query": query, "doc_id": "D1"}
            )
            assert refused.status_code == 409
            assert "without its documents" in refused.json()["detail"]

    ask(dsi.load(tmp_path / "ids"), asks)


def test_a_new_generation_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsi.serve.app.REFRESH", 0.05)
    folder = built(tmp_path / "index", "atomic")
    index, query = dsi.load(folder), query_of(NEW[0])

    async def asks(client: httpx.AsyncClient) -> None:
        await asyncio.to_thread(dsi.load(folder).add, records(NEW))
        async with asyncio.timeout(30):
            while (found := (await client.get("/search", params={"query": query})).json())["generation"] is None:
                await asyncio.sleep(0.02)
        assert found["generation"] == 1
        assert NEW[0].doc_id in {hit["doc_id"] for hit in found["hits"]}
        assert (await client.get("/health")).json()["documents"] == len(OLD) + len(NEW)
        (folder / "generations/current").write_text("what it is not")
        await asyncio.sleep(0.3)
        assert (await client.get("/search", params={"query": query})).json()["hits"] == found["hits"]

    ask(index, asks)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"host": "0.0.0.0"}, "--host 0.0.0.0: other machines could read all documents; give a token"),
        ({"host": "search.example"}, "--host search.example: "),
        ({"token": "short"}, "--token or DSI_TOKEN: expected 16"),
        ({"token": "é" * 16}, "--token or DSI_TOKEN: expected 16"),
        ({"token": ""}, "--token or DSI_TOKEN: expected 16"),
        ({"token": "with a blank at its end "}, "--token or DSI_TOKEN: expected 16"),
        ({"allowed_hosts": ("proxy.example:8000",)}, "--allow-host 'proxy.example:8000': .* without a port"),
        ({"port": 70_000}, "--port 70000: "),
        ({"batch_wait": -1}, "--batch-wait -1: "),
        ({"batch_wait": float("nan")}, "--batch-wait nan: "),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(DsiError, match=fault):
        Settings(**settings)


def test_every_limit_is_explained() -> None:
    assert LIMITED.keys() == vars(Limits()).keys()


def text_of(result: CallToolResult) -> str:
    """What a tool has said."""
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def test_tools_of_a_language_model(index: Index) -> None:
    query = asked(index)
    [best, *_] = index.search(query, 3)

    async def asking() -> None:
        async with Client(mcp_server(index, Limits(k=3))) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "document"}
            found = json.loads(text_of(await client.call_tool("search", {"query": query, "k": 3})))
            assert found["note"] == NOTE
            assert [hit["doc_id"] for hit in found["hits"]] == [hit.doc_id for hit in index.search(query, 3)]
            document = json.loads(text_of(await client.call_tool("document", {"doc_id": best.doc_id})))
            assert document == {"note": NOTE, "doc_id": best.doc_id, "title": best.title, "text": best.text}
            for tool, arguments, fault in (
                ("search", {"query": query, "k": 4}, "less than or equal to 3"),
                ("document", {"doc_id": "none"}, "there is no document 'none'"),
            ):
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error
                assert fault in text_of(refused)

    asyncio.run(asking())
