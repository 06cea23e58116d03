"""The search page in a real browser, with the answers of `page_answers.Server`."""

from __future__ import annotations

import graphlib
import itertools
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Stages
from page_answers import ORIGIN, PAGE, POLICY, TITLES, Server, atomic_walk, branch, deep_walk, leaf, tree_walk
from test_explain import make_run

import dsi
from dsi.index.index import Index
from dsi.serve.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
CONTRASTS = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (color, below) => {
    paint.fillStyle = `rgb(${below.join()})`; paint.fillRect(0, 0, 1, 1);
    paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const ground = (part) => over(getComputedStyle(part).backgroundColor,
    part.parentElement ? ground(part.parentElement) : [255, 255, 255]);
  const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const light = (color) => color.map((one) => linear(one / 255))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const found = [];
  for (const part of document.body.querySelectorAll("*")) {
    const words = [...part.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("").trim();
    if (!words || !part.checkVisibility() || part.closest("svg, option")) continue;
    const [behind, front] = [ground(part), over(getComputedStyle(part).color, ground(part))].map(light);
    found.push([(Math.max(behind, front) + 0.05) / (Math.min(behind, front) + 0.05), words]);
  }
  return found;
}"""
"""The contrast of each text with what is behind it, by the formula of WCAG."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium or Chrome in PATH")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A page of the server, not opened yet; nothing may go wrong in it, and it asks no other server."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Failed to load resource" not in said.text else None)
    page.route("**/*", lambda route: wrong.append(route.request.url))
    page.route(f"{ORIGIN}/**", server)
    yield page
    context.close()
    assert not wrong


def asked(page: Page, query: str = "read files", k: int = 10) -> Page:
    """The page with the answer to a query, its walk as well."""
    page.goto(f"{ORIGIN}/?q={query}&k={k}")
    page.locator(".branch").first.wait_for()
    return page


def hit(page: Page, rank: int) -> Locator:
    return page.locator(f".hit[data-rank='{rank}']")


def branch_at(page: Page, node: int) -> Locator:
    return page.locator(f".branch[data-node='{node}']")


def lit(page: Page, parts: str, key: str) -> set[int]:
    return set(page.eval_on_selector_all(f"{parts}.lit", "(all, key) => all.map((one) => +one.dataset[key])", key))


# The modules


def test_modules_of_the_page_are_small_and_import_one_way() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")}
    imports = {name: dict(re.findall(r'^import (.*) from "\./([\w.]+)";$', text, re.M)) for name, text in texts.items()}
    graph = {name: {*each.values()} for name, each in imports.items()}
    order = [*graphlib.TopologicalSorter(graph).static_order()]
    assert order[-1] == "page.js"
    assert {*order} == {*texts}
    for name, text in texts.items():
        assert len(text.splitlines()) <= 200, name
        code = re.sub(r"^import .*\n", "", text, flags=re.M)
        assert text.count("\nimport ") == len(imports[name]), name
        for names, module in imports[name].items():
            for one in re.findall(r"\w+", names.replace("* as ", "")):
                assert re.search(rf"\b{one}\b", code), f"{name} does not use {one}"
                exported = rf"^export (async )?(function|const|class) {one}\b"
                assert names.startswith("*") or re.search(exported, texts[module], re.M), f"{module} has no {one}"


# Searching


def test_a_search_shows_titles_marked_words_and_latency(page: Page, server: Server) -> None:
    page.goto(f"{ORIGIN}/")
    page.get_by_role("searchbox", name="Query").fill("reading a csv file")
    page.get_by_role("button", name="Search").click()
    page.locator(".branch").first.wait_for()
    assert page.locator(".hit h3").all_inner_texts() == list(TITLES.values())
    assert hit(page, 1).locator("h3 mark").all_inner_texts() == ["Read", "file"]
    excerpt = hit(page, 1).locator(".excerpt")
    assert excerpt.inner_text().startswith("…")
    assert "A file is read" in excerpt.inner_text()
    assert len(excerpt.inner_text()) < 150
    assert {*excerpt.locator("mark").all_inner_texts()} == {"Reading", "file", "read"}
    assert hit(page, 2).locator(".excerpt mark").all_inner_texts() == ["csv", "file"]
    assert "D2 · score \N{MINUS SIGN}1.00" in hit(page, 2).inner_text()
    said = page.get_by_role("status").inner_text().replace("\xa0", " ")
    assert re.fullmatch(r"3 documents in 7\.3 ms on the server, [\d.]+ ms there and back\.", said)
    assert "1,234 documents · semantic docids · with BM25" in page.locator("#facts").inner_text()
    question = {"query": "reading a csv file", "k": "10"}
    assert server.asked[0] == ("/index", {})
    assert sorted(server.asked[1:]) == [("/search", question), ("/walk", question)]


