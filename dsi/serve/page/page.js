/** The page: searching for what the address asks. */

import { at, element, show } from "./elements.js";
import { report } from "./faults.js";
import { showHits } from "./hits.js";
import { onKey } from "./keys.js";
import { plural, priorName } from "./numbers.js";
import { ask } from "./server.js";
import * as shown from "./shown.js";
import { aid, hideWalk, showWalk } from "./walk.js";

/** The address that was searched last, and what stops its search. */
let [searched, running] = [null, null];

/** Searches for what the address asks; hits are shown as soon as they are there, then the walk. */
async function search() {
  const address = new URLSearchParams(location.search);
  const query = (address.get("q") ?? "").trim();
  searched = location.search;
  running?.abort();
  show("fault", false);
  document.title = [query, shown.index?.name ?? "Search"].filter(Boolean).join(" - ");
  if (!query) return forget();
  const { signal } = (running = new AbortController());
  const asked = { query, k: at("k").value };
  at("status").textContent = "Searching …";
  at("results").setAttribute("aria-busy", "true");
  const walking = ask("walk", asked, signal);
  walking.catch(() => {});
  try {
    const start = performance.now();
    const found = await ask("search", asked, signal);
    hideWalk();
    showHits(query, found, performance.now() - start);
    showWalk(await walking.catch((fault) => (fault.name === "AbortError" ? Promise.reject(fault) : fault)));
  } catch (fault) {
    report(fault);
  } finally {
    if (running?.signal === signal) at("results").removeAttribute("aria-busy");
  }
}

function forget() {
  shown.setHits("", []);
  at("hits").replaceChildren();
  hideWalk();
  at("no-results").textContent = "What the index finds stands here.";
  show("no-results", true);
  at("status").textContent = "";
  at("aid").textContent = aid(shown.index?.docids === "atomic" ? "atomic" : "tree", shown.index?.prior);
}

function offerNumbers(wanted) {
  const most = shown.index?.max_k ?? 100;
  const asked = Number.parseInt(wanted, 10);
  const numbers = new Set([5, 10, 20, 50, 100].filter((number) => number <= most));
  numbers.add(asked > 0 ? Math.min(asked, most) : Math.min(10, most));
  at("k").replaceChildren(
    ...[...numbers].sort((a, b) => a - b).map((number) => element("option", { value: number }, String(number))),
  );
  at("k").value = String(asked > 0 ? Math.min(asked, most) : Math.min(10, most));
}

/** Fills the fields with what the address asks. */
function readAddress() {
  const address = new URLSearchParams(location.search);
  at("query").value = address.get("q") ?? "";
  offerNumbers(address.get("k"));
}

/** Puts what is asked into the address, from which it is searched, so that a search can be linked and gone back to. */
function submit() {
  const address = `?${new URLSearchParams({ q: at("query").value.trim(), k: at("k").value })}`;
  if (address !== location.search) history.pushState(null, "", address);
  search();
}

async function begin() {
  try {
    const index = await ask("index");
    shown.setIndex(index);
    at("name").textContent = index.name;
    at("facts").textContent = [
      plural(index.documents, "document"),
      `${index.docids} docids`,
      index.prior ? `with ${priorName(index.prior)}` : "",
      `score: ${index.formula}`,
    ]
      .filter(Boolean)
      .join(" · ");
    at("query").maxLength = index.max_query_length;
    offerNumbers(new URLSearchParams(location.search).get("k"));
    show("token-form", false);
    show("fault", false);
    await search();
  } catch (fault) {
    report(fault);
  }
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value);
  at("token").value = "";
  at("query").focus();
  begin();
});
at("k").addEventListener("change", () => at("query").value.trim() && submit());
at("again").addEventListener("click", () => (shown.index ? search() : begin()));
addEventListener("popstate", () => {
  if (location.search === searched) return;
  readAddress();
  search();
});
addEventListener("keydown", onKey);
readAddress();
at("aid").textContent = aid("tree", null);
begin();
