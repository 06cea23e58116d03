"use strict";

const at = (id) => document.getElementById(id);
/** The letters of an excerpt, and of a word that is marked, at least. */
const [SNIPPET, SHORTEST] = [140, 3];
/** Words that are in every text. */
const COMMON = new Set(
  "a an and are as at be by can do does for from how if in into is it of on or the to with".split(" "),
);

/** What the page knows: the index, the answers that are shown, and what is chosen in them. */
const shown = { address: null, index: null, query: "", hits: [], walk: null, levels: [], chosen: null };
let running = null;

// ---- elements and numbers

/** An element with properties, attributes (role, and names with a dash) and children; strings are text, never HTML. */
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const show = (id, visible) => {
  at(id).hidden = !visible;
};
const whole = (number) => number.toLocaleString("en");
const plural = (number, one, many = `${one}s`) => `${whole(number)} ${number === 1 ? one : many}`;
const listed = (items) => (items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`);
const shortened = (text, length) => (text.length <= length ? text : `${text.slice(0, length - 1).trimEnd()}…`);

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1\u00a0%";
  const decimals = share === 0 || share >= 0.9995 || (share >= 0.0995 && share < 0.99) ? 0 : 1;
  return `${(100 * share).toFixed(decimals)}\u00a0%`;
}

const decimal = (number) => number.toFixed(Math.abs(number) < 10 ? 2 : 1).replace("-", "\u2212");
const milliseconds = (number) => `${number < 10 ? number.toFixed(1) : whole(Math.round(number))}\u00a0ms`;
const priorName = (name) => (name === "bm25" ? "BM25" : name);

// ---- matching words

const WORD = /[\p{L}\p{N}_]+/gu;
const wordsOf = (text) => text.toLowerCase().match(WORD) ?? [];

/** The words of a query that are worth a mark: not the common ones, unless there are no others. */
function markedWords(query) {
  const words = [...new Set(wordsOf(query))];
  const rare = words.filter((word) => !COMMON.has(word) && (word.length >= SHORTEST || /\p{N}/u.test(word)));
  return rare.length ? rare : words;
}

const matches = (word, wanted) => wanted.some((one) => word === one || (one.length > 3 && alike(word, one)));
const alike = (word, one) =>
  Math.abs(word.length - one.length) <= 3 &&
  word.slice(0, 4) === one.slice(0, 4) &&
  (word.startsWith(one) || one.startsWith(word) || word.slice(0, -3) === one.slice(0, word.length - 3));

/** The places of the matching words of a text. */
function places(text, wanted) {
  return [...text.matchAll(WORD)]
    .filter((found) => matches(found[0].toLowerCase(), wanted))
    .map((found) => ({ from: found.index, to: found.index + found[0].length, word: found[0].toLowerCase() }));
}

/** A text with its matching words in mark elements. */
function marked(text, wanted) {
  const parts = document.createDocumentFragment();
  let done = 0;
  for (const { from, to } of places(text, wanted)) {
    parts.append(text.slice(done, from), element("mark", { textContent: text.slice(from, to) }));
    done = to;
  }
  parts.append(text.slice(done));
  return parts;
}

/** The part of a text that has the most different matching words. */
function excerpt(text, wanted) {
  const line = text.replace(/\s+/gu, " ").trim();
  if (line.length <= SNIPPET) return line;
  const found = places(line, wanted);
  const within = (first) =>
    new Set(found.filter(({ from, to }) => from >= first && to <= first + SNIPPET - 40).map(({ word }) => word)).size;
  const best = found.slice(0, 200).reduce((one, { from }) => (within(from) > within(one) ? from : one), 0);
  const start = best <= 60 ? 0 : line.indexOf(" ", best - 40) + 1;
  const space = line.lastIndexOf(" ", start + SNIPPET);
  const end = line.length - start <= SNIPPET ? line.length : space > start ? space : start + SNIPPET;
  return `${start ? "…\u00a0" : ""}${line.slice(start, end)}${end < line.length ? "\u00a0…" : ""}`;
}

// ---- the server

class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

class Gone extends Error {}

const detailOf = (detail) =>
  Array.isArray(detail) ? detail.map((one) => `${one.loc?.at(-1) ?? ""}: ${one.msg ?? ""}`).join("; ") : String(detail);

/** The answer of the server to a path with parameters; throws a Refusal, Gone if there is none, or AbortError. */
async function ask(path, parameters = {}, signal = undefined) {
  const token = sessionStorage.getItem("token");
  const question = new URLSearchParams(parameters).toString();
  try {
    const answer = await fetch(question ? `${path}?${question}` : path, {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal,
    });
    const body = await answer.json().catch((fault) => {
      if (fault.name === "AbortError") throw fault;
      return {};
    });
    if (!answer.ok) throw new Refusal(answer.status, detailOf(body.detail ?? answer.statusText));
    return body;
  } catch (fault) {
    if (fault instanceof Refusal || fault.name === "AbortError") throw fault;
    throw new Gone(fault.message);
  }
}

const REFUSED = {
  409: "This index cannot do that",
  413: "The query is too long",
  422: "The server cannot read this query",
  429: "Too many requests",
  503: "The server is busy or not ready",
};

/** What a fault says to a reader. */
function said(fault) {
  if (fault instanceof Gone)
    return "The server does not answer. Is it still running? What was found before stays below.";
  return `${REFUSED[fault.status] ?? `The server answers ${fault.status}`}: ${fault.message}`;
}

function report(fault) {
  if (fault.name === "AbortError") return;
  if (!(fault instanceof Refusal || fault instanceof Gone)) throw fault;
  at("status").textContent = "";
  if (fault.status === 401) return askForToken();
  at("fault-text").textContent = said(fault);
  show("fault", true);
}

function askForToken() {
  const refused = sessionStorage.getItem("token") !== null;
  sessionStorage.removeItem("token");
  show("token-form", true);
  at("status").textContent = refused ? "The server did not accept this token." : "This server asks for a token.";
  at("token").focus();
}

// ---- searching

/** Searches for what the address asks; hits are shown as soon as they are there, then the walk. */
async function search() {
  const address = new URLSearchParams(location.search);
  const query = (address.get("q") ?? "").trim();
  shown.address = location.search;
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
    showHits(query, found, performance.now() - start);
    showWalk(await walking.catch((fault) => (fault.name === "AbortError" ? Promise.reject(fault) : fault)));
  } catch (fault) {
    report(fault);
  } finally {
    if (running?.signal === signal) at("results").removeAttribute("aria-busy");
  }
}

function forget() {
  Object.assign(shown, { query: "", hits: [], walk: null, levels: [], chosen: null });
  at("hits").replaceChildren();
  for (const id of ["legend", "way", "picture", "certificate", "walk-note"]) show(id, false);
  at("no-results").textContent = "What the index finds stands here.";
  show("no-results", true);
  at("status").textContent = "";
  at("aid").textContent = aid(shown.index?.docids === "atomic" ? "atomic" : "tree", shown.index?.prior);
}

// ---- results

function showHits(query, found, roundTrip) {
  Object.assign(shown, { query, hits: found.hits, chosen: null, walk: null, levels: [] });
  at("hits").replaceChildren(...found.hits.map((hit) => result(hit, markedWords(query))));
  at("no-results").textContent = `No document was found for “${query}”.`;
  show("no-results", !found.hits.length);
  for (const id of ["legend", "way", "picture", "certificate", "walk-note"]) show(id, false);
  const count = found.hits.length ? plural(found.hits.length, "document") : "No document";
  at("status").textContent =
    `${count} in ${milliseconds(found.milliseconds)} on the server, ${milliseconds(roundTrip)} there and back.`;
}

const nameOf = (hit) => hit.title || hit.doc_id;

function result(hit, wanted) {
  const title = element("button", { type: "button", className: "title" }, marked(nameOf(hit), wanted));
  const whereabouts = element(
    "p",
    { className: "about" },
    hit.title ? `${hit.doc_id} · ` : "",
    element("span", {}, `score ${decimal(hit.score)}`),
  );
  const more = element(
    "details",
    {},
    element("summary", {}, shown.index?.has_documents === false ? "Explanation" : "Whole text, explanation"),
  );
  more.addEventListener("toggle", () => more.open && fill(more, hit, wanted), { once: true });
  const item = element(
    "li",
    { className: "hit" },
    element("span", { className: "rank", "aria-hidden": "true" }, String(hit.rank)),
    element("h3", {}, title),
    hit.text ? element("p", { className: "excerpt" }, marked(excerpt(hit.text, wanted), wanted)) : "",
    whereabouts,
    more,
  );
  item.dataset.rank = hit.rank;
  choosable(item, title, { rank: hit.rank });
  return item;
}

/** Fetches the text and the explanation of a hit, which are seldom wanted, when they are. */
async function fill(more, hit, wanted) {
  const query = shown.query;
  const below = element("div", {}, element("p", { className: "about" }, "Loading …"));
  more.append(below);
  const [text, explained] = await Promise.allSettled([
    shown.index?.has_documents === false ? { text: "" } : ask(`documents/${encodeURIComponent(hit.doc_id)}`),
    ask("explain", { query, doc_id: hit.doc_id }),
  ]);
  const refused = (fault) =>
    element(
      "p",
      { className: "about" },
      fault.status === 404 ? "This document is no longer in the index." : said(fault),
    );
  const block = (heading, answer, shape) =>
    answer.status === "rejected"
      ? [refused(answer.reason)]
      : answer.value.text
        ? [element("h4", {}, heading), shape(answer.value.text)]
        : [];
  below.replaceChildren(
    ...block("Text", text, (words) => element("p", { className: "text" }, marked(words, wanted))),
    ...block("Explanation", explained, (lines) =>
      element(
        "pre",
        { tabIndex: 0, role: "region", "aria-label": `Explanation of the score of ${nameOf(hit)}` },
        lines,
      ),
    ),
  );
}

// ---- the walk

/** How to read a walk, for those who have never seen one. */
function aid(kind, prior) {
  const also = prior ? `${priorName(prior)}, which compares words, adds its part.` : "";
  const sentences =
    kind === "atomic"
      ? [
          "In this index every document is one branch of its own.",
          "The model reads the query and gives each document a probability in a single step.",
          also,
          "The longest bars are the results.",
        ]
      : [
          "Every document has a docid: a way through a tree, step by step.",
          "The model reads the query and gives each branch a probability.",
          also,
          "Each step keeps the branches with the longest bars and drops the rest;",
          "where a way ends, there is a document.",
        ];
  return sentences.filter(Boolean).join(" ");
}

/** The documents of a walk through atomic docids as the branches of one level. */
function documentsOf(walk) {
  const ranks = new Set(shown.hits.map((hit) => hit.rank));
  const branches = walk.documents.map((one, place) => ({
    ...one,
    node: place + 1,
    parent: 0,
    token: "",
    step: one.probability,
    kept: true,
    hits: ranks.has(one.rank) ? [one.rank] : [],
    documents: 1,
    words: [],
    examples: one.title ? [one.title] : [],
    doc_ids: [one.doc_id],
  }));
  return [{ kept: branches.length, dropped: 0, branches }];
}

/** The branches of each level in the order of those that they come from, so that few lines cross; dropped ones last. */
function arranged(levels) {
  let above = new Map([[0, 0]]);
  return levels.map((level) => {
    const place = (branch) => above.get(branch.parent) ?? above.size;
    const sum = (branch) => branch.of_index + branch.of_prior;
    const branches = [...level.branches].sort((a, b) => b.kept - a.kept || place(a) - place(b) || sum(b) - sum(a));
    above = new Map(branches.map((branch, position) => [branch.node, position]));
    return { ...level, branches };
  });
}

function showWalk(walk) {
  if (walk instanceof Error) {
    if (!shown.hits.length) return;
    at("walk-note").textContent = `The walk cannot be shown. ${said(walk)}`;
    show("walk-note", true);
    return;
  }
  shown.walk = walk;
  shown.levels = walk.kind === "tree" ? arranged(walk.levels) : documentsOf(walk);
  const some = shown.levels.some((level) => level.branches.length);
  at("aid").textContent = aid(walk.kind, walk.prior);
  at("certificate").textContent = walk.certificate;
  at("certificate").classList.toggle("sure", walk.certified > 0);
  drawLegend(walk);
  drawPicture(walk);
  for (const id of ["legend", "way", "picture"]) show(id, some);
  show("certificate", Boolean(walk.certificate));
  choose(shown.hits.length ? { rank: shown.hits[0].rank } : null);
}

function drawLegend(walk) {
  const entry = (kind, words) =>
    element("li", {}, element("span", { className: `swatch ${kind}`, "aria-hidden": "true" }), words);
  const dropped = shown.levels.some((level) => level.branches.some((branch) => !branch.kept));
  at("legend").replaceChildren(
    entry("index", "what the model finds probable"),
    ...(walk.prior ? [entry("prior", `what ${priorName(walk.prior)} adds for matching words`)] : []),
    ...(dropped ? [entry("dropped", "dropped, not followed further")] : []),
  );
}

const everyBranch = () => shown.levels.flatMap((level) => level.branches);
const branchAt = (node) => everyBranch().find((branch) => branch.node === node);
const cardOf = (node) => at("picture").querySelector(`.branch[data-node="${Number(node)}"]`);
const isLeaf = (branch) => branch.doc_ids.length > 0;
const nameOfBranch = (branch) =>
  isLeaf(branch)
    ? branch.examples[0] || branch.doc_ids[0]
    : branch.words.join(", ") || branch.examples[0] || `branch ${branch.token}`;

const longest = (branches) => Math.max(...branches.map((branch) => branch.of_index + branch.of_prior), 1e-9);

function drawPicture(walk) {
  // with a prior the parts say only which branches of a step are better; without, they are probabilities
  const columns = shown.levels.map((level, number) =>
    column(level, number, walk, longest(walk.prior ? level.branches : everyBranch())),
  );
  const root = element(
    "div",
    { className: "root" },
    element("p", { className: "step" }, "Query"),
    element(
      "p",
      { className: "card" },
      element("span", { className: "words" }, shortened(walk.query, 80)),
      shown.index
        ? element("span", { className: "about" }, `${plural(shown.index.documents, "document")} to choose from`)
        : "",
    ),
  );
  const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  lines.setAttribute("aria-hidden", "true");
  const steps = element("div", { className: `levels ${walk.kind}` }, lines, root, ...columns);
  steps.style.setProperty("--levels", columns.length);
  steps.classList.toggle("deep", columns.length > 3);
  at("picture").replaceChildren(steps);
  sized.disconnect();
  sized.observe(steps);
}

function column(level, number, walk, full) {
  const count = (kept) => level.branches.filter((branch) => branch.kept === kept).length;
  const rest = [
    [level.kept - count(true), "kept"],
    [level.dropped - count(false), "dropped"],
  ].filter(([more]) => more > 0);
  const heading = walk.kind === "atomic" ? "The best documents" : `Step ${number + 1}`;
  const tally =
    walk.kind === "atomic"
      ? ""
      : element("span", { className: "about" }, `${whole(level.kept)} kept, ${whole(level.dropped)} dropped`);
  const column = element(
    "section",
    { className: "level" },
    element("h3", { className: "step" }, heading, " ", tally),
    element(
      "div",
      {},
      element("ol", {}, ...level.branches.map((branch) => element("li", {}, card(branch, walk, full)))),
      rest.length
        ? element(
            "p",
            { className: "about rest" },
            `and ${listed(rest.map(([more, what]) => `${whole(more)} more ${what}`))}`,
          )
        : "",
    ),
  );
  column.style.setProperty("--number", number);
  return column;
}

const leadsTo = (branch) =>
  branch.hits.length &&
  `leads to ${branch.hits.length === 1 ? "result" : "results"} ${listed(branch.hits.map(String))}`;

/** A token of a docid as a small box; none for an atomic docid. */
const chip = (token) => (token ? element("span", { className: "token" }, token) : "");

function card(branch, walk, full) {
  const part = (kind, value) => {
    const made = element("span", { className: kind });
    made.style.width = `${(100 * value) / full}%`;
    return made;
  };
  const facts = [
    branch.kept ? "" : "dropped",
    walk.kind === "atomic" ? "" : plural(branch.documents, "document"),
    walk.kind === "atomic" && (branch.log_prob ?? null) !== null ? `log P ${decimal(branch.log_prob)}` : "",
    walk.kind === "atomic" && walk.prior ? `${priorName(walk.prior)} ${decimal(branch.prior)}` : "",
  ].filter(Boolean);
  const above = branchAt(branch.parent);
  const button = element(
    "button",
    { type: "button", className: "branch card" },
    element("span", { className: "words" }, chip(branch.token), branch.token ? " " : "", nameOfBranch(branch)),
    element("span", { className: "share" }, percent(branch.probability)),
    element(
      "span",
      { className: "bar", "aria-hidden": "true" },
      part("index", branch.of_index),
      part("prior", branch.of_prior),
    ),
    element("span", { className: "about" }, facts.join(" · ")),
    above ? element("span", { className: "above about" }, `from ${shortened(nameOfBranch(above), 40)}`) : "",
    branch.hits.length
      ? element(
          "span",
          { className: "ranks" },
          ...branch.hits.slice(0, 6).map((rank) => element("span", { className: "rank" }, String(rank))),
          branch.hits.length > 6 ? "…" : "",
        )
      : "",
  );
  button.setAttribute(
    "aria-label",
    [
      nameOfBranch(branch),
      branch.token && `token ${branch.token}`,
      percent(branch.probability),
      ...facts,
      above && `from ${nameOfBranch(above)}`,
      leadsTo(branch),
    ]
      .filter(Boolean)
      .join("; "),
  );
  button.classList.toggle("dropped", !branch.kept);
  button.dataset.node = branch.node;
  choosable(button, button, { node: branch.node });
  return button;
}

/** The lines from each branch to those that it leads to, in one picture behind the cards. */
function drawLines() {
  const steps = at("picture").querySelector(".levels");
  const svg = steps.querySelector("svg");
  const origin = steps.getBoundingClientRect();
  const root = steps.querySelector(".root .card");
  svg.replaceChildren();
  if (getComputedStyle(svg).display === "none") return;
  for (const branch of [...everyBranch()].sort((a, b) => a.kept - b.kept)) {
    const from = branch.parent === 0 ? root : cardOf(branch.parent);
    if (!from) continue;
    const [start, end] = [from.getBoundingClientRect(), cardOf(branch.node).getBoundingClientRect()];
    const [x, y, u, v] = [
      start.right - origin.left,
      start.top + start.height / 2 - origin.top,
      end.left - origin.left,
      end.top + end.height / 2 - origin.top,
    ];
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", `M${x} ${y}C${(x + u) / 2} ${y} ${(x + u) / 2} ${v} ${u} ${v}`);
    line.setAttribute("class", branch.kept ? "" : "dropped");
    line.style.strokeWidth = `${1.5 + 6 * branch.probability}px`;
    line.dataset.node = branch.node;
    svg.append(line);
  }
  light(shown.chosen);
}

const sized = new ResizeObserver(drawLines);

// ---- choosing a hit or a branch

/** Makes a hit or branch chosen by click and focus, and lit while the pointer is over it. */
function choosable(area, button, choice) {
  button.addEventListener("click", () => choose(choice));
  button.addEventListener("focus", () => choose(choice));
  area.addEventListener("pointerenter", () => light(choice));
  area.addEventListener("pointerleave", () => light(shown.chosen));
}

function choose(choice) {
  shown.chosen = choice;
  light(choice);
}

/** The nodes and the ranks of hits that belong to a choice: the way to a hit, or what is above and below a branch. */
function belonging(choice) {
  const nodes = new Set();
  if (!choice) return { nodes, ranks: new Set() };
  if ("rank" in choice) {
    for (const branch of everyBranch()) if (branch.hits.includes(choice.rank)) nodes.add(branch.node);
    return { nodes, ranks: new Set([choice.rank]) };
  }
  for (const branch of everyBranch())
    if (branch.node === choice.node || nodes.has(branch.parent)) nodes.add(branch.node);
  for (let branch = branchAt(choice.node); branch; branch = branchAt(branch.parent)) nodes.add(branch.node);
  return { nodes, ranks: new Set(branchAt(choice.node)?.hits ?? []) };
}

function light(choice) {
  const { nodes, ranks } = belonging(choice);
  for (const part of at("picture").querySelectorAll("[data-node]")) {
    part.classList.toggle("lit", nodes.has(Number(part.dataset.node)));
    if (part.localName === "button") current(part, choice?.node === Number(part.dataset.node));
  }
  for (const item of at("hits").children) {
    item.classList.toggle("lit", ranks.has(Number(item.dataset.rank)));
    current(item.querySelector(".title"), choice?.rank === Number(item.dataset.rank));
  }
  if (shown.walk)
    at("way").replaceChildren(
      ...(choice ? ("rank" in choice ? wayTo(choice.rank) : wordsFor(branchAt(choice.node))) : []),
    );
}

function current(button, is) {
  if (is) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function partsOf(branch) {
  const [model, prior] = [decimal(branch.of_index), decimal(branch.of_prior)];
  return shown.walk.prior ? `Its bar: ${model} from the model and ${prior} from ${priorName(shown.walk.prior)}.` : "";
}

/** The way to a hit in words: the branch of each step, and what their probabilities give. */
function wayTo(rank) {
  const hit = shown.hits.find((one) => one.rank === rank);
  const way = everyBranch().filter((branch) => branch.hits.includes(rank));
  const heading = element("h3", {}, `The way to result ${rank}: `, element("b", {}, nameOf(hit)));
  const last = way.at(-1);
  if (!last)
    return [
      heading,
      element("p", {}, "No branch that the beam followed leads to it: it is here for its matching words alone."),
    ];
  if (shown.walk.kind === "atomic") {
    return [heading, element("p", {}, `The model gives this document ${percent(last.probability)}. ${partsOf(last)}`)];
  }
  const product = way.length > 1 ? `${way.map((branch) => percent(branch.step)).join(" × ")} = ` : "";
  return [
    heading,
    element(
      "p",
      {},
      "Its docid: ",
      ...way.flatMap((branch) => [chip(branch.token), " "]),
      `The model gives this way ${product}${percent(last.probability)}. ${partsOf(last)}`,
    ),
  ];
}

/** A branch in words. */
function wordsFor(branch) {
  const heading = element(
    "h3",
    {},
    shown.walk.kind === "atomic" ? "The document " : "The branch ",
    chip(branch.token),
    " ",
    element("b", {}, nameOfBranch(branch)),
  );
  const examples = branch.examples.map((one) => `“${shortened(one, 50)}”`);
  const below = isLeaf(branch)
    ? `Here a way ends, at ${listed(branch.doc_ids)}.`
    : `${plural(branch.documents, "document")} below it${examples.length ? `, such as ${listed(examples)}` : ""}.`;
  const chance =
    branch.parent === 0
      ? `The model gives it ${percent(branch.probability)}.`
      : `After the steps before, it has ${percent(branch.step)}; the whole way so far ${percent(branch.probability)}.`;
  const end = branch.kept
    ? branch.hits.length
      ? `It ${leadsTo(branch)}.`
      : "It was kept, but leads to none of the results."
    : "It was dropped: others were better.";
  return [
    heading,
    element(
      "p",
      {},
      [shown.walk.kind === "atomic" ? "" : below, chance, partsOf(branch), end].filter(Boolean).join(" "),
    ),
  ];
}

// ---- keys, the address, the beginning

/** Moves along results and branches with the arrow keys; / goes to the search box. */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  const next = event.key === "/" && !typing ? at("query") : neighbour(event.target, event.key);
  if (!next) return;
  event.preventDefault();
  next.focus();
  if (next === at("query")) next.select();
}

function neighbour(from, key) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  const titles = [...at("hits").querySelectorAll(".title")];
  if (from === at("query")) return key === "ArrowDown" ? titles[0] : null;
  if (from.matches(".title") && step) return titles[titles.indexOf(from) + step] ?? (step < 0 ? at("query") : null);
  if (!from.matches(".branch")) return null;
  if (step) {
    const siblings = [...from.closest("ol").querySelectorAll(".branch")];
    return siblings[siblings.indexOf(from) + step];
  }
  const branch = branchAt(Number(from.dataset.node));
  const towards = {
    ArrowLeft: branch.parent,
    ArrowRight: everyBranch().find((one) => one.parent === branch.node)?.node,
  }[key];
  return towards ? cardOf(towards) : null;
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
    const index = (shown.index = await ask("index"));
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
  if (location.search === shown.address) return;
  readAddress();
  search();
});
addEventListener("keydown", onKey);
readAddress();
at("aid").textContent = aid("tree", null);
begin();