def test_a_search_has_an_address(page: Page, server: Server) -> None:
    asked(page, "one word", 20)
    assert page.locator("#query").input_value() == "one word"
    assert page.locator("#k").input_value() == "20"
    page.locator("#query").fill("another & more")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=another+%26+more&k=20")
    page.locator("#k").select_option("5")
    page.wait_for_url("**/?q=another+%26+more&k=5")
    page.go_back()
    page.go_back()
    page.wait_for_url("**/?q=one%20word&k=20")
    page.wait_for_function("document.querySelector('#query').value === 'one word'")
    searches = [parameters for path, parameters in server.asked if path == "/search"]
    assert searches[0] == searches[-1] == {"query": "one word", "k": "20"}
    assert page.title() == "one word - small"


def test_an_older_search_does_not_come_after_a_newer_one(page: Page, server: Server) -> None:
    page.goto(f"{ORIGIN}/?q=slow&k=10")
    while "slow" not in server.held:
        page.wait_for_timeout(10)
    assert page.get_by_role("status").inner_text().startswith("Searching")
    asking = server.held["slow"].request
    with page.expect_event("requestfailed", lambda request: request == asking):
        page.locator("#query").fill("quick")
        page.keyboard.press("Enter")
    page.locator(".branch").first.wait_for()
    assert "3 documents" in page.locator("#status").inner_text()


def test_a_hit_shows_its_whole_text_and_explanation_when_asked(page: Page, server: Server) -> None:
    asked(page)
    hit(page, 1).locator("summary").click()
    explanation = page.get_by_role("region", name="Explanation of the score of Read a file")
    assert explanation.inner_text() == "document  D1\n   total  -1.000"
    assert server.texts["D1"] in hit(page, 1).locator("details").inner_text()
    server.refusals["documents"] = (404, "no document D2")
    hit(page, 2).locator("summary").click()
    page.get_by_text("This document is no longer in the index.").wait_for()


def test_an_index_without_texts_shows_ids(page: Page, server: Server) -> None:
    server.index["has_documents"] = False
    server.titles, server.texts = dict.fromkeys(TITLES, ""), dict.fromkeys(TITLES, "")
    asked(page)
    assert page.locator(".hit h3").all_inner_texts() == ["D1", "D2", "D3"]
    hit(page, 1).locator("summary").click()
    page.get_by_role("region", name="Explanation").wait_for()
    assert "/documents/D1" not in dict(server.asked)


# The walk


def test_a_walk_shows_branches_bars_and_what_was_dropped(page: Page, server: Server) -> None:
    asked(page)
    assert page.locator(".level .step").all_inner_texts() == ["Step 1\n3 kept, 21 dropped", "Step 2\n2 kept, 1 dropped"]
    nodes = page.eval_on_selector_all(".branch", "(all) => all.map((one) => +one.dataset.node)")
    assert nodes == [11, 12, 13, 14, 21, 22, 23]
    assert page.locator(".rest").all_inner_texts() == ["and 20 more dropped"]
    shares = [share.replace("\xa0", " ") for share in page.locator(".share").all_inner_texts()]
    assert shares == ["75 %", "20 %", "< 0.1 %", "0.1 %", "60 %", "7.5 %", "10 %"]
    assert branch_at(page, 12).locator(".words").inner_text() == "2 number, sum"
    assert "300 documents" in branch_at(page, 12).inner_text()
    levels = zip(tree_walk()["levels"], (4.0, 3.4), strict=True)
    for one, full in ((one, full) for level, full in levels for one in level["branches"]):
        bar, *parts = (
            branch_at(page, one["node"]).locator(kind).evaluate("(part) => part.getBoundingClientRect().width")
            for kind in (".bar", ".index", ".prior")
        )
        for width, key in zip(parts, ("of_index", "of_prior"), strict=True):
            assert width == pytest.approx(bar * one[key] / full, abs=1.5)
        dropped = "dropped" in (branch_at(page, one["node"]).get_attribute("class") or "").split()
        assert dropped is not one["kept"]
        assert page.locator(f"path[data-node='{one['node']}']").count() == 1
    assert page.locator("#legend").inner_text().split("\n") == [
        "what the model finds probable",
        "what BM25 adds for matching words",
        "dropped, not followed further",
    ]
    assert page.locator("#certificate").inner_text() == "No other document can be better than these."


def test_a_hit_lights_its_way_and_a_branch_the_hits_below(page: Page) -> None:
    asked(page)
    assert lit(page, ".branch", "node") == lit(page, "path", "node") == {11, 21}
    assert lit(page, ".hit", "rank") == {1}
    way = page.locator("#way").inner_text().replace("\xa0", " ")
    assert way.startswith("The way to result 1: Read a file\n\nIts docid: 1 1 The model gives this way 75 % ")
    assert "80 % = 60 %." in way
    hit(page, 2).hover()
    assert lit(page, ".branch", "node") == {11, 22}
    branch_at(page, 11).click()
    assert lit(page, ".branch", "node") == {11, 21, 22}
    assert lit(page, ".hit", "rank") == {1, 2}
    assert branch_at(page, 11).get_attribute("aria-current") == "true"
    assert "It leads to results 1 and 2." in page.locator("#way").inner_text()
    hit(page, 3).locator(".title").click()
    assert lit(page, ".branch", "node") == {13}
    branch_at(page, 23).click()
    assert lit(page, ".branch", "node") == {12, 23}
    assert lit(page, ".hit", "rank") == set()
    assert "It was dropped" in page.locator("#way").inner_text()


def test_a_way_that_the_beam_did_not_finish(page: Page, server: Server) -> None:
    walk = tree_walk()
    [branch] = [branch for level in walk["levels"] for branch in level["branches"] if 3 in branch["hits"]]
    branch["doc_ids"] = []
    server.walk = lambda: walk
    asked(page)
    hit(page, 3).hover()
    assert "The beam followed its docid up to here: " in page.locator("#way").inner_text()
    branch["hits"] = []
    page.reload()
    hit(page, 3).hover()
    assert "its matching words brought it here" in page.locator("#way").inner_text()


def test_an_index_without_a_prior_says_nothing_of_one(page: Page, server: Server) -> None:
    server.index["prior"] = None
    asked(page)
    assert "BM25" not in page.locator("body").inner_text()
    assert "Its bar" not in page.locator("#way").inner_text()


def test_atomic_docids_are_one_row_of_documents(page: Page, server: Server) -> None:
    server.index["docids"] = "atomic"
    server.walk = atomic_walk
    asked(page)
    assert page.locator(".level").count() == 1
    assert page.locator(".branch .words").all_inner_texts() == [*TITLES.values(), "D4"]
    assert page.locator(".branch > .about").all_inner_texts() == ["BM25 3.00"] * 4
    assert lit(page, ".branch", "node") == {1}
    branch_at(page, 3).click()
    assert lit(page, ".hit", "rank") == {3}
    assert "one branch of its own" in page.locator("#aid").inner_text()


# What goes wrong


def test_nothing_found_is_said(page: Page, server: Server) -> None:
    server.titles, server.walk = {}, lambda: {"kind": "tree", "levels": []}
    page.goto(f"{ORIGIN}/?q=nothing&k=10")
    page.get_by_text("No document was found for “nothing”.").wait_for()
    assert page.get_by_role("status").inner_text().startswith("No document in")
    assert not page.locator("#picture").is_visible()
    page.locator("#query").fill("   ")
    page.keyboard.press("Enter")
    page.get_by_text("What the index finds stands here.").wait_for()
    assert [path for path, _ in server.asked].count("/search") == 1


def test_a_server_that_is_gone_is_said_and_tried_again(page: Page, server: Server) -> None:
    asked(page)
    server.gone = True
    page.locator("#query").fill("again")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("The server does not answer.").wait_for()
    assert page.locator(".hit").count() == 3
    server.gone = False
    page.get_by_role("button", name="Try again").click()
    page.wait_for_function("document.querySelector('#fault').hidden")
    page.wait_for_function("document.querySelector('#status').textContent.startsWith('3 documents')")
    assert server.asked[-1][1] == {"query": "again", "k": "10"}


@pytest.mark.parametrize(
    ("status", "detail", "said"),
    [
        (413, "at most 200 characters", "The query is too long: at most 200 characters"),
        (422, [{"loc": ["query", "k"], "msg": "not a number"}], "The server cannot read this query: k: not a number"),
        (503, "too many searches wait", "The server is busy or not ready: too many searches wait"),
        (500, "a fault", "The server answers 500: a fault"),
    ],
)
def test_what_the_server_refuses_is_said(page: Page, server: Server, status: int, detail: Any, said: str) -> None:
    server.refusals["search"] = (status, detail)
    page.goto(f"{ORIGIN}/?q=read&k=10")
    assert page.get_by_role("alert").locator("p").inner_text() == said
    server.refusals = {"walk": (status, detail)}
    page.get_by_role("button", name="Try again").click()
    page.get_by_text(f"The walk cannot be shown. {said}").wait_for()
    assert page.locator(".hit").count() == 3


def test_a_token_is_asked_for_and_sent(page: Page, server: Server) -> None:
    server.token = "secret"
    page.goto(f"{ORIGIN}/?q=read&k=10")
    page.get_by_text("This server asks for a token.").wait_for()
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("The server did not accept this token.").wait_for()
    page.get_by_label("Token").fill("secret")
    page.get_by_role("button", name="Use this token").click()
    page.locator(".branch").first.wait_for()
    assert not page.locator("#token-form").is_visible()
    asked(page, "again")
    assert "secret" not in page.url


def test_a_script_in_a_title_is_text(page: Page, server: Server) -> None:
    server.titles = dict.fromkeys(TITLES, HOSTILE)
    server.texts = dict.fromkeys(TITLES, HOSTILE)
    server.walk = lambda: {
        "kind": "tree",
        "levels": [
            {
                "kept": 2,
                "dropped": 0,
                "branches": [
                    branch(1, 0, 0.5, 0.5, hits=[1], words=[HOSTILE], token=HOSTILE, examples=[HOSTILE]),
                    leaf(2, 0, 0.5, 0.5, HOSTILE),
                ],
            }
        ],
        "certificate": HOSTILE,
    }
    server.index |= {"name": HOSTILE, "formula": HOSTILE}
    page.goto(f"{ORIGIN}/")
    page.locator("#query").fill(HOSTILE)
    page.keyboard.press("Enter")
    page.locator(".branch").first.wait_for()
    hit(page, 1).locator("summary").click()
    page.get_by_role("region", name="Explanation").wait_for()
    for number in (1, 2):
        branch_at(page, number).click()
        assert HOSTILE in page.locator("#way").inner_text()
    assert page.locator(".hit h3").first.inner_text() == HOSTILE
    assert page.locator("#certificate").inner_text() == HOSTILE
    assert page.locator("body script, img").count() == 0
    assert page.evaluate("window.ran") is None


# For everyone


def test_the_page_is_used_with_the_keyboard_alone(page: Page, server: Server) -> None:
    page.goto(f"{ORIGIN}/")
    page.keyboard.type("read files")
    page.keyboard.press("Enter")
    page.locator(".branch").first.wait_for()

    def focused() -> str:
        """Something of what has the focus, which must be seen."""
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        return page.evaluate("document.activeElement.dataset.node ?? document.activeElement.innerText")

    moved = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Tab"):
        page.keyboard.press(key)
        moved.append(focused())
    assert moved == ["Read a file", "Comma-separated values", "Read a file", "Whole text, explanation"]
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Explanation").wait_for()
    branch_at(page, 11).focus()
    moved = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        moved.append(focused())
    assert moved == ["21", "22", "11", "12"]
    assert lit(page, ".branch", "node") == {12, 23}
    page.keyboard.press("/")
    page.keyboard.type("a/b")
    assert page.locator("#query").input_value() == "a/b"


def test_a_screen_reader_is_told_what_is_seen(page: Page) -> None:
    asked(page)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("search").count() == page.get_by_role("main").count() == 1
    for name in ("Results", "How the index finds it"):
        assert page.get_by_role("region", name=name).count() == 1
    names = [button.inner_text() for button in page.get_by_role("button").all() if not button.inner_text().strip()]
    assert not names
    branch = page.get_by_role(
        "button", name=re.compile("file, read; token 1; 75.%; 40 documents; leads to results 1 and 2")
    )
    assert branch.count() == 1
    assert page.get_by_role("button", name=re.compile("mail; token 4; .*dropped")).count() == 1
    levels = [heading.evaluate("(one) => +one.localName[1]") for heading in page.get_by_role("heading").all()]
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))


@pytest.mark.parametrize("walk", [tree_walk, deep_walk, atomic_walk])
def test_the_page_fits(page: Page, server: Server, walk: Any) -> None:
    server.walk = walk
    server.texts = dict.fromkeys(TITLES, "word" * 100)
    asked(page)
    hit(page, 1).locator("summary").click()
    page.get_by_role("region", name="Explanation").wait_for()
    for width, zoom in itertools.product((1280, 768, 360), (100, 200)):
        page.set_viewport_size({"width": width, "height": 740})
        page.evaluate(f"document.documentElement.style.fontSize = '{zoom}%'")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    tops = page.locator(".level").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().top)")
    assert tops == sorted({*tops})
    assert not page.locator(".levels svg").is_visible()
    assert page.locator(".above").evaluate_all("(all) => all.every((one) => one.checkVisibility())")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_in_both_schemes(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    asked(page)
    hit(page, 1).locator("summary").click()
    page.get_by_role("region", name="Explanation").wait_for()
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 50
    assert min(contrasts) > [4.5, ""]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) is (scheme == "dark")


def test_nothing_moves_for_those_who_ask_for_it(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    asked(page)
    assert page.evaluate("document.getAnimations().length") == 0


# With the server itself


def serving(index: Index) -> Iterator[str]:
    """The address of a server that answers with an index, in a thread."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
    app = pytest.importorskip("dsi.serve.app", reason="needs the extra serve")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        application = app.Server(index, "tiny", Settings()).application
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def indexed(tiny: Stages, tmp_path: Path, request: pytest.FixtureRequest) -> Index:
    return dsi.load(make_run(tmp_path, tiny, request.param))


@pytest.fixture
def address(indexed: Index) -> Iterator[str]:
    yield from serving(indexed)


@pytest.mark.parametrize("indexed", ["semantic", "atomic"], indirect=True)
def test_the_page_shows_what_the_server_answers(browser: Browser, indexed: Index, address: str) -> None:
    query = " ".join(indexed.documents["D100"].text.split()[3:6])
    hits, walk = indexed.search(query, 5), indexed.walk(query, 5)
    context = browser.new_context()
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text))
    answer = page.goto(f"{address}/?q={query}&k=5")
    assert answer is not None
    assert re.sub(r";\s*", "; ", answer.headers["content-security-policy"]) == POLICY
    page.locator(".branch").first.wait_for()
    assert page.locator(".hit h3").all_inner_texts() == [hit.title for hit in hits]
    assert page.locator("#certificate").inner_text() == walk.certificate
    shown = page.eval_on_selector_all(".branch", "(all) => all.map((one) => +one.dataset.node)")
    branches = [one for level in walk.levels for one in level.branches]
    assert sorted(shown) == sorted(one.node for one in branches) or len(shown) == len(walk.documents)
    hit(page, 2).locator(".title").click()
    assert lit(page, ".branch", "node") == ({one.node for one in branches if 2 in one.hits} if branches else {2})
    hit(page, 2).locator("summary").click()
    explanation = page.get_by_role("region", name="Explanation")
    assert explanation.inner_text() == str(indexed.explain(query, hits[1].doc_id))
    assert hits[1].text in hit(page, 2).locator(".text").inner_text()
    context.close()
    assert not wrong
